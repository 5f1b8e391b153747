//! The program as scripts and service managers meet it: what it prints where, and the number it ends with.

use std::path::Path;
use std::process::{Command, Output};

fn cp_lite(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cp-lite"));
    // Nobody's environment gets into the settings.
    command.env_clear().current_dir(directory).args(arguments).output().unwrap()
}

fn told(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
}

#[test]
fn a_certificate_is_made_once_and_the_settings_that_use_it_are_valid() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(told(&cp_lite(dir.path(), &["hybrid", "gen_cert"])), (0, String::new()));
    let (code, error) = told(&cp_lite(dir.path(), &["hybrid", "gen_cert"]));
    assert_eq!((code, error.as_str()), (74, "cp-lite: cluster.crt exists; it is not overwritten\n"));

    let flags = ["check", "--cluster-cert", "cluster.crt", "--cluster-cert-key", "cluster.key"];
    assert_eq!(told(&cp_lite(dir.path(), &flags)), (0, String::new()));
}

#[test]
fn an_admin_api_for_other_machines_is_refused_with_78_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    cp_lite(dir.path(), &["hybrid", "gen_cert"]);
    std::fs::write(
        dir.path().join("cp.toml"),
        "prefix = 'state'\nadmin_listen = '0.0.0.0:8001'\ncluster_cert = 'cluster.crt'\ncluster_cert_key = 'cluster.key'\n",
    )
    .unwrap();
    let (code, error) = told(&cp_lite(dir.path(), &["run", "-c", "cp.toml"]));
    assert_eq!(code, 78);
    assert!(error.starts_with("cp.toml:2:1: admin_listen: 0.0.0.0:8001 can be reached from other machines"), "{error}");
    assert!(!dir.path().join("state").exists());
}

#[test]
fn a_wrong_command_line_is_64_and_nobody_to_ask_is_69() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(told(&cp_lite(dir.path(), &["hybrid", "gen_cert", "only-one"])).0, 64);
    assert_eq!(told(&cp_lite(dir.path(), &["hybrid", "gen_cert", "-d", "soon"])).0, 64);
    assert_eq!(told(&cp_lite(dir.path(), &["enrol"])).0, 64);
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, error) = told(&cp_lite(dir.path(), &["node", "list", "--admin-url", &format!("http://{free}")]));
    assert_eq!(code, 69, "{error}");
}
