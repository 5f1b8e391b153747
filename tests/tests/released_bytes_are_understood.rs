//! What was on the wire, in stores and in backups at earlier releases is read today as it was meant then. The bytes are
//! frozen (`tests/data/released`), with the configuration as that release's own Admin API showed it as judge.

use serde_json::{Map, Value};
use std::fs;
use std::process::Command;
use tests::lab::{Daemon, Lab, Setup, program};
use tests::listener::Listener;
use tests::released::{ALL, FIRST, Release, SECOND, same};
use wire::Hello;
use wire::dp::Closed;
use wire::message::{Ack, Have, Message};

#[test]
fn a_released_control_planes_session_leads_today_where_it_led_then() {
    for release in ALL {
        let mut today = Listener::new();
        today.hears(&release.frozen("session-to-dp.bin"));
        assert_eq!(today.versions, [1, 2, 3, 4], "a full sync and three deltas");
        assert!(matches!(today.closed, None | Some(Closed::Bye(_))), "{:?}", today.closed);
        let then = release.facts("configuration.json");
        assert_eq!(today.versions.last().copied(), then["version"].as_u64());
        same(&then["entities"], &today.shows());
        // The first release knew neither patches nor did it have to wait for a heartbeat.
        assert_eq!((today.patches, today.pongs.len()), if release == FIRST { (0, 0) } else { (1, 1) });
    }
}

#[test]
fn a_released_full_sync_entity_by_entity_leads_to_the_same() {
    for release in ALL {
        let mut today = Listener::new();
        today.hears(&release.frozen("entities-to-dp.bin"));
        assert_eq!(today.versions, [4]);
        same(&release.facts("configuration.json")["entities"], &today.shows());
    }
}

#[test]
fn what_a_released_data_plane_said_is_read() {
    for release in ALL {
        let said = release.said("session-to-cp.bin");
        let Some(Message::Hello(hello)) = said.first() else { panic!("{said:?}") };
        assert_eq!((hello.software.as_str(), hello.have), ("0.1.0", Have::default()));
        assert_eq!((hello.kinds.len(), hello.plugins.len(), hello.incremental), (11, 3, true));
        let features = Hello::PATCHES | Hello::RECONCILE | Hello::CONFIRM | Hello::MOVED;
        assert_eq!(hello.features, if release == FIRST { 0 } else { features });
        assert!(matches!(said.get(1), Some(Message::FullGet(get)) if get.offset == 0 && get.until > 0), "{said:?}");
        let acks: Vec<Ack> =
            said.iter().filter_map(|message| if let Message::Ack(ack) = message { Some(*ack) } else { None }).collect();
        assert_eq!(acks, [1, 2, 3, 4].map(|version| Ack { applied: version, durable: version }));
        assert!(matches!(said.last(), Some(Message::Bye(_))), "{said:?}");
    }
}

/// A data plane of today on a store of then, with nobody to ask.
fn on_store(lab: &Lab, release: Release, name: &str) -> Setup {
    let setup = lab.dp(name);
    release.unpack(&format!("store-{name}.tar.gz"), setup.dir());
    setup
        .with_text("cluster_cert", release.fixture("cluster.crt").display())
        .with_text("cluster_cert_key", release.fixture("cluster.key").display())
}

/// It serves the frozen configuration, credentials included.
fn serves_what_was_frozen(dp: &mut Daemon, of: &str) {
    dp.is_ready();
    let answer = dp.get("/open", &[("x-key", "for-ever")]);
    assert_eq!((answer.status, answer.json()["message"].as_str()), (200, Some("frozen")), "{of}");
    assert_eq!(dp.get("/open", &[("x-key", "for-long")]).status, 200, "{of}");
    assert_eq!(dp.get("/open", &[("x-key", "no")]).status, 401, "{of}");
    assert_eq!(dp.get("/updated", &[("x-frozen", "ja")]).status, 401, "{of}: jwt, after the update");
    assert_eq!(dp.get("/updated", &[]).status, 404, "{of}");
}

#[test]
fn todays_data_plane_serves_released_stores_plain_and_encrypted() {
    for release in ALL {
        let (lab, then) = (Lab::new(), release.facts("configuration.json"));
        for mode in ["plain", "aes-256-gcm", "chacha20-poly1305"] {
            let encryption = if mode == "plain" { "off" } else { mode };
            let setup = on_store(&lab, release, mode).with_text("declarative_config_encryption_mode", encryption);
            let mut dp = setup.start();
            serves_what_was_frozen(&mut dp, mode);
            let status = dp.sync_status();
            assert_eq!((&status["version"], &status["epoch"]), (&then["version"], &then["epoch"]), "{mode}");
        }
    }
}

/// The frozen stores of the second release have everything twice, in sled and in the archive: either is enough.
#[test]
fn either_copy_in_a_released_store_serves_without_the_other() {
    for (mode, lost) in [("plain", "sled/db"), ("plain", "run-0-1"), ("aes-256-gcm", "sled/db")] {
        let lab = Lab::new();
        let encryption = if mode == "plain" { "off" } else { mode };
        let setup = on_store(&lab, SECOND, mode).with_text("declarative_config_encryption_mode", encryption);
        let file = setup.dir().join("store/gen-2").join(lost);
        let bytes = fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        fs::write(&file, vec![0x55; bytes.len()]).expect("it is ours");
        serves_what_was_frozen(&mut setup.start(), lost);
    }
}

/// The entities that a control plane has.
fn shown(cp: &mut Daemon) -> Map<String, Value> {
    let list = |def: &&model::kind::KindDef| {
        let list = cp.admin_ok("GET", &format!("/{}?size=1000", def.admin_path), &Value::Null);
        (def.name.to_owned(), list["data"].clone())
    };
    model::kind::ALL.iter().map(list).collect()
}

#[test]
fn todays_control_plane_restores_a_released_backup() {
    for release in ALL {
        let lab = Lab::new();
        let setup = lab.cp("cp");
        let settings = setup.write();
        let mut restore = Command::new(program("cp-lite"));
        restore.arg("restore").arg(release.fixture("backup")).arg("-c").arg(settings);
        let restored = restore.output().expect("cp-lite is built");
        assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
        same(&release.facts("configuration.json")["entities"], &shown(&mut setup.start()));
    }
}

#[test]
fn todays_control_plane_goes_on_with_a_released_database() {
    let (lab, then) = (Lab::new(), SECOND.facts("configuration.json"));
    let setup = lab.cp("cp");
    SECOND.unpack("store-cp.tar.gz", setup.dir());
    let mut cp = setup.start();
    same(&then["entities"], &shown(&mut cp));
    let status = cp.admin_ok("GET", "/status", &Value::Null)["configuration"].clone();
    assert_eq!((&status["version"], &status["epoch"]), (&then["version"], &then["epoch"]));
}
