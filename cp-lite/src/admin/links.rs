//! Which kind refers to which, read from the schemas: what makes nested paths, and what may be named by name.

use model::kind::{ALL, KindDef};
use model::schema::Type;
use model::{Id, Kind};
use serde_json::Value;

/// A foreign key of a kind.
#[derive(Clone, Copy)]
pub(super) struct Link {
    /// The kind that has it.
    pub(super) child: &'static KindDef,
    /// The field.
    pub(super) field: &'static str,
    /// The kind it points to.
    pub(super) parent: &'static KindDef,
    /// Whether the child goes with the parent.
    pub(super) cascade: bool,
}

/// The foreign keys of a kind.
pub(super) fn of(child: &'static KindDef) -> impl Iterator<Item = Link> {
    child.schema.fields.iter().filter_map(move |field| {
        let Type::Foreign(collection) = field.ty else { return None };
        let parent = Kind::from_name(collection)?.def();
        Some(Link { child, field: field.name, parent, cascade: field.cascade })
    })
}

/// The foreign key by which a collection of this name hangs below a kind: `plugins` below routes.
pub(super) fn below(parent: &'static KindDef, nested_path: &str) -> Option<Link> {
    let named = ALL.iter().filter(|child| child.nested_path == nested_path);
    named.flat_map(|child| of(child)).find(|link| link.parent.kind == parent.kind)
}

/// The entity that a foreign key of this entity points to.
pub(super) fn target(entity: &serde_json::Map<String, Value>, field: &str) -> Option<Id> {
    entity.get(field)?.get("id")?.as_str()?.parse().ok()
}

/// A foreign key as JSON.
pub(super) fn to(id: Id) -> Value {
    serde_json::json!({ "id": id })
}
