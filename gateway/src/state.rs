//! What a data plane keeps through restarts: every record as it was committed, and where all of it came from.
//!
//! The store knows nothing of entities; this file gives its keys and values their meaning (FORMAT.md, "A data plane's
//! content"). [`open`] brings back the snapshot that was served last.

use crate::snapshot::{Loader, Rejection, Snapshot};
use model::{Change, Id, Kind, Record};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use store::{Key, OpenError, Store};

/// The store's table of entities.
pub const TABLE_ENTITIES: u8 = 1;

/// Where a store's content came from, and which state of it this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The incarnation of the control plane's database; 0 for a file.
    pub epoch: u64,
    /// The commit.
    pub version: u64,
    /// The digest of all records.
    pub root: u64,
    /// How many records there are.
    pub count: u64,
    /// Who brought it.
    pub source: Source,
}

/// Who brought a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// A control plane.
    ControlPlane,
    /// A declarative file with this hash of its bytes.
    File {
        /// Tells a changed file from the same one.
        hash: u64,
    },
}

impl Meta {
    /// The meta of a snapshot.
    #[must_use]
    pub fn of(snapshot: &Snapshot, source: Source) -> Self {
        Self {
            epoch: snapshot.epoch,
            version: snapshot.version,
            root: snapshot.catalog().digest(),
            count: snapshot.catalog().len() as u64,
            source,
        }
    }

    /// As the store keeps it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Serialising integers into a vector cannot fail.
        postcard::to_allocvec(self).unwrap_or_default()
    }
}

/// The store's key of an entity.
#[must_use]
pub fn key(kind: Kind, id: Id) -> Key {
    Key { table: TABLE_ENTITIES, kind: kind.code(), id: id.to_bytes() }
}

/// The store's value of a record: version and tag, eight bytes each, least significant first, then the body.
#[must_use]
pub fn value(record: &Record) -> Arc<[u8]> {
    let mut bytes = Vec::with_capacity(16 + record.body.len());
    bytes.extend_from_slice(&record.version.to_le_bytes());
    bytes.extend_from_slice(&record.tag.to_le_bytes());
    bytes.extend_from_slice(&record.body);
    bytes.into()
}

/// A change as the store takes it.
#[must_use]
pub fn change(change: &Change) -> store::Change {
    let (kind, id) = change.key();
    let value = match change {
        Change::Put(record) => Some(value(record)),
        Change::Delete { .. } => None,
    };
    store::Change { key: key(kind, id), value }
}

/// A store's content as it was found.
pub struct Opened {
    /// The store, ready for commits.
    pub store: Store,
    /// What it held, compiled; none when it was empty or does not compile in this version of the program.
    pub content: Option<(Snapshot, Meta)>,
    /// Why a content that is there is not served.
    pub unserved: Option<Unserved>,
}

/// Why a verified content is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unserved {
    /// A record does not compile in this version of the program.
    #[error("the stored configuration does not compile: {0}")]
    Rejected(Rejection),
    /// The store's own words about its content cannot be read by this version of the program.
    #[error("the stored configuration was written by another version of this program")]
    UnknownMeta,
}

/// Opens the store below `dir` and compiles what it holds.
///
/// # Errors
/// Whatever keeps the store from being opened; a content that opens but does not compile is no error.
pub fn open(dir: &Path, options: store::Options) -> Result<Opened, OpenError> {
    let mut loader = Loader::new(0, 0);
    let mut rejected = None;
    let mut take = |key: Key, value: &[u8]| {
        if rejected.is_none()
            && let Some(record) = record(key, value)
            && let Err(rejection) = loader.put(&record)
        {
            rejected = Some(rejection);
        }
    };
    let (store, meta) = Store::open(dir, options, &mut take)?;
    let Some(bytes) = meta.filter(|bytes| !bytes.is_empty()) else {
        return Ok(Opened { store, content: None, unserved: None });
    };
    let unserved = |unserved| (None, Some(unserved));
    let (content, unserved) = match (rejected, postcard::from_bytes::<Meta>(&bytes)) {
        (Some(rejection), _) => unserved(Unserved::Rejected(rejection)),
        (None, Err(_)) => unserved(Unserved::UnknownMeta),
        (None, Ok(meta)) => match loader.finish() {
            Err(rejection) => unserved(Unserved::Rejected(rejection)),
            Ok(mut snapshot) => {
                (snapshot.epoch, snapshot.version) = (meta.epoch, meta.version);
                (Some((snapshot, meta)), None)
            }
        },
    };
    Ok(Opened { store, content, unserved })
}

/// A record as the store gives it back; none for what a newer version of the program keeps beside it.
fn record(key: Key, value: &[u8]) -> Option<Record> {
    if key.table != TABLE_ENTITIES {
        return None;
    }
    let (version, rest) = value.split_first_chunk::<8>()?;
    let (tag, body) = rest.split_first_chunk::<8>()?;
    Some(Record {
        kind: Kind::from_code(key.kind)?,
        id: Id::from_bytes(key.id),
        version: u64::from_le_bytes(*version),
        tag: u64::from_le_bytes(*tag),
        body: body.into(),
    })
}
