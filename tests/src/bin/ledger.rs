//! The ledger that CI prints: what the programs weigh on disk and in memory, and the bounds that hold today.
//!
//! Bytes of both stripped programs; resident memory of the data plane idle, with 30,000 entities after the full sync,
//! after a restart from its store, and what a change adds to that for a while; of the control plane with the same, and for
//! each connected node. Exits 1 above a bound.

use serde_json::json;
use std::process::ExitCode;
use tests::crowd::Crowd;
use tests::generate::{Config, Shape};
use tests::lab::{Daemon, Lab, program};
use tests::origin::Origin;
use tests::pair::{acknowledged_by, follower, head, load};
use tests::relay::Relay;
use tests::wait;
use wire::limits::HEARTBEAT_S;
use wire::message::Have;

/// The design's bounds, in KiB of resident memory: the data plane with nothing, and with everything, also after a restart;
/// its peak while all of it came; how far changes raise it above what it rests at; the control plane with everything (the
/// design allows it 96 MiB), and for each node. The first one holds as long as `gateway/start.ld` names what a start runs:
/// where it does not any more, `tests/order/record.py` writes it anew.
const IDLE_KIB_MAX: u64 = 6 * 1024;
/// How much of a program the kernel maps is not the program's doing alone. It maps 64 KiB around a page that is touched,
/// aligned by addresses, which are random; and of a file that lies in the page cache in large folios, because it was written
/// or read ahead in large pieces, all of a folio (Linux 6.18). Starts of the same bytes differ by half a MiB. So the program
/// and this many copies of it are started, and the median counts; the least and the most are shown.
const COPIES: usize = 5;
const LOADED_KIB_MAX: u64 = 32 * 1024;
const FULL_SYNC_KIB_MAX: u64 = 48 * 1024;
const DELTA_KIB_MAX: u64 = 4 * 1024;
/// One-field changes, while it is looked how far they raise the data plane: so many that checkpoints are among them.
const CHANGES: usize = 1_000;
const CONTROL_PLANE_KIB_MAX: u64 = 64 * 1024;
const NODE_KIB_MAX: u64 = 64;
/// Nodes at once, to see what one takes.
const NODES: usize = 300;
/// The configuration that everything is measured with.
const ENTITIES: usize = 30_000;

/// What a start takes, in KiB: in all, and of memory that is no file's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Idle {
    resident: u64,
    anonymous: u64,
}

/// A data plane with nothing: the program itself, or a copy that was just written.
fn idle_kib(lab: &Lab, copy: usize) -> Idle {
    let programs = lab.path().join(format!("programs-{copy}"));
    std::fs::create_dir(&programs).expect("the lab is writable");
    std::fs::copy(program("edge-gateway"), programs.join("edge-gateway")).expect("the lab is writable");
    let setup = lab.dp(&format!("idle-{copy}")).with_text("cluster_control_plane", "127.0.0.1:1");
    let mut idle = setup.of((copy > 0).then_some(programs.as_path())).start();
    // An answer shows that all of it is up.
    assert_eq!(idle.get("/", &[]).status, 404);
    Idle { resident: idle.memory_kib("VmRSS"), anonymous: idle.memory_kib("RssAnon") }
}

fn main() -> ExitCode {
    let mut rows = Vec::new();
    for name in ["edge-gateway", "cp-lite"] {
        let bytes = std::fs::metadata(program(name)).map_or(0, |meta| meta.len());
        rows.push((format!("{name}, stripped"), bytes / 1024, None));
    }
    let lab = Lab::new();
    let mut idle: Vec<Idle> = (0..=COPIES).map(|copy| idle_kib(&lab, copy)).collect();
    idle.sort_unstable();
    let (least, median, most) = (idle[0], idle[idle.len() / 2], idle[idle.len() - 1]);
    let what = format!("data plane idle, RSS, median of {} starts", idle.len());
    rows.push((what, median.resident, Some(IDLE_KIB_MAX)));
    rows.push(("  of that anonymous, the rest mapped from files".to_owned(), median.anonymous, None));
    rows.push(("  the least of these starts".to_owned(), least.resident, None));
    rows.push(("  the most".to_owned(), most.resident, None));

    let origin = Origin::start("origin");
    let config = Config { shape: Shape::of(ENTITIES), seed: 1, origin: origin.address() };
    let mut cp = lab.cp("cp").start();
    load(&lab, &mut cp, &config.declarative());
    let link = Relay::to(cp.address("cluster"));
    let mut dp = follower(&lab, "dp", &link).start();
    let version = head(&mut cp);
    // Served is not all: until it is durable as well, both are at work.
    dp.serves_version(version);
    acknowledged_by(&mut cp, &dp, version);
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
    let rise = rise_kib(&mut cp, &mut dp, &config);
    rows.push((format!("  what {CHANGES} changes add to that, at most"), rise, Some(DELTA_KIB_MAX)));

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

/// How far one-field changes raise what is resident above what was before, each served before the next is made.
fn rise_kib(cp: &mut Daemon, dp: &mut Daemon, config: &Config) -> u64 {
    let route = format!("/routes/{}", config.id("routes", 0));
    let version = head(cp);
    wait::until("the data plane to be back", || (dp.sync_status()["connected"] == true).then_some(()));
    dp.serves_version(version);
    dp.forget_peak();
    let resting = dp.memory_kib("VmRSS");
    for change in 0..CHANGES {
        cp.admin_ok("PATCH", &route, &json!({ "strip_path": change % 2 == 1 }));
        dp.serves_version(version + 1 + change as u64);
    }
    dp.memory_kib("VmHWM").saturating_sub(resting)
}

/// What a connected node costs a control plane. One without entities, for one with many has freed memory to give to nodes.
fn per_node(lab: &Lab) -> u64 {
    let mut cp = lab.cp("fleet").start();
    let address = cp.address("cluster");
    let crowd = |nodes: usize| {
        let crowd = Crowd::start(nodes, Have::default(), HEARTBEAT_S, address, lab.path());
        wait::until("all nodes to be welcome", || (crowd.connected() == nodes).then_some(()));
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
