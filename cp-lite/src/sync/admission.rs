//! How many nodes this control plane takes, and how many of them at a time with everything: pure, with time and
//! randomness as arguments. Whoever is one too many is told when to come back, the later the more there are of them, and
//! not all at the same moment.

use std::time::Duration;

/// The shortest that a node is asked to stay away, in seconds.
const RETRY_S_MIN: u32 = 5;
/// The longest.
const RETRY_S_MAX: u32 = 600;
/// The time over which refusals are counted, in milliseconds.
const WINDOW_MS: u64 = 30_000;
/// How long a node with a full sync occupies its place, as a guess, in seconds: what the refused are spread by.
const TRANSFER_S: u32 = 5;

/// The bounds, and who has been sent away lately.
#[derive(Debug, Clone)]
pub struct Admission {
    nodes_max: usize,
    transfers_max: usize,
    transfers: usize,
    refused: u32,
    window: u64,
}

/// Why a node has to come back later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Busy {
    /// There are as many nodes as may be.
    #[error("this control plane serves {0} data planes, and may serve no more")]
    Nodes(usize),
    /// As many nodes as may be are being sent everything.
    #[error("{0} data planes are being sent the whole configuration, as many as may be at a time")]
    Transfers(usize),
}

impl Admission {
    /// Takes so many nodes, and so many full syncs at a time.
    #[must_use]
    pub fn new(nodes_max: usize, transfers_max: usize) -> Self {
        Self { nodes_max, transfers_max, transfers: 0, refused: 0, window: 0 }
    }

    /// Another node comes, while `nodes` others are connected; it needs everything or not. If it does, a place for that
    /// is taken, to be given back with [`Admission::transferred`].
    ///
    /// # Errors
    /// It has to come back later.
    pub fn admit(&mut self, nodes: usize, everything: bool) -> Result<(), Busy> {
        if nodes >= self.nodes_max {
            return Err(Busy::Nodes(nodes));
        }
        if everything && self.transfers >= self.transfers_max {
            return Err(Busy::Transfers(self.transfers));
        }
        self.transfers += usize::from(everything);
        Ok(())
    }

    /// A place is free again.
    pub fn transferred(&mut self) {
        self.transfers = self.transfers.saturating_sub(1);
    }

    /// When a node that is refused is to come back: after as long as it takes to have a place for all those that were
    /// refused lately, and up to as long again.
    pub fn retry_after_s(&mut self, now: Duration, random: u64) -> u32 {
        let window = u64::try_from(now.as_millis()).unwrap_or(u64::MAX) / WINDOW_MS;
        if window != self.window {
            // What remains of a wave is not forgotten at once.
            (self.window, self.refused) = (window, self.refused / 2);
        }
        self.refused = self.refused.saturating_add(1);
        let places = u32::try_from(self.transfers_max.max(1)).unwrap_or(u32::MAX);
        let wave = (self.refused / places).saturating_mul(TRANSFER_S);
        let least = wave.clamp(RETRY_S_MIN, RETRY_S_MAX / 2);
        least + u32::try_from(random % u64::from(least + 1)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn bounds_hold_and_places_come_back() {
        let mut admission = Admission::new(3, 1);
        assert_eq!(admission.admit(0, true), Ok(()));
        assert_eq!(admission.admit(1, true), Err(Busy::Transfers(1)));
        assert_eq!(admission.admit(1, false), Ok(()), "a node that needs little is no burden");
        assert_eq!(admission.admit(3, false), Err(Busy::Nodes(3)));
        admission.transferred();
        assert_eq!(admission.admit(2, true), Ok(()));
    }

    #[test]
    fn a_wave_of_nodes_is_spread_over_the_time_that_it_takes_to_serve_it() {
        let mut admission = Admission::new(10_000, 32);
        let times: Vec<u32> = (0..1000).map(|node| admission.retry_after_s(NOW, node * 7_919)).collect();
        assert!(times.iter().all(|time| (RETRY_S_MIN..=RETRY_S_MAX).contains(time)));
        let busiest = times.iter().map(|time| times.iter().filter(|other| *other == time).count()).max();
        assert!(busiest <= Some(50), "at most {busiest:?} of 1,000 come back in one second");
        // When it is over, the next one need not wait as long.
        let later = admission.retry_after_s(NOW + Duration::from_secs(300), 0);
        assert!(later <= times[999], "{later}");
    }

    #[test]
    fn whoever_is_refused_never_comes_back_at_once_and_never_gives_up_for_long() {
        for transfers_max in [0, 1, 64] {
            let mut admission = Admission::new(1, transfers_max);
            for random in [0, 1, u64::MAX] {
                for _ in 0..10_000 {
                    assert!((RETRY_S_MIN..=RETRY_S_MAX).contains(&admission.retry_after_s(NOW, random)));
                }
            }
        }
    }
}
