//! What is allocated: the judge of promises that a change costs what it touches and not what exists.
//!
//! A test program that counts has `ALLOCATOR` of its own as `#[global_allocator]`. The whole process is counted, threads of
//! the store included, so there is one test in such a program. The other judge of costs, [`crate::counted`], is about disks.

use crate::wait;
use model::Kind;
use serde_json::{Value, json};
use stats_alloc::{Region, StatsAlloc};
use std::alloc::System;
use std::time::{Duration, Instant};

/// The entities that costs are compared at.
pub const SIZES: [usize; 3] = [100, 3_000, 30_000];
/// Changes of each field; the median counts. Now and then a table grows.
pub const CHANGES: usize = 20;
/// For so long nothing is allocated once the store is done with what was loaded, part of which it does on a thread of its own.
const QUIET: Duration = Duration::from_millis(500);

/// What was allocated, freed again or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    /// How many bytes.
    pub bytes: usize,
    /// How often.
    pub count: usize,
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, count: self.count + other.count }
    }
}

/// The allocator of the program.
#[derive(Debug, Clone, Copy)]
pub struct Meter(pub &'static StatsAlloc<System>);

impl Meter {
    /// What the whole process allocates meanwhile.
    pub fn of<T>(self, work: impl FnOnce() -> T) -> (T, Cost) {
        let region = Region::new(self.0);
        let result = work();
        let stats = region.change();
        (result, Cost { bytes: stats.bytes_allocated, count: stats.allocations + stats.reallocations })
    }

    /// Waits until nothing happens any more but what is measured.
    pub fn quiet(self) {
        let mut seen = (self.0.stats(), Instant::now());
        wait::until("the store to be done", || {
            let now = self.0.stats();
            if now != seen.0 {
                seen = (now, Instant::now());
            }
            (seen.1.elapsed() > QUIET).then_some(())
        });
    }
}

/// One-field changes, each of a kind of its own: the field, and the values that it takes in turn.
#[must_use]
pub fn changes() -> [(Kind, &'static str, [Value; 2]); 5] {
    [
        (Kind::Route, "strip_path", [json!(false), json!(true)]),
        (Kind::Service, "read_timeout", [json!(12_345), json!(30_000)]),
        (Kind::Consumer, "custom_id", [json!("another"), json!("one more")]),
        (Kind::KeyauthCredential, "key", [json!("another"), json!("one more")]),
        (Kind::Target, "weight", [json!(7), json!(100)]),
    ]
}

/// The median cost of [`CHANGES`] changes of a field that takes one of two values in turn.
pub fn median(values: &[Value; 2], change: impl FnMut(&Value) -> Cost) -> Cost {
    let mut costs: Vec<Cost> = values.iter().cycle().take(CHANGES).map(change).collect();
    costs.sort_unstable();
    costs[CHANGES / 2]
}

/// Judges what [`changes`] cost at each of [`SIZES`]: each no more than so many bytes, and so many times what it costs at the
/// least of them.
///
/// # Panics
/// When one costs more, or nothing was counted.
pub fn judge(at_sizes: &[[Cost; 5]; 3], bytes_max: usize, growth_max: f64) {
    for (costs, entities) in at_sizes.iter().zip(SIZES) {
        for ((_, field, _), (cost, few)) in changes().iter().zip(costs.iter().zip(&at_sizes[0])) {
            println!("{entities:>6} entities, {field:<14} {:>7} bytes in {:>4} allocations", cost.bytes, cost.count);
            assert!(cost.bytes > 0, "something was counted");
            assert!(cost.bytes <= bytes_max, "a change of {field} allocates {} bytes", cost.bytes);
            for (what, few, many) in [("bytes", few.bytes, cost.bytes), ("allocations", few.count, cost.count)] {
                let growth = many as f64 / few as f64;
                assert!(
                    growth <= growth_max,
                    "{field}: {many} {what} at {entities} entities, {few} at 100: {growth:.2} times"
                );
            }
        }
    }
}
