//! What a session promises, one promise a test: a control plane's and a data plane's end joined by a link that carries
//! everything at once.

mod lab;

use lab::{Db, EPOCH, root_of};
use model::{Id, Kind};
use std::sync::Arc;
use wire::compat::SyncStatus;
use wire::cp::Source;
use wire::delta::{Form, Op};
use wire::full::{BlobError, Unpack, blob};
use wire::limits::{
    ANSWER_MS_MAX, BLOB_WINDOW_LOG_MAX, DELTA_BYTES_MAX, FULL_PAUSE_MS_MIN, GREETING_MS_MAX, INCOMPATIBLE_RETRY_S,
    LACK_PAUSE_MS_MIN, NACK_PAUSE_MS_MAX, NACK_PAUSE_MS_MIN,
};
use wire::message::*;
use wire::{Delta, Encoded, cp, dp};

/// Both ends, the control plane's database, and all bytes that went over the link.
struct Pair {
    db: Db,
    dp: dp::Session,
    cp: cp::Session,
    /// Frames as they were sent, by either end.
    down: Vec<Vec<u8>>,
    up: Vec<Vec<u8>>,
    staged: Vec<Delta>,
    full: Option<FullBegin>,
    entities: usize,
    blob: Vec<u8>,
    blob_of: Option<u64>,
    welcome: Option<Welcome>,
    report: Option<cp::Report>,
    closed: (Option<dp::Closed>, Option<cp::Closed>),
    now: u64,
}

fn identity() -> dp::Identity {
    let mut identity = dp::Identity::new(Id(1), "edge-7.example.net".into(), "0.1.0".into());
    identity.kinds = (1..=11).map(|kind| KindVersion { kind, body: 1 }).collect();
    identity.plugins = ["key-auth", "jwt", "request-termination"]
        .map(|name| PluginVersion { name: name.into(), version: None })
        .to_vec();
    identity
}

impl Pair {
    fn new(db: Db, have: Have) -> Self {
        Self::with(db, have, identity(), cp::Config::new(Id(2), "0.1.0".into()))
    }

    fn with(db: Db, have: Have, identity: dp::Identity, config: cp::Config) -> Self {
        let mut pair = Self {
            db,
            dp: dp::Session::new(identity).unwrap(),
            cp: cp::Session::new(Arc::new(config), 0),
            down: Vec::new(),
            up: Vec::new(),
            staged: Vec::new(),
            full: None,
            entities: 0,
            blob: Vec::new(),
            blob_of: None,
            welcome: None,
            report: None,
            closed: (None, None),
            now: 0,
        };
        let actions = pair.dp.connected(have, 0, 0);
        pair.dp_actions(actions);
        pair
    }

    /// What FULL_BEGIN said.
    fn offered(&self) -> FullBegin {
        let sent: Vec<_> = self.down.iter().map(|bytes| cp::Action::Send(bytes.clone().into())).collect();
        let begin = decoded(&sent).into_iter().find_map(|message| match message {
            Message::FullBegin(begin) => Some(begin),
            _ => None,
        });
        begin.expect("a full sync was offered")
    }

    /// A node that has all of `version`.
    fn at(db: Db, version: u64) -> Self {
        let have = have(&db, version);
        Self::new(db, have)
    }

    fn dp_actions(&mut self, actions: Vec<dp::Action>) {
        for action in actions {
            match action {
                dp::Action::Send(bytes) => {
                    self.up.push(bytes.to_vec());
                    let actions = self.cp.received(&bytes, self.now, &self.db);
                    self.cp_actions(actions);
                }
                dp::Action::Welcomed(welcome) => self.welcome = Some(welcome),
                dp::Action::Head(_) => {}
                dp::Action::Stage(delta) => self.staged.push(delta),
                dp::Action::FullBegin { begin, .. } => {
                    if self.blob_of.replace(begin.transfer) != Some(begin.transfer) {
                        self.blob.clear();
                    }
                    let actions = self.dp.full_open(self.blob.len() as u64, self.now);
                    self.dp_actions(actions);
                }
                dp::Action::FullBytes { offset, bytes } => {
                    assert_eq!(offset, self.blob.len() as u64);
                    self.blob.extend_from_slice(&bytes);
                    let actions = self.dp.full_processed(bytes.len() as u64, self.now);
                    self.dp_actions(actions);
                }
                dp::Action::FullChunk { entities, bytes } => {
                    self.entities += entities.len();
                    let actions = self.dp.full_processed(bytes, self.now);
                    self.dp_actions(actions);
                }
                dp::Action::FullComplete { begin, .. } => {
                    if begin.is_blob() {
                        assert_eq!(blob::digest(&self.blob[..]).unwrap(), begin.transfer);
                        let mut unpack = Unpack::new(begin, &self.blob[..]).unwrap();
                        while unpack.next().unwrap().is_some() {
                            self.entities += 1;
                        }
                    }
                    self.full = Some(begin);
                }
                dp::Action::Symbols { .. } | dp::Action::Parity(_) | dp::Action::Reconciled { .. } => {
                    panic!("a reconcile: see tests/reconcile.rs")
                }
                dp::Action::Close(closed) => self.closed.0 = Some(closed),
            }
        }
    }

    fn cp_actions(&mut self, actions: Vec<cp::Action>) {
        for action in actions {
            match action {
                cp::Action::Send(bytes) => {
                    self.down.push(bytes.to_vec());
                    let actions = self.dp.received(&bytes, self.now);
                    self.dp_actions(actions);
                }
                cp::Action::Joined(_) => {
                    let actions = self.cp.admit(&self.db);
                    self.cp_actions(actions);
                }
                cp::Action::Asked => unreachable!("no session here relays"),
                cp::Action::Report(report) => self.report = Some(report),
                cp::Action::Close(closed) => self.closed.1 = Some(closed),
            }
        }
    }

    fn drain(&mut self) {
        loop {
            let actions = self.cp.drained();
            if actions.is_empty() {
                return;
            }
            self.cp_actions(actions);
        }
    }

    fn commit(&mut self, id: u128, body: Option<&[u8]>) {
        self.db.commit(&[((Kind::Route, Id(id)), body.map(<[u8]>::to_vec))]);
        self.head_changed();
    }

    fn head_changed(&mut self) {
        let actions = self.cp.head_changed(&self.db);
        self.cp_actions(actions);
    }

    fn tick(&mut self) {
        let actions = self.cp.tick(self.now, &self.db);
        self.cp_actions(actions);
    }

    fn apply(&mut self, version: u64) {
        let mut actions = self.dp.durable(version, self.now);
        actions.extend(self.dp.applied(version, self.now));
        self.dp_actions(actions);
    }

    fn reject(&mut self, code: NackCode) {
        let rejection = dp::Rejection { code, entity: None, path: "paths".into(), message: "m".into() };
        let actions = self.dp.rejected(rejection, self.now);
        self.dp_actions(actions);
    }

    fn mode(&self) -> Mode {
        self.welcome.as_ref().expect("a WELCOME").mode
    }

    fn report(&self) -> &cp::Report {
        self.report.as_ref().expect("a report")
    }
}

fn have(db: &Db, version: u64) -> Have {
    let state = db.at(version).unwrap();
    Have { epoch: db.epoch, applied: version, durable: version, root: root_of(state), count: state.len() as u64 }
}

/// `versions` commits of one route each.
fn db(versions: u64) -> Db {
    let mut db = Db::new(EPOCH);
    for version in 1..=versions {
        db.commit(&[((Kind::Route, Id(u128::from(version))), Some(vec![7; 400]))]);
    }
    db
}

#[test]
fn a_node_with_the_head_is_sent_nothing() {
    let pair = Pair::at(db(5), 5);
    assert_eq!((pair.mode(), pair.down.len()), (Mode::Same, 1));
    assert_eq!(pair.report().status, SyncStatus::Normal);
}

#[test]
fn a_change_on_an_idle_session_is_sent_at_once_and_acknowledged_once() {
    let mut pair = Pair::at(db(5), 5);
    pair.commit(3, Some(b"new"));
    assert_eq!(pair.report().in_flight, Some(6));
    pair.apply(6);
    assert_eq!((pair.down.len(), pair.up.len()), (2, 2), "HELLO, WELCOME, DELTA, ACK");
    let report = pair.report();
    assert_eq!((report.applied, report.durable, report.in_flight), (6, 6, None));
}

#[test]
fn changes_behind_an_unacknowledged_step_become_one_step() {
    let mut pair = Pair::at(db(5), 5);
    pair.commit(1, Some(b"a"));
    for _ in 0..50 {
        pair.commit(2, Some(b"b"));
    }
    pair.commit(3, None);
    assert_eq!(pair.staged.len(), 1);
    pair.apply(6);
    let delta = &pair.staged[1];
    assert_eq!((delta.from, delta.to, delta.ops.len()), (6, 57, 2));
}

#[test]
fn what_was_missed_comes_as_one_exact_step() {
    let pair = Pair::at(db(50), 20);
    assert_eq!(pair.mode(), Mode::Tail);
    let delta = &pair.staged[0];
    assert_eq!((delta.from, delta.to, delta.ops.len(), delta.root), (20, 50, 30, root_of(pair.db.state())));
}

/// The bytes of one change of a route, down and up, at this version of the configuration.
fn bytes_of_one_change(versions: u64) -> (usize, usize) {
    let mut db = Db::new(EPOCH);
    db.commit(&[((Kind::Route, Id(1)), Some(vec![7; 400]))]);
    let state = Arc::clone(db.state());
    db.states.resize(versions as usize + 1, state);
    db.touched.resize(versions as usize + 1, Vec::new());
    let mut pair = Pair::at(db, versions);
    pair.commit(1, Some(&[8; 400]));
    pair.apply(versions + 1);
    assert_eq!((pair.down.len(), pair.up.len()), (2, 2));
    (pair.down[1].len(), pair.up[1].len())
}

#[test]
fn a_one_field_change_costs_its_body_and_no_more_at_any_size() {
    let (small, large) = (bytes_of_one_change(100), bytes_of_one_change(30_000));
    println!("one change: {small:?} bytes at version 100, {large:?} at 30,000");
    assert!(small.0 <= 400 + 16 + 48 && small.1 <= 8, "{small:?}");
    assert!(large.0 + large.1 - small.0 - small.1 <= 4, "{small:?} {large:?}");
}

#[test]
fn greetings_are_small() {
    let pair = Pair::at(db(5), 5);
    println!("HELLO {} bytes, WELCOME {} bytes", pair.up[0].len(), pair.down[0].len());
    assert!(pair.up[0].len() <= 200 && pair.down[0].len() <= 100);
}

#[test]
fn a_thousand_nodes_share_one_encoding() {
    struct Shared(Db, Arc<Encoded>);
    impl Source for Shared {
        fn epoch(&self) -> u64 {
            self.0.epoch()
        }
        fn head(&self) -> u64 {
            self.0.head()
        }
        fn floor(&self) -> u64 {
            self.0.floor()
        }
        fn root(&self) -> u64 {
            self.0.root()
        }
        fn in_use(&self) -> &wire::compat::InUse {
            self.0.in_use()
        }
        fn delta(&self, from: u64, _form: Form) -> Option<Arc<Encoded>> {
            assert_eq!(from, self.1.from());
            Some(Arc::clone(&self.1))
        }
        fn record(&self, kind: u8, id: Id) -> Option<model::Record> {
            self.0.record(kind, id)
        }
        fn full(&self) -> Box<dyn wire::Cursor> {
            self.0.full()
        }
    }
    let db = db(6);
    let shared = Shared(db.clone(), db.delta(5, Form::default()).unwrap());
    let hello = Pair::at(db.clone(), 5).up[0].clone();
    let config = Arc::new(cp::Config::new(Id(2), "0.1.0".into()));
    for _ in 0..1_000 {
        let mut session = cp::Session::new(Arc::clone(&config), 0);
        session.received(&hello, 0, &shared);
        let sent = session.admit(&shared).into_iter().filter_map(|action| match action {
            cp::Action::Send(bytes) => Some(bytes),
            _ => None,
        });
        assert_eq!(sent.last().unwrap().as_ptr(), shared.1.frames().as_ptr());
    }
}

#[test]
fn an_empty_node_gets_everything_and_then_tails() {
    let mut pair = Pair::new(db(200), Have::default());
    assert_eq!(pair.mode(), Mode::Full);
    pair.drain();
    assert_eq!((pair.full.unwrap().count, pair.entities), (200, 200));
    pair.commit(7, None);
    assert!(pair.staged.is_empty(), "one at a time");
    pair.apply(200);
    assert_eq!((pair.staged[0].from, pair.staged[0].to), (200, 201));
    pair.apply(201);
    assert_eq!(pair.report().mode, Mode::Same);
}

#[test]
fn heartbeats_and_changes_of_others_do_not_wait_for_a_full_sync() {
    let mut pair = Pair::new(db(200), Have::default());
    let actions = pair.cp.drained();
    pair.cp_actions(actions);
    let before = pair.down.len();
    let pong = pair.cp.received(&Message::Ping(Ping::default()).encode(), 0, &pair.db);
    pair.cp_actions(pong);
    assert_eq!(pair.down.len(), before + 1, "no bulk in front of the answer");
    pair.drain();
    assert!(pair.full.is_some());
}

#[test]
fn another_epoch_a_version_below_the_floor_and_another_root_lead_to_a_full_sync() {
    let base = db(10);
    assert_eq!(Pair::new(base.clone(), Have { epoch: 1, ..have(&base, 10) }).mode(), Mode::Full);
    assert_eq!(Pair::new(base.clone(), Have { root: 1, ..have(&base, 10) }).mode(), Mode::Full);
    let mut raised = base.clone();
    raised.floor = 5;
    assert_eq!(Pair::at(raised.clone(), 5).mode(), Mode::Tail);
    assert_eq!(Pair::at(raised, 4).mode(), Mode::Full);
}

#[test]
fn incremental_off_on_either_end_means_full_syncs_and_both_say_so() {
    let on = || cp::Config::new(Id(2), "0.1.0".into());
    let off = cp::Config { incremental: false, ..on() };
    let dp_off = dp::Identity { incremental: false, ..identity() };
    for (identity, config) in [(identity(), off.clone()), (dp_off.clone(), on()), (dp_off, off)] {
        let base = db(10);
        let at = have(&base, 9);
        let mut pair = Pair::with(base, at, identity, config);
        assert_eq!(pair.mode(), Mode::Full);
        assert!(!pair.welcome.as_ref().unwrap().incremental && !pair.report().incremental);
        pair.drain();
        pair.apply(10);
        pair.commit(3, Some(b"x"));
        pair.drain();
        assert!(pair.staged.is_empty());
        assert_eq!(pair.full.unwrap().version, 11);
    }
}

#[test]
fn a_step_over_the_limits_becomes_a_full_sync() {
    let mut pair = Pair::at(db(5), 5);
    let big = vec![1; 200_000];
    let changes: Vec<_> = (0..6).map(|id| ((Kind::Route, Id(id)), Some(big.clone()))).collect();
    const { assert!(6 * 200_000 > DELTA_BYTES_MAX) };
    pair.db.commit(&changes);
    pair.head_changed();
    pair.drain();
    assert!(pair.staged.is_empty());
    assert_eq!(pair.full.unwrap().version, 6);
}

#[test]
fn a_refused_version_is_not_sent_again_until_the_head_changes() {
    let mut pair = Pair::at(db(5), 5);
    pair.commit(3, Some(b"bad"));
    pair.reject(NackCode::Invalid);
    pair.head_changed();
    assert_eq!(pair.staged.len(), 1);
    let nack = pair.report().nack.clone().unwrap();
    assert_eq!((nack.version, nack.kept, nack.code, nack.path.as_str()), (6, 5, NackCode::Invalid, "paths"));
    pair.commit(3, Some(b"good"));
    assert_eq!((pair.staged[1].from, pair.staged[1].to), (5, 7));
    pair.apply(7);
    assert_eq!((pair.report().applied, pair.report().nack.clone()), (7, None));
}

#[test]
fn a_node_that_refuses_one_version_after_the_other_is_left_alone_longer_and_longer() {
    let mut pair = Pair::at(db(5), 5);
    pair.commit(3, Some(b"bad"));
    pair.reject(NackCode::Invalid);
    let mut pause = NACK_PAUSE_MS_MIN;
    for refused in 2..10 {
        // The first repair goes at once; whatever is committed afterwards, with a pause.
        pair.commit(3, Some(b"still bad"));
        if refused > 2 {
            assert_eq!(pair.cp.timer(), Some(pair.now + pause));
            pair.now += pause - 1;
            pair.tick();
            pair.commit(3, Some(b"not much better"));
            assert_eq!(pair.staged.len(), refused - 1, "after {refused} refusals");
            pair.now += 1;
            pair.tick();
            pause = (pause * 2).min(NACK_PAUSE_MS_MAX);
        }
        assert_eq!(pair.staged.len(), refused);
        pair.reject(NackCode::Invalid);
    }
    // Once something was applied, all is forgotten.
    pair.now += NACK_PAUSE_MS_MAX;
    pair.commit(3, Some(b"good"));
    pair.tick();
    let last = pair.staged.last().unwrap().to;
    pair.apply(last);
    pair.commit(3, Some(b"bad"));
    pair.reject(NackCode::Invalid);
    let staged = pair.staged.len();
    pair.commit(3, Some(b"good"));
    assert_eq!(pair.staged.len(), staged + 1);
}

#[test]
fn a_version_that_a_node_had_no_room_for_comes_again_though_nobody_commits() {
    let mut pair = Pair::at(db(5), 5);
    pair.commit(3, Some(b"large"));
    for (again, pause) in [LACK_PAUSE_MS_MIN, 2 * LACK_PAUSE_MS_MIN].into_iter().enumerate() {
        pair.reject(NackCode::Resources);
        assert!(pair.cp.timer().is_some_and(|at| at <= pair.now + pause), "{:?}", pair.cp.timer());
        pair.now += pause - 1;
        pair.tick();
        assert_eq!(pair.staged.len(), again + 1, "not before its time");
        pair.now += 1;
        pair.tick();
        assert_eq!(pair.staged.last().map(|step| (step.from, step.to)), Some((5, 6)));
        assert_eq!(pair.staged.len(), again + 2);
    }
    pair.apply(6);
    assert_eq!((pair.report().applied, pair.report().nack.clone()), (6, None));

    // Another head does not wait for that.
    pair.commit(3, Some(b"larger"));
    pair.reject(NackCode::Resources);
    pair.commit(3, Some(b"small"));
    assert_eq!(pair.staged.last().map(|step| (step.from, step.to)), Some((6, 8)));
}

#[test]
fn a_full_sync_that_a_node_had_no_room_for_comes_again_though_nobody_commits() {
    let mut pair = Pair::new(db(200), Have::default());
    pair.drain();
    pair.full = None;
    pair.reject(NackCode::Resources);
    pair.now += LACK_PAUSE_MS_MIN;
    pair.tick();
    let actions = pair.dp.tick(pair.now);
    pair.dp_actions(actions);
    pair.drain();
    assert_eq!(pair.full.map(|begin| begin.version), Some(200));
}

#[test]
fn a_node_with_another_root_after_a_step_gets_a_full_sync_once() {
    let mut pair = Pair::at(db(5), 5);
    pair.commit(3, Some(b"new"));
    pair.reject(NackCode::Root);
    pair.drain();
    assert_eq!(pair.full.take().unwrap().version, 6);
    let sent = pair.down.len();
    pair.reject(NackCode::Root);
    pair.head_changed();
    assert_eq!(pair.down.len(), sent);
}

#[test]
fn a_full_sync_refused_half_way_ends_quietly_and_comes_again_with_the_next_head() {
    let mut pair = Pair::new(db(200), Have::default());
    let actions = pair.cp.drained();
    pair.cp_actions(actions);
    let late = pair.cp.drained();
    pair.reject(NackCode::Resources);
    pair.cp_actions(late);
    pair.drain();
    assert_eq!((pair.full, &pair.closed), (None, &(None, None)));
    pair.commit(1, None);
    pair.drain();
    assert_eq!(pair.full, None, "not at once: a full sync that is refused over and over must not fill the link");
    pair.now = pair.dp.timer().unwrap();
    assert_eq!(pair.now, FULL_PAUSE_MS_MIN);
    let actions = pair.dp.tick(pair.now);
    pair.dp_actions(actions);
    pair.drain();
    assert_eq!(pair.full.unwrap().version, 201);
}

#[test]
fn full_syncs_refused_in_a_row_wait_longer_and_longer_until_one_is_applied() {
    let mut pair = Pair::new(db(5), Have::default());
    let mut waits = Vec::new();
    for _ in 0..8 {
        pair.drain();
        pair.reject(NackCode::Resources);
        pair.commit(1, Some(b"again"));
        waits.push(pair.dp.timer().unwrap() - pair.now);
        pair.now = pair.dp.timer().unwrap();
        let actions = pair.dp.tick(pair.now);
        pair.dp_actions(actions);
    }
    assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    pair.drain();
    let version = pair.full.unwrap().version;
    pair.apply(version);
    assert_eq!(pair.report().applied, version);
}

#[test]
fn a_control_plane_behind_the_node_sends_nothing_until_it_has_caught_up() {
    let ahead = db(10);
    let mut pair = Pair::new(db(8), have(&ahead, 10));
    assert_eq!((pair.mode(), pair.down.len()), (Mode::Behind, 1));
    pair.db = ahead;
    pair.head_changed();
    assert_eq!((pair.report().mode, pair.down.len()), (Mode::Same, 1));
    pair.commit(1, None);
    assert_eq!((pair.staged[0].from, pair.staged[0].to), (10, 11));
}

#[test]
fn a_node_without_a_configured_plugin_or_kind_stays_connected_and_gets_nothing_until_it_is_taken_out() {
    let mut base = db(5);
    base.in_use.plugins = vec![PluginVersion { name: "acme".into(), version: None }];
    let mut pair = Pair::at(base, 3);
    let welcome = pair.welcome.clone().unwrap();
    assert_eq!((welcome.mode, pair.down.len()), (Mode::Withheld, 1));
    assert_eq!(welcome.message, "configured acme plugin 0.1.0 is missing from data plane");
    assert_eq!(pair.report().status, SyncStatus::PluginSetIncompatible);
    pair.db.in_use.plugins.clear();
    pair.db.in_use.kinds = vec![99];
    pair.commit(1, None);
    assert_eq!((pair.report().status, pair.staged.len()), (SyncStatus::KindSetIncompatible, 0));
    pair.db.in_use.kinds = vec![2];
    pair.commit(2, None);
    assert_eq!((pair.report().status, pair.staged.len()), (SyncStatus::Normal, 1));
}

/// A node of before a kind: once there are no entities of it any more, nothing that it is sent names the kind.
#[test]
fn what_was_deleted_of_a_kind_that_a_node_does_not_know_is_left_out_of_its_steps() {
    for knows in [false, true] {
        let (base, mut identity) = (db(5), identity());
        if !knows {
            identity.kinds.retain(|known| known.kind != Kind::Consumer.code());
        }
        let have = have(&base, 5);
        let mut pair = Pair::with(base, have, identity, cp::Config::new(Id(2), "0.1.0".into()));
        pair.db.in_use.kinds = vec![Kind::Route.code(), Kind::Consumer.code()];
        pair.db.commit(&[((Kind::Consumer, Id(1)), Some(b"ann".to_vec()))]);
        pair.head_changed();
        assert_eq!(pair.staged.len(), usize::from(knows));
        if knows {
            pair.apply(6);
        }
        pair.db.in_use.kinds = vec![Kind::Route.code()];
        pair.db.commit(&[((Kind::Consumer, Id(1)), None)]);
        pair.head_changed();
        let delta = pair.staged.last().expect("a step");
        assert_eq!((delta.to, delta.ops.len(), delta.root), (7, usize::from(knows), root_of(pair.db.state())));
        pair.apply(7);
        let report = pair.report();
        assert_eq!((report.applied, report.durable, report.status), (7, 7, SyncStatus::Normal));
    }
}

#[test]
fn a_node_newer_than_the_control_plane_is_refused_at_the_greeting() {
    let newer = dp::Identity { software: "0.2.0".into(), ..identity() };
    let pair = Pair::with(db(5), Have::default(), newer, cp::Config::new(Id(2), "0.1.0".into()));
    let Some(dp::Closed::Refused { why: RefuseReason::Software, message, retry_after_s }) = &pair.closed.0 else {
        panic!("{:?}", pair.closed)
    };
    assert_eq!(*retry_after_s, INCOMPATIBLE_RETRY_S, "only another program mends that");
    assert_eq!(message, "data plane version 0.2.0 is incompatible with older control plane version 0.1.0");
    assert_eq!(pair.report().status, SyncStatus::KongVersionIncompatible);
    assert_eq!(pair.down.len(), 1);
}

#[test]
fn a_node_that_the_caller_refuses_gets_the_reason_and_nothing_else() {
    let db = db(5);
    let hello = Pair::at(db.clone(), 3).up[0].clone();
    let mut session = cp::Session::new(Arc::new(cp::Config::new(Id(2), "0.1.0".into())), 0);
    session.received(&hello, 0, &db);
    let actions = session.refuse(RefuseReason::Busy, 30, "later");
    let sent = actions.iter().filter(|action| matches!(action, cp::Action::Send(_))).count();
    assert_eq!(sent, 1);
    assert!(matches!(actions.last(), Some(cp::Action::Close(cp::Closed::Refused { why: RefuseReason::Busy, .. }))));
    assert_eq!(session.admit(&db), []);
}

#[test]
fn wanted_entities_come_whole_and_gone_ones_as_deletions() {
    let mut pair = Pair::at(db(5), 5);
    let actions = pair.dp.want(&[(2, Id(3)), (2, Id(99)), (2, Id(3))], 0);
    pair.dp_actions(actions);
    let delta = pair.staged.pop().unwrap();
    assert_eq!((delta.from, delta.to, delta.ops.len()), (5, 5, 2));
    assert!(matches!(&delta.ops[0], Op::Put(entity) if entity.version == 3 && entity.body.len() == 400));
    assert_eq!(delta.ops[1], Op::Delete { kind: 2, id: Id(99) });
    pair.apply(5);
    assert_eq!(pair.report().in_flight, None);
}

#[test]
fn wanted_entities_ride_with_the_step_that_is_due() {
    let mut pair = Pair::at(db(5), 5);
    pair.commit(1, Some(b"one"));
    let actions = pair.dp.want(&[(2, Id(2)), (2, Id(3))], 0);
    pair.dp_actions(actions);
    pair.commit(2, Some(b"two"));
    pair.apply(6);
    let delta = &pair.staged[1];
    assert_eq!((delta.from, delta.to), (6, 7));
    assert_eq!(delta.ops.iter().map(|op| op.key().unwrap().1).collect::<Vec<_>>(), [Id(2), Id(3)]);
}

#[test]
fn what_is_live_before_it_is_durable_is_acknowledged_twice() {
    let mut pair = Pair::at(db(5), 5);
    pair.commit(1, None);
    let actions = pair.dp.applied(6, 0);
    pair.dp_actions(actions);
    assert_eq!((pair.report().applied, pair.report().durable), (6, 5));
    let actions = pair.dp.durable(6, 0);
    pair.dp_actions(actions);
    assert_eq!((pair.report().applied, pair.report().durable), (6, 6));
}

#[test]
fn a_silent_link_is_probed_after_the_heartbeat_and_given_up_after_the_answer_is_due() {
    let mut pair = Pair::at(db(5), 5);
    assert_eq!(pair.dp.timer(), Some(300_000));
    assert_eq!(pair.dp.tick(299_999), []);
    let ping = pair.dp.tick(300_000);
    assert_eq!(ping, [dp::Action::Send(Message::Ping(Ping::default()).encode())]);
    assert_eq!(pair.dp.timer(), Some(300_000 + ANSWER_MS_MAX));
    pair.now = 300_100;
    pair.dp_actions(ping);
    assert_eq!(pair.dp.timer(), Some(600_000), "answered");
    pair.dp.tick(600_000);
    let closing = pair.dp.tick(600_000 + ANSWER_MS_MAX);
    assert_eq!(closing.last(), Some(&dp::Action::Close(dp::Closed::Silent)));
    assert_eq!(pair.dp.timer(), None);
}

#[test]
fn a_control_plane_gives_up_a_node_that_is_silent_beyond_its_heartbeat() {
    let mut pair = Pair::at(db(5), 5);
    let until = 300_000 + 2 * ANSWER_MS_MAX;
    assert_eq!(pair.cp.timer(), Some(until));
    assert_eq!(pair.cp.tick(until - 1, &pair.db), []);
    assert_eq!(pair.cp.tick(until, &pair.db).last(), Some(&cp::Action::Close(cp::Closed::Silent)));
}

#[test]
fn whoever_does_not_greet_is_given_up() {
    let mut session = cp::Session::new(Arc::new(cp::Config::new(Id(2), "0.1.0".into())), 5);
    assert_eq!(session.timer(), Some(5 + GREETING_MS_MAX));
    assert_eq!(session.tick(5 + GREETING_MS_MAX, &db(1)).last(), Some(&cp::Action::Close(cp::Closed::Silent)));
    let mut session = dp::Session::new(identity()).unwrap();
    session.connected(Have::default(), 0, 5);
    assert_eq!(session.tick(5 + GREETING_MS_MAX).last(), Some(&dp::Action::Close(dp::Closed::Silent)));
}

#[test]
fn heartbeats_stay_within_the_control_planes_bounds_and_may_be_off() {
    let heartbeat = |proposed, heartbeat_min_s, heartbeat_max_s| {
        let identity = dp::Identity { heartbeat_s: proposed, ..identity() };
        let config = cp::Config { heartbeat_min_s, heartbeat_max_s, ..cp::Config::new(Id(2), "0.1.0".into()) };
        let pair = Pair::with(db(1), Have::default(), identity, config);
        (pair.welcome.as_ref().unwrap().heartbeat_s, pair.cp.timer().is_some())
    };
    assert_eq!(heartbeat(300, 5, 0), (300, true));
    assert_eq!(heartbeat(1, 5, 0), (5, true));
    assert_eq!(heartbeat(900, 5, 60), (60, true));
    assert_eq!(heartbeat(0, 5, 60), (60, true));
    assert_eq!(heartbeat(0, 5, 0), (0, false));
}

#[test]
fn a_heartbeat_changes_inside_a_session_when_both_ends_know() {
    let agreed = |pair: &mut Pair| {
        pair.now += u64::from(pair.dp.heartbeat_s()) * 1000;
        let actions = pair.dp.tick(pair.now);
        pair.dp_actions(actions);
        (pair.dp.heartbeat_s(), pair.cp.timer().unwrap() - pair.now)
    };
    let mut pair = Pair::at(db(1), 1);
    pair.dp.adapt(450);
    assert_eq!(pair.dp.heartbeat_s(), 300, "a longer one waits for the control plane");
    assert_eq!(agreed(&mut pair), (450, 450_000 + 2 * ANSWER_MS_MAX));
    assert_eq!(pair.dp.pinged_after(), 300_000);
    pair.dp.adapt(60);
    assert_eq!(pair.dp.heartbeat_s(), 60, "a shorter one holds at once");
    assert_eq!(agreed(&mut pair), (60, 60_000 + 2 * ANSWER_MS_MAX));
    assert_eq!(agreed(&mut pair), (60, 60_000 + 2 * ANSWER_MS_MAX));
    let asked = Message::Ping(Ping { heartbeat_s: Some(60) }).encode();
    assert_eq!(pair.up.iter().filter(|bytes| **bytes == asked).count(), 1, "asked once, not with every PING");
}

#[test]
fn a_control_plane_that_knows_nothing_of_it_keeps_the_heartbeat() {
    let mut pair = Pair::at(db(1), 1);
    pair.dp.adapt(450);
    let actions = pair.dp.tick(300_000);
    assert_eq!(decoded(&[cp::Action::Send(sent(&actions))]), [Message::Ping(Ping { heartbeat_s: Some(450) })]);
    pair.dp.received(&Message::Pong(Pong::new(1, pair.db.root())).encode(), 300_001);
    assert_eq!(pair.dp.heartbeat_s(), 300);
    let next = pair.dp.tick(600_001);
    assert_eq!(decoded(&[cp::Action::Send(sent(&next))]), [Message::Ping(Ping::default())]);
}

#[test]
fn a_node_is_moved_when_it_knows_how_and_nothing_is_in_flight() {
    let moved = |features, version| {
        let have = have(&db(5), version);
        let identity = dp::Identity { features, ..identity() };
        let mut pair = Pair::with(db(5), have, identity, cp::Config::new(Id(2), "0.1.0".into()));
        let actions = pair.cp.move_to("b:8005");
        pair.cp_actions(actions);
        pair.closed
    };
    let (node, control_plane) = moved(Hello::MOVED, 5);
    assert_eq!(control_plane, Some(cp::Closed::Moved { to: "b:8005".into() }));
    let bye = Bye { to: "b:8005".into(), ..Bye::new(ByeReason::Moved, String::new()) };
    assert_eq!(node, Some(dp::Closed::Bye(bye)));
    assert_eq!(moved(0, 5), (None, None), "an early node would not find its way");
    assert_eq!(moved(Hello::MOVED, 3), (None, None), "a version is in flight");
}

#[test]
fn a_session_beside_another_greets_as_the_same_node() {
    let mut pair = Pair::at(db(5), 5);
    let mut beside = pair.dp.beside();
    assert!(pair.dp.is_idle() && !beside.is_idle());
    let hello = beside.connected(pair.dp.have(), 0, 0);
    assert_eq!(sent(&hello), pair.up[0]);
    let mut other = cp::Session::new(Arc::new(cp::Config::new(Id(2), "0.1.0".into())), 0);
    other.received(&pair.up[0], 0, &pair.db);
    for action in other.admit(&pair.db) {
        if let cp::Action::Send(bytes) = action {
            beside.received(&bytes, 0);
        }
    }
    assert!(pair.dp.is_idle() && beside.is_idle());
    let actions = pair.dp.bye(ByeReason::Shutdown, "", 0);
    pair.dp_actions(actions);
    assert!(beside.is_idle(), "the end of one is not the end of the other");
}

/// The bytes of the only thing that was sent.
fn sent(actions: &[dp::Action]) -> bytes::Bytes {
    match actions {
        [dp::Action::Send(bytes)] => bytes.clone(),
        other => panic!("one thing to be sent, not {other:?}"),
    }
}

#[test]
fn a_node_whose_content_is_not_that_of_its_version_finds_out_by_the_heartbeat() {
    let mut pair = Pair::at(db(5), 5);
    let pong = Message::Pong(Pong::new(5, 1)).encode();
    let actions = pair.dp.received(&pong, 0);
    assert_eq!(actions.last(), Some(&dp::Action::Close(dp::Closed::RootDiffers { version: 5 })));
    let lagging = Message::Pong(Pong::new(9, 1));
    let mut pair = Pair::at(db(5), 5);
    assert_eq!(pair.dp.received(&lagging.encode(), 0).len(), 1);
}

#[test]
fn a_new_epoch_ends_the_session_so_that_the_node_greets_again() {
    let mut pair = Pair::at(db(5), 5);
    pair.db.epoch += 1;
    pair.head_changed();
    assert_eq!(pair.closed.1, Some(cp::Closed::Epoch));
    assert!(matches!(&pair.closed.0, Some(dp::Closed::Bye(bye)) if bye.reason == ByeReason::Epoch));
}

#[test]
fn a_full_sync_goes_on_where_an_earlier_connection_ended() {
    let db = db(200);
    for codecs in [vec![CODEC_RAW], vec![CODEC_RAW, CODEC_ZSTD]] {
        let identity = dp::Identity { codecs, ..identity() };
        let pair = Pair::with(db.clone(), Have::default(), identity, cp::Config::new(Id(2), "0.1.0".into()));
        goes_on(&db, &pair.up[0]);
    }
}

/// Whether what is sent from some offset on is the rest of what is sent from 0 on.
fn goes_on(db: &Db, hello: &[u8]) {
    let stream = |start: u64| {
        let mut session = cp::Session::new(Arc::new(cp::Config::new(Id(2), "0.1.0".into())), 0);
        session.received(hello, 0, db);
        let mut sent = session.admit(db);
        let begin = decoded(&sent).into_iter().find_map(|message| match message {
            Message::FullBegin(begin) => Some(begin),
            _ => None,
        });
        let get = FullGet { transfer: begin.unwrap().transfer, offset: start, until: u64::MAX };
        sent = session.received(&Message::FullGet(get).encode(), 0, db);
        loop {
            let more = session.drained();
            if more.is_empty() {
                return decoded(&sent);
            }
            sent.extend(more);
        }
    };
    let bytes = |messages: &[Message]| {
        let pieces = messages.iter().filter_map(|message| match message {
            Message::FullData(data) => Some(data.bytes.to_vec()),
            _ => None,
        });
        pieces.flatten().collect::<Vec<u8>>()
    };
    let whole = stream(0);
    let start = bytes(&whole).len() / 2 + 1;
    assert!(start > 1);
    let rest = stream(start as u64);
    assert_eq!(bytes(&whole)[start..], bytes(&rest));
    assert_eq!(whole.last(), rest.last(), "the digest is that of the whole stream");
}

#[test]
fn a_node_that_has_half_of_a_blob_is_offered_that_one_although_there_are_newer_versions() {
    let mut pair = Pair::new(db(200), Have::default());
    pair.drain();
    let (begin, whole) = (pair.full.unwrap(), std::mem::take(&mut pair.blob));
    pair.db.commit(&[((Kind::Service, Id(7)), Some(b"later".to_vec()))]);
    for _ in 0..10 {
        pair.db.commit(&[]);
    }

    let mut back = Pair::new(pair.db.clone(), Have::default());
    assert_ne!(back.offered().transfer, begin.transfer, "too old for a node that has nothing of it");
    back.blob = whole[..whole.len() / 2].to_vec();
    back.blob_of = Some(begin.transfer);
    let offset = back.blob.len() as u64;
    back.dp.holds(Some(Partial { transfer: begin.transfer, offset }));
    back.cp = cp::Session::new(Arc::new(cp::Config::new(Id(2), "0.1.0".into())), 0);
    let actions = back.dp.connected(Have::default(), 0, 0);
    back.dp_actions(actions);
    back.drain();
    assert_eq!((back.full, &back.blob, back.entities), (Some(begin), &whole, 200));
    back.apply(begin.version);
    assert_eq!((back.staged[0].from, back.staged[0].to), (begin.version, pair.db.head()));
}

#[test]
fn a_blob_that_is_not_what_it_says_is_never_unpacked_to_its_end() {
    let mut pair = Pair::new(db(50), Have::default());
    pair.drain();
    let (begin, whole) = (pair.full.unwrap(), pair.blob);
    let unpack = |begin: FullBegin, bytes: &[u8]| {
        let mut unpack = Unpack::new(begin, bytes)?;
        while unpack.next()?.is_some() {}
        Ok::<(), BlobError>(())
    };
    assert_eq!(unpack(begin, &whole), Ok(()));
    for wrong in [
        FullBegin { count: begin.count - 1, ..begin },
        FullBegin { count: begin.count + 1, ..begin },
        FullBegin { root: begin.root ^ 1, ..begin },
        FullBegin { plain: begin.plain - 1, ..begin },
        FullBegin { plain: begin.plain + 1, ..begin },
    ] {
        assert_eq!(unpack(wrong, &whole), Err(BlobError::Content));
    }
    let mut wide = zstd::Encoder::new(Vec::new(), 1).unwrap();
    wide.window_log(BLOB_WINDOW_LOG_MAX + 1).unwrap();
    std::io::Write::write_all(&mut wide, &vec![1; 4 << 20]).unwrap();
    let wide = wide.finish().unwrap();
    assert!(matches!(unpack(begin, &wide), Err(BlobError::Codec(_))));
    // A bomb: a thousand times as much as was announced.
    let bomb = zstd::bulk::compress(&vec![0; 30_000_000], 1).unwrap();
    assert!(unpack(begin, &bomb).is_err());
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        assert_ne!(blob::digest(&flipped[..]).unwrap(), begin.transfer);
        // Not what it was, or an error; in no case a panic.
        let _ = unpack(begin, &flipped);
        assert!(unpack(begin, &whole[..at]).is_err());
    }
}

fn decoded(actions: &[cp::Action]) -> Vec<Message> {
    let mut decoder = wire::frame::Decoder::new();
    let mut messages = Vec::new();
    for action in actions {
        let cp::Action::Send(bytes) = action else { continue };
        let mut rest = bytes.as_ref();
        while let Some(frame) = decoder.next(&mut rest).unwrap() {
            messages.extend(Message::decode(frame).unwrap());
        }
    }
    messages
}
