//! With `cluster_mtls = "pki"` every control plane and data plane has a certificate of its own, from one authority: they
//! follow, serve and take over as with a shared one; whoever has another authority's certificate, or one that is for
//! something else, is refused, and both ends say why.

use serde_json::{Value, json};
use tests::authority::{Authority, For};
use tests::lab::{Daemon, Lab};
use tests::pair::{apply, put};
use tests::planes::{following, has, node, own, promote, serves};
use tests::wait;

fn change(cp: &mut Daemon, name: &str) -> u64 {
    apply(cp, &[put("routes", json!({ "name": name, "paths": [format!("/{name}")] }))])
}

/// Waits until a data plane says why it is not connected.
fn says(dp: &mut Daemon, why: &str) {
    wait::until(&format!("the data plane to say {why:?}"), || {
        let status = dp.sync_status();
        status["last_error"].as_str()?.contains(why).then_some(())
    });
}

#[test]
fn a_follower_and_data_planes_with_certificates_of_their_own_serve_and_take_over() {
    let lab = Lab::new();
    let ours = Authority::new(&lab, "ours");
    let mut writer = ours.member(lab.cp("writer"), "cp-1", For::ControlPlane).start();
    let above = writer.address("cluster");
    let mut follower = ours.member(following(&lab, "follower", &[above]), "cp-2", For::ControlPlane).start();
    let addresses = [above, follower.address("cluster")];
    let mut dp = ours.member(node(&lab, "dp", &addresses), "dp-1", For::DataPlane).start();
    let mut below = ours.member(node(&lab, "below", &addresses[1..]), "dp-2", For::DataPlane).start();
    let epoch = own(&mut writer)["epoch"].clone();
    for name in ["one", "two"] {
        let version = change(&mut writer, name);
        has(&mut follower, &epoch, version);
        serves(&mut dp, &epoch, version);
        serves(&mut below, &epoch, version);
    }
    assert_eq!(below.sync_status()["mode"], "tail");

    drop(writer.kill());
    wait::until("the writer to be missed", || (own(&mut follower)["writer"]["connected"] == false).then_some(()));
    let promoted = promote(&mut follower, &[]);
    assert!(promoted.status.success(), "{}", String::from_utf8_lossy(&promoted.stderr));
    let epoch = own(&mut follower)["epoch"].clone();
    let version = change(&mut follower, "three");
    serves(&mut dp, &epoch, version);
    serves(&mut below, &epoch, version);
}

#[test]
fn a_certificate_of_another_authority_is_refused_at_either_end_and_both_say_why() {
    let lab = Lab::new();
    let (ours, theirs) = (Authority::new(&lab, "ours"), Authority::new(&lab, "theirs"));
    let mut writer = ours.member(lab.cp("writer"), "cp-1", For::ControlPlane).start();
    let above = [writer.address("cluster")];
    change(&mut writer, "one");

    // It trusts us, and we do not know who it is.
    let stranger = ours.member(node(&lab, "stranger", &above), "unused", For::DataPlane);
    let mut stranger = theirs.certified(stranger, &["dp-9"], For::DataPlane).start();
    says(&mut stranger, "the client certificate was refused: no trusted authority issued it");
    writer.logs("no trusted authority issued it");

    // It does not trust us.
    let mut lost = theirs.member(node(&lab, "lost", &above), "dp-8", For::DataPlane).start();
    says(&mut lost, "we refused the peer's certificate: no trusted authority issued it");

    // The cluster's shared certificate is none of ours either.
    let shared = node(&lab, "shared", &above).with_text("cluster_ca_cert", ours.file.display());
    let mut shared = shared.with_text("cluster_mtls", "pki").with_text("cluster_server_name", "cp.test").start();
    says(&mut shared, "the client certificate was refused: it is an authority's own or a shared cluster certificate");

    let follower = ours.member(following(&lab, "follower", &above), "unused", For::ControlPlane);
    let mut follower = theirs.certified(follower, &["cp-9", "cp.test"], For::ControlPlane).start();
    wait::until("the follower to say why it does not follow", || {
        let why = own(&mut follower)["writer"]["last_error"].clone();
        why.as_str()?.contains("no trusted authority issued it").then_some(())
    });

    for dp in [&mut stranger, &mut lost, &mut shared] {
        assert_eq!(dp.sync_status()["version"], 0, "nothing was said to strangers");
    }
    assert_eq!(own(&mut follower)["version"], 0);
    let nodes = writer.admin_ok("GET", "/clustering/data-planes", &Value::Null);
    assert_eq!(nodes["data"], json!([]));
}

#[test]
fn a_data_planes_certificate_and_one_for_another_name_are_no_control_planes() {
    let lab = Lab::new();
    let ours = Authority::new(&lab, "ours");
    let mut posing = ours.member(lab.cp("posing"), "dp-1", For::DataPlane).start();
    let mut dp = ours.member(node(&lab, "dp", &[posing.address("cluster")]), "dp-2", For::DataPlane).start();
    says(&mut dp, "we refused the peer's certificate: it was issued for another use");

    let web = ours.member(lab.cp("web"), "unused", For::ControlPlane);
    let mut web = ours.certified(web, &["web.test"], For::ControlPlane).start();
    let mut other = ours.member(node(&lab, "other", &[web.address("cluster")]), "dp-3", For::DataPlane).start();
    says(&mut other, "it is not for the name \"cp.test\"");
    for dp in [&mut dp, &mut other] {
        assert_eq!(dp.sync_status()["source"], Value::Null, "{}", dp.sync_status());
    }
}
