//! Paths of files before 3.0: there a regex was told from a prefix by its characters; since 3.0 it begins with `~`.
//! The rule is Kong's (`migrate_path_280_300`): letters, digits and `. - _ ~ / %` make a prefix, anything else a regex.

/// The path of a 1.1 or 2.1 file as 3.0 writes it. Prefixes are brought into normal form, percent triplets in
/// regexes that stand for ordinary characters are decoded a last time.
///
/// A path that begins with `~` stays: before 3.0 it could match nothing, and decK 1.4 writes such paths into files that
/// it calls 1.1 when it dumps a newer gateway. (Kong puts a second `~` before it.)
pub(super) fn path(path: &str) -> String {
    match path {
        _ if path.starts_with('~') => path.to_owned(),
        _ if !path.bytes().all(is_plain) => format!("~{}", decode(path, is_reserved, true)),
        _ if path.starts_with('/') => normalize(path),
        _ => path.to_owned(),
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'~' | b'/' | b'%')
}

/// RFC 3986 §2.2, and `%` itself: what must stay encoded to keep its meaning.
fn is_reserved(byte: u8) -> bool {
    b"!#$%&'()*+,/:;=?@[]".contains(&byte)
}

/// What would become syntax if it appeared bare in a regex, and is not reserved.
fn is_regex_syntax(byte: u8) -> bool {
    b".^-{}\\|".contains(&byte)
}

/// Decodes percent triplets except of what `keep` names, which get capital digits. A decoded character that a regex
/// would take for syntax is escaped. What would not be UTF-8 afterwards stays as it was.
fn decode(path: &str, keep: fn(u8) -> bool, for_regex: bool) -> String {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let Some(byte) = triplet(rest) else {
            out.push(first);
            rest = tail;
            continue;
        };
        if keep(byte) {
            out.extend(rest.iter().take(3).map(u8::to_ascii_uppercase));
        } else {
            if for_regex && is_regex_syntax(byte) {
                out.push(b'\\');
            }
            out.push(byte);
        }
        rest = rest.get(3..).unwrap_or_default();
    }
    String::from_utf8(out).unwrap_or_else(|_| path.to_owned())
}

/// The byte that `%XX` at the beginning stands for.
fn triplet(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some(digit(*high)? * 16 + digit(*low)?)
}

/// Decoded, without dot segments and without empty ones (RFC 3986 §6.2.2).
fn normalize(path: &str) -> String {
    let decoded = decode(path, is_reserved, false);
    let mut kept: Vec<&str> = Vec::new();
    let mut last = "";
    for segment in decoded.split('/') {
        last = segment;
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            segment => kept.push(segment),
        }
    }
    let closed = matches!(last, "" | "." | "..") && !kept.is_empty();
    format!("/{}{}", kept.join("/"), if closed { "/" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_regexes_from_prefixes_by_their_characters() {
        let cases = [
            ("/", "/"),
            ("/flights", "/flights"),
            ("/a.b-c_d~e/", "/a.b-c_d~e/"),
            ("/flights$", "~/flights$"),
            (r"/flights/(?<flightNumber>[^\/]+)$", r"~/flights/(?<flightNumber>[^\/]+)$"),
            ("/a b", "~/a b"),
            ("~/health$", "~/health$"),
            ("/status/\\d+", "~/status/\\d+"),
        ];
        for (before, after) in cases {
            assert_eq!(path(before), after);
        }
    }

    #[test]
    fn prefixes_come_out_in_normal_form() {
        let cases = [
            ("/a//b", "/a/b"),
            ("/a/./b/", "/a/b/"),
            ("/a/../b", "/b"),
            ("/a/b/..", "/a/"),
            ("/..", "/"),
            ("/a%2Fb", "/a%2Fb"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%41%C3%A9", "/aAé"),
            ("/a%ff", "/a%ff"),
        ];
        for (before, after) in cases {
            assert_eq!(path(before), after);
        }
    }

    #[test]
    fn triplets_in_regexes_are_decoded_without_becoming_syntax() {
        assert_eq!(path("/a%2Eb$"), r"~/a\.b$");
        assert_eq!(path("/a%20b$"), "~/a b$");
        assert_eq!(path("/a%2fb$"), "~/a%2Fb$");
    }
}
