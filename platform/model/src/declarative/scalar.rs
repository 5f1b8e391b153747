//! What YAML's unquoted words stand for: what they mean to Kong and decK, whose YAML is 1.1 where it matters: `yes`,
//! `no`, `on` and `off` are booleans. A number with a leading zero, octal to some and decimal to others, stays text.

use super::node::Content;

/// What a plain scalar stands for, if not for its own text.
pub(super) fn plain(text: &str) -> Result<Option<Content<'static>>, &'static str> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Some(Content::Null),
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(Content::Bool(true)),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(Content::Bool(false)),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "-.inf" | "-.Inf" | "-.INF" => {
            return Err("neither infinity nor 'not a number' has a meaning here");
        }
        _ => number(text).map(Content::Number),
    })
}

/// A decimal or hexadecimal integer, or a decimal fraction. Leading zeros make it text.
fn number(text: &str) -> Option<serde_json::Number> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok().map(Into::into);
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let begins = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let padded = unsigned.len() > 1 && unsigned.starts_with('0') && !unsigned.starts_with("0.");
    let shaped = unsigned.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    if !begins || padded || !shaped {
        return None;
    }
    let signless = text.strip_prefix('+').unwrap_or(text);
    if let Ok(integer) = signless.parse::<i64>() {
        return Some(integer.into());
    }
    if let Ok(integer) = signless.parse::<u64>() {
        return Some(integer.into());
    }
    signless.parse::<f64>().ok().and_then(serde_json::Number::from_f64)
}

/// Whether some reader of YAML might take the unquoted text for something else: a boolean, a number, a date, a time.
pub(super) fn is_ambiguous(text: &str) -> bool {
    let numeric = |byte: u8| byte.is_ascii_digit() || b".-+_:eEo".contains(&byte);
    let like_a_number = text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '.' | '-' | '+'));
    !matches!(plain(text), Ok(None))
        || matches!(text, "y" | "Y" | "n" | "N" | "<<" | "=")
        || (like_a_number && text.bytes().all(numeric))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_some_yaml_takes_for_something_else_are_ambiguous() {
        for text in ["", "yes", "Off", "n", "~", "12", "0x1F", "0o7", "012", "1_000", "12:30", "2026-11-20", "1e3", "-"]
        {
            assert!(is_ambiguous(text), "{text}");
        }
        for text in ["flights", "127.0.0.1.nip.io", "72734e2a-702d", "~/flights$", "yesterday", "3.0-beta-z"] {
            assert!(!is_ambiguous(text), "{text}");
        }
    }
}
