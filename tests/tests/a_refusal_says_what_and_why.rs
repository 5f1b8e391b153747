//! A version that a data plane cannot serve is refused as a whole: it says of which entity and why, in a word that programs
//! can tell apart, shows it in its own status, and serves on what it has. The control plane shows the same, and sends on as
//! soon as there is something else to send.

use model::body::ForeignKey;
use model::kinds::plugins::Plugin;
use model::kinds::routes::Route;
use model::kinds::services::Service;
use model::{Id, Kind, Record};
use serde_json::{Value, json};
use std::process::Command;
use std::sync::Arc;
use tests::fake_cp::FakeCp;
use tests::lab::{Daemon, Lab, program};
use tests::metrics;
use tests::node::{Node, hello};
use tests::origin::Origin;
use tests::pair::{Pair, apply, put};
use tests::wait;
use wire::delta::{Builder, Entity, Op};
use wire::message::{Ack, FullGet, Message, Mode, Nack, NackCode};
use wire::{PROTO, Welcome};

/// A kind that no build knows.
const KIND: u8 = 60;

/// A data plane with a configuration, whose control plane is one that says what it is told to.
struct Refusing {
    dp: Daemon,
    cp: FakeCp,
    version: u64,
    root: u64,
    tries: u64,
    _origin: Origin,
    _lab: Lab,
}

impl Refusing {
    fn new() -> Self {
        let mut pair = Pair::start();
        pair.route(&json!({ "name": "taken" }), &json!({ "name": "r", "paths": ["/served"] }));
        let version = pair.acknowledged();
        let status = pair.dp.sync_status();
        let hex = |name: &str| u64::from_str_radix(status[name].as_str().expect("hex"), 16).expect("hex");
        let (epoch, root) = (hex("epoch"), hex("root"));
        let welcome = Welcome {
            proto: PROTO,
            cluster: Id(1),
            epoch,
            head: version,
            root,
            heartbeat_s: 300,
            incremental: true,
            mode: Mode::Same,
            message: String::new(),
            term: 0,
        };
        let cp = FakeCp::start(&pair.lab, vec![Message::Welcome(welcome)]);
        let setup = pair.dp.stop().0;
        let mut dp = setup.with_text("cluster_control_plane", cp.address()).start();
        wait::until("the session", || (dp.sync_status()["connected"] == true).then_some(()));
        let Pair { lab, origin, .. } = pair;
        Self { dp, cp, version, root, tries: 0, _origin: origin, _lab: lab }
    }

    /// Sends a step with one entity in it; returns the version that it leads to.
    fn sends(&mut self, entity: Entity) -> u64 {
        self.tries += 1;
        let to = self.version + self.tries;
        let mut step = Builder::new(self.version, to, self.root.wrapping_add(entity.tag));
        step.op(&Op::Put(Entity { version: to, ..entity }));
        let step = step.finish().expect("within the limits");
        self.cp.say(&Message::Delta(step.payload().to_vec().into(), false));
        to
    }

    /// The answer to that step.
    fn answer(&self) -> Message {
        wait::until("ACK or NACK", || {
            let said = self.cp.visits().pop()?.said;
            let mut answers = said.into_iter().filter(|said| matches!(said, Message::Ack(_) | Message::Nack(_)));
            answers.nth(usize::try_from(self.tries).expect("few") - 1)
        })
    }

    /// Sends it, and sees it refused with this code, of the field at `path`, and nothing changed.
    fn refuses(&mut self, entity: Entity, code: NackCode, kind: &str, path: &str) {
        let (kind_code, id) = (entity.kind, entity.id);
        let to = self.sends(entity);
        let Message::Nack(nack) = self.answer() else { panic!("{kind} was taken") };
        assert_eq!((nack.version, nack.kept, nack.code), (to, self.version, code), "{nack:?}");
        assert_eq!((nack.entity, nack.path.as_str()), (Some((kind_code, id)), path), "{nack:?}");
        assert!(!nack.message.is_empty());
        let status = self.dp.sync_status();
        let (code, message) = (code.name(), nack.message);
        let told = json!({ "version": to, "code": code, "kind": kind, "id": id, "path": path, "message": message });
        assert_eq!(status["last_nack"], told);
        assert_eq!((&status["version"], &status["connected"]), (&json!(self.version), &json!(true)));
        assert_eq!(self.dp.get("/served", &[]).status, 200);
        assert_eq!(metrics::value(self.dp.address("status"), "edge_config_refused_version"), to);
    }
}

fn entity(kind: Kind, id: u128, body: Vec<u8>) -> Entity {
    let (id, body): (_, Arc<[u8]>) = (Id(id), body.into());
    Entity::from(&Record { kind, id, version: 1, tag: Record::tag_of(kind, id, &body), body })
}

fn plugin(name: &str, config: Value) -> Entity {
    let Value::Object(config) = config else { panic!("no object") };
    let plugin = Plugin { id: Id(70), name: name.to_owned(), enabled: true, config, ..Plugin::default() };
    entity(Kind::Plugin, 70, plugin.encode().expect("a body"))
}

fn route(path: &str, service: Option<u128>) -> Entity {
    let service = service.map(|id| ForeignKey { id: Id(id) });
    let route = Route { id: Id(71), paths: Some(vec![path.to_owned()]), service, ..Route::default() };
    entity(Kind::Route, 71, route.encode().expect("a body"))
}

fn service(name: &str) -> Entity {
    let service = Service { id: Id(72), name: Some(name.to_owned()), host: "h".to_owned(), ..Service::default() };
    entity(Kind::Service, 72, service.encode().expect("a body"))
}

#[test]
fn a_data_plane_says_of_which_entity_and_why_and_serves_on() {
    let mut world = Refusing::new();
    let unknown = Entity { kind: KIND, ..service("x") };
    world.refuses(unknown, NackCode::UnknownKind, &format!("kind {KIND}"), "");
    world.refuses(plugin("acme", json!({})), NackCode::UnknownPlugin, "plugins", "name");
    world.refuses(plugin("key-auth", json!({ "key_names": 5 })), NackCode::Invalid, "plugins", "config");
    world.refuses(entity(Kind::Service, 73, vec![0xff; 3]), NackCode::Invalid, "services", "");
    world.refuses(route("~/(", None), NackCode::Compile, "routes", "paths");
    world.refuses(route("/new", Some(999)), NackCode::Dangling, "routes", "service");
    world.refuses(service("taken"), NackCode::Duplicate, "services", "name");

    let to = world.sends(service("free"));
    assert_eq!(world.answer(), Message::Ack(Ack { applied: to, durable: to }));
    let status = world.dp.sync_status();
    assert_eq!((&status["version"], &status["last_nack"]), (&json!(to), &Value::Null));
    assert_eq!(metrics::value(world.dp.address("status"), "edge_config_refused_version"), 0);
}

/// A control plane, and a node made by hand that has what it has.
struct Refused {
    lab: Lab,
    cp: Daemon,
    node: Node,
    id: Id,
}

impl Refused {
    fn new() -> Self {
        let lab = Lab::new();
        let mut cp = lab.cp("cp").start();
        apply(&mut cp, &[put("services", json!({ "name": "first", "host": "h" }))]);
        let id = Id(5);
        let mut node = Node::connect(&lab, cp.address("cluster"));
        node.send(&Message::Hello(hello(id, env!("CARGO_PKG_VERSION"))));
        assert!(matches!(node.receive(), Some(Message::Welcome(_))));
        let mut world = Self { lab, cp, node, id };
        world.takes_everything();
        world
    }

    /// Takes the full sync that is to come; returns its version.
    fn takes_everything(&mut self) -> u64 {
        let Some(Message::FullBegin(begin)) = self.node.receive() else { panic!("no full sync") };
        self.node.send(&Message::FullGet(FullGet { transfer: begin.transfer, offset: 0, until: 60_000 }));
        while !matches!(self.node.receive().expect("it goes on"), Message::FullEnd(_)) {}
        self.acks(begin.version);
        begin.version
    }

    fn acks(&mut self, version: u64) {
        self.node.send(&Message::Ack(Ack { applied: version, durable: version }));
    }

    fn nacks(&mut self, version: u64, code: NackCode, message: &str) {
        let (entity, path) = (Some((Kind::Route.code(), Id(9))), "paths".to_owned());
        let message = message.to_owned();
        self.node.send(&Message::Nack(Nack { version, code, entity, path, message, kept: 1, shrink: None }));
    }

    fn changes(&mut self, name: &str) -> u64 {
        apply(&mut self.cp, &[put("services", json!({ "name": name, "host": "h" }))])
    }

    /// The step that comes next.
    fn step(&mut self) -> (u64, u64) {
        let Some(Message::Delta(payload, false)) = self.node.receive() else { panic!("no step") };
        let delta = wire::delta::Assembler::default().push(&payload, false).expect("a step").expect("whole");
        (delta.from, delta.to)
    }

    /// The error that the node's row shows, once it is of this version and code.
    fn error(&mut self, version: u64, code: &str) -> Value {
        let path = format!("/clustering/data-planes/{}", self.id);
        wait::until(&format!("{code} of {version}"), || {
            let error = self.cp.admin_ok("GET", &path, &Value::Null)["last_error"].clone();
            (error["version"] == version && error["code"] == code).then_some(error)
        })
    }
}

#[test]
fn a_control_plane_shows_what_was_refused_and_sends_on_when_there_is_something_else() {
    let mut world = Refused::new();
    let first = world.changes("second");
    let (kept, to) = world.step();
    assert_eq!(to, first);
    world.nacks(first, NackCode::Compile, "no such regex");
    let error = world.error(first, "does_not_compile");
    assert_eq!((&error["kind"], &error["id"]), (&json!("routes"), &json!(Id(9))));
    assert_eq!(error["message"], "paths: no such regex");
    let alarm = |world: &mut Refused| metrics::value(world.cp.address("admin"), "edge_data_plane_refused");
    assert_eq!(alarm(&mut world), 1);
    let admin = format!("http://{}", world.cp.address("admin"));
    let shown =
        Command::new(program("cp-lite")).args(["node", "show", &world.id.to_string(), "--admin-url", &admin]).output();
    let shown = String::from_utf8(shown.expect("cp-lite is built").stdout).expect("text");
    let line = format!("version {first} does not compile, routes/{}: paths: no such regex", Id(9));
    assert!(shown.contains(&line), "{shown}");

    // Still wrong in the next version, for another reason: that one is told.
    let second = world.changes("third");
    assert_eq!(world.step(), (kept, second), "the next head is sent, from what the node has");
    world.nacks(second, NackCode::Dangling, "gone");
    world.error(second, "dangling_reference");

    // Right in the one after.
    let third = world.changes("fourth");
    assert_eq!(world.step(), (kept, third));
    world.acks(third);
    let path = format!("/clustering/data-planes/{}", world.id);
    wait::until("the error to go", || {
        let row = world.cp.admin_ok("GET", &path, &Value::Null);
        (row["applied_version"] == third && row["last_error"].is_null()).then_some(())
    });
    assert_eq!(alarm(&mut world), 0);
    drop(world.lab);
}

#[test]
fn the_reason_that_is_shown_is_the_last_one_that_was_given_for_a_version() {
    let mut world = Refused::new();
    let version = world.changes("second");
    world.step();
    // Its content is not what its version says: it gets everything, and cannot serve that for another reason.
    world.nacks(version, NackCode::Root, "another root");
    let Some(Message::FullBegin(begin)) = world.node.receive() else { panic!("no full sync") };
    assert_eq!(begin.version, version);
    world.error(version, "root_differs");
    world.nacks(version, NackCode::UnknownPlugin, "no such plugin");
    assert_eq!(world.error(version, "unknown_plugin")["message"], "paths: no such plugin");
}
