//! A persistent radix tree over the bytes of paths, with edges that take any one segment. A node holds the entries whose
//! way ends there, so the nodes that a request's path leads to are those whose entries may match it. A change copies the
//! nodes on its way.
//!
//! Paths may lie inside each other as deep as a path has bytes, thousands of nodes: nothing here recurses, not even the
//! drop of a tree.

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
        let literal = self.follow(literal);
        self.insert(literal, way, entry);
    }

    /// Removes the entry with `rank` at the end of `way` below the root that this is. What is not there changes nothing.
    pub(super) fn remove_from_root(&mut self, way: &[Step<'_>], rank: Rank) {
        let (literal, way) = first_literal(way);
        if let Some(literal) = literal.strip_prefix(self.label.bytes()) {
            self.remove(literal, way, rank);
        }
    }

    /// What of `path` is below the root that this is.
    pub(super) fn enter<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        path.strip_prefix(self.label.bytes())
    }

    /// Files an entry at the end of `literal` and then of `way` below here.
    fn insert<'w>(&mut self, mut literal: &'w [u8], mut way: &[Step<'w>], entry: Entry) {
        let mut node = self;
        loop {
            let Some(first) = literal.first() else {
                match way.split_first() {
                    None => return node.entries.insert(entry),
                    Some((Step::Literal(next), rest)) => (literal, way) = (next, rest),
                    Some((Step::Segment, rest)) => {
                        way = rest;
                        node = Arc::make_mut(node.segment.get_or_insert_default());
                    }
                }
                continue;
            };
            let at = node.child(*first).unwrap_or_else(|at| {
                let leaf = Self::leaf(literal.into());
                let mut children = std::mem::take(&mut node.children).into_vec();
                children.reserve_exact(1);
                children.insert(at, (*first, Arc::new(leaf)));
                node.children = children.into();
                at
            });
            let Some((_, child)) = node.children.get_mut(at) else { return };
            node = Arc::make_mut(child);
            literal = node.follow(literal);
        }
    }

    fn leaf(label: Short) -> Self {
        Self { label, entries: Entries::default(), children: Box::default(), segment: None }
    }

    /// What of a literal that counts from the parent lies below here. The label is cut where the two part.
    fn follow<'l>(&mut self, literal: &'l [u8]) -> &'l [u8] {
        let label = self.label.bytes();
        let common = label.iter().zip(literal).take_while(|(a, b)| a == b).count();
        if common < label.len() {
            self.split(common);
        }
        literal.get(common..).unwrap_or_default()
    }

    /// Removes the entry with `rank` at the end of `literal` and then of `way` below here, and the nodes that nothing is
    /// left of then.
    fn remove(&mut self, literal: &[u8], way: &[Step<'_>], rank: Rank) {
        let Some(path) = self.path(literal, way) else { return };
        let mut node = &mut *self;
        for turn in &path {
            let Some(next) = node.turn(*turn) else { return };
            node = next;
        }
        node.entries.remove(rank);
        let mut survivor = path.len();
        if node.is_empty() {
            survivor = self.last_with_something_else(&path);
        }
        let mut node = self;
        for turn in path.iter().take(survivor) {
            let Some(next) = node.turn(*turn) else { return };
            node = next;
        }
        match path.get(survivor) {
            None => {}
            Some(Turn::Segment) => node.segment = None,
            Some(Turn::Child(first)) => {
                let mut children = std::mem::take(&mut node.children).into_vec();
                children.retain(|(byte, _)| byte != first);
                node.children = children.into();
            }
        }
        // What a segment leads to has no label, so nothing is drawn into it.
        let labelled = survivor.checked_sub(1).is_none_or(|before| path.get(before) != Some(&Turn::Segment));
        if labelled && node.entries.is_empty() && node.segment.is_none() && node.children.len() == 1 {
            node.merge();
        }
    }

    /// The turns that lead to the node at the end of `literal` and then of `way`, if there is one.
    fn path<'w>(&self, mut literal: &'w [u8], mut way: &[Step<'w>]) -> Option<Vec<Turn>> {
        let (mut node, mut turns) = (self, Vec::new());
        loop {
            let Some(first) = literal.first() else {
                match way.split_first() {
                    None => return Some(turns),
                    Some((Step::Literal(next), rest)) => (literal, way) = (next, rest),
                    Some((Step::Segment, rest)) => {
                        way = rest;
                        node = node.segment.as_deref()?;
                        turns.push(Turn::Segment);
                    }
                }
                continue;
            };
            turns.push(Turn::Child(*first));
            (node, literal) = node.step(literal)?;
        }
    }

    fn turn(&mut self, turn: Turn) -> Option<&mut Self> {
        match turn {
            Turn::Segment => self.segment.as_mut().map(Arc::make_mut),
            Turn::Child(first) => {
                let at = self.child(first).ok()?;
                self.children.get_mut(at).map(|(_, child)| Arc::make_mut(child))
            }
        }
    }

    /// How many turns lead to the last node on a path that holds something beside what the path goes on to; the node at
    /// its end holds nothing. Without any: 0, the root.
    fn last_with_something_else(&self, path: &[Turn]) -> usize {
        let (mut node, mut last) = (self, 0);
        for (at, turn) in path.iter().enumerate() {
            let ways_on = node.children.len() + usize::from(node.segment.is_some());
            if ways_on > 1 || !node.entries.is_empty() {
                last = at;
            }
            let next = match turn {
                Turn::Segment => node.segment.as_deref(),
                Turn::Child(first) => {
                    node.child(*first).ok().and_then(|at| node.children.get(at)).map(|(_, child)| &**child)
                }
            };
            let Some(next) = next else { break };
            node = next;
        }
        last
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
        let mut below = std::mem::take(self);
        below.label = lower;
        self.label = upper;
        self.children = [(first, Arc::new(below))].into();
    }

    /// Takes the place of its only child.
    fn merge(&mut self) {
        let [(_, child)] = &*self.children else { return };
        let mut merged = Node::clone(child);
        merged.label = Short::from(&*[self.label.bytes(), child.label.bytes()].concat());
        *self = merged;
    }

    /// Takes out what is directly below and belongs to nobody else.
    fn take_below(&mut self, into: &mut Vec<Self>) {
        let children = std::mem::take(&mut self.children).into_vec().into_iter().map(|(_, child)| child);
        into.extend(children.chain(self.segment.take()).filter_map(Arc::into_inner));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let mut rest = Vec::new();
        self.take_below(&mut rest);
        while let Some(mut node) = rest.pop() {
            node.take_below(&mut rest);
        }
    }
}

/// From one node to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// To the child whose label begins so.
    Child(u8),
    /// Over a segment.
    Segment,
}

/// The literal that a way begins with, if it does, and the rest of it.
fn first_literal<'a, 'w>(way: &'w [Step<'a>]) -> (&'a [u8], &'w [Step<'a>]) {
    match way.split_first() {
        Some((Step::Literal(literal), rest)) => (literal, rest),
        _ => (&[], way),
    }
}
