//! The messages that are about the connection and nothing else: PING, PONG and BYE.

use super::{Type, open_byte, put, take, take_some};
use crate::error::ProtocolError;
use postcard::fixint::le;
use serde::{Deserialize, Serialize};

/// Are you there?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ping {
    /// The heartbeat that the node would like from now on, in seconds; `None` leaves it as it is.
    pub heartbeat_s: Option<u32>,
}

/// The head of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// The newest version.
    pub head: u64,
    /// The root digest at `head`.
    #[serde(with = "le")]
    pub root: u64,
    /// The heartbeat in force from now on, in seconds, 0 for none: the answer to a PING that asks for one. Early peers
    /// never give it.
    #[serde(skip)]
    pub heartbeat_s: Option<u32>,
}

impl Ping {
    pub(super) fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        Ok(Self { heartbeat_s: asked(Type::Ping, payload)? })
    }

    pub(super) fn encode(self) -> Vec<u8> {
        self.heartbeat_s.map_or_else(Vec::new, |_| put(&self.heartbeat_s))
    }
}

impl Pong {
    /// An answer that leaves the heartbeat as it is.
    #[must_use]
    pub fn new(head: u64, root: u64) -> Self {
        Self { head, root, heartbeat_s: None }
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        let (pong, later): (Self, _) = take_some(Type::Pong, payload)?;
        Ok(Self { heartbeat_s: asked(Type::Pong, later)?, ..pong })
    }

    pub(super) fn encode(self) -> Vec<u8> {
        let mut out = put(&self);
        if self.heartbeat_s.is_some() {
            out.extend(put(&self.heartbeat_s));
        }
        out
    }
}

/// A heartbeat at the end of a payload, where one is spoken of: an idle link counts every byte.
fn asked(message: Type, payload: &[u8]) -> Result<Option<u32>, ProtocolError> {
    if payload.is_empty() { Ok(None) } else { take(message, payload) }
}

open_byte! {
    /// Why a connection ends.
    ByeReason {
        /// The program stops or restarts.
        Shutdown = 0,
        /// The other end broke the rules; the text says which.
        Protocol = 1,
        /// The other end was silent for too long.
        Silent = 2,
        /// The control plane's database is another incarnation now.
        Epoch = 3,
        /// The same node connected again.
        Superseded = 4,
        /// Too much to do; come back later.
        Busy = 5,
        /// The node may not be connected any longer.
        Forbidden = 6,
        /// The node's content is not what the control plane says it should be; it comes back with its digest.
        Root = 7,
        /// Another control plane is to serve the node: [`Bye::to`], or any other where that is empty.
        Moved = 8,
        /// The node was with a writer that has taken the place of this control plane's.
        Replaced = 9,
    }
}

/// The last message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bye {
    /// Why.
    pub reason: ByeReason,
    /// Not before so many seconds; 0 leaves it to the other end.
    pub retry_after_s: u32,
    /// For people.
    pub message: String,
    /// With [`ByeReason::Moved`]: the control plane to go to, `host:port`. Empty in all else, and missing from early peers.
    #[serde(skip)]
    pub to: String,
}

impl Bye {
    /// A goodbye that leads nowhere.
    #[must_use]
    pub fn new(reason: ByeReason, message: String) -> Self {
        Self { reason, retry_after_s: 0, message, to: String::new() }
    }

    pub(super) fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        let (bye, later): (Self, _) = take_some(Type::Bye, payload)?;
        let to = if later.is_empty() { String::new() } else { take(Type::Bye, later)? };
        Ok(Self { to, ..bye })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = put(self);
        out.extend(put(&self.to));
        out
    }
}
