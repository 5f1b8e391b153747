//! The suspicious shrink: a whole configuration that would take most of what a data plane serves away from it is held
//! until somebody confirms it, whatever the control plane believes. A database that came up empty must not empty a fleet.
//!
//! [`Limit`] judges on the data plane: by counts before anything is transferred ([`Limit::by_count`]), and exactly before
//! the swap ([`Limit::judge`]). [`Shrink`] is what it then says in its NACK; [`crate::cp`] waits with it for a
//! confirmation, which travels back as the number of entities that may go. Chains of deltas are their own confirmation.

use crate::error::ProtocolError;
use crate::message::{Type, put, take};
use serde::{Deserialize, Serialize};

/// How many of the entities that a node has would go, and how many of them may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shrink {
    /// Entities that the node has and that would go; at the beginning of a full sync at least so many.
    pub gone: u64,
    /// Entities that the node has.
    pub of: u64,
    /// How many may go without a confirmation.
    pub allowed: u64,
}

/// What a node lets go without a confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    percent: u64,
}

impl Limit {
    /// The share, in percent, that may go unless told otherwise.
    pub const DEFAULT_PERCENT: u64 = 50;

    /// Lets so many percent of the entities go; 100 lets all of them go.
    #[must_use]
    pub const fn percent(percent: u64) -> Self {
        Self { percent }
    }

    /// Judges by counts alone: of `had` entities at least those go that `coming` has no room for.
    ///
    /// # Errors
    /// Too many go for sure, and no more than `confirmed` are known to be meant.
    pub fn by_count(self, had: u64, coming: u64, confirmed: u64) -> Result<(), Shrink> {
        self.judge(had, had.saturating_sub(coming), confirmed)
    }

    /// Judges what is known exactly: `gone` of `had` entities would go.
    ///
    /// # Errors
    /// Too many would go, and no more than `confirmed` are known to be meant.
    pub fn judge(self, had: u64, gone: u64, confirmed: u64) -> Result<(), Shrink> {
        let allowed = u64::try_from(u128::from(had) * u128::from(self.percent.min(100)) / 100).unwrap_or(had);
        if gone <= allowed.max(confirmed) { Ok(()) } else { Err(Shrink { gone, of: had, allowed }) }
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self::percent(Self::DEFAULT_PERCENT)
    }
}

impl Shrink {
    /// As it is appended to a NACK.
    pub(crate) fn encode(shrink: Option<Self>) -> Vec<u8> {
        put(&shrink)
    }

    /// As [`Shrink::encode`] wrote it; none where an early peer wrote nothing.
    pub(crate) fn decode(later: &[u8]) -> Result<Option<Self>, ProtocolError> {
        if later.is_empty() { Ok(None) } else { take(Type::Nack, later) }
    }
}

impl std::fmt::Display for Shrink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { gone, of, allowed } = self;
        write!(f, "{gone} of {of} entities would go, {allowed} may without a confirmation")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_may_go_as_the_share_says_and_not_one_more() {
        let half = Limit::default();
        assert_eq!(half.judge(100, 50, 0), Ok(()));
        assert_eq!(half.judge(100, 51, 0), Err(Shrink { gone: 51, of: 100, allowed: 50 }));
        assert_eq!(half.judge(3, 2, 0), Err(Shrink { gone: 2, of: 3, allowed: 1 }));
        assert_eq!(half.judge(1, 1, 0), Err(Shrink { gone: 1, of: 1, allowed: 0 }));
        assert_eq!(half.judge(0, 0, 0), Ok(()));
        assert_eq!(Limit::percent(0).judge(100, 1, 0), Err(Shrink { gone: 1, of: 100, allowed: 0 }));
        assert_eq!(Limit::percent(100).judge(u64::MAX, u64::MAX, 0), Ok(()));
        assert_eq!(Limit::percent(u64::MAX).judge(7, 7, 0), Ok(()));
    }

    #[test]
    fn counts_hold_only_what_they_prove() {
        let half = Limit::default();
        assert_eq!(half.by_count(100, 49, 0).unwrap_err().gone, 51);
        // As many others may come in their place: only the ids will tell.
        assert_eq!(half.by_count(100, 50, 0), Ok(()));
        assert_eq!(half.by_count(100, 1_000, 0), Ok(()));
    }

    #[test]
    fn a_confirmation_is_for_a_number_and_covers_nothing_worse() {
        let half = Limit::default();
        assert_eq!(half.judge(100, 80, 80), Ok(()));
        assert_eq!(half.judge(100, 81, 80).unwrap_err().gone, 81);
    }
}
