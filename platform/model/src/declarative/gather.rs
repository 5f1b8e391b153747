//! From the tree to a flat list of drafts: every entity that the file names, nested or not, parents first, with its id
//! and its place below its parent. Nothing is checked here but the outline.

use super::header;
use super::ids::{self, ByContent};
use super::mistake::Found;
use super::node::{Content, Field, Node};
use super::unsupported;
use crate::kind::{self, KindDef};
use crate::schema::Type;
use crate::{Id, Kind};

/// The most entities that a file may have.
pub const ENTITIES_MAX: usize = 500_000;

/// An entity as the file has it.
pub(super) struct Draft<'d, 't> {
    pub(super) kind: Kind,
    pub(super) id: Id,
    /// A map; or a text for a server name in a certificate's list.
    pub(super) node: &'d Node<'t>,
    /// The field that refers to the entity that this one is nested in, and that entity's place in the list.
    pub(super) parent: Option<(&'static str, usize)>,
    /// How mistakes name it: `route 'orders'`.
    pub(super) label: String,
}

/// Lists the entities; nothing if there are too many to go on.
pub(super) fn gather<'d, 't>(root: &'d Node<'t>, found: &mut Found) -> Option<Vec<Draft<'d, 't>>> {
    let mut gatherer = Gatherer { drafts: Vec::new(), content: ByContent::default(), found };
    for field in root.fields()? {
        gatherer.top_level(field);
    }
    if gatherer.drafts.len() > ENTITIES_MAX {
        found.add(root.at, "", "", format!("more than {ENTITIES_MAX} entities"));
        return None;
    }
    Some(gatherer.drafts)
}

/// The one parameter that Kong's exports have: which cluster they came from. It configures nothing.
const CLUSTER_ID: &str = "cluster_id";

struct Gatherer<'d, 't, 'f> {
    drafts: Vec<Draft<'d, 't>>,
    content: ByContent,
    found: &'f mut Found,
}

impl<'d, 't> Gatherer<'d, 't, '_> {
    fn top_level(&mut self, field: &'d Field<'t>) {
        if header::FIELDS.contains(&&*field.name) {
            return;
        }
        if let Some(kind) = Kind::from_name(&field.name) {
            return self.list(kind.def(), &field.value, None);
        }
        match unsupported::reason(&field.name) {
            Some(reason) => self.refuse_each(field, reason),
            None => self.found.add(field.at, "", &*field.name, "unknown field: no such kind of entity"),
        }
    }

    /// One mistake for each entity of a collection that is not to be had.
    fn refuse_each(&mut self, field: &Field<'_>, reason: &str) {
        let singular = singular(&field.name);
        for (place, item) in field.value.items().unwrap_or_default().iter().enumerate() {
            let name = ["name", "prefix", "username", "id"].iter().find_map(|name| item.text_of(name));
            if !(field.name == "parameters" && item.text_of("key") == Some(CLUSTER_ID)) {
                self.found.add(item.at, label(singular, name, place), "", reason);
            }
        }
        if field.value.items().is_none() && !field.value.is_empty() {
            self.found.add(field.at, "", &*field.name, reason);
        }
    }

    fn list(&mut self, def: &'static KindDef, list: &'d Node<'t>, parent: Option<(&'static str, usize)>) {
        match &list.content {
            Content::Null => {}
            Content::List(items) => {
                for (place, item) in items.iter().enumerate() {
                    self.entity(def, item, place, parent);
                }
            }
            _ => {
                let owner = parent.and_then(|(_, at)| self.drafts.get(at)).map(|draft| draft.label.clone());
                self.found.add(
                    list.at,
                    owner.unwrap_or_default(),
                    def.name,
                    format!("expected a list, not {}", list.noun()),
                );
            }
        }
    }

    fn entity(
        &mut self,
        def: &'static KindDef,
        node: &'d Node<'t>,
        place: usize,
        parent: Option<(&'static str, usize)>,
    ) {
        let is_name = node.text().is_some() && parent.is_some() && def.kind == Kind::Sni;
        if node.fields().is_none() && !is_name {
            let message = format!("expected a map, not {}", node.noun());
            return self.found.add(node.at, label(singular(def.name), None, place), "", message);
        }
        if self.drafts.len() > ENTITIES_MAX {
            return;
        }
        let above = parent.and_then(|(field, at)| Some((self.drafts.get(at)?.id, field)));
        let id = match node.text() {
            Some(name) => ids::derive(def.kind, name),
            None => ids::id_of(def.kind, node, above, &mut self.content),
        };
        let label = label(singular(def.name), name_of(def.kind, node), place);
        let at = self.drafts.len();
        self.drafts.push(Draft { kind: def.kind, id, node, parent, label });
        for field in node.fields().unwrap_or_default() {
            if let Some((child, by)) = child(def, &field.name) {
                self.list(child, &field.value, Some((by, at)));
            }
        }
    }
}

/// The field of an entity by which others may name it.
pub(super) fn endpoint_key(kind: Kind) -> Option<&'static str> {
    kind.def().schema.endpoint_key.or(kind.def().endpoint_key)
}

/// The kind whose entities may stand below one of `parent` in a list called `name`, and the field by which they refer
/// to it. Where the parent has a field of its own of that name, it means that field (Kong's rule); but the server
/// names of a certificate are entities.
pub(super) fn child(parent: &KindDef, name: &str) -> Option<(&'static KindDef, &'static str)> {
    if parent.schema.field(name).is_some() && parent.kind != Kind::Certificate {
        return None;
    }
    let def = kind::ALL.iter().find(|def| def.name == name)?;
    let refers = |ty: Type| matches!(ty, Type::Foreign(collection) if collection == parent.name);
    let field = def.schema.fields.iter().find(|field| refers(field.ty))?;
    Some((def, field.name))
}

/// What an entity is called in its file, unless that is a secret.
fn name_of<'n>(kind: Kind, node: &'n Node<'_>) -> Option<&'n str> {
    let shown = |name: &str| !kind.def().schema.field(name).is_some_and(|field| field.secret || field.auto);
    let names = [endpoint_key(kind), Some("name"), Some("custom_id")];
    let named = names.into_iter().flatten().filter(|name| shown(name)).find_map(|name| node.text_of(name));
    named.or_else(|| node.text()).or_else(|| node.text_of("id"))
}

fn label(singular: &str, name: Option<&str>, place: usize) -> String {
    match name {
        Some(name) => format!("{singular} '{name}'"),
        None => format!("{singular} {}", place + 1),
    }
}

/// Kong's collection names are plain plurals.
pub(super) fn singular(collection: &str) -> &str {
    collection.strip_suffix('s').unwrap_or(collection)
}
