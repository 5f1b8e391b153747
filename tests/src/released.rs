//! What was released before: its bytes, frozen in `tests/data/released`, and its programs, built from this repository's
//! own history, so that today's are tested against them in both directions.

use serde_json::{Map, Value};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use wire::frame::Decoder;
use wire::message::Message;

/// A state of the product that counts as released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// The commit whose programs made the bytes.
    pub commit: &'static str,
}

/// The last commit before the sync protocol and the store were worked on again. See `tests/data/released/972347d/README.md`.
pub const FIRST: Release = Release { commit: "972347db37b32fd9d04dcb6450c4bc5b377cdfb2" };
/// With patches, reconcile, followers, bundles and the archive. See `tests/data/released/f51c9e1/README.md`.
pub const SECOND: Release = Release { commit: "f51c9e1308b522438082666195ab45dedef59738" };
/// All of them, the oldest first.
pub const ALL: [Release; 2] = [FIRST, SECOND];

/// The commit that old programs are built of.
const COMMIT: &str = FIRST.commit;
/// How much of it names directories.
const SHORT: usize = 7;

impl Release {
    /// A frozen file.
    #[must_use]
    pub fn fixture(self, name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("data/released").join(&self.commit[..SHORT]).join(name)
    }

    /// What is in a frozen file.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn frozen(self, name: &str) -> Vec<u8> {
        fs::read(self.fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// What is in a frozen file of JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn facts(self, name: &str) -> Value {
        serde_json::from_slice(&self.frozen(name)).expect("JSON")
    }

    /// What one end said in a session, message by message.
    ///
    /// # Panics
    /// When not all of it is messages that this build knows.
    #[must_use]
    pub fn said(self, name: &str) -> Vec<Message> {
        let bytes = self.frozen(name);
        let (mut rest, mut decoder, mut said) = (bytes.as_slice(), Decoder::new(), Vec::new());
        while let Some(frame) = decoder.next(&mut rest).expect("a frame") {
            said.push(Message::decode(frame).expect("a message").expect("a known type"));
        }
        said
    }

    /// Unpacks a frozen directory into `dir`.
    ///
    /// # Panics
    /// When it cannot be unpacked.
    pub fn unpack(self, name: &str, dir: &Path) {
        fs::create_dir_all(dir).expect("a directory");
        let status = Command::new("tar").arg("-xzf").arg(self.fixture(name)).arg("-C").arg(dir).status();
        assert!(status.expect("tar is installed").success(), "{name}");
    }
}

/// Compares entities as a release's Admin API showed them, by kind, with what shows them now: everything but what is shown
/// relative to the time of asking, in which credentials that end are looked at alone. Fields that came since are null or at
/// their defaults, and nobody's business here.
///
/// # Panics
/// When they differ.
#[track_caller]
pub fn same(then: &Value, now: &Map<String, Value>) {
    for (kind, entities) in then.as_object().expect("by kind") {
        let (then, now) = (entities.as_array().expect("a list"), now[kind].as_array().expect("a list"));
        assert_eq!(then.len(), now.len(), "{kind}");
        for entity in then {
            let today =
                now.iter().find(|other| other["id"] == entity["id"]).unwrap_or_else(|| panic!("{kind} {entity}"));
            for (field, value) in entity.as_object().expect("an entity") {
                if field == "ttl" {
                    assert_eq!(value.is_null(), today["ttl"].is_null(), "{kind} {}", entity["id"]);
                } else if field == "snis" && today.get(field).is_none() {
                    // Of a certificate, and no field of it: the Admin API puts it together.
                } else {
                    assert_eq!(value, &today[field], "{kind} {} {field}", entity["id"]);
                }
            }
        }
    }
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
