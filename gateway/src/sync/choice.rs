//! Which control plane, and when: pure, with time (milliseconds of any clock that only goes forward) and randomness as
//! arguments.
//!
//! Every node ranks the control planes of its list by a hash of its own id with each address (rendezvous hashing), so that
//! a fleet with one list spreads evenly over it, and spreads the nodes of a dead one evenly over the rest. It goes to the
//! first that is to be had, fails over at once, and returns: now and then a node that is not where it belongs looks
//! whether it could be, without leaving what it has. [`super::task`] does what is chosen here, [`super::trial`] looks.

use model::Id;
use std::time::Duration;
use wire::backoff::Backoff;
use xxhash_rust::xxh3::Xxh3;

/// The most control planes in a list.
pub const PLANES_MAX: usize = 16;
/// The longest pause before another control plane is tried than the one before: what spreads the nodes of a dead one, or
/// those that are moved.
pub const SPREAD_MS: u64 = 2_000;
/// A session that lived so long was worth its connection, and so were the moves that led to it.
pub const QUIET_MS: u64 = 60_000;
/// A node that is not where it belongs looks there again after this time, and up to [`LOOK_SPREAD_MS`] more.
pub const LOOK_MS: u64 = 300_000;
/// What is added to [`LOOK_MS`] at most.
pub const LOOK_SPREAD_MS: u64 = 600_000;
/// A node whose control plane is behind it looks at another one after this time, and up to [`BEHIND_SPREAD_MS`] more.
pub const BEHIND_MS: u64 = 30_000;
/// What is added to [`BEHIND_MS`] at most.
pub const BEHIND_SPREAD_MS: u64 = 60_000;
/// How many moves in a row are followed; one more, and the node goes where it chooses.
pub const MOVES_MAX: u32 = 3;

/// Index of a control plane in a [`Chooser`].
pub type Index = usize;

/// Where to connect next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Which.
    pub plane: Index,
    /// Not before.
    pub at: u64,
}

/// How an attempt or a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// No session came about.
    Unreached {
        /// How long it asked to be left alone.
        retry_after: Duration,
    },
    /// A session ended.
    Lost {
        /// How long it asked to be left alone.
        retry_after: Duration,
        /// Whether anything was received for good.
        useful: bool,
    },
    /// The control plane sent this node to another one, `host:port`.
    Moved {
        /// Where to.
        to: String,
    },
}

/// One control plane of the list, as far as this node knows it.
#[derive(Debug, Clone)]
struct Plane {
    address: String,
    backoff: Backoff,
    not_before: u64,
    /// Attempts and sessions in a row that were of no use.
    failures: u32,
    /// Whether it was looked at since the last time that all had been.
    looked: bool,
}

#[derive(Debug, Clone, Copy)]
struct Current {
    plane: Index,
    since: u64,
    behind: bool,
    look: Option<u64>,
}

/// Chooses. Planes are held in the order of preference.
#[derive(Debug, Clone)]
pub struct Chooser {
    planes: Vec<Plane>,
    /// Where a move led: preferred to all, until it cannot be reached.
    home: Option<Index>,
    /// The one that is tried before all others: that of the session that ended, or the target of a move.
    again: Option<Index>,
    current: Option<Current>,
    /// Nothing is tried before.
    from: u64,
    moves: u32,
}

impl Chooser {
    /// Ranks `addresses` for `node`. Their order means nothing, a repetition neither; beyond [`PLANES_MAX`] none count.
    #[must_use]
    pub fn new(node: Id, addresses: &[String]) -> Self {
        let mut ranked: Vec<&String> = addresses.iter().take(PLANES_MAX).collect();
        ranked.sort_by_key(|address| (std::cmp::Reverse(score(node, address)), address.as_str()));
        ranked.dedup();
        let plane = |address: &String| Plane {
            address: address.clone(),
            backoff: Backoff::default(),
            not_before: 0,
            failures: 0,
            looked: false,
        };
        let planes = ranked.into_iter().map(plane).collect();
        Self { planes, home: None, again: None, current: None, from: 0, moves: 0 }
    }

    /// The address of a plane; empty for an index that this chooser never gave out.
    #[must_use]
    pub fn address(&self, plane: Index) -> &str {
        self.planes.get(plane).map_or("", |plane| &plane.address)
    }

    /// All of them, the most wanted first, each with the time before which it is left alone.
    #[must_use]
    pub fn ranked(&self) -> Vec<(Index, u64)> {
        let rest = (0..self.planes.len()).filter(|index| Some(*index) != self.home);
        self.home.into_iter().chain(rest).map(|index| (index, self.not_before(index))).collect()
    }

    /// Where to connect next. `None` of an empty list only.
    #[must_use]
    pub fn next(&self, now: u64) -> Option<Attempt> {
        let start = now.max(self.from);
        let attempt = |(plane, not_before): (Index, u64)| Attempt { plane, at: not_before.max(start) };
        if let Some(plane) = self.again {
            return Some(attempt((plane, self.not_before(plane))));
        }
        // The first in rank of those that are to be had first; one that failed last time comes after the others.
        let failed = |plane: Index| self.planes.get(plane).is_some_and(|plane| plane.failures > 0);
        self.ranked().into_iter().map(attempt).min_by_key(|attempt| (attempt.at, failed(attempt.plane)))
    }

    /// A session with this plane is up. `behind`: it is behind this node and sends nothing.
    pub fn welcomed(&mut self, plane: Index, behind: bool, now: u64, random: u64) {
        self.again = None;
        self.settle(now);
        self.current = Some(Current { plane, since: now, behind, look: None });
        self.plan(now, random);
    }

    /// The control plane of the session has caught up with this node.
    pub fn caught_up(&mut self, now: u64, random: u64) {
        if let Some(current) = self.current.as_mut().filter(|current| current.behind) {
            current.behind = false;
            self.plan(now, random);
        }
    }

    /// An attempt or a session with this plane ended.
    pub fn ended(&mut self, plane: Index, outcome: Outcome, now: u64, random: u64) {
        self.again = None;
        let quiet = self.current.is_some_and(|current| current.plane == plane) && self.settle(now);
        match outcome {
            Outcome::Unreached { retry_after } => {
                if self.home == Some(plane) {
                    self.home = None;
                }
                self.leave(plane, retry_after, now, random);
            }
            Outcome::Lost { retry_after, useful } => {
                if useful || quiet {
                    self.forgive(plane);
                }
                self.leave(plane, retry_after, now, random);
                let once = self.planes.get(plane).is_some_and(|plane| plane.failures == 1);
                // A link that was cut is no reason to go elsewhere; a control plane that is gone is found out at once.
                if retry_after.is_zero() && once {
                    (self.again, self.from) = (Some(plane), now);
                }
            }
            Outcome::Moved { to } => self.moved(plane, &to, now, random),
        }
    }

    /// The session that is up is one no longer. Says whether it lived long enough to have been worth it.
    fn settle(&mut self, now: u64) -> bool {
        let Some(current) = self.current.take() else { return false };
        let quiet = now.saturating_sub(current.since) >= QUIET_MS;
        if quiet {
            self.moves = 0;
            self.forgive(current.plane);
        }
        quiet
    }

    fn moved(&mut self, from: Index, to: &str, now: u64, random: u64) {
        let target = self.planes.iter().position(|plane| plane.address == to);
        match target.filter(|_| self.moves < MOVES_MAX) {
            Some(target) => {
                self.moves += 1;
                (self.home, self.again) = (Some(target), Some(target));
                self.from = now + random % SPREAD_MS;
            }
            None => self.leave(from, Duration::ZERO, now, random),
        }
    }

    /// When [`Chooser::look`] is to be called, while a session is up.
    #[must_use]
    pub fn look_at(&self) -> Option<u64> {
        self.current.and_then(|current| current.look)
    }

    /// The plane to try beside the session that is up, if there is one to be had that would be better. To be called at
    /// [`Chooser::look_at`]; plans the next look.
    pub fn look(&mut self, now: u64, random: u64) -> Option<Index> {
        let current = self.current?;
        self.plan(now, random);
        let ranked = self.ranked();
        let better = ranked.iter().map(|(index, _)| *index).take_while(|index| *index != current.plane);
        let any = ranked.iter().map(|(index, _)| *index).filter(|index| *index != current.plane);
        let wanted: Vec<Index> = if current.behind { any.collect() } else { better.collect() };
        let free: Vec<Index> = wanted.into_iter().filter(|index| self.not_before(*index) <= now).collect();
        let unseen = free.iter().copied().find(|index| self.planes.get(*index).is_some_and(|plane| !plane.looked));
        if unseen.is_none() {
            self.planes.iter_mut().for_each(|plane| plane.looked = false);
        }
        let found = unseen.or(free.first().copied())?;
        if let Some(plane) = self.planes.get_mut(found) {
            plane.looked = true;
        }
        Some(found)
    }

    /// This is no time to look, because something is under way.
    pub fn put_off(&mut self, now: u64, random: u64) {
        self.plan(now, random);
    }

    /// Plans the next look, if there is anything to look for.
    fn plan(&mut self, now: u64, random: u64) {
        let first = self.ranked().first().map(|(index, _)| *index);
        let alone = self.planes.len() < 2;
        if let Some(current) = &mut self.current {
            current.look = match current.behind {
                _ if alone => None,
                true => Some(now + BEHIND_MS + random % BEHIND_SPREAD_MS),
                false if first == Some(current.plane) => None,
                false => Some(now + LOOK_MS + random % LOOK_SPREAD_MS),
            };
        }
    }

    /// Leaves a plane alone for a while, and nobody else at once: another one is tried after a moment of one's own.
    fn leave(&mut self, plane: Index, retry_after: Duration, now: u64, random: u64) {
        if let Some(plane) = self.planes.get_mut(plane) {
            let pause = plane.backoff.next(random).max(retry_after);
            plane.not_before = now.saturating_add(millis(pause));
            plane.failures = plane.failures.saturating_add(1);
        }
        if self.planes.len() > 1 {
            // Another part of the same random number.
            self.from = now + random.rotate_left(32) % SPREAD_MS;
        }
    }

    fn forgive(&mut self, plane: Index) {
        if let Some(plane) = self.planes.get_mut(plane) {
            plane.backoff.reset();
            plane.failures = 0;
        }
    }

    fn not_before(&self, plane: Index) -> u64 {
        self.planes.get(plane).map_or(0, |plane| plane.not_before)
    }
}

fn score(node: Id, address: &str) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&node.to_bytes());
    hash.update(address.as_bytes());
    hash.digest()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
