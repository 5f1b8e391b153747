//! Builds a new generation beside the present one. Nobody uses it before its marker is written, last of all.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use crate::archive::Archive;
use crate::cipher::{Cipher, What};
use crate::journal::Journal;
use crate::layout::{generation_dir, remove, set_provisioned, sync_dir, sync_tree};
use crate::run::Home;
use crate::seal::Root;
use crate::sorter::Sorter;
use crate::tree::{Tree, TreeError};
use crate::{CommitError, Key, Mode, VALUE_BYTES_MAX};

/// After so many bytes sled is closed and opened again, for it keeps what it wrote in memory.
const REOPEN_BYTES: u64 = 1024 * 1024;

/// A generation being built. Dropped before its end, it is removed.
pub(crate) struct Builder {
    dir: PathBuf,
    generation: u64,
    cipher: Cipher,
    tree: Option<Tree>,
    archive: Sorter,
    root: Root,
    written: u64,
    finished: bool,
    alive: Arc<()>,
}

impl TreeError {
    /// The same fact as an error of a commit.
    pub(crate) fn into_commit(self, file: &Path) -> CommitError {
        match self {
            Self::Corrupt(what) => CommitError::Corrupt(what),
            Self::Io(error) => CommitError::io(file, error),
        }
    }
}

impl Builder {
    /// Begins an empty generation in the store's directory, in the place of an unfinished one.
    pub(crate) fn start(store_dir: &Path, generation: u64, cipher: Cipher) -> Result<Builder, CommitError> {
        let dir = generation_dir(store_dir, generation);
        let made = remove(&dir).and_then(|()| fs::create_dir(&dir)).and_then(|()| cipher.store(&dir));
        made.map_err(|e| CommitError::io(&dir, e))?;
        let mut builder = Builder {
            archive: Sorter::new(Home::new(&dir, generation, &cipher)),
            dir,
            generation,
            cipher,
            tree: None,
            root: Root::default(),
            written: 0,
            finished: false,
            alive: Arc::default(),
        };
        let tree = Tree::create(&builder.dir, generation).map_err(|e| e.into_commit(&builder.dir))?;
        builder.tree = Some(tree);
        Ok(builder)
    }

    /// A token that lives as long as this builder.
    pub(crate) fn alive(&self) -> Weak<()> {
        Arc::downgrade(&self.alive)
    }

    /// What seals the values of this generation.
    pub(crate) fn cipher(&self) -> &Cipher {
        &self.cipher
    }

    /// Adds a record; one with the same key is replaced.
    pub(crate) fn put(&mut self, key: &Key, value: &[u8]) -> Result<(), CommitError> {
        if self.cipher.mode() == Mode::Off {
            return self.put_sealed(key, value);
        }
        let sealed = self.cipher.seal(What::Record(key), value.into())?;
        self.put_sealed(key, &sealed)
    }

    /// Adds a record whose value is as it is to be kept.
    pub(crate) fn put_sealed(&mut self, key: &Key, value: &[u8]) -> Result<(), CommitError> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(CommitError::ValueTooLarge(value.len()));
        }
        self.try_put(key, value).map_err(|e| e.into_commit(&self.dir))
    }

    fn try_put(&mut self, key: &Key, value: &[u8]) -> Result<(), TreeError> {
        let tree = match self.tree.take() {
            Some(tree) if self.written < REOPEN_BYTES => tree,
            Some(tree) => {
                tree.close()?;
                self.written = 0;
                Tree::open(&self.dir, self.generation)?
            }
            None => Tree::open(&self.dir, self.generation)?,
        };
        let done = tree.put(&mut self.root, key, value).and_then(|()| self.archive.put(key, value));
        self.tree = Some(tree);
        self.written += value.len() as u64;
        done
    }

    /// Closes sled until the next record, to have its memory back.
    pub(crate) fn rest(&mut self) -> Result<(), CommitError> {
        self.written = 0;
        self.tree.take().map_or(Ok(()), Tree::close).map_err(|e| e.into_commit(&self.dir))
    }

    /// Completes the generation as the content of commit `seq` and makes all of it durable, the marker last.
    pub(crate) fn finish(mut self, seq: u64, meta: Option<Vec<u8>>) -> Result<Archive, CommitError> {
        self.root.seq = seq;
        self.root.meta = meta;
        let archive = self.try_finish().map_err(|e| e.into_commit(&self.dir))?;
        self.finished = true;
        Ok(archive)
    }

    fn try_finish(&mut self) -> Result<Archive, TreeError> {
        let tree = match self.tree.take() {
            Some(tree) => tree,
            None => Tree::open(&self.dir, self.generation)?,
        };
        tree.checkpoint(&mut self.root, std::iter::empty())?;
        tree.close()?;
        let next = Sorter::new(Home::new(&self.dir, self.generation, &self.cipher));
        let archive = std::mem::replace(&mut self.archive, next);
        let archive = archive.finish(&self.root)?;
        Journal::create(&self.dir, self.generation, self.root.seq)?;
        sync_tree(&self.dir)?;
        set_provisioned(&self.dir, self.generation)?;
        if let Some(parent) = self.dir.parent() {
            sync_dir(parent)?;
        }
        Ok(archive)
    }
}

impl Drop for Builder {
    fn drop(&mut self) {
        if !self.finished {
            drop(self.tree.take());
            // What cannot be removed now is removed when a generation of this number is built, or at the next open.
            let _ = remove(&self.dir);
        }
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("dir", &self.dir).field("records", &self.root.records).finish()
    }
}
