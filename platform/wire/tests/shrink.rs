//! What a control plane does with a node that holds a configuration back, and a node with one that is confirmed.

mod lab;

use lab::{Db, EPOCH};
use model::{Id, Kind};
use std::sync::Arc;
use wire::cp::{Action, Session, Source};
use wire::dp;
use wire::frame::Decoder;
use wire::message::*;
use wire::shrink::Shrink;

const MANY: u128 = 20;

/// A control plane whose database came up almost empty, and what its session sends to a node of another epoch.
struct Plane {
    db: Db,
    session: Session,
    sent: Vec<Message>,
    report: Option<wire::cp::Report>,
}

fn hello() -> Hello {
    let mut identity = dp::Identity::new(Id(1), "edge".into(), "0.1.0".into());
    identity.kinds = (1..=11).map(|kind| KindVersion { kind, body: 1 }).collect();
    let mut session = dp::Session::new(identity).unwrap();
    let have = Have { epoch: EPOCH - 1, applied: 100, durable: 100, root: 1, count: MANY as u64 };
    let dp::Action::Send(bytes) = session.connected(have, 0, 0).remove(0) else { panic!("no HELLO") };
    let Some(Message::Hello(hello)) = messages(&bytes).pop() else { panic!("no HELLO") };
    hello
}

fn messages(mut bytes: &[u8]) -> Vec<Message> {
    let mut decoder = Decoder::new();
    let mut messages = Vec::new();
    while let Some(frame) = decoder.next(&mut bytes).unwrap() {
        messages.push(Message::decode(frame).unwrap().unwrap());
    }
    messages
}

impl Plane {
    fn new() -> Self {
        let mut db = Db::new(EPOCH);
        db.commit(&[((Kind::Route, Id(1)), Some(b"left".to_vec()))]);
        let config = Arc::new(wire::cp::Config::new(Id(2), "0.1.0".into()));
        let session = Session::new(config, 0);
        Self { db, session, sent: Vec::new(), report: None }
    }

    fn joined() -> Self {
        let mut plane = Self::new();
        plane.take(Message::Hello(hello()));
        plane
    }

    fn take(&mut self, message: Message) {
        let actions = self.session.received(&message.encode(), 0, &self.db);
        self.perform(actions);
    }

    fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send(bytes) => self.sent.extend(messages(&bytes)),
                Action::Joined(_) => {
                    let actions = self.session.admit(&self.db);
                    self.perform(actions);
                }
                Action::Asked => unreachable!("no session here relays"),
                Action::Report(report) => self.report = Some(report),
                Action::Close(closed) => panic!("{closed}"),
            }
        }
    }

    /// What was offered since the last call: version, and how many entities may go.
    fn offers(&mut self) -> Vec<(u64, u64)> {
        let offer = |message: Message| match message {
            Message::FullBegin(begin) => Some((begin.version, begin.confirmed)),
            _ => None,
        };
        self.sent.drain(..).filter_map(offer).collect()
    }

    fn hold(&mut self, version: u64, gone: u64) {
        let shrink = Shrink { gone, of: MANY as u64, allowed: 10 };
        self.take(Message::Nack(Nack {
            version,
            code: NackCode::Shrink,
            entity: None,
            path: String::new(),
            message: shrink.to_string(),
            kept: 100,
            shrink: Some(shrink),
        }));
    }

    fn commit(&mut self, ids: std::ops::Range<u128>, body: Option<&[u8]>) {
        let changes: Vec<_> = ids.map(|id| ((Kind::Route, Id(id)), body.map(<[u8]>::to_vec))).collect();
        self.db.commit(&changes);
        let actions = self.session.head_changed(&self.db);
        self.perform(actions);
    }

    fn confirm(&mut self, gone: u64) {
        let actions = self.session.confirm(gone, &self.db);
        self.perform(actions);
    }
}

#[test]
fn what_is_held_is_shown_and_not_sent_again_until_it_is_confirmed() {
    let mut plane = Plane::joined();
    assert_eq!(plane.offers(), [(1, 0)]);
    plane.hold(1, 19);
    let held = plane.report.as_ref().unwrap().held.unwrap();
    assert_eq!((held.epoch, held.version, held.shrink.gone, held.shrink.of), (EPOCH, 1, 19, 20));
    // Neither heads that bring too little back, nor deletions, nor time, are a reason to try again.
    plane.commit(1..3, Some(b"changed"));
    plane.commit(3..4, None);
    assert_eq!((plane.offers(), plane.report.as_ref().unwrap().in_flight), (vec![], None));
    plane.confirm(19);
    assert_eq!(plane.offers(), [(1, 19)], "the one that the node may have the bytes of");
}

#[test]
fn a_head_that_may_take_less_away_is_tried_once() {
    let mut plane = Plane::joined();
    plane.hold(1, 19);
    plane.offers();
    plane.commit(2..10, Some(b"back"));
    assert_eq!(plane.offers(), [], "8 of the 9 that are missing beyond what may go");
    plane.commit(10..11, Some(b"back"));
    assert_eq!(plane.offers(), [(3, 0)]);
    plane.hold(3, 11);
    plane.commit(11..11, None);
    assert_eq!(plane.offers(), []);
    plane.commit(11..12, Some(b"back"));
    assert_eq!(plane.offers(), [(5, 0)]);
}

#[test]
fn a_confirmation_covers_what_was_shown_and_nothing_worse() {
    let mut plane = Plane::joined();
    plane.hold(1, 12);
    plane.confirm(12);
    assert_eq!(plane.offers(), [(1, 0), (1, 12)]);
    // More would go than somebody has seen: the node holds it back again, and the same word does not count twice.
    plane.hold(1, 19);
    plane.confirm(12);
    assert_eq!(plane.offers(), []);
    plane.confirm(19);
    assert_eq!(plane.offers(), [(1, 19)]);
}

#[test]
fn a_confirmation_ends_with_what_it_was_for() {
    let mut plane = Plane::new();
    plane.confirm(19);
    plane.take(Message::Hello(hello()));
    assert_eq!(plane.offers(), [(1, 19)], "confirmed while the node was away");
    let Some(Message::FullGet(get)) = plane_get(&mut plane) else { panic!("no grant") };
    plane.take(Message::FullGet(get));
    while !plane.session.drained().is_empty() {}
    plane.take(Message::Ack(Ack { applied: 1, durable: 1 }));
    assert_eq!(plane.report.as_ref().unwrap().held, None);
    // Something else that only a full sync heals: nothing of the old confirmation is left.
    plane.commit(5..6, Some(b"more"));
    plane.take(Message::Nack(Nack {
        version: 2,
        code: NackCode::Root,
        entity: None,
        path: String::new(),
        message: String::new(),
        kept: 1,
        shrink: None,
    }));
    assert_eq!(plane.offers(), [(1, 0)]);
}

fn plane_get(plane: &mut Plane) -> Option<Message> {
    let begin = plane.db.blob(wire::full::Wanted { oldest: 0, held: None });
    let wire::Offer::Blob(blob) = begin else { return None };
    let transfer = blob.begin().transfer;
    Some(Message::FullGet(FullGet { transfer, offset: 0, until: blob.begin().bytes.max(1) }))
}

#[test]
fn a_refusal_of_another_sort_is_no_hold() {
    let mut plane = Plane::joined();
    plane.take(Message::Nack(Nack {
        version: 1,
        code: NackCode::Shrink,
        entity: None,
        path: String::new(),
        message: "by a peer that says no numbers".into(),
        kept: 100,
        shrink: None,
    }));
    assert_eq!(plane.report.as_ref().unwrap().held, None);
    plane.offers();
    plane.commit(2..3, Some(b"next"));
    assert_eq!(plane.offers(), [(2, 0)]);
}

#[test]
fn a_node_takes_not_one_byte_of_what_it_holds_back_and_does_not_wait_for_what_is_confirmed() {
    let mut identity = dp::Identity::new(Id(1), "edge".into(), "0.1.0".into());
    identity.codecs = vec![CODEC_RAW];
    let mut session = dp::Session::new(identity).unwrap();
    session.connected(Have { epoch: 1, applied: 5, durable: 5, root: 1, count: 100 }, 0, 0);
    let welcome = Welcome {
        proto: 1,
        cluster: Id(2),
        epoch: 2,
        head: 3,
        root: 0,
        heartbeat_s: 0,
        incremental: true,
        mode: Mode::Full,
        message: String::new(),
        term: 0,
    };
    session.received(&Message::Welcome(welcome).encode(), 0);
    let begin = FullBegin { transfer: 9, version: 3, root: 0, count: 0, codec: 0, plain: 0, bytes: 0, confirmed: 0 };
    for _ in 0..5 {
        let actions = session.received(&Message::FullBegin(begin).encode(), 0);
        assert!(matches!(actions[..], [dp::Action::FullBegin { .. }]), "{actions:?}");
        let shrink = Shrink { gone: 100, of: 100, allowed: 50 };
        let actions = session.held(shrink, 0);
        let [dp::Action::Send(bytes)] = &actions[..] else { panic!("{actions:?}") };
        let [Message::Nack(nack)] = &messages(bytes)[..] else { panic!("no NACK") };
        assert_eq!((nack.code, nack.shrink, nack.kept), (NackCode::Shrink, Some(shrink), 5));
    }
    let confirmed = FullBegin { confirmed: 100, ..begin };
    session.received(&Message::FullBegin(confirmed).encode(), 0);
    let actions = session.full_open(0, 0);
    let [dp::Action::Send(bytes)] = &actions[..] else { panic!("{actions:?}") };
    assert!(matches!(messages(bytes)[..], [Message::FullGet(_)]));
}
