//! A list of control planes: those that are dead, deaf, behind or unwilling are passed over, what they ask for is obeyed,
//! and a node that finds a better one leaves the other only then.

use model::Id;
use serde_json::json;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;
use tests::fake_cp::FakeCp;
use tests::lab::{Daemon, Lab};
use tests::pair::{apply, head, put};
use tests::planes;
use tests::relay::Relay;
use tests::wait;
use wire::message::{Bye, ByeReason, Message, Mode, RefuseReason};
use wire::{PROTO, Welcome};

/// An address where nobody listens.
fn dead() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound")
}

fn list(addresses: &[SocketAddr]) -> String {
    let quoted: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    format!("[{}]", quoted.join(", "))
}

fn welcome(epoch: u64, head: u64, mode: Mode) -> Message {
    Message::Welcome(Welcome {
        proto: PROTO,
        cluster: Id(1),
        epoch,
        head,
        root: 0,
        heartbeat_s: 300,
        incremental: true,
        mode,
        message: String::new(),
        term: 0,
    })
}

fn busy(retry_after_s: u32) -> Message {
    welcome(0, 0, Mode::Refuse { why: RefuseReason::Busy, retry_after_s })
}

fn service(cp: &mut Daemon, name: &str) -> u64 {
    apply(cp, &[put("services", json!({ "name": name, "host": "example.com" }))])
}

#[test]
fn dead_deaf_and_busy_ones_are_passed_over_and_a_lost_one_is_found_again() {
    let lab = Lab::new();
    let mut cp = lab.cp("cp").start();
    service(&mut cp, "first");
    let link = Relay::to(cp.address("cluster"));
    // The kernel takes its connections, nobody ever answers.
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let busy = FakeCp::start(&lab, vec![busy(3600)]);
    let all = [dead(), deaf.local_addr().expect("bound"), busy.address(), link.address()];
    let mut dp = lab.dp("dp").with("cluster_control_plane", list(&all)).start();
    dp.serves_version(head(&mut cp));
    let status = dp.sync_status();
    assert_eq!(status["control_plane"], link.address().to_string());
    assert_eq!(status["control_planes"].as_array().map(Vec::len), Some(4));
    // It goes away, and what is here serves on; it comes back and is found.
    link.down();
    wait::until("the loss to be noticed", || (dp.sync_status()["connected"] == false).then_some(()));
    let version = service(&mut cp, "second");
    link.up();
    dp.serves_version(version);
    assert!(busy.visits().len() <= 1, "it asked for an hour of patience: {} visits", busy.visits().len());
}

#[test]
fn what_retry_after_asks_for_is_obeyed() {
    let lab = Lab::new();
    let asks = FakeCp::start(&lab, vec![busy(3)]);
    let mut dp = lab.dp("dp").with_text("cluster_control_plane", asks.address()).start();
    wait::until("three visits", || (asks.visits().len() >= 3).then_some(()));
    let visits = asks.visits();
    for pair in visits.windows(2) {
        let pause = pair[1].at - pair[0].at;
        assert!(pause >= Duration::from_millis(2_950), "back after {pause:?}");
    }
    let status = dp.sync_status();
    assert!(status["last_error"].as_str().is_some_and(|error| error.contains("Busy")), "{status}");
}

#[test]
fn a_node_that_is_moved_goes_there_and_never_to_a_stranger() {
    let lab = Lab::new();
    let mut cp = lab.cp("cp").start();
    let version = service(&mut cp, "first");
    let link = Relay::to(cp.address("cluster"));
    let stranger = FakeCp::start(&lab, vec![busy(0)]);
    let sends = |to: SocketAddr| {
        let bye = Bye { to: to.to_string(), ..Bye::new(ByeReason::Moved, String::new()) };
        FakeCp::start(&lab, vec![welcome(7, 1, Mode::Full), Message::Bye(bye)])
    };
    let (home, away) = (sends(link.address()), sends(stranger.address()));
    let all = [home.address(), away.address(), link.address()];
    let mut dp = lab.dp("dp").with("cluster_control_plane", list(&all)).start();
    dp.serves_version(version);
    assert_eq!(dp.sync_status()["control_plane"], link.address().to_string());
    assert_eq!(stranger.visits().len(), 0, "it is in nobody's list");
    assert!(home.visits().len() + away.visits().len() <= 6, "no ping-pong");
}

/// A writer and a follower, each behind a link of its own, and a data plane with both in its list.
#[test]
fn a_node_goes_from_a_lost_control_plane_to_the_other_and_misses_nothing() {
    let lab = Lab::new();
    let mut writer = lab.cp("writer").start();
    let mut follower = planes::following(&lab, "follower", &[writer.address("cluster")]).start();
    let links = [Relay::to(writer.address("cluster")), Relay::to(follower.address("cluster"))];
    let version = service(&mut writer, "first");
    let epoch = planes::own(&mut writer)["epoch"].clone();
    planes::has(&mut follower, &epoch, version);
    let mut dp = lab.dp("dp").with("cluster_control_plane", list(&[links[0].address(), links[1].address()])).start();
    planes::serves(&mut dp, &epoch, version);
    let place = |dp: &mut Daemon| {
        let status = dp.sync_status();
        links.iter().position(|link| status["control_plane"] == link.address().to_string()).expect("one of them")
    };
    for round in 0..3 {
        let here = place(&mut dp);
        links[here].down();
        let version = service(&mut writer, &format!("round-{round}"));
        planes::serves(&mut dp, &epoch, version);
        assert_eq!(place(&mut dp), 1 - here, "round {round}");
        assert_eq!(dp.sync_status()["mode"], "tail", "what changed travels alone, from whoever has it");
        links[here].up();
    }
    assert!(dp.log().matches("full sync").count() <= 1, "no full sync but the first:\n{}", dp.log());
}

/// Takes up to a minute and a half: so long a node is patient with a control plane that lags.
#[test]
fn a_node_leaves_one_that_lags_when_another_one_is_better_and_never_goes_back() {
    let lab = Lab::new();
    let mut cp = lab.cp("cp").start();
    service(&mut cp, "first");
    let version = service(&mut cp, "second");
    let link = Relay::to(cp.address("cluster"));
    let mut dp = lab.dp("dp").with_text("cluster_control_plane", link.address()).start();
    dp.serves_version(version);
    let epoch = u64::from_str_radix(dp.sync_status()["epoch"].as_str().expect("an epoch"), 16).expect("hex");
    // Which one a node prefers is its own affair: lagging ones are set up until it prefers one of them.
    let (lags, mut dp) = loop {
        let setup = dp.stop().0;
        let lags = FakeCp::start(&lab, vec![welcome(epoch, 1, Mode::Behind)]);
        dp = setup.with("cluster_control_plane", list(&[link.address(), lags.address()])).start();
        wait::until("a session", || (dp.sync_status()["connected"] == true).then_some(()));
        if dp.sync_status()["control_plane"] == lags.address().to_string() {
            break (lags, dp);
        }
    };
    assert_eq!(dp.sync_status()["mode"], "behind");
    assert_eq!(dp.sync_status()["version"], version);
    let newest = service(&mut cp, "third");
    wait::within(Duration::from_secs(150), "the node to go where it is served", || {
        (dp.sync_status()["control_plane"] == link.address().to_string()).then_some(())
    });
    dp.serves_version(newest);
    let visits = lags.visits();
    assert_eq!(visits.len(), 1);
    wait::until("the goodbye", || {
        let said = lags.visits()[0].said.clone();
        said.iter()
            .any(|message| matches!(message, Message::Bye(bye) if bye.reason == ByeReason::Shutdown))
            .then_some(())
    });
    dp.logs("returned to a better control plane");
}
