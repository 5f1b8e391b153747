//! Bodies that were replaced a while ago: what patches are made against, for nodes that still have them.
//!
//! The newest view holds newest bodies only. What a commit replaces is kept here, by the versions at which it was what
//! nodes had, until more came than is kept. `source` fills this and looks here; without a body, an entity travels whole.

use crate::changelog::View;
use model::{Id, Kind};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// How many bytes of bodies are kept, and of what keeping them takes.
const BYTES_MAX: usize = 1024 * 1024;
/// About what one body takes beside its bytes.
const OVERHEAD_BYTES: usize = 128;

/// The bodies that were replaced last.
#[derive(Default)]
pub(super) struct Bases {
    kept: HashMap<(Kind, Id), VecDeque<Base>>,
    /// Whose body was replaced when, oldest first.
    order: VecDeque<(Kind, Id)>,
    bytes: usize,
}

/// A body that an entity had from one version to another, both included.
struct Base {
    from: u64,
    until: u64,
    body: Arc<[u8]>,
}

impl Bases {
    /// Keeps what `view` replaces of the view `before` it.
    pub(super) fn update(&mut self, before: &View, view: &View) {
        let touched = if before.epoch == view.epoch { view.since(before.version).ok() } else { None };
        let Some(touched) = touched else {
            // Nodes of another epoch, or below the floor, get no steps.
            *self = Self::default();
            return;
        };
        for touched in touched.filter(|touched| !touched.deleted) {
            if let Some(old) = before.catalog.record(touched.kind, touched.id) {
                self.keep(
                    (touched.kind, touched.id),
                    Base { from: old.version, until: before.version, body: old.body },
                );
            }
        }
    }

    /// The body that nodes at `version` have of an entity.
    pub(super) fn find(&self, kind: Kind, id: Id, version: u64) -> Option<Arc<[u8]>> {
        let bases = self.kept.get(&(kind, id))?;
        bases.iter().find(|base| (base.from..=base.until).contains(&version)).map(|base| base.body.clone())
    }

    fn keep(&mut self, key: (Kind, Id), base: Base) {
        self.bytes += base.cost();
        self.kept.entry(key).or_default().push_back(base);
        self.order.push_back(key);
        while self.bytes > BYTES_MAX {
            let Some(key) = self.order.pop_front() else { return };
            if let Some(bases) = self.kept.get_mut(&key) {
                self.bytes -= bases.pop_front().map_or(0, |base| base.cost());
                if bases.is_empty() {
                    self.kept.remove(&key);
                }
            }
        }
    }
}

impl Base {
    fn cost(&self) -> usize {
        self.body.len() + OVERHEAD_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: (Kind, Id) = (Kind::Route, Id(1));

    fn base(from: u64, until: u64, bytes: usize) -> Base {
        Base { from, until, body: vec![from as u8; bytes].into() }
    }

    #[test]
    fn a_body_is_found_for_the_versions_at_which_it_was_what_nodes_had() {
        let mut bases = Bases::default();
        bases.keep(KEY, base(5, 9, 1));
        bases.keep(KEY, base(12, 19, 1));
        let found = |version| bases.find(KEY.0, KEY.1, version).map(|body| body[0]);
        assert_eq!([4, 5, 9, 10, 12, 15, 20].map(found), [None, Some(5), Some(5), None, Some(12), Some(12), None]);
        assert_eq!(bases.find(Kind::Service, KEY.1, 5), None);
    }

    #[test]
    fn the_oldest_bodies_go_when_there_are_too_many() {
        let mut bases = Bases::default();
        let many = 3 * BYTES_MAX / 1024;
        for n in 0..many as u64 {
            bases.keep((Kind::Route, Id(u128::from(n % 700))), base(n, n, 1024));
            assert!(bases.bytes <= BYTES_MAX);
        }
        let held: usize = bases.kept.values().flatten().map(Base::cost).sum();
        assert_eq!((held, bases.kept.values().map(VecDeque::len).sum()), (bases.bytes, bases.order.len()));
        let last = many as u64 - 1;
        assert!(bases.find(Kind::Route, Id(u128::from(last % 700)), last).is_some());
        assert!(bases.find(Kind::Route, Id(0), 0).is_none());
    }
}
