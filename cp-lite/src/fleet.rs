//! The fleet as the control plane sees it: one row per node, kept up to date by its sync session and shown by the
//! Admin API (Kong: `/clustering/data-planes`).
//!
//! The registry is passive memory: it talks to nobody and nothing waits for it. A row outlives its connection, until
//! `cluster_data_plane_purge_delay` after the last contact. Times come in as arguments, in seconds since 1970; clocks may be
//! set, so that nothing is forgotten by them alone.

mod hold;
mod kept;
mod refusal;

use model::Id;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use wire::compat::SyncStatus;

pub use hold::{HeldBack, Unconfirmed};
pub use kept::{Kept, Lost};
pub use refusal::Refusal;

/// The most nodes remembered. When there are more, the one longest out of contact is forgotten for a new one.
pub const NODES_MAX: usize = 20_000;
/// Kong's default of `cluster_data_plane_purge_delay`, in seconds: 14 days.
pub const PURGE_DELAY_DEFAULT_S: u64 = 1_209_600;
/// Kong's least `cluster_data_plane_purge_delay`, in seconds.
pub const PURGE_DELAY_MIN_S: u64 = 60;
/// How much of its silence this process must have seen pass before a node is forgotten, in seconds: a clock that was set
/// forward makes all rows look old, and with a row goes what was durable on the node and what was confirmed of it.
pub const PURGE_PATIENCE_S: u64 = 86_400;
/// The most bytes of a node's error message that are kept.
pub const MESSAGE_BYTES_MAX: usize = 1024;

/// All nodes that are, or recently were, connected.
#[derive(Debug)]
pub struct Fleet {
    purge_delay_s: u64,
    nodes: Mutex<Nodes>,
    confirmations: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Nodes {
    by_id: BTreeMap<Id, Node>,
    sessions: u64,
}

/// A connection of a node. A node that comes back before its old connection is known to be dead has two for a moment;
/// the token tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionId(u64);

/// What is known of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Its id.
    pub id: Id,
    /// The name that it gives itself.
    pub hostname: String,
    /// Where it connects from.
    pub ip: String,
    /// The version of its software.
    pub version: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When its certificate ends, if it has one of its own.
    pub certificate_expires_at: Option<i64>,
    /// Whether it is connected now. Not kept across restarts of the control plane.
    #[serde(skip)]
    pub connected: bool,
    /// When it was last heard of.
    pub last_seen: i64,
    /// When anything in this row last changed but the time and the counters.
    pub updated_at: i64,
    /// The epoch that its versions belong to.
    pub epoch: u64,
    /// The newest version that it serves.
    pub applied: u64,
    /// The newest version that it keeps across a power cut.
    pub durable: u64,
    /// How it is kept up to date.
    pub mode: SyncMode,
    /// Whether it can be kept up to date (Kong's words).
    pub sync_status: SyncStatus,
    /// The last version it could not apply; cleared when a later one went well.
    pub last_error: Option<Refusal>,
    /// Why nothing is sent to it.
    #[serde(default)]
    pub withheld: Vec<Withheld>,
    /// Fields in use that it overlooks, which does no harm.
    #[serde(default)]
    pub ignored: Vec<Ignored>,
    /// The state of its store, as of its last connection.
    #[serde(default)]
    pub store: Kept,
    /// How often another connection with its id has taken the place of one that was up.
    #[serde(default)]
    pub superseded: Option<Superseded>,
    /// What it holds back, because too much of what it has would go, until somebody confirms it.
    #[serde(default)]
    pub held: Option<HeldBack>,
    /// What somebody has confirmed of that, until the node is there.
    #[serde(default)]
    confirmed: Option<HeldBack>,
    /// Bytes received from it over the present connection.
    #[serde(skip)]
    pub bytes_in: u64,
    /// Bytes sent to it over the present connection.
    #[serde(skip)]
    pub bytes_out: u64,
    #[serde(skip)]
    session: Option<u64>,
    /// When it was first found silent for too long, by what passed since this process started.
    #[serde(skip)]
    overdue: Option<Duration>,
}

/// How a node is kept up to date.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncMode {
    /// By what changed.
    #[default]
    Incremental,
    /// By whole configurations (`incremental_sync = "off"` on either end).
    Full,
}

/// Connections of a node that another one with its id has taken the place of: now and then after a cut that only the node
/// has noticed; over and over where two nodes were given one id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Superseded {
    /// How many.
    pub count: u64,
    /// Where the last of them came from.
    pub ip: String,
    /// When that was.
    pub at: i64,
}

/// A reason for which nothing is sent to a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withheld {
    /// The status that it makes.
    pub sync_status: SyncStatus,
    /// The plugin that the node lacks or has in another version, if it is one.
    pub plugin: Option<String>,
    /// The collection that the node does not know, or of which it does not know a field: `keyauth_credentials`.
    pub kind: Option<String>,
    /// The field that it does not know.
    pub field: Option<String>,
    /// An entity that uses the field.
    pub id: Option<Id>,
    /// All of it in words.
    pub message: String,
}

/// A field that a node overlooks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ignored {
    /// The collection: `routes`.
    pub kind: String,
    /// The field.
    pub field: String,
    /// An entity that uses it.
    pub id: Id,
    /// How many do.
    pub entities: usize,
}

/// How a node introduces itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Introduction {
    /// [`Node::hostname`].
    pub hostname: String,
    /// [`Node::ip`].
    pub ip: String,
    /// [`Node::version`].
    pub version: String,
    /// [`Node::labels`].
    pub labels: BTreeMap<String, String>,
    /// [`Node::certificate_expires_at`].
    pub certificate_expires_at: Option<i64>,
    /// [`Node::mode`].
    pub mode: SyncMode,
    /// The epoch that it is in.
    pub epoch: u64,
    /// What it says that it has made durable in that.
    pub durable: u64,
    /// What it says of its store, as bits: see [`wire::Hello::STORE_NOT_DURABLE`] and its neighbours.
    pub store: u32,
}

/// What makes a row count as changed: versions, mode, status, and what is told in words (nearly always nothing).
type Facts = (u64, u64, u64, SyncMode, SyncStatus, (Option<Refusal>, Vec<Withheld>, Vec<Ignored>, Option<HeldBack>));

/// As many nodes as can be remembered are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{NODES_MAX} nodes are connected, and no more can be")]
pub struct Full;

impl Fleet {
    /// An empty fleet that forgets a node this many seconds after it was last heard of.
    #[must_use]
    pub fn new(purge_delay_s: u64) -> Self {
        Self {
            purge_delay_s: purge_delay_s.max(PURGE_DELAY_MIN_S),
            nodes: Mutex::default(),
            confirmations: watch::Sender::new(0),
        }
    }

    /// Remembers what [`Node::encode`] kept of nodes. What cannot be read is left out: it will come again.
    pub fn restore(&self, rows: impl IntoIterator<Item = (Id, Vec<u8>)>) {
        let mut nodes = self.lock();
        for (id, row) in rows.into_iter().take(NODES_MAX) {
            if let Ok(node) = serde_json::from_slice::<Node>(&row) {
                nodes.by_id.insert(id, Node { id, ..node });
            }
        }
    }

    /// A node has connected and said who it is. Its row keeps what was known of it.
    ///
    /// # Errors
    /// When [`NODES_MAX`] other nodes are connected.
    pub fn connect(&self, id: Id, hello: Introduction, now: i64) -> Result<SessionId, Full> {
        let mut nodes = self.lock();
        nodes.make_room_for(id)?;
        nodes.sessions += 1;
        let session = nodes.sessions;
        let before = nodes.by_id.remove(&id).unwrap_or_else(|| Node::unheard_of(id));
        let store = before.store.next(before.epoch, before.durable, &hello, now);
        let count = before.superseded.as_ref().map_or(0, |superseded| superseded.count);
        let superseded = match before.session {
            Some(_) => Some(Superseded { count: count.saturating_add(1), ip: before.ip, at: now }),
            None => before.superseded,
        };
        let Introduction { hostname, ip, version, labels, certificate_expires_at, mode, .. } = hello;
        let node = Node {
            hostname,
            ip,
            version,
            labels,
            certificate_expires_at,
            mode,
            store,
            superseded,
            connected: true,
            last_seen: now,
            updated_at: now,
            bytes_in: 0,
            bytes_out: 0,
            session: Some(session),
            overdue: None,
            ..before
        };
        nodes.by_id.insert(id, node);
        Ok(SessionId(session))
    }

    /// Something was heard of a node, or sent to it: changes its row. Does nothing for a connection that has been
    /// replaced by a newer one of the same node; says whether it was the present one.
    pub fn update(&self, id: Id, session: SessionId, now: i64, change: impl FnOnce(&mut Node)) -> bool {
        let mut nodes = self.lock();
        let Some(node) = nodes.by_id.get_mut(&id).filter(|node| node.session == Some(session.0)) else { return false };
        let before = node.facts();
        change(node);
        node.last_seen = now;
        if let Some(error) = &mut node.last_error {
            truncate(&mut error.message, MESSAGE_BYTES_MAX);
        }
        if node.facts() != before {
            node.updated_at = now;
        }
        true
    }

    /// A connection has ended. Returns the row to be kept, unless a newer connection of the node has taken over.
    pub fn disconnect(&self, id: Id, session: SessionId) -> Option<Node> {
        let mut nodes = self.lock();
        let node = nodes.by_id.get_mut(&id).filter(|node| node.session == Some(session.0))?;
        node.connected = false;
        node.session = None;
        Some(node.clone())
    }

    /// Forgets nodes that have been out of contact for longer than the purge delay, and says which. `passed` is how long
    /// this process runs, by a clock that nobody sets: a node goes when it has been overdue for [`PURGE_PATIENCE_S`] of
    /// that, or for the purge delay if that is shorter.
    pub fn purge(&self, now: i64, passed: Duration) -> Vec<Id> {
        let patience = Duration::from_secs(self.purge_delay_s.min(PURGE_PATIENCE_S));
        let mut nodes = self.lock();
        let mut gone = Vec::new();
        for node in nodes.by_id.values_mut() {
            if node.connected || self.seconds_left(node, now) > 0 {
                node.overdue = None;
            } else if passed.saturating_sub(*node.overdue.get_or_insert(passed)) >= patience {
                gone.push(node.id);
            }
        }
        for id in &gone {
            nodes.by_id.remove(id);
        }
        gone
    }

    /// What is known of one node.
    #[must_use]
    pub fn get(&self, id: Id) -> Option<Node> {
        self.lock().by_id.get(&id).cloned()
    }

    /// Up to `size` nodes in the order of their ids, strictly after `after`.
    #[must_use]
    pub fn page(&self, after: Option<Id>, size: usize) -> Vec<Node> {
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let range = (from, std::ops::Bound::Unbounded);
        self.lock().by_id.range(range).take(size).map(|(_, node)| node.clone()).collect()
    }

    /// Up to `size` nodes, those that are connected before all others, each part in the order of ids.
    #[must_use]
    pub fn connected_first(&self, size: usize) -> Vec<Node> {
        let nodes = self.lock();
        let part = |connected: bool| nodes.by_id.values().filter(move |node| node.connected == connected);
        part(true).chain(part(false)).take(size).cloned().collect()
    }

    /// The node that is farthest ahead of this control plane in its own epoch, if one is connected: its id and version.
    #[must_use]
    pub fn ahead(&self) -> Option<(Id, u64)> {
        let nodes = self.lock();
        let is_behind = |node: &&Node| node.connected && node.last_error.as_ref().is_some_and(Refusal::is_behind);
        nodes.by_id.values().filter(is_behind).max_by_key(|node| node.applied).map(|node| (node.id, node.applied))
    }

    /// How many nodes are known, and how many of them are connected.
    #[must_use]
    pub fn count(&self) -> (usize, usize) {
        let nodes = self.lock();
        (nodes.by_id.len(), nodes.by_id.values().filter(|node| node.connected).count())
    }

    /// Seconds until a node out of contact is forgotten (Kong's `ttl`).
    #[must_use]
    pub fn seconds_left(&self, node: &Node, now: i64) -> u64 {
        let silent = u64::try_from(now.saturating_sub(node.last_seen)).unwrap_or_default();
        self.purge_delay_s.saturating_sub(silent)
    }

    /// A holder that panicked left each row whole, so that a poisoned lock is taken as it is.
    fn lock(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Nodes {
    fn make_room_for(&mut self, id: Id) -> Result<(), Full> {
        if self.by_id.len() < NODES_MAX || self.by_id.contains_key(&id) {
            return Ok(());
        }
        let silent = self.by_id.values().filter(|node| !node.connected);
        let oldest = silent.min_by_key(|node| node.last_seen).map(|node| node.id).ok_or(Full)?;
        self.by_id.remove(&oldest);
        Ok(())
    }
}

impl Node {
    /// The row as it is kept across restarts of the control plane.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn unheard_of(id: Id) -> Self {
        Self {
            id,
            hostname: String::new(),
            ip: String::new(),
            version: String::new(),
            labels: BTreeMap::new(),
            certificate_expires_at: None,
            connected: false,
            last_seen: 0,
            updated_at: 0,
            epoch: 0,
            applied: 0,
            durable: 0,
            mode: SyncMode::default(),
            sync_status: SyncStatus::default(),
            last_error: None,
            withheld: Vec::new(),
            ignored: Vec::new(),
            store: Kept::default(),
            superseded: None,
            held: None,
            confirmed: None,
            bytes_in: 0,
            bytes_out: 0,
            session: None,
            overdue: None,
        }
    }

    /// What makes a row count as changed.
    fn facts(&self) -> Facts {
        let told = (self.last_error.clone(), self.withheld.clone(), self.ignored.clone(), self.held);
        (self.epoch, self.applied, self.durable, self.mode, self.sync_status, told)
    }
}

/// Shortens a text to at most `bytes`, at a character's border.
fn truncate(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        let end = (0..=bytes).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(hostname: &str) -> Introduction {
        Introduction { hostname: hostname.into(), version: "0.1.0".into(), ..Introduction::default() }
    }

    #[test]
    fn a_row_follows_its_node_and_outlives_the_connection() {
        let fleet = Fleet::new(PURGE_DELAY_DEFAULT_S);
        let session = fleet.connect(Id(1), hello("edge-1"), 100).unwrap();
        assert!(fleet.update(Id(1), session, 105, |node| node.applied = 7));
        let kept = fleet.disconnect(Id(1), session).unwrap();
        assert_eq!((kept.applied, kept.last_seen, kept.updated_at, kept.connected), (7, 105, 105, false));

        let after_restart = Fleet::new(PURGE_DELAY_DEFAULT_S);
        after_restart.restore([(Id(1), kept.encode())]);
        assert_eq!(after_restart.get(Id(1)), Some(kept));
    }

    #[test]
    fn a_heartbeat_alone_is_no_update_of_the_row() {
        let fleet = Fleet::new(PURGE_DELAY_DEFAULT_S);
        let session = fleet.connect(Id(1), hello("edge-1"), 100).unwrap();
        fleet.update(Id(1), session, 130, |node| node.bytes_in += 10);
        let node = fleet.get(Id(1)).unwrap();
        assert_eq!((node.last_seen, node.updated_at), (130, 100));
    }

    #[test]
    fn an_old_connection_cannot_speak_for_a_node_that_came_back() {
        let fleet = Fleet::new(PURGE_DELAY_DEFAULT_S);
        let old = fleet.connect(Id(1), hello("edge-1"), 100).unwrap();
        let new = fleet.connect(Id(1), hello("edge-1"), 101).unwrap();
        let superseded = fleet.get(Id(1)).unwrap().superseded.unwrap();
        assert_eq!((superseded.count, superseded.at), (1, 101));
        assert!(!fleet.update(Id(1), old, 102, |node| node.applied = 99));
        assert_eq!(fleet.disconnect(Id(1), old), None);
        assert!(fleet.get(Id(1)).unwrap().connected);
        assert!(fleet.update(Id(1), new, 103, |node| node.applied = 5));
        assert_eq!(fleet.get(Id(1)).unwrap().applied, 5);
    }

    #[test]
    fn silent_nodes_are_purged_after_the_delay_and_connected_ones_never() {
        let fleet = Fleet::new(PURGE_DELAY_MIN_S);
        let gone = fleet.connect(Id(1), hello("gone"), 100).unwrap();
        fleet.connect(Id(2), hello("there"), 100).unwrap();
        fleet.disconnect(Id(1), gone);
        let passed = Duration::from_secs;
        assert_eq!(fleet.purge(159, passed(59)), []);
        assert_eq!(fleet.purge(160, passed(60)), [], "overdue from here on");
        assert_eq!(fleet.purge(219, passed(119)), []);
        assert_eq!(fleet.purge(220, passed(120)), [Id(1)]);
        assert_eq!(fleet.purge(10_000, passed(10_000)), []);
        assert_eq!(fleet.count(), (1, 1));
    }

    #[test]
    fn a_clock_that_is_set_forward_forgets_no_node_that_comes_back_within_a_day() {
        const YEAR_S: i64 = 31_536_000;
        let fleet = Fleet::new(PURGE_DELAY_DEFAULT_S);
        let (one, two) = (fleet.connect(Id(1), hello("one"), 100), fleet.connect(Id(2), hello("two"), 100));
        let (one, two) = (one.unwrap(), two.unwrap());
        fleet.update(Id(1), one, 100, |node| node.durable = 7);
        fleet.disconnect(Id(1), one);
        fleet.disconnect(Id(2), two);
        let passed = |hours: u64| Duration::from_secs(hours * 3600);
        for hour in 1..24 {
            assert_eq!(fleet.purge(50 * YEAR_S, passed(hour)), []);
        }
        let one = fleet.connect(Id(1), hello("one"), 50 * YEAR_S).unwrap();
        assert_eq!(fleet.get(Id(1)).unwrap().durable, 7);
        fleet.disconnect(Id(1), one);
        assert_eq!(fleet.purge(50 * YEAR_S, passed(25)), [Id(2)]);
        // Set back again: what was overdue is not any more.
        assert_eq!(fleet.purge(51 * YEAR_S, passed(26)), []);
        assert_eq!(fleet.purge(200, passed(27)), []);
        assert_eq!(fleet.purge(51 * YEAR_S, passed(51)), []);
        assert_eq!(fleet.purge(51 * YEAR_S, passed(75)), [Id(1)]);
    }

    #[test]
    fn a_full_registry_forgets_the_longest_silent_node_but_no_connected_one() {
        let fleet = Fleet::new(PURGE_DELAY_DEFAULT_S);
        let rows = (0..NODES_MAX as u128).map(|id| {
            let node = Node { last_seen: 1_000 - i64::from(id == 77), ..Node::unheard_of(Id(id)) };
            (Id(id), node.encode())
        });
        fleet.restore(rows);
        let newcomer = Id(u128::MAX);
        fleet.connect(newcomer, hello("new"), 2_000).unwrap();
        assert_eq!(fleet.get(Id(77)), None);
        assert!(fleet.get(newcomer).is_some());
        assert_eq!(fleet.count().0, NODES_MAX);
    }

    #[test]
    fn those_that_are_connected_come_before_all_others() {
        let fleet = Fleet::new(PURGE_DELAY_DEFAULT_S);
        for id in 1..=4 {
            let session = fleet.connect(Id(id), hello("edge"), 100).unwrap();
            if id % 2 == 1 {
                fleet.disconnect(Id(id), session);
            }
        }
        let ids = |size| fleet.connected_first(size).iter().map(|node| node.id).collect::<Vec<_>>();
        assert_eq!(ids(3), [Id(2), Id(4), Id(1)]);
        assert_eq!(ids(10), [Id(2), Id(4), Id(1), Id(3)]);
    }

    #[test]
    fn a_long_error_is_cut_at_a_character() {
        let fleet = Fleet::new(PURGE_DELAY_DEFAULT_S);
        let session = fleet.connect(Id(1), hello("edge-1"), 100).unwrap();
        let message = "é".repeat(MESSAGE_BYTES_MAX);
        let code = "invalid".to_owned();
        let refusal = Refusal { version: 3, code, kind: None, id: None, message, at: 101 };
        fleet.update(Id(1), session, 101, |node| node.last_error = Some(refusal));
        assert_eq!(fleet.get(Id(1)).unwrap().last_error.unwrap().message.len(), MESSAGE_BYTES_MAX);
    }
}
