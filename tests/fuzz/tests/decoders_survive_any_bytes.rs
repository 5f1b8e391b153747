//! Every decoder of foreign bytes takes damaged input by the thousand without a panic and without breaking a promise of
//! the targets. This is the short run that needs no nightly toolchain; `run` beside it is the long one.
//!
//! `EDGE_FUZZ_ROUNDS` sets how many inputs each decoder gets, `EDGE_FUZZ_SEED` where they start.

use fuzz::{ALL, Rng, Target, mutate};
use std::panic::{AssertUnwindSafe, catch_unwind};

const ROUNDS: u64 = 5_000;

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// The first input that breaks a promise.
fn breaks(target: &Target, rounds: u64, seed: u64) -> Option<Vec<u8>> {
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{} has no seeds", target.name);
    let mut rng = Rng::new(seed);
    let mutated = (0..rounds).map(|_| mutate(&seeds, &mut rng));
    let inputs = seeds.iter().cloned().chain(mutated.collect::<Vec<_>>());
    inputs.into_iter().find(|input| catch_unwind(AssertUnwindSafe(|| (target.run)(input))).is_err())
}

#[test]
fn no_decoder_panics_on_damaged_input() {
    let (rounds, seed) = (number("EDGE_FUZZ_ROUNDS", ROUNDS), number("EDGE_FUZZ_SEED", 1));
    for target in ALL {
        if let Some(input) = breaks(target, rounds, seed) {
            let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            panic!("{} breaks on {hex} (seed {seed})", target.name);
        }
        println!("{}: {rounds} inputs from seed {seed}", target.name);
    }
}
