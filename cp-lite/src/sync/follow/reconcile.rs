//! A reconcile on a follower: what is here as symbols, bodies of it as parity, and what stays and what comes as a whole
//! content.
//!
//! Symbols and content are a walk over the catalog, on the thread of the link to the writer, which keeps no node waiting. Only what
//! differs travels; what it is put together to replaces the store's content as a full sync does, for the versions of what
//! stays may have to change (see [`Whole::keep`]).

use crate::changelog::{FollowError, View, Whole};
use model::{Id, Kind, Record};
use std::collections::HashSet;
use wire::Entity;
use wire::message::{Parity, ParityGet};
use wire::patch::{BaseDiffers, IdPrefix};
use wire::reconcile::{Encoder, Mend, Symbol, digest};

/// The symbols of what is here, from `from` to before `until`.
pub(super) fn symbols(view: &View, seed: u64, from: u64, until: u64) -> Vec<Symbol> {
    let mut encoder = Encoder::new(seed, from, until);
    for kind in model::kind::ALL.iter().map(|def| def.kind) {
        for (id, entry) in view.catalog.iter(kind, None) {
            encoder.add(kind.code(), id, entry.tag);
        }
    }
    encoder.finish()
}

/// The sums that are asked for of bodies that are here.
pub(super) fn parity(view: &View, get: &ParityGet) -> Parity {
    let told = |(kind, prefix): &(u8, IdPrefix)| get.of(&base(view, *kind, prefix)?.body);
    get.answer(get.names.iter().map(told).collect())
}

/// The entity that is meant.
fn base(view: &View, kind: u8, prefix: &IdPrefix) -> Option<Record> {
    let (kind, (low, high)) = (Kind::from_code(kind)?, prefix.range());
    view.catalog.record(kind, view.catalog.only_within(kind, low, high)?)
}

/// What patches make of what is here.
///
/// # Errors
/// One of them is not of what is here.
pub(super) fn mended(view: &View, mends: &[Mend]) -> Result<Vec<Entity>, BaseDiffers> {
    let mended = |mend: &Mend| {
        let base = base(view, mend.kind, &mend.prefix).ok_or(BaseDiffers)?;
        mend.apply(base.id, &base.body)
    };
    mends.iter().map(mended).collect()
}

/// Puts into `whole` what is here, but for those whose hash under `seed` is in `gone`, and these records.
///
/// # Errors
/// A record cannot be read, or has a unique value of another one.
pub(super) fn gather(
    view: &View,
    whole: &mut Whole,
    seed: u64,
    gone: Vec<u64>,
    puts: &[Record],
) -> Result<(), FollowError> {
    let gone: HashSet<u64> = gone.into_iter().collect();
    let anew: HashSet<(Kind, Id)> = puts.iter().map(|record| (record.kind, record.id)).collect();
    for record in view.records() {
        let is_gone = gone.contains(&digest(seed, record.kind.code(), record.id, record.tag));
        if !is_gone && !anew.contains(&(record.kind, record.id)) {
            whole.keep(record, view.epoch)?;
        }
    }
    puts.iter().try_for_each(|record| whole.put(record))
}
