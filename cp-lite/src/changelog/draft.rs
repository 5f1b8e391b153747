//! The pure half of a commit: transactions judged one after another against a growing, unpublished view, and the list
//! of store changes that makes the result durable. No I/O, no clock.

use super::follow::{Content, FollowError, Step, Tail};
use super::record::Meta;
use super::role::{Role, Standing};
use super::writes::Writes;
use super::{CommitError, Committed, Precondition, Transaction, View};
use model::{Change, Record};
use std::collections::BTreeMap;
use wire::succession;

/// The most changes of one transaction.
pub const TRANSACTION_CHANGES_MAX: usize = 100_000;
/// The most bytes that the bodies of one transaction may have together.
pub const TRANSACTION_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The most deletions remembered; when there are more, the oldest go and [`View::floor`] rises.
pub const TOMBSTONES_MAX: usize = 100_000;

/// What will be the next view, and what has to be written for it.
#[derive(Debug)]
pub(super) struct Draft {
    view: View,
    writes: Writes,
    /// The content is another one altogether: everything has to be written.
    anew: bool,
    /// There is something to write beside `writes`: version, epoch or role.
    renumbered: bool,
    /// Over which writers this control plane was promoted.
    over: String,
    tombstones_max: usize,
}

impl Draft {
    /// Starts from a view. `tombstones_max` is [`TOMBSTONES_MAX`] but in tests; `over` as in [`Standing`].
    pub(super) fn new(view: View, over: String, tombstones_max: usize) -> Self {
        Self { view, writes: Writes::default(), anew: false, renumbered: false, over, tombstones_max }
    }

    /// Whether there is anything to write.
    pub(super) fn is_empty(&self) -> bool {
        self.writes.is_empty() && !self.renumbered
    }

    /// Over which writers this control plane was promoted.
    pub(super) fn over(&self) -> &str {
        &self.over
    }

    /// Whether everything has to be written, not only the changes.
    pub(super) fn is_anew(&self) -> bool {
        self.anew
    }

    /// Adds what is known of a node.
    pub(super) fn note(&mut self, node: model::Id, row: Option<Vec<u8>>) {
        self.writes.node(node, row);
    }

    /// Applies a transaction whole, or leaves the draft as it was.
    pub(super) fn apply(&mut self, transaction: Transaction) -> Result<Committed, CommitError> {
        if self.view.role == Role::Follower {
            return Err(CommitError::Follower);
        }
        check_bounds(&transaction)?;
        if let Some(outdated) = transaction.preconditions.iter().find(|precondition| !self.holds(precondition)) {
            return Err(CommitError::Outdated(*outdated));
        }
        let version = self.view.version + 1;
        let changes = self.effective(transaction.changes, version);
        if changes.is_empty() {
            return Ok(Committed { version: self.view.version, changed: 0 });
        }
        let catalog = self.view.catalog.apply(&changes).map_err(CommitError::Refused)?;
        for change in &changes {
            self.mark(change, version);
        }
        self.view.catalog = catalog;
        self.view.version = version;
        self.forget_deletions();
        Ok(Committed { version, changed: changes.len() })
    }

    fn forget_deletions(&mut self) {
        for (kind, id) in self.view.forget_deletions(self.tombstones_max) {
            self.writes.deletion(kind, id);
        }
    }

    /// Takes over a step of the writer whole, or leaves the draft as it was.
    pub(super) fn follow(&mut self, step: Step) -> Result<(), FollowError> {
        if self.view.role == Role::Writer {
            return Err(FollowError::Writer);
        }
        match step {
            Step::Tail(tail) => self.tail(tail),
            Step::Whole(content) => {
                self.whole(*content);
                Ok(())
            }
        }
    }

    fn tail(&mut self, tail: Tail) -> Result<(), FollowError> {
        let Tail { epoch, from, to, root, changes } = tail;
        let View { epoch: our_epoch, version, .. } = self.view;
        if (epoch, from) != (our_epoch, version) || to < from {
            return Err(FollowError::Base { epoch, from });
        }
        let last: BTreeMap<_, _> = changes.into_iter().map(|change| (change.key(), change)).collect();
        let changes: Vec<Change> = last.into_values().collect();
        let catalog = self.view.catalog.apply(&changes).map_err(FollowError::Refused)?;
        if catalog.digest() != root {
            return Err(FollowError::Root { found: catalog.digest(), expected: root });
        }
        // A deletion is remembered also of what was not here: nodes between the two versions may have it. It counts as of
        // the step's end, so that whoever heard of it already hears of it again, and nobody never.
        changes.iter().for_each(|change| self.mark(change, to));
        (self.view.catalog, self.view.version) = (catalog, to);
        self.forget_deletions();
        self.renumbered = true;
        Ok(())
    }

    fn whole(&mut self, content: Content) {
        self.view = content.0;
        self.writes = Writes::default();
        (self.anew, self.renumbered) = (true, true);
    }

    /// Begins an epoch as the writer, over these writers, with the content as it is, of the next term of a promotion that
    /// is at least `least`.
    pub(super) fn promote(&mut self, epoch: u64, least: u32, over: String) {
        self.begin(epoch, succession::promoted(self.view.term, least), over);
    }

    /// Begins this epoch of this term. No node is in it at a version below this one, so that no deletion needs to be
    /// remembered.
    pub(super) fn begin(&mut self, epoch: u64, term: u32, over: String) {
        for (_, kind, id) in self.view.buried.iter() {
            self.writes.deletion(kind, id);
        }
        self.view.raise_floor();
        (self.view.term, self.view.epoch, self.view.role) = (term, epoch, Role::Writer);
        (self.over, self.renumbered) = (over, true);
    }

    /// The finished view, the meta record and what of the view is to be written.
    pub(super) fn finish(self) -> (View, Vec<u8>, Writes) {
        let View { epoch, version, floor, term, role, .. } = self.view;
        let meta = Meta { epoch, version, floor, term, standing: Standing { role, over: self.over } }.encode();
        (self.view, meta, self.writes)
    }

    fn holds(&self, precondition: &Precondition) -> bool {
        match *precondition {
            Precondition::Entity(kind, id, version) => {
                self.view.catalog.get(kind, id).map(|entry| entry.version) == version
            }
            Precondition::Head(version) => self.view.version == version,
        }
    }

    /// The last change of each entity, without those that change nothing, with version and tag filled in.
    fn effective(&self, changes: Vec<Change>, version: u64) -> Vec<Change> {
        let mut last = BTreeMap::new();
        for change in changes {
            last.insert(change.key(), change);
        }
        last.into_values().filter_map(|change| self.numbered(change, version)).collect()
    }

    fn numbered(&self, change: Change, version: u64) -> Option<Change> {
        let (kind, id) = change.key();
        let current = self.view.catalog.get(kind, id);
        match change {
            Change::Put(record) => {
                let same = current.is_some_and(|entry| entry.body.as_deref() == Some(&*record.body));
                let tag = Record::tag_of(kind, id, &record.body);
                (!same).then_some(Change::Put(Record { version, tag, ..record }))
            }
            delete @ Change::Delete { .. } => current.is_some().then_some(delete),
        }
    }

    /// Puts count as of the version they carry, deletions as of `version`.
    fn mark(&mut self, change: &Change, version: u64) {
        let (kind, id) = change.key();
        let before = self.view.catalog.get(kind, id).map(|entry| entry.version);
        match change {
            Change::Put(record) => {
                if self.view.mark_changed(record.version, before, kind, id) {
                    self.writes.deletion(kind, id);
                }
            }
            Change::Delete { .. } => {
                self.view.mark_deleted(version, before.unwrap_or_default(), kind, id);
                self.writes.deletion(kind, id);
            }
        }
        self.writes.entity(kind, id);
    }
}

fn check_bounds(transaction: &Transaction) -> Result<(), CommitError> {
    let changes = transaction.changes.len();
    if changes > TRANSACTION_CHANGES_MAX {
        return Err(CommitError::TooManyChanges { changes });
    }
    let bytes = transaction.body_bytes();
    if bytes > TRANSACTION_BYTES_MAX {
        return Err(CommitError::TooManyBytes { bytes });
    }
    Ok(())
}
