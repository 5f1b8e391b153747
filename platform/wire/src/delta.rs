//! DELTA: one atomic step from a version to a later one, as puts, patches and deletions of entities. The [`Builder`] writes a
//! step once for all nodes that are at the same version; the [`Assembler`] takes it apart while its frames arrive.
//!
//! Payload over all frames: `varint from | varint to-from | u64 root after | op…`, and an op is
//! `0 | u8 kind | id | varint to-version | u64 tag | u8 codec | varint length | body` or `1 | u8 kind | id` or
//! `2 | u8 kind | u8 length | start of id | varint to-version | u64 tag | varint length | hunks`; or all of them packed, as
//! `3 | u8 codec | varint plain | varint length | bytes` (see [`crate::pack`]).

mod build;
mod read;

pub use build::{Builder, Encoded};
pub use read::Assembler;

pub(crate) use build::push_entity;
pub(crate) use read::{Stop, read_entity};

use crate::compat::UnknownKinds;
use crate::patch::Patch;
use model::{Change, Id, Kind, Record};
use std::sync::Arc;

const PUT: u8 = 0;
const DELETE: u8 = 1;
pub(crate) const PATCH: u8 = 2;
const PACKED: u8 = 3;

/// An entity as it travelled; its kind may be one that this build does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// The kind's code.
    pub kind: u8,
    /// Its id.
    pub id: Id,
    /// The commit that last changed it.
    pub version: u64,
    /// Canonical content hash.
    pub tag: u64,
    /// The body, decoded from its codec.
    pub body: Arc<[u8]>,
}

/// This build does not know the kind of an entity. The answer is a [`crate::NackCode::UnknownKind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind {kind} of entity {id}")]
pub struct UnknownKind {
    /// The kind's code.
    pub kind: u8,
    /// The entity.
    pub id: Id,
}

/// An operation is no change of the model by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoChange {
    /// It is about a kind that this build does not know.
    #[error(transparent)]
    UnknownKind(#[from] UnknownKind),
    /// It says only how what was there is to differ.
    #[error("a patch of kind {}", .0.kind)]
    Patch(Patch),
}

impl Entity {
    /// As a record of the model.
    ///
    /// # Errors
    /// The kind is not known to this build.
    pub fn into_record(self) -> Result<Record, UnknownKind> {
        let kind = known(self.kind, self.id)?;
        Ok(Record { kind, id: self.id, version: self.version, tag: self.tag, body: self.body })
    }
}

impl From<&Record> for Entity {
    fn from(record: &Record) -> Self {
        let Record { kind, id, version, tag, body } = record;
        Self { kind: kind.code(), id: *id, version: *version, tag: *tag, body: Arc::clone(body) }
    }
}

fn known(kind: u8, id: Id) -> Result<Kind, UnknownKind> {
    Kind::from_code(kind).ok_or(UnknownKind { kind, id })
}

/// One operation of a delta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// The entity is to be as here.
    Put(Entity),
    /// The entity is to be gone.
    Delete {
        /// The kind's code.
        kind: u8,
        /// Its id.
        id: Id,
    },
    /// The entity, which is there, is to be changed so.
    Patch(Patch),
}

impl Op {
    /// As a change of the model.
    ///
    /// # Errors
    /// The kind is not known to this build, or it is a patch.
    pub fn into_change(self) -> Result<Change, NoChange> {
        match self {
            Self::Put(entity) => Ok(Change::Put(entity.into_record()?)),
            Self::Delete { kind, id } => Ok(Change::Delete { kind: known(kind, id)?, id }),
            Self::Patch(patch) => Err(NoChange::Patch(patch)),
        }
    }

    /// The kind's code and the id it is about; of a patch only the start of the id is known.
    #[must_use]
    pub fn key(&self) -> Option<(u8, Id)> {
        match self {
            Self::Put(entity) => Some((entity.kind, entity.id)),
            Self::Delete { kind, id } => Some((*kind, *id)),
            Self::Patch(_) => None,
        }
    }
}

/// How a step may be written for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Form {
    /// With patches of the bodies that a node at the step's start was sent.
    pub patches: bool,
    /// With its operations packed.
    pub packed: bool,
    /// Without what was deleted of these kinds: whoever does not know them has nothing of them, and refuses a step that
    /// names them. There are entities of none of them at the step's end, or nothing would be sent.
    pub unknown: UnknownKinds,
}

/// A complete step. All of it is applied, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// The version it starts from.
    pub from: u64,
    /// The version it ends at; equal to `from` only when it answers a WANT.
    pub to: u64,
    /// The root digest at `to`.
    pub root: u64,
    /// Each entity at most once.
    pub ops: Vec<Op>,
}

impl Delta {
    /// How many of its operations are patches.
    #[must_use]
    pub fn patches(&self) -> usize {
        self.ops.iter().filter(|op| matches!(op, Op::Patch(_))).count()
    }
}
