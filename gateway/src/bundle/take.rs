//! Takes a checked bundle: whether it may replace what the store holds, and how it gets there.

use super::Checked;
use crate::snapshot::{Loader, Rejection, Snapshot};
use crate::state::{self, Meta, Source};
use model::Record;
use std::io;
use store::{CommitError, Store};
use wire::bundle::Header;
use wire::delta::UnknownKind;
use wire::full::{BlobError, Unpack};
use wire::succession::replaces;

/// What is to become of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes forward, or there is nothing that it could take away.
    Take,
    /// The store holds just that.
    Held,
    /// It would take something away.
    Refuse(Refusal),
}

/// Why a bundle does not replace what the store holds unless one insists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is of the same epoch and older.
    #[error("it is older: version {offered}, the store holds version {held} of the same epoch")]
    Older {
        /// The bundle's.
        offered: u64,
        /// The store's.
        held: u64,
    },
    /// It is of the same epoch and version and yet another content.
    #[error(
        "it differs from what the store holds at the same version {0}: one of them is not what the control plane had"
    )]
    Differs(u64),
    /// It is of another epoch that did not take the place of the store's.
    #[error(
        "it is of another epoch ({offered:016x}, the store's is {held:016x}), and which of them is newer cannot be told"
    )]
    Epoch {
        /// The bundle's.
        offered: u64,
        /// The store's.
        held: u64,
    },
    /// It is of an epoch whose place the store's has taken.
    #[error("it is of epoch {offered:016x}, which the store's, {held:016x}, has replaced")]
    Replaced {
        /// The bundle's.
        offered: u64,
        /// The store's.
        held: u64,
    },
}

/// Whether a bundle may replace what a store holds. What a declarative file brought may always be replaced, as a control
/// plane would.
#[must_use]
pub fn judge(held: Option<&Meta>, header: &Header) -> Verdict {
    let Some(held) = held.filter(|held| held.source == Source::ControlPlane) else { return Verdict::Take };
    let (offered_term, held_term) = ((header.term, header.epoch), (held.term, held.epoch));
    if header.epoch == held.epoch {
        return if header.version > held.version {
            Verdict::Take
        } else if header.version < held.version {
            Verdict::Refuse(Refusal::Older { offered: header.version, held: held.version })
        } else if (header.root, header.count) == (held.root, held.count) {
            Verdict::Held
        } else {
            Verdict::Refuse(Refusal::Differs(held.version))
        };
    }
    let (offered, held) = (header.epoch, held.epoch);
    if replaces(offered_term, held_term) {
        Verdict::Take
    } else if replaces(held_term, offered_term) {
        Verdict::Refuse(Refusal::Replaced { offered, held })
    } else {
        Verdict::Refuse(Refusal::Epoch { offered, held })
    }
}

/// Why a checked bundle cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// It cannot be read any longer.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Its content is not what its head says, although it was signed.
    #[error("it is damaged: {0}")]
    Blob(#[from] BlobError),
    /// It changed while it was read.
    #[error("it changed while it was read")]
    Changed,
    /// It holds what this version of the program does not know.
    #[error("this version cannot serve it: {0}")]
    Kind(#[from] UnknownKind),
    /// It does not compile in this version of the program.
    #[error("it does not compile: {0}")]
    Rejected(#[from] Rejection),
    /// The store does not take it; it holds what it held before.
    #[error("the store does not take it: {0}")]
    Store(#[from] CommitError),
}

impl Checked {
    /// Compiles the content, handing on each record as it comes.
    ///
    /// # Errors
    /// Why it cannot be served, or what `put` said.
    pub fn load(&mut self, put: &mut dyn FnMut(&Record) -> Result<(), CommitError>) -> Result<Snapshot, TakeError> {
        let (begin, sha256) = (self.header.begin(), self.header.sha256);
        let (epoch, term, version) = (self.header.epoch, self.header.term, self.header.version);
        let mut blob = self.blob()?;
        let mut loader = Loader::new(epoch, version);
        let mut entities = Unpack::new(begin, &mut blob)?;
        while let Some(entity) = entities.next()? {
            let record = entity.into_record()?;
            loader.put(&record)?;
            put(&record)?;
        }
        drop(entities);
        io::copy(&mut blob, &mut io::sink())?;
        if blob.hash.finish() != sha256 {
            return Err(TakeError::Changed);
        }
        let mut snapshot = loader.finish()?;
        snapshot.term = term;
        Ok(snapshot)
    }

    /// Puts the content in the place of what the store holds, durably, in one step. After an error the store holds what
    /// it held.
    ///
    /// # Errors
    /// See [`TakeError`].
    pub fn take(&mut self, store: &mut Store) -> Result<Snapshot, TakeError> {
        let mut replacement = store.replace()?;
        let snapshot =
            self.load(&mut |record| replacement.put(state::key(record.kind, record.id), &state::value(record)))?;
        // As from a control plane: a declarative file does not replace it, and a control plane goes on from there.
        replacement.finish(&Meta::of(&snapshot, Source::ControlPlane).to_bytes())?;
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Id;
    use wire::bundle::Writer;

    fn header(epoch: u64, term: u32, version: u64, root: u64) -> Header {
        Header {
            cluster: Id(1),
            epoch,
            term,
            version,
            root,
            count: 3,
            audience: 0,
            codec: 2,
            plain: 100,
            bytes: 100,
            sha256: [0; 32],
            writer: Writer::ControlPlane,
            software: String::new(),
            made_s: 0,
        }
    }

    fn meta(epoch: u64, term: u32, version: u64, source: Source) -> Meta {
        Meta { epoch, version, root: 9, count: 3, source, term }
    }

    #[test]
    fn only_what_goes_forward_is_taken_without_insistence() {
        let held = meta(7, 0, 5, Source::ControlPlane);
        let verdict = |header: Header| judge(Some(&held), &header);
        assert_eq!(verdict(header(7, 0, 6, 1)), Verdict::Take);
        assert_eq!(verdict(header(7, 0, 5, 9)), Verdict::Held);
        assert_eq!(verdict(header(7, 0, 5, 8)), Verdict::Refuse(Refusal::Differs(5)));
        assert_eq!(verdict(header(7, 0, 4, 9)), Verdict::Refuse(Refusal::Older { offered: 4, held: 5 }));
        assert_eq!(verdict(header(8, 0, 99, 9)), Verdict::Refuse(Refusal::Epoch { offered: 8, held: 7 }));
    }

    #[test]
    fn of_two_epochs_the_one_that_replaced_the_other_is_the_newer() {
        let held = meta(7, 1, 5, Source::ControlPlane);
        assert_eq!(judge(Some(&held), &header(3, 2, 1, 0)), Verdict::Take);
        let replaced = Verdict::Refuse(Refusal::Replaced { offered: 9, held: 7 });
        assert_eq!(judge(Some(&held), &header(9, 0, 50, 0)), replaced);
    }

    #[test]
    fn nothing_and_what_a_file_brought_are_replaced_by_any() {
        assert_eq!(judge(None, &header(7, 0, 1, 0)), Verdict::Take);
        let held = meta(0, 0, 1, Source::File { hash: 5 });
        assert_eq!(judge(Some(&held), &header(7, 0, 1, 0)), Verdict::Take);
    }
}
