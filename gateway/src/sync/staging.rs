//! What has come of a full sync's blob, kept over cuts and restarts, so that the next connection goes on where the last
//! one ended. The blob's name is the digest of its bytes, and so is the file's: what is here is the beginning of that
//! blob or is found out when it is complete. The file is sealed where the store is ([`part`]).
//!
//! Bytes are gathered in memory and written and synced [`SYNC_BYTES`] at a time, so that a file of any length but its last
//! [`SYNC_BYTES`] survives a power cut. A blob smaller than that never touches the disk. A disk that takes nothing
//! costs only the survival of a restart, and a bound on the size: what cannot be written stays in memory.

mod part;

pub use part::remove_all;

use part::{Part, Place};
use std::io::{self, Cursor, Read};
use std::path::PathBuf;
use store::Encryption;
use wire::message::{FullBegin, Partial};

/// How much is written and synced at once, and the most that a crash may cost.
pub const SYNC_BYTES: usize = 64 * 1024;
/// The most bytes of a blob that are kept in memory where there is no disk for them.
pub const MEMORY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// At most one blob, or its beginning.
pub struct Staging {
    place: Option<Place>,
    held: Option<Held>,
}

struct Held {
    transfer: u64,
    part: Option<Part>,
    /// Bytes that follow those of the file.
    tail: Vec<u8>,
}

/// The disk takes nothing and the blob is too large for memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no room for a full sync: the disk takes nothing, and it is larger than {MEMORY_BYTES_MAX} bytes")]
pub struct NoRoom;

impl Staging {
    /// Finds what an earlier process left in `dir`, and removes what is not kept as `encryption` says, or cannot be opened
    /// any more.
    #[must_use]
    pub fn open(dir: PathBuf, encryption: Encryption) -> Self {
        let place = Place { dir, encryption };
        let part = place.find().unwrap_or_else(|error| {
            let dir = place.dir.display();
            tracing::warn!(%dir, %error, "what was left of a full sync cannot be read or removed; it starts over");
            None
        });
        let held = part.map(|part| Held { transfer: part.transfer(), part: Some(part), tail: Vec::new() });
        Self { place: Some(place), held }
    }

    /// What is here, for hello.
    #[must_use]
    pub fn partial(&self) -> Option<Partial> {
        self.held.as_ref().map(|held| Partial { transfer: held.transfer, offset: held.length() })
    }

    /// A blob is about to come; says how much of it is here already. Any other one is dropped.
    pub fn begin(&mut self, begin: &FullBegin) -> u64 {
        let fits = |held: &Held| held.transfer == begin.transfer && held.length() <= begin.bytes;
        if !self.held.as_ref().is_some_and(fits) {
            self.discard();
            self.held = Some(Held { transfer: begin.transfer, part: None, tail: Vec::new() });
        }
        self.held.as_ref().map_or(0, Held::length)
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`NoRoom`]; what was here is gone.
    pub async fn push(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        let Some(held) = &mut self.held else { return Ok(()) };
        held.tail.extend_from_slice(bytes);
        if held.tail.len() < SYNC_BYTES {
            return Ok(());
        }
        if let Some(place) = self.place.clone()
            && let Err(error) = held.write(place).await
        {
            tracing::warn!(%error, "a full sync is gathered in memory: it cannot be written");
            self.place = None;
        }
        if held.tail.len() > MEMORY_BYTES_MAX {
            self.discard();
            return Err(NoRoom);
        }
        Ok(())
    }

    /// Everything that is here, from the first byte on.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self) -> io::Result<impl Read + '_> {
        let held = self.held.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let part: Box<dyn Read> = match &held.part {
            Some(part) => part.read()?,
            None => Box::new(io::empty()),
        };
        Ok(part.chain(Cursor::new(&held.tail)))
    }

    /// Forgets what is here: it is applied, refused, damaged or superseded.
    pub fn discard(&mut self) {
        self.held.take().and_then(|held| held.part).into_iter().for_each(Part::remove);
    }
}

impl Held {
    fn length(&self) -> u64 {
        self.part.as_ref().map_or(0, Part::written) + self.tail.len() as u64
    }

    /// Moves whole pieces of the tail to the file. On failure all of it is in the tail, and the file is gone.
    async fn write(&mut self, place: Place) -> io::Result<()> {
        let (part, transfer, tail) = (self.part.take(), self.transfer, std::mem::take(&mut self.tail));
        let writing = tokio::task::spawn_blocking(move || append(part, &place, transfer, tail));
        let (part, tail, result) = writing.await.map_err(io::Error::other)?;
        (self.part, self.tail) = (part, tail);
        result
    }
}

fn append(
    part: Option<Part>,
    place: &Place,
    transfer: u64,
    mut tail: Vec<u8>,
) -> (Option<Part>, Vec<u8>, io::Result<()>) {
    let mut part = match part.map_or_else(|| Part::create(place, transfer), Ok) {
        Ok(part) => part,
        Err(error) => return (None, tail, Err(error)),
    };
    let pieces = tail.len() / SYNC_BYTES * SYNC_BYTES;
    match part.append(tail.get(..pieces).unwrap_or_default()) {
        Ok(()) => {
            tail.drain(..pieces);
            (Some(part), tail, Ok(()))
        }
        Err(error) => {
            let all = taken_back(&part, &tail);
            part.remove();
            (None, all, Err(error))
        }
    }
}

/// What the file has, and then the tail. What cannot be read any more is found out by the digest of the whole, and what is
/// too much for memory is not read.
fn taken_back(part: &Part, tail: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    let read = part.read().and_then(|file| file.take(MEMORY_BYTES_MAX as u64 + 1).read_to_end(&mut all));
    if let Err(error) = read {
        tracing::warn!(%error, "what was written of a full sync cannot be read back; it will start over");
    }
    all.extend_from_slice(tail);
    all
}

#[cfg(test)]
mod tests;
