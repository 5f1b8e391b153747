//! What happens on links, and at the control plane's end of them.

use super::Flaw;
use super::client::{KINDS, Link, Staged, Who};
use super::plane::Plane;
use super::world::World;
use model::Id;
use std::collections::VecDeque;
use std::sync::Arc;
use wire::cp;
use wire::message::{Hello, RefuseReason};

impl World {
    pub(crate) fn connect(&mut self, c: usize) {
        let follows = |plane: &Plane| !plane.view.writes && !plane.writers.is_empty();
        if let Who::Plane(p) = self.clients[c].who
            && !follows(&self.planes[p])
        {
            return;
        }
        if self.clients[c].link.is_some() {
            return;
        }
        // The rule for callers: what is staged is finished first.
        if let Staged::Ready(..) = self.clients[c].staged {
            self.finish(c);
        }
        let most = if self.fails(4) { 200 } else { 40_000 };
        let list = &self.clients[c].list;
        let chosen = list[self.rng.below(list.len() as u64) as usize];
        // A follower's settings name writers, as a rule.
        let writer = list.iter().copied().find(|p| self.planes[*p].view.writes);
        let chosen = writer.filter(|_| !self.clients[c].who.is_node() && !self.rng.one_in(4)).unwrap_or(chosen);
        let client = &mut self.clients[c];
        client.drop_staged();
        let plane = client.told.take().filter(|told| client.list.contains(told)).unwrap_or(chosen);
        let session = cp::Session::new(Arc::clone(&self.planes[plane].config), self.now + self.planes[plane].clock);
        let (to_cp, to_dp) = (VecDeque::new(), VecDeque::new());
        let (report, joining, questions) = (None, None, VecDeque::new());
        let (dead, over) = (false, false);
        client.link = Some(Link { plane, to_cp, to_dp, session, report, most, dead, over, joining, questions });
        let held = self.held(c);
        let client = &mut self.clients[c];
        let durable = match client.who {
            Who::Plane(_) => held.version,
            Who::Node(_) => {
                if client.stored.epoch == held.epoch {
                    client.stored.version
                } else {
                    0
                }
            }
        };
        let forgets = self.flaw == Flaw::ForgetsTerm && client.who.is_node();
        let (have, term) = (held.have(durable), if forgets { 0 } else { held.term });
        client.session.holds(client.partial());
        client.session.of_term(term);
        let actions = client.session.connected(have, 0, self.now + client.clock);
        self.dp_actions(c, actions);
    }

    /// There is no connection any more.
    pub(crate) fn lost(&mut self, c: usize) {
        let client = &mut self.clients[c];
        if client.link.take().is_none() {
            return;
        }
        self.counts.add("cuts");
        let Who::Plane(p) = self.clients[c].who else { return };
        if std::mem::take(&mut self.planes[p].attached) {
            self.turn_away_strangers(p);
            self.leave_followers(p);
        }
    }

    /// From now on the link swallows what is given to it.
    pub(crate) fn goes_dead(&mut self, c: usize) {
        if let Some(link) = &mut self.clients[c].link {
            link.dead = true;
            link.to_cp.clear();
            link.to_dp.clear();
            self.counts.add("links gone dead");
        }
    }

    pub(crate) fn clock_jumps(&mut self, c: usize, p: usize) {
        let days = 86_400_000 * self.rng.below(400);
        if self.rng.one_in(2) {
            self.clients[c].clock += days;
        } else {
            self.planes[p].clock += days;
        }
        self.tick(c);
    }

    pub(crate) fn tick(&mut self, c: usize) {
        if self.fails(25) {
            self.now += 400_000;
        }
        let client = &mut self.clients[c];
        let actions = client.session.tick(self.now + client.clock);
        self.dp_actions(c, actions);
        if let Some(link) = self.clients[c].link.as_mut().filter(|link| !link.over) {
            let plane = &self.planes[link.plane];
            let actions = link.session.tick(self.now + plane.clock, &plane.view);
            self.cp_actions(c, actions);
        }
    }

    pub(crate) fn drain(&mut self, c: usize) {
        if let Some(link) = self.clients[c].link.as_mut().filter(|link| !link.over) {
            let actions = link.session.drained();
            self.cp_actions(c, actions);
        }
    }

    pub(crate) fn move_away(&mut self, c: usize, to: usize) {
        if let Some(link) = self.clients[c].link.as_mut().filter(|link| !link.over && link.plane != to) {
            let actions = link.session.move_to(&to.to_string());
            self.cp_actions(c, actions);
        }
    }

    /// Somebody looks at what the node holds back, and confirms it.
    pub(crate) fn confirm(&mut self, c: usize) {
        if let Some(link) = self.clients[c].link.as_mut().filter(|link| !link.over)
            && let Some(held) = link.report.as_ref().and_then(|report| report.held)
        {
            let actions = link.session.confirm(held.shrink.gone, &self.planes[link.plane].view);
            self.cp_actions(c, actions);
        }
    }

    pub(crate) fn want(&mut self, c: usize) {
        let client = &mut self.clients[c];
        if client.who.is_node() && client.link.is_some() {
            let wanted = (KINDS[0].code(), Id(u128::from(self.rng.below(14))));
            let actions = client.session.want(&[wanted], self.now + client.clock);
            self.dp_actions(c, actions);
        }
    }

    /// Carries some of the bytes that are on their way.
    pub(crate) fn carry(&mut self, c: usize, down: bool) {
        let Some(link) = &mut self.clients[c].link else { return };
        let queue = if down { &mut link.to_dp } else { &mut link.to_cp };
        let most = if self.rng.one_in(8) { 20 } else { link.most };
        let count = (1 + self.rng.below(most) as usize).min(queue.len());
        let bytes: Vec<u8> = queue.drain(..count).collect();
        if down && bytes.is_empty() && link.over && !link.dead {
            return self.lost(c);
        }
        if down {
            let client = &mut self.clients[c];
            let actions = client.session.received(&bytes, self.now + client.clock);
            self.dp_actions(c, actions);
        } else if !bytes.is_empty() && !link.over {
            let plane = &self.planes[link.plane];
            let actions = link.session.received(&bytes, self.now + plane.clock, &plane.view);
            self.cp_actions(c, actions);
        }
    }

    pub(crate) fn cp_actions(&mut self, c: usize, actions: Vec<cp::Action>) {
        let mut queue = VecDeque::from(actions);
        while let Some(action) = queue.pop_front() {
            let Some(link) = &mut self.clients[c].link else { return };
            match action {
                cp::Action::Send(bytes) if link.dead => drop(bytes),
                cp::Action::Send(bytes) => link.to_dp.extend(&bytes),
                cp::Action::Joined(hello) => queue.extend(self.join(c, &hello)),
                cp::Action::Asked => self.relay(c),
                cp::Action::Report(report) => {
                    if report.nack.is_some() {
                        self.counts.add("refusals");
                    }
                    link.report = Some(report.clone());
                    self.check_promise(c, (report.epoch, report.durable));
                }
                cp::Action::Close(cp::Closed::Protocol(error)) => {
                    panic!("a control plane blames {:?}: {error}", self.clients[c].who)
                }
                cp::Action::Close(_) => link.over = true,
            }
        }
    }

    pub(crate) fn join(&mut self, c: usize, hello: &Hello) -> Vec<cp::Action> {
        let refuses = self.fails(20);
        let Some(link) = &mut self.clients[c].link else { return Vec::new() };
        let plane = &mut self.planes[link.plane];
        plane.heard = plane.heard.max(hello.term);
        let (p, follows, none) = (link.plane, !plane.view.writes, plane.view.epoch == 0);
        let lonely = hello.has(Hello::FOLLOWER) && follows && !self.follows_in(p);
        if none || lonely || refuses {
            return self.refuse(c);
        }
        if self.is_stranger(p, hello) && self.flaw != Flaw::TrustsSilence {
            return self.ask_about(c, hello);
        }
        self.admit(c, hello)
    }

    pub(crate) fn refuse(&mut self, c: usize) -> Vec<cp::Action> {
        let Some(link) = &mut self.clients[c].link else { return Vec::new() };
        link.session.refuse(RefuseReason::Busy, 1, "not now")
    }

    pub(crate) fn admit(&mut self, c: usize, hello: &Hello) -> Vec<cp::Action> {
        let Some(link) = &mut self.clients[c].link else { return Vec::new() };
        let plane = &self.planes[link.plane];
        if hello.has(Hello::FOLLOWER) && !plane.view.writes {
            link.session.relays();
        }
        link.session.admit(&plane.view)
    }
}
