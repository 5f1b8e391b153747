//! How long to wait before the next attempt to reach a control plane: pure, with no upper end to its patience.
//!
//! Exponential with full jitter: each delay is drawn from the whole interval, so that a thousand nodes which lost the
//! same control plane at the same moment come back spread over it (the peers' reconnect storms are the reason).

use std::time::Duration;

/// The interval after the first failure.
pub const FIRST: Duration = Duration::from_millis(500);
/// The interval that it grows to.
pub const LONGEST: Duration = Duration::from_secs(60);

/// Grows with failures, shrinks to nothing with a success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    interval: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { interval: FIRST }
    }
}

impl Backoff {
    /// The next delay, for a random number from all of `u64`.
    pub fn next(&mut self, random: u64) -> Duration {
        let interval = self.interval;
        self.interval = (interval * 2).min(LONGEST);
        let millis = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        // Never at once: what refuses a connection immediately would be asked in a busy loop.
        Duration::from_millis(millis / 10 + random % (millis - millis / 10))
    }

    /// A session came about: the next failure starts from the beginning.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_over_the_interval_and_grows_to_a_minute() {
        for random in [0, 1, u64::MAX / 2, u64::MAX] {
            let mut backoff = Backoff::default();
            let mut interval = FIRST;
            for _ in 0..20 {
                let delay = backoff.next(random);
                assert!(delay >= interval / 10 && delay < interval, "{delay:?} of {interval:?}");
                interval = (interval * 2).min(LONGEST);
            }
            assert_eq!(interval, LONGEST);
        }
    }

    #[test]
    fn starts_again_after_a_success() {
        let mut backoff = Backoff::default();
        for _ in 0..10 {
            backoff.next(7);
        }
        backoff.reset();
        assert!(backoff.next(u64::MAX) < FIRST);
    }
}
