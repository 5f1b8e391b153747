//! Commits that are in a journal and not yet in the checkpoint, coalesced: of each record only the last state counts.

use std::collections::{BTreeMap, btree_map};
use std::iter::Peekable;
use std::sync::Arc;

use crate::{Change, Key};

/// The changes since some commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending {
    changes: BTreeMap<Key, Option<Arc<[u8]>>>,
    bytes: u64,
    commits: u32,
}

impl Pending {
    /// Adds one commit.
    pub(crate) fn add(&mut self, changes: Vec<Change>) {
        self.commits = self.commits.saturating_add(1);
        for Change { key, value } in changes {
            self.bytes += cost(value.as_deref());
            if let Some(old) = self.changes.insert(key, value) {
                self.bytes -= cost(old.as_deref());
            }
        }
    }

    /// What is known of a record: `None` if it was not touched, else its value or that it was deleted.
    pub(crate) fn get(&self, key: &Key) -> Option<Option<Arc<[u8]>>> {
        self.changes.get(key).cloned()
    }

    /// All touched records in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, Option<&[u8]>)> {
        self.changes.iter().map(|(key, value)| (key, value.as_deref()))
    }

    /// This, with `newer` on top.
    pub(crate) fn with(mut self, newer: &Pending) -> Pending {
        self.add(newer.to_changes());
        self
    }

    /// All touched records as one commit.
    pub(crate) fn to_changes(&self) -> Vec<Change> {
        self.changes.iter().map(|(key, value)| Change { key: *key, value: value.clone() }).collect()
    }

    /// How many records were touched.
    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.commits == 0
    }

    pub(crate) fn commits(&self) -> u32 {
        self.commits
    }

    /// About how much memory it holds.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Takes a record, and may end the walk.
pub(crate) type Take<'a, E> = &'a mut dyn FnMut(Key, &[u8]) -> Result<(), E>;

/// Puts changes on top of records that come in order.
pub(crate) struct Overlay<'a> {
    changes: Peekable<btree_map::Iter<'a, Key, Option<Arc<[u8]>>>>,
}

impl<'a> Overlay<'a> {
    pub(crate) fn new(changes: &'a Pending) -> Overlay<'a> {
        Overlay { changes: changes.changes.iter().peekable() }
    }

    /// Takes the next record and hands over what is there up to its key.
    pub(crate) fn record<E>(&mut self, key: Key, value: &[u8], take: Take<'_, E>) -> Result<(), E> {
        while let Some((changed, new)) = self.changes.next_if(|(changed, _)| **changed < key) {
            give(*changed, new, take)?;
        }
        match self.changes.next_if(|(changed, _)| **changed == key) {
            Some((_, new)) => give(key, new, take),
            None => take(key, value),
        }
    }

    /// Hands over what is behind the last record.
    pub(crate) fn end<E>(self, take: Take<'_, E>) -> Result<(), E> {
        for (changed, new) in self.changes {
            give(*changed, new, take)?;
        }
        Ok(())
    }
}

fn give<E>(key: Key, value: &Option<Arc<[u8]>>, take: Take<'_, E>) -> Result<(), E> {
    value.as_ref().map_or(Ok(()), |value| take(key, value))
}

fn cost(value: Option<&[u8]>) -> u64 {
    64 + value.map_or(0, |value| value.len() as u64)
}
