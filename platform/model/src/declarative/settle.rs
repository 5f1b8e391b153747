//! From drafts to entities: templates and defaults filled in, references resolved, the schema's checks run, the body
//! made, duplicates found. Entities come out in the order of [`kind::ALL`], so that parents precede their children.

use super::gather::{Draft, child};
use super::header::Header;
use super::link::Names;
use super::mistake::Found;
use super::node::{Content, Field, Node};
use super::{Entity, migrate, unsupported};
use crate::body::Object;
use crate::kind::{self, Unique};
use crate::schema::{CheckCx, Type};
use crate::{Kind, plugins};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Settles all drafts; those with mistakes are missing in the result.
pub(super) fn settle(
    drafts: &[Draft<'_, '_>],
    names: &Names<'_>,
    header: &Header<'_, '_>,
    cx: &CheckCx<'_>,
    found: &mut Found,
) -> Vec<Entity> {
    let mut settler = Settler { drafts, names, header, cx, found, taken: HashMap::new(), ids: HashMap::new() };
    let mut entities = Vec::with_capacity(drafts.len());
    for def in kind::ALL {
        let of_kind = drafts.iter().enumerate().filter(|(_, draft)| draft.kind == def.kind);
        entities.extend(of_kind.filter_map(|(place, draft)| settler.settle(place, draft)));
    }
    entities
}

struct Settler<'a, 'd, 't> {
    drafts: &'a [Draft<'d, 't>],
    names: &'a Names<'d>,
    header: &'a Header<'d, 't>,
    cx: &'a CheckCx<'a>,
    found: &'a mut Found,
    /// Who has a unique value, by [`Unique::key`].
    taken: HashMap<u128, usize>,
    ids: HashMap<(Kind, crate::Id), usize>,
}

impl Settler<'_, '_, '_> {
    fn settle(&mut self, place: usize, draft: &Draft<'_, '_>) -> Option<Entity> {
        let input = self.input(draft)?;
        let made = made(draft, &input);
        let checked = match draft.kind.def().schema.check(self.cx, input) {
            Ok(checked) => checked,
            Err(violations) => {
                for (path, message) in violations.flatten() {
                    let path = if path == "@entity" { String::new() } else { path };
                    self.found.add(draft.node.locate(&path), &draft.label, path, message);
                }
                return None;
            }
        };
        let body = (draft.kind.def().to_body)(&checked);
        let body = body.map_err(|error| self.complain(draft, "", &error.to_string())).ok()?;
        self.claim(place, draft, &body)?;
        Some(Entity {
            kind: draft.kind,
            id: draft.id,
            made,
            body: body.into(),
            read_at: self.cx.now_ms.div_euclid(1000),
        })
    }

    /// What the schema gets to check: the fields of the file, without what only files have, with what it implies.
    fn input(&mut self, draft: &Draft<'_, '_>) -> Option<Object> {
        self.plugin_exists(draft)?;
        let before = self.found.count();
        let mut input = Object::new();
        if let Some(name) = draft.node.text() {
            input.insert("name".into(), name.into());
        }
        for field in draft.node.fields().unwrap_or_default() {
            if let Some(value) = self.field(draft, field) {
                input.insert(field.name.to_string(), value);
            }
        }
        self.nest(draft, &mut input);
        self.fill(draft, &mut input);
        if input.get("id").is_none_or(Value::is_null) {
            input.insert("id".into(), draft.id.to_string().into());
        }
        (self.found.count() == before).then_some(input)
    }

    /// The value that a field of the file gives to the entity, if it gives any.
    fn field(&mut self, draft: &Draft<'_, '_>, field: &Field<'_>) -> Option<Value> {
        let name = &*field.name;
        let def = draft.kind.def();
        if matches!(name, "_comment" | "_ignore") || child(def, name).is_some() {
            return None;
        }
        if draft.kind == Kind::Plugin && name == "_config" {
            return None;
        }
        let known = def.schema.field(name);
        if known.is_none() && says_nothing(field) {
            return None;
        }
        if known.is_none()
            && let Some(reason) = unsupported::reason(name)
        {
            self.complain_at(draft, field, name, &with_names(reason, &field.value));
            return None;
        }
        self.vault_references(draft, field);
        let value = match known.map(|known| known.ty) {
            Some(Type::Foreign(collection)) => self.reference(draft, field, Kind::from_name(collection)?)?,
            _ if draft.kind == Kind::Route && name == "paths" => self.paths(&field.value),
            _ => field.value.json(),
        };
        Some(value)
    }

    fn reference(&mut self, draft: &Draft<'_, '_>, field: &Field<'_>, kind: Kind) -> Option<Value> {
        if field.value.content == Content::Null {
            return Some(Value::Null);
        }
        match self.names.resolve(kind, &field.value) {
            Ok(id) => Some(json!({"id": id})),
            Err(message) => {
                self.complain_at(draft, field, &field.name, &message);
                None
            }
        }
    }

    /// Nested entities refer to what they are nested in. If they say so themselves, it must be the same.
    fn nest(&mut self, draft: &Draft<'_, '_>, input: &mut Object) {
        let Some((field, place)) = draft.parent else { return };
        let Some(parent) = self.drafts.get(place) else { return };
        let implied = json!({"id": parent.id});
        if input.get(field).is_some_and(|given| !given.is_null() && *given != implied) {
            let message = format!("it stands below {}, but refers to another", parent.label);
            self.found.add(draft.node.locate(field), &draft.label, field, message);
        }
        input.insert(field.into(), implied);
    }

    /// What the file implies: the plugin template, decK's defaults and tags.
    fn fill(&mut self, draft: &Draft<'_, '_>, input: &mut Object) {
        if draft.kind == Kind::Plugin
            && let Some(source) = draft.node.field("_config")
        {
            self.template(draft, source, input);
        }
        for field in self.header.defaults.get(&draft.kind).copied().unwrap_or_default() {
            input.entry(field.name.to_string()).or_insert_with(|| field.value.json());
        }
        if !self.header.select_tags.is_empty() && draft.kind.def().schema.field("tags").is_some() {
            let tags = input.entry("tags").or_insert(Value::Null);
            if tags.is_null() {
                *tags = json!([]);
            }
            if let Value::Array(tags) = tags {
                let missing = self.header.select_tags.iter().filter(|tag| !tags.contains(&json!(tag)));
                let missing: Vec<Value> = missing.map(|tag| json!(tag)).collect();
                tags.extend(missing);
            }
        }
    }

    /// A plugin's configuration: the template's fields, and over them its own.
    fn template(&mut self, draft: &Draft<'_, '_>, source: &Field<'_>, input: &mut Object) {
        let template = source.value.text().and_then(|name| self.header.templates.get(name));
        let Some(template) = template else {
            let name = source.value.text().unwrap_or_default();
            let message = format!("no such template in '_plugin_configs': '{name}'");
            return self.complain_at(draft, source, "_config", &message);
        };
        let mut config = Node::object(template.iter());
        match input.remove("config") {
            Some(Value::Object(own)) => config.extend(own),
            None | Some(Value::Null) => {}
            Some(_) => return self.complain(draft, "config", "expected a map"),
        }
        input.insert("config".into(), Value::Object(config));
    }

    /// Paths as 3.0 means them.
    fn paths(&self, paths: &Node<'_>) -> Value {
        let mut value = paths.json();
        if self.header.format_version.guesses_regexes()
            && let Value::Array(items) = &mut value
        {
            for item in items {
                if let Value::String(path) = item {
                    *path = migrate::path(path);
                }
            }
        }
        value
    }

    /// Of a plugin that is not there, nothing but that is worth saying.
    fn plugin_exists(&mut self, draft: &Draft<'_, '_>) -> Option<()> {
        let name = if draft.kind == Kind::Plugin { draft.node.text_of("name") } else { None };
        match name {
            Some(name) if plugins::find(name).is_none() => {
                self.complain(draft, "name", &format!("there is no plugin '{name}' in this build"));
                None
            }
            _ => Some(()),
        }
    }

    /// Secrets by reference would be taken for the secrets themselves.
    fn vault_references(&mut self, draft: &Draft<'_, '_>, field: &Field<'_>) {
        let mut pending = vec![&field.value];
        while let Some(node) = pending.pop() {
            match &node.content {
                Content::Text(text) if text.starts_with("{vault://") => {
                    self.found.add(node.at, &draft.label, &*field.name, "vault references are not supported");
                }
                Content::List(items) => pending.extend(items),
                Content::Map(fields) => pending.extend(fields.iter().map(|field| &field.value)),
                _ => {}
            }
        }
    }

    /// Takes the id and the unique values for the draft; none if another has one of them.
    fn claim(&mut self, place: usize, draft: &Draft<'_, '_>, body: &[u8]) -> Option<()> {
        let facts =
            (draft.kind.def().facts)(body).map_err(|error| self.complain(draft, "", &error.to_string())).ok()?;
        if let Some(holder) = self.ids.insert((draft.kind, draft.id), place) {
            let field = if draft.node.field("id").is_some() { "id" } else { "" };
            self.duplicate(draft, field, holder);
            return None;
        }
        let mut free = Some(());
        for unique in facts.uniques {
            if let Some(holder) = self.taken.insert(Unique::key(draft.kind, unique.field, &unique.value), place) {
                let field = if unique.field.contains(',') { "" } else { unique.field };
                self.duplicate(draft, field, holder);
                free = None;
            }
        }
        free
    }

    fn duplicate(&mut self, draft: &Draft<'_, '_>, field: &str, holder: usize) {
        let holder = self.drafts.get(holder).map(|holder| holder.label.clone()).unwrap_or_default();
        let message = match field {
            "" => format!("the same as {holder}, which stands before it"),
            _ => format!("{holder} has the same, and stands before it"),
        };
        self.complain(draft, field, &message);
    }

    fn complain(&mut self, draft: &Draft<'_, '_>, path: &str, message: &str) {
        self.found.add(draft.node.locate(path), &draft.label, path, message);
    }

    fn complain_at(&mut self, draft: &Draft<'_, '_>, field: &Field<'_>, path: &str, message: &str) {
        self.found.add(field.at, &draft.label, path, message);
    }
}

/// Whether a field that is not to be had holds nothing: Kong's exports have many such, and the id of the one workspace.
fn says_nothing(field: &Field<'_>) -> bool {
    let unused = unsupported::reason(&field.name).is_some() && field.value.is_empty();
    unused || field.value.content == Content::Null || (field.name == "ws_id" && field.value.text() == Some(WORKSPACE))
}

/// The id that Kong gives to its default workspace.
const WORKSPACE: &str = "0dc6f45b-8f8d-40d2-a504-473544ee190b";

/// The fields that are made up for this input, the id among them unless the file has one.
fn made(draft: &Draft<'_, '_>, input: &Object) -> Vec<&'static str> {
    let open = |name: &str| match name {
        "id" => draft.node.get("id").is_none(),
        name => input.get(name).is_none_or(Value::is_null),
    };
    draft
        .kind
        .def()
        .schema
        .fields
        .iter()
        .filter(|field| field.auto && open(field.name))
        .map(|field| field.name)
        .collect()
}

/// The reason, and which ones are meant: `consumer groups are not supported: 'gold'`.
fn with_names(reason: &str, list: &Node<'_>) -> String {
    let items = list.items().unwrap_or_default();
    let names: Vec<_> = items.iter().filter_map(|item| item.text_of("name").or(item.text())).take(NAMED_MAX).collect();
    if names.is_empty() { reason.to_owned() } else { format!("{reason}: '{}'", names.join("', '")) }
}

/// The most names in one message.
const NAMED_MAX: usize = 8;
