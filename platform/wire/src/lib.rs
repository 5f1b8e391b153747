//! The sync protocol between a control plane (CP) and its data planes (DP): frames, messages, limits, and both ends of
//! a session as pure state machines. No I/O, no clock, no randomness: bytes and the time come in as arguments, actions
//! come out. `PROTOCOL.md` beside this crate is the normative text; someone else could write the other end from it.
//!
//! From the bottom up: [`limits`] names every bound, [`frame`] cuts a stream of bytes into frames, [`message`] is what
//! a frame says, [`delta`] and [`full`] are the two messages that carry entities, [`patch`] is how little of a changed body
//! does, [`resolve`] makes changes of them again, [`pack`] how small many are, [`compat`] decides which nodes get anything at all, [`reconcile`] finds what two ends differ in, [`parity`] how far, [`shrink`] is
//! what a node does not take unasked, [`dp`] and [`cp`]
//! are the two ends, [`backoff`] is how long to wait between two connections,
//! [`succession`] says which of two databases counts. [`error::ProtocolError`] has one variant per way in which a
//! peer can break the rules.
//!
//! [`bundle`] is a full sync in a file.

pub mod backoff;
pub mod bundle;
pub mod compat;
pub mod cp;
pub mod delta;
pub mod dp;
pub mod error;
pub mod frame;
pub mod full;
mod greeting;
pub mod limits;
pub mod message;
pub mod pack;
pub mod parity;
pub mod patch;
pub mod planes;
mod read;
pub mod reconcile;
pub mod resolve;
pub mod shrink;
pub mod succession;

pub use delta::{Delta, Encoded, Entity, Op};
pub use error::ProtocolError;
pub use full::{Blob, Cursor, Offer};
pub use message::{Bye, ByeReason, Hello, KindVersion, Nack, NackCode, Partial, PluginVersion, Welcome};
pub use patch::Patch;
pub use planes::PlaneNodes;

/// The ALPN name of this protocol on the cluster port.
pub const ALPN: &[u8] = b"edge-sync/1";

/// The protocol version that this crate speaks; HELLO offers a range of them.
pub const PROTO: u8 = 1;
