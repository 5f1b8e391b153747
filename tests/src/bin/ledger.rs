//! The ledger that CI prints: what the programs weigh on disk and in memory, and the bounds that hold today.
//!
//! Bytes of both stripped programs; resident memory of the data plane idle, with 30,000 entities after the full sync,
//! and after a restart from its store; of the control plane with the same. Exits 1 above a bound.

use std::process::ExitCode;
use tests::generate::{Config, Shape};
use tests::lab::{Lab, program};
use tests::origin::Origin;
use tests::pair::{follower, head, load};
use tests::relay::Relay;

/// Bounds of today, in KiB of resident memory of the data plane. Those of the design come with later work.
const IDLE_KIB_MAX: u64 = 8 * 1024;
const LOADED_KIB_MAX: u64 = 48 * 1024;
/// The configuration that everything is measured with.
const ENTITIES: usize = 30_000;

fn main() -> ExitCode {
    let mut rows = Vec::new();
    for name in ["edge-gateway", "cp-lite"] {
        let bytes = std::fs::metadata(program(name)).map_or(0, |meta| meta.len());
        rows.push((format!("{name}, stripped"), bytes / 1024, None));
    }
    let lab = Lab::new();
    let mut idle = lab.dp("idle").with_text("cluster_control_plane", "127.0.0.1:1").start();
    // An answer shows that all of it is up.
    assert_eq!(idle.get("/", &[]).status, 404);
    rows.push(("data plane idle, RSS".to_owned(), idle.memory_kib("VmRSS"), Some(IDLE_KIB_MAX)));
    drop(idle);

    let origin = Origin::start("origin");
    let config = Config { shape: Shape::of(ENTITIES), seed: 1, origin: origin.address() };
    let mut cp = lab.cp("cp").start();
    load(&lab, &mut cp, &config.declarative());
    let link = Relay::to(cp.address("cluster"));
    let mut dp = follower(&lab, "dp", &link).start();
    let version = head(&mut cp);
    dp.serves_version(version);
    rows.push((format!("data plane, {ENTITIES} entities, RSS"), dp.memory_kib("VmRSS"), Some(LOADED_KIB_MAX)));
    rows.push(("  its peak during the full sync".to_owned(), dp.memory_kib("VmHWM"), None));
    rows.push((format!("control plane, {ENTITIES} entities, RSS"), cp.memory_kib("VmRSS"), None));
    let (up, down) = link.bytes();
    rows.push(("full sync on the wire, both ways".to_owned(), (up + down) / 1024, None));
    let mut dp = dp.kill().start();
    dp.is_ready();
    rows.push(("data plane restarted from its store, RSS".to_owned(), dp.memory_kib("VmRSS"), Some(LOADED_KIB_MAX)));
    rows.push(("  its peak while loading".to_owned(), dp.memory_kib("VmHWM"), None));

    let mut within = true;
    println!("{:<46} {:>9} {:>9}", "ledger", "KiB", "bound");
    for (what, kib, bound) in rows {
        let over = bound.is_some_and(|bound| kib > bound);
        within &= !over;
        let bound = bound.map_or_else(String::new, |bound| bound.to_string());
        println!("{what:<46} {kib:>9} {bound:>9}{}", if over { "  OVER" } else { "" });
    }
    if within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
