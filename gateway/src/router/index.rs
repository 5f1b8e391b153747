//! The index: buckets by host, each a radix tree of paths, and the lookup over them.

use super::criteria::method_bit;
use super::entries::{Entries, Entry};
use super::host::{Folded, HostKind, bucket_key};
use super::query::{Match, Prepared, Query};
use super::radix::Node;
use super::rank::{NONE, Rank};
use super::route::{CompiledRoute, Place};
use model::trie::Trie;
use std::sync::Arc;

/// How many nodes of a path are looked at together, deepest first, because deeper ones mostly rank higher.
const WAY_MAX: usize = 32;

/// All routes of a configuration. A clone is O(1) and never sees a later change.
#[derive(Debug, Clone, Default)]
pub struct Router {
    /// Routes with hosts, by kind and text of the host.
    hosts: Trie<Arc<Node>>,
    /// Routes without.
    any: Arc<Node>,
    /// How many entries are filed by kind of host; 0 is without host. Where there are none, nobody looks for them.
    filed: [usize; 4],
}

impl Router {
    /// A router without routes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is no route.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.any.is_empty()
    }

    /// Adds a route. One with the same id that is already there must be removed first.
    pub fn insert(&mut self, route: &Arc<CompiledRoute>) {
        self.file(route, 1);
    }

    /// Removes a route that was added. One that was not must not be given.
    pub fn remove(&mut self, route: &CompiledRoute) {
        route.places(|place| self.change(&place, -1, |node| node.remove_from_root(place.way, place.rank)));
    }

    /// Puts `route` in the place of `before`, which has the same id and was added.
    pub fn replace(&mut self, before: &CompiledRoute, route: &Arc<CompiledRoute>) {
        if route.is_filed_as(before) {
            // An entry takes the place of the one with the same rank.
            self.file(route, 0);
        } else {
            self.remove(before);
            self.insert(route);
        }
    }

    /// Files a route; in all its places there are `more` entries than before.
    fn file(&mut self, route: &Arc<CompiledRoute>, more: isize) {
        route.places(|place| {
            let entry = Entry { rank: place.rank, route: Arc::clone(route) };
            self.change(&place, more, |node| node.insert_from_root(place.way, entry));
        });
    }

    /// The route that a request belongs to.
    #[must_use]
    pub fn find(&self, query: &Query<'_>) -> Option<Match<'_>> {
        let host = Folded::new(query.host, query.port);
        let request = Prepared { query, host, method: method_bit(query.method) };
        let mut best = Best { request: &request, found: None };
        if let Some(name) = request.host.name() {
            best.search(self.hosts.get(bucket_key(HostKind::Exact, name)));
            self.search_wildcards(name, &mut best);
        }
        best.search(Some(&self.any));
        let (entry, matched) = best.found?;
        let path = entry.rank.path();
        Some(Match { route: &entry.route, matched, path: (path != NONE).then_some(path as usize) })
    }

    /// Every dot of the host begins what a left wildcard may stand before, and ends what a right one may stand behind.
    fn search_wildcards<'r>(&'r self, name: &[u8], best: &mut Best<'r, '_>) {
        let filed = |kind: HostKind| self.filed.get(kind as usize).is_some_and(|entries| *entries > 0);
        let (suffixes, prefixes) = (filed(HostKind::Suffix), filed(HostKind::Prefix));
        if !suffixes && !prefixes {
            return;
        }
        for (at, _) in name.iter().enumerate().filter(|(_, byte)| **byte == b'.') {
            let (before, after) = (name.get(..=at).unwrap_or_default(), name.get(at..).unwrap_or_default());
            if suffixes {
                best.search(self.hosts.get(bucket_key(HostKind::Suffix, after)));
            }
            if prefixes {
                best.search(self.hosts.get(bucket_key(HostKind::Prefix, before)));
            }
        }
    }

    /// Changes the bucket of `place`, which comes into being and goes with its entries.
    fn change(&mut self, place: &Place<'_>, entries: isize, change: impl FnOnce(&mut Node)) {
        if let Some(filed) = self.filed.get_mut(place.kind.map_or(0, |kind| kind as usize)) {
            *filed = filed.saturating_add_signed(entries);
        }
        let Some(key) = place.bucket else { return change(Arc::make_mut(&mut self.any)) };
        if let Some(node) = self.hosts.get_mut(key) {
            let node = Arc::make_mut(node);
            change(node);
            if node.is_empty() {
                self.hosts.remove(key);
            }
        } else {
            let mut node = Node::default();
            change(&mut node);
            if !node.is_empty() {
                self.hosts.insert(key, Arc::new(node));
            }
        }
    }
}

/// The best entry that a lookup has met so far.
struct Best<'r, 'q> {
    request: &'q Prepared<'q>,
    /// With how many bytes of the path it matched.
    found: Option<(&'r Entry, usize)>,
}

impl<'r> Best<'r, '_> {
    /// Looks at the entries of a bucket that the path leads to.
    fn search(&mut self, root: Option<&'r Arc<Node>>) {
        if let Some((root, rest)) = root.and_then(|root| Some((root, root.enter(self.request.query.path.as_bytes())?)))
        {
            self.descend(root, rest);
        }
    }

    /// Looks at the entries at and below `node` that `rest` leads to. Recurses once per segment of a template; how many
    /// ways there are is up to the configuration, not to the request.
    fn descend(&mut self, mut node: &'r Node, mut rest: &[u8]) {
        let mut way: [Option<&'r Entries>; WAY_MAX] = [None; WAY_MAX];
        let mut slots = way.iter_mut();
        loop {
            if !node.entries.is_empty() {
                match slots.next() {
                    Some(slot) => *slot = Some(&node.entries),
                    // A path with so many nodes on its way: what does not fit is looked at in its turn.
                    None => self.consider(&node.entries),
                }
            }
            if let Some((behind, after)) = node.step_segment(rest) {
                self.descend(behind, after);
            }
            match node.step(rest) {
                Some((child, after)) => (node, rest) = (child, after),
                None => break,
            }
        }
        for entries in way.iter().rev().flatten() {
            self.consider(entries);
        }
    }

    /// Takes the first entry that the request meets, unless one at least as good was found before.
    fn consider(&mut self, entries: &'r Entries) {
        entries.visit(|entry| {
            if self.found.is_some_and(|(best, _)| best.rank >= entry.rank) {
                return false;
            }
            match self.matched(entry.rank, &entry.route) {
                Some(matched) => {
                    self.found = Some((entry, matched));
                    false
                }
                None => true,
            }
        });
    }

    /// How many bytes of the path an entry takes, if the request meets all its criteria.
    fn matched(&self, rank: Rank, route: &CompiledRoute) -> Option<usize> {
        if !route.admits(self.request, rank.host()) {
            return None;
        }
        let path = self.request.query.path.as_bytes();
        match (rank.prefix_length(), rank.path()) {
            (_, NONE) => Some(path.len().min(1)),
            // The way to the entry was the prefix.
            (Some(length), _) => Some(length),
            (None, index) => route.path(index as usize)?.matched(path),
        }
    }
}
