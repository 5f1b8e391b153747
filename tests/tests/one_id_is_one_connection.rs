//! A node has one connection. One that comes back while its old connection still seems to be up, because the cut was noticed
//! at one end only, takes the place of itself at once; two nodes with one id, of a copied image, do so with each other, which
//! shows, and is no storm.

use model::Id;
use serde_json::Value;
use std::fs;
use tests::lab::{Daemon, Lab};
use tests::node::{Node, hello};
use tests::wait;
use wire::limits::SUPERSEDED_RETRY_S;
use wire::message::{ByeReason, Message, Mode};

const ID: Id = Id(5);

fn greet(lab: &Lab, cp: &mut Daemon) -> (Node, Mode) {
    let mut node = Node::connect(lab, cp.address("cluster"));
    node.send(&Message::Hello(hello(ID, env!("CARGO_PKG_VERSION"))));
    let Some(Message::Welcome(welcome)) = node.receive() else { panic!("no WELCOME\n{}", cp.log()) };
    (node, welcome.mode)
}

fn rows(cp: &mut Daemon) -> Vec<Value> {
    cp.admin_ok("GET", "/clustering/data-planes", &Value::Null)["data"].as_array().expect("a list").clone()
}

#[test]
fn a_node_that_comes_back_over_a_half_open_connection_takes_its_own_place() {
    let lab = Lab::new();
    // Nobody else may connect: the dead connection of the node must not keep itself out.
    let mut cp = lab.cp("cp").with("cluster_max_data_planes", "1").start();
    let (mut old, mode) = greet(&lab, &mut cp);
    assert!(!matches!(mode, Mode::Refuse { .. }), "{mode:?}");
    let (_new, mode) = greet(&lab, &mut cp);
    assert!(!matches!(mode, Mode::Refuse { .. }), "{mode:?}");
    let bye = loop {
        match old.receive().expect("a goodbye") {
            Message::Bye(bye) => break bye,
            _ => continue,
        }
    };
    assert_eq!((bye.reason, bye.retry_after_s), (ByeReason::Superseded, SUPERSEDED_RETRY_S));
    assert_eq!(old.receive(), None);
    cp.logs("another connection of the node takes the place of this one");
    cp.logs("another connection of the node has taken its place");
    let row = &rows(&mut cp)[0];
    assert_eq!((&row["connected"], &row["superseded"]["count"]), (&true.into(), &1.into()), "{row}");
}

#[test]
fn two_nodes_with_one_id_show_and_are_no_storm() {
    let lab = Lab::new();
    let mut cp = lab.cp("cp").start();
    let original = lab.dp("original").with_text("cluster_control_plane", cp.address("cluster"));
    let mut original = original.start();
    wait::until("the original", || (original.sync_status()["connected"] == true).then_some(()));
    let copy = lab.dp("copy").with_text("cluster_control_plane", cp.address("cluster"));
    fs::create_dir_all(copy.dir()).expect("the lab is writable");
    fs::copy(lab.path().join("original/node.id"), copy.dir().join("node.id")).expect("the lab is writable");
    let mut copy = copy.start();
    wait::until("the copy", || (copy.sync_status()["connected"] == true).then_some(()));
    let status = wait::until("the original to be sent away", || {
        Some(original.sync_status()).filter(|status| status["connected"] == false)
    });
    assert!(status["last_error"].as_str().expect("why").contains("another connection with the id of this node"));
    let wait_s = status["control_planes"][0]["retry_in_s"].as_u64().expect("it waits");
    assert!(wait_s > u64::from(SUPERSEDED_RETRY_S) / 2, "it comes back in {wait_s} s");
    let rows = rows(&mut cp);
    assert_eq!((rows.len(), &rows[0]["superseded"]["count"]), (1, &1.into()), "{rows:?}");
}
