//! How a store is to behave, and what it says about itself.

use crate::cipher::{Encryption, Mode};
use crate::report::{Progress, Reports};
use crate::scrub::Pace;

/// How a store behaves. `Options::default()` is right for a node.
#[derive(Clone, Debug)]
pub struct Options {
    /// A checkpoint is due after so many commits even if the journal is not full.
    pub checkpoint_commits: u32,
    /// Files of a checkpoint are written anew when they exceed two and a half times what lives in them, plus so many
    /// bytes. sled's segments have half a MiB, so it takes some until there is anything to gain.
    pub compaction_floor: u64,
    /// Whether and how the content is encrypted.
    pub encryption: Encryption,
    /// Whether an older content that is whole is better than none where the newest fails its checks. For those only who can
    /// have again what is lost, and who look at [`Store::reports`].
    pub salvage: bool,
    /// Who hears how far a long opening has come.
    pub progress: Progress,
    /// How fast [`crate::Store::scrub`] goes.
    pub pace: Pace,
    /// Where the store says what was wrong with its files: clones of these options share it.
    pub reports: Reports,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            checkpoint_commits: 4096,
            compaction_floor: 8 * 1024 * 1024,
            encryption: Encryption::default(),
            salvage: false,
            progress: Progress::default(),
            pace: Pace::default(),
            reports: Reports::default(),
        }
    }
}

/// Whether the store keeps its promises.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// All is well.
    Good,
    /// Commits are durable, but checkpoints fail; when the journals are full, commits will fail too.
    CheckpointFails(String),
    /// The file system is read-only: what is there is served, and commits fail until that changes.
    ReadOnly,
}

/// What the store says about itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Info {
    /// The number of the generation in use; a replacement makes the next one.
    pub generation: u64,
    /// The number of commits that this content has seen.
    pub seq: u64,
    /// Bytes of frames in the journal being written.
    pub journal_bytes: u64,
    /// Records in the last checkpoint.
    pub records: u64,
    /// Records changed since the last checkpoint.
    pub pending: u64,
    /// Bytes of the archive; 0 where there is none.
    pub archive_bytes: u64,
    /// Bytes of all files under the directory, a quarantined store included.
    pub disk_bytes: u64,
    /// How the content is encrypted.
    pub encryption: Mode,
    /// Whether all is well.
    pub state: State,
}
