//! The YAML parser: granit-parser's events become the same tree as JSON's. Aliases and merge keys are expanded within
//! a bound.

use super::node::{Content, DEPTH_MAX, Field, NODES_MAX, Node, Syntax, offset};
use super::scalar::plain;
use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};
use std::borrow::Cow;
use std::collections::HashMap;

/// The most nodes that expanding aliases may add to a document (against "billion laughs").
pub const ALIAS_NODES_MAX: usize = 1_000_000;

/// Reads one YAML document.
pub(super) fn parse(text: &str) -> Result<Node<'_>, Syntax> {
    // Comments would come as events where another crate of the same build turns that feature of the parser on.
    let options = granit_parser::options! {
        flow_nesting_limit: DEPTH_MAX,
        block_nesting_limit: DEPTH_MAX,
        emit_comments: false,
    };
    let parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder {
        events: parser,
        anchors: HashMap::new(),
        nodes: 0,
        by_alias: 0,
        depth: 0,
        deepest: 0,
        end: text.len(),
    };
    builder.document()
}

struct Builder<'t, I> {
    events: I,
    anchors: HashMap<usize, Anchored<'t>>,
    nodes: usize,
    by_alias: usize,
    /// How deep the node that is read lies, and the deepest below the one around it, aliases expanded.
    depth: usize,
    deepest: usize,
    end: usize,
}

/// What an anchor names.
struct Anchored<'t> {
    node: Node<'t>,
    /// How many nodes that is.
    nodes: usize,
    /// How many levels there are below it.
    levels: usize,
}

impl<'t, I> Builder<'t, I>
where
    I: Iterator<Item = Result<(Event<'t>, Span), ScanError>>,
{
    fn document(&mut self) -> Result<Node<'t>, Syntax> {
        let root = loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(..), _) => {}
                (Event::StreamEnd, at) => return Err(Syntax::new(at, "the document is empty")),
                (event, at) => break self.node(event, at)?,
            }
        };
        loop {
            match self.next()? {
                (Event::DocumentEnd, _) => {}
                (Event::StreamEnd, _) => return Ok(root),
                (_, at) => return Err(Syntax::new(at, "a second document: a file holds one")),
            }
        }
    }

    /// The next event that matters, and where it begins.
    fn next(&mut self) -> Result<(Event<'t>, usize), Syntax> {
        match self.events.next() {
            Some(Ok((event, span))) => Ok((event, span.start.byte_offset().unwrap_or(0))),
            Some(Err(error)) => Err(Syntax::new(error.marker().byte_offset().unwrap_or(self.end), error.info())),
            None => Ok((Event::StreamEnd, self.end)),
        }
    }

    /// The node that begins with `event`; what is below it is read, too.
    fn node(&mut self, event: Event<'t>, at: usize) -> Result<Node<'t>, Syntax> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(Syntax::new(at, format!("more than {NODES_MAX} values")));
        }
        let before = self.nodes;
        let around = std::mem::replace(&mut self.deepest, self.depth);
        let (content, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => (scalar(text, style, tag.as_deref(), at)?, anchor),
            Event::SequenceStart(_, anchor, tag) => {
                known_tag(tag.as_deref(), "seq", at)?;
                (self.list()?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                known_tag(tag.as_deref(), "map", at)?;
                (self.map()?, anchor)
            }
            Event::Alias(anchor) => {
                self.deepest = around;
                return self.alias(anchor, at);
            }
            _ => return Err(Syntax::new(at, "expected a value")),
        };
        let node = Node { at: offset(at), content };
        if anchor != 0 {
            let (nodes, levels) = (1 + self.nodes - before, self.deepest - self.depth);
            self.anchors.insert(anchor, Anchored { node: node.clone(), nodes, levels });
        }
        self.deepest = self.deepest.max(around);
        Ok(node)
    }

    /// The same, one level down.
    fn below(&mut self, event: Event<'t>, at: usize) -> Result<Node<'t>, Syntax> {
        self.depth += 1;
        let node = self.node(event, at);
        self.depth -= 1;
        node
    }

    /// A copy of what the anchor named, counted before it is made.
    fn alias(&mut self, anchor: usize, at: usize) -> Result<Node<'t>, Syntax> {
        let Some(Anchored { node, nodes, levels }) = self.anchors.get(&anchor) else {
            return Err(Syntax::new(at, "an alias inside what it names"));
        };
        self.by_alias += nodes;
        self.nodes += nodes;
        let reached = self.depth + levels;
        self.deepest = self.deepest.max(reached);
        // The parser counts what is written; what walks over the tree later goes as deep as it is.
        if reached > DEPTH_MAX {
            return Err(Syntax::new(at, format!("aliases nest deeper than {DEPTH_MAX} levels")));
        }
        if self.by_alias > ALIAS_NODES_MAX || self.nodes > NODES_MAX {
            return Err(Syntax::new(at, format!("aliases expand to more than {ALIAS_NODES_MAX} values")));
        }
        Ok(node.clone())
    }

    fn list(&mut self) -> Result<Content<'t>, Syntax> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => {
                    items.shrink_to_fit();
                    return Ok(Content::List(items));
                }
                (event, at) => items.push(self.below(event, at)?),
            }
        }
    }

    fn map(&mut self) -> Result<Content<'t>, Syntax> {
        let mut fields: Vec<Field<'t>> = Vec::new();
        let mut merged = Vec::new();
        loop {
            let (name, at) = match self.next()? {
                (Event::MappingEnd, _) => break,
                (Event::Scalar(name, ..), at) => (name, at),
                (_, at) => return Err(Syntax::new(at, "a field name must be a plain string")),
            };
            let (event, value_at) = self.next()?;
            let value = self.below(event, value_at)?;
            if name == "<<" {
                merge(value, &mut merged)?;
            } else {
                fields.push(Field { at: offset(at), name, value });
            }
        }
        for field in merged {
            if !fields.iter().any(|own| own.name == field.name) {
                fields.push(field);
            }
        }
        fields.shrink_to_fit();
        Ok(Content::Map(fields))
    }
}

/// What `<<` brings: the fields of a map, or of several, the earlier ones winning.
fn merge<'t>(value: Node<'t>, merged: &mut Vec<Field<'t>>) -> Result<(), Syntax> {
    match value.content {
        Content::Map(fields) => merged.extend(fields),
        Content::List(items) => {
            for item in items {
                let Content::Map(fields) = item.content else {
                    return Err(Syntax { at: item.at, message: "'<<' takes maps".into() });
                };
                merged.extend(fields);
            }
        }
        _ => return Err(Syntax { at: value.at, message: "'<<' takes a map or a list of maps".into() }),
    }
    Ok(())
}

/// Only YAML's own tags have a meaning here.
fn known_tag(tag: Option<&Tag>, expected: &str, at: usize) -> Result<(), Syntax> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema_tag(expected) => {
            Err(Syntax::new(at, format!("the tag {} has no meaning here", tag.original())))
        }
        _ => Ok(()),
    }
}

fn scalar<'t>(text: Cow<'t, str>, style: ScalarStyle, tag: Option<&Tag>, at: usize) -> Result<Content<'t>, Syntax> {
    let forced = tag.is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
    if forced || (tag.is_none() && style != ScalarStyle::Plain) {
        return Ok(Content::Text(text));
    }
    if let Some(tag) = tag
        && !["null", "bool", "int", "float"].iter().any(|name| tag.is_yaml_core_schema_tag(name))
    {
        return Err(Syntax::new(at, format!("the tag {} has no meaning here", tag.original())));
    }
    plain(&text).map(|content| content.unwrap_or(Content::Text(text))).map_err(|message| Syntax::new(at, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_scalars_as_kong_does() {
        let text = "{a: 1, b: 1.5, c: yes, d: 'yes', e: ~, f: 0123, g: 0x10, h: 1e3, i: -7, j: 1.2.3, k: '', l: 12:30}";
        let expected = json!({"a": 1, "b": 1.5, "c": true, "d": "yes", "e": null, "f": "0123", "g": 16, "h": 1000.0,
            "i": -7, "j": "1.2.3", "k": "", "l": "12:30"});
        assert_eq!(parse(text).unwrap().json(), expected);
        assert_eq!(parse("a: !!str 12\nb: !!int '7'").unwrap().json(), json!({"a": "12", "b": 7}));
    }

    #[test]
    fn expands_aliases_and_merge_keys() {
        let text = "base: &base {a: 1, b: [2]}\none: *base\ntwo:\n  <<: *base\n  a: 9\nthree: {<<: [*base, {c: 3}]}\n";
        let expected = json!({"base": {"a": 1, "b": [2]}, "one": {"a": 1, "b": [2]}, "two": {"a": 9, "b": [2]},
            "three": {"a": 1, "b": [2], "c": 3}});
        assert_eq!(parse(text).unwrap().json(), expected);
    }

    #[test]
    fn remembers_where_fields_and_values_stood() {
        let text = "é: 1\nservices:\n- name: x\n  port: nine\n";
        let root = parse(text).unwrap();
        assert_eq!(&text[root.locate("services.1.port") as usize..][..4], "port");
        let services = root.fields().unwrap()[1].clone();
        assert_eq!(services.at as usize, text.find("services").unwrap());
    }

    #[test]
    fn says_where_the_text_is_no_yaml() {
        let syntax = parse("a: 1\nb: [1\nc: 2\n").unwrap_err();
        assert!(syntax.at >= 5, "{syntax:?}");
        assert!(parse("# before\na: 1 # beside\n# between\nb: [1, # within\n 2]\n# after\n").is_ok());
        for text in ["", "# nothing\n"] {
            assert!(parse(text).unwrap_err().message.contains("empty"));
        }
        assert!(parse("a: 1\n---\nb: 2\n").unwrap_err().message.contains("second document"));
        assert!(parse("a: !ruby/object x\n").unwrap_err().message.contains("no meaning"));
        assert!(parse("? [a]\n: 1\n").unwrap_err().message.contains("field name"));
        assert!(parse("a: .nan\n").unwrap_err().message.contains("infinity"));
    }

    #[test]
    fn a_billion_laughs_are_refused_before_they_take_memory() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let below = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        assert!(parse(&text).unwrap_err().message.contains("aliases expand"));
    }

    #[test]
    fn aliases_of_aliases_nest_no_deeper_than_what_is_written() {
        let nest = |inner: &str, levels: usize| format!("{}{inner}{}", "[".repeat(levels), "]".repeat(levels));
        let mut text = format!("a0: &a0 {}\n", nest("x", 50));
        for level in 1..150 {
            text.push_str(&format!("a{level}: &a{level} {}\n", nest(&format!("*a{}", level - 1), 50)));
        }
        assert!(parse(&text).unwrap_err().message.contains("nest deeper"));
        let bound = |inner: usize, outer: usize| {
            let text = format!("a: &a {}\nb: {}\n", nest("x", inner), nest("*a", outer));
            parse(&text).is_ok()
        };
        assert!(bound(30, DEPTH_MAX - 31) && !bound(30, DEPTH_MAX - 30));
    }

    #[test]
    fn an_alias_inside_its_own_anchor_is_refused() {
        assert!(parse("a: &a [*a]\n").is_err());
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(parse(&"[".repeat(10_000)).is_err());
        let deep: String = (0..200).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
        assert!(parse(&deep).is_err());
    }
}
