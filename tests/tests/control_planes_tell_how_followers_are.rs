//! A writer shows of its followers what it shows of data planes: what one could not take over, what is kept from it and
//! why, whom it refused, and what the links cost.

use model::{Id, Kind};
use serde_json::{Value, json};
use tests::lab::{Daemon, Lab};
use tests::metrics;
use tests::node::{Node, hello};
use tests::pair::{apply, head, put};
use tests::planes::{following, has, own};
use tests::wait;
use wire::Hello;
use wire::message::{Message, Mode, Nack, NackCode};

struct Writer {
    lab: Lab,
    cp: Daemon,
}

impl Writer {
    fn new() -> Self {
        let lab = Lab::new();
        let mut cp = lab.cp("writer").start();
        apply(&mut cp, &[put("services", json!({ "name": "first", "host": "h" }))]);
        Self { lab, cp }
    }

    /// A follower made by hand, and the mode in which it was welcomed.
    fn follower(&mut self, id: Id, change: impl FnOnce(&mut Hello)) -> (Node, Mode) {
        let mut hello = Hello { features: Hello::FOLLOWER, ..hello(id, env!("CARGO_PKG_VERSION")) };
        change(&mut hello);
        let mut node = Node::connect(&self.lab, self.cp.address("cluster"));
        node.send(&Message::Hello(hello));
        let Some(Message::Welcome(welcome)) = node.receive() else { panic!("no WELCOME\n{}", self.cp.log()) };
        (node, welcome.mode)
    }

    fn planes(&mut self) -> Value {
        self.cp.admin_ok("GET", "/clustering/control-planes", &Value::Null)
    }

    /// The follower's row, once this holds of it.
    fn row(&mut self, id: Id, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        wait::until(what, || {
            let planes = self.planes();
            planes["data"].as_array()?.iter().find(|row| row["id"] == json!(id) && holds(row)).cloned()
        })
    }

    fn metric(&mut self, name: &str) -> u64 {
        metrics::value(self.cp.address("admin"), name)
    }
}

#[test]
fn what_a_follower_could_not_take_over_is_shown() {
    let mut writer = Writer::new();
    let (mut follower, mode) = writer.follower(Id(5), |_| {});
    assert_eq!(mode, Mode::Full);
    let Some(Message::FullBegin(begin)) = follower.receive().filter(|said| !matches!(said, Message::Planes(_))) else {
        panic!("no full sync")
    };
    let (entity, path, message) = (Some((Kind::Service.code(), Id(9))), "name".to_owned(), "taken".to_owned());
    let code = NackCode::Duplicate;
    follower.send(&Message::Nack(Nack { version: begin.version, code, entity, path, message, kept: 0, shrink: None }));
    let row = writer.row(Id(5), "the refusal", |row| !row["last_error"].is_null());
    let error = &row["last_error"];
    assert_eq!((&error["code"], &error["kind"]), (&json!("duplicate"), &json!("services")));
    assert_eq!((&error["version"], &error["message"]), (&json!(begin.version), &json!("name: taken")));
    assert_eq!(writer.metric("edge_follower_refused"), 1);
    assert_eq!(writer.metric("edge_follower_withheld"), 0);
}

#[test]
fn what_is_kept_from_a_follower_is_shown_with_the_reasons() {
    let mut writer = Writer::new();
    writer.cp.admin_ok("POST", "/plugins", &json!({ "name": "key-auth" }));
    let without = |hello: &mut Hello| hello.plugins.retain(|plugin| plugin.name != "key-auth");
    let (_follower, mode) = writer.follower(Id(5), without);
    assert_eq!(mode, Mode::Withheld);
    let row = writer.row(Id(5), "the reason", |row| row["withheld"] != json!([]));
    assert_eq!(row["withheld"][0]["sync_status"], "plugin_set_incompatible");
    assert_eq!(row["withheld"][0]["plugin"], "key-auth");
    assert_eq!(writer.metric("edge_follower_withheld"), 1);
}

#[test]
fn a_follower_that_was_refused_is_shown_until_it_is_let_in() {
    let mut writer = Writer::new();
    let (mut follower, mode) = writer.follower(Id(5), |hello| hello.software = "9.0.0".to_owned());
    assert!(matches!(mode, Mode::Refuse { .. }));
    assert_eq!(follower.receive(), None, "the connection ends");
    let refused = wait::until("the refusal", || writer.planes()["refused"].get(0).cloned());
    assert_eq!((&refused["id"], &refused["software"]), (&json!(Id(5)), &json!("9.0.0")));
    assert!(refused["message"].as_str().expect("words").contains("9.0.0 is incompatible"), "{refused}");
    assert_eq!(writer.planes()["data"].as_array().map(Vec::len), Some(1), "it has no row among the followers");
    let (_follower, _) = writer.follower(Id(5), |_| {});
    assert_eq!(writer.planes()["refused"], json!([]));
}

#[test]
fn both_ends_of_a_link_between_control_planes_count_the_same_bytes() {
    let mut writer = Writer::new();
    let mut follower = following(&writer.lab, "follower", &[writer.cp.address("cluster")]).start();
    let version = head(&mut writer.cp);
    let epoch = own(&mut writer.cp)["epoch"].clone();
    has(&mut follower, &epoch, version);
    let below = wait::until("the same count at both ends", || {
        let below = own(&mut follower);
        let row = writer.planes()["data"][1].clone();
        let same = row["bytes_in"] == below["writer"]["bytes_out"] && row["bytes_out"] == below["writer"]["bytes_in"];
        (same && row["bytes_in"].as_u64()? > 100).then_some(below["writer"].clone())
    });
    let [received, sent] =
        ["edge_follower_session_received_bytes", "edge_follower_session_sent_bytes"].map(|name| writer.metric(name));
    let [up, down] = ["edge_writer_session_sent_bytes", "edge_writer_session_received_bytes"]
        .map(|name| metrics::value(follower.address("admin"), name));
    // A heartbeat may come between two looks.
    for (count, other) in [(received, up), (sent, down), (up, below["bytes_out"].as_u64().expect("a number"))] {
        assert!(count.abs_diff(other) <= 64, "{count} and {other}");
    }
    assert_eq!(metrics::value(follower.address("admin"), "edge_writer_connected"), 1);
    assert_eq!(metrics::values(writer.cp.address("admin"), "edge_writer_connected"), [], "it follows nobody");
}
