//! Which target of an upstream gets a request. Pure: state in, choice out; each worker keeps states of its own.
//!
//! The one idea is smooth weighted round-robin: every target gains its weight per turn, the richest one is chosen and
//! pays the sum of all weights. Over one period each target is chosen exactly in proportion to its weight, and the
//! turns of a heavy one are spread out. Credit is kept by target id, so that a change of one target leaves the others
//! where they were, and a change of anything else touches nothing.

use model::Id;
use std::collections::HashMap;

/// A target as the balancer sees it.
pub trait Weighted {
    /// Its id.
    fn id(&self) -> Id;
    /// Its share; 0 takes it out.
    fn weight(&self) -> u32;
}

impl<T: Weighted + ?Sized> Weighted for std::sync::Arc<T> {
    fn id(&self) -> Id {
        (**self).id()
    }

    fn weight(&self) -> u32 {
        (**self).weight()
    }
}

impl Weighted for crate::snapshot::entities::Target {
    fn id(&self) -> Id {
        self.id
    }

    fn weight(&self) -> u32 {
        self.weight
    }
}

/// The credit of one upstream's targets.
#[derive(Debug, Clone, Default)]
pub struct RoundRobin {
    /// By target; in the order of the list that was last seen.
    credit: Vec<(Id, i64)>,
}

impl RoundRobin {
    /// Chooses the next target, leaving out those for which `tried` says so. `None` when nothing is left.
    pub fn pick<'t, T: Weighted>(&mut self, targets: &'t [T], tried: impl Fn(Id) -> bool) -> Option<&'t T> {
        if let [only] = targets {
            return Some(only).filter(|target| target.weight() > 0 && !tried(target.id()));
        }
        self.follow(targets);
        let mut sum = 0;
        let mut best: Option<(usize, i64)> = None;
        for (index, (target, (_, credit))) in targets.iter().zip(&mut self.credit).enumerate() {
            let weight = i64::from(target.weight());
            if weight == 0 || tried(target.id()) {
                continue;
            }
            *credit += weight;
            sum += weight;
            if best.is_none_or(|(_, most)| *credit > most) {
                best = Some((index, *credit));
            }
        }
        let (index, _) = best?;
        if let Some((_, credit)) = self.credit.get_mut(index) {
            *credit -= sum;
        }
        targets.get(index)
    }

    /// Brings the credit in line with the list: the credit of those that stayed is kept.
    fn follow<T: Weighted>(&mut self, targets: &[T]) {
        let same = self.credit.len() == targets.len()
            && self.credit.iter().zip(targets).all(|((known, _), target)| *known == target.id());
        if same {
            return;
        }
        let kept: HashMap<Id, i64> = self.credit.drain(..).collect();
        self.credit =
            targets.iter().map(|target| (target.id(), kept.get(&target.id()).copied().unwrap_or(0))).collect();
    }
}

/// The most upstreams whose state a worker keeps; beyond, all start anew.
const UPSTREAMS_MAX: usize = 65_536;

/// The states of one worker, by upstream.
#[derive(Debug, Default)]
pub struct Balancers {
    upstreams: HashMap<Id, RoundRobin>,
}

impl Balancers {
    /// The state of an upstream.
    pub fn of(&mut self, upstream: Id) -> &mut RoundRobin {
        if self.upstreams.len() >= UPSTREAMS_MAX && !self.upstreams.contains_key(&upstream) {
            self.upstreams.clear();
        }
        self.upstreams.entry(upstream).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    struct Target(Id, u32);

    impl Weighted for Target {
        fn id(&self) -> Id {
            self.0
        }

        fn weight(&self) -> u32 {
            self.1
        }
    }

    fn targets(weights: &[u32]) -> Vec<Target> {
        (1..).zip(weights).map(|(id, &weight)| Target(Id(id), weight)).collect()
    }

    fn turns(state: &mut RoundRobin, targets: &[Target], count: u32) -> Vec<u128> {
        (0..count).filter_map(|_| state.pick(targets, |_| false)).map(|target| target.0.0).collect()
    }

    #[test]
    fn spreads_the_turns_of_a_heavy_target() {
        let turns = turns(&mut RoundRobin::default(), &targets(&[5, 1, 1]), 7);
        assert_eq!(turns, [1, 1, 2, 1, 3, 1, 1]);
    }

    #[test]
    fn weight_zero_gets_nothing() {
        let mut state = RoundRobin::default();
        assert_eq!(turns(&mut state, &targets(&[0, 1]), 3), [2, 2, 2]);
        assert!(state.pick(&targets(&[0]), |_| false).is_none());
        assert!(state.pick(&targets(&[]), |_| false).is_none());
    }

    #[test]
    fn a_target_that_was_tried_is_left_out() {
        let targets = targets(&[1, 1]);
        let mut state = RoundRobin::default();
        assert_eq!(state.pick(&targets, |id| id == Id(1)).map(|target| target.0), Some(Id(2)));
        assert!(state.pick(&targets, |_| true).is_none());
    }

    #[test]
    fn a_change_of_one_target_leaves_the_turn_of_the_others() {
        let mut state = RoundRobin::default();
        assert_eq!(turns(&mut state, &targets(&[1, 1]), 1), [1]);
        assert_eq!(turns(&mut state, &targets(&[1, 1, 1]), 1), [2], "the second is still next");
    }

    proptest! {
        #[test]
        fn over_one_period_each_gets_exactly_its_weight(weights in prop::collection::vec(0_u32..20, 1..12)) {
            let list = targets(&weights);
            let sum = weights.iter().sum();
            let turns = turns(&mut RoundRobin::default(), &list, sum);
            for target in &list {
                let got = turns.iter().filter(|&&id| id == target.0.0).count();
                prop_assert_eq!(got, target.1 as usize);
            }
        }
    }
}
