//! Who refers to one entity: nearly always one or a few, sometimes thousands. The catalog keeps one of these for each
//! entity that is referred to.

use crate::trie::Trie;
use crate::{Id, Kind, meter};
use std::sync::Arc;

/// The entities that refer to one entity.
#[derive(Clone, Debug)]
pub(super) enum Children {
    One(Child),
    /// Up to [`FEW_CHILDREN`], ascending.
    Few(Arc<[Child]>),
    Many(Vec<(Kind, Trie<()>)>),
}

/// Kind and id; without padding, since there are as many as there are references.
pub(super) type Child = (Kind, [u8; 16]);

/// How many children are a plain list: a change of it copies it all.
const FEW_CHILDREN: usize = 12;

impl Children {
    /// What is a plain list, and what is kept by kind; one of them is empty.
    pub(super) fn parts(&self) -> (&[Child], &[(Kind, Trie<()>)]) {
        match self {
            Self::One(one) => (std::slice::from_ref(one), &[]),
            Self::Few(few) => (few, &[]),
            Self::Many(kinds) => (&[], kinds),
        }
    }

    pub(super) fn add(&mut self, kind: Kind, id: Id) {
        let Self::Many(kinds) = self else { return self.add_to_few((kind, id.to_bytes())) };
        match kinds.iter_mut().find(|(found, _)| *found == kind) {
            Some((_, ids)) => {
                ids.insert(id.0, ());
            }
            None => {
                kinds.push((kind, Trie::from_iter([(id.0, ())])));
                kinds.sort_by_key(|(kind, _)| *kind);
            }
        }
    }

    fn add_to_few(&mut self, child: Child) {
        let (few, _) = self.parts();
        meter::visited(few.len());
        let Err(at) = few.binary_search(&child) else { return };
        let (before, after) = few.split_at(at);
        let children = || before.iter().chain([&child]).chain(after).copied();
        if few.len() < FEW_CHILDREN {
            *self = Self::Few(children().collect());
            return;
        }
        let mut many = Self::Many(Vec::new());
        children().for_each(|(kind, id)| many.add(kind, Id::from_bytes(id)));
        *self = many;
    }

    pub(super) fn drop_and_is_empty(&mut self, kind: Kind, id: Id) -> bool {
        let child = (kind, id.to_bytes());
        match self {
            Self::One(held) => *held == child,
            Self::Few(few) => {
                meter::visited(few.len());
                *few = few.iter().filter(|held| **held != child).copied().collect();
                few.is_empty()
            }
            Self::Many(kinds) => {
                if let Some((_, ids)) = kinds.iter_mut().find(|(found, _)| *found == kind) {
                    ids.remove(id.0);
                }
                kinds.retain(|(_, ids)| !ids.is_empty());
                kinds.is_empty()
            }
        }
    }
}
