//! The control plane's memory: every configuration change is one transaction here, gets one version, and is durable
//! before anyone hears of it.
//!
//! The [`Changelog`] trait is the seam: the Admin API writes through it, sync sessions read from it. [`Local`] is the
//! implementation on this machine's disk: a single committer thread that takes all waiting transactions at once,
//! judges each against the configuration including those before it, makes them durable with one write to the store
//! and only then publishes the new [`View`]. Readers hold an immutable view and never wait; nothing here knows what a
//! node is, so that no node can hold up a write. On a follower ([`role`]) nobody writes: what the writer sent comes in
//! steps ([`follow`]) that bring their versions along.

mod audience;
mod committer;
#[cfg(test)]
mod damage_tests;
mod draft;
mod follow;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod index;
mod record;
mod role;
#[cfg(test)]
mod tests;
mod view;
mod writes;

pub use audience::Audience;
pub use committer::{Local, OpenError, Opened};
pub use draft::{TOMBSTONES_MAX, TRANSACTION_BYTES_MAX, TRANSACTION_CHANGES_MAX};
pub use follow::{FollowError, Step, Tail, Whole};
pub use role::{Role, Surprise};
pub use view::{BeyondHorizon, Touched, View};

/// A store in memory for the tests of those above.
#[cfg(test)]
pub(crate) fn memory() -> tests::Memory {
    tests::Memory::default()
}

use model::catalog::Conflict;
use model::{Change, Id, Kind};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::watch;

/// The answer to a commit, when it is there.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What is kept of a node: its id, and bytes that are opaque here.
pub type NodeRow = (Id, Vec<u8>);

/// Where configuration is kept, in what order it changed, and who gets to know.
pub trait Changelog: Send + Sync {
    /// Applies a transaction whole or not at all. When the future is ready with [`Committed`], the change is durable
    /// and every later [`Changelog::view`] shows it. Dropping the future does not take the transaction back.
    fn commit(&self, transaction: Transaction) -> Pending<'_, Result<Committed, CommitError>>;

    /// The newest durable configuration. Immutable: hold it as long as needed.
    fn view(&self) -> Arc<View>;

    /// Tells the version of the newest view, each time it changes.
    fn watch(&self) -> watch::Receiver<u64>;

    /// Keeps (or, with `None`, forgets) what is known of a node across restarts. Gives no version and wakes nobody.
    fn note(&self, node: Id, row: Option<Vec<u8>>) -> Pending<'_, Result<(), CommitError>>;

    /// Takes over what the writer sent. When the future is ready with `Ok`, it is durable and every later
    /// [`Changelog::view`] shows it.
    fn follow(&self, step: Step) -> Pending<'_, Result<(), FollowError>>;

    /// Makes this control plane the writer of a new epoch with the content that it has. The new term is at least `term`,
    /// and higher than the one before: see [`wire::succession::promoted`]. Returns the view that was made durable.
    fn promote(&self, term: u32) -> Pending<'_, Result<Arc<View>, CommitError>>;

    /// Why the last commit could not be made durable; `None` when it could.
    fn failure(&self) -> Option<String>;

    /// Has the next piece of what is on disk looked through, and says when to call again; `None` for never.
    fn scrub(&self) -> Pending<'_, Option<Instant>> {
        Box::pin(std::future::ready(None))
    }

    /// What there is to say of the files on disk.
    fn reports(&self) -> store::Reports {
        store::Reports::default()
    }
}

/// Changes that become visible together, as one version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transaction {
    /// What to put and delete. Versions in records are filled in at commit. Where one entity occurs twice the later
    /// change counts. At most [`TRANSACTION_CHANGES_MAX`], with bodies of at most [`TRANSACTION_BYTES_MAX`] together.
    pub changes: Vec<Change>,
    /// What must still be so for the changes to make sense.
    pub preconditions: Vec<Precondition>,
}

impl Transaction {
    /// The bytes of all bodies together.
    #[must_use]
    pub fn body_bytes(&self) -> usize {
        self.changes.iter().map(|change| if let Change::Put(record) = change { record.body.len() } else { 0 }).sum()
    }
}

/// What a transaction relies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// The entity was last changed at this version, or does not exist.
    Entity(Kind, Id, Option<u64>),
    /// Nothing at all has changed since this version.
    Head(u64),
}

/// A transaction that is durable and visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// The version it got; the version before it where it changed nothing.
    pub version: u64,
    /// How many entities it created, changed or deleted.
    pub changed: usize,
}

/// Why a transaction was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The transaction contradicts the configuration: a unique value taken, a reference to nothing.
    #[error("the change is refused: {}", .0.first().map_or_else(String::new, ToString::to_string))]
    Refused(Vec<Conflict>),
    /// What it relied on has changed since.
    #[error("the configuration has changed meanwhile")]
    Outdated(Precondition),
    /// It has more changes than one transaction may have.
    #[error("a transaction of {changes} changes is over the limit of {TRANSACTION_CHANGES_MAX}")]
    TooManyChanges {
        /// How many it has.
        changes: usize,
    },
    /// Its bodies have more bytes than one transaction may have.
    #[error("a transaction of {bytes} bytes is over the limit of {TRANSACTION_BYTES_MAX}")]
    TooManyBytes {
        /// How many they have.
        bytes: usize,
    },
    /// This control plane follows another one.
    #[error("this control plane follows another one and takes no changes")]
    Follower,
    /// The store could not make it durable; nothing was changed, and it may be tried again.
    #[error(
        "the store could not write: {0}; nothing was changed: make room on the disk of \"prefix\", or look after it, and try again"
    )]
    Store(String),
    /// The changelog is shutting down.
    #[error("the control plane is shutting down")]
    Closed,
}
