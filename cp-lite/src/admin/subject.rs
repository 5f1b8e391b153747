//! What a path is about: which entity, and what the path itself says of it.

use super::links::{self, Link};
use super::problem::Problem;
use super::snis;
use crate::changelog::View;
use model::kind::KindDef;
use model::{Id, Kind};
use serde_json::{Map, Value};

/// Where an entity is, as the path has it. Keys are ids, or values of the kind's endpoint key.
#[derive(Clone, Copy)]
pub(super) enum Place<'a> {
    /// `/routes/{key}`
    Flat(&'static KindDef, &'a str),
    /// `/services/{parent}/routes/{key}`
    Below(Link, &'a str, &'a str),
    /// `/routes/{child}/service`
    Above(Link, &'a str),
}

/// An entity that exists, or that may be created at that place.
#[derive(Clone)]
pub(super) struct Subject {
    /// Its kind.
    pub(super) def: &'static KindDef,
    /// Its id, if the path tells it or it exists.
    pub(super) id: Option<Id>,
    /// Whether it exists.
    pub(super) exists: bool,
    /// Fields that the path decides.
    pub(super) forced: Vec<(&'static str, Value)>,
    /// The entity whose foreign key is to point to this one once it exists.
    pub(super) associate: Option<(&'static KindDef, Id, &'static str)>,
}

impl Subject {
    fn of(def: &'static KindDef, id: Option<Id>, exists: bool) -> Self {
        Self { def, id, exists, forced: Vec::new(), associate: None }
    }

    /// The id of an entity that must exist.
    pub(super) fn existing(&self) -> Result<Id, Problem> {
        self.id.filter(|_| self.exists).ok_or(Problem::NotFound)
    }
}

/// What an operation needs the path to name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Something that exists: GET, PATCH, DELETE.
    Existing,
    /// Something that exists or may: PUT.
    Upsert,
}

/// Looks for what the path names.
pub(super) fn locate(view: &View, place: Place<'_>, need: Need) -> Result<Subject, Problem> {
    match place {
        Place::Flat(def, key) => flat(view, def, key),
        Place::Below(link, parent_key, key) => below(view, link, parent_key, key, need),
        Place::Above(link, child_key) => above(view, link, child_key, need),
    }
}

/// An entity by id or endpoint key.
fn flat(view: &View, def: &'static KindDef, key: &str) -> Result<Subject, Problem> {
    if let Ok(id) = key.parse::<Id>() {
        return Ok(Subject::of(def, Some(id), view.catalog.contains(def.kind, id)));
    }
    if let Some(id) = snis::certificate_named(view, def, key) {
        return Ok(Subject::of(def, Some(id), true));
    }
    let Some(field) = def.endpoint_key else { return Err(snis::no_such_name(def)) };
    let found = view.catalog.find(def.kind, field, key);
    let subject = Subject::of(def, found, found.is_some());
    Ok(Subject { forced: vec![(field, Value::String(key.to_owned()))], ..subject })
}

/// An entity by its key, below a parent that must exist. Only PUT may take one that belongs elsewhere, and moves it.
fn below(view: &View, link: Link, parent_key: &str, key: &str, need: Need) -> Result<Subject, Problem> {
    let parent = flat(view, link.parent, parent_key)?.existing()?;
    let mut subject = flat(view, link.child, key)?;
    if subject.id.is_none() {
        subject = in_scope(view, link, parent, key, subject);
    }
    if need == Need::Existing && !belongs(view, link, parent, &subject) {
        return Err(Problem::NotFound);
    }
    subject.forced.push((link.field, links::to(parent)));
    Ok(subject)
}

/// An entity whose endpoint key is unique below its parent only, such as a target.
fn in_scope(view: &View, link: Link, parent: Id, key: &str, subject: Subject) -> Subject {
    let scoped = link.child.endpoint_key.filter(|field| link.child.schema.cache_key == [link.field, *field]);
    let found = scoped.and_then(|field| {
        let key = link.child.schema.normalized(field, key);
        view.catalog.find(link.child.kind, &format!("{},{field}", link.field), &format!("{parent}:{key}"))
    });
    Subject { id: found, exists: found.is_some(), ..subject }
}

fn belongs(view: &View, link: Link, parent: Id, subject: &Subject) -> bool {
    let entity = subject.existing().ok().and_then(|id| entity(view, link.child, id).ok());
    entity.is_some_and(|entity| links::target(&entity, link.field) == Some(parent))
}

/// The entity that another one refers to.
fn above(view: &View, link: Link, child_key: &str, need: Need) -> Result<Subject, Problem> {
    let child = flat(view, link.child, child_key)?.existing()?;
    match links::target(&entity(view, link.child, child)?, link.field) {
        Some(parent) => Ok(Subject::of(link.parent, Some(parent), true)),
        None if need == Need::Existing => Err(Problem::NotFound),
        None => {
            let subject = Subject::of(link.parent, None, false);
            Ok(Subject { associate: Some((link.child, child, link.field)), ..subject })
        }
    }
}

/// An entity that exists, as JSON.
pub(super) fn entity(view: &View, def: &'static KindDef, id: Id) -> Result<Map<String, Value>, Problem> {
    let body = view.catalog.get(def.kind, id).and_then(|entry| entry.body.as_deref()).ok_or(Problem::NotFound)?;
    (def.to_json)(body).map_err(|error| unreadable(def.kind, id, &error))
}

/// An entity of ours that we cannot read.
pub(super) fn unreadable(kind: Kind, id: Id, error: &dyn std::fmt::Display) -> Problem {
    Problem::Internal(format!("{} {id} cannot be read: {error}", kind.def().name))
}
