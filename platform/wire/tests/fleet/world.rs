//! The world: what there is, and what may happen next. What each step does is in the files beside this one.

use super::Flaw;
use super::client::{Client, Held, Who};
use super::plane::{Plane, View};
use crate::lab::{Rng, State};
use model::Record;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    pub(crate) planes: Vec<Plane>,
    pub(crate) clients: Vec<Client>,
    /// As an operator last made one: the content of a control plane, and of which epoch and term.
    pub(crate) backup: Held,
    /// What was ever committed, by epoch and version.
    pub(crate) history: BTreeMap<(u64, u64), Arc<State>>,
    pub(crate) flaw: Flaw,
    /// Whether nothing fails any more.
    pub(crate) peace: bool,
    pub(crate) counts: Counts,
}

/// What happened, so that a simulation in which nothing happens is noticed.
#[derive(Default)]
pub(crate) struct Counts(pub(crate) BTreeMap<&'static str, u64>);

impl Counts {
    pub(crate) fn add(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }
}

/// All but versions of records: those that a reconcile finds to be the same keep theirs.
pub(crate) fn same(one: &State, other: &State) -> bool {
    let content = |record: &Record| (record.kind, record.id, record.tag);
    one.len() == other.len()
        && one.values().zip(other.values()).all(|(a, b)| content(a) == content(b) && a.body == b.body)
}

impl World {
    pub(crate) fn new(seed: u64, flaw: Flaw) -> Self {
        let mut rng = Rng::new(seed);
        let count = 1 + rng.below(4) as usize;
        let nodes = match rng.below(20) {
            0..16 => 1 + rng.below(5),
            16..19 => 6 + rng.below(10),
            _ => 16 + rng.below(35),
        };
        let epoch = 1 + rng.below(1_000);
        let mut planes: Vec<Plane> = (0..count)
            .map(|plane| Plane::new(View::empty(if plane == 0 { epoch } else { 0 }, plane == 0), &mut rng))
            .collect();
        let mut clients = Vec::new();
        for (plane, it) in planes.iter_mut().enumerate() {
            it.writers = (0..count).filter(|other| *other != plane).collect();
            clients.push(Client::new(Who::Plane(plane), it.writers.clone(), &mut rng));
        }
        for node in 0..nodes {
            let mut list: Vec<usize> = (0..count).filter(|_| !rng.one_in(4)).collect();
            if list.is_empty() {
                list.push(rng.below(count as u64) as usize);
            }
            clients.push(Client::new(Who::Node(node), list, &mut rng));
        }
        let history = BTreeMap::from([((0, 0), Arc::default()), ((epoch, 0), Arc::default())]);
        let (counts, backup) = (Counts::default(), Held::default());
        Self { rng, now: 0, planes, clients, backup, history, flaw, peace: false, counts }
    }

    pub(crate) fn any_client(&mut self) -> usize {
        self.rng.below(self.clients.len() as u64) as usize
    }

    pub(crate) fn any_plane(&mut self) -> usize {
        self.rng.below(self.planes.len() as u64) as usize
    }

    pub(crate) fn step(&mut self) {
        self.now += self.rng.below(1_500);
        let (c, p) = (self.any_client(), self.any_plane());
        match self.rng.below(64) {
            0 => self.commit(p),
            1..18 => self.carry(c, false),
            18..35 => self.carry(c, true),
            35..45 => self.work(c),
            45..52 => self.connect(c),
            52 if self.rng.one_in(12) => self.lost(c),
            53 if self.rng.one_in(12) => self.crash_client(c),
            53 if self.rng.one_in(20) => self.crash_plane(p),
            54 => self.tick(c),
            55 if self.rng.one_in(8) => self.clock_jumps(c, p),
            55 if self.rng.one_in(8) => self.goes_dead(c),
            56 if self.rng.one_in(20) => self.promote(p, 0),
            56 if self.rng.one_in(30) => self.demote(p),
            57 if self.rng.one_in(20) => self.backup = self.planes[p].stored.held(),
            57 if self.rng.one_in(120) => self.restore(p),
            57 if self.rng.one_in(30) => self.wipe(p),
            58 if self.rng.one_in(3) => self.move_away(c, p),
            59 if self.rng.one_in(8) => self.want(c),
            59 => self.confirm(c),
            _ => self.drain(c),
        }
    }

    pub(crate) fn fails(&mut self, n: u64) -> bool {
        !self.peace && self.rng.one_in(n)
    }

    /// Nothing else has ever this epoch and version.
    pub(crate) fn note(&mut self, view: &View) {
        let known = self.history.insert((view.epoch, view.version), Arc::clone(&view.state));
        assert!(known.is_none_or(|known| known == view.state), "two commits are {}:{}", view.epoch, view.version);
    }

    pub(crate) fn epoch(&mut self) -> u64 {
        1_000 + self.rng.next() / 2
    }
}
