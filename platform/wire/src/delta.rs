//! DELTA: one atomic step from a version to a later one, as puts and deletions of entities. The encoder writes a step
//! once for all nodes that are at the same version; the assembler takes it apart while its frames arrive.
//!
//! Payload over all frames: `varint from | varint to-from | u64 root after | op…`, and an op is
//! `0 | u8 kind | id | varint to-version | u64 tag | u8 codec | varint length | body` or `1 | u8 kind | id`.

use crate::error::ProtocolError;
use crate::frame;
use crate::limits::{BODY_BYTES_MAX, DELTA_BYTES_MAX, DELTA_OPS_MAX};
use crate::message::{CODEC_RAW, Type};
use crate::read::{Reader, Short, push_varint};
use bytes::Bytes;
use model::{Change, Id, Kind, Record};
use std::sync::Arc;

const PUT: u8 = 0;
const DELETE: u8 = 1;

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
}

impl Op {
    /// As a change of the model.
    ///
    /// # Errors
    /// The kind is not known to this build.
    pub fn into_change(self) -> Result<Change, UnknownKind> {
        match self {
            Self::Put(entity) => entity.into_record().map(Change::Put),
            Self::Delete { kind, id } => Ok(Change::Delete { kind: known(kind, id)?, id }),
        }
    }

    /// The kind's code and the id it is about.
    #[must_use]
    pub fn key(&self) -> (u8, Id) {
        match self {
            Self::Put(entity) => (entity.kind, entity.id),
            Self::Delete { kind, id } => (*kind, *id),
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

/// A step as frames, ready for any number of connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    from: u64,
    to: u64,
    root: u64,
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

    /// The bytes to send. Cloning them costs a reference count.
    #[must_use]
    pub fn frames(&self) -> Bytes {
        self.frames.clone()
    }

    /// The same step with more entities in it, each unless it is there already; `None` when that is over the limits.
    pub(crate) fn with(&self, extra: impl Iterator<Item = Op>) -> Option<Self> {
        let mut assembler = Assembler::default();
        let delta = assembler.push(&self.payload, false).ok()??;
        let mut builder = Builder::new(self.from, self.to, self.root);
        let mut keys = std::collections::HashSet::new();
        for op in delta.ops.iter().cloned().chain(extra) {
            if keys.insert(op.key()) {
                builder.op(&op);
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
        Self { from, to, root, ops: 0, payload, over: to < from }
    }

    /// The entity as it is at the step's end.
    pub fn put(&mut self, record: &Record) -> &mut Self {
        self.put_entity(record.kind.code(), record.id, record.version, record.tag, &record.body)
    }

    /// The entity is gone at the step's end.
    pub fn delete(&mut self, kind: Kind, id: Id) -> &mut Self {
        self.op(&Op::Delete { kind: kind.code(), id })
    }

    /// An operation of any kind.
    pub fn op(&mut self, op: &Op) -> &mut Self {
        match op {
            Op::Put(e) => self.put_entity(e.kind, e.id, e.version, e.tag, &e.body),
            Op::Delete { kind, id } => {
                if self.room(18) {
                    self.payload.extend_from_slice(&[DELETE, *kind]);
                    self.payload.extend_from_slice(&id.to_bytes());
                }
                self
            }
        }
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
        code => Err(Stop::Error(ProtocolError::OpUnknown { code })),
    }
}
