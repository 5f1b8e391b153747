//! What is known of the link to the control plane, for `/status/sync`, metrics and logs.

use std::sync::Arc;
use tokio::sync::watch;

/// The link as it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// The control plane that is tried or connected.
    pub control_plane: Option<String>,
    /// Whether a session is up.
    pub connected: bool,
    /// How the last version came, `tail` or `full`; before one came, what hello agreed on: also `same` and `behind`.
    pub mode: Option<&'static str>,
    /// Whether deltas are in force; else every change is a full sync.
    pub incremental: bool,
    /// The control plane's last known head.
    pub head: u64,
    /// The version that a restart would come back with.
    pub durable: u64,
    /// What keeps the served version from being durable.
    pub store_trouble: Option<String>,
    /// Why the last connection ended or could not be made.
    pub last_error: Option<String>,
    /// The last version that was refused, and why.
    pub last_nack: Option<(u64, String)>,
    /// Bytes received in frames since the start.
    pub bytes_in: u64,
    /// Bytes sent in frames since the start.
    pub bytes_out: u64,
}

/// Where the sync task writes and everybody else reads.
#[derive(Debug, Clone)]
pub struct Reporter {
    link: Arc<watch::Sender<Link>>,
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
