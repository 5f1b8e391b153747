//! How long a node that refuses one version after the other is left alone before the next one.
//!
//! The first new head after a refusal goes out at once: mostly it is the repair. A node that refuses that too will refuse
//! more, and a busy control plane must not fill its link with what comes to nothing.

use crate::limits::{NACK_PAUSE_MS_MAX, NACK_PAUSE_MS_MIN};

/// Refusals in a row, and until when the next try waits.
#[derive(Debug, Default)]
pub(super) struct Patience {
    refusals: u32,
    until: u64,
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

    /// The node applied a version.
    pub(super) fn applied(&mut self) {
        *self = Self::default();
    }

    /// When the next try may be made, if not now.
    pub(super) fn until(&self, now: u64) -> Option<u64> {
        (now < self.until).then_some(self.until)
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
}
