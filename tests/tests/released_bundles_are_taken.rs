//! Bundles that an earlier release made, a control plane and a data plane of it, signed in either mode, are taken by
//! today's data plane.

use std::process::Command;
use tests::lab::{Lab, Setup, program};
use tests::released::SECOND;

fn shared(lab: &Lab, name: &str) -> Setup {
    let setup = lab.dp(name).with_text("cluster_cert", SECOND.fixture("cluster.crt").display());
    setup.with_text("cluster_cert_key", SECOND.fixture("cluster.key").display())
}

fn pki(lab: &Lab, name: &str) -> Setup {
    let setup = lab.dp(name).with_text("cluster_mtls", "pki");
    let setup = setup.with_text("cluster_ca_cert", SECOND.fixture("pki-authority.crt").display());
    let setup = setup.with_text("cluster_server_name", "cp.frozen.example");
    let setup = setup.with_text("cluster_cert", SECOND.fixture("pki-node.crt").display());
    setup.with_text("cluster_cert_key", SECOND.fixture("pki-node.key").display())
}

/// `edge-gateway store import`: whether it was taken, and what was said.
fn import(setup: &Setup, bundle: &str) -> (bool, String) {
    let mut command = Command::new(program("edge-gateway"));
    command.args(["store", "import"]).arg(SECOND.fixture(bundle)).arg("-c").arg(setup.write());
    let output = command.output().expect("edge-gateway is built");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn todays_data_plane_takes_a_released_bundle_of_either_writer_in_either_mode() {
    let lab = Lab::new();
    let shared_proves = "a member of the cluster made it, and no more";
    for (bundle, setup, proves) in [
        ("cp-shared.bundle", shared(&lab, "a"), shared_proves),
        ("dp-shared.bundle", shared(&lab, "b"), shared_proves),
        ("cp-pki.bundle", pki(&lab, "c"), "of the certificate of \"cp.frozen.example\""),
        ("dp-pki.bundle", pki(&lab, "d"), "of the certificate of \"node.frozen.example\""),
    ] {
        let (taken, said) = import(&setup, bundle);
        assert!(taken && said.contains(proves), "{bundle}: {said}");
        let mut dp = setup.start();
        dp.is_ready();
        let answer = dp.get("/open", &[("x-key", "for-ever")]);
        assert_eq!((answer.status, answer.json()["message"].as_str()), (200, Some("frozen")), "{bundle}");
        assert_eq!(dp.get("/open", &[("x-key", "no")]).status, 401, "{bundle}");
    }
}

#[test]
fn a_released_bundle_proves_nothing_to_another_cluster() {
    let lab = Lab::new();
    for bundle in ["cp-shared.bundle", "dp-shared.bundle", "cp-pki.bundle", "dp-pki.bundle"] {
        let (taken, said) = import(&lab.dp("other"), bundle);
        assert!(!taken && said.contains("signature does not count"), "{bundle}: {said}");
    }
    let (taken, said) = import(&pki(&lab, "pki").with_text("cluster_server_name", "other.example"), "cp-pki.bundle");
    assert!(!taken, "{said}");
}
