//! What a session does with patches: who gets them, what they save, and what happens where a base is missing.

mod lab;

use lab::Db;
use model::{Id, Kind};
use std::sync::Arc;
use wire::cp::Source;
use wire::delta::Op;
use wire::limits::PATCH_MISSES_MAX;
use wire::message::{Have, NackCode};
use wire::{Delta, Hello, cp, dp};

/// Both ends of a session over a link that loses nothing.
struct Pair {
    db: Db,
    cp: cp::Session,
    dp: dp::Session,
    staged: Vec<Delta>,
    report: Option<cp::Report>,
    /// Bytes to the node.
    sent: usize,
}

const KIND: Kind = Kind::Route;
/// Ids of which the first bytes differ.
fn id(n: u8) -> Id {
    Id(u128::from(n) << 120)
}

fn body(n: u8, field: &str) -> Vec<u8> {
    [[n; 150].as_slice(), field.as_bytes(), &[n; 150]].concat()
}

impl Pair {
    /// A node that has what there is: ten entities.
    fn new(features: u64) -> Self {
        let mut db = Db::new(lab::EPOCH);
        for n in 0..10 {
            db.commit(&[((KIND, id(n)), Some(body(n, "first")))]);
        }
        let mut identity = dp::Identity::new(Id(1), "edge".into(), "0.1.0".into());
        identity.kinds = vec![wire::KindVersion { kind: KIND.code(), body: 1 }];
        identity.features = features;
        let config = Arc::new(cp::Config::new(Id(2), "0.1.0".into()));
        let mut pair = Self {
            cp: cp::Session::new(config, 0),
            dp: dp::Session::new(identity).unwrap(),
            staged: Vec::new(),
            report: None,
            sent: 0,
            db,
        };
        let have = Have { epoch: lab::EPOCH, applied: pair.db.head(), durable: 0, root: pair.db.root(), count: 10 };
        let hello = pair.dp.connected(have, 0, 0);
        pair.up(hello);
        pair
    }

    fn up(&mut self, actions: Vec<dp::Action>) {
        for action in actions {
            match action {
                dp::Action::Send(bytes) => {
                    let actions = self.cp.received(&bytes, 0, &self.db);
                    self.down(actions);
                }
                dp::Action::Stage(delta) => self.staged.push(delta),
                dp::Action::Close(closed) => panic!("{closed}"),
                _ => {}
            }
        }
    }

    fn down(&mut self, actions: Vec<cp::Action>) {
        for action in actions {
            match action {
                cp::Action::Send(bytes) => {
                    self.sent += bytes.len();
                    let actions = self.dp.received(&bytes, 0);
                    self.up(actions);
                }
                cp::Action::Joined(_) => {
                    let actions = self.cp.admit(&self.db);
                    self.down(actions);
                }
                cp::Action::Asked => unreachable!("no session here relays"),
                cp::Action::Report(report) => self.report = Some(report),
                cp::Action::Close(closed) => panic!("{closed}"),
            }
        }
    }

    fn commit(&mut self, changes: &[(u8, Option<Vec<u8>>)]) {
        let changes: Vec<_> = changes.iter().map(|(n, body)| ((KIND, id(*n)), body.clone())).collect();
        self.db.commit(&changes);
        let actions = self.cp.head_changed(&self.db);
        self.down(actions);
    }

    fn applied(&mut self) {
        let to = self.staged.pop().unwrap().to;
        let actions = self.dp.applied(to, 0);
        self.up(actions);
    }

    /// The node lacks the bases of what is staged, and gets something else.
    fn missing(&mut self, entities: &[(u8, Id)]) -> Delta {
        self.staged.pop().unwrap();
        let actions = self.dp.base_missing(entities, 0);
        self.up(actions);
        self.staged.last().cloned().expect("another step")
    }
}

/// How each operation of a step says what it says.
fn forms(delta: &Delta) -> String {
    let form = |op: &Op| match op {
        Op::Put(_) => 'W',
        Op::Patch(_) => 'p',
        Op::Delete { .. } => 'd',
    };
    delta.ops.iter().map(form).collect()
}

#[test]
fn only_a_node_that_takes_patches_gets_them() {
    for (features, expected) in [(Hello::PATCHES, "p"), (0, "W"), (!Hello::PATCHES, "W"), (u64::MAX, "p")] {
        let mut pair = Pair::new(features);
        pair.commit(&[(3, Some(body(3, "second")))]);
        assert_eq!(forms(&pair.staged[0]), expected);
    }
}

#[test]
fn a_one_field_change_costs_a_few_dozen_bytes_whatever_the_body_is() {
    let cost = |features| {
        let mut pair = Pair::new(features);
        let before = pair.sent;
        pair.commit(&[(3, Some(body(3, "fir5t")))]);
        pair.sent - before
    };
    let (patch, whole) = (cost(Hello::PATCHES), cost(0));
    println!("{patch} bytes as a patch, {whole} whole");
    assert!(patch <= 40 && whole > patch, "packed as the whole is");
}

#[test]
fn what_is_new_or_gone_is_no_patch() {
    let mut pair = Pair::new(Hello::PATCHES);
    pair.commit(&[(2, None), (3, Some(body(3, "second"))), (11, Some(body(11, "first")))]);
    assert_eq!(forms(&pair.staged[0]), "dpW");
}

#[test]
fn a_step_whose_bases_are_missing_comes_again_with_these_whole_and_is_no_refusal() {
    let mut pair = Pair::new(Hello::PATCHES);
    pair.commit(&[(3, Some(body(3, "second"))), (4, Some(body(4, "second")))]);
    assert_eq!(forms(&pair.staged[0]), "pp");
    // Something is committed meanwhile; it rides along.
    pair.commit(&[(5, Some(body(5, "second")))]);
    let again = pair.missing(&[(KIND.code(), id(4))]);
    assert_eq!((again.from, again.to, forms(&again).as_str()), (10, 12, "ppW"));
    assert!(matches!(&again.ops[2], Op::Put(entity) if entity.id == id(4) && *entity.body == *body(4, "second")));
    pair.applied();
    let report = pair.report.clone().unwrap();
    assert_eq!((report.applied, report.nack, report.in_flight), (12, None, None));
    // And the next one is a patch again.
    pair.commit(&[(4, Some(body(4, "third")))]);
    assert_eq!(forms(&pair.staged[0]), "p");
}

#[test]
fn a_step_that_came_back_twice_or_for_reasons_unnamed_comes_whole() {
    let mut pair = Pair::new(Hello::PATCHES);
    pair.commit(&[(3, Some(body(3, "second"))), (4, Some(body(4, "second")))]);
    assert_eq!(forms(&pair.missing(&[(KIND.code(), id(3))])), "pW");
    assert_eq!(forms(&pair.missing(&[(KIND.code(), id(3))])), "WW");
    pair.applied();
    pair.commit(&[(3, Some(body(3, "third")))]);
    assert_eq!(forms(&pair.missing(&[])), "W");
    pair.applied();
    assert_eq!(pair.report.as_ref().unwrap().applied, 12);
}

#[test]
fn a_node_that_misses_its_bases_again_and_again_is_sent_no_more_patches() {
    let mut pair = Pair::new(Hello::PATCHES);
    for round in 0..PATCH_MISSES_MAX {
        pair.commit(&[(3, Some(body(3, &format!("round {round}"))))]);
        assert_eq!(forms(&pair.staged[0]), "p", "round {round}");
        pair.missing(&[]);
        pair.applied();
    }
    pair.commit(&[(3, Some(body(3, "last")))]);
    assert_eq!(forms(&pair.staged[0]), "W");
}

#[test]
fn a_node_that_misses_the_base_of_what_is_no_patch_has_refused_it() {
    let mut pair = Pair::new(Hello::PATCHES);
    pair.commit(&[(11, Some(body(11, "first")))]);
    pair.staged.clear();
    let actions = pair.dp.base_missing(&[], 0);
    pair.up(actions);
    assert!(pair.staged.is_empty());
    let nack = pair.report.clone().unwrap().nack.unwrap();
    assert_eq!((nack.version, nack.code), (11, NackCode::Base));
}
