//! Change events: plugins that ask are told `(operation, entity, old_entity)` of what a swap changed.
//!
//! The one idea: events are the difference between two snapshots, however the second came about. A delta names what it
//! touched, which is all that is looked at; after a full sync both are compared by tag. So the same difference is told in
//! the same way whether it came as a delta, a cascade, a full sync or a reconcile, for every kind that the model has, and
//! an entity that was sent again as it was is no event. Within one swap deletions come first, children before what they
//! refer to, then creations and updates, what is referred to first; each by id. Both snapshots hold still meanwhile.
//!
//! Plugins are called on a thread of their own, made when the first of them is to be told something: neither requests nor
//! the control plane wait for them. While they are slow, further swaps merge into one difference, so that what waits is
//! bounded by [`KEYS_MAX`]. Where nobody asks, nothing is kept, compared or started.

use super::registry::{Definition, Registry};
use crate::snapshot::{Held, Snapshot};
use model::kind::{ALL, KINDS};
use model::{Change, Id, Kind};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What the catalog of a data plane holds of an entity.
type Entry = model::catalog::Entry<()>;

/// What one call of a plugin may take; a longer one is logged.
pub const CALL_MAX: Duration = Duration::from_millis(100);
/// The most touched entities that wait to be told; beyond, the two snapshots are compared whole.
pub const KEYS_MAX: usize = 16_384;
/// The stack of the thread that calls plugins.
const STACK_BYTES: usize = 256 * 1024;

/// A kind is a bit of a word.
const _: () = assert!(KINDS <= 64);

/// What happened to an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It was not there before.
    Create,
    /// It is another than before.
    Update,
    /// It is not there any more.
    Delete,
}

/// An entity of one snapshot.
#[derive(Clone, Copy)]
pub struct Entity<'s> {
    /// What it is.
    pub kind: Kind,
    /// Its id.
    pub id: Id,
    /// The commit that last changed it.
    pub version: u64,
    /// Its content's hash.
    pub tag: u64,
    snapshot: &'s Snapshot,
}

impl<'s> Entity<'s> {
    fn new(snapshot: &'s Snapshot, kind: Kind, id: Id, entry: &Entry) -> Self {
        Self { kind, id, version: entry.version, tag: entry.tag, snapshot }
    }

    /// The entity as requests see it. `None` if it is of another kind, or held in no form because no request needs it (a
    /// plugin that is not enabled, a key).
    #[must_use]
    pub fn get<T: Held>(&self) -> Option<&'s T> {
        if T::KIND == self.kind { T::of(self.snapshot, self.id) } else { None }
    }

    /// The configuration that it is part of: for a deleted or an old entity the one before.
    #[must_use]
    pub fn snapshot(&self) -> &'s Snapshot {
        self.snapshot
    }
}

/// Tells plugins. One per data plane, beside the pointer to the snapshot.
pub(crate) struct Events {
    teller: Arc<Teller>,
}

struct Teller {
    registry: Arc<Registry>,
    /// Kinds that plugins watch, a bit each.
    watched: u64,
    queue: Mutex<Queue>,
    more: Condvar,
}

#[derive(Default)]
struct Queue {
    untold: Option<Step>,
    running: bool,
    closed: bool,
}

/// From one snapshot to another.
struct Step {
    before: Arc<Snapshot>,
    after: Arc<Snapshot>,
    /// What may differ; `None` for anything.
    touched: Option<BTreeSet<(Kind, Id)>>,
}

impl Events {
    /// For the plugins of a registry.
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        let watched = registry.definitions().iter().flat_map(|definition| definition.watches());
        let watched = watched.fold(0, |kinds, kind| kinds | bit(*kind));
        Self { teller: Arc::new(Teller { registry, watched, queue: Mutex::default(), more: Condvar::new() }) }
    }

    /// `after` is served in the place of `before`. `changes` is all that may differ, if that is known.
    pub(crate) fn swapped(&self, before: &Arc<Snapshot>, after: &Arc<Snapshot>, changes: Option<&[Change]>) {
        let teller = &self.teller;
        let wanted = teller.wanted();
        if wanted == 0 {
            return;
        }
        let touched: Option<BTreeSet<_>> = changes
            .map(|changes| changes.iter().map(Change::key).filter(|(kind, _)| wanted & bit(*kind) != 0).collect());
        if touched.as_ref().is_some_and(BTreeSet::is_empty) {
            return;
        }
        let mut queue = teller.lock();
        match &mut queue.untold {
            None => queue.untold = Some(Step { before: before.clone(), after: after.clone(), touched }),
            Some(step) => step.extend(after.clone(), touched),
        }
        if queue.running {
            teller.more.notify_one();
            return;
        }
        let teller = teller.clone();
        let thread = thread::Builder::new().name("plugin-events".to_owned()).stack_size(STACK_BYTES);
        match thread.spawn(move || teller.run()) {
            Ok(_) => queue.running = true,
            // What is untold stays, and is told with the next swap.
            Err(error) => tracing::error!(%error, "no thread to tell plugins of changes"),
        }
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.teller.lock().closed = true;
        self.teller.more.notify_one();
    }
}

impl Step {
    fn extend(&mut self, after: Arc<Snapshot>, more: Option<BTreeSet<(Kind, Id)>>) {
        self.after = after;
        self.touched = match (self.touched.take(), more) {
            (Some(mut touched), Some(more)) => {
                touched.extend(more);
                (touched.len() <= KEYS_MAX).then_some(touched)
            }
            _ => None,
        };
    }

    /// The ids of a kind that may differ, ascending, with what is there before and after.
    fn each(&self, kind: Kind, mut tell: impl FnMut(Id, Option<&Entry>, Option<&Entry>)) {
        let (before, after) = (self.before.catalog(), self.after.catalog());
        if let Some(touched) = &self.touched {
            let range = (kind, Id(0))..=(kind, Id(u128::MAX));
            return touched.range(range).for_each(|(_, id)| tell(*id, before.get(kind, *id), after.get(kind, *id)));
        }
        let (mut before, mut after) = (before.iter(kind, None).peekable(), after.iter(kind, None).peekable());
        loop {
            match (before.peek().map(|(id, _)| *id), after.peek().map(|(id, _)| *id)) {
                (None, None) => return,
                (old, new) => {
                    let id = old.into_iter().chain(new).min().unwrap_or_default();
                    let old = before.next_if(|(found, _)| *found == id).map(|(_, entry)| entry);
                    let new = after.next_if(|(found, _)| *found == id).map(|(_, entry)| entry);
                    tell(id, old, new);
                }
            }
        }
    }
}

impl Teller {
    /// Kinds of which something is to be done, a bit each.
    fn wanted(&self) -> u64 {
        self.watched | self.registry.states().kinds()
    }

    fn run(&self) {
        loop {
            let mut queue = self.lock();
            let step = loop {
                if queue.closed {
                    return;
                }
                match queue.untold.take() {
                    Some(step) => break step,
                    None => queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner),
                }
            };
            drop(queue);
            self.tell(&step);
        }
    }

    fn tell(&self, step: &Step) {
        let wanted = self.wanted();
        let kinds = || ALL.iter().map(|def| def.kind).filter(|kind| wanted & bit(*kind) != 0);
        let states = self.registry.states();
        let exists = |kind, id| step.after.catalog().contains(kind, id);
        match step.touched {
            Some(_) => states.sweep(exists),
            None => states.sweep_all(exists),
        }
        for kind in kinds().rev() {
            step.each(kind, |id, old, new| {
                if let (Some(old), None) = (old, new) {
                    self.call(Operation::Delete, &Entity::new(&step.before, kind, id, old), None);
                    states.deleted(kind, id);
                }
            });
        }
        for kind in kinds() {
            step.each(kind, |id, old, new| match (old, new) {
                (None, Some(new)) => self.call(Operation::Create, &Entity::new(&step.after, kind, id, new), None),
                (Some(old), Some(new)) if old.tag != new.tag => {
                    let old = Entity::new(&step.before, kind, id, old);
                    self.call(Operation::Update, &Entity::new(&step.after, kind, id, new), Some(&old));
                }
                _ => {}
            });
        }
    }

    fn call(&self, operation: Operation, entity: &Entity<'_>, old: Option<&Entity<'_>>) {
        let watches = |definition: &&&dyn Definition| definition.watches().contains(&entity.kind);
        for definition in self.registry.definitions().iter().filter(watches) {
            let (plugin, kind) = (definition.name(), entity.kind.def().name);
            let begun = Instant::now();
            if catch_unwind(AssertUnwindSafe(|| definition.changed(operation, entity, old))).is_err() {
                tracing::error!(plugin, kind, id = %entity.id, ?operation, "a plugin panicked when it was told of a change");
            }
            let took = begun.elapsed();
            if took > CALL_MAX {
                tracing::warn!(plugin, kind, id = %entity.id, ?took, "a plugin takes long over a change; others wait");
            }
        }
    }

    /// No holder leaves the queue half changed, so that a poisoned lock is taken as it is.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bit(kind: Kind) -> u64 {
    1 << kind.index()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::registry;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn where_nobody_asks_nothing_is_kept_compared_or_started() {
        let registry = Registry::new(&registry::ALL);
        let events = Events::new(registry.clone());
        let (before, after) = (Arc::new(Snapshot::with(registry.clone())), Arc::new(Snapshot::with(registry.clone())));
        let gone = [Change::Delete { kind: Kind::Consumer, id: Id(1) }];
        events.swapped(&before, &after, Some(&gone));
        events.swapped(&before, &after, None);
        let idle = |events: &Events| {
            let queue = events.teller.lock();
            queue.untold.is_none() && !queue.running
        };
        assert!(idle(&events));
        // State of consumers is no reason to look at what else has changed.
        let _state = registry.states().of::<AtomicU32>("limit", Kind::Consumer, Id(1));
        events.swapped(&before, &after, Some(&[Change::Delete { kind: Kind::Route, id: Id(1) }]));
        assert!(idle(&events));
        events.swapped(&before, &after, Some(&gone));
        assert!(!idle(&events));
    }

    #[test]
    fn what_waits_is_bounded() {
        let snapshot = Arc::new(Snapshot::empty());
        let keys = |from: usize| Some((from..from + KEYS_MAX / 2).map(|id| (Kind::Route, Id(id as u128))).collect());
        let mut step = Step { before: snapshot.clone(), after: snapshot.clone(), touched: keys(0) };
        step.extend(snapshot.clone(), keys(KEYS_MAX / 2));
        assert_eq!(step.touched.as_ref().map(BTreeSet::len), Some(KEYS_MAX));
        step.extend(snapshot.clone(), keys(KEYS_MAX));
        assert_eq!(step.touched, None, "from here on both snapshots are compared");
        step.extend(snapshot, keys(0));
        assert_eq!(step.touched, None);
    }
}
