//! A fleet: control planes of which one writes and others follow, and up to 50 data planes with lists of them, over links
//! that delay, throttle, cut, and swallow without a word; with crashes of either side at any step, promotions, old
//! writers that come back, restores from backups, and clocks that jump. Thousands of histories, each from a seed that a
//! failure prints. `simulation` has one control plane and looks closer at it; this one looks at what several do.
//!
//! What must hold at every step: what is served, on a node and on a follower, is exactly what a writer had committed at
//! that version of that epoch; versions never go back within an epoch, and nobody enters one that was replaced, nor
//! one that it has left; what was acknowledged is there after a crash; no honest peer blames another. What must hold in the
//! end, once nothing fails any more and the operator has settled who writes: everybody has what the writer has.

mod fleet;
mod lab;

use fleet::Flaw;
use fleet::world::{Counts, World};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How many histories CI runs.
const HISTORIES: u64 = 2_000;

/// Runs the history of a seed.
fn run(seed: u64, flaw: Flaw) -> Counts {
    let mut world = World::new(seed, flaw);
    for _ in 0..300 + 300 * world.clients.len() {
        world.step();
    }
    world.settle();
    if world.clients.len() - world.planes.len() > 15 {
        world.counts.add("large fleets");
    }
    world.counts
}

/// Prints the seed when the thread panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("fleet simulation failed; replay it with SEED={}", self.0);
        }
    }
}

#[test]
fn histories_that_once_failed_go_well() {
    // A node had no room for the full sync of a database in which nobody committed anything any more, and was never sent it again.
    run(613_270, Flaw::Sound);
}

#[test]
fn whatever_happens_to_a_fleet_nobody_serves_a_mixture_and_all_end_up_with_what_the_writer_has() {
    let seeds = lab::seeds(HISTORIES);
    let histories = seeds.end - seeds.start;
    let mut total = Counts::default();
    for seed in seeds {
        let _seed = Seed(seed);
        for (what, count) in run(seed, Flaw::Sound).0 {
            *total.0.entry(what).or_default() += count;
        }
    }
    println!("{histories} histories: {:?}", total.0);
    let rare = [
        "large fleets",
        "restores",
        "databases wiped",
        "strangers turned away",
        "strangers that the writer was asked about",
        "promotions",
        "demotions",
        "moves",
        "reconciles",
        "reconciles with patches",
        "blobs resumed",
        "steps that overtook",
    ];
    for what in rare {
        let count = total.0.get(what).copied().unwrap_or_default();
        assert!(histories < 500 || count * 50 > histories, "{what}: too little happened");
    }
}

#[test]
fn a_planted_flaw_is_found_within_the_histories_of_ci() {
    let of_nodes = [Flaw::AcksBeforeDurable, Flaw::ForgetsTerm];
    let of_control_planes =
        [Flaw::BuriesTooLow, Flaw::KeepsForeignVersions, Flaw::ShowsBeforeDurable, Flaw::RestoresWithoutTerm];
    let of_followers = [Flaw::TrustsSilence];
    for flaw in of_nodes.into_iter().chain(of_control_planes).chain(of_followers) {
        let fails = |seed: u64, flaw| catch_unwind(AssertUnwindSafe(|| run(seed, flaw))).is_err();
        let found = (0..HISTORIES).find(|seed| fails(*seed, flaw) && !fails(*seed, Flaw::Sound));
        println!("{flaw:?}: seed {found:?}");
        assert!(found.is_some(), "{flaw:?} was not found");
    }
}
