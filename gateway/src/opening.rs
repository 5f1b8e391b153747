//! Opening the store, whatever the disk does: at the start, and again for as long as it could not be opened.
//!
//! A disk that is full, failing or read-only costs durability and keeps nobody from serving: there may be a file, a
//! bundle or a control plane. What an operator has to settle (a permission, a key, another process) ends the start.

use crate::state::{self, Opened};
use std::path::PathBuf;
use store::OpenError;

/// Where the store is, and how it is opened.
#[derive(Clone)]
pub struct Place {
    /// The store's directory.
    pub dir: PathBuf,
    /// Its reports are those of every store that is opened there.
    pub options: store::Options,
}

/// What came of it.
pub struct Tried {
    /// The store, unless the disk forbids it.
    pub opened: Option<Opened>,
    /// What was wrong with a store that is set aside.
    pub damage: Option<String>,
    /// What the disk said, where there is no store.
    pub trouble: Option<String>,
}

impl Place {
    /// Opens the store. One that fails its checks is set aside, not deleted, and a fresh one takes its place, to be filled
    /// by the control plane or the file.
    ///
    /// # Errors
    /// What an operator has to settle.
    pub fn open(&self) -> Result<Tried, OpenError> {
        let open = || state::open(&self.dir, self.options.clone());
        let (opened, damage) = match open() {
            Err(error) if error.is_corrupt() => {
                tracing::error!(%error, "the store fails its checks; it is set aside and a fresh one is started");
                (store::quarantine(&self.dir).and_then(|()| open()), Some(error.to_string()))
            }
            opened => (opened, None),
        };
        match opened {
            Ok(opened) => Ok(Tried { opened: Some(opened), damage, trouble: None }),
            Err(error) if is_of_the_disk(&error) => {
                Ok(Tried { opened: None, damage, trouble: Some(error.to_string()) })
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether it goes away when there is room, or the disk works again.
fn is_of_the_disk(error: &OpenError) -> bool {
    matches!(error, OpenError::ReadOnly(_) | OpenError::DiskFull(_) | OpenError::Io { .. })
}
