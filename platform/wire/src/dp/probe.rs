//! Whether the control plane is there, and of this epoch, at a moment that the caller chooses: a PING of its own, and the
//! PONG that answers it. Connections keep the order, so that the n-th PONG answers the n-th PING. A follower asks its writer
//! so before it takes a node from another database over, and before it answers such a question itself.

use super::{Action, Session, State};
use crate::message::{Message, Ping};

/// Questions are numbers that only grow; one PING answers all that were asked before it was sent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Probe {
    /// PINGs sent and PONGs received on this connection.
    pings: u64,
    pongs: u64,
    /// The number of the PING that was sent for a question, and of that question.
    sent: Option<(u64, u64)>,
    /// The last question, and the last one that was answered.
    asked: u64,
    answered: u64,
}

impl Probe {
    /// What was asked on another connection is not answered on this one.
    pub(super) fn connected(&mut self) {
        *self = Self { asked: self.answered, answered: self.answered, ..Self::default() };
    }

    pub(super) fn ping_sent(&mut self) {
        self.pings += 1;
    }

    pub(super) fn pong_came(&mut self) {
        self.pongs += 1;
        if let Some((_, question)) = self.sent.take_if(|(ping, _)| *ping <= self.pongs) {
            self.answered = question;
        }
    }

    /// Whether a PING is to be sent now: none is on its way for an earlier question.
    fn is_due(&self) -> bool {
        self.sent.is_none() && self.asked > self.answered
    }
}

impl Session {
    /// Asks whether the control plane is there now. `question` is greater than that of any call before; [`Session::answered`]
    /// reaches it once the answer has come, on this connection. Nothing, before WELCOME.
    pub fn ask(&mut self, question: u64, now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        if matches!(self.state, State::Live(_)) {
            self.probe.asked = self.probe.asked.max(question);
            self.probe_if_due(now, &mut out);
        }
        out
    }

    /// The last question of [`Session::ask`] that was answered.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.probe.answered
    }

    pub(super) fn probe_if_due(&mut self, now: u64, out: &mut Vec<Action>) {
        if !self.probe.is_due() {
            return;
        }
        self.ping.get_or_insert(now);
        self.probe.sent = Some((self.probe.pings + 1, self.probe.asked));
        self.send_ping(now, out);
    }

    pub(super) fn send_ping(&mut self, now: u64, out: &mut Vec<Action>) {
        self.probe.ping_sent();
        let ping = Message::Ping(Ping { heartbeat_s: self.heartbeat_to_ask_for() });
        self.send(&ping, now, out);
    }
}
