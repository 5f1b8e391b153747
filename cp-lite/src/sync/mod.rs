//! The cluster port: who may speak on it, and a session per node that carries what changed.
//!
//! [`listener`] accepts, ends TLS and decides by certificate and protocol; [`session`] is the thin task around `wire`'s
//! pure session; [`source`] is what all sessions send from: one published view, with each delta encoded once for
//! everybody who needs it, and [`blobs`] holds full syncs, compressed once likewise. Sessions read the changelog and write rows of the fleet; no write waits for a session.

mod blobs;
mod listener;
mod session;
mod source;

pub use blobs::compress;
pub use listener::{CONNECTIONS_MAX, Cluster};
pub use source::Sources;
