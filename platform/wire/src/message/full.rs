//! The messages of a full sync: the offer, the grant, the pieces and the end, and the step that overtakes them.

use super::{CODEC_ZSTD, Type, put, take, take_some};
use crate::error::ProtocolError;
use crate::read::{Reader, push_varint};
use bytes::{Buf, Bytes};
use postcard::fixint::le;
use serde::{Deserialize, Serialize};

/// A full sync is to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FullBegin {
    /// Names the stream: the same id is the same bytes.
    #[serde(with = "le")]
    pub transfer: u64,
    /// The version it brings the node to.
    pub version: u64,
    /// The root digest at `version`.
    #[serde(with = "le")]
    pub root: u64,
    /// How many entities it holds.
    pub count: u64,
    /// The codec of the stream as a whole.
    pub codec: u8,
    /// How many bytes the entities are before the codec; 0 when that is not known. Missing from early peers.
    #[serde(skip)]
    pub plain: u64,
    /// How many bytes the stream has; 0 when that is not known. Missing from early peers.
    #[serde(skip)]
    pub bytes: u64,
    /// How many of the node's entities may go with it, as somebody has confirmed. Missing from early peers.
    #[serde(skip)]
    pub confirmed: u64,
}

impl FullBegin {
    /// Whether the stream is a blob: compressed as a whole, of known length, named by its digest.
    #[must_use]
    pub fn is_blob(&self) -> bool {
        self.codec == CODEC_ZSTD
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        let (begin, later): (Self, _) = take_some(Type::FullBegin, payload)?;
        if later.is_empty() {
            return Ok(begin);
        }
        let ((plain, bytes), later) = take_some(Type::FullBegin, later)?;
        let confirmed = if later.is_empty() { 0 } else { take(Type::FullBegin, later)? };
        Ok(Self { plain, bytes, confirmed, ..begin })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = put(self);
        out.extend(put(&(self.plain, self.bytes, self.confirmed)));
        out
    }
}

/// A grant: the node has all bytes below `offset` and takes those below `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FullGet {
    /// Which stream.
    #[serde(with = "le")]
    pub transfer: u64,
    /// The first byte that is missing. In the first grant: where to start.
    pub offset: u64,
    /// The first byte that is not to be sent yet.
    pub until: u64,
}

/// A piece of a full sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullData {
    /// Which stream.
    pub transfer: u64,
    /// Where in the stream.
    pub offset: u64,
    /// The rest of the payload.
    pub bytes: Bytes,
}

impl FullData {
    pub(super) fn decode(mut payload: Bytes) -> Result<Self, ProtocolError> {
        let mut reader = Reader::new(&payload);
        let malformed = |_| ProtocolError::Malformed { message: Type::FullData };
        let transfer = reader.fixed().map_err(malformed)?;
        let offset = reader.varint().map_err(malformed)?;
        let head = payload.len() - reader.rest.len();
        payload.advance(head);
        Ok(Self { transfer, offset, bytes: payload })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + 18);
        out.extend_from_slice(&self.transfer.to_le_bytes());
        push_varint(self.offset, &mut out);
        out.extend_from_slice(&self.bytes);
        out
    }
}

/// The end of a full sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FullEnd {
    /// Which stream.
    #[serde(with = "le")]
    pub transfer: u64,
    /// Its length.
    pub bytes: u64,
    /// XXH3-64 of all of it.
    #[serde(with = "le")]
    pub digest: u64,
}

/// A step from the version of a full sync to a later one, sent ahead of what is left of the full sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overtake {
    /// The full sync that it follows on.
    pub transfer: u64,
    /// The rest of the payload, that of a DELTA: at most [`crate::limits::OVERTAKE_BYTES_MAX`].
    pub delta: Bytes,
}

impl Overtake {
    pub(super) fn decode(mut payload: Bytes) -> Result<Self, ProtocolError> {
        let transfer = payload.try_get_u64_le().map_err(|_| ProtocolError::Malformed { message: Type::Overtake })?;
        Ok(Self { transfer, delta: payload })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        [&self.transfer.to_le_bytes()[..], &self.delta].concat()
    }
}
