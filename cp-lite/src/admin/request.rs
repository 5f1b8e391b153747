//! A request in parts that the rest of the Admin API works with: path segments, query, content.

use super::form::Form;
use super::multipart;
use super::problem::Problem;
use bytes::Bytes;
use http::request::Parts;
use http::{Method, header};
use model::kind::KindDef;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};
use std::borrow::Cow;

/// The most bytes of a request's body.
pub const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;
/// The most bytes of the body of `POST /config/apply`, which carries whole configurations.
pub const APPLY_BYTES_MAX: usize = 128 * 1024 * 1024;
/// The most segments of a path.
const SEGMENTS_MAX: usize = 8;
/// The most parameters of a query that are looked at.
const QUERY_MAX: usize = 100;

/// A request, understood as far as that does not depend on what it is about.
pub(super) struct Request<'a> {
    pub(super) method: &'a Method,
    pub(super) segments: Vec<String>,
    pub(super) query: Vec<(String, String)>,
    pub(super) content: Content,
}

/// The body of a request.
pub(super) enum Content {
    /// None.
    Empty,
    /// JSON, not yet parsed.
    Json(Bytes),
    /// Names and values, whose types a schema has to tell.
    Form(Form),
}

impl<'a> Request<'a> {
    /// Reads the parts of a request. The body is looked at only where the method has one.
    pub(super) fn read(parts: &'a Parts, body: &Bytes) -> Result<Self, Problem> {
        let segments = segments(parts.uri.path())?;
        let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let query = query.take(QUERY_MAX).map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        let has_body = matches!(parts.method, Method::POST | Method::PUT | Method::PATCH);
        let content = if has_body { Content::read(parts, body)? } else { Content::Empty };
        Ok(Self { method: &parts.method, segments, query, content })
    }

    /// The value of a query parameter; of the first where there are several.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

impl Content {
    fn read(parts: &Parts, body: &Bytes) -> Result<Self, Problem> {
        let Some(content_type) = parts.headers.get(header::CONTENT_TYPE) else {
            return if body.is_empty() { Ok(Self::Empty) } else { Err(Problem::UnsupportedMediaType) };
        };
        let content_type = content_type.to_str().map_err(|_| Problem::UnsupportedMediaType)?;
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/json" => Ok(Self::Json(body.clone())),
            "application/x-www-form-urlencoded" => Ok(Self::Form(Form::read(form_urlencoded::parse(body))?)),
            "multipart/form-data" => {
                let fields = multipart::read(content_type, body)?;
                Ok(Self::Form(Form::read(fields.into_iter().map(|(name, value)| (name.into(), value.into())))?))
            }
            _ => Err(Problem::UnsupportedMediaType),
        }
    }

    /// The content as an entity of this kind; a form's values become what the schema says they are. `existing` is what
    /// a change is about: a plugin's name may be known only from there.
    pub(super) fn entity(
        &self,
        def: &KindDef,
        existing: Option<&Map<String, Value>>,
    ) -> Result<Map<String, Value>, Problem> {
        match self {
            Self::Empty => Ok(Map::new()),
            Self::Json(body) => object(body),
            Self::Form(form) => Ok(form.entity(def, existing)),
        }
    }
}

/// A JSON object (Kong: 400 for anything that does not parse). An empty list is one, as it is for Kong.
fn object(body: &[u8]) -> Result<Map<String, Value>, Problem> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::Array(array)) if array.is_empty() => Ok(Map::new()),
        _ => Err(Problem::BadBody("Cannot parse JSON body".to_owned())),
    }
}

/// The decoded segments of a path; a slash at the end makes no difference (Kong).
fn segments(path: &str) -> Result<Vec<String>, Problem> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let decoded = path.split('/').take(SEGMENTS_MAX + 1).map(|segment| percent_decode_str(segment).decode_utf8());
    let decoded: Result<Vec<String>, _> = decoded.map(|segment| segment.map(Cow::into_owned)).collect();
    decoded.ok().filter(|segments| segments.len() <= SEGMENTS_MAX).ok_or(Problem::NotFound)
}
