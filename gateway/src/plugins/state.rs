//! What plugins keep while the configuration changes under them: counters, limits, tokens.
//!
//! The one idea: state belongs to an entity, not to a snapshot. It is kept under the entity's stable id, apart for each
//! plugin and each type, shared by all workers; it survives every delta and every full sync that leaves the entity there,
//! and goes when the entity goes (the events' thread sees to that).

use model::{Id, Kind};
use std::any::{Any, TypeId};
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many deleted entities are remembered, to drop once more what a request that began before the deletion made anew.
const DELETED_MAX: usize = 1_024;

/// All state of all plugins.
#[derive(Default)]
pub struct States {
    /// Bit [`Kind::index`] is set while there may be state of entities of that kind.
    kinds: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_entity: HashMap<(Kind, Id), Vec<State>>,
    deleted: VecDeque<(Kind, Id)>,
}

struct State {
    plugin: &'static str,
    value: Arc<dyn Any + Send + Sync>,
}

impl States {
    /// The state that this plugin keeps of this entity; the first to ask makes it. Takes a lock for a look-up: an instance
    /// that needs its own state for each request keeps what it got.
    #[must_use]
    pub fn of<T: Default + Send + Sync + 'static>(&self, plugin: &'static str, kind: Kind, id: Id) -> Arc<T> {
        let mut kept = self.lock();
        let states = kept.by_entity.entry((kind, id)).or_default();
        let mine = |state: &&State| state.plugin == plugin && (*state.value).type_id() == TypeId::of::<T>();
        if let Some(Ok(found)) = states.iter().find(mine).map(|state| Arc::clone(&state.value).downcast()) {
            return found;
        }
        let value = Arc::new(T::default());
        states.push(State { plugin, value: value.clone() });
        self.kinds.fetch_or(1 << kind.index(), Ordering::Relaxed);
        value
    }

    /// The kinds of entities of which there may be state, a bit each.
    pub(super) fn kinds(&self) -> u64 {
        self.kinds.load(Ordering::Relaxed)
    }

    /// Forgets what was kept of an entity that was deleted.
    pub(super) fn deleted(&self, kind: Kind, id: Id) {
        let mut kept = self.lock();
        kept.by_entity.remove(&(kind, id));
        if kept.deleted.len() >= DELETED_MAX {
            kept.deleted.pop_front();
        }
        kept.deleted.push_back((kind, id));
    }

    /// Forgets what came into being after its entity had been deleted. `exists` tells what there is now.
    pub(super) fn sweep(&self, exists: impl Fn(Kind, Id) -> bool) {
        let mut kept = self.lock();
        for (kind, id) in std::mem::take(&mut kept.deleted) {
            if !exists(kind, id) {
                kept.by_entity.remove(&(kind, id));
            }
        }
    }

    /// Forgets what was kept of entities that do not exist: the same by looking at all of it.
    pub(super) fn sweep_all(&self, exists: impl Fn(Kind, Id) -> bool) {
        let mut kept = self.lock();
        kept.deleted.clear();
        kept.by_entity.retain(|(kind, id), _| exists(*kind, *id));
        kept.by_entity.shrink_to_fit();
    }

    /// Of how many entities something is kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().by_entity.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// No holder leaves the map half changed, so that a poisoned lock is taken as it is.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn plugins_and_types_and_entities_have_state_of_their_own() {
        let states = States::default();
        let count = states.of::<AtomicUsize>("limit", Kind::Consumer, Id(1));
        count.store(7, Ordering::Relaxed);
        let read = |plugin, kind, id| states.of::<AtomicUsize>(plugin, kind, id).load(Ordering::Relaxed);
        assert_eq!(read("limit", Kind::Consumer, Id(1)), 7);
        assert_eq!(read("other", Kind::Consumer, Id(1)), 0);
        assert_eq!(read("limit", Kind::Service, Id(1)), 0);
        assert_eq!(read("limit", Kind::Consumer, Id(2)), 0);
        assert_eq!(*states.of::<String>("limit", Kind::Consumer, Id(1)), "");
        assert_eq!(read("limit", Kind::Consumer, Id(1)), 7);
    }

    #[test]
    fn state_goes_with_its_entity_even_if_a_late_request_made_it_anew() {
        let states = States::default();
        let _late = states.of::<AtomicUsize>("limit", Kind::Consumer, Id(1));
        let _other = states.of::<AtomicUsize>("limit", Kind::Consumer, Id(2));
        states.deleted(Kind::Consumer, Id(1));
        let _made_anew = states.of::<AtomicUsize>("limit", Kind::Consumer, Id(1));
        assert_eq!(states.len(), 2);
        states.sweep(|_, id| id == Id(2));
        assert_eq!(states.len(), 1);
        states.sweep_all(|_, _| false);
        assert!(states.is_empty());
    }
}
