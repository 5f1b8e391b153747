//! A catalog against a plain list of entities: whatever the changes, it takes them exactly when their result is right,
//! and has then the indexes and the digest that belong to it.

use model::body::ForeignKey;
use model::kinds::keyauth_credentials::KeyauthCredential;
use model::kinds::{consumers::Consumer, routes::Route, services::Service};
use model::{Catalog, Change, Id, Kind, Record};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const KINDS: [Kind; 4] = [Kind::Service, Kind::Route, Kind::Consumer, Kind::KeyauthCredential];

/// As much of an entity as the catalog looks at: a unique name, and who it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Plain {
    name: String,
    parent: Id,
}

type Plains = BTreeMap<(Kind, Id), Plain>;

fn parent_of(kind: Kind) -> Option<Kind> {
    match kind {
        Kind::Route => Some(Kind::Service),
        Kind::KeyauthCredential => Some(Kind::Consumer),
        _ => None,
    }
}

fn unique_field(kind: Kind) -> &'static str {
    match kind {
        Kind::Consumer => "username",
        Kind::KeyauthCredential => "key",
        _ => "name",
    }
}

fn record(kind: Kind, id: Id, plain: &Plain, version: u64) -> Record {
    let (name, parent) = (plain.name.clone(), ForeignKey { id: plain.parent });
    let body = match kind {
        Kind::Service => Service { id, name: Some(name), ..Service::default() }.encode(),
        Kind::Route => Route { id, name: Some(name), service: Some(parent), ..Route::default() }.encode(),
        Kind::Consumer => Consumer { id, username: Some(name), ..Consumer::default() }.encode(),
        _ => KeyauthCredential { id, key: name, consumer: parent, ..KeyauthCredential::default() }.encode(),
    };
    let body = body.expect("it is small");
    Record { kind, id, version, tag: Record::tag_of(kind, id, &body), body: body.into() }
}

/// Whether names are unique within a kind and parents exist.
fn is_right(plains: &Plains) -> bool {
    let names: BTreeSet<_> = plains.iter().map(|((kind, _), plain)| (kind, &plain.name)).collect();
    let resolves = |((kind, _), plain): (&(Kind, Id), &Plain)| {
        parent_of(*kind).is_none_or(|parent| plains.contains_key(&(parent, plain.parent)))
    };
    names.len() == plains.len() && plains.iter().all(resolves)
}

fn check(catalog: &Catalog, plains: &Plains) {
    assert_eq!(catalog.len(), plains.len());
    let mut digest = 0u64;
    for ((kind, id), plain) in plains {
        let entry = catalog.get(*kind, *id).unwrap();
        let expected = record(*kind, *id, plain, entry.version);
        assert_eq!(catalog.record(*kind, *id), Some(expected));
        assert_eq!(catalog.find(*kind, unique_field(*kind), &plain.name), Some(*id));
        let children =
            plains.iter().filter(|((child, _), plain)| parent_of(*child) == Some(*kind) && plain.parent == *id);
        assert!(catalog.children(*kind, *id).eq(children.map(|(key, _)| *key)));
        digest = digest.wrapping_add(entry.tag);
    }
    assert_eq!(catalog.digest(), digest);
    for kind in KINDS {
        for name in 0..6 {
            let name = name.to_string();
            let holder = plains.iter().find(|((held, _), plain)| *held == kind && plain.name == name);
            assert_eq!(catalog.find(kind, unique_field(kind), &name), holder.map(|((_, id), _)| *id));
        }
    }
}

/// Few ids and few names, so that they meet; `None` deletes.
fn change() -> impl Strategy<Value = ((Kind, Id), Option<Plain>)> {
    let plain = (0u32..6, 0u128..5).prop_map(|(name, parent)| Plain { name: name.to_string(), parent: Id(parent) });
    let key = (proptest::sample::select(&KINDS[..]), 0u128..5).prop_map(|(kind, id)| (kind, Id(id)));
    (key, proptest::option::weighted(0.8, plain))
}

proptest! {
    #[test]
    fn takes_changes_exactly_when_their_result_is_right(
        batches in proptest::collection::vec(proptest::collection::vec(change(), 1..6), 1..40)
    ) {
        let (mut catalog, mut plains) = (Catalog::keeping_bodies(), Plains::new());
        for (version, batch) in (1..).zip(batches) {
            let mut next_plains = plains.clone();
            let mut changes = Vec::new();
            for ((kind, id), plain) in batch {
                changes.push(match &plain {
                    Some(plain) => Change::Put(record(kind, id, plain, version)),
                    None => Change::Delete { kind, id },
                });
                match plain {
                    Some(plain) => next_plains.insert((kind, id), plain),
                    None => next_plains.remove(&(kind, id)),
                };
            }
            match catalog.apply(&changes) {
                Ok(next) => {
                    prop_assert!(is_right(&next_plains), "{changes:?} on {plains:?}");
                    check(&next, &next_plains);
                    check(&catalog, &plains);
                    (catalog, plains) = (next, next_plains);
                }
                Err(conflicts) => prop_assert!(!is_right(&next_plains), "{conflicts:?}: {changes:?} on {plains:?}"),
            }
        }
    }
}
