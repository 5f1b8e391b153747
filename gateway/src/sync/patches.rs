//! What a delta says becomes changes of what is served. Bodies are not in memory: those that patches are of come from the
//! store, or from what waits for it. `link` brings deltas here before `apply` sees them; `wire::resolve` judges.

use super::apply::Applier;
use model::Change;
use wire::delta::Op;
use wire::resolve::{Resolver, Unready};

/// The changes that these operations are.
///
/// # Errors
/// Where a body that a patch is of is not here, or a kind is not known.
pub async fn changes(applier: &Applier, ops: Vec<Op>) -> Result<Vec<Change>, Unready> {
    let now = applier.snapshot();
    let mut resolver = Resolver::default();
    for op in ops {
        if let Some(based) = resolver.op(op, |kind, low, high| now.catalog().only_within(kind, low, high))? {
            let base = applier.record(based.kind, based.id).await;
            resolver.patch(based, base.as_ref());
        }
    }
    resolver.finish()
}
