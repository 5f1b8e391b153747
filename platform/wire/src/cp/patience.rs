//! How long a node that refuses one version after the other is left alone before the next one.
//!
//! The first new head after a refusal goes out at once: mostly it is the repair. A node that refuses that too will refuse
//! more, and a busy control plane must not fill its link with what comes to nothing. A version itself is not sent twice,
//! unless it was room that the node lacked: that is a fault of the moment, and it may be long until there is another version.

use crate::limits::{LACK_PAUSE_MS_MAX, LACK_PAUSE_MS_MIN, NACK_PAUSE_MS_MAX, NACK_PAUSE_MS_MIN};

/// What the node refused, how often in a row, and until when the next try waits.
#[derive(Debug, Default)]
pub(super) struct Patience {
    last: Option<Refusal>,
    /// How many versions in a row the node had no room for.
    lacks: u32,
    /// How many steps in a row it refused.
    refusals: u32,
    until: u64,
}

/// The version that was refused last.
#[derive(Debug)]
struct Refusal {
    version: u64,
    /// When it may come again; never, unless it was room that the node lacked.
    again: Option<u64>,
}

impl Patience {
    /// The node refused this version, for want of room or of anything else.
    pub(super) fn refused(&mut self, version: u64, lacks_room: bool, now: u64) {
        let again = lacks_room.then(|| {
            let pause = (LACK_PAUSE_MS_MIN << self.lacks.min(16)).min(LACK_PAUSE_MS_MAX);
            now.saturating_add(pause)
        });
        self.lacks = if lacks_room { self.lacks.saturating_add(1) } else { 0 };
        self.last = Some(Refusal { version, again });
    }

    /// What it refused was a step: the one after the next waits.
    pub(super) fn pause(&mut self, now: u64) {
        let pause = match self.refusals.checked_sub(1) {
            None => 0,
            Some(doublings) => (NACK_PAUSE_MS_MIN << doublings.min(16)).min(NACK_PAUSE_MS_MAX),
        };
        self.refusals = self.refusals.saturating_add(1);
        self.until = now.saturating_add(pause);
    }

    /// The node applied a version.
    pub(super) fn applied(&mut self) {
        *self = Self::default();
    }

    /// The version that is not to be sent now, because the node refused it.
    pub(super) fn barred(&self, now: u64) -> Option<u64> {
        let last = self.last.as_ref().filter(|last| last.again.is_none_or(|again| now < again));
        last.map(|last| last.version)
    }

    /// When the next try may be made, if not now.
    pub(super) fn until(&self, now: u64) -> Option<u64> {
        (now < self.until).then_some(self.until)
    }

    /// When there is something to be tried, if not now.
    pub(super) fn timer(&self, now: u64) -> Option<u64> {
        let again = self.last.as_ref().and_then(|last| last.again).filter(|again| now < *again);
        self.until(now).into_iter().chain(again).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_repair_goes_at_once_and_further_tries_wait_longer_and_longer_up_to_a_minute() {
        let mut patience = Patience::default();
        assert_eq!(patience.until(0), None);
        patience.pause(100);
        assert_eq!(patience.until(100), None);
        let mut expected = NACK_PAUSE_MS_MIN;
        for _ in 0..40 {
            patience.pause(100);
            assert_eq!(
                (patience.until(100), patience.until(99 + expected)),
                (Some(100 + expected), Some(100 + expected))
            );
            assert_eq!(patience.until(100 + expected), None);
            expected = (expected * 2).min(NACK_PAUSE_MS_MAX);
        }
        assert_eq!(expected, NACK_PAUSE_MS_MAX);
        patience.applied();
        assert_eq!(patience.until(0), None);
        patience.pause(100);
        assert_eq!(patience.until(100), None);
        patience.pause(u64::MAX);
        assert_eq!(patience.until(u64::MAX - 1), Some(u64::MAX));
    }

    #[test]
    fn what_there_was_no_room_for_comes_again_later_and_later_up_to_an_hour_and_nothing_else_does() {
        let mut patience = Patience::default();
        let mut expected = LACK_PAUSE_MS_MIN;
        for _ in 0..40 {
            patience.refused(7, true, 100);
            assert_eq!(patience.timer(100), Some(100 + expected));
            assert_eq!((patience.barred(99 + expected), patience.barred(100 + expected)), (Some(7), None));
            assert_eq!(patience.timer(100 + expected), None);
            expected = (expected * 2).min(LACK_PAUSE_MS_MAX);
        }
        assert_eq!(expected, LACK_PAUSE_MS_MAX);
        patience.refused(8, false, 100);
        assert_eq!((patience.barred(u64::MAX), patience.timer(0)), (Some(8), None));
        patience.refused(8, true, 100);
        assert_eq!(patience.barred(100 + LACK_PAUSE_MS_MIN), None);
        patience.refused(8, true, u64::MAX - 1);
        assert_eq!(patience.timer(0), Some(u64::MAX));
        patience.applied();
        assert_eq!((patience.barred(0), patience.timer(0)), (None, None));
    }
}
