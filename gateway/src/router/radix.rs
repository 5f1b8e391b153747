//! A persistent radix tree over the bytes of paths, with edges that take any one segment. A node holds the entries whose
//! way ends there, so the nodes that a request's path leads to are those whose entries may match it. A change copies the
//! nodes on its way.

use super::entries::{Entries, Entry};
use super::rank::Rank;
use super::short::Short;
use std::sync::Arc;

/// One step of the way to where an entry is filed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// These bytes.
    Literal(&'a [u8]),
    /// One or more bytes up to the next slash or the end.
    Segment,
}

/// A node, and the tree below it.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    /// The bytes between the parent and here. A root may have some too; what a segment leads to has none.
    label: Short,
    pub(super) entries: Entries,
    /// By the first byte of their labels, ascending.
    children: Box<[(u8, Arc<Node>)]>,
    /// Behind any one segment.
    segment: Option<Arc<Node>>,
}

impl Node {
    /// Whether nothing is filed here or below.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.children.is_empty() && self.segment.is_none()
    }

    /// Files an entry at the end of `way` below the root that this is.
    pub(super) fn insert_from_root(&mut self, way: &[Step<'_>], entry: Entry) {
        let (literal, way) = first_literal(way);
        if self.is_empty() {
            self.label = literal.into();
        }
        self.insert_labelled(literal, way, entry);
    }

    /// Removes the entry with `rank` at the end of `way` below the root that this is. What is not there changes nothing.
    pub(super) fn remove_from_root(&mut self, way: &[Step<'_>], rank: Rank) {
        let (literal, way) = first_literal(way);
        self.remove_labelled(literal, way, rank);
    }

    /// What of `path` is below the root that this is.
    pub(super) fn enter<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        path.strip_prefix(self.label.bytes())
    }

    /// Files an entry at the end of `way` below here.
    fn insert(&mut self, way: &[Step<'_>], entry: Entry) {
        match way.split_first() {
            None => self.entries.insert(entry),
            Some((Step::Literal(literal), way)) => self.insert_literal(literal, way, entry),
            Some((Step::Segment, way)) => Arc::make_mut(self.segment.get_or_insert_default()).insert(way, entry),
        }
    }

    fn insert_literal(&mut self, literal: &[u8], way: &[Step<'_>], entry: Entry) {
        let Some(first) = literal.first() else { return self.insert(way, entry) };
        match self.child(*first) {
            Err(at) => {
                let mut leaf = Self { label: literal.into(), ..Self::default() };
                leaf.insert(way, entry);
                let mut children = std::mem::take(&mut self.children).into_vec();
                children.reserve_exact(1);
                children.insert(at, (*first, Arc::new(leaf)));
                self.children = children.into();
            }
            Ok(at) => {
                if let Some((_, child)) = self.children.get_mut(at) {
                    Arc::make_mut(child).insert_labelled(literal, way, entry);
                }
            }
        }
    }

    /// As [`Self::insert_literal`], with a literal that counts from the parent.
    fn insert_labelled(&mut self, literal: &[u8], way: &[Step<'_>], entry: Entry) {
        let label = self.label.bytes();
        let common = label.iter().zip(literal).take_while(|(a, b)| a == b).count();
        if common < label.len() {
            self.split(common);
        }
        self.insert_literal(literal.get(common..).unwrap_or_default(), way, entry);
    }

    /// Removes the entry with `rank` at the end of `way` below here.
    fn remove(&mut self, way: &[Step<'_>], rank: Rank) {
        match way.split_first() {
            None => self.entries.remove(rank),
            Some((Step::Literal(literal), way)) => self.remove_literal(literal, way, rank),
            Some((Step::Segment, way)) => {
                if let Some(segment) = &mut self.segment {
                    let node = Arc::make_mut(segment);
                    node.remove(way, rank);
                    if node.is_empty() {
                        self.segment = None;
                    }
                }
            }
        }
    }

    fn remove_literal(&mut self, literal: &[u8], way: &[Step<'_>], rank: Rank) {
        let Some(first) = literal.first() else { return self.remove(way, rank) };
        let Ok(at) = self.child(*first) else { return };
        let Some((_, child)) = self.children.get_mut(at) else { return };
        let child = Arc::make_mut(child);
        child.remove_labelled(literal, way, rank);
        if child.is_empty() {
            let mut children = std::mem::take(&mut self.children).into_vec();
            children.remove(at);
            self.children = children.into();
        }
    }

    /// As [`Self::remove_literal`], with a literal that counts from the parent.
    fn remove_labelled(&mut self, literal: &[u8], way: &[Step<'_>], rank: Rank) {
        let Some(rest) = literal.strip_prefix(self.label.bytes()) else { return };
        self.remove_literal(rest, way, rank);
        if self.entries.is_empty() && self.segment.is_none() && self.children.len() == 1 {
            self.merge();
        }
    }

    /// The child that the bytes of `path` lead to, and the path below it.
    pub(super) fn step<'p>(&self, path: &'p [u8]) -> Option<(&Self, &'p [u8])> {
        let at = self.child(*path.first()?).ok()?;
        let (_, child) = self.children.get(at)?;
        Some((child, child.enter(path)?))
    }

    /// What is behind the segment that `path` begins with, and the path below it.
    pub(super) fn step_segment<'p>(&self, path: &'p [u8]) -> Option<(&Self, &'p [u8])> {
        let node = self.segment.as_deref()?;
        let length = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
        if length == 0 { None } else { Some((node, path.get(length..)?)) }
    }

    fn child(&self, first: u8) -> Result<usize, usize> {
        self.children.binary_search_by_key(&first, |(byte, _)| *byte)
    }

    /// Cuts the label after `at` bytes; all that is here moves below the cut.
    fn split(&mut self, at: usize) {
        let (upper, lower) = self.label.bytes().split_at(at);
        let (upper, lower) = (Short::from(upper), Short::from(lower));
        let Some(first) = lower.bytes().first().copied() else { return };
        let below = Self { label: lower, ..std::mem::take(self) };
        *self = Self { label: upper, children: [(first, Arc::new(below))].into(), ..Self::default() };
    }

    /// Takes the place of its only child.
    fn merge(&mut self) {
        let [(_, child)] = &*self.children else { return };
        let label = Short::from(&*[self.label.bytes(), child.label.bytes()].concat());
        *self = Self { label, ..Node::clone(child) };
    }
}

/// The literal that a way begins with, if it does, and the rest of it.
fn first_literal<'a, 'w>(way: &'w [Step<'a>]) -> (&'a [u8], &'w [Step<'a>]) {
    match way.split_first() {
        Some((Step::Literal(literal), rest)) => (literal, rest),
        _ => (&[], way),
    }
}
