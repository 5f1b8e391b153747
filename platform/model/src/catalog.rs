//! A whole configuration with its indexes: what exists, what must be unique, who refers to whom, and the digest.
//!
//! Immutable and cheap to clone. [`Catalog::apply`] makes the next one from a list of changes, or says everything that
//! forbids it; it looks at what the changes touch and nothing else. Generic over kinds: all it knows of an entity are
//! its [`Facts`]. The control plane keeps bodies in it; a data plane, which has them on disk, does not.

use crate::body::BodyError;
use crate::few::Few;
use crate::kind::{Facts, KINDS, Ref, Unique};
use crate::trie::{self, Trie};
use crate::{Change, Head, Id, Kind, Record};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

mod children;
mod loader;

use children::Children;
pub use loader::Loader;

/// The most conflicts that one refused list of changes reports.
pub const CONFLICTS_MAX: usize = 100;

/// A consistent set of entities. Cloning costs a few reference counts. `B` is what it keeps of bodies: a `Catalog` keeps
/// them, a `Catalog<()>` does not and is smaller for it.
#[derive(Clone, Debug)]
pub struct Catalog<B = Option<Arc<[u8]>>> {
    entries: [Trie<Arc<Entry<B>>>; KINDS],
    /// Who has a unique value, by [`Unique::key`]. One for each kind: the way to a value is as long as that kind is large.
    uniques: [Trie<Id>; KINDS],
    children: [Trie<Children>; KINDS],
    digest: u64,
}

/// What a catalog keeps of a body: the whole, or nothing.
pub trait Body: Clone {
    /// What is kept of this one.
    fn of(body: &Arc<[u8]>) -> Self;
}

impl Body for Option<Arc<[u8]>> {
    fn of(body: &Arc<[u8]>) -> Self {
        Some(body.clone())
    }
}

impl Body for () {
    fn of(_: &Arc<[u8]>) -> Self {}
}

/// What a catalog holds of one entity: one allocation for nearly all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<B = Option<Arc<[u8]>>> {
    /// The commit that last changed it.
    pub version: u64,
    /// Its canonical content hash.
    pub tag: u64,
    /// Its body, where the catalog keeps bodies.
    pub body: B,
    refs: Few<Link>,
    uniques: Few<Halves>,
}

/// A number of 128 bits, the more significant half first: as an `u128`, what it is part of would align to sixteen bytes.
type Halves = [u64; 2];

/// A foreign key as kept: without the field's name, which only a new entity's errors need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link {
    id: [u8; 16],
    kind: Kind,
    cascade: bool,
}

/// An entity about to be added: its entry, and what the entry leaves out and errors need.
struct Draft<B> {
    entry: Entry<B>,
    refs: Vec<Ref>,
    uniques: Vec<Unique>,
}

/// A fact that forbids a list of changes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// The body cannot be read.
    #[error("{} {id}: {error}", kind.def().name)]
    Body {
        /// The entity's kind.
        kind: Kind,
        /// The entity.
        id: Id,
        /// What is wrong with it.
        error: BodyError,
    },
    /// Another entity already has a value that must be unique.
    #[error("{} {id}: {field} '{value}' is already that of {holder}", kind.def().name)]
    Duplicate {
        /// The entity's kind.
        kind: Kind,
        /// The entity.
        id: Id,
        /// The unique field, or fields joined by `,`.
        field: &'static str,
        /// The value, or values joined by `:`.
        value: String,
        /// Who has it.
        holder: Id,
    },
    /// A foreign key points to nothing.
    #[error("{} {id}: {field} refers to {} {target_id}, which does not exist", kind.def().name, target.def().name)]
    Dangling {
        /// The entity's kind.
        kind: Kind,
        /// The entity.
        id: Id,
        /// The field with the foreign key.
        field: &'static str,
        /// What it should point to.
        target: Kind,
        /// The missing entity.
        target_id: Id,
    },
    /// An entity to be deleted is still referred to.
    #[error("{} {id} cannot go: {} {by_id} refers to it", kind.def().name, by.def().name)]
    StillReferenced {
        /// The entity's kind.
        kind: Kind,
        /// The entity.
        id: Id,
        /// The kind that refers to it.
        by: Kind,
        /// One entity that refers to it.
        by_id: Id,
    },
}

impl Catalog {
    /// An empty catalog that keeps bodies.
    #[must_use]
    pub fn keeping_bodies() -> Self {
        Self::empty()
    }

    /// The entity as a record, if it exists.
    #[must_use]
    pub fn record(&self, kind: Kind, id: Id) -> Option<Record> {
        let entry = self.get(kind, id)?;
        Some(Record { kind, id, version: entry.version, tag: entry.tag, body: entry.body.clone()? })
    }
}

impl Catalog<()> {
    /// An empty catalog that drops bodies once it has their facts.
    #[must_use]
    pub fn without_bodies() -> Self {
        Self::empty()
    }
}

impl<B: Body> Catalog<B> {
    fn empty() -> Self {
        Self {
            entries: std::array::from_fn(|_| Trie::new()),
            uniques: std::array::from_fn(|_| Trie::new()),
            children: std::array::from_fn(|_| Trie::new()),
            digest: 0,
        }
    }

    /// The entity, if it exists.
    #[must_use]
    pub fn get(&self, kind: Kind, id: Id) -> Option<&Entry<B>> {
        self.entries[kind.index()].get(id.0).map(|entry| &**entry)
    }

    /// Whether the entity exists.
    #[must_use]
    pub fn contains(&self, kind: Kind, id: Id) -> bool {
        self.entries[kind.index()].contains(id.0)
    }

    /// The entity with this value of a unique field (for a compound key: fields joined by `,`, values by `:`).
    #[must_use]
    pub fn find(&self, kind: Kind, field: &str, value: &str) -> Option<Id> {
        self.uniques[kind.index()].get(Unique::key(kind, field, value)).copied()
    }

    /// The entities that refer to this one, by kind and id.
    pub fn children(&self, parent: Kind, id: Id) -> impl Iterator<Item = (Kind, Id)> + '_ {
        let (few, many) = self.children[parent.index()].get(id.0).map(Children::parts).unwrap_or_default();
        let few = few.iter().map(|(kind, id)| (*kind, Id::from_bytes(*id)));
        few.chain(many.iter().flat_map(|(kind, ids)| ids.iter().map(|(id, ())| (*kind, Id(id)))))
    }

    /// The entities of one kind that refer to this one, ascending, strictly after `after`.
    pub fn children_of_kind(
        &self,
        parent: Kind,
        id: Id,
        kind: Kind,
        after: Option<Id>,
    ) -> impl Iterator<Item = Id> + '_ {
        let (few, many) = self.children[parent.index()].get(id.0).map(Children::parts).unwrap_or_default();
        let few = few.iter().filter(move |(found, _)| *found == kind).map(|(_, id)| Id::from_bytes(*id));
        let many = many.iter().find(|(found, _)| *found == kind);
        let many =
            many.into_iter().flat_map(move |(_, ids)| ids.iter_after(after.map(|id| id.0)).map(|(id, ())| Id(id)));
        few.filter(move |id| after.is_none_or(|after| *id > after)).chain(many)
    }

    /// The deletion of an entity and of everything that goes with it, children first.
    ///
    /// # Errors
    /// When something that would have to go, or the entity itself, is referred to by what does not go with it.
    pub fn cascade(&self, kind: Kind, id: Id) -> Result<Vec<Change>, Conflict> {
        let mut order = vec![(kind, id)];
        let mut seen = HashSet::from([(kind, id)]);
        let mut next = 0;
        while let Some(&(kind, id)) = order.get(next) {
            next += 1;
            for child in self.children(kind, id) {
                if self.goes_with(child, kind, id) {
                    if seen.insert(child) {
                        order.push(child);
                    }
                } else {
                    return Err(Conflict::StillReferenced { kind, id, by: child.0, by_id: child.1 });
                }
            }
        }
        Ok(order.into_iter().rev().map(|(kind, id)| Change::Delete { kind, id }).collect())
    }

    fn goes_with(&self, child: (Kind, Id), parent: Kind, parent_id: Id) -> bool {
        let links = self.get(child.0, child.1).map_or([].as_slice(), |entry| &entry.refs);
        links.iter().any(|link| link.cascade && link.kind == parent && Id::from_bytes(link.id) == parent_id)
    }

    /// All entities of a kind in ascending order of ids, strictly after `after`.
    pub fn iter(&self, kind: Kind, after: Option<Id>) -> EntryIter<'_, B> {
        EntryIter { inner: self.entries[kind.index()].iter_after(after.map(|id| id.0)) }
    }

    /// The only entity of a kind whose id is from `low` to `high`, both included; none if there are none or several.
    #[must_use]
    pub fn only_within(&self, kind: Kind, low: Id, high: Id) -> Option<Id> {
        let mut found = self.iter(kind, low.0.checked_sub(1).map(Id)).map(|(id, _)| id).take_while(|id| *id <= high);
        found.next().filter(|_| found.next().is_none())
    }

    /// How many entities of a kind there are.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        self.entries[kind.index()].len()
    }

    /// How many entities there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.iter().map(Trie::len).sum()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of the entities here are not in `other`, whatever they look like there.
    #[must_use]
    pub fn missing_in(&self, other: &Self) -> usize {
        let missing = |kind: Kind| self.iter(kind, None).filter(|(id, _)| !other.contains(kind, *id)).count();
        crate::kind::ALL.iter().map(|def| missing(def.kind)).sum()
    }

    /// The sum of all tags: equal content has equal digests, whatever the order it came in.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The catalog after these changes, all or none of them. Where one entity occurs twice the later change counts.
    ///
    /// # Errors
    /// Everything, up to [`CONFLICTS_MAX`], that forbids the result: each unique value and each reference of what
    /// changed is judged against the result, so that the order of changes does not matter.
    pub fn apply(&self, changes: &[Change]) -> Result<Self, Vec<Conflict>> {
        let mut next = self.clone();
        let mut conflicts = Vec::new();
        let changes = last_of_each(changes);
        let mut puts = Vec::new();
        for change in &changes {
            match change {
                Change::Delete { kind, id } => next.remove(*kind, *id),
                Change::Put(record) => match Self::draft(record) {
                    Ok(draft) => puts.push((record, draft)),
                    Err(error) => conflicts.push(Conflict::Body { kind: record.kind, id: record.id, error }),
                },
            }
        }
        // What anybody gives up is free before anybody takes it.
        for (record, draft) in &puts {
            next.give_up(record.kind, record.id, &draft.entry);
        }
        let mut new_refs = Vec::new();
        for (record, draft) in puts {
            let (refs, duplicates) = next.add((record.kind, record.id), draft);
            new_refs.extend(refs.into_iter().map(|link| (record.kind, record.id, link)));
            conflicts.extend(duplicates);
        }
        conflicts.extend(new_refs.iter().filter_map(|(kind, id, link)| next.dangling(*kind, *id, link)));
        for change in &changes {
            if let Change::Delete { kind, id } = change
                && let Some((by, by_id)) = next.children(*kind, *id).next()
            {
                conflicts.push(Conflict::StillReferenced { kind: *kind, id: *id, by, by_id });
            }
        }
        if conflicts.is_empty() {
            return Ok(next);
        }
        conflicts.truncate(CONFLICTS_MAX);
        Err(conflicts)
    }

    /// Starts to fill an empty catalog of the same sort from records in any order: references are judged at the end.
    #[must_use]
    pub fn loader(&self) -> Loader<B> {
        Loader::new(Self::empty())
    }

    fn dangling(&self, kind: Kind, id: Id, link: &Ref) -> Option<Conflict> {
        let exists = self.contains(link.kind, link.id);
        (!exists).then_some(Conflict::Dangling { kind, id, field: link.field, target: link.kind, target_id: link.id })
    }

    fn remove(&mut self, kind: Kind, id: Id) {
        let Some(entry) = self.entries[kind.index()].remove(id.0) else { return };
        self.digest = self.digest.wrapping_sub(entry.tag);
        self.release(kind, id, &*entry.uniques, &*entry.refs);
    }

    /// Releases what an entity had and will not have as `next`.
    fn give_up(&mut self, kind: Kind, id: Id, next: &Entry<B>) {
        let Some(entry) = self.entries[kind.index()].get(id.0).map(Arc::clone) else { return };
        self.release(
            kind,
            id,
            entry.uniques.iter().filter(|key| !next.uniques.contains(key)),
            entry.refs.iter().filter(|link| !link.is_in(&next.refs)),
        );
    }

    fn release<'a>(
        &mut self,
        kind: Kind,
        id: Id,
        uniques: impl IntoIterator<Item = &'a Halves>,
        refs: impl IntoIterator<Item = &'a Link>,
    ) {
        let index = &mut self.uniques[kind.index()];
        for key in uniques.into_iter().map(|key| trie::join(*key)) {
            if index.get(key) == Some(&id) {
                index.remove(key);
            }
        }
        for link in refs {
            self.unlink(link, kind, id);
        }
    }

    fn draft(record: &Record) -> Result<Draft<B>, BodyError> {
        let facts = (record.kind.def().facts)(&record.body)?;
        Ok(Draft::new(&record.head(), facts, B::of(&record.body)))
    }

    /// Adds an entity, or replaces one that has given up what it will not have any more; indexes are touched only where
    /// they change.
    fn add(&mut self, (kind, id): (Kind, Id), draft: Draft<B>) -> (Vec<Ref>, Vec<Conflict>) {
        let Draft { entry, refs, uniques } = draft;
        let (mut duplicates, index) = (Vec::new(), &mut self.uniques[kind.index()]);
        for (key, Unique { field, value }) in entry.uniques.iter().zip(uniques) {
            let key = trie::join(*key);
            match index.get(key) {
                None => {
                    index.insert(key, id);
                }
                Some(&holder) if holder == id => {}
                Some(&holder) => duplicates.push(Conflict::Duplicate { kind, id, field, value, holder }),
            }
        }
        let old = self.entries[kind.index()].get(id.0).map(Arc::clone);
        let had = old.as_ref().map_or([].as_slice(), |old| &old.refs);
        for link in entry.refs.iter().filter(|link| !link.is_in(had)) {
            self.link(link, kind, id);
        }
        self.digest = self.digest.wrapping_add(entry.tag).wrapping_sub(old.map_or(0, |old| old.tag));
        self.entries[kind.index()].insert(id.0, Arc::new(entry));
        (refs, duplicates)
    }

    fn link(&mut self, link: &Link, kind: Kind, id: Id) {
        let index = &mut self.children[link.kind.index()];
        let parent = u128::from_be_bytes(link.id);
        if let Some(children) = index.insert_new(parent, Children::One((kind, id.to_bytes()))) {
            children.add(kind, id);
        }
    }

    fn unlink(&mut self, link: &Link, kind: Kind, id: Id) {
        let index = &mut self.children[link.kind.index()];
        let parent = u128::from_be_bytes(link.id);
        if index.get_mut(parent).is_some_and(|children| children.drop_and_is_empty(kind, id)) {
            index.remove(parent);
        }
    }
}

impl<B> Draft<B> {
    fn new(head: &Head, facts: Facts, body: B) -> Self {
        let Facts { refs, uniques } = facts;
        let key = |unique: &Unique| trie::split(Unique::key(head.kind, unique.field, &unique.value));
        let entry = Entry {
            version: head.version,
            tag: head.tag,
            body,
            refs: refs.iter().map(Link::from).collect(),
            uniques: uniques.iter().map(key).collect(),
        };
        Self { entry, refs, uniques }
    }
}

/// Entities of one kind in ascending order of ids.
#[derive(Debug, Clone)]
pub struct EntryIter<'a, B = Option<Arc<[u8]>>> {
    inner: trie::Iter<'a, Arc<Entry<B>>>,
}

impl<'a, B> Iterator for EntryIter<'a, B> {
    type Item = (Id, &'a Entry<B>);

    fn next(&mut self) -> Option<Self::Item> {
        self.inner.next().map(|(id, entry)| (Id(id), &**entry))
    }
}

impl Link {
    /// Whether one of `links` leads to the same entity.
    fn is_in(&self, links: &[Self]) -> bool {
        links.iter().any(|link| (link.kind, link.id) == (self.kind, self.id))
    }
}

impl From<&Ref> for Link {
    fn from(link: &Ref) -> Self {
        Self { id: link.id.to_bytes(), kind: link.kind, cascade: link.cascade }
    }
}

/// The changes without those that a later one about the same entity overrides, in their order.
fn last_of_each(changes: &[Change]) -> Vec<&Change> {
    let last: HashMap<(Kind, Id), usize> =
        changes.iter().enumerate().map(|(index, change)| (change.key(), index)).collect();
    let is_last = |(index, change): &(usize, &Change)| last.get(&change.key()) == Some(index);
    changes.iter().enumerate().filter(is_last).map(|(_, change)| change).collect()
}
