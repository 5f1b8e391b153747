//! What a delta says becomes changes of what is here. A patch needs the body that is there, and is only as good as its
//! result: where a body cannot be had, or leads to anything but what the control plane has, nothing is guessed, and the
//! entity is asked for whole ([`crate::dp::Session::base_missing`]).
//!
//! Whoever applies deltas looks bodies up in a way of its own, and maybe waits for them: this is what is the same for
//! all. [`crate::patch`] is the arithmetic.

use crate::delta::{NoChange, Op, UnknownKind};
use crate::patch::Patch;
use model::{Change, Id, Kind, Record};

/// Why the operations of a delta are no changes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unready {
    /// An entity of a kind that this build does not know.
    #[error(transparent)]
    Unknown(#[from] UnknownKind),
    /// These bodies are not here as the control plane takes them for; if empty, it is not even known whose.
    #[error("patches of what is not here")]
    Missing(Vec<(u8, Id)>),
}

/// Gathers the changes that operations are, in their order.
#[derive(Debug, Default)]
pub struct Resolver {
    changes: Vec<Change>,
    missing: Vec<(u8, Id)>,
    /// Whether a patch is of nobody knows what.
    unnamed: bool,
}

/// A patch whose entity is found: its body is needed next.
#[derive(Debug)]
#[must_use]
pub struct Based {
    patch: Patch,
    /// The entity's kind.
    pub kind: Kind,
    /// The entity.
    pub id: Id,
}

impl Resolver {
    /// Takes an operation. What comes of it is a patch, if it is one: then [`Resolver::patch`] goes on with the body of its
    /// entity. `only_within` finds the only entity of a kind from one id to another, if there is one and no more.
    ///
    /// # Errors
    /// It is about a kind that this build does not know.
    pub fn op(
        &mut self,
        op: Op,
        only_within: impl FnOnce(Kind, Id, Id) -> Option<Id>,
    ) -> Result<Option<Based>, UnknownKind> {
        match op.into_change() {
            Ok(change) => self.changes.push(change),
            Err(NoChange::UnknownKind(unknown)) => return Err(unknown),
            Err(NoChange::Patch(patch)) => {
                let (low, high) = patch.prefix.range();
                let found = Kind::from_code(patch.kind).and_then(|kind| Some((kind, only_within(kind, low, high)?)));
                match found {
                    Some((kind, id)) => return Ok(Some(Based { patch, kind, id })),
                    None => self.unnamed = true,
                }
            }
        }
        Ok(None)
    }

    /// Makes of a patch what the entity is to be, given what it is, if that is to be had.
    pub fn patch(&mut self, Based { patch, kind, id }: Based, base: Option<&Record>) {
        let patched = base.and_then(|base| patch.apply(id, &base.body).ok()?.into_record().ok());
        match patched {
            Some(record) => self.changes.push(Change::Put(record)),
            None => self.missing.push((kind.code(), id)),
        }
    }

    /// All changes.
    ///
    /// # Errors
    /// [`Unready::Missing`], where a patch was of what is not here.
    pub fn finish(self) -> Result<Vec<Change>, Unready> {
        match self {
            Self { unnamed: true, .. } => Err(Unready::Missing(Vec::new())),
            Self { missing, .. } if !missing.is_empty() => Err(Unready::Missing(missing)),
            Self { changes, .. } => Ok(changes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Entity;
    use crate::patch::{IdPrefix, make};

    const KIND: Kind = Kind::Consumer;

    fn record(id: u128, body: &[u8]) -> Record {
        let id = Id(id << 120);
        Record { kind: KIND, id, version: 1, tag: Record::tag_of(KIND, id, body), body: body.into() }
    }

    /// A patch of the first of these to the second.
    fn patch(old: &Record, new: &Record) -> Op {
        let hunks = make(&old.body, &new.body, 100).expect("a shorter one").into();
        let Record { id, version, tag, .. } = *new;
        Op::Patch(Patch { kind: KIND.code(), prefix: IdPrefix::of(id, 1), version, tag, hunks })
    }

    /// What these are for someone who has `here`.
    fn resolved(here: &[Record], ops: Vec<Op>) -> Result<Vec<Change>, Unready> {
        let mut resolver = Resolver::default();
        for op in ops {
            let only = |kind, low: Id, high: Id| {
                let mut within = here.iter().filter(|it| it.kind == kind && (low..=high).contains(&it.id));
                within.next().filter(|_| within.next().is_none()).map(|it| it.id)
            };
            if let Some(based) = resolver.op(op, only)? {
                let base = here.iter().find(|it| (it.kind, it.id) == (based.kind, based.id));
                resolver.patch(based, base);
            }
        }
        resolver.finish()
    }

    #[test]
    fn patches_and_whole_entities_are_changes_in_the_order_in_which_they_came() {
        let (old, new) = (record(1, b"a body before, of some length"), record(1, b"a body after, of some length"));
        let other = record(2, b"whole");
        let gone = Op::Delete { kind: KIND.code(), id: Id(3) };
        let ops = vec![Op::Put(Entity::from(&other)), patch(&old, &new), gone];
        let changes = [Change::Put(other), Change::Put(new), Change::Delete { kind: KIND, id: Id(3) }];
        assert_eq!(resolved(&[old], ops), Ok(changes.to_vec()));
    }

    #[test]
    fn a_patch_of_what_is_not_here_is_asked_for_by_name_or_in_whole() {
        let (old, new) = (record(1, b"a body before, of some length"), record(1, b"a body after, of some length"));
        let missing = |named: &[Id]| Err(Unready::Missing(named.iter().map(|id| (KIND.code(), *id)).collect()));
        let different = record(1, b"another body, and longer than that");
        assert_eq!(resolved(&[different], vec![patch(&old, &new)]), missing(&[old.id]));
        assert_eq!(resolved(&[], vec![patch(&old, &new)]), missing(&[]));
        // Two of the same beginning: nobody knows which is meant.
        let twin = Record { id: Id(old.id.0 + 1), ..old.clone() };
        assert_eq!(resolved(&[old.clone(), twin], vec![patch(&old, &new)]), missing(&[]));
        let unknown = UnknownKind { kind: 200, id: Id(5) };
        assert_eq!(resolved(&[], vec![Op::Delete { kind: 200, id: Id(5) }]), Err(Unready::Unknown(unknown)));
    }
}
