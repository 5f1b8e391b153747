//! Every decoder of foreign bytes takes damaged input by the thousand without a panic and without breaking a promise of
//! the targets; and where a bug is planted in one, it is found so. This is the short run that needs no nightly toolchain;
//! `run` beside it is the long one, `run seeded` this one for long.
//!
//! `EDGE_FUZZ_ROUNDS` sets how many inputs each decoder gets, or `EDGE_FUZZ_SECONDS` for how long; `EDGE_FUZZ_SEED` where
//! they start, and `TARGETS` which decoders, by name. `EDGE_FUZZ_PLANTED_ROUNDS` is how many inputs a planted bug may take.

use fuzz::{ALL, Rng, Target, mutate, set_planted};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

const ROUNDS: u64 = 5_000;
/// The planted bug that takes longest took 19,000 when this was written.
const PLANTED_ROUNDS: u64 = 100_000;
/// Targets whose planted bug only a fuzzer finds that sees what its inputs reach: `run planted` looks for those.
const WANT_COVERAGE: &[&str] = &["control_plane", "bundle", "reconcile"];

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn targets() -> impl Iterator<Item = &'static Target> {
    let named = std::env::var("TARGETS").unwrap_or_default();
    ALL.iter().filter(move |target| named.is_empty() || named.split_whitespace().any(|name| name == target.name))
}

/// When to stop.
#[derive(Clone, Copy)]
enum Until {
    Rounds(u64),
    Time(Instant),
}

impl Until {
    /// What `EDGE_FUZZ_SECONDS` says, or so many inputs.
    fn given(rounds: u64) -> Self {
        let end = |seconds| Instant::now() + Duration::from_secs(seconds);
        number("EDGE_FUZZ_SECONDS").map_or(Self::Rounds(rounds), |seconds| Self::Time(end(seconds)))
    }

    fn is_reached(self, rounds: u64) -> bool {
        match self {
            Self::Rounds(most) => rounds >= most,
            Self::Time(end) => Instant::now() >= end,
        }
    }
}

/// A run of one target.
struct Ran {
    /// Inputs, beside the seeds.
    rounds: u64,
    /// The first that broke a promise, and which.
    broke: Option<(Vec<u8>, String)>,
}

fn run(target: &Target, until: Until, seed: u64) -> Ran {
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{} has no seeds", target.name);
    let breaks = |input: &[u8]| {
        let panic = catch_unwind(AssertUnwindSafe(|| (target.run)(input))).err()?;
        let text = panic.downcast_ref::<String>().cloned();
        Some(text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
    };
    if let Some((input, why)) = seeds.iter().find_map(|input| Some((input.clone(), breaks(input)?))) {
        return Ran { rounds: 0, broke: Some((input, why)) };
    }
    let (mut rng, mut rounds) = (Rng::new(seed), 0);
    while !until.is_reached(rounds) {
        rounds += 1;
        let input = mutate(&seeds, &mut rng);
        if let Some(why) = breaks(&input) {
            return Ran { rounds, broke: Some((input, why)) };
        }
    }
    Ran { rounds, broke: None }
}

#[test]
fn no_decoder_panics_on_damaged_input() {
    let (rounds, seed) = (number("EDGE_FUZZ_ROUNDS").unwrap_or(ROUNDS), number("EDGE_FUZZ_SEED").unwrap_or(1));
    for target in targets() {
        let ran = run(target, Until::given(rounds), seed);
        if let Some((input, why)) = ran.broke {
            let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
            panic!("{} breaks on {hex} (seed {seed}): {why}", target.name);
        }
        println!("{}: {} inputs from seed {seed}", target.name, ran.rounds);
    }
}

#[test]
fn a_bug_planted_in_a_decoder_is_found() {
    set_planted(true);
    let rounds = number("EDGE_FUZZ_PLANTED_ROUNDS").unwrap_or(PLANTED_ROUNDS);
    let mut missed = Vec::new();
    for target in targets() {
        if WANT_COVERAGE.contains(&target.name) {
            println!("{}: left to libFuzzer", target.name);
            continue;
        }
        let ran = run(target, Until::given(rounds), number("EDGE_FUZZ_SEED").unwrap_or(1));
        match ran.broke {
            Some((_, why)) => {
                assert!(why.contains(&format!("the bug planted in {}", target.name)), "{}: {why}", target.name);
                assert!(ran.rounds > 0, "{}: its seeds come to the bug, so that nothing is to be found", target.name);
                println!("{}: found after {} inputs", target.name, ran.rounds);
            }
            None => missed.push(target.name),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
