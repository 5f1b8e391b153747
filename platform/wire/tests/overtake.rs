//! Small changes overtake a running full sync, one promise a test. Both ends of a session, joined by a link on which
//! frames wait until they are carried, so that what crosses can be looked at.

mod lab;

use lab::{Db, EPOCH};
use model::{Id, Kind};
use std::collections::VecDeque;
use std::sync::Arc;
use wire::cp::Source as _;
use wire::delta::Builder;
use wire::frame::Decoder;
use wire::limits::{OVERTAKE_BYTES_MAX, OVERTAKES_BYTES_MAX};
use wire::message::*;
use wire::shrink::Shrink;
use wire::{Delta, ProtocolError, cp, dp};

/// Enough entities for a full sync of several grants.
const MANY: u128 = 400;

struct Both {
    db: Db,
    cp: cp::Session,
    dp: dp::Session,
    /// Frames on their way to the node.
    down: VecDeque<Vec<u8>>,
    /// What the node has heard and said, in order.
    heard: Vec<Type>,
    said: Vec<Message>,
    begin: Option<FullBegin>,
    complete: bool,
    staged: Option<Delta>,
    held: u64,
    report: Option<cp::Report>,
    closed: Option<dp::Closed>,
}

/// A control plane with so many routes, each of its own bytes, so that a blob of them is about as large as they are.
fn db() -> Db {
    let mut db = Db::new(EPOCH);
    db.commit(&(1..=MANY).map(|id| ((Kind::Route, Id(id << 100)), Some(noise(id, 480)))).collect::<Vec<_>>());
    db
}

/// Bytes that nothing makes shorter.
fn noise(seed: u128, length: usize) -> Vec<u8> {
    let mut rng = lab::Rng::new(seed as u64);
    (0..length).map(|_| rng.next() as u8).collect()
}

fn identity(features: u64) -> dp::Identity {
    let mut identity = dp::Identity::new(Id(1), "edge".into(), "0.1.0".into());
    identity.kinds = (1..=11).map(|kind| KindVersion { kind, body: 1 }).collect();
    identity.features = features;
    identity
}

impl Both {
    fn with(db: Db, identity: dp::Identity, incremental: bool) -> Self {
        let config = cp::Config { incremental, ..cp::Config::new(Id(2), "0.1.0".into()) };
        let mut both = Self {
            db,
            cp: cp::Session::new(Arc::new(config), 0),
            dp: dp::Session::new(identity).unwrap(),
            down: VecDeque::new(),
            heard: Vec::new(),
            said: Vec::new(),
            begin: None,
            complete: false,
            staged: None,
            held: 0,
            report: None,
            closed: None,
        };
        both.connect();
        both
    }

    /// A node that has nothing yet, in the middle of its full sync.
    fn in_the_middle() -> Self {
        let mut both = Self::with(db(), identity(Hello::OVERTAKE | Hello::PATCHES), true);
        both.half();
        both
    }

    fn connect(&mut self) {
        let have = self.dp.have();
        let actions = self.dp.connected(have, 0, 0);
        self.dp_actions(actions);
        self.carry();
    }

    fn half(&mut self) {
        while self.held < 50_000 {
            self.drain_one();
            self.carry();
        }
        assert!(!self.complete);
    }

    fn drain_one(&mut self) -> bool {
        let actions = self.cp.drained();
        let more = !actions.is_empty();
        self.cp_actions(actions);
        more
    }

    fn rest(&mut self) {
        self.carry();
        while self.drain_one() {
            self.carry();
        }
    }

    fn carry(&mut self) {
        while let Some(bytes) = self.down.pop_front() {
            let mut decoder = Decoder::new();
            let mut rest = &bytes[..];
            while let Some(frame) = decoder.next(&mut rest).unwrap() {
                self.heard.extend(Type::from_code(frame.code));
            }
            let actions = self.dp.received(&bytes, 0);
            self.dp_actions(actions);
        }
    }

    fn commit(&mut self, id: u128, body: &[u8]) {
        self.db.commit(&[((Kind::Route, Id(id << 100)), Some(body.to_vec()))]);
        self.head_changed();
    }

    fn head_changed(&mut self) {
        let actions = self.cp.head_changed(&self.db);
        self.cp_actions(actions);
    }

    /// Says of a version that it is live and durable; `true` where the node has another step to go on with at once.
    fn apply(&mut self, version: u64) -> bool {
        self.staged = None;
        let mut actions = self.dp.durable(version, 0);
        actions.extend(self.dp.applied(version, 0));
        let goes_on = actions.iter().any(|action| matches!(action, dp::Action::Stage(_)));
        self.dp_actions(actions);
        goes_on
    }

    fn dp_actions(&mut self, actions: Vec<dp::Action>) {
        for action in actions {
            match action {
                dp::Action::Send(bytes) => {
                    let mut rest = bytes.as_ref();
                    while let Some(frame) = Decoder::new().next(&mut rest).unwrap() {
                        self.said.extend(Message::decode(frame).unwrap());
                    }
                    let actions = self.cp.received(&bytes, 0, &self.db);
                    self.cp_actions(actions);
                }
                dp::Action::FullBegin { begin, .. } => {
                    let held = if self.begin == Some(begin) { self.held } else { 0 };
                    (self.begin, self.held) = (Some(begin), held);
                    let actions = self.dp.full_open(held, 0);
                    self.dp_actions(actions);
                }
                dp::Action::FullBytes { bytes, .. } => {
                    self.held += bytes.len() as u64;
                    let actions = self.dp.full_processed(bytes.len() as u64, 0);
                    self.dp_actions(actions);
                }
                dp::Action::FullComplete { .. } => self.complete = true,
                dp::Action::Stage(delta) => self.staged = Some(delta),
                dp::Action::Close(closed) => self.closed = Some(closed),
                _ => {}
            }
        }
    }

    fn cp_actions(&mut self, actions: Vec<cp::Action>) {
        for action in actions {
            match action {
                cp::Action::Send(bytes) => self.down.push_back(bytes.to_vec()),
                cp::Action::Joined(_) => {
                    let actions = self.cp.admit(&self.db);
                    self.cp_actions(actions);
                }
                cp::Action::Asked => unreachable!("no session here relays"),
                cp::Action::Report(report) => self.report = Some(report),
                cp::Action::Close(closed) => panic!("{closed}"),
            }
        }
    }

    fn count(&self, what: Type) -> usize {
        self.heard.iter().filter(|heard| **heard == what).count()
    }
}

#[test]
fn a_small_change_comes_ahead_of_the_rest_of_a_full_sync_and_is_live_without_another_word_of_the_control_plane() {
    let mut both = Both::in_the_middle();
    both.commit(7, b"small");
    both.carry();
    assert_eq!((both.heard.last(), both.complete), (Some(&Type::Overtake), false));
    assert_eq!(both.staged, None, "nothing is served but what is whole");
    both.rest();
    assert_eq!((both.complete, both.report.as_ref().unwrap().in_flight), (true, Some(1)));
    let heard = both.heard.len();
    assert!(both.apply(1), "what overtook follows at once");
    let step = both.staged.clone().unwrap();
    assert_eq!((step.from, step.to, step.ops.len()), (1, 2, 1));
    assert_eq!(both.report.as_ref().unwrap().in_flight, Some(2));
    assert!(!both.apply(2));
    both.carry();
    assert_eq!(both.heard.len(), heard, "nothing more had to come");
    let acks = both.said.iter().filter_map(|said| if let Message::Ack(ack) = said { Some(*ack) } else { None });
    assert_eq!(acks.collect::<Vec<_>>(), [Ack { applied: 1, durable: 1 }, Ack { applied: 2, durable: 2 }]);
    let report = both.report.unwrap();
    assert_eq!((report.applied, report.durable, report.in_flight, report.mode), (2, 2, None, Mode::Same));
}

#[test]
fn each_later_change_takes_the_place_of_the_one_before_and_the_last_is_applied() {
    let mut both = Both::in_the_middle();
    for id in 1..=5 {
        both.commit(id, b"small");
    }
    both.rest();
    assert_eq!(both.count(Type::Overtake), 5);
    assert!(both.apply(1));
    let step = both.staged.clone().unwrap();
    assert_eq!((step.from, step.to, step.root, step.ops.len()), (1, 6, both.db.root(), 5));
    both.apply(6);
    both.carry();
    assert_eq!((both.staged, both.report.unwrap().mode), (None, Mode::Same));
}

#[test]
fn what_is_more_than_a_frame_or_has_been_enough_waits_for_the_end() {
    let mut both = Both::in_the_middle();
    both.commit(7, &noise(1_007, OVERTAKE_BYTES_MAX));
    both.commit(8, b"small, but the step would be larger still");
    both.rest();
    assert_eq!(both.count(Type::Overtake), 0);
    assert!(!both.apply(1));
    both.carry();
    let step = both.staged.clone().unwrap();
    assert_eq!((step.from, step.to), (1, 3), "the step after it, as ever");

    let mut both = Both::in_the_middle();
    (1..=20).for_each(|id| both.commit(id, &noise(1_000 + id, 3_000)));
    let bytes: usize = both.down.iter().map(Vec::len).sum();
    both.rest();
    let overtook = both.count(Type::Overtake) as u64;
    assert!((2..20).contains(&overtook) && bytes <= OVERTAKES_BYTES_MAX + 1_000, "{overtook} of {bytes} bytes");
    assert!(both.apply(1));
    assert_eq!(both.staged.clone().unwrap().to, 1 + overtook);
    both.apply(1 + overtook);
    both.carry();
    assert_eq!(both.staged.clone().unwrap().to, 21, "the rest is the step after");
}

#[test]
fn nothing_overtakes_where_it_is_not_known_not_wanted_not_exact_or_not_to_be_had_there() {
    let mut old = Both::with(db(), identity(Hello::PATCHES), true);
    old.half();
    let mut off = Both::with(db(), identity(Hello::OVERTAKE), false);
    off.half();
    let mut floored = Both::in_the_middle();
    floored.db.floor = 2;
    let mut withheld = Both::in_the_middle();
    withheld.db.in_use.plugins = vec![PluginVersion { name: "acme".into(), version: None }];
    let mut over = Both::in_the_middle();
    over.rest();
    for both in [&mut old, &mut off, &mut floored, &mut withheld, &mut over] {
        both.commit(7, b"small");
        both.rest();
        assert!(both.complete && both.count(Type::Overtake) == 0);
        assert!(!both.apply(1));
    }
    // By an end that is not told of it, the rest of the session is what it always was.
    old.carry();
    assert_eq!(old.staged.unwrap().to, 2);
}

#[test]
fn a_full_sync_that_is_refused_or_held_back_takes_with_it_what_overtook() {
    let rejection = |code| dp::Rejection { code, entity: None, path: String::new(), message: "no".into() };
    let shrink = Shrink { gone: 9, of: 10, allowed: 5 };
    for end in 0..4 {
        let mut both = Both::in_the_middle();
        both.commit(7, b"small");
        if end % 2 == 1 {
            both.rest();
        }
        // With `end` 0 and 2 the step is still on its way when the node says no, and arrives after that.
        let actions = match end {
            0 | 1 => both.dp.rejected(rejection(NackCode::Resources), 0),
            _ => both.dp.held(shrink, 0),
        };
        both.dp_actions(actions);
        both.rest();
        assert_eq!((both.staged.as_ref(), both.closed.as_ref()), (None, None), "{end}");
        assert!(!both.apply(1), "{end}");
        let refused = both.report.clone().unwrap();
        assert_eq!(refused.nack.map(|nack| nack.version), Some(1));
    }
}

#[test]
fn after_a_cut_the_full_sync_goes_on_and_one_step_holds_all_that_was_committed() {
    let mut both = Both::in_the_middle();
    both.commit(7, b"small");
    both.carry();
    // The link is cut; more is committed meanwhile.
    let config = cp::Config::new(Id(2), "0.1.0".into());
    both.cp = cp::Session::new(Arc::new(config), 0);
    both.down.clear();
    both.db.commit(&[((Kind::Route, Id(9 << 100)), Some(b"later".to_vec()))]);
    let (begin, held) = (both.begin.unwrap(), both.held);
    both.dp.holds(Some(Partial { transfer: begin.transfer, offset: held }));
    both.heard.clear();
    both.connect();
    assert_eq!(both.heard[..3], [Type::Welcome, Type::FullBegin, Type::Overtake], "ahead of everything");
    both.rest();
    assert_eq!(both.held, begin.bytes, "the blob was resumed");
    assert!(both.apply(1));
    assert_eq!((both.staged.clone().unwrap().to, both.count(Type::Overtake)), (3, 1));
}

#[test]
fn a_step_that_overtook_and_misses_its_base_comes_again_whole() {
    let mut both = Both::in_the_middle();
    let mut body = both.db.state()[&(Kind::Route, Id(7 << 100))].body.to_vec();
    body[3] ^= 1;
    both.commit(7, &body);
    both.rest();
    assert!(both.apply(1));
    assert_eq!(both.staged.as_ref().unwrap().patches(), 1);
    let actions = both.dp.base_missing(&[(Kind::Route.code(), Id(7 << 100))], 0);
    both.dp_actions(actions);
    both.carry();
    let step = both.staged.clone().unwrap();
    assert_eq!((step.from, step.to, step.patches(), step.ops.len()), (1, 2, 0, 1));
    both.apply(2);
    assert_eq!(both.report.unwrap().mode, Mode::Same);
}

#[test]
fn each_way_to_break_an_overtaking_step_has_its_own_error() {
    let step = |from, to| {
        let frames = Builder::new(from, to, 5).finish().unwrap().frames();
        Decoder::new().next(&mut frames.as_ref()).unwrap().unwrap().payload
    };
    let refused = |features, incremental, message: Message| {
        let mut both = Both::with(db(), identity(features), incremental);
        both.half();
        let actions = both.dp.received(&message.encode(), 0);
        match actions.last() {
            Some(dp::Action::Close(dp::Closed::Protocol(error))) => Some(error.clone()),
            _ => None,
        }
    };
    let mut both = Both::in_the_middle();
    let transfer = both.begin.unwrap().transfer;
    let overtake = |transfer, delta| Message::Overtake(Overtake { transfer, delta });
    let good = || overtake(transfer, step(1, 2));
    assert_eq!(refused(Hello::OVERTAKE, true, good()), None);
    let unknown = ProtocolError::Unexpected { message: Type::Overtake, state: "by a node that keeps none" };
    assert_eq!(refused(0, true, good()), Some(unknown));
    assert_eq!(refused(Hello::OVERTAKE, false, good()), Some(ProtocolError::IncrementalOff));
    let other = overtake(transfer ^ 1, step(1, 2));
    assert_eq!(refused(Hello::OVERTAKE, true, other), Some(ProtocolError::TransferUnknown { transfer: transfer ^ 1 }));
    let elsewhere = overtake(transfer, step(2, 3));
    assert_eq!(refused(Hello::OVERTAKE, true, elsewhere), Some(ProtocolError::BaseMismatch { from: 2, at: 1 }));
    let nowhere = overtake(transfer, step(1, 1));
    assert_eq!(refused(Hello::OVERTAKE, true, nowhere), Some(ProtocolError::NotWanted { at: 1 }));
    let torn = overtake(transfer, step(1, 2).slice(..5));
    assert_eq!(refused(Hello::OVERTAKE, true, torn), Some(ProtocolError::Malformed { message: Type::Delta }));
    both.rest();
    let late = both.dp.received(&good().encode(), 0);
    let late =
        matches!(late.last(), Some(dp::Action::Close(dp::Closed::Protocol(ProtocolError::TransferUnknown { .. }))));
    assert!(late, "after FULL_END");
}
