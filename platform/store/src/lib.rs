//! Keeps a node's configuration through restarts, power cuts and rotten disks.
//!
//! The one idea: a small, preallocated, checksummed journal of our own *acknowledges* (append, fdatasync), and sled
//! holds the *checkpoint*. No guarantee rests on sled: its content is sealed record by record and as a whole, and the
//! journal knows how far it must have come. Keys and values are opaque; who knows what they mean is above this crate.
//! `FORMAT.md` describes every byte. [`Store`] blocks; [`Thread`] puts it on a thread of its own.

mod archive;
mod build;
mod check;
mod checkpoint;
mod cipher;
mod compact;
mod error;
mod fault;
mod frame;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod generation;
mod heal;
mod journal;
mod layout;
mod load;
mod options;
mod peek;
mod pending;
mod quarantine;
mod replay;
mod report;
mod run;
mod salvage;
mod scrub;
mod seal;
mod sled_thread;
mod sorter;
mod spill;
mod store;
mod switch;
mod thread;
mod tree;

pub use cipher::{Encryption, Envelope, Mode, SEALED_EXTRA_BYTES, Secret};
pub use error::{CommitError, OpenError};
pub use options::{Info, Options, State};
pub use quarantine::{quarantine, wipe};
pub use report::{Passes, Progress, Report, Reports};
pub use scrub::Pace;
pub use store::Store;
pub use switch::Replacement;
pub use thread::{Deadlines, Thread, ThreadReplacement};

use std::sync::Arc;

/// The longest value, in bytes. Inside, values are split so that sled never sees more than 4 KiB in one piece.
pub const VALUE_BYTES_MAX: usize = 512 * 1024;
/// The longest meta of a commit, in bytes.
pub const META_BYTES_MAX: usize = 4 * 1024;
/// The largest commit, in bytes of keys, values and meta; anything larger is a replacement.
pub const COMMIT_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The name of a record. All three parts are opaque to the store, which orders records by them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Key {
    /// A name space of the caller's.
    pub table: u8,
    /// The kind of the record.
    pub kind: u8,
    /// Its identity.
    pub id: [u8; 16],
}

/// One record put (some value) or deleted (none). Deleting what is not there is allowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Which record.
    pub key: Key,
    /// Its new value, of at most [`VALUE_BYTES_MAX`] bytes; `None` deletes it.
    pub value: Option<Arc<[u8]>>,
}
