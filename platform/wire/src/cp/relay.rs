//! PING and its answer. A control plane that follows another one answers a follower of its own only once its writer has
//! answered it: so a PONG that a follower gets says that the writer itself was there after the PING, however many
//! followers are in between.

use super::{Action, Session, Source, State};
use crate::error::ProtocolError;
use crate::message::{Message, Ping, Pong, Type};
use std::collections::VecDeque;

/// The most PINGs of a follower that wait for an answer: it has one of its own and one for questions.
const OWED_MAX: usize = 4;

/// What PINGs that are not answered yet asked for, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Owed {
    relays: bool,
    pings: VecDeque<Option<u32>>,
}

impl Session {
    /// From now on PINGs are answered by [`Session::pong`] only, and [`Action::Asked`] says that there is one.
    pub fn relays(&mut self) {
        self.owed.relays = true;
    }

    /// Answers the oldest PING that is not answered.
    pub fn pong(&mut self, source: &dyn Source) -> Vec<Action> {
        let mut out = Vec::new();
        if let (State::Live, Some(heartbeat_s)) = (&self.state, self.owed.pings.pop_front()) {
            self.send_pong(heartbeat_s, source, &mut out);
        }
        out
    }

    pub(super) fn ping(&mut self, ping: Ping, source: &dyn Source, out: &mut Vec<Action>) -> Result<(), ProtocolError> {
        let heartbeat_s = ping.heartbeat_s.map(|asked| self.config.heartbeat_s(asked));
        if let Some(in_force) = heartbeat_s {
            self.heartbeat_ms = u64::from(in_force) * 1000;
        }
        if !self.owed.relays {
            self.send_pong(heartbeat_s, source, out);
            return Ok(());
        }
        if self.owed.pings.len() >= OWED_MAX {
            return Err(ProtocolError::Unexpected { message: Type::Ping, state: "before PONGs for those before" });
        }
        self.owed.pings.push_back(heartbeat_s);
        out.push(Action::Asked);
        Ok(())
    }

    fn send_pong(&mut self, heartbeat_s: Option<u32>, source: &dyn Source, out: &mut Vec<Action>) {
        let pong = Pong { heartbeat_s, ..Pong::new(source.head(), source.root()) };
        self.send(&Message::Pong(pong), out);
    }
}
