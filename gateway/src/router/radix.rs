//! A persistent radix tree over the bytes of paths. A node holds the entries whose literal ends there, so the nodes on a
//! request's way down are exactly those whose entries its path begins with. A change copies the nodes on its way.

use super::entries::{Entries, Entry};
use super::rank::Rank;
use std::sync::Arc;

/// A node, and the tree below it. The root's label is empty.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    /// The bytes between the parent and here; never empty below the root.
    label: Box<[u8]>,
    pub(super) entries: Entries,
    /// By the first byte of their labels, ascending.
    children: Vec<(u8, Arc<Node>)>,
}

impl Node {
    /// Whether nothing is filed here or below.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.children.is_empty()
    }

    /// Files an entry under `literal`.
    pub(super) fn insert(&mut self, literal: &[u8], entry: Entry) {
        let Some(first) = literal.first() else { return self.entries.insert(entry) };
        match self.child(*first) {
            Err(at) => {
                let leaf = Self { label: literal.into(), entries: Entries::One(entry), children: Vec::new() };
                self.children.reserve_exact(1);
                self.children.insert(at, (*first, Arc::new(leaf)));
            }
            Ok(at) => {
                let Some((_, child)) = self.children.get_mut(at) else { return };
                let child = Arc::make_mut(child);
                let common = child.label.iter().zip(literal).take_while(|(a, b)| a == b).count();
                if common < child.label.len() {
                    child.split(common);
                }
                child.insert(literal.get(common..).unwrap_or_default(), entry);
            }
        }
    }

    /// Removes the entry with `rank` under `literal`. What is not there changes nothing.
    pub(super) fn remove(&mut self, literal: &[u8], rank: Rank) {
        let Some(first) = literal.first() else { return self.entries.remove(rank) };
        let Ok(at) = self.child(*first) else { return };
        let Some((_, child)) = self.children.get_mut(at) else { return };
        let Some(rest) = literal.strip_prefix(&*child.label) else { return };
        let child = Arc::make_mut(child);
        child.remove(rest, rank);
        if child.is_empty() {
            self.children.remove(at);
        } else if child.entries.is_empty() && child.children.len() == 1 {
            child.merge();
        }
    }

    /// The child that the way of `path` leads to, and the path below it.
    pub(super) fn step<'p>(&self, path: &'p [u8]) -> Option<(&Self, &'p [u8])> {
        let at = self.child(*path.first()?).ok()?;
        let (_, child) = self.children.get(at)?;
        Some((child, path.strip_prefix(&*child.label)?))
    }

    fn child(&self, first: u8) -> Result<usize, usize> {
        self.children.binary_search_by_key(&first, |(byte, _)| *byte)
    }

    /// Cuts the label after `at` bytes; entries and children move below the cut.
    fn split(&mut self, at: usize) {
        let (upper, lower) = self.label.split_at(at);
        let (upper, lower): (Box<[u8]>, Box<[u8]>) = (upper.into(), lower.into());
        let Some(first) = lower.first().copied() else { return };
        let below = Self {
            label: lower,
            entries: std::mem::take(&mut self.entries),
            children: std::mem::take(&mut self.children),
        };
        *self = Self { label: upper, entries: Entries::None, children: vec![(first, Arc::new(below))] };
    }

    /// Takes the place of its only child.
    fn merge(&mut self) {
        let Some((_, child)) = self.children.pop() else { return };
        let label = [&*self.label, &*child.label].concat().into();
        *self = Self { label, entries: child.entries.clone(), children: child.children.clone() };
    }
}
