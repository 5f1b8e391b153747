//! What a data plane keeps through restarts: every record as it was committed, and where all of it came from.
//!
//! The store knows nothing of entities; this file gives its keys and values their meaning (FORMAT.md, "A data plane's
//! content"). [`open`] brings back the snapshot that was served last.

use crate::snapshot::{LoadThread, Rejection, Snapshot};
use model::{Change, Head, Id, Kind, Record};
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
    /// The term of that epoch. Appended: 0 in what earlier versions wrote.
    #[serde(skip)]
    pub term: u32,
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
            term: snapshot.term,
        }
    }

    /// As the store keeps it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Serialising integers into a vector cannot fail.
        let mut bytes = postcard::to_allocvec(self).unwrap_or_default();
        bytes.extend(postcard::to_allocvec(&self.term).unwrap_or_default());
        bytes
    }

    /// What [`Meta::to_bytes`] wrote, in this version or another.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (meta, later): (Self, _) = postcard::take_from_bytes(bytes).ok()?;
        let term = if later.is_empty() { 0 } else { postcard::take_from_bytes(later).ok()?.0 };
        Some(Self { term, ..meta })
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
    /// The store, ready for commits unless the file system is read-only.
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
    let mut loading = LoadThread::start().map_err(|error| OpenError::Io { file: dir.into(), error })?;
    let mut take = |key: Key, value: &[u8]| {
        if let Some((head, body)) = parts(key, value) {
            loading.put(head, body);
        }
    };
    let (store, meta) = Store::open(dir, options, &mut take)?;
    let Some(bytes) = meta.filter(|bytes| !bytes.is_empty()) else {
        return Ok(Opened { store, content: None, unserved: None });
    };
    let unserved = |unserved| (None, Some(unserved));
    let (content, unserved) = match (loading.finish(), Meta::from_bytes(&bytes)) {
        (Err(rejection), _) => unserved(Unserved::Rejected(rejection)),
        (Ok(_), None) => unserved(Unserved::UnknownMeta),
        (Ok(mut snapshot), Some(meta)) => {
            (snapshot.epoch, snapshot.term, snapshot.version) = (meta.epoch, meta.term, meta.version);
            (Some((snapshot, meta)), None)
        }
    };
    Ok(Opened { store, content, unserved })
}

/// A record as the store gives it back; none for what a newer version of the program keeps beside it.
#[must_use]
pub fn record(key: Key, value: &[u8]) -> Option<Record> {
    let (Head { kind, id, version, tag }, body) = parts(key, value)?;
    Some(Record { kind, id, version, tag, body: body.into() })
}

/// The same in two pieces.
fn parts(key: Key, value: &[u8]) -> Option<(Head, &[u8])> {
    if key.table != TABLE_ENTITIES {
        return None;
    }
    let (version, rest) = value.split_first_chunk::<8>()?;
    let (tag, body) = rest.split_first_chunk::<8>()?;
    let head = Head {
        kind: Kind::from_code(key.kind)?,
        id: Id::from_bytes(key.id),
        version: u64::from_le_bytes(*version),
        tag: u64::from_le_bytes(*tag),
    };
    Some((head, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(source: Source, term: u32) -> Meta {
        Meta { epoch: 0x1234, version: 300, root: u64::MAX, count: 2, source, term }
    }

    /// FORMAT.md, "A data plane's content".
    #[test]
    fn the_bytes_of_an_entity_are_as_they_were_released() {
        let record = Record {
            kind: Kind::Route,
            id: Id(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10),
            version: 0x1122_3344,
            tag: 0x8877_6655_4433_2211,
            body: (*b"body").into(),
        };
        let key = key(record.kind, record.id);
        assert_eq!((key.table, key.kind), (1, 2));
        assert_eq!(key.id, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]);
        let value = value(&record);
        assert_eq!(*value, *b"\x44\x33\x22\x11\0\0\0\0\x11\x22\x33\x44\x55\x66\x77\x88body");
        assert_eq!(super::record(key, &value), Some(record));
        assert_eq!(super::record(key, &value[..15]), None);
        assert_eq!(super::record(Key { table: 2, ..key }, &value), None, "somebody else's");
    }

    #[test]
    fn the_bytes_of_a_meta_are_as_they_were_released() {
        const ROOT: [u8; 10] = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        let numbers = [&[0xb4, 0x24, 0xac, 0x02][..], &ROOT, &[2]].concat();
        let plane = [&numbers[..], &[0, 0x80, 0x01]].concat();
        let file = [&numbers[..], &[1, 0x85, 0x01, 0]].concat();
        for (source, term, bytes) in [(Source::ControlPlane, 128, &plane), (Source::File { hash: 133 }, 0, &file)] {
            assert_eq!(meta(source, term).to_bytes(), *bytes);
            assert_eq!(Meta::from_bytes(bytes), Some(meta(source, term)));
            let later = [&bytes[..], b"later"].concat();
            assert_eq!(Meta::from_bytes(&later), Some(meta(source, term)));
        }
        let first = &plane[..plane.len() - 2];
        assert_eq!(Meta::from_bytes(first), Some(meta(Source::ControlPlane, 0)), "of the first release");
        assert_eq!(Meta::from_bytes(&first[..first.len() - 1]), None);
    }
}
