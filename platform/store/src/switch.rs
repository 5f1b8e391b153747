//! From one generation to the next: a replacement of the content is built beside the one in use, and takes its place in one
//! step. Compaction, healing and another encryption end the same way.

use std::sync::Arc;

use crate::archive::Archive;
use crate::build::Builder;
use crate::cipher::{Cipher, What};
use crate::journal::Journal;
use crate::layout::{generation_dir, remove, set_current};
use crate::pending::Pending;
use crate::quarantine;
use crate::store::check_sizes;
use crate::{CommitError, Key, Store};

/// What becomes of the generation before a switch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Before {
    /// It is of no use any more.
    Removed,
    /// Something was wrong with it that somebody may want to look at.
    SetAside,
}

impl Store {
    /// Starts a replacement of the whole content: a new generation beside the present one, which stays in use until
    /// [`Replacement::finish`].
    ///
    /// # Errors
    /// See [`CommitError`].
    pub fn replace(&mut self) -> Result<Replacement<'_>, CommitError> {
        let builder = self.start_builder()?;
        Ok(Replacement { store: self, builder })
    }

    pub(crate) fn start_builder(&mut self) -> Result<Builder, CommitError> {
        self.settle_writing()?;
        self.end_compaction()?;
        let cipher = Cipher::new(&self.options.encryption)?.ok_or(CommitError::Encryption)?;
        let builder = Builder::start(&self.dir, self.next_generation(), cipher)?;
        self.builder = builder.alive();
        Ok(builder)
    }

    /// Makes a finished new generation, which the caller filled, the one in use.
    pub(crate) fn finish_builder(&mut self, builder: Builder, meta: &[u8]) -> Result<(), CommitError> {
        self.take_over(builder, Some(meta.to_vec()))
    }

    /// As [`Store::finish_builder`], also for a content that has no meta yet.
    pub(crate) fn take_over(&mut self, builder: Builder, said: Option<Vec<u8>>) -> Result<(), CommitError> {
        let cipher = builder.cipher().clone();
        let meta = said.as_deref().map(|said| cipher.seal(What::Meta, said.into())).transpose()?;
        let meta = meta.map(|meta| meta.to_vec());
        check_sizes(meta.as_deref().unwrap_or_default(), &[])?;
        self.settle_writing()?;
        self.wait();
        let archive = builder.finish(self.seq + 1, meta)?;
        let next = self.next_generation();
        let dir = generation_dir(&self.dir, next);
        let journal = Journal::open_first(&dir, next).map_err(|e| CommitError::io(&dir, e))?;
        self.switch(journal, archive, Before::Removed)?;
        self.seq = self.root.seq;
        self.meta.clone_from(&self.root.meta);
        (self.said, self.cipher) = (said, cipher);
        self.recent = Pending::default();
        self.reports.renewed();
        Ok(())
    }

    /// Makes the next generation, of which everything is on disk, the one in use; the old one goes.
    pub(crate) fn switch(&mut self, journal: Journal, archive: Archive, before: Before) -> Result<(), CommitError> {
        let next = self.next_generation();
        if let Err(error) = set_current(&self.dir, next) {
            self.unsure = true;
            return Err(CommitError::io(&self.dir, error));
        }
        let old = self.generation_dir();
        (self.generation, self.left_out) = (next, 0);
        self.root = archive.root().clone();
        self.archive = Some(Arc::new(archive));
        self.journal = journal;
        self.turning = false;
        self.frozen = None;
        self.failure = None;
        self.anew = None;
        if self.checkpoint.is_some() {
            // It is about files that nobody needs any more.
            self.give_up_thread();
        }
        self.stuck = false;
        let gone = match before {
            Before::Removed => remove(&old),
            Before::SetAside => quarantine::set_generation_aside(&self.dir, &old),
        };
        if let Err(error) = gone {
            tracing::warn!(%error, "store: the generation before cannot be removed now; the next open will try again");
        }
        Ok(())
    }
}

/// A new content being built beside the present one. Dropping it leaves the present one.
#[derive(Debug)]
pub struct Replacement<'a> {
    store: &'a mut Store,
    builder: Builder,
}

impl Replacement<'_> {
    /// Adds a record; one put before under the same key is replaced. Not durable before [`Replacement::finish`].
    ///
    /// # Errors
    /// See [`CommitError`]. The replacement is of no use any more then, except after `ValueTooLarge`.
    pub fn put(&mut self, key: Key, value: &[u8]) -> Result<(), CommitError> {
        self.builder.put(&key, value)
    }

    /// Makes the new content durable and switches to it in one step: after a crash it is all there, or the old is.
    ///
    /// # Errors
    /// See [`CommitError`]. The old content stays.
    pub fn finish(self, meta: &[u8]) -> Result<(), CommitError> {
        self.store.finish_builder(self.builder, meta)
    }
}
