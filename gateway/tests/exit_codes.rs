//! The program as scripts and service managers meet it: what it prints where, and the number it ends with.

use std::path::Path;
use std::process::{Command, Output};

fn edge_gateway(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-gateway"));
    // Nobody's environment gets into the settings.
    command.env_clear().args(arguments).output().unwrap()
}

fn told(output: &Output) -> (i32, String) {
    (output.status.code().unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_wrong_command_line_is_64() {
    let (code, error) = told(&edge_gateway(&["chekc"]));
    assert_eq!(code, 64);
    assert!(error.starts_with("edge-gateway: unknown command \"chekc\"; did you mean \"check\"?\n"), "{error}");
    assert_eq!(told(&edge_gateway(&[])).0, 64);
}

#[test]
fn wrong_settings_are_78_and_every_mistake_has_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    std::fs::write(&file, "proxy_lisen = 1\nstatus_listen = 'x'\n").unwrap();
    for command in ["check", "run"] {
        let (code, error) = told(&edge_gateway(&[command, "-c", text(&file)]));
        assert_eq!(code, 78);
        let place = file.display();
        assert_eq!(
            error,
            format!(
                "{place}:1:1: unknown key \"proxy_lisen\"; did you mean \"proxy_listen\"?\n\
                 {place}:2:1: status_listen: \"x\" is not ADDRESS:PORT, such as 0.0.0.0:8000 or [::]:8000\n"
            )
        );
    }
}

#[test]
fn right_settings_are_0_and_shown_with_their_origin() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    std::fs::write(&file, "log_level = 'warn'\n").unwrap();
    let output = edge_gateway(&["check", "--show", "-c", text(&file), "--prefix", "/data"]);
    assert_eq!(told(&output), (0, String::new()));
    let shown = String::from_utf8(output.stdout).unwrap();
    let has = |key: &str, rest: &str| shown.lines().any(|line| line.starts_with(key) && line.ends_with(rest));
    assert!(has("log_level ", &format!("= \"warn\"  # {}:1:1", file.display())), "{shown}");
    assert!(has("prefix ", "= \"/data\"  # flag --prefix"), "{shown}");
    assert!(has("status_listen ", "= [\"127.0.0.1:8007\"]  # default"), "{shown}");
}

#[test]
fn nobody_to_ask_is_69_and_no_store_is_74() {
    let dir = tempfile::tempdir().unwrap();
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, error) = told(&edge_gateway(&["status", "--status-listen", &free.to_string()]));
    assert_eq!(code, 69);
    assert!(error.contains("is edge-gateway running?"), "{error}");
    assert_eq!(told(&edge_gateway(&["status", "--status-listen", "off"])).0, 69);

    let (code, error) = told(&edge_gateway(&["store", "verify", "--prefix", text(dir.path())]));
    assert_eq!((code, error), (74, format!("edge-gateway: {}/store: there is no store yet\n", dir.path().display())));
    assert!(!dir.path().join("store").exists());
}

#[test]
fn help_and_version_are_0() {
    for arguments in [&["--help"][..], &["help", "run"], &["version"], &["store", "--help"]] {
        let output = edge_gateway(arguments);
        assert_eq!(told(&output), (0, String::new()));
        assert!(!output.stdout.is_empty());
    }
}
