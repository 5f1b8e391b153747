//! Fuzz targets: what every decoder of foreign bytes promises, as functions of arbitrary bytes.
//!
//! A target never panics, whatever it is fed, unless a promise is broken: what was decoded must encode to what decodes
//! to the same. [`seeds`](Target::seeds) are valid bytes to start from. The targets run twice: under libFuzzer with
//! coverage as a guide (`libfuzzer/`, nightly only, by `run`), and with a seeded mutator on any toolchain
//! (`tests/decoders_survive_any_bytes.rs`).
//!
//! With the feature `planted`, or after [`set_planted`], each target has one bug, deep enough that only valid-looking input
//! comes to it; a fuzzer that does not find it would not find a real one there.

mod backups;
mod bundle;
mod content;
mod metas;
mod mutate;
mod parities;
mod patches;
mod peers;
mod reconciles;
mod stores;
mod wire;

pub use mutate::{Rng, mutate};

use std::cell::Cell;

/// One decoder.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, also what `EDGE_FUZZ_TARGET` says to the libFuzzer program.
    pub name: &'static str,
    /// Feeds it bytes.
    pub run: fn(&[u8]),
    /// Valid inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub static ALL: &[Target] = &[
    Target { name: "data_plane", run: peers::data_plane, seeds: peers::data_plane_seeds },
    Target { name: "control_plane", run: peers::control_plane, seeds: peers::control_plane_seeds },
    Target { name: "frame", run: wire::frame, seeds: wire::frame_seeds },
    Target { name: "message", run: wire::message, seeds: wire::message_seeds },
    Target { name: "delta", run: wire::delta, seeds: wire::delta_seeds },
    Target { name: "blob", run: wire::blob, seeds: wire::blob_seeds },
    Target { name: "bundle", run: bundle::bundle, seeds: bundle::bundle_seeds },
    Target { name: "reconcile", run: reconciles::reconcile, seeds: reconciles::reconcile_seeds },
    Target { name: "parity", run: parities::parity, seeds: parities::parity_seeds },
    Target { name: "patch", run: patches::patch, seeds: patches::patch_seeds },
    Target { name: "store_frame", run: stores::frame, seeds: stores::frame_seeds },
    Target { name: "store_record", run: stores::record, seeds: stores::record_seeds },
    Target { name: "store_run", run: stores::run, seeds: stores::run_seeds },
    Target { name: "store_sealed", run: stores::sealed, seeds: stores::sealed_seeds },
    Target { name: "store_journal", run: stores::journals, seeds: stores::journals_seeds },
    Target { name: "store_peek", run: stores::peek, seeds: stores::peek_seeds },
    Target { name: "store_small", run: stores::small, seeds: stores::small_seeds },
    Target { name: "meta", run: metas::meta, seeds: metas::meta_seeds },
    Target { name: "backup", run: backups::backup, seeds: backups::backup_seeds },
    Target { name: "body", run: content::body, seeds: content::body_seeds },
    Target { name: "entity", run: content::entity, seeds: content::entity_seeds },
    Target { name: "declarative", run: content::declarative, seeds: content::declarative_seeds },
];

/// The target with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}

thread_local! {
    static PLANTED: Cell<bool> = const { Cell::new(cfg!(feature = "planted")) };
}

/// Whether targets that run on this thread have their planted bugs.
pub fn set_planted(planted: bool) {
    PLANTED.set(planted);
}

/// Where a target has its planted bug: a panic, if bugs are planted.
fn plant(reached: bool, target: &str) {
    assert!(!(reached && PLANTED.get()), "the bug planted in {target}");
}
