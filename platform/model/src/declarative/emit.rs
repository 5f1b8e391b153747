//! A JSON value as YAML, in the block style that decK writes. What a reader of any YAML version could misunderstand is
//! quoted.

use super::scalar;
use serde_json::{Map, Value};
use std::fmt::Write;

/// The document as YAML text.
pub(super) fn yaml(document: &Map<String, Value>) -> String {
    let mut out = String::new();
    if document.is_empty() {
        out.push_str("{}\n");
    }
    map(document, 0, &mut out);
    out
}

/// The entries, the first of them at the end of the line that is begun.
fn map(entries: &Map<String, Value>, indent: usize, out: &mut String) {
    for (place, (name, value)) in entries.iter().enumerate() {
        if place > 0 {
            pad(indent, out);
        }
        text(name, indent, true, out);
        out.push(':');
        below(value, indent, out);
    }
}

/// What stands behind a colon: a scalar on the same line, or lines of its own.
fn below(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            list(items, indent, out);
        }
        Value::Object(entries) if !entries.is_empty() => {
            out.push('\n');
            pad(indent + 2, out);
            map(entries, indent + 2, out);
        }
        scalar => {
            out.push(' ');
            inline(scalar, indent, out);
        }
    }
}

fn list(items: &[Value], indent: usize, out: &mut String) {
    for item in items {
        pad(indent, out);
        out.push('-');
        match item {
            Value::Object(entries) if !entries.is_empty() => {
                out.push(' ');
                map(entries, indent + 2, out);
            }
            Value::Array(inner) if !inner.is_empty() => {
                out.push('\n');
                list(inner, indent + 2, out);
            }
            scalar => {
                out.push(' ');
                inline(scalar, indent, out);
            }
        }
    }
}

fn inline(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::String(string) => text(string, indent, false, out),
        // Numbers, booleans, null and empty collections are written as in JSON.
        other => _ = write!(out, "{other}"),
    }
    out.push('\n');
}

fn pad(indent: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// A text in the plainest way that is safe: bare, as a block of lines, in single or in double quotes.
fn text(text: &str, indent: usize, is_name: bool, out: &mut String) {
    if is_bare(text) {
        out.push_str(text);
    } else if !is_name && is_block(text) {
        block(text, indent, out);
    } else if text.chars().all(is_printable) {
        _ = write!(out, "'{}'", text.replace('\'', "''"));
    } else {
        double_quoted(text, out);
    }
}

/// Whether the text needs no quotes: made of harmless characters, and nothing that YAML or a reader would interpret.
fn is_bare(text: &str) -> bool {
    let begins = text.starts_with(|first: char| first.is_ascii_alphanumeric() || matches!(first, '/' | '_'))
        || text.starts_with("~/");
    let harmless = |c: char| c.is_ascii_alphanumeric() || "/_.~-+$^()<>?*@\\=;|!".contains(c);
    let mut previous = ' ';
    for character in text.chars() {
        let inside = match character {
            ' ' => previous != ' ',
            other => harmless(other) || (other == ':' && text.len() > 1),
        };
        if !inside || (previous == ':' && character == ' ') {
            return false;
        }
        previous = character;
    }
    begins && !matches!(previous, ' ' | ':') && !scalar::is_ambiguous(text)
}

/// Whether the text is lines, such as a certificate, that a literal block can hold.
fn is_block(text: &str) -> bool {
    text.contains('\n')
        && !text.starts_with([' ', '\n'])
        && !text.ends_with("\n\n")
        && text.lines().all(|line| line.chars().all(is_printable) && !line.ends_with(' '))
        && !text.contains('\r')
        && text != "\n"
}

fn block(text: &str, indent: usize, out: &mut String) {
    out.push_str(if text.ends_with('\n') { "|" } else { "|-" });
    for line in text.lines() {
        out.push('\n');
        if !line.is_empty() {
            pad(indent + 2, out);
            out.push_str(line);
        }
    }
}

fn double_quoted(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            character if is_printable(character) => out.push(character),
            character => _ = write!(out, "\\U{:08x}", u32::from(character)),
        }
    }
    out.push('"');
}

/// YAML's printable characters, without line breaks of any kind, tabs and the byte order mark.
fn is_printable(character: char) -> bool {
    !character.is_control() && !matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn written(value: &Value) -> String {
        yaml(value.as_object().unwrap())
    }

    #[test]
    fn writes_the_block_style_that_deck_writes() {
        let document = json!({
            "_format_version": "3.0",
            "services": [{"name": "a", "port": 80, "tags": ["x", "on"], "routes": [{"paths": ["~/flights$"]}, {}]}],
            "config": {"empty": [], "deep": {"key": "-----BEGIN\nabc\n"}, "none": null},
        });
        let expected = "_format_version: '3.0'\nservices:\n- name: a\n  port: 80\n  tags:\n  - x\n  - 'on'\n  \
            routes:\n  - paths:\n    - ~/flights$\n  - {}\nconfig:\n  empty: []\n  deep:\n    key: |\n      \
            -----BEGIN\n      abc\n  none: null\n";
        assert_eq!(written(&document), expected);
    }

    #[cfg(feature = "yaml")]
    mod round_trip {
        use super::*;
        use proptest::prelude::*;

        fn any_text() -> impl Strategy<Value = String> {
            prop_oneof![
                ".*",
                r"[a-z0-9 :#'\-~/\n\t\[\]{}&*!|>%@,?]{0,12}",
                prop::sample::select(vec!["yes", "~", "012", "- a", "a: b", "a #b", "\n", "a\n", "a\n\nb", "|", "<<"])
                    .prop_map(str::to_owned),
            ]
        }

        fn any_document() -> impl Strategy<Value = Value> {
            let leaf = prop_oneof![
                Just(Value::Null),
                any::<bool>().prop_map(Value::from),
                any::<i64>().prop_map(Value::from),
                any_text().prop_map(Value::from),
            ];
            let inner = leaf.prop_recursive(4, 32, 5, |inner| {
                prop_oneof![
                    prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                    prop::collection::hash_map("[a-zA-Z0-9 :_'#]{0,9}", inner, 0..5)
                        .prop_map(|map| map.into_iter().filter(|(name, _)| name != "<<").collect()),
                ]
            });
            prop::collection::hash_map("[a-z]{1,5}", inner, 1..5).prop_map(|map| map.into_iter().collect())
        }

        proptest! {
            #[test]
            fn every_document_reads_back_as_it_was(document in any_document()) {
                let text = written(&document);
                let read = crate::declarative::yaml::parse(&text);
                prop_assert_eq!(read.map(|node| node.json()), Ok(document), "{}", text);
            }
        }
    }
}
