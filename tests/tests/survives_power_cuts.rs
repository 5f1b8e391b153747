//! Durability for real: 25 power cuts at block level under a data plane that takes a stream of changes. Nothing that it
//! acknowledged as durable is lost, and what comes back is one version whole. A mutant without our fdatasync must be
//! caught: that is what makes the first statement worth something.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const CUTS: &str = "25";
/// The exit status of powercut.py where the method cannot be used.
const CANNOT_RUN: i32 = 2;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Cuts the power under the data plane of `programs`; `None` where that cannot be done.
fn cut(programs: &Path, seed: u32) -> Option<(bool, String)> {
    let dir = tempfile::tempdir().expect("a directory");
    let helper = env!("CARGO_BIN_EXE_powercut_gateway");
    let output: Output = Command::new("python3")
        .arg(root().join("tests/powercut/powercut.py"))
        .arg(dir.path())
        .args(["--cuts", CUTS, "--seed", &seed.to_string()])
        .args(["--run", &format!("{helper} run {{mnt}} {{ack}}")])
        .args(["--check", &format!("{helper} check {{mnt}} {{acked}}")])
        .env("EDGE_PROGRAMS", programs)
        .output()
        .expect("python3 runs");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(CANNOT_RUN) && std::env::var_os("CI").is_none() {
        eprintln!("skipped: {text}");
        return None;
    }
    Some((output.status.success(), text))
}

#[test]
fn nothing_acknowledged_as_durable_is_lost_in_25_power_cuts() {
    let programs = tests::lab::program("");
    let Some((passed, text)) = cut(&programs, 1) else { return };
    println!("{text}");
    assert!(passed, "{text}");
}

#[test]
fn a_mutant_without_fdatasync_is_caught() {
    // The mutant has a target directory of its own, so that nothing else can ever pick it up.
    let mutants = target().join("mutant");
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--locked",
            "--quiet",
            "-p",
            "gateway",
            "--features",
            "gateway/mutant-no-fdatasync",
            "--target-dir",
        ])
        .arg(&mutants)
        .current_dir(root())
        .status()
        .expect("cargo runs");
    assert!(built.success());
    let programs = tempfile::tempdir().expect("a directory");
    for (name, program) in
        [("edge-gateway", mutants.join("debug/edge-gateway")), ("cp-lite", tests::lab::program("cp-lite"))]
    {
        std::os::unix::fs::symlink(program.canonicalize().expect("it is built"), programs.path().join(name))
            .expect("a link");
    }
    let Some((passed, text)) = cut(programs.path(), 2) else { return };
    println!("{text}");
    assert!(!passed, "a data plane that never syncs passed every cut: this test sees nothing\n{text}");
    assert!(text.contains(&format!("of {CUTS} cuts passed")), "the cuts did not come to an end\n{text}");
}
