//! What a delta says as patches becomes changes: each needs the body that is there, and is only as good as its result.
//!
//! Bodies are not in memory: they come from the store, or from what waits for it. Where one cannot be had, or leads to
//! anything but what the control plane has, nothing is guessed; the entity is asked for whole. `link` brings deltas here
//! before `apply` sees them.

use super::apply::Applier;
use model::{Change, Id, Kind};
use wire::delta::{NoChange, Op, UnknownKind};
use wire::patch::{BaseDiffers, Patch};

/// Why the operations of a delta are no changes.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unready {
    /// An entity of a kind that this build does not know.
    #[error(transparent)]
    Unknown(#[from] UnknownKind),
    /// These bodies are not here as the control plane takes them for; if empty, it is not even known whose.
    #[error("patches of what is not here")]
    Missing(Vec<(u8, Id)>),
}

/// The changes that these operations are.
pub(super) async fn changes(applier: &Applier, ops: Vec<Op>) -> Result<Vec<Change>, Unready> {
    let mut changes = Vec::with_capacity(ops.len());
    let (mut missing, mut unnamed) = (Vec::new(), false);
    for op in ops {
        match op.into_change() {
            Ok(change) => changes.push(change),
            Err(NoChange::UnknownKind(unknown)) => return Err(unknown.into()),
            Err(NoChange::Patch(patch)) => match target(applier, &patch) {
                None => unnamed = true,
                Some((kind, id)) => match patched(applier, &patch, kind, id).await {
                    Ok(change) => changes.push(change),
                    Err(BaseDiffers) => missing.push((kind.code(), id)),
                },
            },
        }
    }
    match (missing.is_empty(), unnamed) {
        (true, false) => Ok(changes),
        (_, true) => Err(Unready::Missing(Vec::new())),
        (false, false) => Err(Unready::Missing(missing)),
    }
}

/// The entity that a patch is of.
fn target(applier: &Applier, patch: &Patch) -> Option<(Kind, Id)> {
    let kind = Kind::from_code(patch.kind)?;
    let (low, high) = patch.prefix.range();
    let id = applier.snapshot().catalog().only_within(kind, low, high)?;
    Some((kind, id))
}

async fn patched(applier: &Applier, patch: &Patch, kind: Kind, id: Id) -> Result<Change, BaseDiffers> {
    let base = applier.record(kind, id).await.ok_or(BaseDiffers)?;
    let record = patch.apply(id, &base.body)?.into_record().map_err(|_| BaseDiffers)?;
    Ok(Change::Put(record))
}
