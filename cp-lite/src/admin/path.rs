//! What a path is, and what a method does there. Every kind has the same places: a collection, its entities, what
//! hangs below them and what they refer to; beside them are the fixed endpoints.

use super::App;
use super::endpoints;
use super::links::{self, Link};
use super::problem::Problem;
use super::reply::Reply;
use super::request::Request;
use super::subject::Place;
use super::{lookup, read, write};
use bytes::Bytes;
use http::request::Parts;
use http::{Method, header};
use model::kind::{ALL, KindDef};

const COLLECTION_METHODS: &str = "GET, HEAD, OPTIONS, POST";
const ENTITY_METHODS: &str = "DELETE, GET, HEAD, OPTIONS, PATCH, PUT";
const READ_METHODS: &str = "GET, HEAD, OPTIONS";

/// A place of the generic part.
enum Resource<'a> {
    Collection(&'static KindDef),
    Below(Link, &'a str),
    Entity(Place<'a>),
    /// `/upstreams/{u}/targets/all`: Kong's name for the whole of a collection below a parent.
    All(Link, &'a str),
}

/// Answers a request.
pub(super) async fn answer(app: &App, parts: &Parts, body: Bytes) -> Result<Reply, Problem> {
    let request = Request::read(parts, &body)?;
    drop(body);
    let segments: Vec<&str> = request.segments.iter().map(String::as_str).collect();
    if let Some(fixed) = endpoints::find(&segments) {
        return fixed.answer(app, &request).await;
    }
    let resource = resource(&segments).ok_or(Problem::NotFound)?;
    match resource {
        Resource::Collection(def) => match *request.method {
            Method::GET | Method::HEAD => {
                lookup::answer(app, &request, def).unwrap_or_else(|| read::list(app, &request, def))
            }
            Method::POST => {
                app.writable()?;
                write::post(app, def, None, &request.content).await
            }
            _ => other(&request, COLLECTION_METHODS),
        },
        Resource::Below(link, parent) => match *request.method {
            Method::GET | Method::HEAD => read::list_below(app, &request, link, parent),
            Method::POST => {
                app.writable()?;
                write::post(app, link.child, Some((link, parent)), &request.content).await
            }
            _ => other(&request, COLLECTION_METHODS),
        },
        Resource::All(link, parent) => match *request.method {
            Method::GET | Method::HEAD => read::list_below(app, &request, link, parent),
            _ => other(&request, READ_METHODS),
        },
        Resource::Entity(place) => entity(app, &request, place).await,
    }
}

async fn entity(app: &App, request: &Request<'_>, place: Place<'_>) -> Result<Reply, Problem> {
    if matches!(*request.method, Method::PUT | Method::PATCH | Method::DELETE) {
        app.writable()?;
    }
    match *request.method {
        Method::GET | Method::HEAD => read::get(app, place),
        Method::PUT => write::put_entity(app, place, &request.content).await,
        Method::PATCH => write::patch(app, place, &request.content).await,
        Method::DELETE if matches!(place, Place::Above(..)) => {
            // Kong: what something refers to is not deleted through it.
            read::get(app, place)?;
            Err(Problem::MethodNotAllowed("GET, HEAD, OPTIONS, PATCH, PUT"))
        }
        Method::DELETE => write::delete(app, place).await,
        _ => other(request, ENTITY_METHODS),
    }
}

/// OPTIONS says what is allowed, to browsers of any origin (Kong); anything else is not allowed.
pub(super) fn other(request: &Request<'_>, allow: &'static str) -> Result<Reply, Problem> {
    if request.method != Method::OPTIONS {
        return Err(Problem::MethodNotAllowed(allow));
    }
    Ok(Reply::no_content()
        .with(header::ALLOW, allow)
        .with(header::ACCESS_CONTROL_ALLOW_METHODS, allow)
        .with(header::ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type"))
}

fn resource<'a>(segments: &[&'a str]) -> Option<Resource<'a>> {
    let (collection, rest) = segments.split_first()?;
    let def = ALL.iter().copied().find(|def| def.admin_path == *collection)?;
    match *rest {
        [] => Some(Resource::Collection(def)),
        [key] => Some(Resource::Entity(Place::Flat(def, key))),
        [key, nested] => match links::below(def, nested) {
            Some(link) => Some(Resource::Below(link, key)),
            None => {
                links::of(def).find(|link| link.field == nested).map(|link| Resource::Entity(Place::Above(link, key)))
            }
        },
        [key, nested, child] => {
            let link = links::below(def, nested)?;
            let all = child == "all" && link.child.schema.cache_key.first() == Some(&link.field);
            Some(if all { Resource::All(link, key) } else { Resource::Entity(Place::Below(link, key, child)) })
        }
        _ => None,
    }
}

/// The paths of the generic part, in Kong's notation.
pub(super) fn templates() -> Vec<String> {
    let mut paths = Vec::new();
    for def in ALL {
        let own = format!("/{}/{{{}}}", def.admin_path, def.name);
        paths.push(format!("/{}", def.admin_path));
        for link in links::of(def) {
            paths.push(format!("{own}/{}", link.field));
            let below = format!("/{}/{{{}}}/{}", link.parent.admin_path, link.parent.name, def.nested_path);
            paths.push(format!("{below}/{{{}}}", def.name));
            paths.push(below);
        }
        paths.push(own);
    }
    paths
}
