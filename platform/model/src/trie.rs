//! The persistent map that both programs hold entities in: keys of 128 bits (ids, or hashes of names), any value.
//!
//! A bitmapped trie of 32-way nodes over the key's own bits, most significant first. Cloning is one reference count;
//! a change copies the nodes on its path and shares the rest, so its cost depends on the depth (three nodes at 30,000
//! random keys), never on how many entries exist. Iteration is in ascending order of keys, which for ids is the order
//! of Admin API lists. Where a node is not shared, a change is made in place: loading does not copy.

use crate::meter;
use std::cmp::Ordering;
use std::sync::Arc;

/// Bits of the key that one level looks at; the last level looks at the three that remain.
const BITS: u32 = 5;
/// Levels of a full path: 25 of five bits and one of three.
const LEVELS: u32 = 26;

/// A persistent ordered map from `u128` to `V`.
#[derive(Clone, Debug)]
pub struct Trie<V> {
    root: Arc<Node<V>>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Node<V> {
    /// Bit `i` is set when group value `i` has a slot; slots are in ascending order of group values.
    bitmap: u32,
    slots: Box<[Slot<V>]>,
}

#[derive(Debug)]
enum Slot<V> {
    /// The only entry below this point. The key is in two halves so that a slot aligns to eight bytes.
    Leaf([u64; 2], V),
    Branch(Arc<Node<V>>),
}

impl<V: Clone> Clone for Slot<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Leaf(key, value) => {
                meter::visited(1);
                Self::Leaf(*key, value.clone())
            }
            Self::Branch(node) => Self::Branch(Arc::clone(node)),
        }
    }
}

impl<V> Default for Trie<V> {
    fn default() -> Self {
        Self { root: Arc::new(Node::default()), len: 0 }
    }
}

impl<V: Clone> Trie<V> {
    /// An empty map.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value under `key`.
    #[must_use]
    pub fn get(&self, key: u128) -> Option<&V> {
        let mut node = &*self.root;
        for level in 0..LEVELS {
            match node.slot(group(key, level))? {
                Slot::Leaf(found, value) => {
                    meter::visited(1);
                    return (join(*found) == key).then_some(value);
                }
                Slot::Branch(child) => node = child,
            }
        }
        None
    }

    /// Whether there is a value under `key`.
    #[must_use]
    pub fn contains(&self, key: u128) -> bool {
        self.get(key).is_some()
    }

    /// Puts `value` under `key` and returns what was there before.
    pub fn insert(&mut self, key: u128, value: V) -> Option<V> {
        match insert(&mut self.root, 0, key, value) {
            None => {
                self.len += 1;
                None
            }
            Some((held, value)) => {
                meter::visited(1);
                Some(std::mem::replace(held, value))
            }
        }
    }

    /// Puts `value` under `key` if there is none yet; else returns the one that is there, for a change in place.
    pub fn insert_new(&mut self, key: u128, value: V) -> Option<&mut V> {
        let held = insert(&mut self.root, 0, key, value).map(|(held, _)| held);
        self.len += usize::from(held.is_none());
        held
    }

    /// The value under `key` for a change in place; what other clones see is copied first.
    pub fn get_mut(&mut self, key: u128) -> Option<&mut V> {
        if !self.contains(key) {
            return None;
        }
        let mut node = Arc::make_mut(&mut self.root);
        for level in 0..LEVELS {
            let index = node.index(group(key, level));
            match node.slots.get_mut(index)? {
                Slot::Leaf(_, value) => return Some(value),
                Slot::Branch(child) => node = Arc::make_mut(child),
            }
        }
        None
    }

    /// Removes and returns the value under `key`. A key that is not there changes and copies nothing.
    pub fn remove(&mut self, key: u128) -> Option<V> {
        if !self.contains(key) {
            return None;
        }
        let removed = remove(&mut self.root, 0, key);
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// All entries in ascending order of keys.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, V> {
        Iter { stack: vec![self.root.slots.iter()] }
    }

    /// The entries whose keys are greater than `after`, in ascending order; all of them for `None`.
    #[must_use]
    pub fn iter_after(&self, after: Option<u128>) -> Iter<'_, V> {
        let Some(after) = after else { return self.iter() };
        let mut stack = Vec::new();
        let mut node = &*self.root;
        for level in 0..LEVELS {
            let value = group(after, level);
            let mut rest = node.slots[node.index(value)..].iter();
            if node.bitmap & (1 << value) == 0 {
                stack.push(rest);
                break;
            }
            match rest.as_slice().first() {
                Some(Slot::Leaf(key, _)) => {
                    if join(*key) <= after {
                        rest.next();
                    }
                    stack.push(rest);
                    break;
                }
                Some(Slot::Branch(child)) => {
                    rest.next();
                    stack.push(rest);
                    node = child;
                }
                None => break,
            }
        }
        Iter { stack }
    }
}

impl<V> Default for Node<V> {
    fn default() -> Self {
        Self { bitmap: 0, slots: Box::default() }
    }
}

impl<V> Node<V> {
    fn index(&self, value: u32) -> usize {
        (self.bitmap & ((1 << value) - 1)).count_ones() as usize
    }

    fn slot(&self, value: u32) -> Option<&Slot<V>> {
        if self.bitmap & (1 << value) == 0 { None } else { self.slots.get(self.index(value)) }
    }

    fn add(&mut self, value: u32, slot: Slot<V>) {
        let index = self.index(value);
        let mut slots = std::mem::take(&mut self.slots).into_vec();
        slots.reserve_exact(1);
        slots.insert(index, slot);
        self.slots = slots.into();
        self.bitmap |= 1 << value;
    }

    fn take(&mut self, value: u32) -> Slot<V> {
        let index = self.index(value);
        self.bitmap &= !(1 << value);
        let mut slots = std::mem::take(&mut self.slots).into_vec();
        let taken = slots.remove(index);
        self.slots = slots.into();
        taken
    }
}

/// Ascending entries of a [`Trie`].
#[derive(Debug, Clone)]
pub struct Iter<'a, V> {
    stack: Vec<std::slice::Iter<'a, Slot<V>>>,
}

impl<'a, V> Iterator for Iter<'a, V> {
    type Item = (u128, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.stack.last_mut()?.next() {
                Some(Slot::Leaf(key, value)) => {
                    meter::visited(1);
                    return Some((join(*key), value));
                }
                Some(Slot::Branch(child)) => self.stack.push(child.slots.iter()),
                None => {
                    self.stack.pop();
                }
            }
        }
    }
}

impl<V: Clone> FromIterator<(u128, V)> for Trie<V> {
    fn from_iter<I: IntoIterator<Item = (u128, V)>>(entries: I) -> Self {
        let mut trie = Self::new();
        for (key, value) in entries {
            trie.insert(key, value);
        }
        trie
    }
}

fn group(key: u128, level: u32) -> u32 {
    let low = 128u32.saturating_sub(BITS * (level + 1));
    let width = if level + 1 == LEVELS { 128 - BITS * (LEVELS - 1) } else { BITS };
    ((key >> low) as u32) & ((1 << width) - 1)
}

/// The two halves of a key, the more significant first: they align to eight bytes, the key to sixteen.
pub(crate) fn split(key: u128) -> [u64; 2] {
    [(key >> 64) as u64, key as u64]
}

/// The key of two halves.
pub(crate) fn join(halves: [u64; 2]) -> u128 {
    (u128::from(halves[0]) << 64) | u128::from(halves[1])
}

/// Adds a leaf, or returns the value that is under its key already together with the one that was not put there.
fn insert<V: Clone>(node: &mut Arc<Node<V>>, level: u32, key: u128, value: V) -> Option<(&mut V, V)> {
    let node = Arc::make_mut(node);
    let at = group(key, level);
    if node.bitmap & (1 << at) == 0 {
        node.add(at, Slot::Leaf(split(key), value));
        return None;
    }
    let index = node.index(at);
    let slot = &mut node.slots[index];
    if let Slot::Leaf(found, _) = slot
        && join(*found) != key
    {
        let displaced = (join(*found), std::mem::replace(slot, Slot::Branch(Arc::default())));
        if let Slot::Branch(below) = slot {
            *Arc::make_mut(below) = pair(level + 1, displaced, (key, Slot::Leaf(split(key), value)));
        }
        return None;
    }
    match slot {
        Slot::Branch(child) => insert(child, level + 1, key, value),
        Slot::Leaf(_, held) => Some((held, value)),
    }
}

/// The smallest subtree that holds two leaves, given with their keys, which differ.
fn pair<V>(level: u32, one: (u128, Slot<V>), other: (u128, Slot<V>)) -> Node<V> {
    let [at, or] = [one.0, other.0].map(|key| group(key, level));
    let slots: Box<[Slot<V>]> = match at.cmp(&or) {
        Ordering::Less => Box::new([one.1, other.1]),
        Ordering::Greater => Box::new([other.1, one.1]),
        Ordering::Equal => Box::new([Slot::Branch(Arc::new(pair(level + 1, one, other)))]),
    };
    Node { bitmap: 1 << at | 1 << or, slots }
}

fn remove<V: Clone>(node: &mut Arc<Node<V>>, level: u32, key: u128) -> Option<V> {
    let node = Arc::make_mut(node);
    let at = group(key, level);
    let index = node.index(at);
    match node.slots.get_mut(index)? {
        Slot::Leaf(..) => match node.take(at) {
            Slot::Leaf(_, value) => Some(value),
            Slot::Branch(_) => None,
        },
        Slot::Branch(child) => {
            let removed = remove(child, level + 1, key);
            // A branch that holds one leaf is that leaf: paths stay as short as the keys allow.
            if child.slots.len() == 1
                && let Slot::Leaf(..) = &child.slots[0]
            {
                let leaf = child.slots[0].clone();
                node.slots[index] = leaf;
            }
            removed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Keys that share long prefixes as well as keys that share none.
    fn keys() -> impl Strategy<Value = u128> {
        prop_oneof![any::<u128>(), (0u128..64), (0u128..64).prop_map(|low| (7 << 100) | low)]
    }

    proptest! {
        #[test]
        fn behaves_as_an_ordered_map(ops in proptest::collection::vec((keys(), any::<Option<(u8, bool)>>()), 0..200), probe in keys()) {
            let mut model = BTreeMap::new();
            let mut trie = Trie::new();
            for (key, value) in ops {
                match value {
                    Some((value, true)) => prop_assert_eq!(trie.insert(key, value), model.insert(key, value)),
                    Some((value, false)) => {
                        prop_assert_eq!(trie.insert_new(key, value).copied(), model.get(&key).copied());
                        model.entry(key).or_insert(value);
                    }
                    None => prop_assert_eq!(trie.remove(key), model.remove(&key)),
                }
            }
            prop_assert_eq!(trie.len(), model.len());
            prop_assert_eq!(trie.get(probe), model.get(&probe));
            prop_assert!(trie.iter().eq(model.iter().map(|(key, value)| (*key, value))));
            let after = model.range((std::ops::Bound::Excluded(probe), std::ops::Bound::Unbounded));
            prop_assert!(trie.iter_after(Some(probe)).eq(after.map(|(key, value)| (*key, value))));
        }

        #[test]
        fn a_clone_never_sees_a_later_change(first in proptest::collection::vec(keys(), 1..50), second in proptest::collection::vec((keys(), any::<bool>()), 1..50)) {
            let mut trie: Trie<u8> = first.iter().map(|key| (*key, 1)).collect();
            let before = trie.clone();
            let expected: Vec<_> = before.iter().map(|(key, value)| (key, *value)).collect();
            for (key, put) in second {
                if put { trie.insert(key, 2); } else { trie.remove(key); }
                if let Some(value) = trie.get_mut(key) { *value = 3; }
            }
            prop_assert!(before.iter().map(|(key, value)| (key, *value)).eq(expected));
        }
    }
}
