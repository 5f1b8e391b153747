//! Freezes the bytes of a release for `tests/tests/released_*_are_understood.rs`: what its programs say to each other,
//! what they store, what they back up, what they hand on as bundles. Run once per release, with its programs:
//! `EDGE_PROGRAMS=DIR cargo run -p tests --bin freeze -- tests/data/released/COMMIT`.
//!
//! `content` is the configuration, `sessions` the conversations that need more than one control plane or a node made by
//! hand, `members` a cluster whose members have certificates of their own.

mod content;
mod members;
mod sessions;

use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use tests::lab::{Daemon, Lab, Setup, program};
use tests::node::{Node, hello};
use tests::pair::{apply, head};
use tests::tap::Tap;
use tests::wait;
use wire::message::{FullGet, Message};

/// How long the frozen certificates and credentials last: nobody will want them by then.
const DAYS: u32 = 3650;

/// Where it all goes.
struct Out<'a>(&'a Path);

fn main() {
    let Some(out) = std::env::args().nth(1) else { panic!("usage: freeze DIR") };
    fs::create_dir_all(&out).expect("a directory");
    let out = fs::canonicalize(out).expect("it is there");
    let out = Out(&out);
    let lab = Lab::lasting(DAYS);
    let mut cp = lab.cp("cp").start();
    apply(&mut cp, &content::configuration(&lab));
    let plain = first_session(&lab, &mut cp, &out);
    entity_by_entity(&lab, &mut cp, &out);
    for mode in ["aes-256-gcm", "chacha20-poly1305"] {
        let setup = lab.dp(mode).with_text("cluster_control_plane", cp.address("cluster"));
        let mut dp = setup.with_text("declarative_config_encryption_mode", mode).start();
        follows(&mut cp, &mut dp);
        let (setup, _) = dp.stop();
        out.pack(&format!("store-{mode}.tar.gz"), &setup);
    }
    out.entities("configuration.json", &mut cp);
    out.made("backup", |file| cp_lite(&["backup", file, "--admin-url", &admin(&mut cp)]));
    out.made("cp-shared.bundle", |file| cp_lite(&["config", "export", file, "--admin-url", &admin(&mut cp)]));
    let settings = plain.write();
    let settings = settings.to_str().expect("a name");
    out.made("dp-shared.bundle", |file| edge_gateway(&["store", "export", file, "-c", settings]));
    for name in ["cluster.crt", "cluster.key"] {
        fs::copy(lab.path().join(name), out.0.join(name)).expect("it is writable");
    }
    let (cp, _) = cp.stop();
    out.pack("store-cp.tar.gz", &cp);

    let mut cp = sessions::reconcile(&lab, cp, plain.clone(), &out);
    sessions::by_hand(&lab, &mut cp, &out);
    sessions::shrink(&lab, plain, &out);
    sessions::several_control_planes(&out);
    members::bundles(&out);
}

/// A session from the first full sync over deltas of every sort and a heartbeat to the goodbye; the data plane that was
/// in it.
fn first_session(lab: &Lab, cp: &mut Daemon, out: &Out<'_>) -> Setup {
    let tap = Tap::to(lab, cp.address("cluster"));
    let setup = lab.dp("plain").with_text("cluster_control_plane", tap.address());
    let mut dp = setup.with_text("cluster_heartbeat", 5).start();
    follows(cp, &mut dp);
    cp.admin_ok("PATCH", "/routes/frozen", &json!({ "paths": ["/frozen", "/updated"] }));
    follows(cp, &mut dp);
    cp.admin_ok("POST", "/consumers", &json!({ "username": "created" }));
    follows(cp, &mut dp);
    assert_eq!(cp.admin("DELETE", "/consumers/gone", &Value::Null).status, 204);
    follows(cp, &mut dp);
    let length = tap.to_dp().len();
    wait::until("a heartbeat", || (tap.to_dp().len() > length).then_some(()));
    let (plain, _) = dp.stop();
    out.session("session", &tap);
    out.pack("store-plain.tar.gz", &plain);
    plain
}

/// A full sync entity by entity, as nodes that decode no blobs get it.
fn entity_by_entity(lab: &Lab, cp: &mut Daemon, out: &Out<'_>) {
    let mut node = Node::connect(lab, cp.address("cluster"));
    node.send(&Message::Hello(hello(model::Id(7), env!("CARGO_PKG_VERSION"))));
    loop {
        match node.receive() {
            Some(Message::FullBegin(begin)) => {
                node.send(&Message::FullGet(FullGet { transfer: begin.transfer, offset: 0, until: 262_144 }));
            }
            Some(Message::FullEnd(_)) => break,
            Some(_) => {}
            None => panic!("the control plane went away"),
        }
    }
    out.write("entities-to-dp.bin", &node.received);
}

/// Waits until the data plane has made durable what the control plane has; returns the version.
fn follows(cp: &mut Daemon, dp: &mut Daemon) -> u64 {
    let head = head(cp);
    let epoch = cp.admin_ok("GET", "/status", &Value::Null)["configuration"]["epoch"].clone();
    wait::until("the version to be durable", || {
        let status = dp.sync_status();
        (status["epoch"] == epoch && status["durable_version"].as_u64()? >= head).then_some(())
    });
    head
}

fn admin(cp: &mut Daemon) -> String {
    format!("http://{}", cp.address("admin"))
}

fn cp_lite(arguments: &[&str]) {
    run("cp-lite", arguments);
}

fn edge_gateway(arguments: &[&str]) {
    run("edge-gateway", arguments);
}

fn run(name: &str, arguments: &[&str]) {
    let output = Command::new(program(name)).args(arguments).output().expect("it is built");
    assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Out<'_> {
    /// A file that a program makes.
    fn made(&self, name: &str, make: impl FnOnce(&str)) {
        let file = self.0.join(name);
        let _ = fs::remove_file(&file);
        make(file.to_str().expect("a name"));
    }

    /// Version, epoch and all entities as the Admin API shows them.
    fn entities(&self, name: &str, cp: &mut Daemon) {
        let mut entities = Map::new();
        for def in model::kind::ALL {
            let list = cp.admin_ok("GET", &format!("/{}?size=1000", def.admin_path), &Value::Null);
            entities.insert(def.name.to_owned(), list["data"].clone());
        }
        let status = cp.admin_ok("GET", "/status", &Value::Null)["configuration"].clone();
        let facts = json!({ "version": status["version"], "epoch": status["epoch"], "entities": entities });
        self.write(name, format!("{facts:#}\n").as_bytes());
    }

    /// What passed over a tap.
    fn session(&self, name: &str, tap: &Tap) {
        self.write(&format!("{name}-to-cp.bin"), &tap.to_cp());
        self.write(&format!("{name}-to-dp.bin"), &tap.to_dp());
    }

    /// The `prefix` of a program that does not run.
    fn pack(&self, name: &str, stopped: &Setup) {
        let dir = stopped.dir();
        let status = Command::new("tar").arg("-czf").arg(self.0.join(name)).arg("-C").arg(dir).arg(".").status();
        assert!(status.expect("tar is installed").success());
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.join(name), bytes).expect("it is writable");
    }
}
