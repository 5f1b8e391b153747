//! Settings from real files: which layer wins, where a value came from, and every mistake at once.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use settings::{Key, Kind, Settings, Sources};

const KEYS: &[Key] = &[
    Key::new("prefix", Kind::Text, "/var/lib/x", "Where state is kept."),
    Key::new("proxy_listen", Kind::List, "0.0.0.0:8000, 0.0.0.0:8443 ssl", "Where clients connect."),
    Key::new("allow_debug_header", Kind::Flag, "off", "Whether to tell."),
    Key::new("purge_delay", Kind::Number { min: 60, max: 10_000_000 }, "1209600", "How long."),
    Key::new("cluster_mtls", Kind::Choice(&["shared", "pki"]), "shared", "How."),
    Key::unset("cluster_cert_key", Kind::Text, "The key.").secret(),
    Key::unset("labels", Kind::List, "Labels."),
];

fn read(file: &Path, environment: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Settings {
    Sources {
        keys: KEYS,
        prefix: "EDGE_GATEWAY",
        file: file.to_owned(),
        file_required: true,
        credentials: Some(file.with_file_name("credentials")),
        environment: environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect(),
        flags: flags.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
    }
    .read()
}

/// A main file in a directory of its own.
fn main_file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    fs::write(&file, text).unwrap();
    (dir, file)
}

/// What went wrong, with the directory's random name taken out.
fn mistakes(settings: &Settings, dir: &tempfile::TempDir) -> String {
    let text = settings.finish().err().map_or_else(String::new, |mistakes| mistakes.to_string());
    text.replace(&format!("{}/", dir.path().display()), "")
}

#[test]
fn each_layer_lies_over_the_one_before_and_is_remembered() {
    let (dir, file) = main_file("prefix = '/main'\nallow_debug_header = 'on'\npurge_delay = 61\nlabels = ['a']\n");
    let drop_ins = dir.path().join("gateway.toml.d");
    fs::create_dir(&drop_ins).unwrap();
    fs::write(drop_ins.join("20-b.toml"), "prefix = '/second'\npurge_delay = 63").unwrap();
    fs::write(drop_ins.join("10-a.toml"), "prefix = '/first'\nlabels = 'b, c'").unwrap();
    fs::write(drop_ins.join("30-c.toml.bak"), "nonsense").unwrap();
    let environment = [
        ("EDGE_GATEWAY_CLUSTER_MTLS", "pki"),
        ("KONG_CLUSTER_MTLS", "shared"),
        ("KONG_PURGE_DELAY", "64"),
        ("KONG_DATABASE", "off"),
        ("EDGE_GATEWAY_PORT_8007_TCP", "tcp://10.0.0.1:8007"),
        ("EDGE_GATEWAY_SERVICE_HOST", "10.0.0.1"),
        ("PREFIX", "/nobody"),
    ];
    let settings = read(&file, &environment, &[("purge_delay", "65")]);

    assert_eq!(mistakes(&settings, &dir), "");
    assert_eq!(settings.text("prefix"), Some("/second"));
    assert_eq!(settings.list("labels"), ["b", "c"]);
    assert!(settings.flag("allow_debug_header"));
    assert_eq!(settings.number("purge_delay"), 65);
    assert_eq!(settings.text("cluster_mtls"), Some("pki"));
    assert_eq!(
        settings.show().replace(&format!("{}/", dir.path().display()), ""),
        "\
prefix             = \"/second\"  # gateway.toml.d/20-b.toml:1:1
proxy_listen       = [\"0.0.0.0:8000\", \"0.0.0.0:8443 ssl\"]  # default
allow_debug_header = true  # gateway.toml:2:1
purge_delay        = 65  # flag --purge_delay
cluster_mtls       = \"pki\"  # environment EDGE_GATEWAY_CLUSTER_MTLS
# cluster_cert_key   is unset
labels             = [\"b\", \"c\"]  # gateway.toml.d/10-a.toml:2:1
"
    );
}

#[test]
fn every_mistake_of_every_layer_is_told_at_once_with_its_place() {
    let (dir, file) = main_file(
        "proxy_lisen = '0.0.0.0:80'\n\n  purge_delay = 59\nallow_debug_header = 'yes'\n[listeners]\nport = 1\n",
    );
    let environment = [("EDGE_GATEWAY_PREFX", "/x"), ("KONG_CLUSTER_MTLS", "none"), ("EDGE_GATEWAY_ZZZ", "1")];
    let settings = read(&file, &environment, &[("purge_delay", "soon")]);
    assert_eq!(
        mistakes(&settings, &dir),
        "\
gateway.toml:1:1: unknown key \"proxy_lisen\"; did you mean \"proxy_listen\"?
gateway.toml:3:17: purge_delay: expected a whole number from 60 to 10000000, not 59
gateway.toml:4:22: allow_debug_header: expected on or off, not \"yes\"
gateway.toml:5:2: unknown key \"listeners\"
environment KONG_CLUSTER_MTLS: cluster_mtls: expected one of shared, pki, not \"none\"
environment EDGE_GATEWAY_PREFX: unknown key; did you mean \"EDGE_GATEWAY_PREFIX\"?
environment EDGE_GATEWAY_ZZZ: unknown key
flag --purge_delay: purge_delay: expected a whole number from 60 to 10000000, not \"soon\""
    );
}

#[test]
fn text_that_is_no_toml_is_told_by_line_and_column() {
    let (dir, file) = main_file("prefix = '/x'\nproxy_listen = = 3\n");
    let told = mistakes(&read(&file, &[], &[]), &dir);
    assert!(told.starts_with("gateway.toml:2:16: "), "{told}");
    let (dir, file) = main_file("prefix = 'a'\nprefix = 'b'\n");
    let told = mistakes(&read(&file, &[], &[]), &dir);
    assert!(told.starts_with("gateway.toml:2:1: duplicate key"), "{told}");
}

#[test]
fn a_file_that_was_asked_for_must_exist_and_be_text() {
    let (dir, file) = main_file("");
    fs::remove_file(&file).unwrap();
    assert_eq!(mistakes(&read(&file, &[], &[]), &dir), "gateway.toml: no such file");
    fs::write(&file, b"\xff\xfe").unwrap();
    assert_eq!(mistakes(&read(&file, &[], &[]), &dir), "gateway.toml: stream did not contain valid UTF-8");
    fs::write(&file, vec![b'#'; 2 << 20]).unwrap();
    assert_eq!(mistakes(&read(&file, &[], &[]), &dir), "gateway.toml: larger than 1048576 bytes, not a settings file");
}

#[test]
fn a_mistake_that_a_program_finds_is_told_where_the_value_was_written() {
    let (dir, file) = main_file("labels = ['a:b', 'nonsense']\n");
    let mut settings = read(&file, &[], &[]);
    let parse = |item: &str| item.split_once(':').map(|_| ()).ok_or_else(|| format!("{item:?} has no colon"));
    assert_eq!(settings.parsed_list("labels", parse), None);
    settings.mistake("cluster_cert_key", "must be set");
    assert_eq!(
        mistakes(&settings, &dir),
        "gateway.toml:1:1: labels: \"nonsense\" has no colon\ncluster_cert_key: must be set"
    );
}

#[test]
fn a_credential_of_the_service_manager_lies_over_files_and_under_the_environment() {
    let (dir, file) = main_file("cluster_cert_key = '/etc/x.key'\n");
    let credential = dir.path().join("credentials/cluster_cert_key");
    fs::create_dir(dir.path().join("credentials")).unwrap();
    fs::write(&credential, "secret").unwrap();
    assert_eq!(read(&file, &[], &[]).text("cluster_cert_key"), credential.to_str());
    let over = read(&file, &[("KONG_CLUSTER_CERT_KEY", "/env.key")], &[]);
    assert_eq!(over.text("cluster_cert_key"), Some("/env.key"));
}

#[test]
fn a_secret_is_not_shown_but_the_way_to_it_is() {
    let (_dir, file) = main_file("cluster_cert_key = '''-----BEGIN PRIVATE KEY-----\nabc'''\n");
    let shown = read(&file, &[], &[]).show();
    assert!(shown.contains("cluster_cert_key   = \"***\""), "{shown}");
    assert!(!shown.contains("abc"), "{shown}");
    let shown = read(&file, &[("KONG_CLUSTER_CERT_KEY", "/env.key")], &[]).show();
    assert!(shown.contains("= \"/env.key\""), "{shown}");
}

#[test]
fn an_empty_text_unsets_what_a_lower_layer_said() {
    let (_dir, file) = main_file("labels = ['a:b']\n");
    assert!(read(&file, &[("KONG_LABELS", "")], &[]).list("labels").is_empty());
}
