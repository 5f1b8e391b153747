//! A reconcile on the data plane: what is served as symbols, bodies of it as parity, and a step that names by hashes what is
//! to go, and as patches what is to differ, as changes.
//!
//! Symbols and steps are a walk over the catalog, in pieces: others on this thread have their turn in between. Bodies come
//! from the store as those of `patches` do. `wire::reconcile` is the arithmetic, `link` the conversation, `apply` puts the
//! result in place.

use super::apply::Applier;
use crate::snapshot::Snapshot;
use model::{Change, Id, Kind, Record};
use std::collections::HashSet;
use wire::message::{Parity, ParityGet};
use wire::patch::{BaseDiffers, IdPrefix};
use wire::reconcile::{Encoder, Mend, Step, Symbol, digest};
use wire::resolve::Unready;

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

/// The sums that are asked for of bodies that are served; none of those that are not to be had.
pub(super) async fn parity(applier: &Applier, get: &ParityGet) -> Parity {
    let mut bodies = Vec::with_capacity(get.names.len());
    for (kind, prefix) in &get.names {
        let record = base(applier, *kind, prefix).await;
        bodies.push(record.and_then(|record| get.of(&record.body)));
        // What it costs depends on the length of the body.
        tokio::task::yield_now().await;
    }
    get.answer(bodies)
}

/// The entity that is meant, with its body.
async fn base(applier: &Applier, kind: u8, prefix: &IdPrefix) -> Option<Record> {
    let (kind, (low, high)) = (Kind::from_code(kind)?, prefix.range());
    let id = applier.snapshot().catalog().only_within(kind, low, high)?;
    applier.record(kind, id).await
}

async fn mended(applier: &Applier, mend: &Mend) -> Result<Change, BaseDiffers> {
    let base = base(applier, mend.kind, &mend.prefix).await.ok_or(BaseDiffers)?;
    let record = mend.apply(base.id, &base.body)?.into_record().map_err(|_| BaseDiffers)?;
    Ok(Change::Put(record))
}

/// The step as changes of what is served.
///
/// # Errors
/// It brings an entity of a kind that this build does not know, or a patch of a body that is not here any more.
pub async fn changes(applier: &Applier, step: Step) -> Result<Changes, Unready> {
    let now = applier.snapshot();
    let Step { seed, gone, puts, mends, .. } = step;
    let gone: HashSet<u64> = gone.into_iter().collect();
    let mut changed = Vec::with_capacity(puts.len() + mends.len());
    for entity in puts {
        changed.push(Change::Put(entity.into_record()?));
    }
    for mend in &mends {
        changed.push(mended(applier, mend).await.map_err(|_| Unready::Missing(Vec::new()))?);
    }
    let kept: HashSet<(Kind, Id)> = changed.iter().map(Change::key).collect();
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
    changes.extend(changed);
    Ok(Changes { changes, gone })
}

async fn turn(at: usize) {
    if at % ENTITIES_PER_TURN == ENTITIES_PER_TURN - 1 {
        tokio::task::yield_now().await;
    }
}
