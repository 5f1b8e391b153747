//! What both programs answer to `GET /metrics` is judged by Prometheus' own tool: that it reads, that every metric says
//! what it is, and that names are as its makers want them.

use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tests::http;
use tests::pair::Pair;

/// `promtool`, of the tools that `tests/run` installs or of the system.
fn promtool() -> PathBuf {
    let tools = std::env::var_os("EDGE_TOOLS").map(PathBuf::from);
    let tools = tools.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools"));
    let ours = tools.join("bin/promtool");
    if ours.is_file() { ours } else { PathBuf::from("promtool") }
}

#[track_caller]
fn passes(text: &str) {
    let child = Command::new(promtool())
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap_or_else(|error| panic!("promtool: {error}; tests/run installs it"));
    child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}\n{text}", String::from_utf8_lossy(&said));
}

#[test]
fn prometheus_finds_no_fault_with_the_metrics_of_either_program() {
    let mut pair = Pair::start();
    // Before there is anything to tell of, and after.
    for round in 0..2 {
        let addresses = [pair.cp.address("admin"), pair.dp.address("status")];
        for address in addresses {
            let answer = http::get(address, "/metrics", &[]).expect("an answer");
            assert_eq!(answer.status, 200);
            assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
            passes(&answer.text());
            assert!(answer.text().lines().filter(|line| !line.starts_with('#')).count() >= 7, "{}", answer.text());
        }
        pair.route(&json!({ "name": format!("s{round}") }), &json!({ "paths": [format!("/{round}")] }));
        pair.acknowledged();
        assert_eq!(pair.dp.get(&format!("/{round}"), &[]).status, 200);
    }
}

#[test]
fn a_mistake_would_be_found() {
    let output = std::panic::catch_unwind(|| passes("# TYPE edge_things_total gauge\nedge_things_total{a=\"} 1\n"));
    assert!(output.is_err());
    let output = std::panic::catch_unwind(|| passes("# TYPE edge_things counter\nedge_things 1\n"));
    assert!(output.is_err(), "no help, and a counter that does not say so");
}
