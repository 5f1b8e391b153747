//! What a session promises when no version tells what a node has: only what differs travels, and whatever goes wrong ends
//! as a full sync.

mod lab;

use lab::{Db, EPOCH, State, root_of};
use model::{Id, Kind};
use std::sync::Arc;
use wire::frame::Decoder;
use wire::message::*;
use wire::parity::Told;
use wire::patch::IdPrefix;
use wire::reconcile::{Encoder, Step, Symbol};
use wire::{cp, dp};

/// Both ends over a link that carries everything at once, and what went over it.
struct Pair {
    db: Db,
    cp: cp::Session,
    dp: dp::Session,
    /// What the node really has.
    state: State,
    steps: Vec<Step>,
    fulls: usize,
    bytes: usize,
    symbols: usize,
    /// Bodies that parity was asked of.
    asked: usize,
    mode: Option<Mode>,
    closed: Option<String>,
    /// What a node that errs makes of its symbols.
    spoil: fn(&mut Vec<Symbol>),
}

fn state(ids: std::ops::Range<u128>, body: &[u8]) -> State {
    ids.map(|id| ((Kind::Route, Id(id)), lab::record(Kind::Route, Id(id), 1, body))).collect()
}

/// A control plane with this content.
fn db(state: &State) -> Db {
    let mut db = Db::new(EPOCH);
    let changes: Vec<_> = state.iter().map(|(key, record)| (*key, Some(record.body.to_vec()))).collect();
    db.commit(&changes);
    db
}

impl Pair {
    fn new(db: Db, state: State, have: Have, spoil: fn(&mut Vec<Symbol>)) -> Self {
        Self::with(Hello::RECONCILE, db, state, have, spoil)
    }

    fn with(features: u64, db: Db, state: State, have: Have, spoil: fn(&mut Vec<Symbol>)) -> Self {
        let mut identity = dp::Identity::new(Id(1), "edge".into(), "0.1.0".into());
        identity.kinds = (1..=11).map(|kind| KindVersion { kind, body: 1 }).collect();
        identity.features = features;
        let dp = dp::Session::new(identity).unwrap();
        let cp = cp::Session::new(Arc::new(cp::Config::new(Id(2), "0.1.0".into())), 0);
        let (steps, fulls, bytes, symbols) = (Vec::new(), 0, 0, 0);
        let mut pair =
            Self { db, cp, dp, state, steps, fulls, bytes, symbols, asked: 0, mode: None, closed: None, spoil };
        let actions = pair.dp.connected(have, 0, 0);
        pair.dp_actions(actions);
        pair
    }

    /// A node that has this content at a version of another epoch.
    fn foreign(db: Db, state: State) -> Self {
        Self::able(Hello::RECONCILE, db, state)
    }

    /// The same, with these features.
    fn able(features: u64, db: Db, state: State) -> Self {
        let have =
            Have { epoch: EPOCH + 1, applied: 70, durable: 70, root: root_of(&state), count: state.len() as u64 };
        Self::with(features, db, state, have, |_| {})
    }

    fn dp_actions(&mut self, actions: Vec<dp::Action>) {
        for action in actions {
            match action {
                dp::Action::Send(bytes) => {
                    self.bytes += bytes.len();
                    let actions = self.cp.received(&bytes, 0, &self.db);
                    self.cp_actions(actions);
                }
                dp::Action::Welcomed(welcome) => self.mode = Some(welcome.mode),
                dp::Action::Symbols { seed, from, until } => {
                    let mut encoder = Encoder::new(seed, from, until);
                    self.state.values().for_each(|record| encoder.add(record.kind.code(), record.id, record.tag));
                    let mut symbols = encoder.finish();
                    (self.spoil)(&mut symbols);
                    self.symbols += symbols.len();
                    let actions = self.dp.symbols(seed, from, &symbols, 0);
                    self.dp_actions(actions);
                }
                dp::Action::Parity(get) => {
                    self.asked += get.names.len();
                    let actions = self.dp.parity(lab::parity(&self.state, &get), 0);
                    self.dp_actions(actions);
                }
                dp::Action::Reconciled { epoch, step } => {
                    assert_eq!(epoch, EPOCH);
                    self.steps.push(step);
                }
                dp::Action::FullBegin { .. } => self.fulls += 1,
                dp::Action::Close(closed) => self.closed = Some(closed.to_string()),
                dp::Action::Head(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn cp_actions(&mut self, actions: Vec<cp::Action>) {
        for action in actions {
            match action {
                cp::Action::Send(bytes) => {
                    self.bytes += bytes.len();
                    let actions = self.dp.received(&bytes, 0);
                    self.dp_actions(actions);
                }
                cp::Action::Joined(_) => {
                    let actions = self.cp.admit(&self.db);
                    self.cp_actions(actions);
                }
                cp::Action::Asked => unreachable!("no session here relays"),
                cp::Action::Report(_) => {}
                cp::Action::Close(closed) => self.closed = Some(closed.to_string()),
            }
        }
    }

    /// Applies the last step as a node does, and compares.
    fn apply(&mut self) {
        let step = self.steps.last().expect("a step").clone();
        self.state = lab::reconciled(&self.state, &step).expect("every body that is mended");
        assert_eq!(root_of(&self.state), step.root);
        assert_eq!(self.state.keys().collect::<Vec<_>>(), self.db.state().keys().collect::<Vec<_>>());
        let mut actions = self.dp.durable(step.version, 0);
        actions.extend(self.dp.applied(step.version, 0));
        self.dp_actions(actions);
        assert_eq!(
            (self.cp.report().epoch, self.cp.report().applied, self.cp.report().in_flight),
            (EPOCH, step.version, None)
        );
    }
}

#[test]
fn only_what_differs_travels_and_the_node_ends_up_in_the_control_planes_epoch() {
    let mut theirs = state(0..500, b"same");
    theirs.extend(state(490..500, b"changed meanwhile"));
    theirs.extend(state(900..905, b"not on the control plane"));
    let mut pair = Pair::foreign(db(&state(0..500, b"same")), theirs);
    assert_eq!(pair.mode, Some(Mode::Reconcile));
    let step = pair.steps.first().expect("a step");
    assert_eq!((step.puts.len(), step.gone.len(), pair.fulls), (10, 15, 0));
    pair.apply();
    assert!(pair.bytes < 2_500, "{} bytes", pair.bytes);
    // From here on it tails.
    pair.db.commit(&[((Kind::Route, Id(7)), Some(b"next".to_vec()))]);
    assert!(matches!(pair.cp.head_changed(&pair.db).as_slice(), [cp::Action::Send(_), ..]));
}

/// What a node of today can do.
const PARITY: u64 = Hello::RECONCILE | Hello::PATCHES | Hello::PARITY;

/// A body in which one field differs from that of others.
fn body(id: u128, field: &str) -> Vec<u8> {
    let noise = (0..150u128).map(|n| (id.wrapping_mul(0x9e37_79b9).wrapping_add(n * n * 77) >> 3) as u8);
    [noise.clone().collect(), field.as_bytes().to_vec(), noise.rev().collect()].concat()
}

fn fields(ids: std::ops::Range<u128>, field: &str) -> State {
    ids.flat_map(|id| state(id..id + 1, &body(id, field))).collect()
}

#[test]
fn a_body_that_the_node_has_otherwise_is_sent_as_what_differs() {
    let mut ours = fields(0..400, "field: old");
    ours.extend(fields(100..150, "field: new"));
    ours.extend(fields(150..160, "field: longer than it was"));
    ours.extend(fields(1_000..1_002, "which the node has not"));
    let mut theirs = fields(0..400, "field: old");
    theirs.extend(fields(2_000..2_003, "which the node has"));
    let mut pair = Pair::able(PARITY, db(&ours), theirs.clone());
    let step = pair.steps.first().expect("a step");
    // The hashes of what is patched are not among those that go.
    assert_eq!((step.mends.len(), step.puts.len(), step.gone.len()), (60, 2, 3));
    assert!(pair.asked > 62, "more was asked of bodies of another length");
    let bytes = pair.bytes;
    pair.apply();
    // A node that gives no parity, or takes no patches, gets all of each.
    for features in [Hello::RECONCILE | Hello::PATCHES, Hello::RECONCILE | Hello::PARITY] {
        let mut pair = Pair::able(features, db(&ours), theirs.clone());
        let step = pair.steps.first().expect("a step");
        assert_eq!((pair.asked, step.mends.len(), step.puts.len(), step.gone.len()), (0, 0, 62, 63));
        assert!(pair.bytes > bytes * 2, "{} and {bytes}", pair.bytes);
        pair.apply();
    }
}

#[test]
fn bodies_that_have_nothing_in_common_or_cannot_be_read_are_sent_whole() {
    let mut theirs = fields(0..50, "field");
    theirs.extend(state(10..20, &[7; 300]));
    let mut pair = Pair::able(PARITY, db(&fields(0..50, "field")), theirs);
    let step = pair.steps.first().expect("a step");
    assert_eq!((step.mends.len(), step.puts.len(), step.gone.len(), pair.fulls), (0, 10, 10, 0));
    pair.apply();

    let mut ours = fields(0..50, "field: old");
    ours.extend(fields(10..20, "field: new"));
    let have = Have { epoch: 9, applied: 1, durable: 1, root: root_of(&fields(0..50, "field: old")), count: 50 };
    let mut pair = Pair::with(PARITY, db(&ours), fields(0..50, "field: old"), have, |_| {});
    assert_eq!(pair.steps.pop().map(|step| step.mends.len()), Some(10));
    // Between PARITY and step the bodies went: what comes next has no patch in it.
    let actions = pair.dp.base_missing(&[], 0);
    pair.dp_actions(actions);
    let step = pair.steps.last().expect("another step");
    assert_eq!((step.mends.len(), step.puts.len(), pair.fulls), (0, 10, 0));
    pair.apply();
    // And after that there may be patches again.
    pair.db.commit(&[((Kind::Route, Id(7)), Some(body(7, "field: next")))]);
    assert!(matches!(pair.cp.head_changed(&pair.db).as_slice(), [cp::Action::Send(_), ..]));
}

#[test]
fn parity_is_asked_for_in_parts_of_which_each_answer_is_one_frame() {
    let theirs = fields(0..4_000, "field: old");
    let mut ours = theirs.clone();
    ours.extend(fields(0..600, "field: new"));
    let mut pair = Pair::able(PARITY, db(&ours), theirs);
    let step = pair.steps.first().expect("a step");
    assert_eq!((step.mends.len(), step.puts.len(), step.gone.len(), pair.asked), (600, 0, 0, 600));
    pair.apply();
}

#[test]
fn equal_contents_cost_one_batch_of_symbols_and_an_empty_step() {
    let mut pair = Pair::foreign(db(&state(0..3_000, b"same")), state(0..3_000, b"same"));
    let step = pair.steps.first().expect("a step");
    assert_eq!((step.puts.len(), step.gone.len(), pair.symbols), (0, 0, 32));
    pair.apply();
    assert!(pair.bytes < 1_300, "{} bytes", pair.bytes);
}

#[test]
fn a_version_below_the_floor_and_another_root_at_the_same_version_reconcile_too() {
    let mut same = db(&state(0..100, b"same"));
    let mut held = state(0..100, b"same");
    held.extend(state(3..4, b"lost an update"));
    let have = Have { epoch: EPOCH, applied: 1, durable: 1, root: root_of(&held), count: 100 };
    let mut pair = Pair::new(same.clone(), held.clone(), have, |_| {});
    assert_eq!((pair.mode, pair.steps.len()), (Some(Mode::Reconcile), 1));
    pair.apply();
    same.commit(&[((Kind::Route, Id(1)), None)]);
    same.floor = 2;
    let mut pair = Pair::new(same, held, have, |_| {});
    assert_eq!((pair.mode, pair.steps.len()), (Some(Mode::Reconcile), 1));
    pair.apply();
}

#[test]
fn when_too_much_differs_a_full_sync_follows_and_little_was_spent() {
    // More than the counts allow: not one symbol.
    let pair = Pair::foreign(db(&state(0..2_000, b"a")), state(0..500, b"a"));
    assert_eq!((pair.fulls, pair.symbols, pair.steps.len()), (1, 0, 0));
    // The same number, but all others.
    let pair = Pair::foreign(db(&state(0..2_000, b"a")), state(10_000..12_000, b"a"));
    assert_eq!((pair.fulls, pair.steps.len()), (1, 0));
    assert!(pair.bytes <= 6 * 2_000 * 2 + 1_000, "{} bytes", pair.bytes);
}

#[test]
fn symbols_of_no_set_end_as_a_full_sync() {
    let theirs = state(0..100, b"same");
    let have = Have { epoch: 9, applied: 1, durable: 1, root: root_of(&theirs), count: 100 };
    let spoil = |symbols: &mut Vec<Symbol>| symbols.iter_mut().for_each(|symbol| symbol.check ^= 1);
    let pair = Pair::new(db(&state(0..100, b"same")), theirs, have, spoil);
    assert_eq!((pair.fulls, pair.steps.len(), pair.closed), (1, 0, None));
}

#[test]
fn a_step_that_does_not_lead_to_its_root_is_followed_by_a_full_sync() {
    let mut pair = Pair::foreign(db(&state(0..100, b"same")), state(0..99, b"same"));
    assert_eq!((pair.steps.len(), pair.fulls), (1, 0));
    let (code, path, message) = (NackCode::Root, String::new(), String::new());
    let actions = pair.dp.rejected(dp::Rejection { code, entity: None, path, message }, 0);
    pair.dp_actions(actions);
    assert_eq!((pair.steps.len(), pair.fulls, &pair.closed), (1, 1, &None));
}

#[test]
fn reconcile_messages_out_of_order_are_refused() {
    let mut identity = dp::Identity::new(Id(1), "edge".into(), "0.1.0".into());
    identity.features = PARITY;
    let welcome = Welcome {
        proto: 1,
        cluster: Id(2),
        epoch: 2,
        head: 3,
        root: 0,
        heartbeat_s: 0,
        incremental: true,
        mode: Mode::Reconcile,
        message: String::new(),
        term: 0,
    };
    let refused = |messages: &[Message]| {
        let mut session = dp::Session::new(identity.clone()).unwrap();
        session.connected(Have { epoch: 1, applied: 5, durable: 5, root: 1, count: 100 }, 0, 0);
        session.received(&Message::Welcome(welcome.clone()).encode(), 0);
        let mut actions = messages.iter().flat_map(|message| session.received(&message.encode(), 0));
        actions.any(|action| matches!(action, dp::Action::Close(dp::Closed::Protocol(_))))
    };
    let get = |seed, until| Message::SymbolsGet(SymbolsGet { seed, until });
    assert!(!refused(&[get(7, 64), get(7, 128)]));
    assert!(refused(&[get(7, 64), get(8, 128)]), "another seed");
    assert!(refused(&[get(7, 64), get(7, 63)]), "backwards");
    assert!(refused(&[get(7, 16 * 1024 + 1)]), "too many");
    let step = Message::Reconciled(vec![0; 40].into(), false);
    assert!(refused(std::slice::from_ref(&step)), "nothing was asked");
    let names = |count: usize| vec![(2, IdPrefix::of(Id(7), 2)); count];
    let bodies = |seed, count| Message::ParityGet(ParityGet { seed, from: 0, until: 6, names: names(count) });
    assert!(refused(&[bodies(7, 1)]), "before symbols");
    assert!(refused(&[get(7, 64), bodies(8, 1)]), "another seed");
    assert!(refused(&[get(7, 64), bodies(7, 257)]), "too many names");
    assert!(!refused(&[&[get(7, 64)][..], &vec![bodies(7, 256); 256]].concat()));
    assert!(refused(&[&[get(7, 64)][..], &vec![bodies(7, 256); 257]].concat()), "too many in all");
    let sums = |from, until| Message::ParityGet(ParityGet { seed: 7, from, until, names: names(1) });
    for (from, until) in [(6, 6), (6, 5), (0, 25), (60, 65)] {
        assert!(refused(&[get(7, 64), sums(from, until)]), "{from}..{until}");
    }
    assert!(refused(&[get(7, 64), step]), "of another content");
}

#[test]
fn reconcile_messages_are_as_documented() {
    let golden = |message: Message, expected: &str| {
        let bytes = message.encode();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected.replace(' ', ""));
        let frame = Decoder::new().next(&mut &bytes[..]).unwrap().unwrap();
        assert_eq!(Message::decode(frame).unwrap(), Some(message));
    };
    golden(Message::SymbolsGet(SymbolsGet { seed: 7, until: 300 }), "0b 0f 0700000000000000 ac02");
    let symbols = vec![Symbol { sum: 0x0102, check: 3 }];
    golden(
        Message::Symbols(Symbols { seed: 7, first: 64, symbols }),
        "16 0e 0700000000000000 40 0201000000000000 03000000",
    );
    let names = vec![(2, IdPrefix::of(Id(0x1122 << 112), 2)), (2, IdPrefix::of(Id(0x3344 << 112), 2))];
    let names =
        [names, vec![(2, IdPrefix::of(Id(0x0055_6677 << 104), 3)), (3, IdPrefix::of(Id(0x88 << 120), 1))]].concat();
    golden(
        Message::ParityGet(ParityGet { seed: 7, from: 6, until: 16, names }),
        "1c 13 0700000000000000 06 10  02 02 02 1122 3344  02 03 01 556677  03 01 01 88",
    );
    let bodies = vec![Some(Told { length: 300, sums: vec![0x0102, 3] }), None];
    golden(
        Message::Parity(Parity { seed: 7, from: 6, until: 8, bodies }),
        "12 14 0700000000000000 06 08  ad02 0201 0300  00",
    );
    let cut = [0x17, 14, 7, 0, 0, 0, 0, 0, 0, 0, 64, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1];
    let frame = Decoder::new().next(&mut &cut[..]).unwrap().unwrap();
    assert!(Message::decode(frame).is_err(), "half a symbol");
}
