//! The other control planes of the cluster as this one knows them: the writer that it follows, if it does, and those
//! that follow it. Passive memory as [`crate::fleet`] is; sync writes it, the Admin API shows it.

mod confirmed;
mod turned_away;
mod word;

use crate::fleet::{HeldBack, Refusal, Unconfirmed, Withheld};
use confirmed::Confirmed;
use model::Id;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot, watch};
use turned_away::List;
use wire::PlaneNodes;
use wire::limits::PLANES_MAX;
use word::Word;

pub use turned_away::TurnedAway;

/// The most followers that are connected at a time.
pub const FOLLOWERS_MAX: usize = 32;
/// The most orders to move a node that wait.
const ORDERS_MAX: usize = 64;

/// How far ahead of this control plane's own a term may be that a node tells of, to be believed: nobody is promoted that
/// often, and terms come to an end.
const LEAP_MAX: u32 = 1000;

/// What is known of the other control planes.
#[derive(Debug)]
pub struct Planes {
    writers: Vec<String>,
    upstream: Mutex<Upstream>,
    /// Whether a session with a writer is up.
    attached: watch::Sender<bool>,
    word: Word,
    followers: Mutex<BTreeMap<Id, Row>>,
    turned_away: Mutex<List>,
    confirmed: Mutex<Confirmed>,
    confirmations: watch::Sender<u64>,
    /// The latest term that a node told of, and the greatest epoch of it.
    seen: Mutex<(u32, u64)>,
    /// How nodes call this control plane; empty if that is not known.
    address: String,
    /// How many nodes each control plane serves: as the writer said, as is to be told upwards, and downwards.
    above: Mutex<Vec<PlaneNodes>>,
    upward: watch::Sender<Vec<PlaneNodes>>,
    downward: watch::Sender<Vec<PlaneNodes>>,
    orders: (mpsc::Sender<Order>, Mutex<Option<mpsc::Receiver<Order>>>),
}

/// A node, where it is to go, and whom to tell.
pub type Order = (Id, String, oneshot::Sender<Moved>);

/// What came of an order to move a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// It was told.
    Gone,
    /// It is in the middle of something; to be tried again.
    Busy,
    /// Its program is too old to be told.
    Unable,
    /// It is not connected here.
    Absent,
}

/// The link to the writer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upstream {
    /// Who is connected or tried.
    pub address: Option<String>,
    /// The epoch of the last session with it.
    pub epoch: u64,
    /// Its last known head.
    pub head: u64,
    /// How the last step from it came, by the name of the mode; before one, what was to come.
    pub mode: Option<&'static str>,
    /// Why the last connection ended, or the last step was not taken over; none while all is well.
    pub last_error: Option<String>,
    /// Bytes received in frames over the present connection, or the last one.
    pub bytes_in: u64,
    /// Bytes sent in frames over it.
    pub bytes_out: u64,
}

/// A control plane that follows this one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Follower {
    /// The name of its machine.
    pub hostname: String,
    /// Where it connects from.
    pub ip: String,
    /// The version of its software.
    pub software: String,
    /// The epoch that it is in.
    pub epoch: u64,
    /// The version that it has made durable.
    pub version: u64,
    /// What it holds back because too much of what it has would go.
    pub held: Option<HeldBack>,
    /// Why nothing is sent to it.
    pub withheld: Vec<Withheld>,
    /// What it could not take over; none when a later version went well.
    pub last_error: Option<Refusal>,
    /// Bytes received from it over the present connection.
    pub bytes_in: u64,
    /// Bytes sent to it over the present connection.
    pub bytes_out: u64,
}

#[derive(Debug)]
struct Row {
    follower: Follower,
    /// How many nodes it serves, and those that follow it.
    nodes: Vec<PlaneNodes>,
    /// Tells its connections apart.
    session: u64,
}

/// A connection of a follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection(u64);

/// Why a follower is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unwelcome {
    /// It is this very process, at the other end of a link to itself.
    #[error("a control plane cannot follow itself")]
    Itself,
    /// This one follows, and has nobody to follow at the moment: it has no more to say than the other. So that two of
    /// them never follow each other.
    #[error("this control plane follows too, and its writer is out of reach")]
    Unattached,
    /// There are as many as can be.
    #[error("{FOLLOWERS_MAX} control planes follow this one, and no more can")]
    TooMany,
}

impl Planes {
    /// A control plane that would follow one of these writers, in order of preference. None: it is the writer.
    #[must_use]
    pub fn new(writers: Vec<String>) -> Self {
        Self::called(writers, String::new())
    }

    /// The same for one that nodes call by this address; empty if that is not known.
    #[must_use]
    pub fn called(writers: Vec<String>, address: String) -> Self {
        let (orders, waiting) = mpsc::channel(ORDERS_MAX);
        Self {
            writers,
            upstream: Mutex::default(),
            attached: watch::Sender::new(false),
            word: Word::default(),
            followers: Mutex::default(),
            turned_away: Mutex::default(),
            confirmed: Mutex::default(),
            confirmations: watch::Sender::new(0),
            seen: Mutex::default(),
            address,
            above: Mutex::default(),
            upward: watch::Sender::new(Vec::new()),
            downward: watch::Sender::new(Vec::new()),
            orders: (orders, Mutex::new(Some(waiting))),
        }
    }

    /// The writers that the settings name.
    #[must_use]
    pub fn writers(&self) -> &[String] {
        &self.writers
    }

    /// How nodes call this control plane, if that is known.
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        (!self.address.is_empty()).then_some(&self.address)
    }

    /// The link to the writer, and whether it is up.
    #[must_use]
    pub fn upstream(&self) -> (Upstream, bool) {
        let upstream = self.upstream.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (upstream, *self.attached.borrow())
    }

    /// Changes what is known of the link to the writer.
    pub fn update(&self, change: impl FnOnce(&mut Upstream)) {
        change(&mut self.upstream.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A session with a writer has begun, or ended.
    pub fn attach(&self, attached: bool) {
        self.attached.send_if_modified(|was| std::mem::replace(was, attached) != attached);
    }

    /// Tells whenever a session with a writer begins or ends.
    #[must_use]
    pub fn attached(&self) -> watch::Receiver<bool> {
        self.attached.subscribe()
    }

    /// A node told which term and epoch it was in; `own` is the term of this control plane.
    pub fn heard_of(&self, (term, epoch): (u32, u64), own: u32) {
        if term <= own.saturating_add(LEAP_MAX) {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            *seen = (*seen).max((term, epoch));
        }
    }

    /// The latest term that any node told of, and the greatest epoch of it: where they replace this control plane's own,
    /// another writer has taken its place.
    #[must_use]
    pub fn latest(&self) -> (u32, u64) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A follower has said who it is. `own` is this control plane's id, `follows` whether it follows itself.
    ///
    /// # Errors
    /// Why it may not stay.
    pub fn connect(&self, id: Id, follower: Follower, own: Id, follows: bool) -> Result<Connection, Unwelcome> {
        if id == own {
            return Err(Unwelcome::Itself);
        }
        if follows && !*self.attached.borrow() {
            return Err(Unwelcome::Unattached);
        }
        let mut followers = self.lock();
        let before = followers.get(&id).map(|before| before.session);
        if before.is_none() && followers.len() >= FOLLOWERS_MAX {
            return Err(Unwelcome::TooMany);
        }
        self.turned_away.lock().unwrap_or_else(PoisonError::into_inner).forget(id);
        let session = before.unwrap_or_default() + 1;
        followers.insert(id, Row { follower, nodes: Vec::new(), session });
        Ok(Connection(session))
    }

    /// Something was heard of a follower, or sent to it: changes its row. Does nothing for a connection that a newer one has
    /// replaced.
    pub fn report(&self, id: Id, connection: Connection, change: impl FnOnce(&mut Follower)) {
        if let Some(row) = self.lock().get_mut(&id).filter(|row| row.session == connection.0) {
            change(&mut row.follower);
            let Follower { epoch, version, held, .. } = row.follower;
            if held.is_none() {
                self.confirmed().arrived(id, epoch, version);
            }
        }
    }

    /// Confirms that a follower may take what it holds back, if that is still this version of this epoch. Holds until it
    /// has done so, over its connections.
    ///
    /// # Errors
    /// See [`Unconfirmed`]; nothing has changed.
    pub fn confirm(&self, id: Id, epoch: u64, version: u64) -> Result<HeldBack, Unconfirmed> {
        let followers = self.lock();
        let row = followers.get(&id).ok_or(Unconfirmed::UnknownNode)?;
        let held = row.follower.held.ok_or(Unconfirmed::NothingHeld)?;
        if (held.epoch, held.version) != (epoch, version) {
            return Err(Unconfirmed::Other(held));
        }
        self.confirmed().keep(id, held);
        drop(followers);
        self.confirmations.send_modify(|count| *count += 1);
        Ok(held)
    }

    /// How many entities of a follower may go on the way into this epoch, as somebody has confirmed.
    #[must_use]
    pub fn confirmed_of(&self, id: Id, epoch: u64) -> Option<u64> {
        self.confirmed().of(id, epoch)
    }

    /// Changes whenever something is confirmed.
    #[must_use]
    pub fn confirmations(&self) -> watch::Receiver<u64> {
        self.confirmations.subscribe()
    }

    /// The connection is over.
    pub fn disconnect(&self, id: Id, connection: Connection) {
        let mut followers = self.lock();
        if followers.get(&id).is_some_and(|row| row.session == connection.0) {
            followers.remove(&id);
        }
    }

    /// A control plane that would follow was refused: `why`, in the words that it was told.
    pub fn turn_away(&self, id: Id, follower: Follower, why: String, at: i64) {
        let turned_away =
            TurnedAway { id, hostname: follower.hostname, ip: follower.ip, software: follower.software, why, at };
        self.turned_away.lock().unwrap_or_else(PoisonError::into_inner).add(turned_away);
    }

    /// Those that were refused lately and have not been let in since.
    #[must_use]
    pub fn turned_away(&self, now: i64) -> Vec<TurnedAway> {
        self.turned_away.lock().unwrap_or_else(PoisonError::into_inner).lately(now)
    }

    /// What a follower said of itself and of those that follow it.
    pub fn told(&self, id: Id, connection: Connection, nodes: Vec<PlaneNodes>) {
        if let Some(row) = self.lock().get_mut(&id).filter(|row| row.session == connection.0) {
            row.nodes = nodes;
        }
    }

    /// What the writer said of all.
    pub fn told_from_above(&self, nodes: Vec<PlaneNodes>) {
        *self.above.lock().unwrap_or_else(PoisonError::into_inner) = nodes;
    }

    /// Works out anew what is to be told, with so many nodes of this control plane's own.
    pub fn refresh(&self, own: u32) {
        let mut here: Vec<PlaneNodes> = self.lock().values().flat_map(|row| row.nodes.clone()).collect();
        here.retain(|plane| !plane.address.is_empty() && plane.address != self.address);
        if !self.address.is_empty() {
            here.insert(0, PlaneNodes { address: self.address.clone(), nodes: own });
        }
        here.truncate(PLANES_MAX);
        let mut all = here.clone();
        let above = self.above.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let unknown = |plane: &PlaneNodes| {
            plane.address != self.address && here.iter().all(|known| known.address != plane.address)
        };
        // Without a writer nobody knows whether the others still are.
        all.extend(above.into_iter().filter(|plane| *self.attached.borrow() && unknown(plane)));
        all.truncate(PLANES_MAX);
        let replace = |was: &mut Vec<PlaneNodes>, now: Vec<PlaneNodes>| {
            *was != now && {
                *was = now;
                true
            }
        };
        self.upward.send_if_modified(|was| replace(was, here));
        self.downward.send_if_modified(|was| replace(was, all));
    }

    /// What to tell the writer.
    #[must_use]
    pub fn upward(&self) -> watch::Receiver<Vec<PlaneNodes>> {
        self.upward.subscribe()
    }

    /// What to tell followers.
    #[must_use]
    pub fn downward(&self) -> watch::Receiver<Vec<PlaneNodes>> {
        self.downward.subscribe()
    }

    /// How many nodes the other control planes serve, as far as it is known.
    #[must_use]
    pub fn others(&self) -> Vec<PlaneNodes> {
        self.downward.borrow().iter().filter(|plane| plane.address != self.address).cloned().collect()
    }

    /// How many nodes all control planes serve that nodes have a name for, this one included.
    #[must_use]
    pub fn all(&self) -> Vec<PlaneNodes> {
        self.downward.borrow().clone()
    }

    /// Has a node sent to another control plane.
    pub async fn send(&self, node: Id, to: String) -> Moved {
        let (reply, answer) = oneshot::channel();
        if self.orders.0.send((node, to, reply)).await.is_err() {
            return Moved::Absent;
        }
        // Whoever was to tell it has gone away itself.
        answer.await.unwrap_or(Moved::Absent)
    }

    /// Orders to send nodes away; for the first who asks.
    #[must_use]
    pub fn orders(&self) -> mpsc::Receiver<Order> {
        let waiting = self.orders.1.lock().unwrap_or_else(PoisonError::into_inner).take();
        waiting.unwrap_or_else(|| mpsc::channel(1).1)
    }

    /// Everyone who follows, in the order of their ids.
    #[must_use]
    pub fn followers(&self) -> Vec<(Id, Follower)> {
        self.lock().iter().map(|(id, row)| (*id, row.follower.clone())).collect()
    }

    /// The follower that is farthest ahead of this control plane in its own epoch, if there is one: its id and version.
    #[must_use]
    pub fn ahead(&self) -> Option<(Id, u64)> {
        let followers = self.lock();
        let is_behind = |row: &(&Id, &Row)| row.1.follower.last_error.as_ref().is_some_and(Refusal::is_behind);
        followers.iter().filter(is_behind).map(|(id, row)| (*id, row.follower.version)).max_by_key(|ahead| ahead.1)
    }

    /// A holder that panicked left each row whole, so that a poisoned lock is taken as it is.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Id, Row>> {
        self.followers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Taken after the lock of the rows, where both are.
    fn confirmed(&self) -> MutexGuard<'_, Confirmed> {
        self.confirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Id = Id(9);

    fn connect(planes: &Planes, id: u128, follows: bool) -> Result<Connection, Unwelcome> {
        planes.connect(Id(id), Follower::default(), OWN, follows)
    }

    fn report(planes: &Planes, id: u128, connection: Connection, at: (u64, u64), held: Option<HeldBack>) {
        planes.report(Id(id), connection, |row| ((row.epoch, row.version), row.held) = (at, held));
    }

    #[test]
    fn nobody_follows_itself_or_one_that_has_nobody_to_follow() {
        let planes = Planes::new(vec!["a:1".to_owned()]);
        assert_eq!(connect(&planes, 9, false), Err(Unwelcome::Itself));
        assert_eq!(connect(&planes, 1, true), Err(Unwelcome::Unattached));
        planes.attach(true);
        assert!(connect(&planes, 1, true).is_ok());
        planes.attach(false);
        assert_eq!(connect(&planes, 2, true), Err(Unwelcome::Unattached));
        assert!(connect(&planes, 2, false).is_ok(), "the writer has nobody to follow");
    }

    #[test]
    fn an_old_connection_cannot_speak_for_a_follower_that_came_back() {
        let planes = Planes::new(Vec::new());
        let old = connect(&planes, 1, false).unwrap();
        let new = connect(&planes, 1, false).unwrap();
        report(&planes, 1, old, (7, 99), None);
        report(&planes, 1, new, (7, 5), None);
        planes.disconnect(Id(1), old);
        assert_eq!(planes.followers().iter().map(|(_, row)| row.version).collect::<Vec<_>>(), [5]);
        planes.disconnect(Id(1), new);
        assert!(planes.followers().is_empty());
    }

    #[test]
    fn what_a_follower_holds_back_is_confirmed_as_it_was_shown_until_it_has_arrived() {
        let planes = Planes::new(Vec::new());
        let connection = connect(&planes, 1, false).unwrap();
        assert_eq!(planes.confirm(Id(2), 7, 3), Err(Unconfirmed::UnknownNode));
        assert_eq!(planes.confirm(Id(1), 7, 3), Err(Unconfirmed::NothingHeld));
        let held = HeldBack { epoch: 7, version: 3, gone: 90, of: 100 };
        report(&planes, 1, connection, (6, 5), Some(held));
        assert_eq!(planes.confirm(Id(1), 7, 2), Err(Unconfirmed::Other(held)));
        assert_eq!(planes.confirmed_of(Id(1), 7), None);
        let heard = planes.confirmations();
        assert_eq!(planes.confirm(Id(1), 7, 3), Ok(held));
        assert!(heard.has_changed().unwrap());
        assert_eq!((planes.confirmed_of(Id(1), 7), planes.confirmed_of(Id(1), 8)), (Some(90), None));

        // The connection is cut before the follower has taken it; it comes back with what it had.
        planes.disconnect(Id(1), connection);
        let connection = connect(&planes, 1, false).unwrap();
        report(&planes, 1, connection, (6, 5), None);
        assert_eq!(planes.confirmed_of(Id(1), 7), Some(90));
        report(&planes, 1, connection, (7, 4), None);
        assert_eq!(planes.confirmed_of(Id(1), 7), None, "it has arrived");
    }

    #[test]
    fn confirmations_for_followers_that_never_come_back_are_bounded() {
        let planes = Planes::new(Vec::new());
        let confirm = |id: u128| {
            let connection = connect(&planes, id, false).unwrap();
            report(&planes, id, connection, (6, 5), Some(HeldBack { epoch: 7, version: 3, gone: 9, of: 10 }));
            planes.confirm(Id(id), 7, 3).unwrap();
            planes.disconnect(Id(id), connection);
        };
        let ids = 100..=100 + FOLLOWERS_MAX as u128;
        ids.clone().for_each(confirm);
        assert_eq!(ids.filter(|id| planes.confirmed_of(Id(*id), 7).is_some()).count(), FOLLOWERS_MAX);
    }

    #[test]
    fn there_is_a_bound_of_followers() {
        let planes = Planes::new(Vec::new());
        for id in 0..FOLLOWERS_MAX as u128 {
            connect(&planes, id + 100, false).unwrap();
        }
        assert_eq!(connect(&planes, 1, false), Err(Unwelcome::TooMany));
        assert!(connect(&planes, 100, false).is_ok());
    }
}
