//! With certificates of their own (`cluster_mtls = "pki"`) the signature of a bundle proves more than membership: a control
//! plane's is from a certificate that is for a control plane of the reader's settings, and names it; nobody else's will do.

use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tests::authority::{Authority, For};
use tests::lab::{Daemon, Lab, Setup, program};
use tests::pair::{apply, put};
use tests::planes::{node, own, serves};

fn said(output: &Output) -> String {
    [output.stdout.as_slice(), &output.stderr].concat().iter().copied().map(char::from).collect()
}

/// `edge-gateway store …` on the settings of a data plane.
fn store(setup: &Setup, verb: &str, file: &Path) -> Output {
    let settings = setup.write();
    Command::new(program("edge-gateway")).args(["store", verb]).arg(file).arg("-c").arg(settings).output().unwrap()
}

/// A route in a control plane, and a bundle of that.
fn export(lab: &Lab, cp: &mut Daemon, name: &str) -> PathBuf {
    apply(cp, &[put("routes", json!({ "name": "one", "paths": ["/one"] }))]);
    let (file, url) = (lab.path().join(format!("{name}.bundle")), format!("http://{}", cp.address("admin")));
    let mut command = Command::new(program("cp-lite"));
    let output = command.args(["config", "export"]).arg(&file).args(["--admin-url", &url]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    file
}

#[track_caller]
fn is_taken(output: &Output, proof: &str) {
    assert!(output.status.success() && said(output).contains(proof), "{}", said(output));
}

#[track_caller]
fn is_refused(output: &Output, why: &str) {
    assert_eq!(output.status.code(), Some(1), "{}", said(output));
    assert!(said(output).contains("signature does not count") && said(output).contains(why), "{}", said(output));
}

#[test]
fn a_control_planes_bundle_names_it_and_it_goes_on_from_there() {
    let lab = Lab::new();
    let ours = Authority::new(&lab, "ours");
    let mut cp = ours.member(lab.cp("cp"), "cp-1", For::ControlPlane).start();
    let bundle = export(&lab, &mut cp, "cp");
    let dp = ours.member(node(&lab, "dp", &[cp.address("cluster")]), "dp-1", For::DataPlane);
    let taken = store(&dp, "import", &bundle);
    is_taken(&taken, "a control plane made it");
    is_taken(&taken, "The signature is that of the certificate of \"cp-1\".");
    let mut dp = dp.start();
    let epoch = own(&mut cp)["epoch"].clone();
    let version = apply(&mut cp, &[put("routes", json!({ "name": "two", "paths": ["/two"] }))]);
    serves(&mut dp, &epoch, version);
    assert!(dp.log().contains("mode=\"tail\"") && !dp.log().contains("full sync"), "{}", dp.log());

    // What that one holds, it signs as itself.
    let (dp, _) = dp.stop();
    let handed_on = lab.path().join("dp.bundle");
    let exported = store(&dp, "export", &handed_on);
    assert!(exported.status.success(), "{}", said(&exported));
    let next = ours.member(node(&lab, "next", &[cp.address("cluster")]), "dp-2", For::DataPlane);
    let taken = store(&next, "import", &handed_on);
    is_taken(&taken, "a data plane made it");
    is_taken(&taken, "The signature is that of the certificate of \"dp-1\".");
    let mut next = next.start();
    serves(&mut next, &epoch, version);
    assert!(!next.log().contains("full sync"), "{}", next.log());
}

#[test]
fn nobody_but_a_control_plane_of_the_settings_signs_as_one() {
    let lab = Lab::new();
    let (ours, theirs) = (Authority::new(&lab, "ours"), Authority::new(&lab, "theirs"));
    let dp = ours.member(lab.dp("dp"), "dp-1", For::DataPlane);

    let mut foreign = theirs.member(lab.cp("foreign"), "cp-9", For::ControlPlane).start();
    is_refused(&store(&dp, "import", &export(&lab, &mut foreign, "foreign")), "no trusted authority issued it");

    // Members of the cluster, with certificates from its authority, that are no control planes of it.
    let mut posing = ours.member(lab.cp("posing"), "dp-2", For::DataPlane).start();
    is_refused(&store(&dp, "import", &export(&lab, &mut posing, "posing")), "it was issued for another use");
    let web = ours.member(lab.cp("web"), "unused", For::ControlPlane);
    let mut web = ours.certified(web, &["web.test"], For::ControlPlane).start();
    is_refused(&store(&dp, "import", &export(&lab, &mut web, "web")), "it is not for the name \"cp.test\"");

    // The shared certificate proves membership where everybody holds it, and nothing here.
    let mut shared = lab.cp("shared").start();
    is_refused(&store(&dp, "import", &export(&lab, &mut shared, "shared")), "a shared cluster certificate");
}
