//! The JSON parser (RFC 8259), with positions. A hand-written descent of bounded depth: the data plane reads JSON
//! without a YAML parser in the binary, and serde's own value forgets where things stood.

use super::node::{Content, DEPTH_MAX, Field, NODES_MAX, Node, Syntax, offset};
use serde_json::Number;
use std::borrow::Cow;

/// Reads one JSON document.
pub(super) fn parse(text: &str) -> Result<Node<'_>, Syntax> {
    let mut parser = Parser { text, at: 0, nodes: 0 };
    let root = parser.value(0)?;
    parser.skip_space();
    if parser.at < text.len() {
        return Err(parser.wrong("unexpected text after the end of the document"));
    }
    Ok(root)
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    nodes: usize,
}

impl<'t> Parser<'t> {
    fn value(&mut self, depth: usize) -> Result<Node<'t>, Syntax> {
        self.skip_space();
        self.count(depth)?;
        let at = offset(self.at);
        let content = match self.peek() {
            Some(b'{') => self.map(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"') => Content::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(_) => self.word()?,
            None => return Err(self.wrong("the document ends where a value should be")),
        };
        Ok(Node { at, content })
    }

    fn count(&mut self, depth: usize) -> Result<(), Syntax> {
        self.nodes += 1;
        if depth > DEPTH_MAX {
            return Err(self.wrong(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        if self.nodes > NODES_MAX {
            return Err(self.wrong(format!("more than {NODES_MAX} values")));
        }
        Ok(())
    }

    fn map(&mut self, depth: usize) -> Result<Content<'t>, Syntax> {
        let mut fields = Vec::new();
        self.at += 1;
        if self.skipped(b'}') {
            return Ok(Content::Map(fields));
        }
        loop {
            self.skip_space();
            let at = offset(self.at);
            if self.peek() != Some(b'"') {
                return Err(self.wrong("expected a quoted field name"));
            }
            let name = self.string()?;
            if !self.skipped(b':') {
                return Err(self.wrong("expected ':' after a field name"));
            }
            let value = self.value(depth + 1)?;
            fields.push(Field { at, name, value });
            if self.skipped(b'}') {
                fields.shrink_to_fit();
                return Ok(Content::Map(fields));
            }
            if !self.skipped(b',') {
                return Err(self.wrong("expected ',' or '}'"));
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Content<'t>, Syntax> {
        let mut items = Vec::new();
        self.at += 1;
        if self.skipped(b']') {
            return Ok(Content::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.skipped(b']') {
                items.shrink_to_fit();
                return Ok(Content::List(items));
            }
            if !self.skipped(b',') {
                return Err(self.wrong("expected ',' or ']'"));
            }
        }
    }

    /// A string: borrowed when nothing in it is escaped, else decoded by serde_json, which knows about surrogates.
    fn string(&mut self) -> Result<Cow<'t, str>, Syntax> {
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += 1;
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += 1;
                }
                Some(0..0x20) => return Err(self.wrong("a control character in a string must be escaped")),
                Some(_) => {}
                None => return Err(Syntax::new(start, "a string without an end")),
            }
        }
        self.at += 1;
        let quoted = self.text.get(start..self.at).unwrap_or_default();
        if !escaped {
            return Ok(Cow::Borrowed(quoted.trim_matches('"')));
        }
        serde_json::from_str(quoted).map(Cow::Owned).map_err(|_| Syntax::new(start, "a string with an invalid escape"))
    }

    fn number(&mut self) -> Result<Content<'t>, Syntax> {
        let token = self.token();
        let number: Number = serde_json::from_str(token).map_err(|_| self.behind(token, "not a number"))?;
        // The standard library rounds fractions exactly; serde_json, as it is built here, does not.
        let exact = if number.is_f64() { token.parse().ok().and_then(Number::from_f64) } else { None };
        Ok(Content::Number(exact.unwrap_or(number)))
    }

    fn word(&mut self) -> Result<Content<'t>, Syntax> {
        match self.token() {
            "null" => Ok(Content::Null),
            "true" => Ok(Content::Bool(true)),
            "false" => Ok(Content::Bool(false)),
            token => Err(self.behind(token, "not a JSON value")),
        }
    }

    /// The run of characters that numbers and words are made of.
    fn token(&mut self) -> &'t str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest
            .bytes()
            .position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')))
            .unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Whether the next character is `byte`; then it is behind us.
    fn skipped(&mut self, byte: u8) -> bool {
        self.skip_space();
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn wrong(&self, message: impl Into<String>) -> Syntax {
        Syntax::new(self.at, message)
    }

    fn behind(&self, token: &str, message: &str) -> Syntax {
        Syntax::new(self.at - token.len(), message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn remembers_where_fields_and_values_stood() {
        let root = parse("{\n \"a\": [1, {\"b\": \"x\"}]}").unwrap();
        let field = &root.fields().unwrap()[0];
        assert_eq!((field.at, field.value.at), (3, 8));
        assert_eq!(root.locate("a.2.b"), 13);
        assert_eq!(root.locate("a.2.missing"), 12);
    }

    #[test]
    fn refuses_what_is_no_json_and_says_where() {
        let cases = [
            ("", 0, "the document ends"),
            ("{\"a\":1,}", 7, "expected a quoted field name"),
            ("{\"a\" 1}", 5, "expected ':'"),
            ("[1 2]", 3, "expected ',' or ']'"),
            ("[01]", 1, "not a number"),
            ("[nul]", 1, "not a JSON value"),
            ("\"a\nb\"", 2, "control character"),
            ("\"a", 0, "without an end"),
            ("\"\\", 0, "without an end"),
            (r#""\q""#, 0, "invalid escape"),
            ("{} {}", 3, "after the end"),
        ];
        for (text, at, message) in cases {
            let syntax = parse(text).unwrap_err();
            assert_eq!(syntax.at, at, "{text}");
            assert!(syntax.message.contains(message), "{text}: {}", syntax.message);
        }
    }

    #[test]
    fn refuses_nesting_that_would_exhaust_the_stack() {
        let text = "[".repeat(1_000_000);
        assert!(parse(&text).unwrap_err().message.contains("nested deeper"));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(".*", inner, 0..6).prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_on_every_document(value in any_json()) {
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                prop_assert_eq!(&parse(&text).unwrap().json(), &value);
            }
        }

        #[test]
        fn accepts_and_refuses_what_serde_json_does(text in r#"[\[\]{}",:0-9a-z\\ .\-]{0,24}"#) {
            let theirs = serde_json::from_str::<Value>(&text);
            prop_assert_eq!(parse(&text).is_ok(), theirs.is_ok());
        }
    }
}
