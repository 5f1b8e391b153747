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

/// How much of a commit names directories.
const SHORT: usize = 7;
/// Set it where the tree has no history to build old programs from (an export, a shallow clone): what needs them is then not
/// tested, which is said loudly. Otherwise that is a failure.
pub const NO_HISTORY: &str = "EDGE_NO_HISTORY";

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

/// Where `edge-gateway` and `cp-lite` of all releases are, the oldest first; none where [`NO_HISTORY`] says so.
#[must_use]
pub fn programs() -> Vec<PathBuf> {
    ALL.iter().filter_map(|release| release.programs()).collect()
}

impl Release {
    /// Where its `edge-gateway` and `cp-lite` are. The first to ask builds them (a few minutes of two cores) below the
    /// target directory; whoever asks meanwhile waits. `None`, and a loud word about it, where [`NO_HISTORY`] is set and
    /// there is none.
    ///
    /// # Panics
    /// When they do not build, and when there is no history and nobody said so.
    #[must_use]
    pub fn programs(self) -> Option<PathBuf> {
        let Self { commit } = self;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        let all = crate::lab::target().join("released");
        let dir = all.join(&commit[..SHORT]);
        fs::create_dir_all(&dir).expect("the target directory is writable");
        let lock = File::create(all.join("lock")).expect("the target directory is writable");
        lock.lock().expect("one builder at a time");
        let built = dir.join("programs");
        if built.is_dir() {
            return Some(built);
        }
        let object = format!("{commit}^{{commit}}");
        let known =
            Command::new("git").arg("-C").arg(root).args(["cat-file", "-e", &object]).stderr(Stdio::null()).status();
        if !known.is_ok_and(|status| status.success()) {
            let said = std::env::var_os(NO_HISTORY).is_some();
            assert!(said, "no history to build {commit} from; where there can be none, set {NO_HISTORY}=1");
            // Past the capture of the test's output: nobody is to believe that this was tested.
            let _ = writeln!(
                std::io::stderr(),
                "\nNOT TESTED: the programs of {commit} against today's, for this tree has no history to build them from\n"
            );
            return None;
        }
        // What releases have in common, nearly all of what they stand on, is built once.
        let target = all.join("target");
        self.build(root, &dir, &target);
        if ALL.iter().all(|release| all.join(&release.commit[..SHORT]).join("programs").is_dir()) {
            // Only the programs are of use from here on.
            let _ = fs::remove_dir_all(&target);
        }
        Some(built)
    }

    fn build(self, root: &Path, dir: &Path, target: &Path) {
        let Self { commit } = self;
        let source = dir.join("source");
        let _ = fs::remove_dir_all(&source);
        fs::create_dir_all(&source).expect("the target directory is writable");
        let mut archive =
            Command::new("git").arg("-C").arg(root).args(["archive", commit]).stdout(Stdio::piped()).spawn();
        let archive = archive.as_mut().expect("git is installed");
        let tree = archive.stdout.take().expect("piped");
        // As of now and not of the commit: to cargo, crates of the release that was built before would pass for these.
        let unpacked = Command::new("tar").arg("-xm").arg("-C").arg(&source).stdin(tree).status();
        assert!(unpacked.expect("tar is installed").success() && archive.wait().is_ok_and(|status| status.success()));
        // The cheapest profile: what they do is judged, not how fast.
        let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["build", "--locked", "-p", "gateway", "-p", "cp-lite"])
            .current_dir(&source)
            .env("CARGO_TARGET_DIR", target)
            .env("CARGO_INCREMENTAL", "0")
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env_remove("RUSTFLAGS")
            .status();
        assert!(status.expect("cargo").success(), "{commit} does not build");
        let unfinished = dir.join("unfinished");
        let _ = fs::remove_dir_all(&unfinished);
        fs::create_dir_all(&unfinished).expect("the target directory is writable");
        for program in ["edge-gateway", "cp-lite"] {
            fs::copy(target.join("debug").join(program), unfinished.join(program)).expect("it was built");
        }
        let _ = fs::remove_dir_all(&source);
        fs::rename(unfinished, dir.join("programs")).expect("the target directory is writable");
    }
}
