//! Declarative files: a whole configuration as one YAML or JSON document, in Kong's format 1.1, 2.1 or 3.0 and in
//! decK's dialect of it. [`read`] gives the canonical entities or every mistake with its place, never a part;
//! [`write`] gives 3.0 back.
//!
//! A file passes through: [`json`] or [`yaml`] (text to a tree with positions), [`header`] (the `_` fields),
//! [`gather`] (nested and flat lists to drafts with [`ids`]), [`link`] (names to ids), [`settle`] (the schemas'
//! checks, bodies, duplicates). [`migrate`] and [`unsupported`] know the past and the rest of Kong.

mod emit;
mod gather;
mod header;
mod ids;
mod json;
mod link;
mod migrate;
mod mistake;
mod node;
mod scalar;
mod settle;
#[cfg(test)]
mod tests;
mod unsupported;
mod write;
#[cfg(feature = "yaml")]
mod yaml;

pub use gather::ENTITIES_MAX;
pub use header::FormatVersion;
pub use mistake::{MISTAKES_MAX, Mistake};
pub use node::{DEPTH_MAX, NODES_MAX};
pub use write::{Detail, Layout, Preamble, Style, write};
#[cfg(feature = "yaml")]
pub use yaml::ALIAS_NODES_MAX;

use crate::body::{BodyError, Object};
use crate::schema::CheckCx;
use crate::{Id, Kind, Record};
use mistake::Found;
use node::{Node, Syntax};
use std::sync::Arc;

/// The largest file that is read.
pub const FILE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// How a file is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// RFC 8259.
    Json,
    /// YAML 1.2, with the booleans of 1.1.
    Yaml,
}

impl Format {
    /// By the ending of a file name: `.json`, `.yaml`, `.yml`.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1.to_ascii_lowercase().as_str() {
            "json" => Some(Self::Json),
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
    }

    /// By its first character: JSON opens with a brace, and hardly any YAML does.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        if text.trim_start().starts_with('{') { Self::Json } else { Self::Yaml }
    }
}

/// A file that was read: all of it is right.
#[derive(Debug, Clone)]
pub struct Declared {
    /// Its entities, parents before what refers to them, otherwise in the order of the file.
    pub entities: Vec<Entity>,
    /// The format that the file was in; the entities are as 3.0 means them.
    pub format_version: FormatVersion,
    /// `_comment`.
    pub comment: Option<String>,
    /// `_transform`: whether credentials are to be hashed where a kind asks for that. True unless the file says no.
    pub transform: bool,
    /// decK's `_info.select_tags`: the entities all have these tags, and the file is about nothing else.
    pub select_tags: Vec<String>,
}

/// An entity of a file in its canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// What it is.
    pub kind: Kind,
    /// Its id: the file's, or derived from its name and place as Kong does.
    pub id: Id,
    /// The fields that the file left open and that were made up (Kong: `auto`): `id`, `created_at`, a credential's `key`.
    pub made: Vec<&'static str>,
    /// Postcard, see [`crate::body`].
    pub body: Arc<[u8]>,
    /// When the file was read, in seconds since 1970: what a `ttl` of the file counts from.
    pub read_at: i64,
}

impl Entity {
    /// As the Admin API shows it at the time the file was read.
    ///
    /// # Errors
    /// The body was not made by this build.
    pub fn json(&self) -> Result<Object, BodyError> {
        let def = self.kind.def();
        let canonical = (def.to_json)(&self.body)?;
        // No ttl of a file is over when the file is read.
        Ok(def.schema.seen_at(canonical, self.read_at).unwrap_or_default())
    }
}

impl Declared {
    /// The entities as records of one commit.
    #[must_use]
    pub fn to_records(&self, version: u64) -> Vec<Record> {
        let record = |entity: &Entity| Record {
            kind: entity.kind,
            id: entity.id,
            version,
            tag: Record::tag_of(entity.kind, entity.id, &entity.body),
            body: Arc::clone(&entity.body),
        };
        self.entities.iter().map(record).collect()
    }
}

/// Reads a file; without a format, its first character tells ([`Format::of_text`]). Bounds: [`FILE_BYTES_MAX`],
/// [`DEPTH_MAX`], [`NODES_MAX`], [`ENTITIES_MAX`] and, in YAML, [`ALIAS_NODES_MAX`].
///
/// # Errors
/// Every mistake (up to [`MISTAKES_MAX`]) in the order of the text; a text that is no YAML or JSON has one.
pub fn read(text: &str, format: Option<Format>, cx: &CheckCx<'_>) -> Result<Declared, Vec<Mistake>> {
    let mut found = Found::default();
    let declared = read_into(text, format, cx, &mut found);
    match declared {
        Some(declared) if found.is_empty() => Ok(declared),
        _ => Err(found.into_mistakes(text)),
    }
}

fn read_into(text: &str, format: Option<Format>, cx: &CheckCx<'_>, found: &mut Found) -> Option<Declared> {
    let root = match parse(text, format.unwrap_or_else(|| Format::of_text(text))) {
        Ok(root) => root,
        Err(syntax) => {
            found.add(syntax.at, "", "", syntax.message);
            return None;
        }
    };
    for (at, name) in root.repeated() {
        found.add(at, "", name, "the same field stands here a second time");
    }
    let header = header::read(&root, found)?;
    let drafts = gather::gather(&root, found)?;
    let names = link::Names::of(&drafts);
    let entities = settle::settle(&drafts, &names, &header, cx, found);
    Some(Declared {
        entities,
        format_version: header.format_version,
        comment: header.comment,
        transform: header.transform,
        select_tags: header.select_tags,
    })
}

fn parse(text: &str, format: Format) -> Result<Node<'_>, Syntax> {
    if text.len() > FILE_BYTES_MAX {
        return Err(Syntax::new(0, format!("the file is larger than {FILE_BYTES_MAX} bytes")));
    }
    match format {
        Format::Json => json::parse(text),
        #[cfg(feature = "yaml")]
        Format::Yaml => yaml::parse(text),
        #[cfg(not(feature = "yaml"))]
        Format::Yaml => Err(Syntax::new(0, "this build reads JSON only")),
    }
}
