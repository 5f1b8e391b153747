//! How a session begins: what HELLO says, and what becomes of WELCOME.

use super::{Action, Closed, Identity, Live, Session, State, Work};
use crate::PROTO;
use crate::error::ProtocolError;
use crate::message::{ByeReason, Hello, Message, Mode};
use crate::succession::replaces;

impl Session {
    pub(super) fn hello(&self, status: u32) -> Hello {
        let Identity {
            node,
            hostname,
            software,
            kinds,
            plugins,
            labels,
            incremental,
            heartbeat_s,
            codecs,
            features,
            ..
        } = self.identity.clone();
        Hello {
            proto_min: PROTO,
            proto_max: PROTO,
            node,
            hostname,
            software,
            kinds,
            plugins,
            labels,
            have: self.have,
            incremental,
            codecs,
            heartbeat_s,
            status,
            partial: self.partial,
            features,
            term: self.term,
        }
    }

    pub(super) fn greeted(&mut self, message: Message, now: u64, out: &mut Vec<Action>) -> Result<(), ProtocolError> {
        let Message::Welcome(welcome) = message else {
            return Err(ProtocolError::Unexpected { message: message.kind(), state: "before WELCOME" });
        };
        let (ours, theirs) = (self.have.epoch, welcome.epoch);
        match welcome.mode {
            Mode::Refuse { why, retry_after_s } => {
                let message = welcome.message;
                self.state = State::Closed;
                out.push(Action::Close(Closed::Refused { why, retry_after_s, message }));
                return Ok(());
            }
            Mode::Other(mode) => return Err(ProtocolError::ModeUnknown { mode }),
            Mode::Same | Mode::Tail | Mode::Behind if ours != theirs => {
                return Err(ProtocolError::EpochMismatch { ours, theirs });
            }
            Mode::Same | Mode::Tail | Mode::Behind | Mode::Full | Mode::Withheld | Mode::Reconcile => {}
        }
        if replaces((self.term, ours), (welcome.term, theirs)) {
            let closed = Closed::Replaced { term: welcome.term, ours: self.term };
            self.close(ByeReason::Replaced, &closed.to_string(), closed.clone(), now, out);
            return Ok(());
        }
        if welcome.proto != PROTO {
            return Err(ProtocolError::ProtoNotOffered { proto: welcome.proto });
        }
        self.sent = now;
        self.state = State::Live(Live {
            epoch: theirs,
            term: welcome.term,
            incremental: welcome.incremental && self.identity.incremental,
            heartbeat_ms: u64::from(welcome.heartbeat_s) * 1000,
            asked_s: Some(self.identity.heartbeat_s),
            work: Work::Idle,
            skipped: None,
            wanted: false,
        });
        out.push(Action::Welcomed(welcome));
        Ok(())
    }
}
