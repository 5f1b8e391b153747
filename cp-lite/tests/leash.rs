//! What a quickstart starts ends with it, whatever ends the quickstart.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Far more than the kernel needs.
const PATIENCE: Duration = Duration::from_secs(30);

/// What `/proc` says a process is, and nothing when it has ended, whether or not somebody has taken note.
fn comm(pid: &str) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = stat.rsplit_once(')')?;
    let (_, comm) = head.split_once('(')?;
    (!tail.trim_start().starts_with('Z')).then(|| comm.to_owned())
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn a_child_on_its_leash_ends_with_a_parent_that_was_killed() {
    // The shell starts the child, tells its process id, and lasts until it is killed, as itself or as `sleep`.
    let script = r#""$0" --leash $$ sleep 600 & echo $!; exec sleep 600"#;
    let mut parent =
        Command::new("sh").args(["-c", script, env!("CARGO_BIN_EXE_cp-lite")]).stdout(Stdio::piped()).spawn().unwrap();
    let mut child = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut child).unwrap();
    let child = child.trim();
    until("the child to be what it was to become", || comm(child).is_some_and(|comm| comm == "sleep"));
    parent.kill().unwrap();
    parent.wait().unwrap();
    until("the child to end", || comm(child).is_none());
}

#[test]
fn a_child_whose_parent_is_gone_already_does_not_start() {
    // Process 1 is not the parent of this.
    let output =
        Command::new(env!("CARGO_BIN_EXE_cp-lite")).args(["--leash", "1", "echo", "started"]).output().unwrap();
    assert_eq!(output.status.code(), Some(70));
    assert!(output.stdout.is_empty());
}
