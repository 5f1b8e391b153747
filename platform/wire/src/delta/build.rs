//! Writes a DELTA.

use super::{DELETE, Entity, Op, PACKED, PATCH, PUT, read::Assembler};
use crate::frame;
use crate::limits::{BODY_BYTES_MAX, DELTA_BYTES_MAX, DELTA_OPS_MAX, DELTA_PATCHES_MAX};
use crate::message::{CODEC_RAW, Type};
use crate::pack::{Pack, Plain};
use crate::patch::{self, IdPrefix, Patch};
use crate::read::push_varint;
use bytes::Bytes;
use model::{Id, Kind, Record};
use std::collections::HashSet;
use std::sync::Arc;

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

    /// What the frames hold, over all of them and before any packing.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The bytes to send. Cloning them costs a reference count.
    #[must_use]
    pub fn frames(&self) -> Bytes {
        self.frames.clone()
    }

    /// What the only frame holds, if it is one.
    pub(crate) fn one_frame(&self) -> Option<Bytes> {
        let frame = frame::Decoder::new().next(&mut &*self.frames).ok()??;
        (!frame.more).then_some(frame.payload)
    }

    /// The same step with more entities in it, each unless it is there already, and instead of its patch; `None` when that
    /// is over the limits.
    pub(crate) fn with(&self, extra: impl Iterator<Item = Op>, packer: &dyn Pack) -> Option<Self> {
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
        builder.finish_packed(packer)
    }
}

/// Writes a step. Holds at most [`DELTA_BYTES_MAX`] bytes, however much is put in.
#[derive(Debug, Clone)]
pub struct Builder {
    from: u64,
    to: u64,
    root: u64,
    ops: usize,
    patched: Vec<(u8, Id)>,
    payload: Vec<u8>,
    /// How much of the payload comes before its operations.
    head: usize,
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
        let head = payload.len();
        Self { from, to, root, ops: 0, patched: Vec::new(), payload, head, over: to < from }
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
        self.finish_packed(&Plain)
    }

    /// The same with its operations packed, where that is smaller: for nodes whose HELLO lists
    /// [`CODEC_DICTIONARY`](crate::message::CODEC_DICTIONARY). The limits are those of what is packed.
    #[must_use]
    pub fn finish_packed(self, packer: &dyn Pack) -> Option<Encoded> {
        if self.over {
            return None;
        }
        let (head, ops) = self.payload.split_at_checked(self.head)?;
        let packed = (ops.len() >= PACK_BYTES_MIN).then(|| packer.pack(ops)).flatten();
        let packed = packed.map(|(codec, packed)| {
            let mut payload = head.to_vec();
            payload.extend_from_slice(&[PACKED, codec]);
            push_varint(ops.len() as u64, &mut payload);
            push_varint(packed.len() as u64, &mut payload);
            payload.extend_from_slice(&packed);
            payload
        });
        let payload = packed.filter(|packed| packed.len() < self.payload.len());
        let mut frames = Vec::new();
        frame::encode(Type::Delta, payload.as_ref().unwrap_or(&self.payload), &mut frames);
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

/// Fewer bytes of operations than these are not worth an attempt: a patch or two, an id to delete.
const PACK_BYTES_MIN: usize = 96;

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
