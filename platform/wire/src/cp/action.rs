//! What goes into and comes out of a control plane's session, beside bytes.

use super::hold::Held;
use crate::compat::{FieldInUse, InUse, Incompatible, SyncStatus};
use crate::delta::{Encoded, Form};
use crate::error::ProtocolError;
use crate::full::{Cursor, Offer, Wanted};
use crate::message::{Bye, Hello, Mode, Nack, RefuseReason};
use crate::pack::{Pack, Plain};
use crate::reconcile::Sketching;
use bytes::Bytes;
use model::{Id, Record};
use std::sync::Arc;

/// One view of the configuration, as one node may see it. Everything it says is about the same version.
pub trait Source {
    /// The incarnation of the database; never 0.
    fn epoch(&self) -> u64;
    /// The term of that epoch, which orders it among the epochs of the cluster: see [`crate::succession`].
    fn term(&self) -> u32 {
        0
    }
    /// The newest version.
    fn head(&self) -> u64;
    /// The oldest version from which [`Source::delta`] is exact.
    fn floor(&self) -> u64;
    /// The root digest at `head`: the wrapping sum of the tags of all entities.
    fn root(&self) -> u64;
    /// What the configuration needs of a node.
    fn in_use(&self) -> &InUse;
    /// The step from `from` (between floor and head) to head: each entity that changed since once, as it is at head.
    /// Nodes at the same version share the encoding. `None` when it is over the limits of a DELTA. It need not make use of
    /// all that `form` allows; what that leaves out is left out.
    fn delta(&self, from: u64, form: Form) -> Option<Arc<Encoded>>;
    /// What packs a step that is written for one node alone.
    fn packer(&self) -> &dyn Pack {
        &Plain
    }
    /// How many entities were created or changed after `version`, counting no further than `most`; `most` where that is
    /// not known.
    fn puts_since(&self, _version: u64, most: u64) -> u64 {
        most
    }
    /// One entity at head.
    fn record(&self, kind: u8, id: Id) -> Option<Record>;
    /// Everything at head.
    fn full(&self) -> Box<dyn Cursor>;
    /// The symbols of everything, at head or at a version from `oldest` on from which a step to head can be sent.
    fn sketch(&self, _oldest: u64) -> Sketching {
        Sketching::Never
    }
    /// Everything, compressed, at head or at a version before it from which a step to head can be sent.
    fn blob(&self, _wanted: Wanted) -> Offer {
        Offer::Entities
    }
}

/// What is the same for all sessions of a control plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The cluster's id.
    pub cluster: Id,
    /// The software version, `major.minor.patch`.
    pub software: String,
    /// `incremental_sync`.
    pub incremental: bool,
    /// The shortest heartbeat that nodes may use, in seconds.
    pub heartbeat_min_s: u32,
    /// The longest heartbeat that nodes may use, in seconds; 0 lets them have none.
    pub heartbeat_max_s: u32,
}

impl Config {
    /// A control plane with the defaults of everything that has one.
    #[must_use]
    pub fn new(cluster: Id, software: String) -> Self {
        Self { cluster, software, incremental: true, heartbeat_min_s: 5, heartbeat_max_s: 0 }
    }

    /// The heartbeat in force, given what the node proposes.
    pub(super) fn heartbeat_s(&self, proposed: u32) -> u32 {
        match (proposed, self.heartbeat_max_s) {
            (0, max) => max,
            (proposed, 0) => proposed.max(self.heartbeat_min_s),
            (proposed, max) => proposed.max(self.heartbeat_min_s).min(max),
        }
    }
}

/// What the caller has to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write these bytes. Those of a delta are shared with other sessions.
    Send(Bytes),
    /// A node said who it is: answer with [`super::Session::admit`] or [`super::Session::refuse`].
    Joined(Arc<Hello>),
    /// A PING came that [`super::Session::pong`] is to answer: only after [`super::Session::relays`].
    Asked,
    /// Something that is to be known of the node has changed.
    Report(Report),
    /// Flush what was sent and close the connection.
    Close(Closed),
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// The node broke the rules.
    #[error("node broke the protocol: {0}")]
    Protocol(#[from] ProtocolError),
    /// The node was refused.
    #[error("node refused ({why:?}): {message}")]
    Refused {
        /// Why.
        why: RefuseReason,
        /// For people.
        message: String,
    },
    /// The node said goodbye.
    #[error("node closed the session ({:?}): {}", .0.reason, .0.message)]
    Bye(Bye),
    /// No HELLO, or nothing for longer than the heartbeat allows.
    #[error("node is silent")]
    Silent,
    /// The node was sent to another control plane.
    #[error("node moved to {to}")]
    Moved {
        /// Where to.
        to: String,
    },
    /// Another connection of the same node has taken its place.
    #[error("another connection of the node has taken its place")]
    Superseded,
    /// The database is another incarnation than at the greeting; nodes greet again.
    #[error("epoch changed")]
    Epoch,
    /// [`super::Session::bye`] was called.
    #[error("this end closed the session")]
    Shutdown,
}

/// What is known of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The epoch that the node is in.
    pub epoch: u64,
    /// The version that is live there.
    pub applied: u64,
    /// The version that survives a power cut there.
    pub durable: u64,
    /// The version that was sent and is not acknowledged.
    pub in_flight: Option<u64>,
    /// Kong's status of the node.
    pub status: SyncStatus,
    /// Why the status is not normal; empty otherwise.
    pub reason: String,
    /// All reasons why nothing is sent, up to [`crate::compat::REASONS_MAX`].
    pub withheld: Vec<Incompatible>,
    /// Fields in use that the node overlooks, which does no harm.
    pub ignored: Vec<FieldInUse>,
    /// How the session goes on.
    pub mode: Mode,
    /// Whether deltas are sent at all.
    pub incremental: bool,
    /// The last refusal that no later version has healed.
    pub nack: Option<Arc<Nack>>,
    /// What it holds back because too much of what it has would go.
    pub held: Option<Held>,
    /// Bytes received, without TLS.
    pub bytes_in: u64,
    /// Bytes sent, without TLS.
    pub bytes_out: u64,
}
