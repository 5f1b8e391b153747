//! What is known of a node's store: what the node says of it, and what it does not say but shows by coming back with less than
//! it had made durable.

use super::Introduction;
use serde::{Deserialize, Serialize};
use wire::Hello;

/// The state of a node's store, as of its last connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// It cannot be written: what is applied is not durable.
    pub not_durable: bool,
    /// It lost something, and said so.
    pub damaged: bool,
    /// What the node serves comes from a declarative file.
    pub from_file: bool,
    /// The last time that the node came back with less than it had made durable.
    pub lost: Option<Lost>,
}

/// Versions that a node had made durable, and did not have any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// The version that was durable.
    pub durable_version: u64,
    /// The version that it came back with.
    pub found_version: u64,
    /// When it came back.
    pub at: i64,
}

impl Kept {
    /// What a node shows that introduces itself, of which `epoch` and `durable` were known before.
    pub(super) fn next(self, epoch: u64, durable: u64, hello: &Introduction, now: i64) -> Self {
        let has = |bit| hello.store & bit != 0;
        let went_back = epoch != 0 && epoch == hello.epoch && hello.durable < durable;
        let lost = went_back.then_some(Lost { durable_version: durable, found_version: hello.durable, at: now });
        Self {
            not_durable: has(Hello::STORE_NOT_DURABLE),
            damaged: has(Hello::STORE_DAMAGED),
            from_file: has(Hello::FROM_FILE),
            lost: lost.or(self.lost),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn less_than_was_durable_is_a_loss_and_another_epoch_is_none() {
        let hello = |epoch, durable| Introduction { epoch, durable, ..Introduction::default() };
        let loss = |before: (u64, u64), now: (u64, u64)| {
            Kept::default().next(before.0, before.1, &hello(now.0, now.1), 9).lost
        };
        assert_eq!(loss((5, 12), (5, 11)), Some(Lost { durable_version: 12, found_version: 11, at: 9 }));
        for (before, now) in
            [((5, 12), (5, 12)), ((5, 12), (5, 13)), ((5, 12), (6, 1)), ((0, 0), (5, 0)), ((5, 12), (0, 0))]
        {
            assert_eq!(loss(before, now), None, "{before:?} {now:?}");
        }
        let kept = Kept::default().next(5, 12, &hello(5, 11), 9);
        assert_eq!(kept.next(5, 11, &hello(5, 11), 10).lost, kept.lost, "it is told until the next one");
    }

    #[test]
    fn what_a_node_says_of_its_store_is_told() {
        let store = Hello::STORE_DAMAGED | Hello::FROM_FILE | 64;
        let kept = Kept::default().next(0, 0, &Introduction { store, ..Introduction::default() }, 1);
        assert_eq!((kept.not_durable, kept.damaged, kept.from_file), (false, true, true));
    }
}
