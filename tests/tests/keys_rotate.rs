//! The key of an encrypted store is replaced without losing the store: the data plane serves offline from its first
//! moment under the new key, an image that goes back still starts, and in the end the former key opens nothing.

use serde_json::{Value, json};
use std::fs;
use tests::lab::{Daemon, Lab, Setup};
use tests::origin::Origin;
use tests::pair::{Pair, follower};
use tests::relay::Relay;

const MODE: &str = "declarative_config_encryption_mode";
const FORMER: &str = "declarative_config_encryption_key_former";
const KEY: &str = "declarative_config_encryption_key";

/// Both programs encrypted, a route served, and the control plane gone.
fn pair() -> Pair {
    let lab = Lab::new();
    let origin = Origin::start("origin");
    let mut cp = lab.cp("cp").with_text(MODE, "aes-256-gcm").start();
    let link = Relay::to(cp.address("cluster"));
    let dp = follower(&lab, "dp", &link).with_text(MODE, "chacha20-poly1305").start();
    let mut pair = Pair { lab, origin, cp, link, dp };
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "kept", "paths": ["/kept"] }));
    pair.acknowledged();
    pair.lab.gen_cert("next");
    pair
}

fn file(lab: &Lab, name: &str) -> String {
    lab.path().join(name).display().to_string()
}

fn with_certificate(lab: &Lab, setup: Setup, name: &str) -> Setup {
    let setup = setup.with_text("cluster_cert", file(lab, &format!("{name}.crt")));
    setup.with_text("cluster_cert_key", file(lab, &format!("{name}.key")))
}

/// Starts, serves, and ends again.
fn serves(setup: Setup) -> Setup {
    let mut dp: Daemon = setup.start();
    dp.is_ready();
    assert_eq!(dp.get("/kept", &[]).status, 200);
    dp.kill()
}

#[test]
fn a_new_cluster_key_finds_the_store_of_both_programs_and_they_meet_again_without_a_full_sync() {
    let mut pair = pair();
    let (dp, (cp, _)) = (pair.dp.kill(), pair.cp.stop());
    let former = file(&pair.lab, "cluster.key");
    let dp = serves(with_certificate(&pair.lab, dp, "next").with_text(FORMER, &former));
    // The other half of an A/B image, with the certificate before and no word of another.
    let dp = serves(with_certificate(&pair.lab, dp, "cluster").without(FORMER));
    let dp = serves(with_certificate(&pair.lab, dp, "next").with_text(FORMER, &former));

    pair.cp = with_certificate(&pair.lab, cp, "next").with_text(FORMER, &former).start();
    pair.dp = dp.start();
    pair.cp.admin_ok("PATCH", "/routes/kept", &json!({ "paths": ["/kept", "/changed"] }));
    pair.acknowledged();
    assert_eq!(pair.dp.get("/changed", &[]).status, 200);
    assert_ne!(pair.dp.sync_status()["mode"], "full");

    // The former key is no longer needed, and no longer of use.
    let (dp, (cp, _)) = (pair.dp.kill(), pair.cp.stop());
    let dp = serves(dp.without(FORMER));
    pair.cp = cp.without(FORMER).start();
    assert_eq!(pair.cp.admin_ok("GET", "/routes/kept", &Value::Null)["paths"], json!(["/kept", "/changed"]));
    let (status, log) = with_certificate(&pair.lab, dp.clone(), "cluster").fails_to_start();
    assert_eq!(status.code(), Some(78));
    assert!(log.contains("encrypted with another key") && log.contains(FORMER), "{log}");
    serves(dp);
}

#[test]
fn a_credential_takes_the_place_of_the_cluster_key() {
    let mut pair = pair();
    let credentials = pair.lab.path().join("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::write(credentials.join(KEY), [7; 32]).unwrap();
    fs::copy(pair.lab.path().join("cluster.key"), credentials.join(FORMER)).unwrap();
    pair.link.down();
    let dp = pair.dp.kill().with_env("CREDENTIALS_DIRECTORY", &credentials.display().to_string());
    let dp = serves(dp);
    fs::remove_file(credentials.join(FORMER)).unwrap();
    let dp = serves(dp);
    // Whatever becomes of the cluster's certificate now does not concern the store.
    pair.dp = with_certificate(&pair.lab, serves(dp), "next").start();
    pair.dp.is_ready();
    assert_eq!(pair.dp.get("/kept", &[]).status, 200);
}
