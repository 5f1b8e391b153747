//! Whether a node is sent patches: while it takes them and holds what they are made for.

use crate::limits::{PATCH_MISSES_MAX, PATCH_TRIES_MAX};

/// What is known of a node's bases. A base that is missing costs a round trip, so that a node which misses many is better
/// off without patches.
#[derive(Debug, Default)]
pub(super) struct Patching {
    /// The node said that it takes them.
    pub(super) taken: bool,
    /// Steps that came back since the last one that was applied.
    tries: u32,
    /// Steps that came back in this session.
    misses: u32,
}

impl Patching {
    /// Whether the next step may hold patches.
    pub(super) fn is_on(&self) -> bool {
        self.taken && self.tries < PATCH_TRIES_MAX && self.misses < PATCH_MISSES_MAX
    }

    /// A step with patches came back. `named` says whether the node asked for what it misses: only then is it of use to
    /// try again with patches of the rest.
    pub(super) fn missed(&mut self, named: bool) {
        self.misses = self.misses.saturating_add(1);
        self.tries = if named { self.tries + 1 } else { PATCH_TRIES_MAX };
    }

    /// A step was applied.
    pub(super) fn applied(&mut self) {
        self.tries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_comes_with_patches_until_it_came_back_twice_or_for_reasons_unnamed() {
        let mut patching = Patching { taken: true, ..Patching::default() };
        assert!(patching.is_on());
        patching.missed(true);
        assert!(patching.is_on());
        patching.missed(true);
        assert!(!patching.is_on());
        patching.applied();
        assert!(patching.is_on());
        patching.missed(false);
        assert!(!patching.is_on());
    }

    #[test]
    fn a_node_that_misses_many_bases_gets_no_more_patches_in_that_session() {
        let mut patching = Patching { taken: true, ..Patching::default() };
        for _ in 0..PATCH_MISSES_MAX {
            assert!(patching.is_on());
            patching.missed(true);
            patching.applied();
        }
        assert!(!patching.is_on());
        assert!(!Patching::default().is_on());
    }
}
