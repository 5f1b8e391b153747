//! What operators do to control planes, and what becomes of those: commits, promotions, demotions, restores, crashes.

use super::Flaw;
use super::client::{Held, KINDS, session};
use super::plane::View;
use super::world::World;
use crate::lab::Key;
use model::Id;
use std::collections::BTreeMap;
use wire::succession::restored;

/// A body that no node accepts.
pub(super) const POISON: &[u8] = b"poison";

impl World {
    pub(crate) fn commit(&mut self, p: usize) {
        let writers: Vec<usize> = (0..self.planes.len()).filter(|p| self.planes[*p].view.writes).collect();
        let p = writers.get(p % writers.len().max(1)).copied().unwrap_or(p);
        let changes = (0..=self.rng.below(5)).map(|_| {
            let kind = KINDS[self.rng.below(KINDS.len() as u64) as usize];
            // Some ids begin alike, some do not.
            let number = u128::from(self.rng.below(12));
            let key: Key = (kind, Id((number % 5) << 120 | number));
            let body = (!self.rng.one_in(3)).then(|| self.body(p, key));
            (key, body)
        });
        let changes: BTreeMap<_, _> = changes.collect();
        self.write(p, &changes.into_iter().collect::<Vec<_>>());
    }

    pub(crate) fn body(&mut self, p: usize, key: Key) -> Vec<u8> {
        if self.rng.one_in(150) {
            return POISON.to_vec();
        }
        if let Some(old) = self.planes[p].view.state.get(&key)
            && !old.body.is_empty()
            && self.rng.one_in(2)
        {
            let mut body = old.body.to_vec();
            let at = self.rng.below(body.len() as u64) as usize;
            body[at] = self.rng.below(256) as u8;
            return body;
        }
        let length = if self.rng.one_in(40) { 6_000 } else { self.rng.below(200) };
        (0..length).map(|_| self.rng.below(256) as u8).collect()
    }

    pub(crate) fn write(&mut self, p: usize, changes: &[(Key, Option<Vec<u8>>)]) {
        let plane = &self.planes[p];
        if !plane.view.writes {
            return;
        }
        let Some(next) = plane.view.commit(changes, plane.keep) else { return };
        self.publish(p, next);
    }

    /// Makes a view durable and shows it, unless the control plane crashes on the way.
    pub(crate) fn publish(&mut self, p: usize, next: View) {
        if self.flaw == Flaw::ShowsBeforeDurable && self.rng.one_in(8) {
            return self.show(p, next);
        }
        if self.fails(40) {
            return self.crash_plane(p);
        }
        self.note(&next);
        self.planes[p].stored = next.clone();
        if self.fails(40) {
            return self.crash_plane(p);
        }
        self.show(p, next);
    }

    pub(crate) fn show(&mut self, p: usize, next: View) {
        let plane = &mut self.planes[p];
        plane.answered = (next.epoch, next.version);
        plane.view = next;
        for c in 0..self.clients.len() {
            if let Some(link) = self.clients[c].link.as_mut().filter(|link| link.plane == p && !link.over) {
                let actions = link.session.head_changed(&self.planes[p].view);
                self.cp_actions(c, actions);
            }
        }
    }

    pub(crate) fn promote(&mut self, p: usize, at_least: u32) {
        let plane = &self.planes[p];
        // Either there is a reason for it, or somebody forces it.
        if plane.view.epoch == 0 || (plane.view.writes && at_least == 0 && plane.heard <= plane.view.term) {
            return;
        }
        let term = plane.heard.max(at_least) + 1;
        let epoch = self.epoch();
        self.counts.add("promotions");
        let next = self.planes[p].view.promoted(epoch, term);
        self.lost(p);
        self.clients[p].drop_staged();
        self.publish(p, next);
    }

    /// A writer is started with settings that name others.
    pub(crate) fn demote(&mut self, p: usize) {
        if !self.planes[p].stored.writes || self.planes.len() == 1 {
            return;
        }
        self.counts.add("demotions");
        self.crash_plane(p);
        let plane = &mut self.planes[p];
        if plane.view.version == 0 {
            // One without content has no epoch of its own then.
            plane.stored = View::empty(0, false);
            plane.stored.term = plane.view.term;
            plane.view = plane.stored.clone();
            plane.answered = (0, 0);
        }
        (plane.view.writes, plane.stored.writes) = (false, false);
    }

    /// A machine was lost; a new one starts from a backup.
    pub(crate) fn restore(&mut self, p: usize) {
        self.counts.add("restores");
        self.crash_plane(p);
        let Held { epoch, term, ref state, .. } = self.backup;
        // In the first release nothing told a restored database from a new one.
        let (term, epoch) = match self.flaw {
            Flaw::RestoresWithoutTerm => (0, 1_000 + self.rng.next() / 2),
            _ => restored((term, epoch), self.rng.next()),
        };
        let view = View::restored(epoch, term, state);
        self.note(&view);
        let plane = &mut self.planes[p];
        (plane.stored, plane.view, plane.heard) = (view.clone(), view, 0);
        plane.answered = (0, 0);
        plane.left.clear();
        self.clients[p].blob = None;
    }

    /// A writer's database was lost, and there is no backup: a new one begins, empty, and is of no term. One of a later term
    /// than that would be refused by everybody until it is promoted, and be a second writer of no term beside the first.
    pub(crate) fn wipe(&mut self, p: usize) {
        if !self.planes[p].stored.writes || self.planes[p].stored.term > 0 {
            return;
        }
        self.counts.add("databases wiped");
        self.crash_plane(p);
        let view = View::empty(self.epoch(), true);
        self.note(&view);
        let plane = &mut self.planes[p];
        (plane.stored, plane.view, plane.heard) = (view.clone(), view, 0);
        plane.answered = (0, 0);
        plane.left.clear();
        self.clients[p].blob = None;
    }

    pub(crate) fn crash_plane(&mut self, p: usize) {
        self.counts.add("control planes that crashed");
        for c in 0..self.clients.len() {
            match self.clients[c].link.as_mut().filter(|link| link.plane == p) {
                // Nobody is told at the other end of a link that has gone dead.
                Some(link) if link.dead => link.over = true,
                Some(_) => self.lost(c),
                None => {}
            }
        }
        self.lost(p);
        let plane = &mut self.planes[p];
        plane.view = plane.stored.reopened();
        plane.clock = self.rng.below(1_000_000);
        let (epoch, version) = plane.answered;
        assert!(
            plane.view.epoch != epoch || plane.view.version >= version,
            "control plane {p} lost version {version} of epoch {epoch}"
        );
        let client = &mut self.clients[p];
        client.session = session(client.who, &mut self.rng);
        client.drop_staged();
        // What a follower has of a blob is in its memory.
        client.blob = None;
        self.check_plane(p);
    }
}
