//! RECONCILED, or MENDED where it brings patches: the step that a reconcile ends with. Like a DELTA it is atomic and may go over several frames; unlike one it
//! starts from a content that its root names, not from a version, and names what is to be gone by the hashes under which
//! it was found.
//!
//! Payload over all frames: `u64 seed | u64 base | varint version | u64 root | varint confirmed | varint gone | u64 × gone |
//! u8 codec | varint plain | entities`, each entity as in a full sync at `version`. In MENDED the entities come after
//! [`super::mend`]s, and both together are what the codec is of.

use super::mend::{self, Mend};
use crate::delta::{Entity, Stop, read_entity};
use crate::error::ProtocolError;
use crate::frame;
use crate::limits::{BLOB_WINDOW_LOG_MAX, DELTA_BYTES_MAX, DELTA_OPS_MAX};
use crate::message::{CODEC_RAW, CODEC_ZSTD, Type};
use crate::read::{Reader, Short, push_varint};
use bytes::Bytes;
use ruzstd::decoding::StreamingDecoder;
use std::borrow::Cow;
use std::io::Read;

/// A complete step of a reconcile. All of it is applied, or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The seed of the hashes in `gone`.
    pub seed: u64,
    /// The root digest of the content that it starts from.
    pub base: u64,
    /// The version that it ends at.
    pub version: u64,
    /// The root digest there.
    pub root: u64,
    /// How many of the node's entities may go with it, as somebody has confirmed.
    pub confirmed: u64,
    /// The hashes of the entities that the node has and that are not to be as they are: gone, unless `puts` has them anew.
    pub gone: Vec<u64>,
    /// The entities that the node lacks or has otherwise.
    pub puts: Vec<Entity>,
    /// The entities that the node has otherwise, and that are to be as a patch of what it has.
    pub mends: Vec<Mend>,
}

impl Step {
    /// As frames, with this in place of `mends` and `puts`; `None` over the limits.
    pub(super) fn encode(&self, plain: &[u8], packed: Option<&[u8]>) -> Option<Bytes> {
        let mut payload = Vec::new();
        payload.extend_from_slice(&self.seed.to_le_bytes());
        payload.extend_from_slice(&self.base.to_le_bytes());
        push_varint(self.version, &mut payload);
        payload.extend_from_slice(&self.root.to_le_bytes());
        push_varint(self.confirmed, &mut payload);
        push_varint(self.gone.len() as u64, &mut payload);
        self.gone.iter().for_each(|hash| payload.extend_from_slice(&hash.to_le_bytes()));
        let packed = packed.filter(|packed| packed.len() < plain.len());
        payload.push(if packed.is_some() { CODEC_ZSTD } else { CODEC_RAW });
        push_varint(plain.len() as u64, &mut payload);
        payload.extend_from_slice(packed.unwrap_or(plain));
        if payload.len() > DELTA_BYTES_MAX {
            return None;
        }
        let mut frames = Vec::new();
        frame::encode(self.kind(), &payload, &mut frames);
        Some(frames.into())
    }

    /// The message that it comes as.
    fn kind(&self) -> Type {
        if self.mends.is_empty() { Type::Reconciled } else { Type::Mended }
    }

    fn decode(kind: Type, payload: &[u8]) -> Result<Self, ProtocolError> {
        let malformed = |_: Short| ProtocolError::Malformed { message: kind };
        let mut reader = Reader::new(payload);
        let (seed, base) = (reader.fixed().map_err(malformed)?, reader.fixed().map_err(malformed)?);
        let (version, root) = (reader.varint().map_err(malformed)?, reader.fixed().map_err(malformed)?);
        let (confirmed, count) = (reader.varint().map_err(malformed)?, reader.varint().map_err(malformed)?);
        if count > DELTA_OPS_MAX as u64 {
            return Err(ProtocolError::DeltaTooManyOps);
        }
        let mut gone = Vec::new();
        for _ in 0..count {
            gone.push(reader.fixed().map_err(malformed)?);
        }
        let (code, plain) = (reader.byte().map_err(malformed)?, reader.varint().map_err(malformed)?);
        let plain = usize::try_from(plain).ok().filter(|plain| *plain <= DELTA_BYTES_MAX);
        let plain = plain.ok_or(ProtocolError::DeltaTooLong)?;
        let whole = match code {
            CODEC_RAW => Cow::Borrowed(reader.rest),
            CODEC_ZSTD => Cow::Owned(unpack(kind, reader.rest, plain)?),
            code => return Err(ProtocolError::CodecUnknown { code }),
        };
        if whole.len() != plain {
            return Err(ProtocolError::Malformed { message: kind });
        }
        let mut reader = Reader::new(&whole);
        let mends =
            if kind == Type::Mended { mend::read(version, &mut reader).map_err(malformed)? } else { Vec::new() };
        let left = DELTA_OPS_MAX.checked_sub(gone.len() + mends.len()).ok_or(ProtocolError::DeltaTooManyOps)?;
        let puts = read_all(kind, version, &mut reader, left)?;
        Ok(Self { seed, base, version, root, confirmed, gone, puts, mends })
    }
}

fn unpack(kind: Type, packed: &[u8], plain: usize) -> Result<Vec<u8>, ProtocolError> {
    let malformed = || ProtocolError::Malformed { message: kind };
    let decoder = StreamingDecoder::new_with_max_window_size(packed, 1 << BLOB_WINDOW_LOG_MAX);
    let mut bytes = Vec::new();
    let limit = plain as u64 + 1;
    decoder.map_err(|_| malformed())?.take(limit).read_to_end(&mut bytes).map_err(|_| malformed())?;
    Ok(bytes)
}

fn read_all(kind: Type, version: u64, reader: &mut Reader<'_>, most: usize) -> Result<Vec<Entity>, ProtocolError> {
    let mut entities = Vec::new();
    while !reader.rest.is_empty() {
        if entities.len() == most {
            return Err(ProtocolError::DeltaTooManyOps);
        }
        entities.push(read_entity(version, reader, kind).map_err(|stop| match stop {
            Stop::More => ProtocolError::Malformed { message: kind },
            Stop::Error(error) => error,
        })?);
    }
    Ok(entities)
}

/// Gathers the frames of a step: at most [`DELTA_BYTES_MAX`] bytes.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    kind: Option<Type>,
    bytes: Vec<u8>,
}

impl Parts {
    /// Whether a step has begun.
    pub(crate) fn is_empty(&self) -> bool {
        self.kind.is_none()
    }

    /// Takes the payload of the next frame. The step, when that was the last one.
    pub(crate) fn push(&mut self, kind: Type, payload: &[u8], more: bool) -> Result<Option<Step>, ProtocolError> {
        if *self.kind.get_or_insert(kind) != kind {
            return Err(ProtocolError::Unexpected { message: kind, state: "inside a step of another type" });
        }
        if self.bytes.len() + payload.len() > DELTA_BYTES_MAX {
            return Err(ProtocolError::DeltaTooLong);
        }
        self.bytes.extend_from_slice(payload);
        if more { Ok(None) } else { Step::decode(kind, &self.bytes).map(Some) }
    }
}
