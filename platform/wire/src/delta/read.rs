//! Reads a DELTA.

use super::{DELETE, Delta, Entity, Op, PACKED, PATCH, PUT};
use crate::error::ProtocolError;
use crate::limits::{BODY_BYTES_MAX, DELTA_BYTES_MAX, DELTA_OPS_MAX, DELTA_PATCHES_MAX};
use crate::message::{CODEC_RAW, Type};
use crate::pack::{self, Unreadable};
use crate::patch::{self, IdPrefix, Patch};
use crate::read::{Reader, Short};

/// Why an entity or operation could not be taken from the front of a stream.
#[derive(Clone)]
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
    /// Whether its operations came packed, so that there can be no more.
    packed: bool,
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
        let Some(delta) = &self.delta else {
            self.delta = Some(read_head(reader)?);
            return Ok(());
        };
        let malformed = Stop::Error(ProtocolError::Malformed { message: Type::Delta });
        if self.packed {
            return Err(malformed);
        }
        if reader.rest.first() != Some(&PACKED) {
            return self.op(reader);
        }
        if !delta.ops.is_empty() {
            return Err(malformed);
        }
        let plain = read_packed(reader)?;
        self.packed = true;
        let mut ops = Reader::new(&plain);
        while !ops.rest.is_empty() {
            // What ends inside an operation here will not be made whole by another frame.
            self.op(&mut ops).map_err(|stop| if matches!(stop, Stop::More) { malformed.clone() } else { stop })?;
        }
        Ok(())
    }

    /// Takes one operation that is not packed.
    fn op(&mut self, reader: &mut Reader<'_>) -> Result<(), Stop> {
        let Some(delta) = &mut self.delta else { return Err(Stop::More) };
        if delta.ops.len() == DELTA_OPS_MAX {
            return Err(Stop::Error(ProtocolError::DeltaTooManyOps));
        }
        let op = read_op(delta.to, reader)?;
        self.patches += usize::from(matches!(op, Op::Patch(_)));
        if self.patches > DELTA_PATCHES_MAX {
            return Err(Stop::Error(ProtocolError::DeltaTooManyPatches));
        }
        delta.ops.push(op);
        Ok(())
    }
}

/// The operations that were packed: the operation's code, `u8 codec | varint plain | varint length | bytes`.
fn read_packed(reader: &mut Reader<'_>) -> Result<Vec<u8>, Stop> {
    let short = |short| Stop::from_short(&short, Type::Delta);
    reader.byte().map_err(short)?;
    let code = reader.byte().map_err(short)?;
    let (plain, length) = (reader.varint().map_err(short)?, reader.varint().map_err(short)?);
    let within = |bytes: u64| usize::try_from(bytes).ok().filter(|bytes| *bytes <= DELTA_BYTES_MAX);
    let sizes = within(plain).zip(within(length)).ok_or(Stop::Error(ProtocolError::DeltaTooLong))?;
    let packed = reader.bytes(sizes.1).map_err(short)?;
    pack::unpack(code, packed, sizes.0).map_err(|unreadable| {
        Stop::Error(match unreadable {
            Unreadable::Codec(code) => ProtocolError::CodecUnknown { code },
            Unreadable::Malformed => ProtocolError::Malformed { message: Type::Delta },
        })
    })
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
