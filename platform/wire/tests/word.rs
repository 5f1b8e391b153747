//! A word of the writer: a PONG that came after a question, passed on by as many followers as there are in between.

mod lab;

use lab::Db;
use model::Id;
use std::sync::Arc;
use wire::cp::{self, Closed, Source as _};
use wire::dp;
use wire::error::ProtocolError;
use wire::limits::ANSWER_MS_MAX;
use wire::message::{Have, Hello, Message, Ping, Pong};

const NOTHING: [u8; 0] = [];

/// A follower at the head of this database, which has been welcomed.
fn welcomed(db: &Db, relays: bool) -> (dp::Session, cp::Session) {
    let mut identity = dp::Identity::new(Id(1), "follower".into(), "0.1.0".into());
    identity.features = Hello::FOLLOWER;
    let mut follower = dp::Session::new(identity).unwrap();
    let mut above = cp::Session::new(Arc::new(cp::Config::new(Id(2), "0.1.0".into())), 0);
    let version = db.head();
    let have = Have { epoch: db.epoch, applied: version, durable: version, root: db.root(), count: 0 };
    let hello = sent(follower.connected(have, 0, 0));
    assert!(matches!(above.received(&hello, 0, db).as_slice(), [cp::Action::Joined(_), ..]));
    if relays {
        above.relays();
    }
    let welcome = said(above.admit(db));
    follower.received(&welcome, 0);
    (follower, above)
}

fn sent(actions: Vec<dp::Action>) -> Vec<u8> {
    let bytes = actions.into_iter().filter_map(|action| match action {
        dp::Action::Send(bytes) => Some(bytes.to_vec()),
        _ => None,
    });
    bytes.flatten().collect()
}

fn said(actions: Vec<cp::Action>) -> Vec<u8> {
    let bytes = actions.into_iter().filter_map(|action| match action {
        cp::Action::Send(bytes) => Some(bytes.to_vec()),
        _ => None,
    });
    bytes.flatten().collect()
}

fn ping() -> Vec<u8> {
    Message::Ping(Ping::default()).encode().to_vec()
}

#[test]
fn a_question_is_answered_by_the_pong_to_a_ping_that_was_sent_after_it() {
    let db = Db::new(7);
    let (mut follower, _) = welcomed(&db, false);
    let pong = Message::Pong(Pong::new(db.head(), db.root())).encode();
    // A heartbeat is on its way when the question comes: its answer may be older than the question.
    let heartbeat = sent(follower.tick(follower.timer().unwrap()));
    assert_eq!(heartbeat, ping());
    assert_eq!(sent(follower.ask(5, 400_000)), ping());
    follower.received(&pong, 400_001);
    assert_eq!(follower.answered(), 0);
    // Another question, while a PING for the first is on its way, waits for a PING of its own.
    assert_eq!(sent(follower.ask(6, 400_002)), NOTHING);
    assert_eq!(sent(follower.received(&pong, 400_003)), ping());
    assert_eq!(follower.answered(), 5);
    follower.received(&pong, 400_004);
    assert_eq!(follower.answered(), 6);
    // What was asked on another connection is not answered by this one.
    follower.ask(7, 400_005);
    follower.connected(Have::default(), 0, 400_006);
    assert_eq!(sent(follower.ask(8, 400_007)), NOTHING, "there is no session to ask yet");
    assert_eq!(follower.answered(), 6);
}

#[test]
fn a_question_that_is_not_answered_ends_the_session_as_a_heartbeat_would() {
    let db = Db::new(7);
    let (mut follower, _) = welcomed(&db, false);
    follower.ask(1, 1_000);
    assert_eq!(follower.timer(), Some(1_000 + ANSWER_MS_MAX));
    let end = follower.tick(1_000 + ANSWER_MS_MAX);
    assert_eq!(end.last(), Some(&dp::Action::Close(dp::Closed::Silent)));
}

#[test]
fn a_follower_answers_a_follower_once_its_own_writer_has_answered() {
    let db = Db::new(7);
    let (mut follower, mut above) = welcomed(&db, true);
    let question = sent(follower.ask(1, 10));
    let asked = above.received(&question, 10, &db);
    assert!(asked.contains(&cp::Action::Asked));
    assert_eq!(said(asked), NOTHING, "nothing is said before the writer has said something");
    let answer = said(above.pong(&db));
    follower.received(&answer, 20);
    assert_eq!(follower.answered(), 1);
    assert_eq!(said(above.pong(&db)), NOTHING, "one answer for each PING");
}

#[test]
fn pings_that_wait_for_an_answer_are_bounded() {
    let db = Db::new(7);
    let (_, mut above) = welcomed(&db, true);
    let end = (0..9).map(|_| above.received(&ping(), 10, &db)).find_map(|actions| match actions.last() {
        Some(cp::Action::Close(Closed::Protocol(error))) => Some(error.clone()),
        _ => None,
    });
    assert!(matches!(end, Some(ProtocolError::Unexpected { .. })), "{end:?}");
}
