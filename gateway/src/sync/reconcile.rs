//! A reconcile on the data plane: what is served as symbols, and a step that names by hashes what is to go as changes.
//!
//! Both are a walk over the catalog, in pieces: others on this thread have their turn in between. `wire::reconcile` is the
//! arithmetic, `link` the conversation, `apply` puts the result in place.

use crate::snapshot::Snapshot;
use model::{Change, Id, Kind};
use std::collections::HashSet;
use wire::delta::UnknownKind;
use wire::reconcile::{Encoder, Step, Symbol, digest};

/// How many entities are looked at before others on this thread have their turn.
const ENTITIES_PER_TURN: usize = 2048;

/// What a step changes in a content.
pub struct Changes {
    /// Deletions, then what is put.
    pub changes: Vec<Change>,
    /// How many entities go for good.
    pub gone: u64,
}

/// The symbols of what is served, from `from` to before `until`.
pub async fn symbols(now: &Snapshot, seed: u64, from: u64, until: u64) -> Vec<Symbol> {
    let mut encoder = Encoder::new(seed, from, until);
    for kind in model::kind::ALL.iter().map(|def| def.kind) {
        for (at, (id, entry)) in now.catalog().iter(kind, None).enumerate() {
            encoder.add(kind.code(), id, entry.tag);
            turn(at).await;
        }
    }
    encoder.finish()
}

/// The step as changes of what is served.
///
/// # Errors
/// It brings an entity of a kind that this build does not know.
pub async fn changes(now: &Snapshot, step: Step) -> Result<Changes, UnknownKind> {
    let Step { seed, gone, puts, .. } = step;
    let gone: HashSet<u64> = gone.into_iter().collect();
    let puts: Vec<Change> =
        puts.into_iter().map(|entity| entity.into_record().map(Change::Put)).collect::<Result<_, _>>()?;
    let kept: HashSet<(Kind, Id)> = puts.iter().map(Change::key).collect();
    let mut changes = Vec::new();
    for kind in model::kind::ALL.iter().map(|def| def.kind) {
        for (at, (id, entry)) in now.catalog().iter(kind, None).enumerate() {
            if gone.contains(&digest(seed, kind.code(), id, entry.tag)) && !kept.contains(&(kind, id)) {
                changes.push(Change::Delete { kind, id });
            }
            turn(at).await;
        }
    }
    let gone = changes.len() as u64;
    changes.extend(puts);
    Ok(Changes { changes, gone })
}

async fn turn(at: usize) {
    if at % ENTITIES_PER_TURN == ENTITIES_PER_TURN - 1 {
        tokio::task::yield_now().await;
    }
}
