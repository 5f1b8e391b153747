//! The greeting: HELLO, in which a node says who it is and what it has, and WELCOME, which says how the session goes on.

use crate::error::ProtocolError;
use crate::limits::{
    CODECS_MAX, HOSTNAME_BYTES_MAX, KINDS_MAX, LABELS_MAX, NAME_BYTES_MAX, PLUGINS_MAX, VERSION_BYTES_MAX,
};
use crate::message::{Type, bound, open_byte, put, take_some};
use model::Id;
use postcard::fixint::le;
use serde::{Deserialize, Serialize};

/// A kind that a node can read, and the version of its body layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindVersion {
    /// The kind's code; need not be known to the reader.
    pub kind: u8,
    /// The version of the body layout.
    pub body: u16,
}

/// A plugin that a node has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginVersion {
    /// Its name.
    pub name: String,
    /// Its version; `None` when it is that of the node's software, which saves its bytes.
    pub version: Option<String>,
}

/// What a node holds when it connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Have {
    /// The epoch of the control plane database that it came from; 0 with an empty store.
    #[serde(with = "le")]
    pub epoch: u64,
    /// The version that is live.
    pub applied: u64,
    /// The version that survives a power cut; never above `applied`.
    pub durable: u64,
    /// The root digest at `applied`: the wrapping sum of the tags of all entities.
    #[serde(with = "le")]
    pub root: u64,
    /// How many entities there are at `applied`.
    pub count: u64,
}

/// The beginning of a blob that a node holds from an earlier connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partial {
    /// Which blob.
    #[serde(with = "le")]
    pub transfer: u64,
    /// How many bytes of it are there.
    pub offset: u64,
}

/// First message of a data plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The lowest protocol version it speaks.
    pub proto_min: u8,
    /// The highest protocol version it speaks.
    pub proto_max: u8,
    /// The node's id.
    pub node: Id,
    /// Its host name.
    pub hostname: String,
    /// Its software version, `major.minor.patch`.
    pub software: String,
    /// The kinds it can read.
    pub kinds: Vec<KindVersion>,
    /// The plugins it has.
    pub plugins: Vec<PluginVersion>,
    /// Its labels.
    pub labels: Vec<(String, String)>,
    /// What it holds.
    pub have: Have,
    /// Whether it takes deltas (`incremental_sync`).
    pub incremental: bool,
    /// The codecs that it can decode; [`crate::message::CODEC_RAW`] is always among them.
    pub codecs: Vec<u8>,
    /// The heartbeat it would like, in seconds; 0 for none.
    pub heartbeat_s: u32,
    /// The state of its store and more, as bits: see [`Hello::STORE_NOT_DURABLE`] and its neighbours.
    pub status: u32,
    /// A full sync that was cut off and can go on. Missing from early peers.
    #[serde(skip)]
    pub partial: Option<Partial>,
    /// What else it can do, as bits: see [`Hello::PATCHES`] and its neighbours. Missing from early peers, which means none;
    /// bits that this build does not know are ignored.
    #[serde(skip)]
    pub features: u64,
    /// The term of the last epoch that it was in: see [`crate::succession`]. Missing from early peers, which means 0.
    #[serde(skip)]
    pub term: u32,
}

impl Hello {
    /// In `status`: the store cannot be written; what is applied is not durable.
    pub const STORE_NOT_DURABLE: u32 = 1;
    /// In `status`: the store lost something and needs a reconcile.
    pub const STORE_DAMAGED: u32 = 2;
    /// In `status`: what it serves comes from a declarative file.
    pub const FROM_FILE: u32 = 4;

    /// In `features`: takes patches of bodies in a DELTA.
    pub const PATCHES: u64 = 1;
    /// In `features`: finds by digests what differs.
    pub const RECONCILE: u64 = 2;
    /// In `features`: holds back a step that would remove much, until it is confirmed.
    pub const CONFIRM: u64 = 4;
    /// In `features`: goes to another control plane when it is told to.
    pub const MOVED: u64 = 8;
    /// In `features`: is a control plane that follows this one.
    pub const FOLLOWER: u64 = 16;
    /// In `features`: keeps a small step that overtakes a full sync until that is applied.
    pub const OVERTAKE: u64 = 32;
    /// In `features`: tells parity of bodies, and takes patches in a reconcile; see [`crate::parity`].
    pub const PARITY: u64 = 64;

    pub(crate) fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        let (hello, later): (Self, _) = take_some(Type::Hello, payload)?;
        let (partial, later) = appended(later)?;
        let (features, later) = appended(later)?;
        let (term, _later_fields) = appended(later)?;
        Ok(Self { partial, features, term, ..hello })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = put(self);
        out.extend(put(&self.partial));
        out.extend(put(&self.features));
        out.extend(put(&self.term));
        out
    }

    /// Whether this node has all features of that set.
    #[must_use]
    pub fn has(&self, features: u64) -> bool {
        self.features & features == features
    }

    /// Whether this node decodes streams of that codec.
    #[must_use]
    pub fn takes(&self, codec: u8) -> bool {
        self.codecs.contains(&codec)
    }

    /// The version of a plugin that this node has, if it has it.
    #[must_use]
    pub fn plugin_version(&self, name: &str) -> Option<&str> {
        let plugin = self.plugins.iter().find(|plugin| plugin.name == name)?;
        Some(plugin.version.as_deref().unwrap_or(&self.software))
    }

    /// Whether every text and list is within its limit, so that a HELLO fits one frame.
    ///
    /// # Errors
    /// [`ProtocolError::FieldTooLong`] with the first that is not.
    pub fn check(&self) -> Result<(), ProtocolError> {
        bound("hostname", self.hostname.len(), HOSTNAME_BYTES_MAX)?;
        bound("software", self.software.len(), VERSION_BYTES_MAX)?;
        bound("kinds", self.kinds.len(), KINDS_MAX)?;
        bound("plugins", self.plugins.len(), PLUGINS_MAX)?;
        bound("labels", self.labels.len(), LABELS_MAX)?;
        bound("codecs", self.codecs.len(), CODECS_MAX)?;
        for plugin in &self.plugins {
            bound("plugin name", plugin.name.len(), NAME_BYTES_MAX)?;
            bound("plugin version", plugin.version.as_ref().map_or(0, String::len), VERSION_BYTES_MAX)?;
        }
        for (key, value) in &self.labels {
            bound("label", key.len().max(value.len()), NAME_BYTES_MAX)?;
        }
        if self.have.durable > self.have.applied {
            return Err(ProtocolError::VersionRange { message: Type::Hello });
        }
        Ok(())
    }
}

/// A field that was appended after the first release: that of a peer which does not know it is as if it were empty.
fn appended<'a, T: Default + Deserialize<'a>>(payload: &'a [u8]) -> Result<(T, &'a [u8]), ProtocolError> {
    if payload.is_empty() { Ok((T::default(), payload)) } else { take_some(Type::Hello, payload) }
}

open_byte! {
    /// Why a control plane does not talk to a node.
    RefuseReason {
        /// No protocol version in common.
        Proto = 0,
        /// The software versions do not go together (Kong: `kong_version_incompatible`).
        Software = 1,
        /// The node may not connect (revoked, not approved, another cluster).
        Forbidden = 2,
        /// The control plane has too much to do; come back later.
        Busy = 3,
        /// The node was with a writer that has taken this one's place.
        Replaced = 4,
    }
}

/// How a session goes on after the greeting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u8, u8, u32)", into = "(u8, u8, u32)")]
pub enum Mode {
    /// The node has what the control plane has.
    Same,
    /// Deltas follow, from the node's version.
    Tail,
    /// A full sync follows.
    Full,
    /// The control plane is behind the node in the same epoch, and sends nothing until it has caught up.
    Behind,
    /// Something that is configured is not to be had on the node; nothing is sent until that changes.
    Withheld,
    /// The connection ends.
    Refuse {
        /// Why.
        why: RefuseReason,
        /// Not before so many seconds.
        retry_after_s: u32,
    },
    /// Both ends find what differs by digests, and only that is sent.
    Reconcile,
    /// A mode that this build does not know.
    Other(u8),
}

impl Mode {
    /// The mode's name, for status and log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Tail => "tail",
            Self::Full => "full",
            Self::Behind => "behind",
            Self::Withheld => "withheld",
            Self::Refuse { .. } => "refused",
            Self::Reconcile => "reconcile",
            Self::Other(_) => "unknown",
        }
    }
}

impl From<(u8, u8, u32)> for Mode {
    fn from((code, why, retry_after_s): (u8, u8, u32)) -> Self {
        match code {
            0 => Self::Same,
            1 => Self::Tail,
            2 => Self::Full,
            3 => Self::Behind,
            4 => Self::Withheld,
            5 => Self::Refuse { why: why.into(), retry_after_s },
            6 => Self::Reconcile,
            code => Self::Other(code),
        }
    }
}

impl From<Mode> for (u8, u8, u32) {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Same => (0, 0, 0),
            Mode::Tail => (1, 0, 0),
            Mode::Full => (2, 0, 0),
            Mode::Behind => (3, 0, 0),
            Mode::Withheld => (4, 0, 0),
            Mode::Refuse { why, retry_after_s } => (5, why.into(), retry_after_s),
            Mode::Reconcile => (6, 0, 0),
            Mode::Other(code) => (code, 0, 0),
        }
    }
}

/// First message of a control plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The protocol version in force: the highest that both speak.
    pub proto: u8,
    /// The cluster's id.
    pub cluster: Id,
    /// The incarnation of the control plane's database.
    #[serde(with = "le")]
    pub epoch: u64,
    /// The newest version.
    pub head: u64,
    /// The root digest at `head`.
    #[serde(with = "le")]
    pub root: u64,
    /// The heartbeat in force, in seconds; 0 for none.
    pub heartbeat_s: u32,
    /// Whether deltas are sent at all: both ends have `incremental_sync` on.
    pub incremental: bool,
    /// How the session goes on.
    pub mode: Mode,
    /// What an operator should read beside the mode; mostly empty.
    pub message: String,
    /// The term of this epoch. Missing from early peers, which means 0.
    #[serde(skip)]
    pub term: u32,
}

impl Welcome {
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        let (welcome, later): (Self, _) = take_some(Type::Welcome, payload)?;
        let term = if later.is_empty() { 0 } else { take_some(Type::Welcome, later)?.0 };
        Ok(Self { term, ..welcome })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = put(self);
        out.extend(put(&self.term));
        out
    }
}
