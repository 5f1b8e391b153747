//! A writer that was replaced: which of two databases of one cluster counts, and that neither end lets a node go back to
//! the one that does not.

mod lab;

use lab::Db;
use model::Id;
use std::sync::Arc;
use wire::cp::{self, Source};
use wire::delta::Form;
use wire::dp;
use wire::message::{ByeReason, Have, Message, Mode, RefuseReason, Welcome};
use wire::succession::replaces;

/// A database of an epoch and a term.
struct Of {
    db: Db,
    term: u32,
}

impl Source for Of {
    fn epoch(&self) -> u64 {
        self.db.epoch
    }
    fn term(&self) -> u32 {
        self.term
    }
    fn head(&self) -> u64 {
        self.db.head()
    }
    fn floor(&self) -> u64 {
        self.db.floor
    }
    fn root(&self) -> u64 {
        self.db.root()
    }
    fn in_use(&self) -> &wire::compat::InUse {
        self.db.in_use()
    }
    fn delta(&self, from: u64, form: Form) -> Option<Arc<wire::Encoded>> {
        self.db.delta(from, form)
    }
    fn record(&self, kind: u8, id: Id) -> Option<model::Record> {
        self.db.record(kind, id)
    }
    fn full(&self) -> Box<dyn wire::Cursor> {
        self.db.full()
    }
}

fn node() -> dp::Session {
    dp::Session::new(dp::Identity::new(Id(1), "edge".into(), "0.1.0".into())).unwrap()
}

/// A node that was in this term and epoch comes to a control plane of that term and epoch; what that answers.
fn greeting((term, epoch): (u32, u64), (their_term, their_epoch): (u32, u64)) -> (dp::Session, Message) {
    let (mut node, source) = (node(), Of { db: Db::new(their_epoch), term: their_term });
    node.of_term(term);
    let mut plane = cp::Session::new(Arc::new(cp::Config::new(Id(2), "0.1.0".into())), 0);
    let hello = node.connected(Have { epoch, ..Have::default() }, 0, 0);
    let [dp::Action::Send(bytes)] = hello.as_slice() else { panic!("{hello:?}") };
    assert!(matches!(plane.received(bytes, 0, &source).as_slice(), [cp::Action::Joined(_), ..]));
    let answer = plane.admit(&source).into_iter().find_map(|action| match action {
        cp::Action::Send(bytes) => Some(bytes),
        _ => None,
    });
    let answer = answer.unwrap();
    let frame = wire::frame::Decoder::new().next(&mut &answer[..]).unwrap().unwrap();
    (node, Message::decode(frame).unwrap().unwrap())
}

#[test]
fn a_later_term_replaces_and_of_equal_ones_one_epoch_does() {
    assert!(replaces((1, 5), (0, 9)));
    assert!(!replaces((0, 9), (1, 5)));
    assert!(replaces((1, 9), (1, 5)) && !replaces((1, 5), (1, 9)), "all choose alike");
    assert!(!replaces((0, 9), (0, 5)) && !replaces((0, 5), (0, 9)), "a new database may take the place of an old one");
    assert!(!replaces((2, 7), (2, 7)));
}

#[test]
fn a_node_follows_a_later_term_and_is_refused_by_an_earlier_one() {
    let (_, welcome) = greeting((0, 5), (1, 9));
    assert!(matches!(welcome, Message::Welcome(Welcome { mode: Mode::Full, epoch: 9, term: 1, .. })), "{welcome:?}");
    for (ours, theirs) in [((2, 5), (1, 9)), ((1, 9), (0, 5)), ((1, 9), (1, 5)), ((1, 0), (0, 5))] {
        let (_, welcome) = greeting(ours, theirs);
        let Message::Welcome(Welcome { mode: Mode::Refuse { why, retry_after_s }, message, .. }) = welcome else {
            panic!("{ours:?} is with {theirs:?}")
        };
        assert_eq!(why, RefuseReason::Replaced);
        assert!(retry_after_s > 0 && message.contains(&format!("term {}", ours.0)), "{message}");
    }
}

#[test]
fn a_node_that_has_nothing_left_but_its_term_takes_everything_of_that_term() {
    let (_, welcome) = greeting((1, 0), (1, 9));
    assert!(matches!(welcome, Message::Welcome(Welcome { mode: Mode::Full, .. })), "{welcome:?}");
}

#[test]
fn a_node_leaves_a_control_plane_that_does_not_know_of_terms() {
    let mut node = node();
    node.of_term(3);
    node.connected(Have { epoch: 5, ..Have::default() }, 0, 0);
    let welcome = Welcome {
        proto: 1,
        cluster: Id(2),
        epoch: 9,
        head: 0,
        root: 0,
        heartbeat_s: 0,
        incremental: true,
        mode: Mode::Full,
        message: String::new(),
        term: 0,
    };
    let bytes = Message::Welcome(welcome).encode();
    // As its build would say it: without what was appended.
    let early = [&[bytes[0] - 1], &bytes[1..bytes.len() - 1]].concat();
    let actions = node.received(&early, 0);
    let [dp::Action::Send(bye), dp::Action::Close(dp::Closed::Replaced { term: 0, ours: 3 })] = actions.as_slice()
    else {
        panic!("{actions:?}")
    };
    let frame = wire::frame::Decoder::new().next(&mut &bye[..]).unwrap().unwrap();
    assert!(matches!(Message::decode(frame), Ok(Some(Message::Bye(bye))) if bye.reason == ByeReason::Replaced));
}
