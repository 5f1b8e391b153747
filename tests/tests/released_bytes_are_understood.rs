//! What was on the wire, in stores and in backups at an earlier release is read today as it was meant then. The bytes are
//! frozen (`tests/data/released`), with the configuration as that release's own Admin API showed it as judge.

use model::{Catalog, Change, Record};
use serde_json::{Map, Value};
use std::fs;
use std::process::Command;
use tests::lab::{Lab, Setup, program};
use tests::released::{fixture, unpack};
use wire::dp::{Action, Identity, Session};
use wire::frame::Decoder;
use wire::full::Unpack;
use wire::message::{Ack, Have, Message};

fn frozen(name: &str) -> Vec<u8> {
    fs::read(fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Version, epoch and entities of the release's control plane at the end.
fn configuration() -> Value {
    serde_json::from_slice(&frozen("configuration.json")).expect("JSON")
}

/// Today's end of a session that was recorded, fed byte by byte, so that every answer goes out when it went out then.
struct Listener {
    session: Session,
    catalog: Catalog,
    arriving: Vec<Record>,
    blob: Vec<u8>,
    versions: Vec<u64>,
}

impl Listener {
    fn new() -> Self {
        let mut identity = Identity::new(model::Id(1), "today".into(), env!("CARGO_PKG_VERSION").into());
        let kind = |def: &&model::kind::KindDef| wire::KindVersion { kind: def.kind.code(), body: def.body_version };
        identity.kinds = model::kind::ALL.iter().map(kind).collect();
        let mut session = Session::new(identity).expect("within limits");
        let _hello = session.connected(Have::default(), 0, 0);
        let catalog = Catalog::keeping_bodies();
        Self { session, catalog, arriving: Vec::new(), blob: Vec::new(), versions: Vec::new() }
    }

    fn hears(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let mut actions = self.session.received(&[*byte], 0);
            while !actions.is_empty() {
                actions = actions.into_iter().flat_map(|action| self.acts(action)).collect();
            }
        }
    }

    fn acts(&mut self, action: Action) -> Vec<Action> {
        match action {
            Action::FullBegin { .. } => {
                (self.arriving, self.blob) = (Vec::new(), Vec::new());
                self.session.full_open(0, 0)
            }
            Action::FullChunk { entities, bytes } => {
                self.arriving.extend(entities.into_iter().map(|entity| entity.into_record().expect("a known kind")));
                self.session.full_processed(bytes, 0)
            }
            Action::FullBytes { bytes, .. } => {
                self.blob.extend_from_slice(&bytes);
                self.session.full_processed(bytes.len() as u64, 0)
            }
            Action::FullComplete { begin, .. } => {
                if begin.is_blob() {
                    let mut entities = Unpack::new(begin, self.blob.as_slice()).expect("a blob");
                    while let Some(entity) = entities.next().expect("an entity") {
                        self.arriving.push(entity.into_record().expect("a known kind"));
                    }
                }
                let mut loader = self.catalog.loader();
                self.arriving.iter().for_each(|record| loader.put(record).expect("a record"));
                self.catalog = loader.finish().expect("references resolve");
                self.live(begin.version, begin.root)
            }
            Action::Stage(delta) => {
                let changes: Vec<Change> =
                    delta.ops.into_iter().map(|op| op.into_change().expect("a known kind")).collect();
                self.catalog = self.catalog.apply(&changes).expect("it applies");
                self.live(delta.to, delta.root)
            }
            Action::Close(closed) => {
                assert!(matches!(closed, wire::dp::Closed::Bye(_)), "{closed}");
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn live(&mut self, version: u64, root: u64) -> Vec<Action> {
        assert_eq!(self.catalog.digest(), root, "version {version}");
        self.versions.push(version);
        let mut actions = self.session.durable(version, 0);
        actions.extend(self.session.applied(version, 0));
        actions
    }

    /// The entities as today's bodies show them.
    fn shows(&self) -> Map<String, Value> {
        let list = |def: &&model::kind::KindDef| {
            let ids = self.catalog.iter(def.kind, None).map(|(id, _)| id);
            let records = ids.map(|id| self.catalog.record(def.kind, id).expect("it is there"));
            let shown = records.map(|record| Value::Object((def.to_json)(&record.body).expect("a body")));
            (def.name.to_owned(), Value::Array(shown.collect()))
        };
        model::kind::ALL.iter().map(list).collect()
    }
}

/// Everything but what is shown relative to the time of asking, in which credentials that end are looked at alone. Fields
/// that came since are null or at their defaults, and nobody's business here.
#[track_caller]
fn same(then: &Value, now: &Map<String, Value>) {
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

#[test]
fn a_released_control_planes_session_leads_today_where_it_led_then() {
    let mut today = Listener::new();
    today.hears(&frozen("session-to-dp.bin"));
    assert_eq!(today.versions, [1, 2, 3, 4], "a full sync and three deltas");
    let then = configuration();
    assert_eq!(today.versions.last().copied(), then["version"].as_u64());
    same(&then["entities"], &today.shows());
}

#[test]
fn a_released_full_sync_entity_by_entity_leads_to_the_same() {
    let mut today = Listener::new();
    today.hears(&frozen("entities-to-dp.bin"));
    assert_eq!(today.versions, [4]);
    same(&configuration()["entities"], &today.shows());
}

#[test]
fn what_a_released_data_plane_said_is_read() {
    let bytes = frozen("session-to-cp.bin");
    let (mut rest, mut decoder, mut said) = (bytes.as_slice(), Decoder::new(), Vec::new());
    while let Some(frame) = decoder.next(&mut rest).expect("a frame") {
        said.push(Message::decode(frame).expect("a message").expect("a known type"));
    }
    let Some(Message::Hello(hello)) = said.first() else { panic!("{said:?}") };
    assert_eq!((hello.software.as_str(), hello.have, hello.features), ("0.1.0", Have::default(), 0));
    assert_eq!((hello.kinds.len(), hello.plugins.len(), hello.incremental), (11, 3, true));
    assert!(matches!(said.get(1), Some(Message::FullGet(get)) if get.offset == 0 && get.until > 0), "{said:?}");
    let acks: Vec<Ack> =
        said.iter().filter_map(|message| if let Message::Ack(ack) = message { Some(*ack) } else { None }).collect();
    assert_eq!(acks, [1, 2, 3, 4].map(|version| Ack { applied: version, durable: version }));
    assert!(matches!(said.last(), Some(Message::Bye(_))), "{said:?}");
}

/// A data plane of today on a store of then, with nobody to ask.
fn on_store(lab: &Lab, name: &str) -> Setup {
    let setup = lab.dp(name);
    unpack(&format!("store-{name}.tar.gz"), setup.dir());
    setup
        .with_text("cluster_cert", fixture("cluster.crt").display())
        .with_text("cluster_cert_key", fixture("cluster.key").display())
}

#[test]
fn todays_data_plane_serves_released_stores_plain_and_encrypted() {
    let (lab, then) = (Lab::new(), configuration());
    for mode in ["plain", "aes-256-gcm", "chacha20-poly1305"] {
        let encryption = if mode == "plain" { "off" } else { mode };
        let setup = on_store(&lab, mode).with_text("declarative_config_encryption_mode", encryption);
        let mut dp = setup.start();
        dp.is_ready();
        let answer = dp.get("/open", &[("x-key", "for-ever")]);
        assert_eq!((answer.status, answer.json()["message"].as_str()), (200, Some("frozen")), "{mode}");
        assert_eq!(dp.get("/open", &[("x-key", "for-long")]).status, 200, "{mode}");
        assert_eq!(dp.get("/open", &[("x-key", "no")]).status, 401, "{mode}");
        assert_eq!(dp.get("/updated", &[("x-frozen", "ja")]).status, 401, "{mode}: jwt, after the update");
        assert_eq!(dp.get("/updated", &[]).status, 404, "{mode}");
        let status = dp.sync_status();
        assert_eq!((&status["version"], &status["epoch"]), (&then["version"], &then["epoch"]), "{mode}");
    }
}

#[test]
fn todays_control_plane_restores_a_released_backup() {
    let (lab, then) = (Lab::new(), configuration());
    // Settings are written when it starts; nobody has to start for that.
    let setup = lab.cp("cp");
    let (setup, _) = setup.start().stop();
    fs::remove_dir_all(setup.dir()).expect("it is ours");
    let restored = Command::new(program("cp-lite"))
        .arg("restore")
        .arg(fixture("backup"))
        .arg("-c")
        .arg(lab.path().join("cp.toml"))
        .output()
        .expect("cp-lite is built");
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let mut cp = setup.start();
    let list = |def: &&model::kind::KindDef| {
        let list = cp.admin_ok("GET", &format!("/{}?size=1000", def.admin_path), &Value::Null);
        (def.name.to_owned(), list["data"].clone())
    };
    let now: Map<String, Value> = model::kind::ALL.iter().map(list).collect();
    same(&then["entities"], &now);
}
