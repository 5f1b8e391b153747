//! A daemon tells glibc to give free memory back, and leaves alone what an operator told it.

#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const VARIABLE: &str = "MALLOC_TRIM_THRESHOLD_";

/// The value of the variable in the daemon's environment once it runs, and under which name it runs.
fn running(set: Option<&str>) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    let settings = format!(
        "prefix = {:?}\nproxy_listen = \"127.0.0.1:0\"\nstatus_listen = \"127.0.0.1:0\"\n",
        dir.path().join("state")
    );
    std::fs::write(&file, settings).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-gateway"));
    command.env_clear().args(["run", "-c"]).arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.envs(set.map(|value| (VARIABLE, value))).spawn().unwrap();
    let started = Instant::now();
    let found = loop {
        let of = |name| std::fs::read_to_string(format!("/proc/{}/{name}", child.id())).unwrap_or_default();
        let environment = of("environ");
        let value = environment.split('\0').find_map(|pair| pair.strip_prefix(VARIABLE)?.strip_prefix('='));
        if let Some(value) = value {
            break (value.to_owned(), of("comm").trim().to_owned());
        }
        assert!(started.elapsed() < Duration::from_secs(30) && child.try_wait().unwrap().is_none());
        std::thread::yield_now();
    };
    let _ = (child.kill(), child.wait());
    found
}

#[test]
fn the_same_process_goes_on_with_the_bound_set() {
    assert_eq!(running(None), ("131072".to_owned(), "edge-gateway".to_owned()));
}

#[test]
fn an_operators_bound_stays() {
    assert_eq!(running(Some("4096")).0, "4096");
}
