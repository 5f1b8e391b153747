//! What must change for a control plane to hold what a file says. An entity of the file that has no id of its own is
//! the one on the control plane with the same name (or the same of whatever is unique for its kind), if there is one.

use model::body::{BodyError, Object};
use model::declarative::{Declared, Entity};
use model::schema::Type;
use model::{Id, Kind};
use os::exit::ExitError;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

/// Fields that tell of writing, not of meaning.
const TIMES: [&str; 2] = ["created_at", "updated_at"];

/// One entity that is to change.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    pub(super) kind: Kind,
    pub(super) id: Id,
    pub(super) before: Option<Object>,
    pub(super) after: Option<Object>,
}

/// All that is to change: creations and updates with parents first, then deletions with children first.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
}

impl Plan {
    /// Compares the file with what the control plane has.
    pub(super) fn new(declared: &Declared, current: &[(Kind, Object)]) -> Result<Self, ExitError> {
        Planner::new(current)
            .and_then(|planner| planner.plan(declared))
            .map_err(|error| ExitError::internal(error.to_string()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub(super) fn deletions(&self) -> usize {
        self.steps.iter().filter(|step| step.after.is_none()).count()
    }

    /// The body of `POST /config/apply`, valid for this version only.
    pub(super) fn request(&self, version: u64) -> Value {
        let change = |step: &Step| match &step.after {
            Some(entity) => json!({"put": {"kind": step.kind.def().name, "entity": entity}}),
            None => json!({"delete": {"kind": step.kind.def().name, "id": step.id}}),
        };
        json!({"changes": self.steps.iter().map(change).collect::<Vec<_>>(), "expect": version})
    }
}

/// A control plane's entities, and who of them has which unique value.
struct Planner<'a> {
    current: HashMap<(Kind, Id), &'a Object>,
    /// Those of `current` that the control plane listed, in its order.
    order: Vec<(Kind, Id)>,
    holders: HashMap<(Kind, &'static str, String), Id>,
    /// Ids of the file that stand for other ids on the control plane.
    aliases: HashMap<(Kind, Id), Id>,
}

impl<'a> Planner<'a> {
    fn new(current: &'a [(Kind, Object)]) -> Result<Self, BodyError> {
        let mut planner =
            Self { current: HashMap::new(), order: Vec::new(), holders: HashMap::new(), aliases: HashMap::new() };
        for (kind, entity) in current {
            let Some(id) = entity.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok()) else { continue };
            for unique in (kind.def().facts)(&(kind.def().to_body)(entity)?)?.uniques {
                planner.holders.insert((*kind, unique.field, unique.value), id);
            }
            planner.current.insert((*kind, id), entity);
            planner.order.push((*kind, id));
        }
        Ok(planner)
    }

    fn plan(mut self, declared: &Declared) -> Result<Plan, BodyError> {
        let mut plan = Plan::default();
        let mut kept = HashSet::new();
        for entity in &declared.entities {
            let (id, after) = self.identify(entity)?;
            kept.insert((entity.kind, id));
            let before = self.current.get(&(entity.kind, id)).copied();
            let after = before.map_or(after.clone(), |before| with_made(after, before, &entity.made));
            if before.is_none_or(|before| differs(before, &after)) {
                plan.steps.push(Step { kind: entity.kind, id, before: before.cloned(), after: Some(after) });
            }
        }
        let gone = self.order.iter().rev().filter(|key| !kept.contains(*key));
        for (kind, id) in gone {
            let Some(before) = self.current.get(&(*kind, *id)).filter(|entity| concerns(declared, entity)) else {
                continue;
            };
            plan.steps.push(Step { kind: *kind, id: *id, before: Some((*before).clone()), after: None });
        }
        Ok(plan)
    }

    /// The entity with the ids that the control plane knows it and its parents by.
    fn identify(&mut self, entity: &Entity) -> Result<(Id, Object), BodyError> {
        let mut json = entity.json()?;
        self.rename_references(entity.kind, &mut json);
        let id = match self.holder(entity, &json)? {
            Some(holder) if entity.made.contains(&"id") => holder,
            _ => entity.id,
        };
        if id != entity.id {
            self.aliases.insert((entity.kind, entity.id), id);
            json.insert("id".into(), id.to_string().into());
        }
        Ok((id, json))
    }

    /// Who on the control plane has a unique value of this entity.
    fn holder(&self, entity: &Entity, json: &Object) -> Result<Option<Id>, BodyError> {
        let def = entity.kind.def();
        let uniques = (def.facts)(&(def.to_body)(json)?)?.uniques;
        let given = uniques.into_iter().filter(|unique| !entity.made.contains(&unique.field));
        let mut holders =
            given.filter_map(|unique| self.holders.get(&(entity.kind, unique.field, unique.value)).copied());
        Ok(holders.next())
    }

    fn rename_references(&self, kind: Kind, json: &mut Object) {
        for field in kind.def().schema.fields {
            if let Type::Foreign(collection) = field.ty
                && let Some(target) = Kind::from_name(collection)
                && let Some(id) = json.get(field.name).and_then(|reference| reference.get("id")?.as_str()?.parse().ok())
                && let Some(alias) = self.aliases.get(&(target, id))
            {
                json.insert(field.name.to_owned(), json!({"id": alias}));
            }
        }
    }
}

/// Whether the file is about this entity of the control plane: it has all of the file's `select_tags`.
fn concerns(declared: &Declared, entity: &Object) -> bool {
    let tags = entity.get("tags").and_then(Value::as_array);
    declared.select_tags.iter().all(|wanted| tags.is_some_and(|tags| tags.iter().any(|tag| tag == wanted.as_str())))
}

/// The entity with the control plane's values where the file left one open.
fn with_made(mut after: Object, before: &Object, made: &[&str]) -> Object {
    for name in made.iter().filter(|name| **name != "id") {
        if let Some(value) = before.get(*name) {
            after.insert((*name).to_owned(), value.clone());
        }
    }
    after
}

fn differs(before: &Object, after: &Object) -> bool {
    let names = before.keys().chain(after.keys()).filter(|name| !TIMES.contains(&name.as_str()));
    let mut names = names.map(|name| (before.get(name), after.get(name)));
    names.any(|(before, after)| before.unwrap_or(&Value::Null) != after.unwrap_or(&Value::Null))
}
