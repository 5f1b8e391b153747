//! What was released before: its bytes, frozen in `tests/data/released`, and its programs, built from this repository's
//! own history, so that today's are tested against them in both directions.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The commit that the first frozen bytes and programs are of: the last one before the sync protocol and the store were
/// worked on again. See `tests/data/released/972347d/README.md`.
pub const COMMIT: &str = "972347db37b32fd9d04dcb6450c4bc5b377cdfb2";
/// How much of it names directories.
const SHORT: usize = 7;

/// A frozen file.
#[must_use]
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/released").join(&COMMIT[..SHORT]).join(name)
}

/// Unpacks a frozen directory into `dir`.
///
/// # Panics
/// When it cannot be unpacked.
pub fn unpack(name: &str, dir: &Path) {
    fs::create_dir_all(dir).expect("a directory");
    let status = Command::new("tar").arg("-xzf").arg(fixture(name)).arg("-C").arg(dir).status();
    assert!(status.expect("tar is installed").success(), "{name}");
}

/// Where `edge-gateway` and `cp-lite` of that commit are. The first to ask builds them (a few minutes of two cores) below
/// the target directory; whoever asks meanwhile waits. `None`, and a loud word about it, where there is no history to
/// build from: an export, a shallow clone.
///
/// # Panics
/// When they do not build.
#[must_use]
pub fn programs() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let dir = crate::lab::target().join("released").join(&COMMIT[..SHORT]);
    fs::create_dir_all(&dir).expect("the target directory is writable");
    let lock = File::create(dir.join("lock")).expect("the target directory is writable");
    lock.lock().expect("one builder at a time");
    let built = dir.join("programs");
    if built.is_dir() {
        return Some(built);
    }
    let commit = format!("{COMMIT}^{{commit}}");
    let known =
        Command::new("git").arg("-C").arg(root).args(["cat-file", "-e", &commit]).stderr(Stdio::null()).status();
    if !known.is_ok_and(|status| status.success()) {
        // Past the capture of the test's output: nobody is to believe that this was tested.
        let _ = writeln!(
            std::io::stderr(),
            "\nNOT TESTED: the programs of {COMMIT} against today's, for this tree has no history to build them from\n"
        );
        return None;
    }
    build(root, &dir, &built);
    Some(built)
}

fn build(root: &Path, dir: &Path, built: &Path) {
    let (source, target) = (dir.join("source"), dir.join("target"));
    let _ = fs::remove_dir_all(&source);
    fs::create_dir_all(&source).expect("the target directory is writable");
    let mut archive = Command::new("git").arg("-C").arg(root).args(["archive", COMMIT]).stdout(Stdio::piped()).spawn();
    let archive = archive.as_mut().expect("git is installed");
    let tree = archive.stdout.take().expect("piped");
    let unpacked = Command::new("tar").arg("-x").arg("-C").arg(&source).stdin(tree).status();
    assert!(unpacked.expect("tar is installed").success() && archive.wait().is_ok_and(|status| status.success()));
    // The cheapest profile: what they do is judged, not how fast.
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--locked", "-p", "gateway", "-p", "cp-lite"])
        .current_dir(&source)
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_INCREMENTAL", "0")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env_remove("RUSTFLAGS")
        .status();
    assert!(status.expect("cargo").success(), "{COMMIT} does not build");
    let unfinished = dir.join("unfinished");
    let _ = fs::remove_dir_all(&unfinished);
    fs::create_dir_all(&unfinished).expect("the target directory is writable");
    for program in ["edge-gateway", "cp-lite"] {
        fs::copy(target.join("debug").join(program), unfinished.join(program)).expect("it was built");
    }
    // Only the programs are of use from here on.
    let _ = (fs::remove_dir_all(&source), fs::remove_dir_all(&target));
    fs::rename(unfinished, built).expect("the target directory is writable");
}
