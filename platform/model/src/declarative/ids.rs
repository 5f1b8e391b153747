//! The ids of entities that bring none. Kong derives them from names (UUID version 5), so that the same file gives the
//! same ids everywhere; where Kong rolls dice (a route without a name), we derive from the content instead.
//! Kong: `generate_ids` and `build_cache_key` in `declarative_config`.

use super::gather::endpoint_key;
use super::node::{Content, Node};
use crate::schema::Type;
use crate::{Id, Kind};
use std::collections::HashMap;

/// Kong's namespace of all entities; each kind has one of its own below it, by its name.
const NAMESPACE: Id = Id(0xfd02801f_0957_4a15_a55a_c8d9606f30b5);

/// What an entity is nested in, and the field that refers to it.
pub(super) type Parent<'a> = (Id, &'a str);

/// The id of the entity of this kind with this key.
pub(super) fn derive(kind: Kind, key: &str) -> Id {
    Id::derived(Id::derived(NAMESPACE, kind.def().name), key)
}

/// Where ids come from when neither the file nor a name gives one: the content, and how often it was met before.
#[derive(Default)]
pub(super) struct ByContent(HashMap<Id, u32>);

impl ByContent {
    fn derive(&mut self, kind: Kind, node: &Node<'_>, parent: Option<Id>) -> Id {
        let above = parent.map(|parent| parent.to_string()).unwrap_or_default();
        let content = derive(kind, &format!("{above}:{}", node.json()));
        let met = self.0.entry(content).or_default();
        *met += 1;
        if *met == 1 { content } else { Id::derived(content, &met.to_string()) }
    }
}

/// The id of an entity: what the file says, what Kong would derive, or what the content gives.
pub(super) fn id_of(kind: Kind, node: &Node<'_>, parent: Option<Parent<'_>>, content: &mut ByContent) -> Id {
    if let Some(id) = node.text_of("id").and_then(|text| text.parse().ok()) {
        return id;
    }
    named(kind, node, parent).unwrap_or_else(|| content.derive(kind, node, parent.map(|(id, _)| id)))
}

/// The id that Kong would derive from names, if the entity has what that takes.
pub(super) fn named(kind: Kind, node: &Node<'_>, parent: Option<Parent<'_>>) -> Option<Id> {
    let key = named_key(kind, node, parent).or_else(|| cache_key(kind, node, parent))?;
    Some(derive(kind, &key))
}

/// The name of the entity; where names are unique below a parent only (targets), the parent's id follows.
fn named_key(kind: Kind, node: &Node<'_>, parent: Option<Parent<'_>>) -> Option<String> {
    let schema = kind.def().schema;
    let name = endpoint_key(kind)?;
    let mut key = node.text_of(name)?.to_owned();
    if schema.field(name).is_some_and(|field| field.unique) {
        return Some(key);
    }
    let owners = schema.fields.iter().filter(|field| field.cascade && matches!(field.ty, Type::Foreign(_)));
    for owner in owners {
        let above = match parent {
            Some((id, _)) => id.to_string(),
            None => reference(&node.field(owner.name)?.value)?.to_owned(),
        };
        key = format!("{key}:{above}");
    }
    Some(key)
}

/// The fields that are unique together, behind the name of the kind: `plugins:jwt::<service>:`.
fn cache_key(kind: Kind, node: &Node<'_>, parent: Option<Parent<'_>>) -> Option<String> {
    let schema = kind.def().schema;
    let mut key = (!schema.cache_key.is_empty()).then(|| kind.def().name.to_owned())?;
    for name in schema.cache_key {
        let field = schema.field(name)?;
        let given = node.get(name);
        key.push(':');
        match (given, parent) {
            _ if field.auto => return None,
            (Some(value), _) => key.push_str(reference(value)?),
            (None, Some((id, below))) if below == *name => key.push_str(&id.to_string()),
            (None, _) if field.required => return None,
            (None, _) => {}
        }
    }
    Some(key)
}

/// A value, or the id or name in a reference.
fn reference<'n>(node: &'n Node<'_>) -> Option<&'n str> {
    match &node.content {
        Content::Text(text) => Some(text),
        Content::Map(fields) => fields.first()?.value.text(),
        _ => None,
    }
}
