//! How long a node that refuses one version after the other is left alone before the next one.
//!
//! The first new head after a refusal goes out at once: mostly it is the repair. A node that refuses that too will refuse
//! more, and a busy control plane must not fill its link with what comes to nothing. A version itself is not sent twice,
//! unless it was room that the node lacked: that is a fault of the moment, and nobody may ever commit another version.

use crate::limits::{LACK_PAUSE_MS_MAX, LACK_PAUSE_MS_MIN, NACK_PAUSE_MS_MAX, NACK_PAUSE_MS_MIN};

/// Refusals in a row, and until when the next try waits.
#[derive(Debug, Default)]
pub(super) struct Patience {
    refusals: u32,
    until: u64,
    /// How often the node had no room, and when the version that it had none for may come again.
    lacks: u32,
    again: Option<u64>,
}

impl Patience {
    /// The node refused a version.
    pub(super) fn refused(&mut self, now: u64) {
        let pause = match self.refusals.checked_sub(1) {
            None => 0,
            Some(doublings) => (NACK_PAUSE_MS_MIN << doublings.min(16)).min(NACK_PAUSE_MS_MAX),
        };
        self.refusals = self.refusals.saturating_add(1);
        self.until = now.saturating_add(pause);
    }

    /// What the node says of the version that it refused last: that it had no room for it, or something that stays so.
    pub(super) fn judged(&mut self, lacks: bool, now: u64) {
        let pause = (LACK_PAUSE_MS_MIN << self.lacks.min(16)).min(LACK_PAUSE_MS_MAX);
        self.again = lacks.then(|| now.saturating_add(pause));
        self.lacks = if lacks { self.lacks.saturating_add(1) } else { 0 };
    }

    /// Whether the version that was refused last may come again.
    pub(super) fn is_again(&self, now: u64) -> bool {
        self.again.is_some_and(|again| again <= now)
    }

    /// The node applied a version.
    pub(super) fn applied(&mut self) {
        *self = Self::default();
    }

    /// When the next try may be made, if not now.
    pub(super) fn until(&self, now: u64) -> Option<u64> {
        (now < self.until).then_some(self.until)
    }

    /// When there is something to be tried, if not now.
    pub(super) fn timer(&self, now: u64) -> Option<u64> {
        self.until(now).into_iter().chain(self.again.filter(|again| now < *again)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_repair_goes_at_once_and_further_tries_wait_longer_and_longer_up_to_a_minute() {
        let mut patience = Patience::default();
        assert_eq!(patience.until(0), None);
        patience.refused(100);
        assert_eq!(patience.until(100), None);
        let mut expected = NACK_PAUSE_MS_MIN;
        for _ in 0..40 {
            patience.refused(100);
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
        patience.refused(100);
        assert_eq!(patience.until(100), None);
        patience.refused(u64::MAX);
        assert_eq!(patience.until(u64::MAX - 1), Some(u64::MAX));
    }

    #[test]
    fn what_there_was_no_room_for_comes_again_later_and_later_up_to_an_hour_and_nothing_else_does() {
        let mut patience = Patience::default();
        let mut expected = LACK_PAUSE_MS_MIN;
        for _ in 0..40 {
            patience.judged(true, 100);
            assert_eq!(patience.timer(100), Some(100 + expected));
            assert!(!patience.is_again(99 + expected) && patience.is_again(100 + expected));
            assert_eq!(patience.timer(100 + expected), None);
            expected = (expected * 2).min(LACK_PAUSE_MS_MAX);
        }
        assert_eq!(expected, LACK_PAUSE_MS_MAX);
        patience.judged(false, 100);
        assert!(!patience.is_again(u64::MAX));
        patience.judged(true, 100);
        assert!(patience.is_again(100 + LACK_PAUSE_MS_MIN));
        patience.judged(true, u64::MAX - 1);
        assert_eq!(patience.timer(0), Some(u64::MAX));
        patience.applied();
        assert!(!patience.is_again(u64::MAX));
    }
}
