//! Entities that have ended (Kong: `ttl`) are deleted by ordinary commits, so that their deletion travels as any other.
//! Data planes do not wait for that: they judge the time themselves. What remains here is an index of ends, kept up to
//! date from what each version touched.

use crate::changelog::{Changelog, Precondition, Transaction, View};
use model::kind::{ALL, KindDef};
use model::{Change, Id, Kind};
use std::collections::BTreeSet;
use std::time::Duration;

/// How often it is looked for entities that have ended.
pub const EVERY: Duration = Duration::from_secs(5);

/// The most entities that one commit deletes for their age; further ones have their turn right after.
const DELETIONS_MAX: usize = 256;

/// The ends to come, as of one version.
#[derive(Debug, Default)]
pub struct Ends {
    epoch: u64,
    version: u64,
    known: bool,
    /// Ends of earlier states of an entity may be among them; they are told from the view when they are due.
    ends: BTreeSet<(i64, Kind, Id)>,
}

impl Ends {
    /// What is to be deleted at `now_s` (seconds since 1970): entities of this view that have ended, at most
    /// [`DELETIONS_MAX`]. Nothing, where there is none.
    pub fn due(&mut self, view: &View, now_s: i64) -> Option<Transaction> {
        self.follow(view);
        let mut transaction = Transaction::default();
        while let Some(&(end, kind, id)) = self.ends.first() {
            if end > now_s || transaction.changes.len() == DELETIONS_MAX {
                break;
            }
            self.ends.pop_first();
            if end_of(view, kind.def(), id) == Some(end) {
                let version = view.catalog.get(kind, id).map(|entry| entry.version);
                transaction.changes.push(Change::Delete { kind, id });
                transaction.preconditions.push(Precondition::Entity(kind, id, version));
            }
        }
        (!transaction.changes.is_empty()).then_some(transaction)
    }

    /// Forgets everything; the next look is at all entities again.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    fn follow(&mut self, view: &View) {
        if self.known && (self.epoch, self.version) == (view.epoch, view.version) {
            return;
        }
        let since = if self.known && self.epoch == view.epoch { view.since(self.version).ok() } else { None };
        match since {
            Some(touched) => {
                let live = touched.filter(|touched| !touched.deleted && touched.kind.def().schema.is_mortal());
                self.ends.extend(live.filter_map(|touched| keyed(view, touched.kind.def(), touched.id)));
            }
            None => {
                let mortal = ALL.iter().filter(|def| def.schema.is_mortal());
                let all = mortal.flat_map(|def| view.catalog.iter(def.kind, None).map(move |(id, _)| (*def, id)));
                self.ends = all.filter_map(|(def, id)| keyed(view, def, id)).collect();
            }
        }
        (self.known, self.epoch, self.version) = (true, view.epoch, view.version);
    }
}

fn keyed(view: &View, def: &KindDef, id: Id) -> Option<(i64, Kind, Id)> {
    Some((end_of(view, def, id)?, def.kind, id))
}

fn end_of(view: &View, def: &KindDef, id: Id) -> Option<i64> {
    let body = view.catalog.get(def.kind, id)?.body.as_deref()?;
    def.schema.ends_at(&(def.to_json)(body).ok()?)
}

/// Deletes what has ended at `now_s`. What cannot be deleted now is tried again the next time.
pub async fn sweep(ends: &mut Ends, changelog: &dyn Changelog, now_s: i64) {
    while let Some(transaction) = ends.due(&changelog.view(), now_s) {
        let count = transaction.changes.len();
        match changelog.commit(transaction).await {
            Ok(committed) => {
                tracing::info!(version = committed.version, count, "credentials deleted: their ttl is over")
            }
            Err(error) => {
                tracing::debug!(%error, "what has ended is not deleted yet");
                return ends.forget();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changelog::{Local, TOMBSTONES_MAX, memory};
    use model::Record;
    use model::body::ForeignKey;
    use model::kinds::{consumers::Consumer, keyauth_credentials::KeyauthCredential};

    const CONSUMER: Id = Id(1);

    fn record(kind: Kind, id: Id, body: Vec<u8>) -> Change {
        Change::Put(Record { kind, id, version: 0, tag: 0, body: body.into() })
    }

    fn consumer() -> Change {
        let consumer = Consumer { id: CONSUMER, username: Some("ann".to_owned()), ..Consumer::default() };
        record(Kind::Consumer, CONSUMER, consumer.encode().unwrap())
    }

    fn credential(id: u128, expires_at: Option<i64>) -> Change {
        let credential = KeyauthCredential {
            id: Id(id),
            consumer: ForeignKey { id: CONSUMER },
            key: id.to_string(),
            expires_at,
            ..KeyauthCredential::default()
        };
        record(Kind::KeyauthCredential, Id(id), credential.encode().unwrap())
    }

    struct Lab {
        changelog: Local,
        ends: Ends,
        runtime: tokio::runtime::Runtime,
    }

    impl Lab {
        fn new(changes: Vec<Change>) -> Self {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let mut lab = Self { changelog: memory().open(TOMBSTONES_MAX), ends: Ends::default(), runtime };
            lab.commit(changes);
            lab
        }

        fn commit(&mut self, changes: Vec<Change>) {
            let transaction = Transaction { changes, preconditions: Vec::new() };
            self.runtime.block_on(self.changelog.commit(transaction)).unwrap();
        }

        /// The credentials that are left after a sweep.
        fn swept(&mut self, now_s: i64) -> Vec<u128> {
            self.runtime.block_on(sweep(&mut self.ends, &self.changelog, now_s));
            self.changelog.view().catalog.iter(Kind::KeyauthCredential, None).map(|(id, _)| id.0).collect()
        }
    }

    #[test]
    fn what_has_ended_is_deleted_by_a_commit_that_leaves_a_tombstone() {
        let mut lab =
            Lab::new(vec![consumer(), credential(2, Some(100)), credential(3, None), credential(4, Some(200))]);
        assert_eq!(lab.swept(99), [2, 3, 4]);
        let before = lab.changelog.view().version;
        assert_eq!(lab.swept(100), [3, 4]);
        let view = lab.changelog.view();
        let gone: Vec<_> = view.since(before).unwrap().map(|touched| (touched.id, touched.deleted)).collect();
        assert_eq!(gone, [(Id(2), true)]);
        assert_eq!(lab.swept(i64::MAX), [3]);
    }

    #[test]
    fn an_end_that_was_put_off_or_taken_back_does_not_count() {
        let mut lab = Lab::new(vec![consumer(), credential(2, Some(100)), credential(3, Some(100))]);
        assert_eq!(lab.swept(50), [2, 3]);
        lab.commit(vec![credential(2, Some(300)), credential(3, None)]);
        assert_eq!(lab.swept(299), [2, 3]);
        assert_eq!(lab.swept(300), [3]);
    }

    #[test]
    fn many_ends_at_once_go_in_several_commits() {
        let count = DELETIONS_MAX as u128 + 1;
        let keys = (0..count).map(|n| credential(n + 10, Some(100)));
        let mut lab = Lab::new(std::iter::once(consumer()).chain(keys).collect());
        let before = lab.changelog.view().version;
        assert!(lab.swept(100).is_empty());
        assert_eq!(lab.changelog.view().version, before + 2);
    }

    #[test]
    fn nothing_is_looked_at_again_while_nothing_changes() {
        let mut lab = Lab::new(vec![consumer(), credential(2, Some(100))]);
        assert_eq!(lab.swept(1), [2]);
        let ends = lab.ends.ends.clone();
        assert_eq!((lab.swept(2), lab.ends.ends.clone()), (vec![2], ends));
    }
}
