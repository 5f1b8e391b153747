//! Three control planes and a fleet that is spread evenly over them: when one comes back, nodes are sent to it, a few at a
//! time; and one that has too much to do is left alone for as long as it says.

use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};
use tests::crowd::Crowd;
use tests::lab::{Daemon, Lab, program};
use tests::planes::{advertised, following, has, node, own, serves};
use tests::wait;
use wire::message::Have;

const NODES: usize = 60;
/// A tenth of a fair share.
const TOLERATED: u64 = 2;

fn counts(planes: &mut [Daemon]) -> Vec<u64> {
    planes.iter_mut().map(|cp| own(cp)["data_planes"].as_u64().expect("a count")).collect()
}

/// Waits until all nodes are connected, and the counts are within a tenth of each other.
fn even(planes: &mut [Daemon]) {
    wait::until("an even spread", || {
        let counts = counts(planes);
        let (most, fewest) = (counts.iter().max()?, counts.iter().min()?);
        (counts.iter().sum::<u64>() == NODES as u64 && most - fewest <= TOLERATED).then_some(())
    });
}

#[test]
fn nodes_are_sent_to_a_control_plane_that_comes_back_and_no_more_of_them_than_need_be() {
    let lab = Lab::new();
    let (writer, first) = advertised(lab.cp("first").start());
    let (second, second_at) = advertised(following(&lab, "second", &[first]).start());
    let (third, third_at) = advertised(following(&lab, "third", &[first]).start());
    let mut planes = vec![writer.start(), second.start()];
    planes[0].admin_ok("POST", "/services", &json!({ "host": "h" }));
    let crowd = Crowd::spread(NODES, Have::default(), 0, &[first, second_at, third_at], lab.path());
    even(&mut planes);

    let attempts = crowd.attempts();
    planes.push(third.start());
    even(&mut planes);
    let moved = crowd.attempts() - attempts;
    assert!((16..=30).contains(&moved), "{moved} connections for a third of {NODES} nodes");
    let known = planes[0].admin_ok("GET", "/clustering/control-planes", &Value::Null)["data_planes"].clone();
    assert_eq!(known.as_array().map(Vec::len), Some(3), "{known}");

    // By hand.
    let rows = planes[1].admin_ok("GET", "/clustering/data-planes", &Value::Null);
    let id = rows["data"].as_array().unwrap().iter().find(|row| row["connected"] == true).unwrap()["id"].clone();
    let id = id.as_str().unwrap();
    let admin = format!("http://{}", planes[1].address("admin"));
    let output = Command::new(program("cp-lite"))
        .args(["node", "move", id, &third_at.to_string(), "--admin-url", &admin])
        .output()
        .expect("it is built");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    wait::until("the node on the other control plane", || {
        let row = planes[2].admin("GET", &format!("/clustering/data-planes/{id}"), &Value::Null).json();
        (row["connected"] == true).then_some(())
    });

    // One dies, with the writer and without: the others have them all, evenly.
    drop(planes.remove(2));
    even(&mut planes);
}

#[test]
fn a_data_plane_goes_where_it_is_sent_and_serves_on_meanwhile() {
    let lab = Lab::new();
    let mut writer = lab.cp("writer").start();
    let mut follower = following(&lab, "follower", &[writer.address("cluster")]).start();
    let planes = [writer.address("cluster"), follower.address("cluster")];
    writer.admin_ok("POST", "/services", &json!({ "host": "h" }));
    let epoch = own(&mut writer)["epoch"].clone();
    has(&mut follower, &epoch, 1);
    let mut dp = node(&lab, "dp", &planes).start();
    serves(&mut dp, &epoch, 1);
    for round in 0..2 {
        let at = dp.sync_status()["control_plane"].clone();
        let there = usize::from(at == planes[0].to_string());
        let cp = if there == 1 { &mut writer } else { &mut follower };
        let row = cp.admin_ok("GET", "/clustering/data-planes", &Value::Null)["data"][0].clone();
        let path = format!("/clustering/data-planes/{}/move", row["id"].as_str().unwrap());
        cp.admin_ok("POST", &path, &json!({ "to": planes[there].to_string() }));
        wait::until(&format!("move {round}"), || {
            let status = dp.sync_status();
            let arrived = status["control_plane"] == planes[there].to_string() && status["connected"] == true;
            arrived.then_some(())
        });
        assert_eq!(dp.sync_status()["version"], 1);
    }
    let nobody =
        writer.admin("POST", &format!("/clustering/data-planes/{}/move", model::Id(7)), &json!({ "to": "a:1" }));
    assert_eq!(nobody.status, 404);
}

#[test]
fn a_control_plane_that_is_full_says_when_to_come_back_and_is_obeyed() {
    let lab = Lab::new();
    let mut cp = lab.cp("cp").with("cluster_max_data_planes", "1").start();
    let at = cp.address("cluster");
    cp.admin_ok("POST", "/services", &json!({ "host": "h" }));
    let mut first = node(&lab, "first", &[at]).start();
    first.serves_version(1);
    let mut second = node(&lab, "second", &[at]).start();
    let refused = || cp.log().matches("node has to come back later").count();
    wait::until("the first refusal", || (refused() == 1).then_some(()));
    let start = Instant::now();
    assert!(second.sync_status()["last_error"].as_str().is_some_and(|error| error.contains("may serve no more")));
    wait::until("the second one", || (refused() == 2).then_some(()));
    // It says five seconds or more; a data plane by itself would have been back after one at the latest.
    assert!(start.elapsed() > Duration::from_secs(4), "it came back after {:?}", start.elapsed());
    let (_, status) = first.stop();
    assert!(status.success());
    second.serves_version(1);
}
