//! What can go wrong, one variant per fact, named so that a reader knows whose fault it was.

use std::io;
use std::path::PathBuf;

/// Why a store could not be opened. Whatever was handed to `load` before must be discarded.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The path exists and is no directory.
    #[error("{0} is not a directory")]
    NotADirectory(PathBuf),
    /// The operating system forbids it.
    #[error("no permission for {0}")]
    Permission(PathBuf),
    /// Another process has the store open.
    #[error("{0} is in use by another process")]
    Locked(PathBuf),
    /// The content fails its checks. [`crate::quarantine`] moves it aside so that a fresh store can be opened.
    #[error("corrupt store: {what} in {file}")]
    Corrupt {
        /// The file or directory concerned.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The content is encrypted and no secret was given. Nothing was touched.
    #[error("the store is encrypted, and there is no key to open {0} with")]
    NoKey(PathBuf),
    /// The content is encrypted with another secret. Nothing was touched.
    #[error(
        "the store is encrypted with another key: {0} does not open with this one \
         (declarative_config_encryption_key_former names the one before); nothing was changed"
    )]
    WrongKey(PathBuf),
    /// Written by a newer major version of the format; nothing was touched.
    #[error("{file} has format {found}, this program reads up to {known}")]
    NewerFormat {
        /// The file that says so.
        file: PathBuf,
        /// The format found.
        found: u32,
        /// The newest format this program reads.
        known: u32,
    },
    /// No space left, and the reserve was not enough.
    #[error("no space left on the device of {0}")]
    DiskFull(PathBuf),
    /// The file system is mounted read-only. Nothing is wrong with the content as far as is known.
    #[error("the file system of {0} is read-only")]
    ReadOnly(PathBuf),
    /// Any other failure of the operating system.
    #[error("{file}: {error}")]
    Io {
        /// The file or directory concerned.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Why a commit or a replacement is not known to be durable. The store stays usable: nothing of it was applied, and the
/// same or another commit may be tried. (After a crash, a commit that failed may turn out to have reached the disk.)
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A value is larger than [`crate::VALUE_BYTES_MAX`].
    #[error("a value of {0} bytes is larger than the limit of {max}", max = crate::VALUE_BYTES_MAX)]
    ValueTooLarge(usize),
    /// The meta bytes are longer than [`crate::META_BYTES_MAX`].
    #[error("{0} bytes of meta are more than the limit of {max}", max = crate::META_BYTES_MAX)]
    MetaTooLarge(usize),
    /// The commit is larger than [`crate::COMMIT_BYTES_MAX`]; build a new generation with `replace` instead.
    #[error("a commit of {0} bytes is larger than the limit of {max}; replace the content instead", max = crate::COMMIT_BYTES_MAX)]
    CommitTooLarge(u64),
    /// No space left on the device.
    #[error("no space left on the device")]
    DiskFull,
    /// The file system is read-only.
    #[error("the file system is read-only")]
    ReadOnly,
    /// Both journals are full because the checkpoint before them keeps failing.
    #[error("the journals are full and the checkpoint fails: {0}")]
    Checkpoint(String),
    /// The content fails its checks.
    #[error("corrupt store: {0}")]
    Corrupt(String),
    /// It cannot be encrypted: the system gives no random bytes, or there is no secret.
    #[error("cannot encrypt what is to be stored")]
    Encryption,
    /// Any other failure of the operating system.
    #[error("{file}: {error}")]
    Io {
        /// The file or directory concerned.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The mailbox of the store's thread is full.
    #[error("the store is busy")]
    Busy,
    /// Another replacement was started after this one.
    #[error("another replacement was started after this one")]
    Superseded,
    /// The store's thread panicked or missed its deadline and was given up; open the store again.
    #[error("the store's thread was abandoned: {0}")]
    Abandoned(String),
}

impl CommitError {
    pub(crate) fn io(file: impl Into<PathBuf>, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull,
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly,
            _ => Self::Io { file: file.into(), error },
        }
    }
}

impl OpenError {
    pub(crate) fn io(file: impl Into<PathBuf>, error: io::Error) -> Self {
        let file = file.into();
        match error.kind() {
            io::ErrorKind::NotADirectory => Self::NotADirectory(file),
            io::ErrorKind::PermissionDenied => Self::Permission(file),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull(file),
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly(file),
            _ => Self::Io { file, error },
        }
    }

    /// The same fact as an error of opening.
    pub(crate) fn of_writing(dir: &std::path::Path, error: CommitError) -> Self {
        match error {
            CommitError::DiskFull => Self::DiskFull(dir.into()),
            CommitError::ReadOnly => Self::ReadOnly(dir.into()),
            CommitError::Io { file, error } => Self::io(file, error),
            other => Self::corrupt(dir, other.to_string()),
        }
    }

    pub(crate) fn corrupt(file: impl Into<PathBuf>, what: impl Into<String>) -> Self {
        Self::Corrupt { file: file.into(), what: what.into() }
    }

    /// Whether the content itself is at fault, so that [`crate::quarantine`] and a full sync heal it.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt { .. })
    }
}
