//! `GET /tags` and `GET /tags/{tag}`: which entities have which tag.

use super::App;
use super::page::Page;
use super::problem::Problem;
use super::reply::Reply;
use super::request::Request;
use crate::changelog::View;
use model::Id;
use model::kind::ALL;
use serde_json::{Value, json};

/// A tag of an entity. Ordered by the place of its kind in the list of kinds, id, and place in the entity.
struct Tagged {
    kind: u8,
    id: Id,
    place: u16,
    name: &'static str,
    tag: String,
}

/// `GET /tags`
pub(super) fn list(app: &App, request: &Request<'_>, _: &[&str]) -> Result<Reply, Problem> {
    answer(app, request, |_| true)
}

/// `GET /tags/{tag}`
pub(super) fn one(app: &App, request: &Request<'_>, tags: &[&str]) -> Result<Reply, Problem> {
    answer(app, request, |tag| tags.contains(&tag))
}

fn answer(app: &App, request: &Request<'_>, wanted: impl Fn(&str) -> bool) -> Result<Reply, Problem> {
    let view = app.changelog.view();
    let page = Page::read(request)?;
    let after = page.after.as_deref();
    let rest = tagged(&view)
        .filter(|tagged| wanted(&tagged.tag) && after.is_none_or(|after| tagged.offset().as_slice() > after));
    let mut data = Vec::new();
    let mut last: Option<[u8; 19]> = None;
    for tagged in rest {
        if data.len() == page.size {
            return Ok(Reply::ok(page.answer(request, data, last.as_ref().map(<[u8; 19]>::as_slice))));
        }
        last = Some(tagged.offset());
        data.push(tagged.to_json());
    }
    Ok(Reply::ok(page.answer(request, data, None)))
}

fn tagged(view: &View) -> impl Iterator<Item = Tagged> + '_ {
    (0u8..).zip(ALL).flat_map(move |(place, def)| {
        let entities = view.catalog.iter(def.kind, None);
        entities.flat_map(move |(id, entry)| {
            let tags = entry.body.as_deref().and_then(|body| (def.tags)(body).ok()).unwrap_or_default();
            let tags = (0u16..).zip(tags.sorted());
            tags.map(move |(index, tag)| Tagged { kind: place, id, place: index, name: def.name, tag })
        })
    })
}

impl Tagged {
    fn offset(&self) -> [u8; 19] {
        let mut bytes = [0; 19];
        let [kind, rest @ ..] = &mut bytes;
        *kind = self.kind;
        let (id, place) = rest.split_at_mut(16);
        id.copy_from_slice(&self.id.to_bytes());
        place.copy_from_slice(&self.place.to_be_bytes());
        bytes
    }

    fn to_json(&self) -> Value {
        json!({"entity_name": self.name, "entity_id": self.id, "tag": self.tag})
    }
}

/// Every kind can be told by one byte.
const _: () = assert!(model::kind::KINDS <= u8::MAX as usize, "kinds outgrew the offsets of /tags");
