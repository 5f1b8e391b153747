//! A document as a tree that remembers where everything stood. Both parsers build it, the reader walks it; text is
//! borrowed from the document where it stands there unescaped.

use serde_json::{Map, Number, Value};
use std::borrow::Cow;

/// The deepest nesting of lists and maps that is read. Kong's deepest is nine.
pub const DEPTH_MAX: usize = 64;

/// The most nodes (scalars, lists, maps) that a document may have, aliases expanded.
pub const NODES_MAX: usize = 8_000_000;

/// A byte offset in the document.
pub(super) type Offset = u32;

/// A value and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node<'t> {
    pub(super) at: Offset,
    pub(super) content: Content<'t>,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content<'t> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'t, str>),
    List(Vec<Node<'t>>),
    Map(Vec<Field<'t>>),
}

/// One entry of a map, in the order of the document.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field<'t> {
    pub(super) at: Offset,
    pub(super) name: Cow<'t, str>,
    pub(super) value: Node<'t>,
}

/// The text is no document: where, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Syntax {
    pub(super) at: Offset,
    pub(super) message: String,
}

impl Syntax {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at: offset(at), message: message.into() }
    }
}

/// A byte offset; documents are far smaller than what it can hold ([`super::FILE_BYTES_MAX`]).
pub(super) fn offset(at: usize) -> Offset {
    Offset::try_from(at).unwrap_or(Offset::MAX)
}

impl<'t> Node<'t> {
    /// The entries, if it is a map.
    pub(super) fn fields(&self) -> Option<&[Field<'t>]> {
        match &self.content {
            Content::Map(fields) => Some(fields),
            _ => None,
        }
    }

    /// The entry called `name`, if it is a map that has one.
    pub(super) fn field(&self, name: &str) -> Option<&Field<'t>> {
        self.fields()?.iter().find(|field| field.name == name)
    }

    /// The value below `name`, if it is a map that has one that is not `null`.
    pub(super) fn get(&self, name: &str) -> Option<&Node<'t>> {
        self.field(name).map(|field| &field.value).filter(|value| value.content != Content::Null)
    }

    /// The text below `name`, if it is a map with one there.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        self.get(name)?.text()
    }

    /// The elements, if it is a list.
    pub(super) fn items(&self) -> Option<&[Node<'t>]> {
        match &self.content {
            Content::List(items) => Some(items),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it is `null` or a list or map without entries.
    pub(super) fn is_empty(&self) -> bool {
        match &self.content {
            Content::Null => true,
            Content::List(items) => items.is_empty(),
            Content::Map(fields) => fields.is_empty(),
            _ => false,
        }
    }

    /// What it is, in the words of Kong's errors.
    pub(super) fn noun(&self) -> &'static str {
        match self.content {
            Content::Null => "null",
            Content::Bool(_) => "a boolean",
            Content::Number(_) => "a number",
            Content::Text(_) => "a string",
            Content::List(_) => "an array",
            Content::Map(_) => "a map",
        }
    }

    /// As JSON, positions forgotten.
    pub(super) fn json(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Bool(value) => Value::Bool(*value),
            Content::Number(number) => Value::Number(number.clone()),
            Content::Text(text) => Value::String(text.to_string()),
            Content::List(items) => Value::Array(items.iter().map(Node::json).collect()),
            Content::Map(fields) => Value::Object(Self::object(fields.iter())),
        }
    }

    /// A tree without positions.
    pub(super) fn of(value: &'t Value) -> Self {
        let content = match value {
            Value::Null => Content::Null,
            Value::Bool(value) => Content::Bool(*value),
            Value::Number(number) => Content::Number(number.clone()),
            Value::String(text) => Content::Text(Cow::Borrowed(text)),
            Value::Array(items) => Content::List(items.iter().map(Node::of).collect()),
            Value::Object(entries) => {
                let field = |(name, value): (&'t String, &'t Value)| Field {
                    at: 0,
                    name: Cow::Borrowed(name),
                    value: Node::of(value),
                };
                Content::Map(entries.iter().map(field).collect())
            }
        };
        Self { at: 0, content }
    }

    /// These entries as a JSON object.
    pub(super) fn object<'a>(fields: impl Iterator<Item = &'a Field<'t>>) -> Map<String, Value>
    where
        't: 'a,
    {
        fields.map(|field| (field.name.to_string(), field.value.json())).collect()
    }

    /// Where `path` (`config.limit`, `hosts.2`; list places count from 1, as in Kong's messages) stands: the name of
    /// the deepest field of it that is there, or the list element.
    pub(super) fn locate(&self, path: &str) -> Offset {
        let (mut node, mut at) = (self, self.at);
        for step in path.split('.') {
            (node, at) = match &node.content {
                Content::List(items) => {
                    let place = step.parse::<usize>().ok().and_then(|place| place.checked_sub(1));
                    let Some(item) = place.and_then(|place| items.get(place)) else { break };
                    (item, item.at)
                }
                _ => {
                    let Some(field) = node.field(step) else { break };
                    (&field.value, field.at)
                }
            };
        }
        at
    }

    /// Every map entry whose name stood earlier in the same map, the whole tree over.
    pub(super) fn repeated(&self) -> Vec<(Offset, &str)> {
        let mut found = Vec::new();
        let mut pending = vec![self];
        while let Some(node) = pending.pop() {
            match &node.content {
                Content::List(items) => pending.extend(items),
                Content::Map(fields) => {
                    let mut names = std::collections::HashSet::with_capacity(fields.len());
                    let twice = fields.iter().filter(|field| !names.insert(&*field.name));
                    found.extend(twice.map(|field| (field.at, &*field.name)));
                    pending.extend(fields.iter().map(|field| &field.value));
                }
                _ => {}
            }
        }
        found
    }
}
