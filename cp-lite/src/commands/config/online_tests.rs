//! Promises of `dump`, `diff` and `apply`, with a real Admin API over a real changelog on loopback.

use super::*;
use crate::admin::{App, Counters, NodeInfo, serve};
use crate::changelog::{Changelog, Local};
use crate::fleet::Fleet;
use os::exit::Exit;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A control plane with nothing but its Admin API.
struct Lab {
    dir: tempfile::TempDir,
    changelog: Arc<dyn Changelog>,
    url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Lab {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (changelog, _) = Local::open(&dir.path().join("store"), store::Options::default()).unwrap();
        let changelog: Arc<dyn Changelog> = Arc::new(changelog);
        let app = Arc::new(App {
            changelog: changelog.clone(),
            fleet: Arc::new(Fleet::new(1_000_000)),
            planes: Arc::new(crate::planes::Planes::new(Vec::new())),
            node: NodeInfo { id: Id(1), hostname: "lab".into(), version: "0", configuration: serde_json::Map::new() },
            certificates: None,
            bundles: None,
            now_ms,
            counters: Counters::default(),
        });
        let (ready, url) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                ready.send(format!("http://{}", listener.local_addr().unwrap())).unwrap();
                serve(app, listener, async { drop(stopped.await) }).await;
            });
        });
        Self { dir, changelog, url: url.recv().unwrap(), stop: Some(stop), thread: Some(thread) }
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = self.dir.path().join("kong.yaml");
        std::fs::write(&path, text).unwrap();
        path
    }

    fn apply(&self, text: &str, force: bool) -> (Result<(), ExitError>, String) {
        let file = self.file(text);
        let mut out = Vec::new();
        let result = apply(&Apply { file: &file, admin_url: &self.url, force }, &mut out);
        (result, String::from_utf8(out).unwrap())
    }

    #[track_caller]
    fn applied(&self, text: &str) -> String {
        let (result, out) = self.apply(text, false);
        assert_eq!(result, Ok(()), "{out}");
        out
    }

    fn diff(&self, text: &str) -> (Result<(), ExitError>, String) {
        let file = self.file(text);
        let mut out = Vec::new();
        let result = diff(&Diff { file: &file, admin_url: &self.url }, &mut out);
        (result, String::from_utf8(out).unwrap())
    }

    fn dump(&self, terse: bool) -> String {
        let mut out = Vec::new();
        let args = Dump { admin_url: &self.url, output: None, format: None, flat: false, terse };
        dump(&args, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

const SAMPLE: &str = "
_format_version: '3.0'
services:
- name: orders
  host: orders.example
  routes:
  - name: list
    paths: [/orders]
    plugins: [{name: key-auth}]
  - paths: [/unnamed]
consumers:
- username: ann
  keyauth_credentials: [{key: s3cret}]
  jwt_secrets: [{}]
upstreams:
- name: pool
  targets: [{target: '10.0.0.1:80'}]
";

#[test]
fn what_was_applied_shows_no_difference_and_is_one_version() {
    let lab = Lab::start();
    let out = lab.applied(SAMPLE);
    assert!(out.contains("create service 'orders'\n") && out.ends_with("applied as version 1\n"), "{out}");
    assert!(!out.contains("s3cret"), "{out}");
    assert_eq!(lab.changelog.view().version, 1);
    let (result, out) = lab.diff(SAMPLE);
    assert_eq!((result, out.as_str()), (Ok(()), "no difference\n"));
    assert_eq!(lab.applied(SAMPLE), "nothing to do\n");
}

#[test]
fn what_differs_in_a_key_is_told_without_its_secrets() {
    let lab = Lab::start();
    let (first, second) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let file = |form: String| {
        format!("_format_version: '3.0'\nkey_sets:\n- name: tokens\n  keys:\n  - {{name: one, kid: k, {form}}}\n")
    };
    let pem = |pair: &rcgen::KeyPair| file(format!("pem: {{private_key: {:?}}}", pair.serialize_pem()));
    let both = |pair: &rcgen::KeyPair| {
        file(format!("pem: {{private_key: {:?}, public_key: {:?}}}", pair.serialize_pem(), pair.public_key_pem()))
    };
    let jwk = file("jwk: '{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}'".into());
    let out = lab.applied(&pem(&first));
    assert!(out.contains("create key_set 'tokens'\n") && out.contains("create key 'one'\n"), "{out}");
    for (file, lines) in [
        (both(&second), vec!["    pem.private_key: changed (not shown)", "    pem.public_key: null → "]),
        (jwk, vec!["    jwk: changed (not shown)", "    pem.private_key: changed (not shown)"]),
        (pem(&first), vec!["    jwk: changed (not shown)", "    pem.private_key: changed (not shown)"]),
    ] {
        let out = lab.applied(&file);
        assert!(lines.iter().all(|line| out.contains(line)), "{out}");
        assert!(!out.contains("PRIVATE") && !out.contains("11qYAYKx"), "{out}");
    }
}

#[test]
fn a_dump_is_a_file_that_shows_no_difference_and_dumps_the_same() {
    let lab = Lab::start();
    lab.applied(SAMPLE);
    let (full, terse) = (lab.dump(false), lab.dump(true));
    for dump in [&full, &terse] {
        assert_eq!(lab.diff(dump).1, "no difference\n", "{dump}");
    }
    let other = Lab::start();
    other.applied(&full);
    assert_eq!(other.dump(true), terse);
    assert_eq!(other.changelog.view().catalog.len(), lab.changelog.view().catalog.len());
}

#[test]
fn a_difference_is_told_by_entity_and_field_and_ends_with_1() {
    let lab = Lab::start();
    lab.applied(SAMPLE);
    let changed = SAMPLE
        .replace("paths: [/orders]", "paths: [/orders, /o]")
        .replace("[{name: key-auth}]", "[{name: key-auth, config: {hide_credentials: true}}]")
        .replace("- name: pool\n  targets: [{target: '10.0.0.1:80'}]", "- name: other");
    let (result, out) = lab.diff(&changed);
    assert_eq!(result.unwrap_err().exit, Exit::Failed);
    let id = |kind: model::Kind| lab.changelog.view().catalog.iter(kind, None).next().unwrap().0;
    let expected = format!(
        "create upstream 'other'\nupdate route 'list'\n    paths: [\"/orders\"] → [\"/orders\",\"/o\"]\n\
         update plugin 'key-auth' ({})\n    config.hide_credentials: false → true\n\
         delete target '10.0.0.1:80'\ndelete upstream 'pool'\n1 to create, 2 to update, 2 to delete\n",
        id(model::Kind::Plugin)
    );
    assert_eq!(out, expected);
    assert_eq!(lab.changelog.view().version, 1, "a diff changes nothing");
    lab.applied(&changed);
    assert_eq!(lab.diff(&changed).1, "no difference\n");
}

#[test]
fn an_entity_made_by_hand_is_taken_over_by_its_name() {
    let lab = Lab::start();
    let id = "00000000-0000-0000-0000-0000000000aa";
    lab.applied(&format!(
        "_format_version: '3.0'\nservices:\n- {{name: orders, host: old, id: {id}, routes: [{{name: list, paths: [/orders]}}]}}\n"
    ));
    let out = lab.applied(SAMPLE);
    assert!(out.contains("update service 'orders'\n    host: \"old\" → \"orders.example\""), "{out}");
    assert!(out.contains(" 0 to delete"), "{out}");
    let dump = lab.dump(false);
    assert!(dump.contains(id), "{dump}");
    assert_eq!(lab.diff(SAMPLE).1, "no difference\n");
}

#[test]
fn select_tags_leave_the_rest_alone() {
    let lab = Lab::start();
    lab.applied(SAMPLE);
    let team = "_format_version: '3.0'\n_info: {select_tags: [team]}\nservices:\n- {name: theirs, host: h}\n";
    let out = lab.applied(team);
    assert!(out.contains(" 0 to delete"), "{out}");
    let emptied = "_format_version: '3.0'\n_info: {select_tags: [team]}\n";
    assert!(lab.applied(emptied).contains("delete service 'theirs'\n0 to create, 0 to update, 1 to delete\n"));
    assert_eq!(lab.diff(SAMPLE).1, "no difference\n");
}

#[test]
fn a_file_with_one_mistake_applies_nothing() {
    let lab = Lab::start();
    let (result, out) = lab.apply(&SAMPLE.replace("username: ann", "username: ann\n  groups: [{name: gold}]"), false);
    assert_eq!(result.unwrap_err().exit, Exit::Config);
    assert!(out.contains("consumer groups are not supported: 'gold'"), "{out}");
    assert_eq!(lab.changelog.view().version, 0);
}

#[test]
fn an_almost_empty_file_needs_force() {
    let lab = Lab::start();
    let mut many = String::from("_format_version: '3.0'\nconsumers:\n");
    for place in 0..12 {
        many.push_str(&format!("- username: c{place}\n"));
    }
    lab.applied(&many);
    let empty = "_format_version: '3.0'\n";
    let error = lab.apply(empty, false).0.unwrap_err();
    assert_eq!(error.exit, Exit::Failed);
    assert!(error.message.contains("delete 12 of 12"), "{error}");
    assert_eq!(lab.changelog.view().version, 1);
    assert_eq!(lab.apply(empty, true).0, Ok(()));
    assert_eq!(lab.changelog.view().catalog.len(), 0);
}

#[test]
fn a_configuration_of_many_pages_is_read_whole() {
    let lab = Lab::start();
    let mut many = String::from("_format_version: '3.0'\nconsumers:\n");
    for place in 0..2_500 {
        many.push_str(&format!("- username: c{place}\n"));
    }
    lab.applied(&many);
    assert_eq!(lab.dump(true).matches("username:").count(), 2_500);
    assert_eq!(lab.diff(&many).1, "no difference\n");
}

#[test]
fn a_control_plane_that_is_not_there_is_69_and_a_wrong_url_is_64() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "_format_version: '3.0'\n").unwrap();
    let exit = |url: &str| diff(&Diff { file: file.path(), admin_url: url }, &mut Vec::new()).unwrap_err().exit;
    assert_eq!(exit(&format!("http://127.0.0.1:{port}")), Exit::Unavailable);
    assert_eq!(exit("https://127.0.0.1:8444"), Exit::Usage);
    assert_eq!(exit("nonsense"), Exit::Usage);
}
