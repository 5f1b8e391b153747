//! GET of any kind: one entity, or a page of a collection, perhaps of those below a parent.

use super::App;
use super::links::Link;
use super::page::Page;
use super::problem::Problem;
use super::reply::Reply;
use super::request::Request;
use super::snis;
use super::subject::{Need, Place, entity, locate, unreadable};
use crate::changelog::View;
use model::Id;
use model::catalog::Entry;
use model::kind::KindDef;
use serde_json::{Map, Value};

/// `GET` of one entity.
pub(super) fn get(app: &App, place: Place<'_>) -> Result<Reply, Problem> {
    let view = app.changelog.view();
    let subject = locate(&view, place, Need::Existing)?;
    let shown = shown(&view, subject.def, subject.existing()?, app.now_s())?;
    Ok(Reply::ok(shown))
}

/// `GET` of a collection.
pub(super) fn list(app: &App, request: &Request<'_>, def: &'static KindDef) -> Result<Reply, Problem> {
    let view = app.changelog.view();
    let page = Page::read(request)?;
    let entries = view.catalog.iter(def.kind, page.after_id()?);
    answer(app, &view, request, &page, def, entries)
}

/// `GET` of the collection below a parent.
pub(super) fn list_below(app: &App, request: &Request<'_>, link: Link, key: &str) -> Result<Reply, Problem> {
    let view = app.changelog.view();
    let parent = locate(&view, Place::Flat(link.parent, key), Need::Existing)?.existing()?;
    let page = Page::read(request)?;
    let kind = link.child.kind;
    let ids = view.catalog.children_of_kind(link.parent.kind, parent, kind, page.after_id()?);
    let entries = ids.filter_map(|id| Some((id, view.catalog.get(kind, id)?)));
    answer(app, &view, request, &page, link.child, entries)
}

/// An entity as the Admin API shows it at this time (seconds since 1970); what has ended is not found (Kong).
fn shown(view: &View, def: &'static KindDef, id: Id, now_s: i64) -> Result<Map<String, Value>, Problem> {
    let mut shown = def.schema.seen_at(entity(view, def, id)?, now_s).ok_or(Problem::NotFound)?;
    snis::show(view, def, id, &mut shown);
    Ok(shown)
}

fn answer<'v>(
    app: &App,
    view: &View,
    request: &Request<'_>,
    page: &Page,
    def: &'static KindDef,
    entries: impl Iterator<Item = (Id, &'v Entry)>,
) -> Result<Reply, Problem> {
    let now_s = app.now_s();
    let mut data = Vec::new();
    let mut last = None;
    for (id, entry) in entries {
        if !wanted(page, def, entry) {
            continue;
        }
        let Some(mut shown) = seen(def, id, entry, now_s)? else { continue };
        if data.len() == page.size {
            return Ok(Reply::ok(page.answer(
                request,
                data,
                last.map(Id::to_bytes).as_ref().map(<[u8; 16]>::as_slice),
            )));
        }
        snis::show(view, def, id, &mut shown);
        data.push(Value::Object(shown));
        last = Some(id);
    }
    Ok(Reply::ok(page.answer(request, data, None)))
}

/// The entity as it is seen at this time, unless it has ended.
fn seen(def: &KindDef, id: Id, entry: &Entry, now_s: i64) -> Result<Option<Map<String, Value>>, Problem> {
    let body = entry.body.as_deref().ok_or(Problem::NotFound)?;
    let canonical = (def.to_json)(body).map_err(|error| unreadable(def.kind, id, &error))?;
    Ok(def.schema.seen_at(canonical, now_s))
}

fn wanted(page: &Page, def: &KindDef, entry: &Entry) -> bool {
    if page.tags == super::page::Tags::Any {
        return true;
    }
    let tags = entry.body.as_deref().and_then(|body| (def.tags)(body).ok());
    tags.is_some_and(|tags| page.tags.take(&tags.sorted()))
}
