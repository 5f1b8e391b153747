//! What is known of the link to the control plane, for `/status/sync`, metrics and logs.

use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;
use wire::dp::Rejection;

/// A control plane of the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plane {
    /// `host:port`
    pub address: String,
    /// It is left alone until then.
    pub retry_at: Option<Instant>,
    /// Why the last attempt at it failed, or the last session with it ended.
    pub last_error: Option<String>,
}

/// The link as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// The control plane that is tried or connected.
    pub control_plane: Option<String>,
    /// All that are set, the most wanted first.
    pub planes: Vec<Plane>,
    /// Whether a session is up.
    pub connected: bool,
    /// How the last version came, `tail` or `full`; before one came, what hello agreed on: also `same` and `behind`.
    pub mode: Option<&'static str>,
    /// Whether deltas are in force; else every change is a full sync.
    pub incremental: bool,
    /// The control plane's last known head.
    pub head: u64,
    /// The version that a restart would come back with, if it is of the epoch that is served; else 0.
    pub durable: u64,
    /// Epoch and version that a restart would come back with; zeros for nothing.
    pub last_good: (u64, u64),
    /// What keeps the served version from being durable.
    pub store_trouble: Option<String>,
    /// Why the last connection ended or could not be made.
    pub last_error: Option<String>,
    /// The last version that was refused, and why; none once anything was applied.
    pub last_nack: Option<(u64, Rejection)>,
    /// The heartbeat in force, in seconds; 0 for none.
    pub heartbeat_s: u32,
    /// Whether TLS of this connection, or of the last one, was resumed.
    pub resumed: bool,
    /// Bytes received in frames since the start.
    pub bytes_in: u64,
    /// Bytes sent in frames since the start.
    pub bytes_out: u64,
    /// What `bytes_in` and `bytes_out` were when this session, or the last one, began.
    pub bytes_before: (u64, u64),
}

/// Where the sync task writes and everybody else reads.
#[derive(Debug, Clone)]
pub struct Reporter {
    link: Arc<watch::Sender<Link>>,
}

impl Link {
    /// Bytes in frames of this session, or of the last one: received, sent.
    #[must_use]
    pub fn session_bytes(&self) -> (u64, u64) {
        let (before_in, before_out) = self.bytes_before;
        (self.bytes_in.saturating_sub(before_in), self.bytes_out.saturating_sub(before_out))
    }
}

impl Default for Reporter {
    fn default() -> Self {
        Self { link: Arc::new(watch::Sender::new(Link::default())) }
    }
}

impl Reporter {
    /// Changes what is known.
    pub fn update(&self, change: impl FnOnce(&mut Link)) {
        self.link.send_modify(change);
    }

    /// What is known now.
    #[must_use]
    pub fn link(&self) -> Link {
        self.link.borrow().clone()
    }
}
