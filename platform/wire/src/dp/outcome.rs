//! What became of a step or a full sync, as the caller says, and what the control plane is told of it: ACK, NACK, WANT.

use super::{Action, Rejection, Session, State, Work};
use crate::limits::{FULL_PAUSE_MS_MAX, FULL_PAUSE_MS_MIN, WANT_MAX, clip};
use crate::message::{Ack, Have, Message, Nack, NackCode, Want};
use crate::shrink::Shrink;
use model::Id;

impl Session {
    /// The staged version is live; a step that overtook it is the next to be staged. Any other version is not this session's business, and nothing happens.
    pub fn applied(&mut self, version: u64, now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        let State::Live(live) = &mut self.state else { return out };
        let Work::Staged { version: staged, root, full, durable, next } = &mut live.work else { return out };
        if *staged != version {
            return out;
        }
        let (root, full, durable, next) = (*root, *full, *durable, next.take());
        live.work = Work::Idle;
        self.refusals = 0;
        let kept = if full && live.epoch != self.have.epoch { 0 } else { self.have.durable.min(version) };
        self.have.durable = if durable { version } else { kept };
        (self.have.epoch, self.have.applied, self.have.root) = (live.epoch, version, root);
        self.term = live.term;
        self.ack(now, &mut out);
        match next.map(|kept| kept.read()) {
            None => {}
            Some(Ok(step)) => self.stage(step, &mut out),
            Some(Err(error)) => self.fail(error, now, &mut out),
        }
        out
    }

    /// A version is on stable storage. Before [`Session::applied`] of the same version it costs no frame.
    pub fn durable(&mut self, version: u64, now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        let State::Live(live) = &mut self.state else { return out };
        match &mut live.work {
            Work::Staged { version: staged, durable, .. } if *staged == version => *durable = true,
            work => {
                let known = self.have.durable;
                self.have.durable = known.max(version.min(self.have.applied));
                // While something is staged, an ACK would look like one of that; the next one will say it.
                if self.have.durable > known && matches!(work, Work::Idle) {
                    self.ack(now, &mut out);
                }
            }
        }
        out
    }

    /// What is staged, or the full sync that is coming in, will not be applied; the node keeps what it has. Also when
    /// the root digest after the step is not [`Delta::root`]: then with [`crate::NackCode::Root`].
    pub fn rejected(&mut self, rejection: Rejection, now: u64) -> Vec<Action> {
        self.refused(rejection, None, now)
    }

    /// As [`Session::rejected`]: too much would go. The control plane sends it again when somebody has confirmed it.
    pub fn held(&mut self, shrink: Shrink, now: u64) -> Vec<Action> {
        let (path, message) = (String::new(), shrink.to_string());
        self.refused(Rejection { code: NackCode::Shrink, entity: None, path, message }, Some(shrink), now)
    }

    pub(super) fn refused(&mut self, rejection: Rejection, shrink: Option<Shrink>, now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        let State::Live(live) = &mut self.state else { return out };
        let (version, cost) = match &live.work {
            Work::Staged { version, full, .. } => (*version, *full),
            Work::Full(receiver, _) => {
                live.skipped = Some(receiver.begin().transfer);
                (receiver.begin().version, receiver.started() || shrink.is_none())
            }
            Work::Idle | Work::Receiving(_) | Work::Reconcile(_) => return out,
        };
        // What is given back comes again otherwise.
        if cost && rejection.code != NackCode::Base {
            let pause = FULL_PAUSE_MS_MIN.checked_shl(self.refusals.min(16)).unwrap_or(FULL_PAUSE_MS_MAX);
            self.full_from = now.saturating_add(pause.min(FULL_PAUSE_MS_MAX));
            self.refusals = self.refusals.saturating_add(1);
        }
        live.work = Work::Idle;
        let Rejection { code, entity, path, message } = rejection;
        let kept = self.have.applied;
        let nack = Nack { version, code, entity, path: clip(path), message: clip(message), kept, shrink };
        self.send(&Message::Nack(nack), now, &mut out);
        out
    }

    /// Patches of the staged step have a base that is not here, or another one here: gives the step back and asks for these
    /// entities whole; for all of the step, if they cannot be named.
    pub fn base_missing(&mut self, entities: &[(u8, Id)], now: u64) -> Vec<Action> {
        if !self.is_staged() {
            return Vec::new();
        }
        let mut out = self.want(entities, now);
        let entity = entities.first().copied();
        let (path, message) = (String::new(), String::new());
        out.extend(self.rejected(Rejection { code: NackCode::Base, entity, path, message }, now));
        out
    }

    /// Asks for entities to be sent whole, because what is held of them is damaged. They come with the next step.
    pub fn want(&mut self, entities: &[(u8, Id)], now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        let State::Live(live) = &mut self.state else { return out };
        live.wanted = true;
        for part in entities.chunks(WANT_MAX) {
            self.send(&Message::Want(Want { entities: part.to_vec() }), now, &mut out);
        }
        out
    }

    pub(super) fn ack(&mut self, now: u64, out: &mut Vec<Action>) {
        let Have { applied, durable, .. } = self.have;
        self.send(&Message::Ack(Ack { applied, durable }), now, out);
    }
}
