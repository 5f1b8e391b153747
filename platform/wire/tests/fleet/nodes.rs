//! What a node does with what it is sent; and a follower, where it is a node of its writer.

use super::Flaw;
use super::client::{Held, Ready, Staged, Who, session};
use super::operators::POISON;
use super::plane::View;
use super::world::World;
use crate::lab::{self, parity, root_of};
use model::{Change, Id, Record};
use std::collections::VecDeque;
use std::sync::Arc;
use wire::delta::Op;
use wire::full::{Unpack, blob};
use wire::message::{FullBegin, NackCode, RefuseReason};
use wire::reconcile::{Encoder, Step};
use wire::{ByeReason, Delta, dp};

impl World {
    pub(crate) fn dp_actions(&mut self, c: usize, actions: Vec<dp::Action>) {
        let mut queue = VecDeque::from(actions);
        while let Some(action) = queue.pop_front() {
            let client = &mut self.clients[c];
            let now = self.now + client.clock;
            match action {
                dp::Action::Send(bytes) => {
                    client.link.iter_mut().filter(|link| !link.dead).for_each(|link| link.to_cp.extend(&bytes));
                }
                dp::Action::Welcomed(welcome) => {
                    client.with = (welcome.epoch, welcome.term);
                    self.attached(c);
                }
                dp::Action::Head(_) => {
                    if let Who::Plane(p) = client.who {
                        self.word_came(p);
                    }
                }
                dp::Action::Stage(delta) => self.stage(c, delta),
                dp::Action::FullBegin { epoch, begin } => queue.extend(self.begin(c, epoch, begin)),
                dp::Action::FullBytes { offset, bytes } => {
                    let Some((_, held)) = &mut client.blob else { panic!("bytes of no blob") };
                    assert_eq!(offset, held.len() as u64);
                    held.extend_from_slice(&bytes);
                    queue.extend(client.session.full_processed(bytes.len() as u64, now));
                }
                dp::Action::FullChunk { entities, bytes } => {
                    client.unprocessed += bytes;
                    let Staged::Coming(held) = &mut client.staged else { panic!("a chunk of no full sync") };
                    entities.into_iter().for_each(|entity| held.apply(&Op::Put(entity).into_change().unwrap()));
                }
                dp::Action::FullComplete { epoch, begin } => {
                    let next = match std::mem::replace(&mut client.staged, Staged::Nothing) {
                        Staged::Coming(held) => held,
                        _ => {
                            let Some((_, bytes)) = client.blob.take() else { panic!("the end of no blob") };
                            assert_eq!(blob::digest(&bytes[..]).unwrap(), begin.transfer);
                            let mut entities = Unpack::new(begin, &bytes[..]).unwrap();
                            let (term, state) = (client.with.1, Arc::default());
                            let mut held = Held { epoch, term, version: begin.version, state };
                            while let Some(entity) = entities.next().unwrap() {
                                held.apply(&Op::Put(entity).into_change().unwrap());
                            }
                            held
                        }
                    };
                    client.staged = Staged::Ready(Ready { next, root: begin.root, changes: None });
                }
                dp::Action::Symbols { seed, from, until } => {
                    let mut encoder = Encoder::new(seed, from, until);
                    self.held(c).state.values().for_each(|it| encoder.add(it.kind.code(), it.id, it.tag));
                    let client = &mut self.clients[c];
                    queue.extend(client.session.symbols(seed, from, &encoder.finish(), now));
                }
                dp::Action::Parity(get) => {
                    let answer = parity(&self.held(c).state, &get);
                    queue.extend(self.clients[c].session.parity(answer, now));
                }
                dp::Action::Reconciled { epoch, step } => self.reconciled(c, epoch, step),
                dp::Action::Close(closed) => self.closed(c, closed),
            }
        }
    }

    pub(crate) fn closed(&mut self, c: usize, closed: dp::Closed) {
        let client = &mut self.clients[c];
        match closed {
            dp::Closed::Protocol(_) | dp::Closed::RootDiffers { .. } => {
                panic!("{:?} blames a control plane: {closed}", client.who)
            }
            dp::Closed::Bye(bye) if bye.reason == ByeReason::Moved => {
                client.told = bye.to.parse().ok();
                self.counts.add("moves");
            }
            dp::Closed::Refused { why: RefuseReason::Replaced, .. } | dp::Closed::Replaced { .. } => {
                self.counts.add("replaced writers left alone");
            }
            _ => {}
        }
        self.lost(c);
    }

    pub(crate) fn begin(&mut self, c: usize, epoch: u64, begin: FullBegin) -> Vec<dp::Action> {
        let client = &mut self.clients[c];
        let now = self.now + client.clock;
        client.confirmed = begin.confirmed;
        if let Err(shrink) = client.limit.by_count(client.live.state.len() as u64, begin.count, begin.confirmed) {
            self.counts.add("held back");
            return client.session.held(shrink, now);
        }
        if !begin.is_blob() {
            self.counts.add("full syncs entity by entity");
            let (term, version, state) = (client.with.1, begin.version, Arc::default());
            client.staged = Staged::Coming(Held { epoch, term, version, state });
            return client.session.full_open(0, now);
        }
        self.counts.add("blobs");
        if client.blob.as_ref().is_none_or(|(held, _)| held.transfer != begin.transfer) {
            client.blob = Some((begin, Vec::new()));
        }
        let offset = client.blob.as_ref().map_or(0, |(_, bytes)| bytes.len() as u64);
        if offset > 0 {
            self.counts.add("blobs resumed");
        }
        client.session.full_open(offset, now)
    }

    /// Makes of a delta what there is to be.
    pub(crate) fn stage(&mut self, c: usize, delta: Delta) {
        self.counts.add("deltas");
        let before = self.held(c);
        assert_eq!(before.version, delta.from);
        let changes = delta.ops.into_iter().map(|op| match op {
            Op::Patch(patch) => {
                self.counts.add("patches");
                let base = before.base(&patch);
                let entity = patch.apply(base.id, &base.body).expect("a patch is of the body that the node has");
                Change::Put(entity.into_record().unwrap())
            }
            op => op.into_change().unwrap(),
        });
        let changes: Vec<Change> = changes.collect();
        let client = &mut self.clients[c];
        let mut next = Held { version: delta.to, term: before.term.max(client.with.1), ..before };
        changes.iter().for_each(|change| next.apply(change));
        client.staged = Staged::Ready(Ready { next, root: delta.root, changes: Some(changes) });
    }

    /// Makes of what is there what a reconcile found.
    fn reconciled(&mut self, c: usize, epoch: u64, step: Step) {
        self.counts.add("reconciles");
        let Held { epoch: before, state, .. } = self.held(c);
        if !step.mends.is_empty() {
            self.counts.add("reconciles with patches");
        }
        let mut next = lab::reconciled(&state, &step).expect("a patch is of the body that was told of");
        let client = &mut self.clients[c];
        if !client.who.is_node() && self.flaw != Flaw::KeepsForeignVersions {
            // What stays in another epoch counts as of its version there.
            let there = |version: u64| if before == epoch { version.min(step.version) } else { step.version };
            let stays = |it: &&mut Record| state.get(&(it.kind, it.id)).is_some_and(|old| old.tag == it.tag);
            next.values_mut().filter(stays).for_each(|record| record.version = there(record.version));
        }
        client.confirmed = step.confirmed;
        let next = Held { epoch, term: client.with.1, version: step.version, state: Arc::new(next) };
        client.staged = Staged::Ready(Ready { next, root: step.root, changes: None });
    }

    /// What a client has.
    pub(crate) fn held(&self, c: usize) -> Held {
        match self.clients[c].who {
            Who::Plane(p) => self.planes[p].view.held(),
            Who::Node(_) => self.clients[c].live.clone(),
        }
    }

    /// Goes on with what was handed over.
    pub(crate) fn work(&mut self, c: usize) {
        let full_fails = self.fails(40);
        let client = &mut self.clients[c];
        match &client.staged {
            Staged::Nothing => {}
            Staged::Coming(_) if full_fails => self.reject(c, NackCode::Resources),
            Staged::Coming(_) => {
                let bytes = std::mem::take(&mut client.unprocessed);
                let actions = client.session.full_processed(bytes, self.now + client.clock);
                self.dp_actions(c, actions);
            }
            Staged::Ready(..) => self.finish(c),
        }
    }

    pub(crate) fn reject(&mut self, c: usize, code: NackCode) {
        let client = &mut self.clients[c];
        client.drop_staged();
        let (path, message) = ("host".to_owned(), "no".to_owned());
        let rejection = dp::Rejection { code, entity: Some((1, Id(1))), path, message };
        let actions = client.session.rejected(rejection, self.now + client.clock);
        self.dp_actions(c, actions);
    }

    pub(crate) fn finish(&mut self, c: usize) {
        let client = &mut self.clients[c];
        let Staged::Ready(ready) = std::mem::replace(&mut client.staged, Staged::Nothing) else { return };
        assert_eq!(root_of(&ready.next.state), ready.root, "{:?} was led to another content", client.who);
        match client.who {
            Who::Plane(p) => self.take_over(p, ready),
            Who::Node(_) => self.serve(c, ready),
        }
    }

    /// A follower takes a step: durable before anybody hears of it.
    pub(crate) fn take_over(&mut self, p: usize, Ready { next, changes, .. }: Ready) {
        if self.fails(30) {
            // The disk is full, or the machine gone.
            return if self.rng.one_in(2) { self.lost(p) } else { self.crash_plane(p) };
        }
        let plane = &self.planes[p];
        let now = &plane.view;
        self.check_way((now.term, now.epoch, now.version), &next);
        let (before, version) = (now.epoch, next.version);
        let view = match changes {
            Some(changes) => now.step(version, &changes, plane.keep, self.flaw),
            None => View::taken(next.epoch, next.term, version, next.state),
        };
        self.counts.add("steps taken by followers");
        let plane = &mut self.planes[p];
        if view.epoch != before {
            plane.left.insert(before);
            assert!(!plane.left.contains(&view.epoch), "control plane {p} goes back to epoch {}", view.epoch);
        }
        plane.stored = view.clone();
        if self.fails(30) {
            return self.crash_plane(p);
        }
        self.show(p, view);
        self.check_plane(p);
        let client = &mut self.clients[p];
        let mut actions = client.session.durable(version, self.now + client.clock);
        actions.extend(client.session.applied(version, self.now + client.clock));
        self.count_overtaking(&actions);
        self.dp_actions(p, actions);
    }

    pub(crate) fn serve(&mut self, c: usize, Ready { next, changes, .. }: Ready) {
        let (disk_fails, power_fails) = (self.fails(6), self.fails(12));
        let client = &mut self.clients[c];
        let now = self.now + client.clock;
        let gone = client.live.state.keys().filter(|key| !next.state.contains_key(key)).count() as u64;
        if changes.is_none()
            && let Err(shrink) = client.limit.judge(client.live.state.len() as u64, gone, client.confirmed)
        {
            self.counts.add("held back");
            let actions = client.session.held(shrink, now);
            return self.dp_actions(c, actions);
        }
        if next.state.values().any(|record| record.body.as_ref() == POISON) {
            return self.reject(c, NackCode::Invalid);
        }
        let before = (client.live.term, client.live.epoch, client.live.version);
        self.check_way(before, &next);
        let client = &mut self.clients[c];
        if next.epoch != before.1 {
            client.left.insert(before.1);
            assert!(!client.left.contains(&next.epoch), "{:?} goes back to epoch {}", client.who, next.epoch);
        }
        let version = next.version;
        let mut actions = Vec::new();
        if !disk_fails {
            client.stored = next.clone();
            client.left_durably = client.left.clone();
            if power_fails {
                // Power cut between commit and swap.
                client.live = next;
                return self.crash_client(c);
            }
        }
        if !disk_fails || self.flaw == Flaw::AcksBeforeDurable {
            actions.extend(client.session.durable(version, now));
        }
        client.live = next;
        actions.extend(client.session.applied(version, now));
        let have = client.session.have();
        if client.link.is_some() && have.epoch == client.live.epoch {
            client.promised = (have.epoch, have.durable);
        }
        self.count_overtaking(&actions);
        self.dp_actions(c, actions);
        self.check_node(c);
    }

    /// A step that comes of what was applied has overtaken it.
    fn count_overtaking(&mut self, actions: &[dp::Action]) {
        if actions.iter().any(|action| matches!(action, dp::Action::Stage(_))) {
            self.counts.add("steps that overtook");
        }
    }

    pub(crate) fn crash_client(&mut self, c: usize) {
        if let Who::Plane(p) = self.clients[c].who {
            return self.crash_plane(p);
        }
        self.counts.add("nodes that crashed");
        self.lost(c);
        let client = &mut self.clients[c];
        client.session = session(client.who, &mut self.rng);
        client.drop_staged();
        client.live = client.stored.clone();
        client.left = client.left_durably.clone();
        client.clock = self.rng.below(1_000_000);
        if let Some((_, bytes)) = &mut client.blob {
            bytes.truncate(bytes.len() / 1000 * 1000);
        }
        let promised = client.promised;
        self.check_promise(c, promised);
        self.check_node(c);
    }
}
