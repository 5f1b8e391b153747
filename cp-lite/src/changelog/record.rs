//! How the changelog lies in the store (FORMAT.md, "A control plane's content"): table 1 holds entities (version, tag, audience, body), table 2 deletions
//! (version, audience),
//! table 3 what is known of nodes (opaque here); the meta record holds epoch, version, floor, term and role.
//! Numbers are little-endian; the store itself seals every record.

use super::Audience;
use super::role::{Role, Standing};
use model::{Id, Kind, Record};
use std::sync::Arc;
use store::Key;

const ENTITIES: u8 = 1;
const DELETIONS: u8 = 2;
const NODES: u8 = 3;

/// The layout that this module writes.
const FORMAT: u8 = 1;

const WRITER: u8 = 0;
const FOLLOWER: u8 = 1;

/// What every commit writes beside its changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) epoch: u64,
    pub(super) version: u64,
    pub(super) floor: u64,
    /// Was appended, as was what follows: a meta of earlier versions ends before it, and is of a writer of term 0.
    pub(super) term: u32,
    pub(super) standing: Standing,
}

/// A record of the store, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Loaded {
    Entity(Record),
    Deletion { kind: Kind, id: Id, version: u64 },
    Node { id: Id, row: Vec<u8> },
}

/// A record of the store that this program cannot read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// The record belongs to a table that this version does not know.
    #[error("unknown table {0}")]
    Table(u8),
    /// The record is of a kind that this version does not know.
    #[error("unknown kind {0}")]
    Kind(u8),
    /// The record is for a class of nodes that this version does not know, and would go to all of them.
    #[error("unknown audience {0}")]
    Audience(u16),
    /// The record ends too early.
    #[error("a record of {0} bytes is too short")]
    Short(usize),
    /// The meta record has a layout that this version does not know.
    #[error("unknown layout {0}")]
    Format(u8),
    /// The meta record says that this is neither a writer nor a follower.
    #[error("unknown role {0}")]
    Role(u8),
}

impl Meta {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        for number in [self.epoch, self.version, self.floor] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.term.to_le_bytes());
        bytes.push(if self.standing.role == Role::Writer { WRITER } else { FOLLOWER });
        bytes.extend_from_slice(self.standing.over.as_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let short = Unreadable::Short(bytes.len());
        let (&format, rest) = bytes.split_first().ok_or_else(|| short.clone())?;
        if format != FORMAT {
            return Err(Unreadable::Format(format));
        }
        let (epoch, rest) = number(rest).ok_or_else(|| short.clone())?;
        let (version, rest) = number(rest).ok_or_else(|| short.clone())?;
        let (floor, rest) = number(rest).ok_or_else(|| short.clone())?;
        let Some((term, rest)) = rest.split_first_chunk() else {
            return Ok(Self { epoch, version, floor, term: 0, standing: Standing::default() });
        };
        let (&role, over) = rest.split_first().ok_or(short)?;
        let role = match role {
            WRITER => Role::Writer,
            FOLLOWER => Role::Follower,
            other => return Err(Unreadable::Role(other)),
        };
        let standing = Standing { role, over: String::from_utf8_lossy(over).into_owned() };
        Ok(Self { epoch, version, floor, term: u32::from_le_bytes(*term), standing })
    }
}

/// The change that keeps an entity.
pub(super) fn put_entity(record: &Record) -> store::Change {
    let mut value = Vec::with_capacity(18 + record.body.len());
    value.extend_from_slice(&record.version.to_le_bytes());
    value.extend_from_slice(&record.tag.to_le_bytes());
    value.extend_from_slice(&Audience::ALL.to_le_bytes());
    value.extend_from_slice(&record.body);
    store::Change { key: key(ENTITIES, record.kind.code(), record.id), value: Some(value.into()) }
}

/// The change that drops an entity.
pub(super) fn drop_entity(kind: Kind, id: Id) -> store::Change {
    store::Change { key: key(ENTITIES, kind.code(), id), value: None }
}

/// The change that keeps the memory of a deletion.
pub(super) fn put_deletion(kind: Kind, id: Id, version: u64) -> store::Change {
    let value: Arc<[u8]> = [&version.to_le_bytes()[..], &Audience::ALL.to_le_bytes()].concat().into();
    store::Change { key: key(DELETIONS, kind.code(), id), value: Some(value) }
}

/// The change that drops the memory of a deletion.
pub(super) fn drop_deletion(kind: Kind, id: Id) -> store::Change {
    store::Change { key: key(DELETIONS, kind.code(), id), value: None }
}

/// The change that keeps or drops what is known of a node.
pub(super) fn node(id: Id, row: Option<Vec<u8>>) -> store::Change {
    store::Change { key: key(NODES, 0, id), value: row.map(Into::into) }
}

/// Understands a record of the store.
pub(super) fn load(key: Key, value: &[u8]) -> Result<Loaded, Unreadable> {
    let id = Id::from_bytes(key.id);
    let kind = || Kind::from_code(key.kind).ok_or(Unreadable::Kind(key.kind));
    let short = Unreadable::Short(value.len());
    match key.table {
        ENTITIES => {
            let (version, rest) = number(value).ok_or_else(|| short.clone())?;
            let (tag, rest) = number(rest).ok_or_else(|| short.clone())?;
            let (audience, body) = rest.split_first_chunk().ok_or(short)?;
            Audience::known(*audience).map_err(Unreadable::Audience)?;
            Ok(Loaded::Entity(Record { kind: kind()?, id, version, tag, body: body.into() }))
        }
        DELETIONS => {
            let (version, rest) = number(value).ok_or_else(|| short.clone())?;
            let (audience, _) = rest.split_first_chunk().ok_or(short)?;
            Audience::known(*audience).map_err(Unreadable::Audience)?;
            Ok(Loaded::Deletion { kind: kind()?, id, version })
        }
        NODES => Ok(Loaded::Node { id, row: value.to_vec() }),
        table => Err(Unreadable::Table(table)),
    }
}

fn key(table: u8, kind: u8, id: Id) -> Key {
    Key { table, kind, id: id.to_bytes() }
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    bytes.split_first_chunk().map(|(head, rest)| (u64::from_le_bytes(*head), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Id = Id(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
    const ID_BYTES: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];

    fn parts(change: store::Change) -> ((u8, u8, [u8; 16]), Vec<u8>) {
        let Key { table, kind, id } = change.key;
        ((table, kind, id), change.value.unwrap().to_vec())
    }

    #[test]
    fn the_bytes_of_all_tables_are_as_they_were_released() {
        let (version, tag) = (0x1122_3344, 0x8877_6655_4433_2211);
        let record = Record { kind: Kind::Route, id: ID, version, tag, body: (*b"body").into() };
        let (key, value) = parts(put_entity(&record));
        assert_eq!(key, (1, 2, ID_BYTES));
        assert_eq!(value, b"\x44\x33\x22\x11\0\0\0\0\x11\x22\x33\x44\x55\x66\x77\x88\0\0body");
        assert_eq!(load(super::key(ENTITIES, 2, ID), &value), Ok(Loaded::Entity(record)));
        let (key, value) = parts(put_deletion(Kind::JwtSecret, ID, 0x1122_3344));
        assert_eq!((key, &value[..]), ((2, 11, ID_BYTES), &b"\x44\x33\x22\x11\0\0\0\0\0\0"[..]));
        let deletion = Loaded::Deletion { kind: Kind::JwtSecret, id: ID, version };
        assert_eq!(load(super::key(DELETIONS, 11, ID), &value), Ok(deletion));
        assert_eq!(parts(node(ID, Some(b"{}".to_vec()))), ((3, 0, ID_BYTES), b"{}".to_vec()));
    }

    #[test]
    fn what_a_later_version_wrote_is_refused_and_not_guessed_at() {
        let mut value = parts(put_deletion(Kind::Route, ID, 1)).1;
        value[8] = 7;
        assert_eq!(load(super::key(DELETIONS, 2, ID), &value), Err(Unreadable::Audience(7)));
        assert_eq!(load(super::key(4, 2, ID), &value), Err(Unreadable::Table(4)));
        assert_eq!(load(super::key(ENTITIES, 99, ID), &[0; 18]), Err(Unreadable::Kind(99)));
        assert_eq!(load(super::key(ENTITIES, 2, ID), &[0; 17]), Err(Unreadable::Short(17)));
    }

    #[test]
    fn the_bytes_of_a_meta_are_as_they_were_released() {
        let standing = Standing { role: Role::Follower, over: "cp:8005".into() };
        let meta = Meta { epoch: 0x0102_0304_0506_0708, version: 300, floor: 7, term: 5, standing };
        let bytes = b"\x01\x08\x07\x06\x05\x04\x03\x02\x01\x2c\x01\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\x05\0\0\0\x01cp:8005";
        assert_eq!(meta.encode(), bytes);
        assert_eq!(Meta::decode(bytes), Ok(meta.clone()));
        let first = Meta { term: 0, standing: Standing::default(), ..meta };
        assert_eq!(Meta::decode(&bytes[..25]), Ok(first), "of the first release");
        assert_eq!(Meta::decode(b"\x02"), Err(Unreadable::Format(2)));
    }
}
