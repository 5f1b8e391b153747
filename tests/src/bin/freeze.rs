//! Freezes the bytes of a release for `tests/tests/released_bytes_are_understood.rs`: what its programs say to each other,
//! what they store, what they back up. Run once per release, with its programs:
//! `EDGE_PROGRAMS=DIR cargo run -p tests --bin freeze -- tests/data/released/COMMIT`.

use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use tests::lab::{Daemon, Lab, Setup, program};
use tests::node::{Node, hello};
use tests::pair::{apply, head, put};
use tests::tap::Tap;
use tests::wait;
use wire::message::{FullGet, Message};

/// How long the frozen certificate and credential last: nobody will want them by then.
const DAYS: u32 = 3650;

fn main() {
    let Some(out) = std::env::args().nth(1) else { panic!("usage: freeze DIR") };
    let out = Path::new(&out);
    fs::create_dir_all(out).expect("a directory");
    let lab = Lab::lasting(DAYS);
    let mut cp = lab.cp("cp").start();
    apply(&mut cp, &configuration(&lab));

    // A session from the first full sync over deltas of every sort to the goodbye.
    let tap = Tap::to(&lab, cp.address("cluster"));
    let mut dp = lab.dp("plain").with_text("cluster_control_plane", tap.address()).start();
    follows(&mut cp, &mut dp);
    cp.admin_ok("PATCH", "/routes/frozen", &json!({ "paths": ["/frozen", "/updated"] }));
    follows(&mut cp, &mut dp);
    cp.admin_ok("POST", "/consumers", &json!({ "username": "created" }));
    follows(&mut cp, &mut dp);
    assert_eq!(cp.admin("DELETE", "/consumers/gone", &Value::Null).status, 204);
    let version = follows(&mut cp, &mut dp);
    let status = dp.sync_status();
    let (plain, _) = dp.stop();
    write(out, "session-to-cp.bin", &tap.to_cp());
    write(out, "session-to-dp.bin", &tap.to_dp());
    pack(out, "store-plain.tar.gz", &plain);

    // A full sync entity by entity, as nodes that decode no blobs get it.
    let mut node = Node::connect(&lab, cp.address("cluster"));
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
    write(out, "entities-to-dp.bin", &node.received);
    drop(node);

    for mode in ["aes-256-gcm", "chacha20-poly1305"] {
        let address = cp.address("cluster");
        let setup = lab.dp(mode).with_text("cluster_control_plane", address);
        let mut dp = setup.with_text("declarative_config_encryption_mode", mode).start();
        follows(&mut cp, &mut dp);
        let (setup, _) = dp.stop();
        pack(out, &format!("store-{mode}.tar.gz"), &setup);
    }

    let mut entities = Map::new();
    for def in model::kind::ALL {
        let list = cp.admin_ok("GET", &format!("/{}?size=1000", def.admin_path), &Value::Null);
        entities.insert(def.name.to_owned(), list["data"].clone());
    }
    let facts = json!({ "version": version, "epoch": status["epoch"], "entities": entities });
    write(out, "configuration.json", format!("{facts:#}\n").as_bytes());
    let (_, _) = cp.stop();
    let backup = out.join("backup");
    let _ = fs::remove_file(&backup);
    let done =
        Command::new(program("cp-lite")).arg("backup").arg(&backup).arg("-c").arg(lab.path().join("cp.toml")).status();
    assert!(done.expect("cp-lite is built").success());
    for name in ["cluster.crt", "cluster.key"] {
        fs::copy(lab.path().join(name), out.join(name)).expect("it is writable");
    }
}

/// At least one entity of every kind.
fn configuration(lab: &Lab) -> Vec<Value> {
    let id = |n: u32| format!("00000000-0000-4000-8000-{n:012}");
    let key = |n: u32| json!({ "id": id(n) });
    let pem = |name: &str| fs::read_to_string(lab.path().join(name)).expect("it was made");
    let days = u64::from(DAYS) * 86_400;
    vec![
        put("certificates", json!({ "id": id(1), "cert": pem("cluster.crt"), "key": pem("cluster.key") })),
        put("snis", json!({ "id": id(2), "name": "frozen.example", "certificate": key(1) })),
        put("ca_certificates", json!({ "id": id(3), "cert": authority() })),
        put("upstreams", json!({ "id": id(4), "name": "frozen-upstream" })),
        put("targets", json!({ "id": id(5), "upstream": key(4), "target": "127.0.0.1:9", "weight": 7 })),
        put("services", json!({ "id": id(6), "name": "frozen", "host": "frozen-upstream", "tags": ["frozen"] })),
        put(
            "routes",
            json!({ "id": id(7), "name": "frozen", "service": key(6), "paths": ["/frozen"], "headers": { "x-frozen": ["yes", "ja"] } }),
        ),
        put("routes", json!({ "id": id(8), "name": "open", "service": key(6), "paths": ["/open"] })),
        put(
            "plugins",
            json!({ "id": id(9), "name": "request-termination", "route": key(8), "config": { "status_code": 200, "message": "frozen" } }),
        ),
        put(
            "plugins",
            json!({ "id": id(10), "name": "key-auth", "route": key(8), "config": { "key_names": ["x-key"] } }),
        ),
        put("plugins", json!({ "id": id(11), "name": "jwt", "route": key(7) })),
        put("consumers", json!({ "id": id(12), "username": "ann", "custom_id": "no. 1" })),
        put("consumers", json!({ "id": id(13), "username": "gone" })),
        put("keyauth_credentials", json!({ "id": id(14), "consumer": key(12), "key": "for-ever" })),
        put(
            "keyauth_credentials",
            json!({ "id": id(15), "consumer": key(12), "key": "for-long", "ttl": days.min(100_000_000) }),
        ),
        put("jwt_secrets", json!({ "id": id(16), "consumer": key(12), "key": "issuer", "secret": "secret" })),
    ]
}

fn authority() -> String {
    let mut params = rcgen::CertificateParams::new(["frozen.example".to_owned()]).expect("a name");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.not_after = rcgen::date_time_ymd(2036, 1, 1);
    params.self_signed(&rcgen::KeyPair::generate().expect("a key")).expect("a certificate").pem()
}

/// Waits until the data plane has made durable what the control plane has; returns the version.
fn follows(cp: &mut Daemon, dp: &mut Daemon) -> u64 {
    let head = head(cp);
    wait::until("the version to be durable", || (dp.sync_status()["durable_version"].as_u64()? >= head).then_some(()));
    head
}

fn pack(out: &Path, name: &str, dp: &Setup) {
    let status = Command::new("tar").arg("-czf").arg(out.join(name)).arg("-C").arg(dp.dir()).arg(".").status();
    assert!(status.expect("tar is installed").success());
}

fn write(out: &Path, name: &str, bytes: &[u8]) {
    fs::write(out.join(name), bytes).expect("it is writable");
}
