//! `edge-gateway store …`, as whoever looks after a node meets it: what was damaged is named, also where it was made good by
//! looking, and the number that it ends with tells a script.

use gateway::state::{self, Meta, Source};
use model::kinds::consumers::Consumer;
use model::{Id, Kind, Record};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{SystemTime, UNIX_EPOCH};
use store::{Encryption, Mode, Options, Secret, Store};

const RECORDS: u128 = 300;

/// A node of a cluster, stopped.
struct Node {
    dir: tempfile::TempDir,
    mode: Mode,
}

impl Node {
    /// With nothing in its store.
    fn new(mode: Mode) -> Node {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let pair = pki::issue::gen_cert(30, now).unwrap();
        fs::write(dir.path().join("cluster.crt"), pair.cert_pem).unwrap();
        fs::write(dir.path().join("cluster.key"), pair.key_pem).unwrap();
        fs::write(dir.path().join("secret"), b"a secret of 24 characters").unwrap();
        Node { dir, mode }
    }

    /// With what a control plane sent, in a few commits.
    fn filled(mode: Mode) -> Node {
        let node = Node::new(mode);
        let (mut store, _) = node.open();
        let (mut root, mut count) = (0_u64, 0);
        for version in 1..=RECORDS {
            let record = record(version);
            (root, count) = (root.wrapping_add(record.tag), count + 1);
            let version = record.version;
            let meta = Meta { epoch: 7, version, root, count, source: Source::ControlPlane, term: 1 };
            let change = store::Change { key: state::key(record.kind, record.id), value: Some(state::value(&record)) };
            store.commit(&meta.to_bytes(), vec![change]).unwrap();
        }
        drop(store);
        node
    }

    fn open(&self) -> (Store, Option<Vec<u8>>) {
        let secret = Some(Secret::new(b"a secret of 24 characters"));
        let encryption = Encryption { mode: self.mode, secret, former: None };
        let options = Options { encryption, checkpoint_commits: 40, ..Options::default() };
        Store::open(&self.store(), options, &mut |_, _| {}).unwrap()
    }

    /// Has the certificate of another one's cluster from now on.
    fn joins(&self, other: &Node) {
        for name in ["cluster.crt", "cluster.key"] {
            fs::copy(other.file(name), self.file(name)).unwrap();
        }
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn runs(&self, command: &[&str]) -> Told {
        let mut program = Command::new(env!("CARGO_BIN_EXE_edge-gateway"));
        // Nobody's environment gets into the settings.
        program.env_clear().arg("store").args(command);
        let settings = [
            ("--prefix", self.dir.path().to_str().unwrap().to_owned()),
            ("--cluster-cert", self.file("cluster.crt")),
            ("--cluster-cert-key", self.file("cluster.key")),
            ("--declarative-config-encryption-mode", self.mode.name().to_owned()),
            ("--declarative-config-encryption-key", self.file("secret")),
        ];
        program.args(settings.iter().flat_map(|(flag, value)| [*flag, value.as_str()]));
        let Output { status, stdout, stderr } = program.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Told { code: status.code().unwrap(), said: text(stdout), error: text(stderr) }
    }

    /// The files below the store whose names begin so, the quarantine's not among them.
    fn named(&self, prefix: &str) -> Vec<PathBuf> {
        let mut found = files(&self.store());
        let is_named = |path: &Path| path.file_name().unwrap().to_str().unwrap().starts_with(prefix);
        found.retain(|path| is_named(path) && !path.to_str().unwrap().contains("quarantine"));
        assert!(!found.is_empty(), "no {prefix}");
        found
    }
}

#[derive(Debug)]
struct Told {
    code: i32,
    said: String,
    error: String,
}

fn record(n: u128) -> Record {
    let consumer =
        Consumer { id: Id(n), username: Some(format!("name-{n}-{}", "x".repeat(300))), ..Consumer::default() };
    let body = consumer.encode().unwrap();
    let tag = Record::tag_of(Kind::Consumer, Id(n), &body);
    Record { kind: Kind::Consumer, id: Id(n), version: n as u64, tag, body: body.into() }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() { found.extend(files(&entry.path())) } else { found.push(entry.path()) }
    }
    found.sort();
    found
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn verify_names_a_damaged_run_of_the_archive_and_says_yes_when_it_is_good_again() {
    let node = Node::filled(Mode::Off);
    assert_eq!(node.runs(&["verify"]).code, 0);
    let run = node.named("run-").remove(0);
    let name = run.file_name().and_then(OsStr::to_str).unwrap().to_owned();
    flip(&run, 100);
    let told = node.runs(&["verify"]);
    assert_eq!((told.code, told.said.as_str()), (1, ""), "{told:?}");
    for word in
        ["it was damaged: the archive", &format!("{name} set aside"), "nothing was lost", "good again: version 300"]
    {
        assert!(told.error.contains(word), "{word}: {told:?}");
    }
    let aside = files(&node.store()).into_iter().filter(|path| path.to_str().unwrap().contains("quarantine-1"));
    assert_eq!(aside.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect::<Vec<_>>(), [name]);
    let told = node.runs(&["verify"]);
    assert_eq!((told.code, told.error.as_str()), (0, ""), "{told:?}");
    assert!(told.said.starts_with("good: version 300"), "{told:?}");
}

#[test]
fn verify_names_damage_in_sled_which_opening_does_not_read() {
    let node = Node::filled(Mode::Off);
    flip(&node.named("db").remove(0), 3_000);
    let told = node.runs(&["verify"]);
    assert_eq!(told.code, 1, "{told:?}");
    assert!(told.error.contains("it is damaged: sled: "), "{told:?}");
    // It is still so, and what is there is served from the other copy all the same.
    assert_eq!(node.runs(&["verify"]).code, 1);
    assert!(node.runs(&["info"]).said.contains("version 300"));
}

#[test]
fn info_tells_what_opening_the_store_made_good() {
    let node = Node::filled(Mode::Off);
    assert!(!node.runs(&["info"]).said.contains("damage"));
    fs::remove_file(node.store().join("CURRENT")).unwrap();
    let told = node.runs(&["info"]);
    assert_eq!(told.code, 0);
    assert!(told.said.contains("damage         CURRENT was missing or damaged"), "{told:?}");
}

#[test]
fn an_encrypted_store_is_told_of_exported_and_imported() {
    let (from, to) = (Node::filled(Mode::Aes256Gcm), Node::new(Mode::Chacha20Poly1305));
    let told = from.runs(&["info"]);
    assert!(told.said.contains("encryption     aes-256-gcm") && told.said.contains("300 entities"), "{told:?}");
    assert_eq!(from.runs(&["verify"]).code, 0);
    let bundle = from.file("bundle");
    assert_eq!(from.runs(&["export", &bundle]).code, 0);
    to.joins(&from);
    let told = to.runs(&["import", &bundle]);
    assert_eq!(told.code, 0, "{told:?}");
    let told = to.runs(&["info"]);
    assert!(told.said.contains("encryption     chacha20-poly1305") && told.said.contains("300 entities"), "{told:?}");
    assert_eq!(to.runs(&["verify"]).code, 0);
    let readable = |path: &PathBuf| fs::read(path).unwrap().windows(8).any(|bytes| bytes == b"name-17-");
    assert!(!files(&to.store()).iter().any(readable), "an entity can be read in the store");

    fs::write(to.file("secret"), b"another one of 28 characters").unwrap();
    for command in [&["info"][..], &["verify"], &["export", &bundle], &["import", &bundle]] {
        let told = to.runs(command);
        assert!(told.code == 78 && told.error.contains("encrypted with another key"), "{told:?}");
    }
    // Whoever has lost the key begins anew.
    assert_eq!(to.runs(&["wipe"]).code, 0);
    assert_eq!(to.runs(&["import", &bundle]).code, 0);
    assert_eq!(to.runs(&["verify"]).code, 0);
}

#[test]
fn a_bundle_is_taken_over_a_store_that_is_damaged_beyond_repair() {
    let (from, to) = (Node::filled(Mode::Off), Node::filled(Mode::Off));
    let bundle = from.file("bundle");
    assert_eq!(from.runs(&["export", &bundle]).code, 0);
    to.joins(&from);
    to.named("run-").iter().chain(&to.named("db")).for_each(|path| fs::write(path, b"nothing of ours").unwrap());
    let told = to.runs(&["verify"]);
    assert!(told.code == 74 && told.error.contains("corrupt store"), "{told:?}");
    let told = to.runs(&["import", &bundle]);
    assert_eq!(told.code, 0, "{told:?}");
    assert!(told.said.contains("The store was damaged") && told.said.contains("is set aside"), "{told:?}");
    assert!(to.store().join("quarantine-1").is_dir());
    let told = to.runs(&["verify"]);
    assert!(told.code == 0 && told.said.contains("300 entities"), "{told:?}");
}
