//! The writer: entities as a 3.0 file. What is owned is nested in its owner or listed flat, names stand for ids in
//! references, and the order is that of names, so that two dumps of one configuration are the same text.

use super::gather::{endpoint_key, singular};
use super::node::Node;
use super::{Format, emit, ids};
use crate::body::Object;
use crate::kind::KINDS;
use crate::schema::{Field, Literal, Schema, Type};
use crate::{Id, Kind, plugins};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};

/// Where entities that belong to others are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Below their owner: routes below their service, targets below their upstream.
    Nested,
    /// In lists of their own, with references.
    Flat,
}

/// How a file is to look.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Nested or flat.
    pub layout: Layout,
    /// YAML or JSON.
    pub format: Format,
    /// How much of what a reader fills in by itself.
    pub detail: Detail,
}

/// How much a file says that its reader would fill in by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Nothing.
    Terse,
    /// Defaults: decK 1.4 knows some of Kong's only, and sees a difference where others are left out.
    Explicit,
    /// Defaults, times, and ids that follow from names.
    Complete,
}

/// Fields whose default is never written, because decK 1.4 refuses files that have them.
const REFUSED_BY_OLD_TOOLS: [(Kind, &str); 2] = [(Kind::Service, "enabled"), (Kind::Upstream, "use_srv_name")];

/// What a file says besides its entities.
#[derive(Debug, Clone, Default)]
pub struct Preamble<'a> {
    /// `_comment`.
    pub comment: Option<&'a str>,
    /// decK's `_info.select_tags`.
    pub select_tags: &'a [String],
}

/// The order of the lists in a file: what people look for first.
const ORDER: [Kind; KINDS] = [
    Kind::Service,
    Kind::Route,
    Kind::Consumer,
    Kind::KeyauthCredential,
    Kind::JwtSecret,
    Kind::Plugin,
    Kind::Upstream,
    Kind::Target,
    Kind::Certificate,
    Kind::Sni,
    Kind::CaCertificate,
    Kind::KeySet,
    Kind::Key,
];

/// Writes a whole configuration, given as the Admin API shows its entities, as a 3.0 file.
pub fn write(entities: impl IntoIterator<Item = (Kind, Object)>, preamble: &Preamble<'_>, style: Style) -> String {
    let mut writer = Writer::new(entities, style.layout);
    let mut document = Map::new();
    document.insert("_format_version".into(), "3.0".into());
    if let Some(comment) = preamble.comment {
        document.insert("_comment".into(), comment.into());
    }
    if !preamble.select_tags.is_empty() {
        document.insert("_info".into(), json!({"select_tags": preamble.select_tags}));
    }
    for kind in ORDER {
        let list = writer.list(kind, None, style);
        if !list.is_empty() {
            document.insert(kind.def().name.into(), Value::Array(list));
        }
    }
    match style.format {
        Format::Yaml => emit::yaml(&document),
        Format::Json => format!("{:#}\n", Value::Object(document)),
    }
}

/// An entity's owner, if it has one, and its kind.
type Place = (Kind, Option<(Kind, Id)>);

struct Writer {
    /// Entities not written yet, by what they stand below.
    lists: HashMap<Place, Vec<Object>>,
    /// What an entity is called in references.
    names: HashMap<(Kind, Id), String>,
}

impl Writer {
    fn new(entities: impl IntoIterator<Item = (Kind, Object)>, layout: Layout) -> Self {
        let entities: Vec<_> = entities.into_iter().collect();
        let mut writer = Self { lists: HashMap::new(), names: HashMap::new() };
        let mut present = HashSet::with_capacity(entities.len());
        for (kind, entity) in &entities {
            let Some(id) = id_in(entity) else { continue };
            present.insert((*kind, id));
            if let Some(name) = endpoint_key(*kind).and_then(|key| entity.get(key)?.as_str()) {
                writer.names.insert((*kind, id), name.to_owned());
            }
        }
        for (kind, entity) in entities {
            let owner = if layout == Layout::Nested { owner(kind, &entity) } else { None };
            let owner = owner.map(|(_, kind, id)| (kind, id)).filter(|owner| present.contains(owner));
            writer.lists.entry((kind, owner)).or_default().push(entity);
        }
        writer
    }

    /// The entities of a kind below `owner`, in the order of their names, with all that is below them.
    fn list(&mut self, kind: Kind, owner: Option<(Kind, Id)>, style: Style) -> Vec<Value> {
        let mut list = self.lists.remove(&(kind, owner)).unwrap_or_default();
        list.sort_by_cached_key(|entity| sort_key(kind, entity));
        list.into_iter().map(|entity| Value::Object(self.entity(kind, entity, owner, style))).collect()
    }

    fn entity(&mut self, kind: Kind, mut entity: Object, below: Option<(Kind, Id)>, style: Style) -> Object {
        let id = id_in(&entity);
        let owner = below.and_then(|_| owner(kind, &entity));
        if let Some((field, ..)) = owner {
            entity.shift_remove(field);
        }
        let schema = kind.def().schema;
        prune(schema.fields, &mut entity, &|field| style.detail == Detail::Terse || refused(kind, field));
        if let Some(config) = plugin_schema(kind, &entity)
            && let Some(Value::Object(fields)) = entity.get_mut("config")
        {
            prune(config.fields, fields, &|_| style.detail == Detail::Terse);
            if fields.is_empty() {
                entity.shift_remove("config");
            }
        }
        self.name_references(schema, &mut entity);
        let mut written = name_first(kind, entity);
        if style.detail != Detail::Complete {
            written = terse(kind, written, id, owner.map(|(field, _, id)| (id, field)));
        }
        for child in ORDER {
            let list = id.map(|id| self.list(child, Some((kind, id)), style)).unwrap_or_default();
            if !list.is_empty() {
                written.insert(child.def().name.into(), Value::Array(list));
            }
        }
        written
    }

    /// `{"id": …}` becomes the name of what is meant, or its id.
    fn name_references(&self, schema: &Schema, entity: &mut Object) {
        for field in schema.fields {
            if let Type::Foreign(collection) = field.ty
                && let Some(value) = entity.get_mut(field.name)
                && let Some(id) = value.get("id").and_then(Value::as_str)
            {
                let target = Kind::from_name(collection).zip(id.parse().ok());
                let name = target.and_then(|target| self.names.get(&target));
                *value = json!(name.map_or(id, String::as_str));
            }
        }
    }
}

/// What an entity belongs to: the one reference that it has to a kind it is named after (a target's `upstream`, but
/// not a service's `client_certificate`).
fn owner(kind: Kind, entity: &Object) -> Option<(&'static str, Kind, Id)> {
    let named_after = |field: &Field| match field.ty {
        Type::Foreign(collection) if singular(collection) == field.name => {
            let id = entity.get(field.name)?.get("id")?.as_str()?.parse().ok()?;
            Some((field.name, Kind::from_name(collection)?, id))
        }
        _ => None,
    };
    let mut owners = kind.def().schema.fields.iter().filter_map(named_after);
    let first = owners.next()?;
    owners.next().is_none().then_some(first)
}

fn id_in(entity: &Object) -> Option<Id> {
    entity.get("id")?.as_str()?.parse().ok()
}

fn sort_key(kind: Kind, entity: &Object) -> (bool, String, String) {
    let text = |field: &str| entity.get(field).and_then(Value::as_str).map(str::to_owned);
    let name = endpoint_key(kind).and_then(text).or_else(|| text("name"));
    (name.is_none(), name.unwrap_or_default(), text("id").unwrap_or_default())
}

/// The fields with what names the entity in front.
fn name_first(kind: Kind, mut entity: Object) -> Object {
    let first = ["name", endpoint_key(kind).unwrap_or("name"), "id"];
    let mut ordered = Object::new();
    for name in first {
        if let Some(value) = entity.shift_remove(name) {
            ordered.insert(name.to_owned(), value);
        }
    }
    ordered.extend(entity);
    ordered
}

/// Without times, and without an id that follows from names.
fn terse(kind: Kind, mut entity: Object, id: Option<Id>, parent: Option<ids::Parent<'_>>) -> Object {
    entity.shift_remove("created_at");
    entity.shift_remove("updated_at");
    entity.shift_remove("id");
    let nameless = Value::Object(entity);
    let follows = id.is_some() && ids::named(kind, &Node::of(&nameless), parent) == id;
    let Value::Object(mut entity) = nameless else { return Object::new() };
    if let Some(id) = id.filter(|_| !follows) {
        entity.insert("id".into(), id.to_string().into());
    }
    entity
}

fn plugin_schema(kind: Kind, entity: &Object) -> Option<&'static Schema> {
    let name = if kind == Kind::Plugin { entity.get("name")?.as_str()? } else { return None };
    plugins::find(name).map(|plugin| plugin.schema)
}

fn refused(kind: Kind, field: &Field) -> bool {
    REFUSED_BY_OLD_TOOLS.contains(&(kind, field.name))
}

/// Takes out what says nothing: no value where none is the default, and the defaults of `needless` fields.
fn prune(fields: &[Field], values: &mut Object, needless: &dyn Fn(&Field) -> bool) {
    for field in fields {
        let Some(value) = values.get_mut(field.name) else { continue };
        if let (Type::Record(inner), Value::Object(inner_values)) = (field.ty, &mut *value) {
            prune(inner, inner_values, needless);
            if inner_values.is_empty() && matches!(field.default, Literal::Record) {
                values.shift_remove(field.name);
            }
            continue;
        }
        let default = default_of(&field.default);
        if (value.is_null() && default.is_null()) || (!value.is_null() && same(value, &default) && needless(field)) {
            values.shift_remove(field.name);
        }
    }
}

fn default_of(literal: &Literal) -> Value {
    match *literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => json!(value),
        Literal::Int(value) => json!(value),
        Literal::Real(value) => json!(value),
        Literal::Text(value) => json!(value),
        Literal::Texts(values) => json!(values),
        Literal::Ints(values) => json!(values),
        Literal::Record => json!({}),
    }
}

/// Whether two values are equal, `1` and `1.0` being so.
fn same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one.total_cmp(&other).is_eq(),
        _ => one == other,
    }
}
