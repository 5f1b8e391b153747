//! The ledger that CI prints: what the programs weigh on disk and in memory, and the bounds that hold today.
//!
//! Bytes of both stripped programs; resident memory of the data plane idle, with 30,000 entities after the full sync,
//! and after a restart from its store; of the control plane with the same, and for each connected node. Exits 1 above a
//! bound.

use std::process::ExitCode;
use tests::crowd::Crowd;
use tests::generate::{Config, Shape};
use tests::lab::{Lab, program};
use tests::origin::Origin;
use tests::pair::{follower, head, load};
use tests::relay::Relay;
use wire::limits::HEARTBEAT_S;
use wire::message::Have;

/// The design's bounds, in KiB of resident memory: the data plane with nothing, and with everything, also after a restart;
/// its peak while all of it came; the control plane with everything (the design allows it 96 MiB), and for each node. The
/// first one holds as long as `gateway/start.ld` names what a start runs: where it does not any more, `tests/order/record.py`
/// writes it anew.
const IDLE_KIB_MAX: u64 = 6 * 1024;
/// How much of a program the kernel maps depends on how its file lies in the page cache, too: the same bytes, copied anew, had
/// between 5.3 and 6.0 MiB. So the program and this many copies are started, and the smallest counts: what the kernel maps beyond that was not
/// asked for, and can be taken back at any time. The largest is shown.
const COPIES: usize = 5;
const LOADED_KIB_MAX: u64 = 32 * 1024;
const FULL_SYNC_KIB_MAX: u64 = 48 * 1024;
const CONTROL_PLANE_KIB_MAX: u64 = 64 * 1024;
const NODE_KIB_MAX: u64 = 64;
/// Nodes at once, to see what one takes.
const NODES: usize = 300;
/// The configuration that everything is measured with.
const ENTITIES: usize = 30_000;

/// A data plane with nothing: the program itself, or a copy that was just written.
fn idle_kib(lab: &Lab, copy: usize) -> u64 {
    let programs = lab.path().join(format!("programs-{copy}"));
    std::fs::create_dir(&programs).expect("the lab is writable");
    std::fs::copy(program("edge-gateway"), programs.join("edge-gateway")).expect("the lab is writable");
    let setup = lab.dp(&format!("idle-{copy}")).with_text("cluster_control_plane", "127.0.0.1:1");
    let mut idle = setup.of((copy > 0).then_some(programs.as_path())).start();
    // An answer shows that all of it is up.
    assert_eq!(idle.get("/", &[]).status, 404);
    idle.memory_kib("VmRSS")
}

fn main() -> ExitCode {
    let mut rows = Vec::new();
    for name in ["edge-gateway", "cp-lite"] {
        let bytes = std::fs::metadata(program(name)).map_or(0, |meta| meta.len());
        rows.push((format!("{name}, stripped"), bytes / 1024, None));
    }
    let lab = Lab::new();
    let mut idle: Vec<u64> = (0..=COPIES).map(|copy| idle_kib(&lab, copy)).collect();
    idle.sort_unstable();
    rows.push(("data plane idle, RSS".to_owned(), idle[0], Some(IDLE_KIB_MAX)));
    rows.push(("  the largest of some copies of the program".to_owned(), idle[COPIES], None));

    let origin = Origin::start("origin");
    let config = Config { shape: Shape::of(ENTITIES), seed: 1, origin: origin.address() };
    let mut cp = lab.cp("cp").start();
    load(&lab, &mut cp, &config.declarative());
    let link = Relay::to(cp.address("cluster"));
    let mut dp = follower(&lab, "dp", &link).start();
    let version = head(&mut cp);
    dp.serves_version(version);
    rows.push((format!("data plane, {ENTITIES} entities, RSS"), dp.memory_kib("VmRSS"), Some(LOADED_KIB_MAX)));
    rows.push(("  its peak during the full sync".to_owned(), dp.memory_kib("VmHWM"), Some(FULL_SYNC_KIB_MAX)));
    let kib = cp.memory_kib("VmRSS");
    rows.push((format!("control plane, {ENTITIES} entities, RSS"), kib, Some(CONTROL_PLANE_KIB_MAX)));
    rows.push(("  its peak, from the import to the full sync".to_owned(), cp.memory_kib("VmHWM"), None));
    rows.push(("  and for each connected node".to_owned(), per_node(&lab), Some(NODE_KIB_MAX)));
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

/// What a connected node costs a control plane. One without entities, for one with many has freed memory to give to nodes.
fn per_node(lab: &Lab) -> u64 {
    let mut cp = lab.cp("fleet").start();
    let address = cp.address("cluster");
    let crowd = |nodes: usize| {
        let crowd = Crowd::start(nodes, Have::default(), HEARTBEAT_S, address, lab.path());
        tests::wait::until("all nodes to be welcome", || (crowd.connected() == nodes).then_some(()));
        crowd
    };
    // The first few bring what all share.
    let few = crowd(NODES / 30);
    let before = cp.memory_kib("VmRSS");
    let many = crowd(NODES);
    let after = cp.memory_kib("VmRSS");
    drop((few, many));
    after.saturating_sub(before) / NODES as u64
}
