//! Lists in pages, as Kong gives them: `size`, `offset`, `tags`; `data`, `next`, `offset`.

use super::problem::Problem;
use super::request::Request;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::Id;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

/// How many entities a page has where the client does not say.
const SIZE_DEFAULT: usize = 100;
/// The most entities of a page.
const SIZE_MAX: usize = 1000;
/// The most tags that a list may be narrowed by.
const TAGS_MAX: usize = 5;

/// Which part of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) size: usize,
    /// Where the last page ended: opaque to clients, bytes of the list's own.
    pub(super) after: Option<Vec<u8>>,
    pub(super) tags: Tags,
}

/// Which entities are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tags {
    /// All.
    Any,
    /// Those with all of these tags.
    All(Vec<String>),
    /// Those with one of these tags.
    OneOf(Vec<String>),
}

impl Page {
    /// Reads the query of a list.
    pub(super) fn read(request: &Request<'_>) -> Result<Self, Problem> {
        let size = request.parameter("size").map_or(Ok(SIZE_DEFAULT), size)?;
        let after = request.parameter("offset").map(offset).transpose()?;
        let tags = request.parameter("tags").map_or(Ok(Tags::Any), tags)?;
        Ok(Self { size, after, tags })
    }

    /// The last page's end, for lists in the order of ids.
    pub(super) fn after_id(&self) -> Result<Option<Id>, Problem> {
        let Some(bytes) = &self.after else { return Ok(None) };
        let id: [u8; 16] = bytes.as_slice().try_into().map_err(|_| Problem::InvalidOffset(STANDARD.encode(bytes)))?;
        Ok(Some(Id::from_bytes(id)))
    }

    /// The answer: one page of a list, `last` being the place where it ends if there is more.
    pub(super) fn answer(&self, request: &Request<'_>, data: Vec<Value>, last: Option<&[u8]>) -> Value {
        let mut answer = Map::new();
        answer.insert("data".to_owned(), Value::Array(data));
        let next = last.map(|last| {
            let offset = STANDARD.encode(last);
            let next = next(request, &offset);
            answer.insert("offset".to_owned(), Value::String(offset));
            Value::String(next)
        });
        answer.insert("next".to_owned(), next.unwrap_or(Value::Null));
        Value::Object(answer)
    }
}

impl Tags {
    /// Whether an entity with these tags is asked for.
    pub(super) fn take(&self, tags: &[String]) -> bool {
        match self {
            Self::Any => true,
            Self::All(wanted) => wanted.iter().all(|tag| tags.contains(tag)),
            Self::OneOf(wanted) => wanted.iter().any(|tag| tags.contains(tag)),
        }
    }
}

/// The path of the next page: the same list with the same size and tags.
fn next(request: &Request<'_>, offset: &str) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let path: Vec<String> = request.segments.iter().map(|segment| readable(segment)).collect();
    let mut next = format!("/{}?offset={}", path.join("/"), encode(offset));
    for name in ["tags", "size"] {
        if let Some(value) = request.parameter(name) {
            next.push_str(&format!("&{name}={}", encode(value)));
        }
    }
    next
}

/// A path segment, encoded where it must be.
fn readable(segment: &str) -> String {
    const SEGMENT: &percent_encoding::AsciiSet =
        &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b':');
    utf8_percent_encode(segment, SEGMENT).to_string()
}

fn size(text: &str) -> Result<usize, Problem> {
    let number: f64 = text.parse().map_err(|_| Problem::InvalidSize("size must be a number"))?;
    let whole = text.parse::<usize>().ok().filter(|size| (1..=SIZE_MAX).contains(size));
    whole.filter(|_| number.is_finite()).ok_or(Problem::InvalidSize("size must be an integer between 1 and 1000"))
}

fn offset(text: &str) -> Result<Vec<u8>, Problem> {
    STANDARD.decode(text).map_err(|_| Problem::InvalidOffset(text.to_owned()))
}

/// `a,b` is both, `a/b` is either.
fn tags(text: &str) -> Result<Tags, Problem> {
    let either = text.contains('/');
    let list: Vec<String> = text.split(if either { '/' } else { ',' }).map(str::to_owned).collect();
    if list.iter().any(|tag| tag.is_empty() || tag.contains(',') || tag.chars().any(char::is_control)) {
        return Err(Problem::InvalidTags("invalid filter syntax"));
    }
    if list.len() > TAGS_MAX {
        return Err(Problem::InvalidTags("cannot query more than 5 tags"));
    }
    Ok(if either { Tags::OneOf(list) } else { Tags::All(list) })
}
