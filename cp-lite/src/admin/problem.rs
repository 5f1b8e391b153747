//! What can be wrong with a request, and Kong's status and body for it.

use super::reply::Reply;
use crate::changelog::{CommitError, Precondition};
use http::{StatusCode, header};
use model::catalog::Conflict;
use model::schema::Violations;
use model::{Change, Id, Kind};
use serde_json::{Map, Value, json};

/// A request that is answered with an error.
#[derive(Debug)]
pub(super) enum Problem {
    /// There is nothing at that place.
    NotFound,
    /// There is nothing of that name; said in words.
    NotFoundWords(String),
    /// The place does not take that method; it takes these.
    MethodNotAllowed(&'static str),
    /// A body of no type that is understood.
    UnsupportedMediaType,
    /// A body that is not what its type says.
    BadBody(String),
    /// A body that is too long.
    BodyTooLarge,
    /// A request that makes no sense for another reason.
    BadRequest(String),
    /// The entity breaks its schema.
    Schema(Violations),
    /// The key in the path can be no key.
    InvalidPrimaryKey,
    /// An entity with that id exists.
    PrimaryKey(Id),
    /// Another entity has the value.
    Unique {
        /// Kong's way of writing the fields and values.
        shown: String,
        /// The same as JSON.
        fields: Map<String, Value>,
    },
    /// A foreign key points to nothing.
    ForeignMissing {
        /// The field.
        field: &'static str,
        /// What it points to.
        id: Id,
        /// The kind that it points to.
        target: Kind,
    },
    /// A foreign key by name points to nothing.
    ForeignUnresolved {
        /// The field.
        field: &'static str,
        /// By which of its fields the target is named.
        by: &'static str,
        /// The name.
        value: String,
        /// The kind that it points to.
        target: Kind,
    },
    /// Something refers to what is to be deleted.
    Referenced {
        /// What is to be deleted.
        kind: Kind,
        /// What refers to it.
        by: Kind,
    },
    /// The `offset` of a list is none of ours.
    InvalidOffset(String),
    /// The `size` of a list is out of bounds.
    InvalidSize(&'static str),
    /// The `tags` of a list are not understood.
    InvalidTags(&'static str),
    /// Several changes of one transaction are wrong.
    Changes(StatusCode, String, Vec<Value>),
    /// This control plane takes no changes: it follows another one, the one named if any is.
    Follower(String),
    /// What the request expected is no longer so.
    Outdated(String),
    /// So many others changed the same entity that this request never had its turn.
    Contended,
    /// The configuration could not be written, or what was read cannot be shown.
    Internal(String),
}

impl From<Violations> for Problem {
    fn from(violations: Violations) -> Self {
        Self::Schema(violations)
    }
}

impl Problem {
    /// Why a transaction was not committed, in terms of the entities in it.
    pub(super) fn of_commit(error: CommitError, changes: &[Change]) -> Self {
        match error {
            CommitError::Refused(conflicts) => match conflicts.into_iter().next() {
                Some(conflict) => Self::of_conflict(conflict, changes),
                None => Self::Internal("the change was refused".to_owned()),
            },
            CommitError::Outdated(Precondition::Head(expected)) => {
                Self::Outdated(format!("the configuration is no longer at version {expected}"))
            }
            CommitError::Outdated(Precondition::Entity(..)) => Self::Contended,
            error @ (CommitError::TooManyChanges { .. } | CommitError::TooManyBytes { .. }) => {
                Self::BadRequest(error.to_string())
            }
            CommitError::Follower => Self::Follower(String::new()),
            error @ (CommitError::Store(_) | CommitError::Closed) => Self::Internal(error.to_string()),
        }
    }

    /// A contradiction as Kong says it.
    pub(super) fn of_conflict(conflict: Conflict, changes: &[Change]) -> Self {
        match conflict {
            Conflict::Duplicate { kind, id, field, value, .. } => unique(kind, id, field, &value, changes),
            Conflict::Dangling { field, target, target_id, .. } => {
                Self::ForeignMissing { field, id: target_id, target }
            }
            Conflict::StillReferenced { kind, by, .. } => Self::Referenced { kind, by },
            error @ Conflict::Body { .. } => Self::Internal(error.to_string()),
        }
    }

    /// Status and body.
    pub(super) fn into_reply(self) -> Reply {
        let status = self.status();
        match self {
            Self::MethodNotAllowed(allow) => {
                Reply::json(status, message("Method not allowed")).with(header::ALLOW, allow)
            }
            Self::Follower(writer) => Reply::json(status, follower(&writer)).with(header::ALLOW, "GET, HEAD, OPTIONS"),
            other => Reply::json(status, other.into_body()),
        }
    }

    /// The HTTP status.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::NotFoundWords(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) | Self::Follower(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unique { .. } | Self::Outdated(_) => StatusCode::CONFLICT,
            Self::Changes(status, ..) => *status,
            Self::Contended => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The JSON document.
    pub(super) fn into_body(self) -> Value {
        match self {
            Self::NotFound => message("Not found"),
            Self::MethodNotAllowed(_) => message("Method not allowed"),
            Self::UnsupportedMediaType => message("Unsupported media type"),
            Self::BodyTooLarge => message("Payload too large"),
            Self::NotFoundWords(text) | Self::BadBody(text) | Self::BadRequest(text) | Self::Outdated(text) => {
                message(&text)
            }
            Self::Follower(writer) => follower(&writer),
            Self::Contended => message("too many others are changing the same entity; try again"),
            Self::Changes(_, text, errors) => json!({"message": text, "errors": errors}),
            Self::Schema(violations) => violations.to_json(),
            Self::InvalidPrimaryKey => {
                let fields = json!({"id": "expected a valid UUID"});
                coded(1, "invalid primary key", "invalid primary key: '{id=\"expected a valid UUID\"}'", fields)
            }
            Self::PrimaryKey(id) => {
                let text = format!("primary key violation on key '{{id=\"{id}\"}}'");
                coded(3, "primary key violation", &text, json!({"id": id}))
            }
            Self::Unique { shown, fields } => {
                let text = format!("UNIQUE violation detected on '{shown}'");
                coded(5, "unique constraint violation", &text, Value::Object(fields))
            }
            Self::ForeignMissing { field, id, target } => {
                let target = target.def().name;
                let text =
                    format!("the foreign key '{{id=\"{id}\"}}' does not reference an existing '{target}' entity.");
                coded(4, "foreign key violation", &text, json!({field: {"id": id}}))
            }
            Self::ForeignUnresolved { field, by, value, target } => unresolved(field, by, &value, target),
            Self::Referenced { kind, by } => {
                let (kind, by) = (kind.def().name, by.def().name);
                let text = format!("an existing '{by}' entity references this '{kind}' entity");
                coded(4, "foreign key violation", &text, json!({"@referenced_by": by}))
            }
            Self::InvalidOffset(offset) => {
                let text = format!("'{offset}' is not a valid offset: bad base64 encoding");
                json!({"code": 7, "name": "invalid offset", "message": text})
            }
            Self::InvalidSize(text) => json!({"code": 9, "name": "invalid size", "message": text}),
            Self::InvalidTags(text) => {
                let message = format!("invalid option (tags: {text})");
                json!({"code": 11, "name": "invalid options", "message": message, "options": {"tags": text}})
            }
            Self::Internal(text) => json!({"code": 8, "name": "database error", "message": text}),
        }
    }
}

fn message(text: &str) -> Value {
    json!({"message": text})
}

fn coded(code: u8, name: &str, message: &str, fields: Value) -> Value {
    json!({"code": code, "name": name, "message": message, "fields": fields})
}

/// Kong's error of a node that is read-only.
fn follower(writer: &str) -> Value {
    let (whom, there) = if writer.is_empty() { ("another one", "its writer") } else { (writer, writer) };
    let text = format!(
        "this control plane follows {whom} and takes no changes: send them to {there}, or make this one the writer \
         with \"cp-lite promote\""
    );
    json!({"code": 12, "name": "operation unsupported", "message": text, "writer": writer})
}

fn unresolved(field: &str, by: &str, value: &str, target: Kind) -> Value {
    let target = target.def().name;
    let reason =
        format!("the foreign key cannot be resolved with '{{{by}=\"{value}\"}}' for an existing '{target}' entity");
    let text = format!("foreign key unresolved ({field}.{by}: {reason})");
    coded(13, "foreign keys unresolved", &text, json!({field: {by: reason}}))
}

/// A unique violation; the values are those of the entity that was refused.
fn unique(kind: Kind, id: Id, field: &'static str, value: &str, changes: &[Change]) -> Problem {
    let refused = changes.iter().find_map(|change| match change {
        Change::Put(record) if record.kind == kind && record.id == id => (kind.def().to_json)(&record.body).ok(),
        _ => None,
    });
    let of = |name: &str| match &refused {
        Some(entity) => entity.get(name).cloned().unwrap_or(Value::Null),
        None => Value::String(value.to_owned()),
    };
    let mut names: Vec<&str> = field.split(',').collect();
    names.sort_unstable();
    let fields: Map<String, Value> = names.into_iter().map(|name| (name.to_owned(), of(name))).collect();
    Problem::Unique { shown: lua(&Value::Object(fields.clone())), fields }
}

/// A value in the notation of Kong's messages: `{name="x",service={id="…"}}`.
fn lua(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", lua(value))).collect();
            format!("{{{}}}", fields.join(","))
        }
        other => other.to_string(),
    }
}
