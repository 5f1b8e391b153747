//! Promises of `config`, offline here and in `against_a_control_plane` with a real Admin API on loopback.

use super::*;
use model::declarative::Format;
use os::exit::Exit;
use serde_json::Value;
use std::path::PathBuf;

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/data/kongair").join(name)
}

/// A file of its own for a test.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn validated(file: &Path) -> (Result<(), ExitError>, String) {
    let mut out = Vec::new();
    let result = validate(file, &mut out);
    (result, String::from_utf8(out).unwrap())
}

#[test]
fn validate_prints_what_a_good_file_holds() {
    let scratch = Scratch::new();
    let file = scratch.file(
        "kong.yaml",
        "_format_version: '3.0'\nservices:\n- {name: a, host: h}\n- {name: b, host: h}\nconsumers: [{username: c}]\n",
    );
    let (result, out) = validated(&file);
    assert_eq!(result, Ok(()));
    assert_eq!(out, "ok: 2 services, 1 consumer\n");
}

#[test]
fn validate_names_every_mistake_with_file_line_and_column() {
    let (result, out) = validated(&data("kong.yaml"));
    assert_eq!(result.unwrap_err().exit, Exit::Config);
    let file = data("kong.yaml");
    let lines: Vec<_> = out.lines().map(|line| line.strip_prefix(&format!("{}:", file.display())).unwrap()).collect();
    assert_eq!(lines.len(), 10);
    assert!(
        lines.contains(&"20:3: consumer 'dfreese' groups: consumer groups are not supported: 'platinum'"),
        "{lines:?}"
    );
}

#[test]
fn validate_says_which_file_it_cannot_read() {
    let (result, _) = validated(Path::new("/nonexistent/kong.yaml"));
    let error = result.unwrap_err();
    assert_eq!(error.exit, Exit::Io);
    assert!(error.message.contains("/nonexistent/kong.yaml"));
    let scratch = Scratch::new();
    let path = scratch.0.path().join("latin1.yaml");
    std::fs::write(&path, b"_comment: \xe9").unwrap();
    assert!(validated(&path).0.unwrap_err().message.contains("not UTF-8"));
}

fn converted(file: &Path, format: Option<Format>) -> (Result<(), ExitError>, String, String) {
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    let result = convert(&Convert { file, output: None, format, flat: false }, &mut out, &mut notes);
    (result, String::from_utf8(out).unwrap(), String::from_utf8(notes).unwrap())
}

#[test]
fn convert_makes_3_0_of_what_openapi_2_kong_writes() {
    let (result, out, _) = converted(&data("generated/flights.json"), Some(Format::Yaml));
    assert_eq!(result, Ok(()));
    assert!(out.starts_with("_format_version: '3.0'\n"), "{out}");
    assert!(out.contains("~/flights$"), "{out}");
    assert!(!out.contains("  id:"), "names give ids: {out}");
    let (_, json, _) = converted(&data("generated/flights.json"), None);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["services"][0]["routes"].as_array().unwrap().len(), 4);
    assert_eq!(json["services"][0]["tags"].as_array().unwrap().len(), 2, "a tag stands once");
}

#[test]
fn convert_writes_the_file_in_the_format_that_its_name_tells() {
    let scratch = Scratch::new();
    let output = scratch.0.path().join("out.yaml");
    let file = data("generated/customer.json");
    let args = Convert { file: &file, output: Some(&output), format: None, flat: true };
    convert(&args, &mut Vec::new(), &mut Vec::new()).unwrap();
    let text = std::fs::read_to_string(&output).unwrap();
    assert!(text.starts_with("_format_version: '3.0'") && text.contains("\nroutes:\n"), "{text}");
}

#[test]
fn convert_writes_nothing_of_a_file_with_mistakes() {
    let (result, out, notes) = converted(&data("kong.yaml"), None);
    assert_eq!(result.unwrap_err().exit, Exit::Config);
    assert_eq!(out, "");
    assert_eq!(notes.lines().count(), 10);
}

#[test]
fn convert_makes_settings_of_a_kong_conf_and_names_the_rest() {
    let scratch = Scratch::new();
    let text = "# a comment\nrole = data_plane\nproxy_listen = 0.0.0.0:8000 reuseport backlog=16384, 0.0.0.0:8443 http2 ssl # both\ndatabase = off\n\
        cluster_control_plane=cp.example:8005\nupstream_keepalive_pool_size = 512\ncluster_cert = /a\\#b.crt\n\
        nginx_http_client_body_buffer_size = 8k\nadmin_listen = off\nnonsense\n";
    let (result, out, notes) = converted(&scratch.file("kong.conf", text), None);
    assert_eq!(result, Ok(()));
    assert_eq!(
        out,
        "# Settings of edge-gateway, from a kong.conf.\ncluster_cert = \"/a#b.crt\"\n\
         cluster_control_plane = [\"cp.example:8005\"]\nproxy_listen = [\"0.0.0.0:8000\", \"0.0.0.0:8443 ssl\"]\n\
         upstream_keepalive_pool_size = 512\n"
    );
    let notes: Vec<_> = notes.lines().map(|line| line.rsplit_once("kong.conf:").unwrap().1).collect();
    assert_eq!(notes.len(), 6, "{notes:?}");
    assert_eq!(notes[0], "3: proxy_listen: left out: reuseport backlog=16384");
    assert_eq!(notes[1], "3: proxy_listen: left out: http2");
    assert!(notes[2].starts_with("4: database: not carried over"));
    assert!(notes[3].starts_with("8: nginx_http_client_body_buffer_size: not carried over: about nginx"));
    assert!(notes[4].starts_with("9: admin_listen: not carried over: a setting of cp-lite"));
    assert!(notes[5].starts_with("10: nonsense: not a setting"));
}

#[test]
fn a_control_planes_kong_conf_becomes_settings_that_this_program_takes() {
    let scratch = Scratch::new();
    let text = "role = control_plane\nincremental_sync = on\nadmin_listen = off\nlog_level = shouting\n\
        cluster_listen = 0.0.0.0:8005\nproxy_listen = off\ncluster_listen = 0.0.0.0:9005\n";
    let (result, out, notes) = converted(&scratch.file("kong.conf", text), None);
    assert_eq!(result, Ok(()));
    assert_eq!(
        out,
        "# Settings of cp-lite, from a kong.conf.\nadmin_listen = [\"off\"]\ncluster_listen = [\"0.0.0.0:9005\"]\n\
         incremental_sync = true\n"
    );
    let notes: Vec<_> = notes.lines().map(|line| line.rsplit_once("kong.conf:").unwrap().1).collect();
    assert!(notes[0].starts_with("4: log_level: expected one of"), "{notes:?}");
    assert_eq!(notes[1], "5: cluster_listen: set again in line 7, which counts");
    assert_eq!(notes[2], "6: proxy_listen: not carried over: a setting of edge-gateway, not of cp-lite");
    let nothing = converted(&scratch.file("pg.conf", "pg_host = x\n"), None).0;
    assert_eq!(nothing.unwrap_err().exit, Exit::Failed);
}
