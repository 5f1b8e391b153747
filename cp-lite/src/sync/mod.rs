//! The cluster port: who may speak on it, and a session per node that carries what changed.
//!
//! [`listener`] accepts, ends TLS and decides by certificate and protocol; [`session`] is the thin task around `wire`'s
//! pure session; [`source`] is what all sessions send from: one published view, with each delta encoded once for
//! everybody who needs it, and [`blobs`] holds full syncs, compressed once likewise, which rest on a [`shelf`]; [`bases`]
//! are the bodies that patches are made against, [`packer`] packs them, [`sketches`] what nodes find out by what they lack.
//! [`bundle`] signs full syncs for those who have no link. [`in_use`] knows what the configuration needs
//! of nodes, and [`told`] says what they lack. [`crowd`] knows who is connected, [`balance`] and [`admission`] decide who
//! goes elsewhere and who has to wait. Sessions read the changelog and write rows of the fleet; no write waits for a
//! session. [`follow`] is the other end: how this control plane gets its configuration where another one is the writer.

pub mod admission;
pub mod balance;
mod bases;
mod blobs;
mod bundle;
mod crowd;
pub mod follow;
mod in_use;
mod listener;
mod packer;
mod session;
mod shelf;
mod sketches;
mod source;
mod told;

pub use blobs::compress;
pub use bundle::{Bundle, BundleFailure, Bundles};
pub use listener::{CONNECTIONS_MAX, Cluster};
pub use source::Sources;
