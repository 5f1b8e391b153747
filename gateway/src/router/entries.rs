//! The entries of one node, best first, as a persistent list: chunks of bounded size below one top. A change copies one
//! chunk and the top (a pointer per chunk), so that a node may hold ten thousand entries.

use super::rank::Rank;
use super::route::CompiledRoute;
use model::meter;
use std::cmp::Reverse;
use std::sync::Arc;

/// Most entries of a chunk. A full one is split in halves.
const CHUNK_MAX: usize = 32;

/// A route, filed under one of its paths and one of its hosts.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) rank: Rank,
    pub(super) route: Arc<CompiledRoute>,
}

impl Clone for Entry {
    fn clone(&self) -> Self {
        meter::visited(1);
        Self { rank: self.rank, route: Arc::clone(&self.route) }
    }
}

/// The entries of a node, in descending order of ranks.
#[derive(Debug, Clone, Default)]
pub(super) enum Entries {
    #[default]
    None,
    /// Most nodes have one.
    One(Entry),
    Many(Arc<Vec<Arc<Vec<Entry>>>>),
}

impl Entries {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Calls `look` with the entries, best first, until it says that it has seen enough.
    pub(super) fn visit<'e>(&'e self, mut look: impl FnMut(&'e Entry) -> bool) {
        match self {
            Self::None => {}
            Self::One(entry) => {
                look(entry);
            }
            Self::Many(chunks) => {
                let _ = chunks.iter().flat_map(|chunk| chunk.iter()).all(look);
            }
        }
    }

    /// Adds an entry; one with the same rank is replaced.
    pub(super) fn insert(&mut self, entry: Entry) {
        match self {
            Self::None => *self = Self::One(entry),
            Self::One(held) if held.rank == entry.rank => {
                meter::visited(1);
                *held = entry;
            }
            Self::One(held) => {
                let mut chunk = vec![held.clone(), entry];
                chunk.sort_unstable_by_key(|entry| Reverse(entry.rank));
                *self = Self::Many(Arc::new(vec![Arc::new(chunk)]));
            }
            Self::Many(chunks) => insert(Arc::make_mut(chunks), entry),
        }
    }

    /// Removes the entry with this rank, if it is there.
    pub(super) fn remove(&mut self, rank: Rank) {
        match self {
            Self::None => {}
            Self::One(held) => {
                meter::visited(1);
                if held.rank == rank {
                    *self = Self::None;
                }
            }
            Self::Many(chunks) => {
                if let (at, Ok(index)) = locate(chunks, rank) {
                    remove(Arc::make_mut(chunks), at, index);
                }
                if let [chunk] = &***chunks
                    && let [last] = &***chunk
                {
                    *self = Self::One(last.clone());
                }
            }
        }
    }
}

/// Where a rank is or would be: the chunk (the last whose first entry is not below it, else the first) and the place.
fn locate(chunks: &[Arc<Vec<Entry>>], rank: Rank) -> (usize, Result<usize, usize>) {
    let rank_of = |entry: &Entry| {
        meter::visited(1);
        entry.rank
    };
    let after = chunks.partition_point(|chunk| chunk.first().is_some_and(|first| rank_of(first) >= rank));
    let at = after.saturating_sub(1);
    let found = |chunk: &Arc<Vec<Entry>>| chunk.binary_search_by_key(&Reverse(rank), |entry| Reverse(rank_of(entry)));
    let place = chunks.get(at).map_or(Err(0), found);
    (at, place)
}

fn insert(chunks: &mut Vec<Arc<Vec<Entry>>>, entry: Entry) {
    let (at, place) = locate(chunks, entry.rank);
    let Some(chunk) = chunks.get_mut(at) else { return chunks.push(Arc::new(vec![entry])) };
    let chunk = Arc::make_mut(chunk);
    match place {
        Ok(index) => {
            if let Some(held) = chunk.get_mut(index) {
                *held = entry;
            }
        }
        Err(index) => {
            chunk.reserve_exact(1);
            chunk.insert(index, entry);
            if chunk.len() > CHUNK_MAX {
                let lower = chunk.split_off(CHUNK_MAX / 2);
                chunk.shrink_to_fit();
                chunks.reserve_exact(1);
                chunks.insert(at + 1, Arc::new(lower));
            }
        }
    }
}

fn remove(chunks: &mut Vec<Arc<Vec<Entry>>>, at: usize, index: usize) {
    let Some(chunk) = chunks.get_mut(at) else { return };
    let chunk = Arc::make_mut(chunk);
    chunk.remove(index);
    let left = chunk.len();
    if left == 0 {
        chunks.remove(at);
    } else if chunks.get(at + 1).is_some_and(|next| next.len() + left <= CHUNK_MAX / 2) {
        // Small neighbours become one, so that the top stays as short as the entries allow.
        let next = chunks.remove(at + 1);
        if let Some(chunk) = chunks.get_mut(at) {
            Arc::make_mut(chunk).extend(next.iter().cloned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::rank::NONE;
    use model::Id;
    use model::kinds::routes::Route;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn entry(rank: Rank) -> Entry {
        let route = Route { hosts: Some(vec!["h".into()]), ..Route::default() };
        Entry { rank, route: Arc::new(CompiledRoute::compile(&route).unwrap()) }
    }

    fn ranks(entries: &Entries) -> Vec<Rank> {
        let mut ranks = Vec::new();
        entries.visit(|entry| {
            ranks.push(entry.rank);
            true
        });
        ranks
    }

    proptest! {
        /// Mostly insertions first and removals later, so that lists grow over many chunks and shrink to nothing.
        #[test]
        fn keeps_descending_order_through_any_changes(
            inserted in proptest::collection::vec(0u128..400, 0..300),
            removed in proptest::collection::vec(0u128..400, 0..600),
        ) {
            let rank = |n: u128| Rank::new((n % 7) as u64, Id(n), 0, NONE);
            let (mut entries, mut model) = (Entries::None, BTreeSet::new());
            for n in inserted {
                entries.insert(entry(rank(n)));
                model.insert(rank(n));
            }
            let before = entries.clone();
            prop_assert!(ranks(&entries).iter().eq(model.iter().rev()));
            for n in removed {
                entries.remove(rank(n));
                model.remove(&rank(n));
            }
            prop_assert!(ranks(&entries).iter().eq(model.iter().rev()));
            prop_assert_eq!(entries.is_empty(), model.is_empty());
            for rank in ranks(&before) {
                entries.remove(rank);
            }
            prop_assert!(entries.is_empty());
        }
    }
}
