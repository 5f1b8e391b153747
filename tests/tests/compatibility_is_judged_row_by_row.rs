//! Kong's compatibility table as a control plane applies it to nodes that connect: who is let in, who is sent anything,
//! which status, which words, which line in the log; and our own rows for kinds and the fields that came later.
//! (`platform/wire/src/compat/tests.rs` has the rules themselves, version by version.)

use model::{Id, Kind};
use serde_json::{Value, json};
use std::process::Command;
use tests::lab::{Daemon, Lab, program};
use tests::metrics;
use tests::node::{Node, hello};
use tests::wait;
use wire::Hello;
use wire::limits::INCOMPATIBLE_RETRY_S;
use wire::message::{Message, Mode, RefuseReason, Welcome};

const OURS: &str = env!("CARGO_PKG_VERSION");
const PLUGIN: &str = model::plugins::VERSION;

struct World {
    lab: Lab,
    cp: Daemon,
    nodes: u128,
}

impl World {
    /// A control plane with a key-auth plugin in use.
    fn new() -> Self {
        let lab = Lab::new();
        let mut cp = lab.cp("cp").start();
        cp.admin_ok("POST", "/plugins", &json!({ "name": "key-auth" }));
        cp.admin_ok("POST", "/consumers", &json!({ "username": "ann" }));
        Self { lab, cp, nodes: 0 }
    }

    /// A node that differs from this build as the test says, the answer to its HELLO, and its row.
    fn node(&mut self, change: impl FnOnce(&mut Hello)) -> (Node, Welcome, Id) {
        self.nodes += 1;
        let id = Id(self.nodes);
        let mut hello = hello(id, OURS);
        change(&mut hello);
        let mut node = Node::connect(&self.lab, self.cp.address("cluster"));
        node.send(&Message::Hello(hello));
        match node.receive() {
            Some(Message::Welcome(welcome)) => (node, welcome, id),
            other => panic!("no WELCOME: {other:?}\n{}", self.cp.log()),
        }
    }

    fn row(&mut self, id: Id) -> Value {
        self.cp.admin_ok("GET", &format!("/clustering/data-planes/{id}"), &Value::Null)
    }

    /// The row once it has this status.
    fn row_with(&mut self, id: Id, status: &str) -> Value {
        wait::until(&format!("{status} of {id}"), || Some(self.row(id)).filter(|row| row["sync_status"] == status))
    }

    /// Kong's line about a node that gets nothing.
    fn logged(&self, id: Id, version: &str, reason: &str) {
        self.cp.logs(&format!(
            "[clustering] unable to send updated configuration to data plane: {reason} \
             [id: {id}, host: by-hand, ip: 127.0.0.1, version: {version}]"
        ));
    }
}

#[test]
fn a_node_of_the_same_version_gets_everything() {
    let mut world = World::new();
    let (_node, welcome, id) = world.node(|_| {});
    assert_eq!((welcome.mode, welcome.message.as_str()), (Mode::Full, ""));
    let row = world.row_with(id, "normal");
    assert_eq!((&row["withheld"], &row["ignored"]), (&json!([]), &json!([])));
    // Patch versions and what follows them are nobody's business.
    let (_node, welcome, id) = world.node(|hello| hello.software = "0.1.99-rc1".into());
    assert_eq!(welcome.mode, Mode::Full);
    world.row_with(id, "normal");
}

#[test]
fn a_node_of_a_version_that_does_not_go_with_ours_is_refused() {
    let mut world = World::new();
    let rows = [
        ("0.2.0", format!("data plane version 0.2.0 is incompatible with older control plane version {OURS}")),
        (
            "1.1.0",
            format!("data plane version 1.1.0 is incompatible with control plane version {OURS} (0.x.y are accepted)"),
        ),
        ("edge", format!("data plane version is incompatible with control plane version {OURS} (0.x.y are accepted)")),
    ];
    for (software, reason) in rows {
        let (mut node, welcome, id) = world.node(|hello| hello.software = software.into());
        let refused = Mode::Refuse { why: RefuseReason::Software, retry_after_s: INCOMPATIBLE_RETRY_S };
        assert_eq!(welcome.mode, refused, "{software}");
        assert_eq!(welcome.message, reason);
        assert_eq!(node.receive(), None, "the connection ends");
        let row = world.row_with(id, "kong_version_incompatible");
        assert_eq!(row["withheld"][0]["message"], reason);
        world.logged(id, software, &reason);
    }
}

#[test]
fn a_node_without_a_configured_plugin_is_sent_nothing_until_that_plugin_goes() {
    let mut world = World::new();
    let without = |name: &'static str| move |hello: &mut Hello| hello.plugins.retain(|plugin| plugin.name != name);
    let (_node, welcome, id) = world.node(without("jwt"));
    assert_eq!(welcome.mode, Mode::Full, "nobody has configured jwt");
    world.row_with(id, "normal");
    world.cp.logs(&format!("[clustering] jwt plugin {PLUGIN} is missing from data plane [id: {id}"));

    let (mut node, welcome, id) = world.node(without("key-auth"));
    let reason = format!("configured key-auth plugin {PLUGIN} is missing from data plane");
    assert_eq!((welcome.mode, &welcome.message), (Mode::Withheld, &reason));
    let row = world.row_with(id, "plugin_set_incompatible");
    let alarms = metrics::values(world.cp.address("admin"), "edge_data_plane_withheld");
    let alarmed = alarms.iter().filter(|(_, alarm)| *alarm == 1).map(|(labels, _)| labels.contains(&id.to_string()));
    assert_eq!(alarmed.collect::<Vec<_>>(), [true], "{alarms:?}");
    let told = json!([{ "sync_status": "plugin_set_incompatible", "plugin": "key-auth", "kind": null, "field": null, "id": null, "message": reason }]);
    assert_eq!(row["withheld"], told);
    world.logged(id, OURS, &reason);
    let plugin = world.cp.admin_ok("GET", "/plugins", &Value::Null)["data"][0]["id"].clone();
    assert_eq!(world.cp.admin("DELETE", &format!("/plugins/{}", plugin.as_str().unwrap()), &Value::Null).status, 204);
    assert!(matches!(node.receive(), Some(Message::FullBegin(_))), "it gets everything, on the same connection");
    assert_eq!(world.row_with(id, "normal")["withheld"], json!([]));
}

#[test]
fn a_plugin_that_is_switched_off_keeps_nothing_from_a_node_until_it_is_switched_on() {
    let mut world = World::new();
    let plugin = world.cp.admin_ok("GET", "/plugins", &Value::Null)["data"][0]["id"].clone();
    let plugin = format!("/plugins/{}", plugin.as_str().unwrap());
    world.cp.admin_ok("PATCH", &plugin, &json!({ "enabled": false }));
    let without = |hello: &mut Hello| hello.plugins.retain(|plugin| plugin.name != "key-auth");
    let (mut node, welcome, id) = world.node(without);
    assert_eq!(welcome.mode, Mode::Full);
    assert!(matches!(node.receive(), Some(Message::FullBegin(_))), "it gets everything");
    world.row_with(id, "normal");

    world.cp.admin_ok("PATCH", &plugin, &json!({ "enabled": true }));
    let (_node, welcome, id) = world.node(without);
    assert_eq!(welcome.mode, Mode::Withheld);
    world.row_with(id, "plugin_set_incompatible");
}

/// Reasons are told together, not one after the other as each is mended.
#[test]
fn all_that_keeps_a_configuration_from_a_node_is_in_its_row() {
    let mut world = World::new();
    world.cp.admin_ok("POST", "/upstreams", &json!({ "name": "up" }));
    world.cp.admin_ok("POST", "/consumers/ann/key-auth", &json!({ "key": "ends", "ttl": 3600 }));
    let (_node, welcome, id) = world.node(|hello| {
        hello.plugins.retain(|plugin| plugin.name != "key-auth");
        hello.kinds.retain(|kind| kind.kind != Kind::Upstream.code());
        hello.kinds.iter_mut().for_each(|kind| kind.body = 1);
    });
    assert_eq!(welcome.mode, Mode::Withheld);
    let row = wait::until("the reasons", || Some(world.row(id)).filter(|row| row["withheld"] != json!([])));
    let mut told: Vec<String> = row["withheld"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|reason| format!("{} {} {} {}", reason["sync_status"], reason["plugin"], reason["kind"], reason["field"]))
        .collect();
    told.sort();
    let expected = [
        r#""kind_set_incompatible" null "upstreams" null"#,
        r#""kind_version_incompatible" null "keyauth_credentials" "ttl""#,
        r#""plugin_set_incompatible" "key-auth" null null"#,
    ];
    assert_eq!(told, expected);
    for reason in row["withheld"].as_array().expect("a list") {
        world.logged(id, OURS, reason["message"].as_str().expect("words"));
    }
}

#[test]
fn a_node_with_another_version_of_a_configured_plugin_is_sent_nothing() {
    let mut world = World::new();
    let with = |name: &'static str, version: &'static str| {
        move |hello: &mut Hello| {
            let plugin = hello.plugins.iter_mut().find(|plugin| plugin.name == name).expect("it is there");
            plugin.version = Some(version.to_owned());
        }
    };
    for version in ["4.0.0", "2.9.0", "3.10.0"] {
        let (_node, welcome, id) = world.node(with("key-auth", version));
        let reason = format!(
            "configured data plane key-auth plugin version {version} is different to control plane plugin version {PLUGIN}"
        );
        assert_eq!((welcome.mode, &welcome.message), (Mode::Withheld, &reason));
        assert_eq!(world.row_with(id, "plugin_version_incompatible")["withheld"][0]["plugin"], "key-auth");
        world.logged(id, OURS, &reason);
    }
    // Older in minor, without a version, or not configured: let in, and remarked upon where it differs.
    for (name, version) in [("key-auth", "3.8.0"), ("key-auth", "unversioned"), ("jwt", "4.0.0")] {
        let (_node, welcome, id) = world.node(with(name, version));
        assert_eq!(welcome.mode, Mode::Full, "{name} {version}");
        world.row_with(id, "normal");
        if version != "unversioned" {
            world.cp.logs(&format!(
                "[clustering] data plane {name} plugin version {version} is different to control plane plugin version {PLUGIN} [id: {id}"
            ));
        }
    }
}

#[test]
fn a_node_that_does_not_know_a_kind_is_sent_nothing_once_there_are_entities_of_it() {
    let mut world = World::new();
    let (_node, welcome, id) = world.node(|hello| hello.kinds.retain(|kind| kind.kind != Kind::Upstream.code()));
    assert_eq!(welcome.mode, Mode::Full);
    world.row_with(id, "normal");
    world.cp.admin_ok("POST", "/upstreams", &json!({ "name": "up" }));
    let (_node, welcome, id) = world.node(|hello| hello.kinds.retain(|kind| kind.kind != Kind::Upstream.code()));
    let reason = "configured upstreams are unknown to data plane";
    assert_eq!((welcome.mode, welcome.message.as_str()), (Mode::Withheld, reason));
    assert_eq!(world.row_with(id, "kind_set_incompatible")["withheld"][0]["kind"], "upstreams");
    world.logged(id, OURS, reason);
}

#[test]
fn a_node_from_before_keys_is_sent_nothing_while_there_are_some_and_never_hears_of_them() {
    let mut world = World::new();
    let from_before = |hello: &mut Hello| {
        hello.kinds.retain(|kind| ![Kind::KeySet.code(), Kind::Key.code()].contains(&kind.kind));
    };
    let set = world.cp.admin_ok("POST", "/key-sets", &json!({ "name": "tokens" }));
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    world.cp.admin_ok("POST", "/key-sets/tokens/keys", &json!({ "kid": "k", "jwk": jwk.to_string() }));
    let (mut node, welcome, id) = world.node(from_before);
    let reason = "configured key_sets are unknown to data plane";
    assert_eq!((welcome.mode, welcome.message.as_str()), (Mode::Withheld, reason));
    let row = world.row_with(id, "kind_set_incompatible");
    assert_eq!([&row["withheld"][0]["kind"], &row["withheld"][1]["kind"]], ["key_sets", "keys"]);
    assert_eq!(row["withheld"][1]["message"], "configured keys are unknown to data plane");
    world.logged(id, OURS, reason);
    let (_node, welcome, _) = world.node(|_| {});
    assert_eq!(welcome.mode, Mode::Full, "a node of today gets all of it");
    let path = format!("/key-sets/{}", set["id"].as_str().unwrap());
    assert_eq!(world.cp.admin("DELETE", &path, &Value::Null).status, 204, "its key goes with it");
    assert!(matches!(node.receive(), Some(Message::FullBegin(_))), "it gets everything, on the same connection");
    world.row_with(id, "normal");
}

#[test]
fn a_node_from_before_ttl_is_sent_nothing_while_there_are_credentials_that_end() {
    let mut world = World::new();
    let from_before = |hello: &mut Hello| {
        let kind =
            hello.kinds.iter_mut().find(|kind| kind.kind == Kind::KeyauthCredential.code()).expect("it is there");
        kind.body = 1;
    };
    world.cp.admin_ok("POST", "/consumers/ann/key-auth", &json!({ "key": "for-ever" }));
    let (mut node, welcome, id) = world.node(from_before);
    assert_eq!(welcome.mode, Mode::Full, "a credential without ttl is the same in both versions");
    assert!(matches!(node.receive(), Some(Message::FullBegin(_))));
    world.row_with(id, "normal");

    let ending = world.cp.admin_ok("POST", "/consumers/ann/key-auth", &json!({ "key": "ends", "ttl": 3600 }));
    let (_node, welcome, id) = world.node(from_before);
    let credential = ending["id"].as_str().unwrap();
    let reason = format!(
        "configured keyauth_credentials contain 'ttl', which data plane does not know and must not overlook: {credential} does"
    );
    assert_eq!((welcome.mode, &welcome.message), (Mode::Withheld, &reason));
    let row = world.row_with(id, "kind_version_incompatible");
    let told = json!([{ "sync_status": "kind_version_incompatible", "plugin": null, "kind": "keyauth_credentials", "field": "ttl", "id": credential, "message": reason }]);
    assert_eq!(row["withheld"], told);
    world.logged(id, OURS, &reason);
    let admin = format!("http://{}", world.cp.address("admin"));
    let shown =
        Command::new(program("cp-lite")).args(["node", "show", &id.to_string(), "--admin-url", &admin]).output();
    let shown = String::from_utf8(shown.expect("cp-lite is built").stdout).unwrap();
    assert!(shown.contains(&format!("Withheld     {reason}")), "{shown}");
    let (_node, welcome, _) = world.node(|_| {});
    assert_eq!(welcome.mode, Mode::Full, "a node of today gets all of it");
    assert_eq!(world.cp.admin("DELETE", "/consumers/ann/key-auth/ends", &Value::Null).status, 204);
    world.row_with(id, "normal");
}
