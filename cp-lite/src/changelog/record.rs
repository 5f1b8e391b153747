//! How the changelog lies in the store: table 1 holds entities (version, tag, audience, body), table 2 deletions
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
