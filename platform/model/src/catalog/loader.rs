//! Fills an empty catalog. Nothing of it is shared yet, nearly always an entity is new, and references are judged when all
//! is there: cheaper than [`Catalog::apply`], with the same outcome.

use super::{Body, CONFLICTS_MAX, Catalog, Conflict, Draft};
use crate::kind::{ALL, Facts, KINDS, Unique};
use crate::{Head, Id, Kind, Record, trie};
use std::sync::Arc;

/// See [`Catalog::loader`].
#[derive(Debug)]
pub struct Loader<B = Option<Arc<[u8]>>> {
    catalog: Catalog<B>,
    /// The greatest id of each kind so far: what comes after it is new.
    last: [Option<Id>; KINDS],
    /// By the kind that refers and the kind that it refers to, the field: no kind has two for another.
    fields: Box<[[&'static str; KINDS]; KINDS]>,
}

impl<B: Body> Loader<B> {
    pub(super) fn new(empty: Catalog<B>) -> Self {
        Self { catalog: empty, last: [None; KINDS], fields: Box::default() }
    }

    /// Takes a record. A second record for the same entity replaces the first.
    ///
    /// # Errors
    /// A body that cannot be read, or a unique value that another record has.
    pub fn put(&mut self, record: &Record) -> Result<(), Conflict> {
        let draft = Catalog::draft(record);
        let draft = draft.map_err(|error| Conflict::Body { kind: record.kind, id: record.id, error })?;
        self.add((record.kind, record.id), draft)
    }

    fn add(&mut self, (kind, id): (Kind, Id), draft: Draft<B>) -> Result<(), Conflict> {
        let (Draft { entry, refs, uniques }, catalog) = (draft, &mut self.catalog);
        let last = &mut self.last[kind.index()];
        if last.is_none_or(|last| last < id) {
            *last = Some(id);
        } else {
            catalog.remove(kind, id);
        }
        let index = &mut catalog.uniques[kind.index()];
        for (key, Unique { field, value }) in entry.uniques.iter().zip(uniques) {
            if let Some(&mut holder) = index.insert_new(trie::join(*key), id)
                && holder != id
            {
                return Err(Conflict::Duplicate { kind, id, field, value, holder });
            }
        }
        entry.refs.iter().for_each(|link| catalog.link(link, kind, id));
        for link in refs {
            self.fields[kind.index()][link.kind.index()] = link.field;
        }
        catalog.digest = catalog.digest.wrapping_add(entry.tag);
        catalog.entries[kind.index()].insert(id.0, Arc::new(entry));
        Ok(())
    }

    /// What has been loaded so far.
    #[must_use]
    pub fn catalog(&self) -> &Catalog<B> {
        &self.catalog
    }

    /// The catalog, when every reference points to something.
    ///
    /// # Errors
    /// Up to [`CONFLICTS_MAX`] dangling references.
    pub fn finish(self) -> Result<Catalog<B>, Vec<Conflict>> {
        let conflicts: Vec<_> = ALL.iter().flat_map(|def| self.dangling(def.kind)).take(CONFLICTS_MAX).collect();
        if conflicts.is_empty() { Ok(self.catalog) } else { Err(conflicts) }
    }

    /// The references to entities of a kind that do not exist, by those entities' ids: both indexes are in their order, so
    /// that this is quicker than a look at each reference as it comes.
    fn dangling(&self, target: Kind) -> impl Iterator<Item = Conflict> + '_ {
        let referred = self.catalog.children[target.index()].iter().map(|(id, _)| Id(id));
        referred.filter(move |id| !self.catalog.contains(target, *id)).flat_map(move |target_id| {
            self.catalog.children(target, target_id).map(move |(kind, id)| {
                let field = self.fields[kind.index()][target.index()];
                Conflict::Dangling { kind, id, field, target, target_id }
            })
        })
    }
}

impl Loader<()> {
    /// As [`Loader::put`], where somebody has read the body already.
    ///
    /// # Errors
    /// A unique value that another record has.
    pub fn put_facts(&mut self, head: &Head, facts: Facts) -> Result<(), Conflict> {
        self.add((head.kind, head.id), Draft::new(head, facts, ()))
    }
}
