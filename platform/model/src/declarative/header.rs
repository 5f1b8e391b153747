//! The fields of a file that begin with `_`: which format it is in, what was noted, what decK wants of it.

use super::mistake::Found;
use super::node::{Content, Field, Node};
use crate::Kind;
use std::collections::HashMap;

/// A format of declarative files. They differ in what a route's path means: see [`super::read`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatVersion {
    /// `"1.1"`: a path with unusual characters is a regex.
    V1_1,
    /// `"2.1"`: as 1.1.
    V2_1,
    /// `"3.0"`: a path that begins with `~` is a regex.
    V3_0,
}

impl FormatVersion {
    /// Whether a path in such a file is a regex by its characters.
    #[must_use]
    pub fn guesses_regexes(self) -> bool {
        self != Self::V3_0
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "1.1" => Some(Self::V1_1),
            "2.1" => Some(Self::V2_1),
            "3.0" => Some(Self::V3_0),
            _ => None,
        }
    }
}

/// What the `_` fields say.
pub(super) struct Header<'d, 't> {
    pub(super) format_version: FormatVersion,
    pub(super) transform: bool,
    pub(super) comment: Option<String>,
    pub(super) select_tags: Vec<String>,
    /// decK's `_info.defaults`: what entities of a kind have where the file says nothing.
    pub(super) defaults: HashMap<Kind, &'d [Field<'t>]>,
    /// `_plugin_configs`: configurations that plugins name with `_config`.
    pub(super) templates: HashMap<&'d str, &'d [Field<'t>]>,
}

/// The fields that a file may have besides its entities.
pub(super) const FIELDS: [&str; 7] =
    ["_format_version", "_transform", "_comment", "_ignore", "_info", "_workspace", "_plugin_configs"];

/// Reads the header. Without a known format version the rest of the file has no meaning.
pub(super) fn read<'d, 't>(root: &'d Node<'t>, found: &mut Found) -> Option<Header<'d, 't>> {
    if root.fields().is_none() {
        found.add(root.at, "", "", format!("expected a map of entities, not {}", root.noun()));
        return None;
    }
    let format_version = format_version(root, found)?;
    let mut header = Header {
        format_version,
        transform: true,
        comment: root.text_of("_comment").map(str::to_owned),
        select_tags: Vec::new(),
        defaults: HashMap::new(),
        templates: HashMap::new(),
    };
    if let Some(value) = root.get("_transform") {
        match value.content {
            Content::Bool(transform) => header.transform = transform,
            _ => found.add(value.at, "", "_transform", "expected a boolean"),
        }
    }
    if let Some(value) = root.get("_workspace")
        && value.text() != Some("default")
    {
        found.add(value.at, "", "_workspace", "there is one workspace here, called 'default'");
    }
    info(root, &mut header, found);
    for template in maps(root.get("_plugin_configs"), "_plugin_configs", found) {
        match template.value.fields() {
            Some(fields) => drop(header.templates.insert(&template.name, fields)),
            None => found.add(template.at, "", format!("_plugin_configs.{}", template.name), "expected a map"),
        }
    }
    Some(header)
}

fn format_version(root: &Node<'_>, found: &mut Found) -> Option<FormatVersion> {
    let Some(value) = root.get("_format_version") else {
        found.add(root.at, "", "_format_version", "required field missing: \"1.1\", \"2.1\" or \"3.0\"");
        return None;
    };
    let version = value.text().and_then(FormatVersion::parse);
    if version.is_none() {
        let message = match value.content {
            Content::Number(_) => "expected a string: write the version in quotes",
            _ => "expected one of: \"1.1\", \"2.1\", \"3.0\"",
        };
        found.add(value.at, "", "_format_version", message);
    }
    version
}

/// decK's `_info`.
fn info<'d, 't>(root: &'d Node<'t>, header: &mut Header<'d, 't>, found: &mut Found) {
    for field in maps(root.get("_info"), "_info", found) {
        match &*field.name {
            "select_tags" => header.select_tags = tags(&field.value, found),
            "defaults" => defaults(&field.value, header, found),
            name => found.add(field.at, "", format!("_info.{name}"), "not supported"),
        }
    }
}

fn tags(node: &Node<'_>, found: &mut Found) -> Vec<String> {
    let texts: Option<Vec<String>> =
        node.items().and_then(|items| items.iter().map(|item| item.text().map(str::to_owned)).collect());
    texts.unwrap_or_else(|| {
        found.add(node.at, "", "_info.select_tags", "expected a list of strings");
        Vec::new()
    })
}

fn defaults<'d, 't>(node: &'d Node<'t>, header: &mut Header<'d, 't>, found: &mut Found) {
    for field in maps(Some(node), "_info.defaults", found) {
        let kind = Kind::from_name(&format!("{}s", field.name));
        match (kind, field.value.fields()) {
            (Some(kind), Some(fields)) => drop(header.defaults.insert(kind, fields)),
            (None, _) => found.add(field.at, "", format!("_info.defaults.{}", field.name), "no such kind of entity"),
            (_, None) => found.add(field.at, "", format!("_info.defaults.{}", field.name), "expected a map"),
        }
    }
}

/// The entries of a map that may be absent.
fn maps<'d, 't>(node: Option<&'d Node<'t>>, name: &str, found: &mut Found) -> &'d [Field<'t>] {
    match node {
        None => &[],
        Some(node) => node.fields().unwrap_or_else(|| {
            found.add(node.at, "", name, "expected a map");
            &[]
        }),
    }
}
