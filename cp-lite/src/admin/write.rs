//! POST, PUT, PATCH and DELETE of any kind: a request becomes a transaction against the newest view, and where others
//! were faster the plan is made again, so that concurrent changes of one entity lose nothing.

use super::App;
use super::links::{self, Link};
use super::problem::Problem;
use super::reply::Reply;
use super::request::Content;
use super::snis;
use super::subject::{Need, Place, Subject, entity, locate, unreadable};
use crate::changelog::{CommitError, Committed, Precondition, Transaction, View};
use http::StatusCode;
use model::catalog::Conflict;
use model::kind::KindDef;
use model::record::BODY_BYTES_MAX;
use model::schema::{CheckCx, Violations};
use model::{Change, Id, Record};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// How often a plan is made again because others changed the same entity first. Each time somebody's change succeeded,
/// so that only as many simultaneous writers of one entity could exhaust it.
const ATTEMPTS_MAX: usize = 500;
/// How often a plan is made again after it was refused, because what it saw may have been outdated.
const REFUSALS_MAX: usize = 8;

/// What a request wants done, and the entity that its answer shows: as it will be committed, whatever others do next.
pub(super) struct Plan {
    pub(super) transaction: Transaction,
    pub(super) shown: Map<String, Value>,
}

/// Checks entities with the clock of one request.
pub(super) struct Checker<'a> {
    app: &'a App,
    now_ms: i64,
}

impl<'a> Checker<'a> {
    pub(super) fn new(app: &'a App) -> Self {
        Self { app, now_ms: (app.now_ms)() }
    }

    /// A whole entity in canonical form.
    pub(super) fn check(&self, def: &KindDef, input: Map<String, Value>) -> Result<Map<String, Value>, Violations> {
        def.schema.check(&self.context(), input)
    }

    /// An entity with some fields changed, in canonical form.
    fn merge(
        &self,
        def: &KindDef,
        existing: &Map<String, Value>,
        patch: Map<String, Value>,
    ) -> Result<Map<String, Value>, Violations> {
        def.schema.merge(&self.context(), existing, patch)
    }

    /// An entity as clients see it now; what has ended they do not find.
    fn seen(&self, def: &KindDef, canonical: Map<String, Value>) -> Result<Map<String, Value>, Problem> {
        def.schema.seen_at(canonical, self.now_ms.div_euclid(1000)).ok_or(Problem::NotFound)
    }

    fn context(&self) -> CheckCx<'_> {
        let certificates = self.app.certificates.as_deref();
        CheckCx {
            now_ms: self.now_ms,
            new_id: &Id::random,
            certificates: certificates.map(|checks| checks as _),
            keeps_updated_at: false,
        }
    }
}

/// `POST` to a collection, perhaps below a parent.
pub(super) async fn post(
    app: &App,
    def: &'static KindDef,
    parent: Option<(Link, &str)>,
    content: &Content,
) -> Result<Reply, Problem> {
    let shown = settle(app, |view| {
        let mut input = content.entity(def, None)?;
        if let Some((link, key)) = parent {
            let parent = locate(view, Place::Flat(link.parent, key), Need::Existing)?.existing()?;
            input.insert(link.field.to_owned(), links::to(parent));
        }
        if let Some(id) = input.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok())
            && view.catalog.contains(def.kind, id)
        {
            return Err(Problem::PrimaryKey(id));
        }
        whole(view, &Checker::new(app), Subject::new(def), input)
    })
    .await?
    .1;
    Ok(Reply::json(StatusCode::CREATED, shown))
}

/// `PUT`: the entity is to be as sent, whether it existed or not.
pub(super) async fn put_entity(app: &App, place: Place<'_>, content: &Content) -> Result<Reply, Problem> {
    let shown = settle(app, |view| {
        let subject = locate(view, place, Need::Upsert)?;
        let mut input = content.entity(subject.def, None)?;
        if let Some(id) = subject.id {
            input.insert("id".to_owned(), Value::String(id.to_string()));
            if subject.exists {
                keep_creation(&mut input, entity(view, subject.def, id)?);
            }
        }
        whole(view, &Checker::new(app), subject, input)
    })
    .await?;
    Ok(Reply::ok(shown.1))
}

/// `PATCH`: some fields of an existing entity.
pub(super) async fn patch(app: &App, place: Place<'_>, content: &Content) -> Result<Reply, Problem> {
    let shown = settle(app, |view| {
        let subject = locate(view, place, Need::Existing)?;
        let id = subject.existing()?;
        let existing = entity(view, subject.def, id)?;
        let checker = Checker::new(app);
        checker.seen(subject.def, existing.clone())?;
        let mut patch = content.entity(subject.def, Some(&existing))?;
        // An id in the body cannot move an entity, and neither can the place it was reached by.
        patch.insert("id".to_owned(), Value::String(id.to_string()));
        let names = snis::take(subject.def, &mut patch)?;
        resolve(view, subject.def, &mut patch)?;
        let merged = checker.merge(subject.def, &existing, patch)?;
        let mut plan = one(view, &checker, subject.def, &merged, names)?;
        let version = view.catalog.get(subject.def.kind, id).map(|entry| entry.version);
        plan.transaction.preconditions.push(Precondition::Entity(subject.def.kind, id, version));
        Ok(plan)
    })
    .await?;
    Ok(Reply::ok(shown.1))
}

/// `DELETE`: 204 also where there was nothing.
pub(super) async fn delete(app: &App, place: Place<'_>) -> Result<Reply, Problem> {
    settle(app, |view| {
        let subject = locate(view, place, Need::Existing)?;
        let Some(id) = subject.id.filter(|_| subject.exists) else { return Ok(Plan::nothing()) };
        let mut changes = snis::deletions(view, subject.def, id);
        // Judged as if its names were gone already: they go first.
        let without = view.catalog.apply(&changes).map_err(|conflicts| refused(conflicts, &changes))?;
        let cascade = without.cascade(subject.def.kind, id);
        changes.extend(cascade.map_err(|conflict| Problem::of_conflict(conflict, &[]))?);
        Ok(Plan { transaction: Transaction { changes, preconditions: Vec::new() }, shown: Map::new() })
    })
    .await?;
    Ok(Reply::no_content())
}

impl Subject {
    fn new(def: &'static KindDef) -> Self {
        Self { def, id: None, exists: false, forced: Vec::new(), associate: None }
    }
}

impl Plan {
    fn nothing() -> Self {
        Self { transaction: Transaction::default(), shown: Map::new() }
    }
}

/// Plans against the newest view and commits, again where the view was outdated; returns what the answer shows.
pub(super) async fn settle(
    app: &App,
    plan: impl Fn(&View) -> Result<Plan, Problem>,
) -> Result<(Committed, Map<String, Value>), Problem> {
    let mut refusals = 0;
    for _ in 0..ATTEMPTS_MAX {
        let view = app.changelog.view();
        let Plan { transaction, shown } = plan(&view)?;
        if transaction.changes.is_empty() && transaction.preconditions.is_empty() {
            return Ok((Committed { version: view.version, changed: 0 }, shown));
        }
        let changes = transaction.changes.clone();
        match app.changelog.commit(transaction).await {
            Ok(committed) => return Ok((committed, shown)),
            Err(CommitError::Outdated(Precondition::Entity(..))) => {}
            // The refusal counts when it was spoken about what the plan had seen.
            Err(CommitError::Refused(_)) if outdated(app, &view) && refusals < REFUSALS_MAX => refusals += 1,
            Err(error) => return Err(Problem::of_commit(error, &changes)),
        }
    }
    Err(Problem::Contended)
}

fn outdated(app: &App, view: &View) -> bool {
    app.changelog.view().version != view.version
}

/// The plan of a whole entity, as POST and PUT bring it.
fn whole(view: &View, checker: &Checker<'_>, subject: Subject, mut input: Map<String, Value>) -> Result<Plan, Problem> {
    let Subject { def, forced, associate, .. } = subject;
    input.extend(forced.into_iter().map(|(field, value)| (field.to_owned(), value)));
    let names = snis::take(def, &mut input)?;
    resolve(view, def, &mut input)?;
    let canonical = checker.check(def, input)?;
    let id = id_of(&canonical)?;
    let mut plan = one(view, checker, def, &canonical, names)?;
    if !subject.exists {
        plan.transaction.preconditions.push(Precondition::Entity(def.kind, id, version_of(view, def, id)));
    }
    if let Some((child, child_id, field)) = associate {
        plan.associate(view, checker, (child, child_id, field), id)?;
    }
    Ok(plan)
}

fn version_of(view: &View, def: &KindDef, id: Id) -> Option<u64> {
    view.catalog.get(def.kind, id).map(|entry| entry.version)
}

impl Plan {
    /// Lets an existing entity refer to the planned one.
    fn associate(
        &mut self,
        view: &View,
        checker: &Checker<'_>,
        (child, child_id, field): (&'static KindDef, Id, &'static str),
        id: Id,
    ) -> Result<(), Problem> {
        let existing = entity(view, child, child_id)?;
        let patch = Map::from_iter([(field.to_owned(), links::to(id))]);
        let merged = checker.merge(child, &existing, patch)?;
        self.transaction.changes.push(Change::Put(put(child, &merged)?.1));
        let version = version_of(view, child, child_id);
        self.transaction.preconditions.push(Precondition::Entity(child.kind, child_id, version));
        Ok(())
    }
}

/// The plan to put one canonical entity, and with a certificate the names that it is to have, if the client said.
fn one(
    view: &View,
    checker: &Checker<'_>,
    def: &'static KindDef,
    canonical: &Map<String, Value>,
    names: Option<BTreeSet<String>>,
) -> Result<Plan, Problem> {
    let (id, record) = put(def, canonical)?;
    let stored = (def.to_json)(&record.body).map_err(|error| unreadable(def.kind, id, &error))?;
    let mut shown = checker.seen(def, stored)?;
    let mut changes = vec![Change::Put(record)];
    snis::show(view, def, id, &mut shown);
    if let Some(names) = names {
        changes.extend(snis::changes(view, checker, id, &names)?);
        snis::set(&mut shown, names);
    }
    Ok(Plan { transaction: Transaction { changes, preconditions: Vec::new() }, shown })
}

/// A canonical entity as a record, its version and tag yet to come.
pub(super) fn put(def: &KindDef, canonical: &Map<String, Value>) -> Result<(Id, Record), Problem> {
    let id = id_of(canonical)?;
    let body = (def.to_body)(canonical).map_err(|error| Problem::BadRequest(format!("{}: {error}", def.name)))?;
    if body.len() > BODY_BYTES_MAX {
        let text = format!("an entity may have at most {BODY_BYTES_MAX} bytes, this one has {}", body.len());
        return Err(Problem::BadRequest(text));
    }
    Ok((id, Record { kind: def.kind, id, version: 0, tag: 0, body: body.into() }))
}

fn id_of(canonical: &Map<String, Value>) -> Result<Id, Problem> {
    let id = canonical.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
    id.ok_or(Problem::InvalidPrimaryKey)
}

/// A put entity was created when it was created (Kong), unless the client says otherwise.
pub(super) fn keep_creation(input: &mut Map<String, Value>, mut existing: Map<String, Value>) {
    if let Some(created) = existing.remove("created_at")
        && input.get("created_at").is_none_or(Value::is_null)
    {
        input.insert("created_at".to_owned(), created);
    }
}

/// Foreign keys by name (`{"name":"x"}`) become foreign keys by id (Kong: error 13 where there is no such entity).
pub(super) fn resolve(view: &View, def: &'static KindDef, input: &mut Map<String, Value>) -> Result<(), Problem> {
    for link in links::of(def) {
        let Some(by) = link.parent.endpoint_key else { continue };
        let Some(Value::Object(key)) = input.get(link.field) else { continue };
        let Some(Value::String(value)) = key.get(by).filter(|_| key.len() == 1) else { continue };
        let Some(id) = view.catalog.find(link.parent.kind, by, value) else {
            let (field, target) = (link.field, link.parent.kind);
            return Err(Problem::ForeignUnresolved { field, by, value: value.clone(), target });
        };
        input.insert(link.field.to_owned(), links::to(id));
    }
    Ok(())
}

fn refused(conflicts: Vec<Conflict>, changes: &[Change]) -> Problem {
    Problem::of_commit(CommitError::Refused(conflicts), changes)
}
