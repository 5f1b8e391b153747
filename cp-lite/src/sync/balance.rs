//! Which nodes go elsewhere, so that the control planes of a cluster serve about equally many: pure, with counts and the
//! time as arguments.
//!
//! Each control plane decides by itself, from what all of them serve: one that has more than a tenth of a fair share more
//! than the one with the fewest sends nodes there, few enough for others to do the same, and so few per second that nobody
//! feels it. What it knows of others is a second old or more; what it has sent since counts as having arrived.

use std::collections::VecDeque;
use wire::PlaneNodes;

/// How many nodes one control plane sends away per second.
pub const MOVES_PER_S: u32 = 5;
/// The most that is saved up of it.
const BURST: u32 = MOVES_PER_S;
/// What a difference may be: so manieth of a fair share.
const TOLERATED_ONE_IN: u32 = 10;
/// How long it may take until a node that was sent away is counted where it went, in milliseconds.
const ARRIVAL_MS: u64 = 3_000;

/// The pace of moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Balance {
    /// Moves that may be made now, in thousandths.
    saved: u64,
    /// When that was so, in milliseconds of any clock that only goes forward.
    at: u64,
    /// Who may not have been counted yet: when, to whom, how many. At most one entry per millisecond that was asked in,
    /// for [`ARRIVAL_MS`].
    sent: VecDeque<(u64, String, u32)>,
}

impl Balance {
    /// Nothing has been moved yet.
    #[must_use]
    pub fn new(now: u64) -> Self {
        Self { saved: 0, at: now, sent: VecDeque::new() }
    }

    /// How many of its `own` nodes a control plane sends away now, and to whom. Of the others only those count that said
    /// how nodes call them.
    pub fn due<'a>(&mut self, own: u32, others: &'a [PlaneNodes], now: u64) -> Option<(&'a str, u32)> {
        let elapsed = now.saturating_sub(self.at);
        self.at = self.at.max(now);
        let earned = elapsed.saturating_mul(u64::from(MOVES_PER_S));
        self.saved = self.saved.saturating_add(earned).min(u64::from(BURST) * 1000);
        self.sent.retain(|(at, ..)| now.saturating_sub(*at) < ARRIVAL_MS);
        let (to, excess) = self.excess(own, others)?;
        let count = excess.min(u32::try_from(self.saved / 1000).unwrap_or(BURST));
        if count == 0 {
            return None;
        }
        self.saved -= u64::from(count) * 1000;
        self.sent.push_back((now, to.to_owned(), count));
        Some((to, count))
    }

    /// How many nodes too many there are, and who has the fewest.
    fn excess<'a>(&self, own: u32, others: &'a [PlaneNodes]) -> Option<(&'a str, u32)> {
        let arriving = |plane: &PlaneNodes| {
            let sent = self.sent.iter().filter(|(_, to, _)| *to == plane.address);
            sent.fold(plane.nodes, |nodes, (_, _, count)| nodes.saturating_add(*count))
        };
        let named = || others.iter().filter(|plane| !plane.address.is_empty());
        let (fewest, nodes) = named().map(|plane| (plane, arriving(plane))).min_by_key(|(_, nodes)| *nodes)?;
        let planes = u32::try_from(named().count() + 1).unwrap_or(u32::MAX);
        let total = named().fold(u64::from(own), |total, plane| total + u64::from(plane.nodes));
        let share = u32::try_from(total / u64::from(planes)).unwrap_or(u32::MAX);
        let difference = own.saturating_sub(nodes);
        // Of two nodes' difference one can go over; of one node's none.
        let is_uneven = difference > (share / TOLERATED_ONE_IN).max(1);
        is_uneven.then_some((&*fewest.address, (difference / planes).max(1)))
    }
}

#[cfg(test)]
mod tests;
