//! What travels, is stored and is applied: an entity as a record `(kind, id, version, tag, body)`, and a change as a
//! record put or an id deleted. Nothing here knows what is in a body.

use crate::{Id, Kind};
use std::sync::Arc;

/// The most bytes one entity's body may have (design §8).
pub const BODY_BYTES_MAX: usize = 256 * 1024;

/// One entity as the control plane committed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is.
    pub kind: Kind,
    /// Its id, unique within the kind.
    pub id: Id,
    /// The commit that last changed it.
    pub version: u64,
    /// Canonical content hash, given by the control plane; digests are sums of tags.
    pub tag: u64,
    /// Append-only postcard, see [`crate::body`]. At most [`BODY_BYTES_MAX`].
    pub body: Arc<[u8]>,
}

/// A record without its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// See [`Record::kind`].
    pub kind: Kind,
    /// See [`Record::id`].
    pub id: Id,
    /// See [`Record::version`].
    pub version: u64,
    /// See [`Record::tag`].
    pub tag: u64,
}

impl Record {
    /// All of it but the body.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { kind: self.kind, id: self.id, version: self.version, tag: self.tag }
    }

    /// The tag of an entity with this content: what [`Record::tag`] must be on the control plane.
    #[must_use]
    pub fn tag_of(kind: Kind, id: Id, body: &[u8]) -> u64 {
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        hash.update(&[kind.code()]);
        hash.update(&id.to_bytes());
        hash.update(body);
        hash.digest()
    }
}

/// One entity created, changed or deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The entity is to be as in the record, whether it existed or not.
    Put(Record),
    /// The entity is to be gone. Deleting what is not there changes nothing.
    Delete {
        /// Its kind.
        kind: Kind,
        /// Its id.
        id: Id,
    },
}

impl Change {
    /// The kind and id it is about.
    #[must_use]
    pub fn key(&self) -> (Kind, Id) {
        match self {
            Self::Put(record) => (record.kind, record.id),
            Self::Delete { kind, id } => (*kind, *id),
        }
    }
}
