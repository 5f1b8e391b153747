//! The writer's word, as `cp-lite` asks for it: a follower takes a node from another database over only once its writer has
//! answered a PING that was sent after the node had come, and answers a follower of its own likewise.

use super::client::Who;
use super::world::World;
use wire::message::Hello;
use wire::succession::unordered;
use wire::{ByeReason, cp};

impl World {
    /// Whether a session with a writer is up that is of the epoch which this control plane has.
    pub(crate) fn follows_in(&self, p: usize) -> bool {
        self.planes[p].attached && self.clients[p].with.0 == self.planes[p].view.epoch
    }

    /// Whether nothing says which counts: the database that the node is in, or the one of this follower.
    pub(crate) fn is_stranger(&self, p: usize, hello: &Hello) -> bool {
        let (view, have) = (&self.planes[p].view, hello.have);
        !view.writes && have.epoch != 0 && unordered((hello.term, have.epoch), (view.term, view.epoch))
    }

    /// Lets the node wait until the writer has answered.
    pub(crate) fn ask_about(&mut self, c: usize, hello: &Hello) -> Vec<cp::Action> {
        let Some(p) = self.clients[c].link.as_ref().map(|link| link.plane) else { return Vec::new() };
        if !self.follows_in(p) {
            self.counts.add("strangers turned away");
            return self.refuse(c);
        }
        let question = self.ask(p);
        if let Some(link) = &mut self.clients[c].link {
            link.joining = Some((hello.clone(), question));
        }
        Vec::new()
    }

    /// A PING of a follower is a question to the writer.
    pub(crate) fn relay(&mut self, c: usize) {
        let Some(p) = self.clients[c].link.as_ref().map(|link| link.plane) else { return };
        let question = self.ask(p);
        if let Some(link) = &mut self.clients[c].link {
            link.questions.push_back(question);
        }
    }

    fn ask(&mut self, p: usize) -> u64 {
        self.planes[p].asked += 1;
        let question = self.planes[p].asked;
        let client = &mut self.clients[p];
        let actions = client.session.ask(question, self.now + client.clock);
        self.dp_actions(p, actions);
        question
    }

    /// A PONG came to this follower.
    pub(crate) fn word_came(&mut self, p: usize) {
        let answered = self.clients[p].session.answered();
        for c in 0..self.clients.len() {
            let Some(link) = self.clients[c].link.as_mut().filter(|link| link.plane == p && !link.over) else {
                continue;
            };
            let mut actions = Vec::new();
            while link.questions.front().is_some_and(|question| *question <= answered) {
                link.questions.pop_front();
                actions.extend(link.session.pong(&self.planes[p].view));
            }
            if let Some((hello, _)) = link.joining.take_if(|(_, question)| *question <= answered) {
                self.counts.add("strangers that the writer was asked about");
                let taken = self.follows_in(p) || !self.is_stranger(p, &hello);
                actions.extend(if taken { self.admit(c, &hello) } else { self.refuse(c) });
            }
            self.cp_actions(c, actions);
        }
    }

    /// Nobody will answer for those who wait.
    pub(crate) fn turn_away_strangers(&mut self, p: usize) {
        for c in 0..self.clients.len() {
            let waits = |link: &&mut super::client::Link| link.plane == p && !link.over && link.joining.is_some();
            if let Some(link) = self.clients[c].link.as_mut().filter(waits) {
                link.joining = None;
                let actions = self.refuse(c);
                self.cp_actions(c, actions);
            }
        }
    }

    /// Whoever has lost its writer, or is of another database than that, has nothing to say to followers.
    pub(crate) fn leave_followers(&mut self, p: usize) {
        for follower in 0..self.planes.len() {
            if let Some(link) = self.clients[follower].link.as_mut().filter(|link| link.plane == p && !link.over) {
                let actions = link.session.bye(ByeReason::Busy, "this control plane has lost its own writer");
                self.cp_actions(follower, actions);
            }
        }
    }

    /// This control plane was welcomed.
    pub(crate) fn attached(&mut self, c: usize) {
        let Who::Plane(p) = self.clients[c].who else { return };
        self.planes[p].attached = true;
        if !self.follows_in(p) {
            self.leave_followers(p);
        }
    }
}
