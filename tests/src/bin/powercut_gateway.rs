//! What `tests/powercut/powercut.py` runs and checks for the real data plane.
//!
//! `powercut_gateway run MNT ACK`: a data plane with its state below MNT follows a control plane outside; a stream of
//! changes, and a line in ACK for each that the control plane holds for durable there.
//! `powercut_gateway check MNT ACKED`: a data plane on the recovered disk, without a control plane, must serve one
//! generation whole, and none before the last acknowledged one.

use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use tests::http;
use tests::lab::{Daemon, Lab, Setup};
use tests::pair::{apply, follower, put, row};
use tests::relay::Relay;
use tests::wait;

/// How many generations are written.
const GENERATIONS: u64 = 80;
/// How many routes show which generation is served.
const WITNESSES: u64 = 5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["run", mnt, ack] => run(Path::new(mnt), Path::new(ack)),
        ["check", mnt, acked] => check(Path::new(mnt), acked.parse().expect("a number")),
        _ => {
            eprintln!("usage: powercut_gateway run MNT ACK | check MNT ACKED");
            return ExitCode::from(64);
        }
    }
    ExitCode::SUCCESS
}

fn on_disk(setup: Setup, mnt: &Path) -> Setup {
    setup.with_text("prefix", mnt.join("gateway").display())
}

fn generation(n: u64) -> Vec<serde_json::Value> {
    let id = |index: u64| model::Id(0x4000_8000_0000_0000_0000 | u128::from(index) << 8);
    let witness = |index: u64| {
        let config = json!({ "status_code": 200, "message": n.to_string() });
        let route = json!({ "id": id(index * 2), "name": format!("w{index}"), "paths": [format!("/w{index}")] });
        let plugin = json!({ "id": id(index * 2 + 1), "name": "request-termination", "route": { "id": id(index * 2) }, "config": config });
        [put("routes", route), put("plugins", plugin)]
    };
    (0..WITNESSES).flat_map(witness).collect()
}

fn run(mnt: &Path, ack: &Path) {
    let lab = Lab::new();
    let mut acks: File = OpenOptions::new().append(true).create(true).open(ack).expect("the ack file");
    let mut cp = lab.cp("cp").start();
    let link = Relay::to(cp.address("cluster"));
    let mut dp = on_disk(follower(&lab, "dp", &link), mnt).start();
    for n in 1..=GENERATIONS {
        let version = apply(&mut cp, &generation(n));
        assert_eq!(version, n, "a version is a generation");
        wait::until("the durable ack", || (row(&mut cp)?["durable_version"].as_u64()? >= version).then_some(()));
        writeln!(acks, "{n}").expect("the ack file");
    }
    let _ = dp.stop();
}

fn check(mnt: &Path, acked: u64) {
    let lab = Lab::new();
    let mut dp = on_disk(lab.dp("dp").with_text("cluster_control_plane", "127.0.0.1:1"), mnt).start();
    let status = wait::until("the Status API", || Some(dp.sync_status()));
    let version = status["version"].as_u64().expect("a version");
    assert!(version >= acked, "version {version} came back, {acked} was acknowledged as durable: {status}");
    assert!(version <= GENERATIONS, "version {version} was never sent");
    for index in 0..WITNESSES {
        assert_eq!(
            message(&mut dp, index),
            (version > 0).then(|| version.to_string()),
            "witness {index} of version {version}"
        );
    }
    drop(dp);
}

/// What a witness says; none where there is no route.
fn message(dp: &mut Daemon, index: u64) -> Option<String> {
    let answer = http::get(dp.address("proxy"), &format!("/w{index}"), &[]).expect("an answer");
    (answer.status == 200).then(|| answer.json()["message"].as_str().unwrap_or_default().to_owned())
}
