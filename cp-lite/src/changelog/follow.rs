//! What a follower takes over from its writer: steps that bring epoch, versions and tags along, so that afterwards its
//! view says the same as the writer's, and what it has not heard of lies below its floor.

use super::View;
use super::role::Role;
use model::catalog::{Conflict, Loader};
use model::{Catalog, Change, Record};

/// What the writer sent.
#[derive(Debug)]
pub enum Step {
    /// What changed.
    Tail(Tail),
    /// Everything.
    Whole(Box<Content>),
}

/// The exact difference between two versions, coalesced: each entity is in it once, as it is at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// The writer's epoch, which must be the one at hand.
    pub epoch: u64,
    /// The version that it starts from, which must be the one at hand.
    pub from: u64,
    /// The version that it leads to.
    pub to: u64,
    /// The root digest there.
    pub root: u64,
    /// Records carry the version of the commit that changed them.
    pub changes: Vec<Change>,
}

/// A whole configuration, gathered record by record.
#[derive(Debug)]
pub struct Whole {
    view: View,
    loader: Loader,
}

/// A whole configuration that is what the writer has.
#[derive(Debug)]
pub struct Content(pub(super) View);

/// Why a step was not taken over. The content is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// It starts from another epoch or version than that at hand.
    #[error("the step starts from version {from} of epoch {epoch:016x}, which is not what is here")]
    Base {
        /// Its epoch.
        epoch: u64,
        /// Where it starts.
        from: u64,
    },
    /// Its content contradicts itself, or what is here.
    #[error("the step is refused: {}", .0.first().map_or_else(String::new, ToString::to_string))]
    Refused(Vec<Conflict>),
    /// It leads to another content than the writer's.
    #[error("the digest of the result is {found:016x}, the writer's is {expected:016x}")]
    Root {
        /// What came out here.
        found: u64,
        /// What the writer has.
        expected: u64,
    },
    /// This control plane is a writer, and follows nobody.
    #[error("this control plane is the writer")]
    Writer,
    /// The store could not make it durable; nothing was changed, and it may be tried again.
    #[error("the store could not write: {0}")]
    Store(String),
    /// The changelog is shutting down.
    #[error("the control plane is shutting down")]
    Closed,
}

impl Step {
    /// How many entities a content in the place of this one takes away; none, for what changed.
    #[must_use]
    pub fn gone(&self, view: &View) -> u64 {
        match self {
            Self::Tail(_) => 0,
            Self::Whole(content) => view.catalog.missing_in(&content.0.catalog) as u64,
        }
    }
}

impl Whole {
    /// The beginning of a configuration at this version. What was deleted before it is not known, so that it is the
    /// floor as well.
    #[must_use]
    pub fn new(epoch: u64, term: u32, version: u64) -> Self {
        let view = View { term, role: Role::Follower, version, floor: version, ..View::empty(epoch) };
        Self { view, loader: Catalog::keeping_bodies().loader() }
    }

    /// Takes a record.
    ///
    /// # Errors
    /// The body cannot be read, or has a unique value of another record.
    pub fn put(&mut self, record: &Record) -> Result<(), FollowError> {
        self.loader.put(record).map_err(|conflict| FollowError::Refused(vec![conflict]))?;
        self.view.mark_changed(record.version, None, record.kind, record.id);
        Ok(())
    }

    /// Takes a record that was here before, in a configuration of that epoch, and stays.
    ///
    /// Within the epoch its version stays too. In another epoch that number means nothing: it may be above this version,
    /// and it may be one at which the writer had another body, so that whoever read that one and makes it a precondition
    /// would be let in once this follower is promoted. The writer's own number is not known here, only that it is no later
    /// than this version; so it counts as of this version, at which this body, and no other, was there. For the answer to
    /// "what changed since v" that is as good as the writer's number, since v is never below the floor.
    ///
    /// # Errors
    /// As [`Whole::put`].
    pub fn keep(&mut self, record: Record, epoch: u64) -> Result<(), FollowError> {
        let latest = self.view.version;
        let version = if epoch == self.view.epoch { record.version.min(latest) } else { latest };
        self.put(&Record { version, ..record })
    }

    /// All records were put; `root` is what they must sum up to.
    ///
    /// # Errors
    /// They contradict each other, or are not those that the writer has.
    pub fn finish(mut self, root: u64) -> Result<Step, FollowError> {
        let catalog = self.loader.finish().map_err(FollowError::Refused)?;
        if catalog.digest() != root {
            return Err(FollowError::Root { found: catalog.digest(), expected: root });
        }
        self.view.catalog = catalog;
        Ok(Step::Whole(Box::new(Content(self.view))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Memory, Op, block_on, consumer, key, op, transaction};
    use super::super::{Changelog, CommitError, Local, TOMBSTONES_MAX};
    use super::*;
    use model::{Id, Kind};
    use proptest::bool::weighted;
    use proptest::prelude::*;
    use std::sync::Arc;

    /// What a writer would send to whoever is at that version.
    fn tail(writer: &View, from: u64) -> Step {
        let changes = writer.changes_since(from).unwrap().collect();
        Step::Tail(Tail { epoch: writer.epoch, from, to: writer.version, root: writer.catalog.digest(), changes })
    }

    fn whole(writer: &View) -> Step {
        let mut whole = Whole::new(writer.epoch, writer.term, writer.version);
        writer.records().for_each(|record| whole.put(&record).unwrap());
        whole.finish(writer.catalog.digest()).unwrap()
    }

    /// What a reconcile makes of what the follower has.
    fn reconciled(follower: &View, writer: &View) -> Step {
        let mut whole = Whole::new(writer.epoch, writer.term, writer.version);
        let tag = |view: &View, record: &Record| view.catalog.get(record.kind, record.id).map(|entry| entry.tag);
        let stays = |record: &Record| tag(follower, record) == tag(writer, record);
        for record in follower.records().filter(stays) {
            whole.keep(record, follower.epoch).unwrap();
        }
        writer.records().filter(|record| !stays(record)).for_each(|record| whole.put(&record).unwrap());
        whole.finish(writer.catalog.digest()).unwrap()
    }

    /// What a writer sends to whoever has this.
    fn next(follower: &View, writer: &View) -> Step {
        match follower.epoch {
            0 => whole(writer),
            epoch if epoch == writer.epoch && follower.version >= writer.floor => tail(writer, follower.version),
            _ => reconciled(follower, writer),
        }
    }

    fn take(follower: &Local, step: Step) -> Result<(), FollowError> {
        block_on(follower.follow(step))
    }

    fn commit(writer: &Local, changes: impl IntoIterator<Item = Change>) -> Arc<View> {
        block_on(writer.commit(transaction(changes))).unwrap();
        writer.view()
    }

    fn delete(id: u128) -> Change {
        Change::Delete { kind: Kind::Consumer, id: Id(id) }
    }

    /// Everything but deletions, which may count as of a later version, and the floor.
    fn same(follower: &View, writer: &View) -> bool {
        let numbers = |view: &View| (view.epoch, view.term, view.version, view.catalog.digest());
        numbers(follower) == numbers(writer) && follower.records().eq(writer.records())
    }

    #[test]
    fn a_follower_has_epoch_versions_and_content_of_its_writer_and_keeps_them() {
        let (writer, memory) = (Memory::default().open(TOMBSTONES_MAX), Memory::default());
        let follower = memory.follow(TOMBSTONES_MAX);
        assert_eq!(follower.view().epoch, 0);
        commit(&writer, [consumer(1, "a"), key(2, 1, "k")]);
        let first = commit(&writer, [consumer(3, "c")]);
        take(&follower, whole(&first)).unwrap();
        assert!(same(&follower.view(), &first));
        let gone = commit(&writer, [delete(3), consumer(1, "b")]);
        take(&follower, tail(&gone, 2)).unwrap();
        drop(follower);
        let after_restart = memory.follow(TOMBSTONES_MAX).view();
        assert!(same(&after_restart, &gone));
        assert_eq!((after_restart.floor, after_restart.deleted_at(Kind::Consumer, Id(3))), (2, Some(3)));
        assert_eq!(memory.load_all().1.role, Role::Follower);
    }

    #[test]
    fn a_follower_takes_no_changes_of_its_own_and_a_writer_no_steps() {
        let (writer, follower) = (Memory::default().open(9), Memory::default().follow(9));
        let view = commit(&writer, [consumer(1, "a")]);
        assert_eq!(block_on(follower.commit(transaction([consumer(1, "a")]))), Err(CommitError::Follower));
        assert_eq!(take(&writer, whole(&view)), Err(FollowError::Writer));
        // What is known of nodes is its own.
        block_on(follower.note(Id(5), Some(vec![1]))).unwrap();
    }

    #[test]
    fn a_step_that_does_not_fit_changes_nothing() {
        let (writer, follower) = (Memory::default().open(9), Memory::default().follow(9));
        let one = commit(&writer, [consumer(1, "a")]);
        take(&follower, whole(&one)).unwrap();
        let two = commit(&writer, [consumer(2, "b")]);
        assert!(matches!(take(&follower, tail(&two, 0)), Err(FollowError::Base { from: 0, .. })));
        let Step::Tail(right) = tail(&two, 1) else { panic!("a tail") };
        let foreign = Tail { epoch: 99, ..right.clone() };
        assert!(matches!(take(&follower, Step::Tail(foreign)), Err(FollowError::Base { epoch: 99, .. })));
        let wrong = Tail { root: 1, ..right.clone() };
        assert!(matches!(take(&follower, Step::Tail(wrong)), Err(FollowError::Root { expected: 1, .. })));
        let dangling = Tail { changes: vec![key(7, 6, "k")], ..right.clone() };
        assert!(matches!(take(&follower, Step::Tail(dangling)), Err(FollowError::Refused(_))));
        assert!(same(&follower.view(), &one));
        take(&follower, Step::Tail(right)).unwrap();
        assert!(same(&follower.view(), &two));
    }

    #[test]
    fn what_stays_in_a_new_epoch_counts_as_of_its_beginning_there_and_within_an_epoch_as_before() {
        let (old, follower) = (Memory::default().open(9), Memory::default().follow(9));
        commit(&old, [consumer(1, "a")]);
        commit(&old, [consumer(2, "b")]);
        take(&follower, whole(&commit(&old, [consumer(3, "c")]))).unwrap();
        let versions = |view: &View| view.records().map(|record| record.version).collect::<Vec<_>>();
        assert_eq!(versions(&follower.view()), [1, 2, 3]);
        take(&follower, reconciled(&follower.view(), &commit(&old, [consumer(2, "bb")]))).unwrap();
        assert_eq!((versions(&follower.view()), follower.view().floor), (vec![1, 4, 3], 4));

        // Another writer, with fewer versions and almost the same content.
        let new = Memory::default().open(9);
        block_on(new.promote(1)).unwrap();
        let there = commit(&new, [consumer(1, "a"), consumer(2, "bb"), consumer(4, "d")]);
        take(&follower, reconciled(&follower.view(), &there)).unwrap();
        let here = follower.view();
        assert_eq!((here.epoch, here.term, here.version, here.floor), (there.epoch, 2, 1, 1));
        assert_eq!((versions(&here), here.catalog.digest()), (vec![1, 1, 1], there.catalog.digest()));
        assert_eq!(here.since(1).unwrap().count(), 0, "nothing of the old epoch is told as a change in the new one");
    }

    #[test]
    fn a_step_that_cannot_be_written_is_not_shown_and_can_be_taken_again() {
        let (writer, memory) = (Memory::default().open(9), Memory::default());
        let follower = memory.follow(9);
        let view = commit(&writer, [consumer(1, "a")]);
        memory.fail_next();
        assert!(matches!(take(&follower, whole(&view)), Err(FollowError::Store(_))));
        assert_eq!(follower.view().version, 0);
        take(&follower, whole(&view)).unwrap();
        assert!(same(&follower.view(), &view));
    }

    #[test]
    fn a_promoted_follower_begins_an_epoch_with_what_it_has() {
        let (writer, memory) = (Memory::default().open(9), Memory::default());
        let follower = memory.follow(9);
        commit(&writer, [consumer(1, "a"), consumer(2, "b")]);
        take(&follower, whole(&commit(&writer, [consumer(3, "c")]))).unwrap();
        let before = commit(&writer, [delete(2)]);
        take(&follower, tail(&before, 2)).unwrap();
        let promoted = block_on(follower.promote(0)).unwrap();
        assert_ne!(promoted.epoch, before.epoch);
        assert_eq!((promoted.term, promoted.version, promoted.floor, promoted.tombstones()), (2, 3, 3, 0));
        assert!(promoted.records().eq(before.records()));
        assert_eq!(commit(&follower, [consumer(4, "d")]).version, 4);
        drop(follower);
        let (view, standing, _) = memory.load_all();
        assert_eq!((view.epoch, view.term, view.floor), (promoted.epoch, 2, 3));
        assert_eq!(standing, super::super::role::Standing { role: Role::Writer, over: "writer:8005".to_owned() });
        assert_eq!(block_on(memory.open(9).promote(7)).unwrap().term, 8);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        /// Whatever happened on the writer, whoever took its place, and whenever the follower heard of it: its answer to
        /// "what changed since v" names the entities that the writer's does and leads everyone whom it answers, also those
        /// who were served by the writer in between, to the writer's content.
        #[test]
        fn a_follower_tells_nodes_of_all_versions_what_its_writer_would(
            transactions in proptest::collection::vec(
                (proptest::collection::vec(op(), 1..4), any::<bool>(), weighted(0.2), weighted(0.2)),
                1..40,
            ),
            tombstones_max in 1..6usize,
        ) {
            let memory = Memory::default();
            let (mut writer, mut follower) = (Memory::default().open(tombstones_max), memory.follow(tombstones_max));
            // Whoever is to be the next writer, at times far behind.
            let mut heir = Memory::default().follow(tombstones_max);
            let mut history = vec![writer.view()];
            for (ops, heard, heir_heard, replaced) in transactions {
                if block_on(writer.commit(transaction(ops.iter().map(Op::change)))).is_ok_and(|done| done.changed > 0) {
                    history.push(writer.view());
                }
                let behind = |cp: &Local| (cp.view().epoch, cp.view().version) != (writer.view().epoch, writer.view().version);
                if heir_heard && behind(&heir) {
                    prop_assert_eq!(take(&heir, next(&heir.view(), &writer.view())), Ok(()));
                }
                if heard && behind(&follower) {
                    prop_assert_eq!(take(&follower, next(&follower.view(), &writer.view())), Ok(()));
                    drop(follower);
                    follower = memory.follow(tombstones_max);
                }
                if replaced && heir.view().epoch != 0 {
                    history = vec![block_on(heir.promote(0)).unwrap()];
                    writer = std::mem::replace(&mut heir, Memory::default().follow(tombstones_max));
                }
                let view = follower.view();
                let Some(there) = history.iter().find(|then| (then.epoch, then.version) == (view.epoch, view.version))
                else {
                    // It has heard from nobody yet, or not from the one who took over.
                    continue;
                };
                prop_assert_eq!((view.term, view.catalog.digest()), (there.term, there.catalog.digest()));
                prop_assert!(view.records().all(|record| record.version <= view.version));
                prop_assert!(view.tombstones() <= tombstones_max);
                for then in history.iter().filter(|then| (view.floor..=view.version).contains(&then.version)) {
                    let changes: Vec<Change> = view.changes_since(then.version).unwrap().collect();
                    prop_assert_eq!(then.catalog.apply(&changes).unwrap().digest(), view.catalog.digest());
                    let puts = changes.iter().filter(|change| matches!(change, Change::Put(_))).count();
                    let since = there.records().filter(|record| record.version > then.version);
                    prop_assert_eq!(puts, since.count());
                }
            }
        }
    }
}
