//! What must hold in the end: nothing fails any more, and everybody comes to have what the writer has.

use super::client::Client;
use super::plane::View;
use super::world::{World, same};
use crate::lab::Key;
use wire::succession::replaces;

/// How many rounds a fleet in peace may take to settle, and how many it is watched after that.
const ROUNDS_MAX: u64 = 600;
const ROUNDS_QUIET: u64 = 3;

impl World {
    /// Nothing fails any more: the operator says who writes, and everything is carried until all have what that one has.
    pub(crate) fn settle(&mut self) {
        self.peace = true;
        let writer = self.writer();
        for p in (0..self.planes.len()).filter(|p| *p != writer) {
            self.planes[p].writers = vec![writer];
            self.clients[p].list = vec![writer];
            self.demote(p);
        }
        // The last word heals: nothing that is refused.
        let everything: Vec<Key> = self.planes[writer].view.state.keys().copied().collect();
        let good = |key| (key, Some(b"good".to_vec()));
        self.write(writer, &everything.into_iter().map(good).collect::<Vec<_>>());
        for c in 0..self.clients.len() {
            if self.clients[c].link.as_ref().is_some_and(|link| link.dead || link.most < 1_000) {
                self.lost(c);
            }
        }
        let mut quiet = 0;
        for _ in 0..ROUNDS_MAX {
            self.now += 5_000;
            self.assert_writer(writer);
            for c in 0..self.clients.len() {
                self.connect(c);
                self.tick(c);
                for _ in 0..4 {
                    self.carry(c, false);
                    self.carry(c, true);
                    self.drain(c);
                    self.work(c);
                }
                self.confirm(c);
            }
            quiet = if self.is_settled(writer) { quiet + 1 } else { 0 };
            if quiet > ROUNDS_QUIET {
                break;
            }
        }
        self.check_settled(writer);
    }

    /// Who is to write from now on: a writer if there is one, promoted if somebody has been with a later one.
    pub(crate) fn writer(&mut self) -> usize {
        if self.planes.iter().all(|plane| plane.view.epoch == 0) {
            self.restore(0);
        }
        let best = (0..self.planes.len()).filter(|p| self.planes[*p].view.epoch != 0).max_by_key(|p| {
            let View { writes, term, epoch, .. } = self.planes[*p].view;
            (writes, term, epoch)
        });
        let writer = best.expect("somebody has a configuration");
        self.assert_writer(writer);
        writer
    }

    /// Promotes the writer where it is none, or somebody has been with another one of a later term: which may come out
    /// only once a node has gone on with what it had been handed before.
    fn assert_writer(&mut self, writer: usize) {
        let View { writes, term, epoch, .. } = self.planes[writer].view;
        let nodes = self.clients.iter().map(|client| (client.live.term, client.live.epoch));
        let planes = self.planes.iter().map(|plane| (plane.view.term, plane.view.epoch));
        let all: Vec<(u32, u64)> = nodes.chain(planes).collect();
        if !writes || all.iter().any(|other| replaces(*other, (term, epoch))) {
            let latest = all.iter().map(|(term, _)| *term).max().unwrap_or_default();
            self.promote(writer, latest.max(1));
        }
    }

    pub(crate) fn is_settled(&self, writer: usize) -> bool {
        let View { epoch, version, .. } = self.planes[writer].view;
        let planes = self.planes.iter().all(|plane| (plane.view.epoch, plane.view.version) == (epoch, version));
        let has = |client: &Client| (client.live.epoch, client.live.version) == (epoch, version);
        planes && self.clients.iter().filter(|client| client.who.is_node()).all(has)
    }

    pub(crate) fn check_settled(&self, writer: usize) {
        let View { epoch, version, ref state, .. } = self.planes[writer].view;
        for (p, plane) in self.planes.iter().enumerate() {
            let found = (plane.view.epoch, plane.view.version);
            assert_eq!(found, (epoch, version), "control plane {p} has not caught up");
            assert!(same(&plane.view.state, state), "control plane {p} differs");
        }
        for client in self.clients.iter().filter(|client| client.who.is_node()) {
            let found = (client.live.epoch, client.live.version);
            assert_eq!(found, (epoch, version), "{:?} has not caught up", client.who);
            assert!(same(&client.live.state, state), "{:?} differs", client.who);
        }
    }
}
