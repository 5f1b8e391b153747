//! Conversations that are frozen beside the usual one: a reconcile, a step that is held back, what a node gives back, and
//! several control planes among each other.

use super::{Out, admin, content, cp_lite, follows};
use serde_json::{Value, json};
use std::fs;
use tests::lab::{Daemon, Lab, Setup};
use tests::node::{Node, hello};
use tests::pair::{apply, put, row};
use tests::planes::{following, has, node, own};
use tests::tap::Tap;
use tests::wait;
use wire::message::{Ack, Bye, Have, Message, Ping, Want};
use wire::{ByeReason, Hello, Nack, NackCode};

/// The control plane is restored from its backup and goes on from there: no version says what the data plane has.
pub(crate) fn reconcile(lab: &Lab, cp: Setup, dp: Setup, out: &Out<'_>) -> Daemon {
    let settings = cp.write();
    fs::remove_dir_all(cp.dir().join("store")).expect("it is ours");
    let backup = out.0.join("backup");
    cp_lite(&["restore", backup.to_str().expect("a name"), "-c", settings.to_str().expect("a name")]);
    let mut cp = cp.start();
    cp.admin_ok("PATCH", "/routes/frozen", &json!({ "paths": ["/frozen", "/restored"] }));
    assert_eq!(cp.admin("DELETE", "/consumers/created", &Value::Null).status, 204);
    cp.admin_ok("POST", "/consumers", &json!({ "username": "restored" }));
    let tap = Tap::to(lab, cp.address("cluster"));
    let mut dp = dp.with_text("cluster_control_plane", tap.address()).start();
    follows(&mut cp, &mut dp);
    let _ = dp.stop();
    out.session("reconcile", &tap);
    out.entities("reconciled.json", &mut cp);
    cp
}

/// Another control plane with next to nothing: the data plane holds that back until somebody confirms it.
pub(crate) fn shrink(lab: &Lab, dp: Setup, out: &Out<'_>) {
    let mut cp = lab.cp("empty").start();
    apply(&mut cp, &[put("consumers", json!({ "id": content::id(99), "username": "alone" }))]);
    let tap = Tap::to(lab, cp.address("cluster"));
    let mut dp = dp.with_text("cluster_control_plane", tap.address()).start();
    wait::until("the node to hold it back", || row(&mut cp).filter(|row| !row["held"].is_null()).map(drop));
    cp_lite(&["node", "confirm", "--all", "--admin-url", &admin(&mut cp)]);
    follows(&mut cp, &mut dp);
    let _ = dp.stop();
    out.session("shrink", &tap);
}

/// A node made by hand, which has everything already: it asks for another heartbeat, gives back a patch, refuses a
/// version, and takes what comes after.
pub(crate) fn by_hand(lab: &Lab, cp: &mut Daemon, out: &Out<'_>) {
    let id = model::Id(7);
    let greets = |have: Have| Hello { have, features: Hello::PATCHES, ..hello(id, env!("CARGO_PKG_VERSION")) };
    let mut first = Node::connect(lab, cp.address("cluster"));
    first.send(&Message::Hello(greets(Have::default())));
    let Some(Message::Welcome(welcome)) = first.receive() else { panic!("no welcome") };
    let Some(Message::FullBegin(begin)) = first.receive() else { panic!("no full sync") };
    drop(first);

    let (epoch, version) = (welcome.epoch, begin.version);
    let have = Have { epoch, applied: version, durable: version, root: begin.root, count: begin.count };
    let mut node = Node::connect(lab, cp.address("cluster"));
    node.send(&Message::Hello(greets(have)));
    assert!(matches!(node.receive(), Some(Message::Welcome(_))));
    node.send(&Message::Ping(Ping { heartbeat_s: Some(600) }));
    assert!(matches!(node.receive(), Some(Message::Pong(_))));

    let route = (model::Kind::Route.code(), content::id(7).parse().expect("an id"));
    let refusal = |version, code, entity, kept| {
        let (path, message) = (String::from("paths"), String::from("by hand"));
        Message::Nack(Nack { version, code, entity, path, message, kept, shrink: None })
    };
    cp.admin_ok("PATCH", "/routes/frozen", &json!({ "paths": ["/patched"] }));
    assert!(matches!(node.receive(), Some(Message::Delta(..))));
    node.send(&Message::Want(Want { entities: vec![route] }));
    node.send(&refusal(version + 1, NackCode::Base, None, version));
    assert!(matches!(node.receive(), Some(Message::Delta(..))));
    node.send(&refusal(version + 1, NackCode::Invalid, Some(route), version));
    node.send(&Message::Ping(Ping { heartbeat_s: None }));
    assert!(matches!(node.receive(), Some(Message::Pong(_))));
    cp.admin_ok("PATCH", "/routes/frozen", &json!({ "paths": ["/mended"] }));
    assert!(matches!(node.receive(), Some(Message::Delta(..))));
    node.send(&Message::Ack(Ack { applied: version + 2, durable: version }));
    node.send(&Message::Ack(Ack { applied: version + 2, durable: version + 2 }));
    node.send(&Message::Bye(Bye::new(ByeReason::Shutdown, String::new())));
    while node.receive().is_some() {}
    out.write("given-back-to-cp.bin", &node.sent);
    out.write("given-back-to-dp.bin", &node.received);
}

/// A writer, a control plane that follows it, and a data plane that is sent from one to the other.
pub(crate) fn several_control_planes(out: &Out<'_>) {
    let lab = Lab::new();
    let nobody = ([127, 0, 0, 1], 9).into();
    let stopped = |setup: Setup| {
        let mut cp = setup.start();
        let address = cp.address("cluster");
        (cp.stop().0, address)
    };
    let (writer, writer_at) = stopped(lab.cp("writer"));
    let (second, second_at) = stopped(following(&lab, "second", &[nobody]));
    let between = Tap::to(&lab, writer_at);
    let taps = [Tap::to(&lab, writer_at), Tap::to(&lab, second_at)];
    let mut writer = writer.with_text("cluster_advertise", taps[0].address()).start();
    let second = second.with_text("cluster_control_plane", between.address());
    let mut second = second.with_text("cluster_advertise", taps[1].address()).start();
    apply(&mut writer, &[put("consumers", json!({ "id": content::id(1), "username": "ann" }))]);
    let epoch = own(&mut writer)["epoch"].clone();
    has(&mut second, &epoch, 1);

    let mut dp = node(&lab, "dp", &taps.each_ref().map(Tap::address)).start();
    let path = format!("/clustering/data-planes/{}", dp.node_id());
    let planes = [&mut writer, &mut second];
    let mut admins = planes.map(|cp| cp.address("admin")).into_iter();
    let at = wait::until("the node to be connected", || {
        let connected = |address| tests::http::get(address, &path, &[]).ok()?.json()["connected"].as_bool();
        admins.clone().position(|address| connected(address) == Some(true))
    });
    let admin = format!("http://{}", admins.nth(at).expect("one of them"));
    let to = taps[1 - at].address().to_string();
    wait::until("the node to be sent away", || {
        let mut command = std::process::Command::new(tests::lab::program("cp-lite"));
        let output = command.args(["node", "move", &dp.node_id(), &to, "--admin-url", &admin]).output();
        output.expect("it is built").status.success().then_some(())
    });
    wait::until("the node on the other control plane", || (!taps[1 - at].to_dp().is_empty()).then_some(()));
    apply(&mut writer, &[put("consumers", json!({ "id": content::id(2), "username": "bob" }))]);
    follows(&mut writer, &mut dp);
    has(&mut second, &epoch, 2);
    let _ = dp.stop();
    let _ = second.stop();
    out.session("moved", &taps[at]);
    out.session("follower", &between);
}
