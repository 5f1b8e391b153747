//! Whether the control plane is still there: PING after a silence, how long a silence may be, and what PONG says.

use super::{Action, Closed, Live, Session, State, Work};
use crate::limits::ANSWER_MS_MAX;
use crate::message::{ByeReason, Pong};

impl Session {
    /// The heartbeat in force, in seconds; 0 for none, and while there is no session.
    #[must_use]
    pub fn heartbeat_s(&self) -> u32 {
        let State::Live(live) = &self.state else { return 0 };
        u32::try_from(live.heartbeat_ms / 1000).unwrap_or(u32::MAX)
    }

    /// For how long nothing had come or gone when the last PING of this connection was sent, in milliseconds.
    #[must_use]
    pub fn pinged_after(&self) -> u64 {
        self.idle
    }

    /// Would like another heartbeat, in seconds, above 0, for this connection and the next. A shorter one holds at once; a
    /// longer one is asked for with the next PING and holds once the control plane has agreed.
    pub fn adapt(&mut self, heartbeat_s: u32) {
        self.identity.heartbeat_s = heartbeat_s;
        if let State::Live(live) = &mut self.state
            && live.heartbeat_ms > 0
        {
            live.heartbeat_ms = live.heartbeat_ms.min(u64::from(heartbeat_s) * 1000);
        }
    }

    /// When [`Session::tick`] is to be called next, if nothing else happens before.
    #[must_use]
    pub fn timer(&self) -> Option<u64> {
        match &self.state {
            State::Closed => None,
            State::Greeting { until } => Some(*until),
            State::Live(live) => self.full_timer(live).into_iter().chain(self.link_timer(live)).min(),
        }
    }

    /// When the answer to a PING is due, or else the next PING.
    pub(super) fn link_timer(&self, live: &Live) -> Option<u64> {
        match self.ping {
            Some(at) => Some(at.saturating_add(ANSWER_MS_MAX)),
            None => (live.heartbeat_ms > 0).then(|| self.sent.saturating_add(live.heartbeat_ms)),
        }
    }

    /// Time has passed. May be called at any time; does something only when [`Session::timer`] is over.
    pub fn tick(&mut self, now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        self.grant(now, &mut out);
        let over = match &self.state {
            State::Closed => None,
            State::Greeting { until } => Some(*until),
            State::Live(live) => self.link_timer(live),
        };
        if over.is_none_or(|at| now < at) {
            return out;
        }
        if matches!(self.state, State::Live(_)) && self.ping.is_none() {
            self.ping = Some(now);
            self.idle = now.saturating_sub(self.heard.max(self.sent));
            self.send_ping(now, &mut out);
        } else {
            self.close(ByeReason::Silent, "", Closed::Silent, now, &mut out);
        }
        out
    }

    /// The heartbeat to ask for, unless HELLO or a PING asked for it already.
    pub(super) fn heartbeat_to_ask_for(&mut self) -> Option<u32> {
        let State::Live(live) = &mut self.state else { return None };
        let wanted = self.identity.heartbeat_s;
        (live.asked_s.replace(wanted) != Some(wanted)).then_some(wanted)
    }

    pub(super) fn pong(&mut self, pong: Pong, now: u64, out: &mut Vec<Action>) {
        self.probe.pong_came();
        self.probe_if_due(now, out);
        out.push(Action::Head(pong));
        let State::Live(live) = &mut self.state else { return };
        if let Some(in_force) = pong.heartbeat_s {
            live.heartbeat_ms = u64::from(in_force) * 1000;
        }
        let comparable = matches!(live.work, Work::Idle) && live.epoch == self.have.epoch;
        let version = self.have.applied;
        if comparable && pong.head == version && pong.root != self.have.root {
            self.close(ByeReason::Root, "", Closed::RootDiffers { version }, now, out);
        }
    }
}
