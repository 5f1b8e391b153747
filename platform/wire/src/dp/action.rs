//! What goes into and comes out of a data plane's session, beside bytes and versions.

use crate::delta::{Delta, Entity};
use crate::error::ProtocolError;
use crate::limits::{FULL_WINDOW_BYTES, HEARTBEAT_S};
use crate::message::{
    Bye, CODEC_DICTIONARY, CODEC_RAW, CODEC_ZSTD, FullBegin, KindVersion, NackCode, ParityGet, PluginVersion, Pong,
    RefuseReason, Welcome,
};
use crate::reconcile::Step;
use bytes::Bytes;
use model::Id;
use model::kind::KindDef;
use model::plugins::PluginDef;
use std::time::Duration;

/// Who the node is: what HELLO says beside [`crate::message::Have`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The node's id, the same after every restart.
    pub node: Id,
    /// Its host name.
    pub hostname: String,
    /// The software version, `major.minor.patch`.
    pub software: String,
    /// The kinds that this build can read.
    pub kinds: Vec<KindVersion>,
    /// The plugins that this build has.
    pub plugins: Vec<PluginVersion>,
    /// `cluster_dp_labels`.
    pub labels: Vec<(String, String)>,
    /// `incremental_sync`.
    pub incremental: bool,
    /// The heartbeat to propose, in seconds; 0 for none. See [`HEARTBEAT_S`].
    pub heartbeat_s: u32,
    /// How many bytes of a full sync may be on their way or unprocessed. See [`FULL_WINDOW_BYTES`].
    pub full_window: u64,
    /// The codecs that the caller can do something with.
    pub codecs: Vec<u8>,
    /// What else session and caller can do: [`crate::Hello::PATCHES`] and its neighbours.
    pub features: u64,
}

impl Identity {
    /// A node with the defaults of everything that has one.
    #[must_use]
    pub fn new(node: Id, hostname: String, software: String) -> Self {
        Self {
            node,
            hostname,
            software,
            kinds: Vec::new(),
            plugins: Vec::new(),
            labels: Vec::new(),
            incremental: true,
            heartbeat_s: HEARTBEAT_S,
            full_window: FULL_WINDOW_BYTES,
            codecs: vec![CODEC_RAW, CODEC_DICTIONARY, CODEC_ZSTD],
            features: 0,
        }
    }

    /// The same of a program that reads all kinds, and has all plugins, of the model.
    #[must_use]
    pub fn of_this_build(node: Id, hostname: String, software: String) -> Self {
        let kind = |def: &&KindDef| KindVersion { kind: def.kind.code(), body: def.body_version };
        let plugin =
            |def: &&PluginDef| PluginVersion { name: def.name.to_owned(), version: Some(def.version.to_owned()) };
        Self {
            kinds: model::kind::ALL.iter().map(kind).collect(),
            plugins: model::plugins::all().iter().map(plugin).collect(),
            ..Self::new(node, hostname, software)
        }
    }
}

/// What the caller has to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write these bytes.
    Send(Bytes),
    /// The control plane answered; for the status and the log.
    Welcomed(Welcome),
    /// The control plane's head, as of now; for the status.
    Head(Pong),
    /// A complete step: check, compile, commit, publish; then [`super::Session::durable`] and [`super::Session::applied`], or
    /// [`super::Session::rejected`].
    Stage(Delta),
    /// A full sync starts. Nothing of it comes before [`super::Session::full_open`], which says how much of a blob is held;
    /// [`super::Session::held`] or [`super::Session::rejected`] keep it away. If it is no blob: open the other generation
    /// first. What serves goes on serving.
    FullBegin {
        /// The epoch of what comes.
        epoch: u64,
        /// Version, root, count.
        begin: FullBegin,
    },
    /// Entities of the full sync: write them, then [`super::Session::full_processed`] with `bytes`.
    FullChunk {
        /// In the control plane's order; each entity of the sync comes once.
        entities: Vec<Entity>,
        /// Stream bytes that these entities were.
        bytes: u64,
    },
    /// Bytes of a blob: keep them, then [`super::Session::full_processed`] with their number.
    FullBytes {
        /// Where they belong.
        offset: u64,
        /// They follow those before without a gap.
        bytes: Bytes,
    },
    /// All of it came. A blob is to be unpacked now ([`crate::full::blob::digest`], [`crate::full::Unpack`]); if it cannot be:
    /// [`super::Session::full_damaged`]. Of anything else digest, count and root are right. Check, compile, switch, publish; then [`super::Session::durable`] and
    /// [`super::Session::applied`], or [`super::Session::rejected`].
    FullComplete {
        /// The epoch that the node is in once this is applied.
        epoch: u64,
        /// Version, root, count.
        begin: FullBegin,
    },
    /// Send the symbols of what is served: see [`crate::reconcile::Encoder`], then [`super::Session::symbols`]. It costs a walk
    /// over everything.
    Symbols {
        /// The seed of their hashes.
        seed: u64,
        /// The first one.
        from: u64,
        /// The first one that is not asked for.
        until: u64,
    },
    /// Send sums of bodies that are served: see [`crate::parity::of`], then [`super::Session::parity`].
    Parity(ParityGet),
    /// A complete step of a reconcile, from what is served to `step.version` of this epoch: as [`Action::Stage`]; or
    /// [`super::Session::held`], if too much would go. If a body is not there that it mends:
    /// [`super::Session::base_missing`], of none.
    Reconciled {
        /// The epoch that the node is in once this is applied.
        epoch: u64,
        /// The step.
        step: Step,
    },
    /// Flush what was sent and close the connection.
    Close(Closed),
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// The control plane broke the rules.
    #[error("control plane broke the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    /// The control plane does not want this node.
    #[error("control plane refused this node ({why:?}): {message}")]
    Refused {
        /// Why.
        why: RefuseReason,
        /// Not before so many seconds.
        retry_after_s: u32,
        /// For people.
        message: String,
    },
    /// The control plane said goodbye.
    #[error("control plane closed the session ({:?}): {}", .0.reason, .0.message)]
    Bye(Bye),
    /// No WELCOME, or no answer to a PING.
    #[error("control plane does not answer")]
    Silent,
    /// At the same version the control plane has another content. The next HELLO says so, and is healed.
    #[error("content at version {version} is not the control plane's")]
    RootDiffers {
        /// The version.
        version: u64,
    },
    /// The node was with a writer that has taken the place of this control plane's.
    #[error("control plane is of term {term}, and this node has been in term {ours}, after it")]
    Replaced {
        /// The control plane's term.
        term: u32,
        /// The node's.
        ours: u32,
    },
    /// [`super::Session::bye`] was called.
    #[error("this end closed the session")]
    Shutdown,
}

impl Closed {
    /// How long the control plane asked to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        let seconds = match self {
            Self::Refused { retry_after_s, .. } => *retry_after_s,
            Self::Bye(bye) => bye.retry_after_s,
            _ => 0,
        };
        Duration::from_secs(u64::from(seconds))
    }
}

/// Why a staged version is not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Why.
    pub code: NackCode,
    /// The entity it is about: kind code and id.
    pub entity: Option<(u8, Id)>,
    /// The field; cut to [`crate::limits::TEXT_BYTES_MAX`].
    pub path: String,
    /// For people; cut to [`crate::limits::TEXT_BYTES_MAX`].
    pub message: String,
}
