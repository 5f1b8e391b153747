//! Control planes that would follow this one and were refused: they have no row among the followers, and nobody would know.

use super::FOLLOWERS_MAX;
use model::Id;
use std::collections::VecDeque;

/// How long it is told, in seconds: longer than the longest that anybody is asked to stay away.
const TOLD_S: i64 = 3600;

/// One that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnedAway {
    /// Its id.
    pub id: Id,
    /// The name of its machine.
    pub hostname: String,
    /// Where it came from.
    pub ip: String,
    /// The version of its software.
    pub software: String,
    /// Why.
    pub why: String,
    /// When that was last.
    pub at: i64,
}

/// The last ones, at most [`FOLLOWERS_MAX`], the latest at the end.
#[derive(Debug, Default)]
pub(super) struct List(VecDeque<TurnedAway>);

impl List {
    pub(super) fn add(&mut self, refused: TurnedAway) {
        self.forget(refused.id);
        if self.0.len() >= FOLLOWERS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(refused);
    }

    pub(super) fn forget(&mut self, id: Id) {
        self.0.retain(|known| known.id != id);
    }

    pub(super) fn lately(&self, now: i64) -> Vec<TurnedAway> {
        self.0.iter().filter(|refused| now.saturating_sub(refused.at) < TOLD_S).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(id: u128, at: i64) -> TurnedAway {
        let (hostname, ip, software) = (String::new(), String::new(), String::new());
        TurnedAway { id: Id(id), hostname, ip, software, why: format!("at {at}"), at }
    }

    #[test]
    fn each_is_told_once_with_the_latest_reason_for_a_while_and_they_are_bounded() {
        let mut list = List::default();
        (0..100).for_each(|id| list.add(refused(id, 10)));
        list.add(refused(99, 20));
        assert_eq!(list.0.len(), FOLLOWERS_MAX);
        assert_eq!(list.lately(30).last(), Some(&refused(99, 20)));
        assert_eq!(list.lately(15 + TOLD_S), [refused(99, 20)]);
        list.forget(Id(99));
        assert_eq!(list.lately(15 + TOLD_S), []);
    }
}
