//! DELTA: one atomic step from a version to a later one, as puts and deletions of entities. The encoder writes a step
//! once for all nodes that are at the same version; the assembler takes it apart while its frames arrive.
//!
//! Payload over all frames: `varint from | varint to-from | u64 root after | op…`, and an op is
//! `0 | u8 kind | id | varint to-version | u64 tag | u8 codec | varint length | body` or `1 | u8 kind | id` or
//! `2 | u8 kind | u8 length | start of id | varint to-version | u64 tag | varint length | hunks`.

use crate::error::ProtocolError;
use crate::frame;
use crate::limits::{BODY_BYTES_MAX, DELTA_BYTES_MAX, DELTA_OPS_MAX, DELTA_PATCHES_MAX};
use crate::message::{CODEC_RAW, Type};
use crate::patch::{self, IdPrefix, Patch};
use crate::read::{Reader, Short, push_varint};
use bytes::Bytes;
use model::{Change, Id, Kind, Record};
use std::collections::HashSet;
use std::sync::Arc;

const PUT: u8 = 0;
const DELETE: u8 = 1;
pub(crate) const PATCH: u8 = 2;

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

/// A step as frames, ready for any number of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    from: u64,
    to: u64,
    root: u64,
    /// What its patches are of, in their order.
    patched: Arc<[(u8, Id)]>,
    payload: Bytes,
    frames: Bytes,
}

impl Encoded {
    /// The version it starts from.
    #[must_use]
    pub fn from(&self) -> u64 {
        self.from
    }

    /// The version it ends at.
    #[must_use]
    pub fn to(&self) -> u64 {
        self.to
    }

    /// The root digest at its end.
    #[must_use]
    pub fn root(&self) -> u64 {
        self.root
    }

    /// How many of its operations are patches.
    #[must_use]
    pub fn patches(&self) -> usize {
        self.patched.len()
    }

    /// The bytes to send. Cloning them costs a reference count.
    #[must_use]
    pub fn frames(&self) -> Bytes {
        self.frames.clone()
    }

    /// The same step with more entities in it, each unless it is there already, and instead of its patch; `None` when that
    /// is over the limits.
    pub(crate) fn with(&self, extra: impl Iterator<Item = Op>) -> Option<Self> {
        let mut assembler = Assembler::default();
        let delta = assembler.push(&self.payload, false).ok()??;
        let extra: Vec<((u8, Id), Op)> = extra.filter_map(|op| Some((op.key()?, op))).collect();
        let whole: HashSet<(u8, Id)> = extra.iter().map(|(key, _)| *key).collect();
        let mut builder = Builder::new(self.from, self.to, self.root);
        let mut patched = self.patched.iter().copied();
        let mut said = HashSet::new();
        for op in &delta.ops {
            let key = op.key().or_else(|| patched.next())?;
            if !matches!(op, Op::Patch(_)) || !whole.contains(&key) {
                said.insert(key);
                builder.add(op, key.1);
            }
        }
        for (key, op) in &extra {
            if said.insert(*key) {
                builder.add(op, key.1);
            }
        }
        builder.finish()
    }
}

/// Writes a step. Holds at most [`DELTA_BYTES_MAX`] bytes, however much is put in.
#[derive(Debug)]
pub struct Builder {
    from: u64,
    to: u64,
    root: u64,
    ops: usize,
    patched: Vec<(u8, Id)>,
    payload: Vec<u8>,
    over: bool,
}

impl Builder {
    /// A step from a version to a later one, with the root digest at the latter.
    #[must_use]
    pub fn new(from: u64, to: u64, root: u64) -> Self {
        let mut payload = Vec::with_capacity(512);
        push_varint(from, &mut payload);
        push_varint(to.saturating_sub(from), &mut payload);
        payload.extend_from_slice(&root.to_le_bytes());
        Self { from, to, root, ops: 0, patched: Vec::new(), payload, over: to < from }
    }

    /// The entity as it is at the step's end.
    pub fn put(&mut self, record: &Record) -> &mut Self {
        self.put_entity(record.kind.code(), record.id, record.version, record.tag, &record.body)
    }

    /// The entity as it is at the step's end, for a node that has it with the body `base` at the step's start. `prefix`
    /// tells it from all others of its kind that the node has then. As a patch, where that is shorter and can be
    /// checked by the tag; else as [`Builder::put`].
    pub fn patch(&mut self, record: &Record, prefix: IdPrefix, base: &[u8]) -> &mut Self {
        let Record { kind, id, version, tag, body } = record;
        let below = (body.len() + 16 - prefix.bytes().len()).min(BODY_BYTES_MAX);
        let is_checked = Record::tag_of(*kind, *id, body) == *tag;
        match patch::make(base, body, below).filter(|_| is_checked && self.patched.len() < DELTA_PATCHES_MAX) {
            Some(hunks) => {
                let patch = Patch { kind: kind.code(), prefix, version: *version, tag: *tag, hunks: hunks.into() };
                self.add(&Op::Patch(patch), *id)
            }
            None => self.put(record),
        }
    }

    /// The entity is gone at the step's end.
    pub fn delete(&mut self, kind: Kind, id: Id) -> &mut Self {
        self.add(&Op::Delete { kind: kind.code(), id }, id)
    }

    /// An operation as it was read.
    pub fn op(&mut self, op: &Op) -> &mut Self {
        match op {
            Op::Put(Entity { id, .. }) | Op::Delete { id, .. } => self.add(op, *id),
            Op::Patch(patch) => self.add(op, patch.prefix.range().0),
        }
    }

    /// An operation of any kind, about this entity.
    fn add(&mut self, op: &Op, id: Id) -> &mut Self {
        match op {
            Op::Put(e) => self.put_entity(e.kind, e.id, e.version, e.tag, &e.body),
            Op::Delete { kind, .. } => {
                if self.room(18) {
                    self.payload.extend_from_slice(&[DELETE, *kind]);
                    self.payload.extend_from_slice(&id.to_bytes());
                }
                self
            }
            Op::Patch(patch) => self.put_patch(patch, id),
        }
    }

    fn put_patch(&mut self, patch: &Patch, id: Id) -> &mut Self {
        let Patch { kind, prefix, version, tag, hunks } = patch;
        self.patched.push((*kind, id));
        self.over |= *version > self.to || self.patched.len() > DELTA_PATCHES_MAX;
        if self.room(hunks.len() + PUT_BYTES_MAX) {
            let out = &mut self.payload;
            out.extend_from_slice(&[PATCH, *kind, prefix.bytes().len() as u8]);
            out.extend_from_slice(prefix.bytes());
            push_varint(self.to.saturating_sub(*version), out);
            out.extend_from_slice(&tag.to_le_bytes());
            push_varint(hunks.len() as u64, out);
            out.extend_from_slice(hunks);
        }
        self
    }

    fn put_entity(&mut self, kind: u8, id: Id, version: u64, tag: u64, body: &[u8]) -> &mut Self {
        self.over |= version > self.to;
        if self.room(body.len() + PUT_BYTES_MAX) {
            self.payload.push(PUT);
            push_entity(self.to, kind, id, version, tag, body, &mut self.payload);
        }
        self
    }

    fn room(&mut self, bytes: usize) -> bool {
        self.ops += 1;
        self.over |= self.ops > DELTA_OPS_MAX || self.payload.len() + bytes > DELTA_BYTES_MAX;
        !self.over
    }

    /// The step as frames, or `None` when it is over the limits and a full sync must do (or when a record is newer than
    /// the step, or the step goes backwards, which no control plane means).
    #[must_use]
    pub fn finish(self) -> Option<Encoded> {
        if self.over {
            return None;
        }
        let mut frames = Vec::new();
        frame::encode(Type::Delta, &self.payload, &mut frames);
        Some(Encoded {
            from: self.from,
            to: self.to,
            root: self.root,
            patched: self.patched.into(),
            payload: self.payload.into(),
            frames: frames.into(),
        })
    }
}

/// The most bytes of a put beside its body.
const PUT_BYTES_MAX: usize = 48;

/// Appends an entity: `u8 kind | id | varint base-version | u64 tag | u8 codec | varint length | body`.
pub(crate) fn push_entity(base: u64, kind: u8, id: Id, version: u64, tag: u64, body: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&id.to_bytes());
    push_varint(base.saturating_sub(version), out);
    out.extend_from_slice(&tag.to_le_bytes());
    out.push(CODEC_RAW);
    push_varint(body.len() as u64, out);
    out.extend_from_slice(body);
}

/// Why an entity or operation could not be taken from the front of a stream.
pub(crate) enum Stop {
    /// It is not all there yet.
    More,
    /// It never will be right.
    Error(ProtocolError),
}

impl Stop {
    pub(crate) fn from_short(short: &Short, message: Type) -> Self {
        match short {
            Short::More => Self::More,
            Short::Malformed => Self::Error(ProtocolError::Malformed { message }),
        }
    }
}

/// Takes what [`push_entity`] wrote.
pub(crate) fn read_entity(base: u64, reader: &mut Reader<'_>, message: Type) -> Result<Entity, Stop> {
    let short = |short| Stop::from_short(&short, message);
    let kind = reader.byte().map_err(short)?;
    let id = reader.id().map_err(short)?;
    let age = reader.varint().map_err(short)?;
    let tag = reader.fixed().map_err(short)?;
    let code = reader.byte().map_err(short)?;
    let length = reader.varint().map_err(short)?;
    let version = base.checked_sub(age).ok_or(Stop::Error(ProtocolError::VersionRange { message }))?;
    if code != CODEC_RAW {
        return Err(Stop::Error(ProtocolError::CodecUnknown { code }));
    }
    let within = usize::try_from(length).ok().filter(|length| *length <= BODY_BYTES_MAX);
    let length = within.ok_or(Stop::Error(ProtocolError::BodyTooLong { length }))?;
    let body = reader.bytes(length).map_err(short)?;
    Ok(Entity { kind, id, version, tag, body: body.into() })
}

/// Takes a delta apart while its frames arrive. Holds the operations that are complete, and the bytes of one that is not.
#[derive(Debug, Default)]
pub struct Assembler {
    rest: Vec<u8>,
    bytes: usize,
    patches: usize,
    delta: Option<Delta>,
}

impl Assembler {
    /// Takes the payload of the next frame. The delta, when that was the last one.
    ///
    /// # Errors
    /// Over the limits, malformed, or ending inside an operation.
    pub fn push(&mut self, payload: &[u8], more: bool) -> Result<Option<Delta>, ProtocolError> {
        self.bytes += payload.len();
        if self.bytes > DELTA_BYTES_MAX {
            return Err(ProtocolError::DeltaTooLong);
        }
        if self.rest.is_empty() {
            let left = self.parse(payload)?;
            self.rest.extend_from_slice(left);
        } else {
            let mut rest = std::mem::take(&mut self.rest);
            rest.extend_from_slice(payload);
            let left = self.parse(&rest)?.len();
            rest.drain(..rest.len() - left);
            self.rest = rest;
        }
        if more {
            return Ok(None);
        }
        let delta = self.delta.take().filter(|_| self.rest.is_empty());
        delta.map(Some).ok_or(ProtocolError::Malformed { message: Type::Delta })
    }

    /// Takes what is complete; returns what is not.
    fn parse<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], ProtocolError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let mut reader = Reader::new(rest);
            match self.step(&mut reader) {
                Ok(()) => rest = reader.rest,
                Err(Stop::More) => break,
                Err(Stop::Error(error)) => return Err(error),
            }
        }
        Ok(rest)
    }

    fn step(&mut self, reader: &mut Reader<'_>) -> Result<(), Stop> {
        match &mut self.delta {
            None => self.delta = Some(read_head(reader)?),
            Some(delta) if delta.ops.len() == DELTA_OPS_MAX => {
                return Err(Stop::Error(ProtocolError::DeltaTooManyOps));
            }
            Some(delta) => {
                let op = read_op(delta.to, reader)?;
                self.patches += usize::from(matches!(op, Op::Patch(_)));
                if self.patches > DELTA_PATCHES_MAX {
                    return Err(Stop::Error(ProtocolError::DeltaTooManyPatches));
                }
                delta.ops.push(op);
            }
        }
        Ok(())
    }
}

fn read_head(reader: &mut Reader<'_>) -> Result<Delta, Stop> {
    let short = |short| Stop::from_short(&short, Type::Delta);
    let from = reader.varint().map_err(short)?;
    let span = reader.varint().map_err(short)?;
    let root = reader.fixed().map_err(short)?;
    let to = from.checked_add(span).ok_or(Stop::Error(ProtocolError::VersionRange { message: Type::Delta }))?;
    Ok(Delta { from, to, root, ops: Vec::new() })
}

fn read_op(to: u64, reader: &mut Reader<'_>) -> Result<Op, Stop> {
    let short = |short| Stop::from_short(&short, Type::Delta);
    match reader.byte().map_err(short)? {
        PUT => read_entity(to, reader, Type::Delta).map(Op::Put),
        DELETE => Ok(Op::Delete { kind: reader.byte().map_err(short)?, id: reader.id().map_err(short)? }),
        PATCH => read_patch(to, reader).map(Op::Patch),
        code => Err(Stop::Error(ProtocolError::OpUnknown { code })),
    }
}

/// Takes what `put_patch` wrote, after its first byte.
fn read_patch(to: u64, reader: &mut Reader<'_>) -> Result<Patch, Stop> {
    let short = |short| Stop::from_short(&short, Type::Delta);
    let kind = reader.byte().map_err(short)?;
    let prefix = IdPrefix::read(reader).map_err(short)?;
    let age = reader.varint().map_err(short)?;
    let tag = reader.fixed().map_err(short)?;
    let length = reader.varint().map_err(short)?;
    let version = to.checked_sub(age).ok_or(Stop::Error(ProtocolError::VersionRange { message: Type::Delta }))?;
    let within = usize::try_from(length).ok().filter(|length| *length <= BODY_BYTES_MAX);
    let length = within.ok_or(Stop::Error(ProtocolError::BodyTooLong { length }))?;
    let hunks = reader.bytes(length).map_err(short)?;
    if !patch::is_well_formed(hunks) {
        return Err(Stop::Error(ProtocolError::Malformed { message: Type::Delta }));
    }
    Ok(Patch { kind, prefix, version, tag, hunks: hunks.into() })
}
