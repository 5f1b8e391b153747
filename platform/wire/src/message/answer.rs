//! What a node says of what it was sent: ACK, NACK and WANT.

use super::{Type, open_byte, put, take_some};
use crate::error::ProtocolError;
use crate::read::{Reader, push_varint};
use crate::shrink::Shrink;
use model::Id;
use serde::{Deserialize, Serialize};

/// What is live and what is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The version that is live.
    pub applied: u64,
    /// The version that survives a power cut. On the wire as `applied - durable`.
    pub durable: u64,
}

impl Ack {
    pub(super) fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        let mut reader = Reader::new(payload);
        let malformed = |_| ProtocolError::Malformed { message: Type::Ack };
        let applied = reader.varint().map_err(malformed)?;
        let lag = reader.varint().map_err(malformed)?;
        let durable = applied.checked_sub(lag).ok_or(ProtocolError::VersionRange { message: Type::Ack })?;
        Ok(Self { applied, durable })
    }

    pub(super) fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8);
        push_varint(self.applied, &mut out);
        push_varint(self.applied.saturating_sub(self.durable), &mut out);
        out
    }
}

open_byte! {
    /// Why a version was refused.
    NackCode {
        /// An entity of a kind that the node does not know.
        UnknownKind = 1,
        /// A plugin that the node does not have.
        UnknownPlugin = 2,
        /// A body that cannot be read or fails its checks.
        Invalid = 3,
        /// A reference to what is not there.
        Dangling = 4,
        /// A value that must be unique and is not.
        Duplicate = 5,
        /// It does not compile into something that can serve.
        Compile = 6,
        /// The node's content has another root digest after the change than the control plane's.
        Root = 7,
        /// The node lacks memory or storage for it.
        Resources = 8,
        /// An error in the node's software.
        Internal = 9,
        /// It would take more away from the node than goes without a confirmation; see [`crate::shrink`].
        Shrink = 10,
        /// No fault: the base of a patch is not there; the step is to come again without.
        Base = 11,
    }
}

impl NackCode {
    /// How operators see it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownKind => "unknown_kind",
            Self::UnknownPlugin => "unknown_plugin",
            Self::Invalid => "invalid",
            Self::Dangling => "dangling_reference",
            Self::Duplicate => "duplicate",
            Self::Compile => "does_not_compile",
            Self::Root => "root_differs",
            Self::Resources => "out_of_resources",
            Self::Internal => "internal",
            Self::Shrink => "shrink",
            Self::Base => "base_missing",
            Self::Other(_) => "other",
        }
    }
}

/// A version was refused; the node keeps what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nack {
    /// The version that was refused.
    pub version: u64,
    /// Why.
    pub code: NackCode,
    /// The entity it is about: kind code and id.
    pub entity: Option<(u8, Id)>,
    /// The field, as in Admin API errors: `config.minute`.
    pub path: String,
    /// For people.
    pub message: String,
    /// The version that goes on serving.
    pub kept: u64,
    /// With [`NackCode::Shrink`]: how much would go. Missing from early peers.
    #[serde(skip)]
    pub shrink: Option<Shrink>,
}

impl Nack {
    pub(super) fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        let (nack, later): (Self, _) = take_some(Type::Nack, payload)?;
        Ok(Self { shrink: Shrink::decode(later)?, ..nack })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = put(self);
        out.extend(Shrink::encode(self.shrink));
        out
    }
}

/// Entities to be sent whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// Kind codes and ids; at most [`WANT_MAX`].
    pub entities: Vec<(u8, Id)>,
}
