//! The beginning of a blob in a file of its own: as it came (`incoming-<hash>.part`), or, where what is on disk is to be
//! encrypted, sealed piece by piece (`incoming-<hash>.sealed`; FORMAT.md, "Beside the store"), for it holds every key
//! and secret. Nobody but the owner may read either.
//!
//! A piece is written when the one before has been synced, so that all but the last one are certain to be there.

use super::SYNC_BYTES;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Cursor, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use store::{Encryption, Envelope, Mode, SEALED_EXTRA_BYTES};

const PREFIX: &str = "incoming-";
const PLAIN: &str = ".part";
const SEALED: &str = ".sealed";
const OWNER_ONLY: u32 = 0o600;

/// Where such files are, and whether they are sealed.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) encryption: Encryption,
}

/// Such a file, open.
pub(super) struct Part {
    transfer: u64,
    path: PathBuf,
    file: File,
    envelope: Option<Envelope>,
    /// How much of the blob is in it: whole pieces.
    written: u64,
}

impl Place {
    fn suffix(&self) -> &'static str {
        if self.encryption.mode == Mode::Off { PLAIN } else { SEALED }
    }

    /// The only file, cut to what is certain to have been synced. Those that are not as they would be written now are
    /// removed; of several, which no run leaves, all are.
    pub(super) fn find(&self) -> io::Result<Option<Part>> {
        let (ours, others): (Vec<_>, Vec<_>) =
            files(&self.dir)?.into_iter().partition(|file| file.suffix == self.suffix());
        others.iter().try_for_each(|file| fs::remove_file(&file.path))?;
        if let [Named { transfer: Some(transfer), path, .. }] = ours.as_slice()
            && let Some(part) = Part::reopen(*transfer, path, &self.encryption)?
        {
            return Ok(Some(part));
        }
        ours.iter().try_for_each(|file| fs::remove_file(&file.path))?;
        Ok(None)
    }
}

/// Removes what is left of full syncs in `dir`, in whichever way it was kept.
///
/// # Errors
/// What the operating system says.
pub fn remove_all(dir: &Path) -> io::Result<()> {
    files(dir)?.iter().try_for_each(|file| fs::remove_file(&file.path))
}

/// A file with a name of ours.
struct Named {
    transfer: Option<u64>,
    suffix: &'static str,
    path: PathBuf,
}

fn files(dir: &Path) -> io::Result<Vec<Named>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        let named = [PLAIN, SEALED].into_iter().find_map(|suffix| Some((rest.strip_suffix(suffix)?, suffix)));
        if let Some((hash, suffix)) = named {
            found.push(Named { transfer: u64::from_str_radix(hash, 16).ok(), suffix, path: entry.path() });
        }
    }
    Ok(found)
}

impl Part {
    /// A new one, empty.
    pub(super) fn create(place: &Place, transfer: u64) -> io::Result<Self> {
        let path = place.dir.join(format!("{PREFIX}{transfer:016x}{}", place.suffix()));
        let sealed = place.encryption.mode != Mode::Off;
        let envelope = sealed.then(|| Envelope::new(&place.encryption)).transpose().map_err(io::Error::other)?;
        let begun = || {
            let mut file = open(OpenOptions::new().create(true).truncate(true).write(true), &path)?;
            if let Some(envelope) = &envelope {
                file.write_all(envelope.head())?;
            }
            File::open(&place.dir)?.sync_all()?;
            Ok(file)
        };
        match begun() {
            Ok(file) => Ok(Self { transfer, path, file, envelope, written: 0 }),
            Err(error) => {
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    /// One that an earlier process left; `None` if nothing in it is of use.
    fn reopen(transfer: u64, path: &Path, encryption: &Encryption) -> io::Result<Option<Self>> {
        let mut file = open(OpenOptions::new().read(true).append(true), path)?;
        let length = file.metadata()?.len();
        let (head, step) = layout(encryption.mode != Mode::Off);
        let pieces = length.saturating_sub(head).saturating_sub(1) / step;
        if pieces == 0 {
            return Ok(None);
        }
        let mut envelope = None;
        if encryption.mode != Mode::Off {
            let mut head = [0; Envelope::HEAD_BYTES];
            file.read_exact(&mut head)?;
            envelope = Envelope::of(&head, encryption);
            if envelope.is_none() {
                return Ok(None);
            }
        }
        file.set_len(head + pieces * step)?;
        Ok(Some(Self { transfer, path: path.into(), file, envelope, written: pieces * SYNC_BYTES as u64 }))
    }

    /// Of which blob.
    pub(super) fn transfer(&self) -> u64 {
        self.transfer
    }

    /// How much of the blob is in it.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Writes and syncs whole pieces. After an error the file is of no use any more.
    pub(super) fn append(&mut self, pieces: &[u8]) -> io::Result<()> {
        for (at, piece) in pieces.chunks(SYNC_BYTES).enumerate() {
            match &self.envelope {
                None => self.file.write_all(piece)?,
                Some(envelope) => {
                    let number = self.written / SYNC_BYTES as u64 + at as u64;
                    let sealed = envelope.seal(self.transfer, number, piece).map_err(io::Error::other)?;
                    self.file.write_all(&sealed)?;
                }
            }
        }
        self.file.sync_data()?;
        self.written += pieces.len() as u64;
        Ok(())
    }

    /// What is in it.
    pub(super) fn read(&self) -> io::Result<Box<dyn Read + '_>> {
        let mut file = File::open(&self.path)?;
        let Some(envelope) = &self.envelope else { return Ok(Box::new(file.take(self.written))) };
        file.read_exact(&mut [0; Envelope::HEAD_BYTES])?;
        let pieces = self.written / SYNC_BYTES as u64;
        let (transfer, piece) = (self.transfer, Cursor::new(Vec::new()));
        Ok(Box::new(Opening { file, envelope, transfer, next: 0, pieces, piece }))
    }

    /// Removes the file.
    pub(super) fn remove(self) {
        // One that stays is found and removed by the next process.
        let _ = fs::remove_file(&self.path);
    }

    #[cfg(test)]
    pub(super) fn fails_from_now_on(&mut self) {
        self.file = File::open(&self.path).unwrap();
    }
}

/// Bytes before the first piece, and of each.
fn layout(sealed: bool) -> (u64, u64) {
    let extra = if sealed { SEALED_EXTRA_BYTES } else { 0 };
    (if sealed { Envelope::HEAD_BYTES as u64 } else { 0 }, (SYNC_BYTES + extra) as u64)
}

/// A file of an earlier version may be open to others.
fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.mode(OWNER_ONLY).open(path)?;
    file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
    Ok(file)
}

/// Reads sealed pieces, one in memory.
struct Opening<'a> {
    file: File,
    envelope: &'a Envelope,
    transfer: u64,
    next: u64,
    pieces: u64,
    piece: Cursor<Vec<u8>>,
}

impl Read for Opening<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.piece.read(into)? {
            0 if self.next < self.pieces && !into.is_empty() => {
                let mut sealed = vec![0; SYNC_BYTES + SEALED_EXTRA_BYTES];
                self.file.read_exact(&mut sealed)?;
                let piece = self.envelope.open(self.transfer, self.next, &sealed);
                self.piece = Cursor::new(piece.ok_or(io::ErrorKind::InvalidData)?);
                self.next += 1;
                self.piece.read(into)
            }
            count => Ok(count),
        }
    }
}
