//! Both programs encrypt what they store, if told so: nobody reads an API key from their files, they start again with
//! it, and another cluster key neither opens nor harms it.

use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use tests::lab::Lab;
use tests::origin::Origin;
use tests::pair::{Pair, follower};
use tests::relay::Relay;

const MODE: &str = "declarative_config_encryption_mode";
const KEY: &str = "an-api-key-that-nobody-may-read";

/// As [`Pair::start`], the data plane encrypted by `dp_mode`.
fn pair(dp_mode: &str) -> Pair {
    let lab = Lab::new();
    let origin = Origin::start("origin");
    let mut cp = lab.cp("cp").with_text(MODE, "chacha20-poly1305").start();
    let link = Relay::to(cp.address("cluster"));
    let dp = follower(&lab, "dp", &link).with_text(MODE, dp_mode).start();
    let mut pair = Pair { lab, origin, cp, link, dp };
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "guarded", "paths": ["/"] }));
    pair.cp.admin_ok("POST", "/routes/guarded/plugins", &json!({ "name": "key-auth" }));
    pair.cp.admin_ok("POST", "/consumers", &json!({ "username": "ann" }));
    pair.cp.admin_ok("POST", "/consumers/ann/key-auth", &json!({ "key": KEY }));
    pair.acknowledged();
    pair
}

fn with_the_key_readable(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(with_the_key_readable(&entry.path()));
        } else if fs::read(entry.path()).unwrap().windows(KEY.len()).any(|bytes| bytes == KEY.as_bytes()) {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn no_api_key_is_readable_in_any_file_and_both_programs_start_again_with_it() {
    let mut pair = pair("aes-256-gcm");
    let cp = pair.cp.kill();
    pair.dp = pair.dp.kill().start();
    pair.dp.is_ready();
    assert_eq!(pair.dp.get("/", &[("apikey", KEY)]).status, 200);
    for name in ["cp", "dp"] {
        assert_eq!(with_the_key_readable(&pair.lab.path().join(name)), Vec::<PathBuf>::new());
    }
    pair.cp = cp.start();
    let credential = pair.cp.admin_ok("GET", &format!("/key-auths/{KEY}"), &json!(null));
    assert_eq!(credential["key"], KEY);
}

#[test]
fn a_store_written_before_is_encrypted_at_the_next_start() {
    let mut pair = pair("off");
    let setup = pair.dp.kill();
    let dir = setup.dir().to_owned();
    assert!(!with_the_key_readable(&dir).is_empty());
    pair.link.down();
    pair.dp = setup.with_text(MODE, "aes-256-gcm").start();
    pair.dp.is_ready();
    assert_eq!(pair.dp.get("/", &[("apikey", KEY)]).status, 200);
    assert_eq!(with_the_key_readable(&dir), Vec::<PathBuf>::new());
}

#[test]
fn another_cluster_key_is_a_clear_error_and_takes_nothing() {
    let mut pair = pair("aes-256-gcm");
    pair.lab.gen_cert("other");
    let right = pair.dp.kill();
    let path = |end: &str| pair.lab.path().join(format!("other.{end}")).display().to_string();
    let wrong = right.clone().with_text("cluster_cert", path("crt")).with_text("cluster_cert_key", path("key"));
    let (status, log) = wrong.fails_to_start();
    assert_eq!(status.code(), Some(78));
    assert!(log.contains("encrypted with another key"), "{log}");
    pair.dp = right.start();
    pair.dp.is_ready();
    assert_eq!(pair.dp.get("/", &[("apikey", KEY)]).status, 200);
}
