//! `POST /config/apply`: many changes as one version, for `cp-lite config apply`. Not Kong's.
//!
//! The body is `{"changes": [{"put": {"kind": "routes", "entity": {…}}} | {"delete": {"kind": "routes", "id": "…"}}],
//! "expect": 7}`. A put is a whole entity as in `PUT`; without an `id` it is the entity with the same name, or a new
//! one. References may point to entities of the same list, in any order. What goes with a deleted entity (Kong's
//! cascades) goes here too, unless the list puts it. With `expect` nothing is applied unless the configuration is at
//! that version (409). The answer is `{"version": 8, "changed": 2}`; where something is wrong, nothing is applied and
//! `{"message", "errors": [{"change": index from 0, "kind", "id", "error": Kong's error}]}` names all of it.

use super::App;
use super::links;
use super::problem::Problem;
use super::reply::Reply;
use super::request::{Content, Request};
use super::snis;
use super::subject::entity;
use super::write::{Checker, Plan, keep_creation, put, settle};
use crate::changelog::{CommitError, Precondition, Transaction, View};
use http::StatusCode;
use model::catalog::{CONFLICTS_MAX, Conflict};
use model::kind::KindDef;
use model::{Change, Id, Kind, Record};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::HashSet;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a> {
    #[serde(borrow)]
    changes: Vec<Item<'a>>,
    #[serde(default)]
    expect: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Item<'a> {
    #[serde(borrow)]
    Put(Put<'a>),
    Delete(Delete),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Put<'a> {
    kind: String,
    /// Parsed one at a time: a whole configuration as a tree of values would be many times its size.
    #[serde(borrow)]
    entity: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Delete {
    kind: String,
    id: Id,
}

/// Answers the request.
pub(super) async fn apply(app: &App, request: &Request<'_>) -> Result<Reply, Problem> {
    let Content::Json(json) = &request.content else { return Err(Problem::UnsupportedMediaType) };
    let body: Body<'_> =
        serde_json::from_slice(json).map_err(|error| Problem::BadBody(format!("not a list of changes: {error}")))?;
    let (committed, _) = settle(app, |view| body.plan(app, view)).await?;
    Ok(Reply::ok(json!({"version": committed.version, "changed": committed.changed})))
}

impl Body<'_> {
    fn plan(&self, app: &App, view: &View) -> Result<Plan, Problem> {
        if let Some(expected) = self.expect.filter(|expected| *expected != view.version) {
            return Err(Problem::Outdated(format!(
                "the configuration is at version {}, not at version {expected}",
                view.version
            )));
        }
        let mut draft = Draft::new(app, view);
        for (index, item) in self.changes.iter().enumerate() {
            draft.take(index, item);
        }
        let changes = draft.finish()?;
        let preconditions = self.expect.map(Precondition::Head).into_iter().collect();
        Ok(Plan { transaction: Transaction { changes, preconditions }, shown: Map::new() })
    }
}

/// A list of changes on its way to a transaction.
struct Draft<'a> {
    view: &'a View,
    checker: Checker<'a>,
    changes: Vec<Change>,
    /// For each change, the item of the list that it comes from.
    items: Vec<usize>,
    errors: Vec<Value>,
    worst: StatusCode,
}

impl<'a> Draft<'a> {
    fn new(app: &'a App, view: &'a View) -> Self {
        let checker = Checker::new(app);
        Self {
            view,
            checker,
            changes: Vec::new(),
            items: Vec::new(),
            errors: Vec::new(),
            worst: StatusCode::BAD_REQUEST,
        }
    }

    fn take(&mut self, index: usize, item: &Item<'_>) {
        match item {
            Item::Delete(Delete { kind, id }) => match known(kind) {
                Ok(def) => self.add(index, Change::Delete { kind: def.kind, id: *id }),
                Err(problem) => self.report(index, kind, json!(id), problem),
            },
            Item::Put(Put { kind, entity }) => {
                let entity = serde_json::from_str::<Map<String, Value>>(entity.get());
                let entity = entity.map_err(|_| Problem::BadBody("the entity is not an object".to_owned()));
                let id = entity.as_ref().ok().and_then(|entity| entity.get("id")).cloned().unwrap_or_default();
                let taken = entity.and_then(|entity| self.take_put(index, known(kind)?, entity));
                if let Err(problem) = taken {
                    self.report(index, kind, id, problem);
                }
            }
        }
    }

    fn take_put(&mut self, index: usize, def: &'static KindDef, mut input: Map<String, Value>) -> Result<(), Problem> {
        self.identify(def, &mut input)?;
        let names = snis::take(def, &mut input)?;
        let canonical = self.checker.check(def, input)?;
        let (id, record) = put(def, &canonical)?;
        if let Some(names) = names {
            for change in snis::changes(self.view, &self.checker, id, &names)? {
                self.add(index, change);
            }
        }
        self.add(index, Change::Put(record));
        Ok(())
    }

    /// Finds the entity that a put without an id means, and keeps its time of creation.
    fn identify(&self, def: &'static KindDef, input: &mut Map<String, Value>) -> Result<(), Problem> {
        let given = input.get("id").and_then(Value::as_str).and_then(|id| id.parse::<Id>().ok());
        let by_name = || {
            let field = def.endpoint_key?;
            self.view.catalog.find(def.kind, field, input.get(field)?.as_str()?)
        };
        let named = if input.contains_key("id") { given } else { by_name() };
        if let Some(id) = named.filter(|id| self.view.catalog.contains(def.kind, *id)) {
            input.insert("id".to_owned(), json!(id));
            keep_creation(input, entity(self.view, def, id)?);
        }
        super::write::resolve(self.view, def, input)
    }

    fn add(&mut self, index: usize, change: Change) {
        self.changes.push(change);
        self.items.push(index);
    }

    fn report(&mut self, index: usize, kind: &str, id: Value, problem: Problem) {
        if problem.status() != StatusCode::BAD_REQUEST {
            self.worst = problem.status();
        }
        if self.errors.len() < CONFLICTS_MAX {
            self.errors.push(json!({"change": index, "kind": kind, "id": id, "error": problem.into_body()}));
        }
    }

    /// The transaction, judged once here so that every conflict finds its way back to an item of the list.
    fn finish(mut self) -> Result<Vec<Change>, Problem> {
        self.add_dependants();
        if self.errors.is_empty()
            && let Err(conflicts) = self.view.catalog.apply(&self.changes)
        {
            for conflict in conflicts {
                self.report_conflict(conflict);
            }
        }
        if self.errors.is_empty() {
            return Ok(self.changes);
        }
        let text = match self.errors.len() {
            1 => "one change is wrong; nothing was applied".to_owned(),
            many => format!("{many} changes are wrong; nothing was applied"),
        };
        Err(Problem::Changes(self.worst, text, self.errors))
    }

    fn report_conflict(&mut self, conflict: Conflict) {
        let (kind, id) = subject(&conflict);
        let position = self.changes.iter().position(|change| change.key() == (kind, id));
        let index = position.and_then(|position| self.items.get(position)).copied().unwrap_or_default();
        let problem = Problem::of_commit(CommitError::Refused(vec![conflict]), &self.changes);
        self.report(index, kind.def().name, json!(id), problem);
    }

    /// Adds the deletion of everything that goes with what is deleted, and is not put.
    fn add_dependants(&mut self) {
        let puts: HashSet<(Kind, Id)> = self.changes.iter().filter_map(put_key).collect();
        let mut gone: HashSet<(Kind, Id)> = self.changes.iter().filter_map(delete_key).collect();
        let mut next = 0;
        while let Some(change) = self.changes.get(next) {
            let index = self.items.get(next).copied().unwrap_or_default();
            next += 1;
            let Some((kind, id)) = delete_key(change) else { continue };
            let children = self.view.catalog.children(kind, id).filter(|(child, _)| goes_with(*child, kind));
            for (child, child_id) in children.collect::<Vec<_>>() {
                if !puts.contains(&(child, child_id)) && gone.insert((child, child_id)) {
                    self.add(index, Change::Delete { kind: child, id: child_id });
                }
            }
        }
    }
}

/// Whether entities of one kind go with what they refer to in another.
fn goes_with(child: Kind, parent: Kind) -> bool {
    let names = child == Kind::Sni && parent == Kind::Certificate;
    names || links::of(child.def()).any(|link| link.cascade && link.parent.kind == parent)
}

fn put_key(change: &Change) -> Option<(Kind, Id)> {
    if let Change::Put(Record { kind, id, .. }) = change { Some((*kind, *id)) } else { None }
}

fn delete_key(change: &Change) -> Option<(Kind, Id)> {
    if let Change::Delete { kind, id } = change { Some((*kind, *id)) } else { None }
}

fn subject(conflict: &Conflict) -> (Kind, Id) {
    match conflict {
        Conflict::Body { kind, id, .. }
        | Conflict::Duplicate { kind, id, .. }
        | Conflict::Dangling { kind, id, .. }
        | Conflict::StillReferenced { kind, id, .. } => (*kind, *id),
    }
}

fn known(kind: &str) -> Result<&'static KindDef, Problem> {
    let missing = || Problem::BadRequest(format!("no kind of entity is named '{kind}'"));
    Kind::from_name(kind).map(Kind::def).ok_or_else(missing)
}
