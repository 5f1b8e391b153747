//! The two journals of a generation: fixed-size files written in place, used in turn.
//!
//! Each use has a serial number, one more than the other file's, and a base: the commit on which its first frame
//! follows. The base is the witness: a journal is reused only after everything up to the *other* one's base is safely
//! in the checkpoint, so a checkpoint older than that has been rolled back by something.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::OpenError;
use crate::fault::{point, read_point};
use crate::frame::{Content, Frame, Place, SECTOR};
use crate::layout::{preallocate, sync_data};
use crate::seal::{Purpose, hasher, take, take_number, take_u32, take_u64};
use crate::spill;

/// The size of a journal file, in bytes.
pub(crate) const JOURNAL_BYTES: u64 = 512 * 1024;
/// Where frames begin.
pub(crate) const FRAMES_START: u64 = 8 * 1024;
/// Where the two copies of the header lie: in different blocks of the file system.
const HEADER_OFFSETS: [u64; 2] = [0, 4096];
const HEADER_BYTES: usize = 48;
const MAGIC: [u8; 8] = *b"EGjrnl1\n";
const FORMAT: u32 = 1;
/// The serial number of the first journal of a generation; the other file starts as its empty predecessor.
const FIRST_SERIAL: u64 = 2;

/// One use of a journal file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Header {
    generation: u64,
    serial: u64,
    base: u64,
}

impl Header {
    fn encode(&self) -> [u8; SECTOR] {
        let mut bytes = [0; SECTOR];
        let mut fields = Vec::with_capacity(HEADER_BYTES);
        fields.extend_from_slice(&MAGIC);
        fields.extend_from_slice(&FORMAT.to_le_bytes());
        fields.extend_from_slice(&[0; 4]);
        for number in [self.generation, self.serial, self.base] {
            fields.extend_from_slice(&number.to_le_bytes());
        }
        fields.extend_from_slice(&Self::hash(&fields).to_le_bytes());
        for (to, from) in bytes.iter_mut().zip(fields) {
            *to = from;
        }
        bytes
    }

    fn decode(sector: &[u8]) -> Option<Header> {
        let head = sector.get(..HEADER_BYTES)?;
        let mut fields = head;
        if take(&mut fields, 8)? != MAGIC || take_u32(&mut fields)? != FORMAT {
            return None;
        }
        take(&mut fields, 4)?;
        let header = Header {
            generation: take_number(&mut fields)?,
            serial: take_number(&mut fields)?,
            base: take_number(&mut fields)?,
        };
        (take_u64(&mut fields)? == Self::hash(head.get(..HEADER_BYTES - 8)?)).then_some(header)
    }

    fn hash(fields: &[u8]) -> u64 {
        let mut hasher = hasher(Purpose::Header, 0, 0);
        hasher.update(fields);
        hasher.digest()
    }
}

/// The serial of a header with these fields and a right hash, if it is one.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_header(fields: &[u8]) -> Option<u64> {
    let fields = fields.get(..HEADER_BYTES - 8)?;
    let sector = [fields, &Header::hash(fields).to_le_bytes()].concat();
    let header = Header::decode(&sector)?;
    assert_eq!(Header::decode(&header.encode()), Some(header));
    Some(header.serial)
}

/// The sector of a header.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_header_bytes(generation: u64, serial: u64, base: u64) -> [u8; SECTOR] {
    Header { generation, serial, base }.encode()
}

/// A journal that is being written.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
    generation: u64,
    serial: u64,
    offset: u64,
}

/// A journal as found on disk.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) serial: u64,
    pub(crate) base: u64,
    /// The whole frames, in order, each following on the one before.
    pub(crate) frames: Vec<Frame>,
    /// Where the next frame goes.
    end: u64,
}

impl Found {
    /// The last commit in it.
    pub(crate) fn last(&self) -> u64 {
        self.frames.last().map_or(self.base, |frame| frame.seq)
    }
}

fn path(generation_dir: &Path, serial: u64) -> PathBuf {
    generation_dir.join(if serial.is_multiple_of(2) { "j0" } else { "j1" })
}

impl Journal {
    /// Creates both files of a new generation whose content is that of commit `base`.
    pub(crate) fn create(generation_dir: &Path, generation: u64, base: u64) -> io::Result<()> {
        for serial in [FIRST_SERIAL - 1, FIRST_SERIAL] {
            let file = preallocate(&path(generation_dir, serial), JOURNAL_BYTES)?;
            let header = Header { generation, serial, base }.encode();
            for offset in HEADER_OFFSETS {
                file.write_all_at(&header, offset)?;
            }
            file.sync_all()?;
        }
        Ok(())
    }

    /// Opens the newer journal of a generation to append to it.
    pub(crate) fn open(generation_dir: &Path, generation: u64, found: &Found, writable: bool) -> io::Result<Journal> {
        let path = path(generation_dir, found.serial);
        let file = OpenOptions::new().read(true).write(writable).open(&path)?;
        Ok(Journal { file, path, generation, serial: found.serial, offset: found.end })
    }

    /// Opens the first journal of a generation just created.
    pub(crate) fn open_first(generation_dir: &Path, generation: u64) -> io::Result<Journal> {
        let path = path(generation_dir, FIRST_SERIAL);
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        Ok(Journal { file, path, generation, serial: FIRST_SERIAL, offset: FRAMES_START })
    }

    /// Starts the other file as the next journal, after commit `base`. Its old content must be in the checkpoint.
    ///
    /// Both copies of the header are safe, one after the other, before any frame is written: a cut leaves one of them.
    pub(crate) fn next(&self, generation_dir: &Path, base: u64) -> io::Result<Journal> {
        let header = Header { generation: self.generation, serial: self.serial + 1, base };
        let path = path(generation_dir, header.serial);
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        for offset in HEADER_OFFSETS {
            point(&path)?;
            file.write_all_at(&header.encode(), offset)?;
            point(&path)?;
            sync_data(&file)?;
        }
        let (generation, serial) = (header.generation, header.serial);
        Ok(Journal { file, path, generation, serial, offset: FRAMES_START })
    }

    /// Whether a frame of so many bytes still fits.
    pub(crate) fn fits(&self, len: u64) -> bool {
        self.offset + len <= JOURNAL_BYTES
    }

    /// Appends a frame; it is durable when this returns well. After an error the next frame overwrites what is there.
    pub(crate) fn append(&mut self, frame: &Frame) -> io::Result<()> {
        let bytes = frame.encode(Place { generation: self.generation, serial: self.serial, offset: self.offset });
        if !self.fits(bytes.len() as u64) {
            return Err(io::Error::other("a frame longer than the journal"));
        }
        point(&self.path)?;
        self.file.write_all_at(&bytes, self.offset)?;
        point(&self.path)?;
        sync_data(&self.file)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Opens it again for writing, after it was opened without.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        self.file = OpenOptions::new().read(true).write(true).open(&self.path)?;
        sync_data(&self.file)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    #[cfg(test)]
    pub(crate) fn swap_file(&mut self, file: File) -> File {
        std::mem::replace(&mut self.file, file)
    }

    #[cfg(test)]
    pub(crate) fn step_back(&mut self, len: u64) {
        self.offset -= len;
    }

    /// Bytes of frames in it.
    pub(crate) fn used(&self) -> u64 {
        self.offset - FRAMES_START
    }
}

/// Both journals of a generation as found on disk.
#[derive(Debug)]
pub(crate) struct Pair {
    /// Where the older one begins.
    pub(crate) older_base: u64,
    /// The older one: its frames matter only if the checkpoint has not got past its base yet.
    pub(crate) older: Result<Found, OpenError>,
    /// The one to append to.
    pub(crate) newer: Found,
}

/// Reads both journals of a generation.
pub(crate) fn read(generation_dir: &Path, generation: u64) -> Result<Pair, OpenError> {
    let (even, odd) = (Raw::read(path(generation_dir, 0))?, Raw::read(path(generation_dir, 1))?);
    let (even_header, odd_header) = (even.header(generation)?, odd.header(generation)?);
    let newest = even_header.serial.max(odd_header.serial);
    let ((older, older_header), (newer, newer_header)) = if even_header.serial == newest {
        ((odd, odd_header), (even, even_header))
    } else {
        ((even, even_header), (odd, odd_header))
    };
    if older_header.serial + 1 != newest || older_header.base > newer_header.base {
        return Err(older.corrupt("the headers of the two journals do not belong together"));
    }
    if older.has_frame_after(Place { generation, serial: newest + 1, offset: FRAMES_START }) {
        return Err(older.corrupt("frames of a journal whose header is gone"));
    }
    Ok(Pair { older_base: older_header.base, older: older.frames(older_header), newer: newer.frames(newer_header)? })
}

/// Looks whether both journals still have on disk what a start would need: `journal` all frames up to commit `seq`, the one
/// before it those up to `frozen`. A copy of a header that is not as the other is written anew; says if one was damaged.
pub(crate) fn check(
    generation_dir: &Path,
    journal: &Journal,
    seq: u64,
    frozen: Option<u64>,
) -> Result<Option<String>, OpenError> {
    let (generation, serial) = (journal.generation, journal.serial);
    let newer = Raw::read(journal.path.clone())?;
    let (header, mut repaired) = newer.check_header(generation, serial)?;
    let is_last = |frame: Option<&Frame>, place: Place| {
        place.offset == journal.offset && frame.is_none_or(|frame| frame.seq == seq)
    };
    newer.check_frames(generation_dir, header, is_last)?;
    drop(newer);
    let older = Raw::read(path(generation_dir, serial + 1))?;
    let (header, also) = older.check_header(generation, serial.saturating_sub(1))?;
    repaired = repaired.or(also);
    if let Some(frozen) = frozen {
        older.check_frames(generation_dir, header, |frame, _| frame.is_some_and(|frame| frame.seq == frozen))?;
    }
    Ok(repaired)
}

/// Whatever whole frames can be found at the beginnings of the two journals, in order: for those who must make do with what
/// is left. A journal that cannot be read now is not lost.
pub(crate) fn salvage(generation_dir: &Path, generation: u64) -> Result<Vec<Frame>, OpenError> {
    let mut raws = Vec::new();
    for serial in [0, 1] {
        match Raw::read(path(generation_dir, serial)) {
            Ok(raw) => raws.push(raw),
            Err(error) if error.is_corrupt() => {}
            Err(error) => return Err(error),
        }
    }
    let headers: Vec<Option<Header>> = raws.iter().map(|raw| raw.header(generation).ok()).collect();
    let known = headers.iter().flatten().map(|header| header.serial).next();
    let mut frames = Vec::new();
    for (raw, header) in raws.iter().zip(&headers) {
        // The serial of a journal without a header is one more or one less than that of the other one.
        let of_other = known.into_iter().flat_map(|other| [other.wrapping_add(1), other.wrapping_sub(1)]);
        let guesses = of_other.map(|serial| Header { generation, serial, base: 0 });
        let mut headers = (*header).into_iter().chain(guesses.filter(|_| header.is_none()));
        let found = headers.find_map(|header| Some(raw.whole_frames(header).0).filter(|found| !found.is_empty()));
        frames.extend(found.unwrap_or_default());
    }
    frames.sort_by_key(|frame| frame.seq);
    Ok(frames)
}

/// The bytes of a journal file.
struct Raw {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Raw {
    /// Reads a file, and makes sure that what is read is on the medium: a killed process may have written and not synced.
    fn read(path: PathBuf) -> Result<Raw, OpenError> {
        let found = std::fs::metadata(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => OpenError::corrupt(&path, "the journal is missing"),
            _ => OpenError::io(&path, e),
        })?;
        if !found.is_file() || found.len() != JOURNAL_BYTES {
            return Err(OpenError::corrupt(path, "the journal has the wrong size"));
        }
        match File::open(&path).and_then(|file| sync_data(&file)) {
            // Then nothing can be waiting to be written either.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {}
            done => done.map_err(|e| OpenError::io(&path, e))?,
        }
        let bytes = read_point(&path).and_then(|()| std::fs::read(&path)).map_err(|e| OpenError::io(&path, e))?;
        if bytes.len() as u64 != JOURNAL_BYTES {
            return Err(OpenError::corrupt(path, "the journal has the wrong size"));
        }
        Ok(Raw { path, bytes })
    }

    fn corrupt(&self, what: &str) -> OpenError {
        OpenError::corrupt(&self.path, what)
    }

    /// The header: the newer of the two copies that pass.
    fn header(&self, generation: u64) -> Result<Header, OpenError> {
        let copies = HEADER_OFFSETS.map(|offset| self.at(offset).and_then(Header::decode));
        let parity = u64::from(self.path.ends_with("j1"));
        let fits = |header: &Header| header.generation == generation && header.serial % 2 == parity;
        let newest = copies.into_iter().flatten().filter(fits).max_by_key(|header| header.serial);
        let header = newest.ok_or_else(|| self.corrupt("neither copy of the journal's header is whole"))?;
        let next = Place { generation, serial: header.serial + 2, offset: FRAMES_START };
        if copies.contains(&None) && self.has_frame_after(next) {
            return Err(self.corrupt("the newer copy of the journal's header is gone"));
        }
        Ok(header)
    }

    /// The header of this use, and what was damaged and written anew.
    fn check_header(&self, generation: u64, serial: u64) -> Result<(Header, Option<String>), OpenError> {
        let header = self.header(generation)?;
        if header.serial != serial {
            return Err(self.corrupt("a journal's header is gone"));
        }
        let mut repaired = None;
        for offset in HEADER_OFFSETS {
            let found = self.at(offset).and_then(Header::decode);
            if found == Some(header) {
                continue;
            }
            let file = OpenOptions::new().write(true).open(&self.path);
            let written = file.and_then(|file| {
                file.write_all_at(&header.encode(), offset)?;
                sync_data(&file)
            });
            match (found, written) {
                // A cut between the two copies leaves an older one.
                (Some(_), _) => {}
                (None, Ok(())) => {
                    let path = self.path.display();
                    repaired = Some(format!(
                        "a copy of the header of {path} was damaged and was written anew; nothing was lost"
                    ));
                }
                (None, Err(error)) => return Err(OpenError::io(&self.path, error)),
            }
        }
        Ok((header, repaired))
    }

    /// Reads frames, and the files that they name, until `is_last` says so of the last one and of the place behind it.
    fn check_frames(
        &self,
        generation_dir: &Path,
        header: Header,
        is_last: impl Fn(Option<&Frame>, Place) -> bool,
    ) -> Result<(), OpenError> {
        let mut place = Place { generation: header.generation, serial: header.serial, offset: FRAMES_START };
        let mut last: Option<Frame> = None;
        while !is_last(last.as_ref(), place) {
            let Some((frame, len)) = self.frame_at(place) else { return Err(self.corrupt("a damaged journal frame")) };
            if let Content::Spilled { len, hash } = frame.content {
                spill::check(generation_dir, header.generation, frame.seq, len, hash)?;
            }
            place.offset += len as u64;
            last = Some(frame);
        }
        Ok(())
    }

    fn at(&self, offset: u64) -> Option<&[u8]> {
        self.bytes.get(usize::try_from(offset).ok()?..)
    }

    fn frame_at(&self, place: Place) -> Option<(Frame, usize)> {
        Frame::decode(place, self.at(place.offset)?)
    }

    /// The frames up to the first that is not whole. That one is a torn tail only if no whole one follows.
    fn frames(&self, header: Header) -> Result<Found, OpenError> {
        let (frames, place) = self.whole_frames(header);
        let mut last = header.base;
        for frame in &frames {
            if frame.prev != last || frame.seq <= last {
                return Err(self.corrupt("a journal frame that does not follow on the one before"));
            }
            last = frame.seq;
        }
        if self.has_frame_after(place) {
            return Err(self.corrupt("a damaged journal frame before a whole one"));
        }
        let Header { serial, base, .. } = header;
        Ok(Found { path: self.path.clone(), serial, base, frames, end: place.offset })
    }

    /// The whole frames from the first on, and the place of what follows them.
    fn whole_frames(&self, header: Header) -> (Vec<Frame>, Place) {
        let mut place = Place { generation: header.generation, serial: header.serial, offset: FRAMES_START };
        let mut frames = Vec::new();
        while let Some((frame, len)) = self.frame_at(place) {
            frames.push(frame);
            place.offset += len as u64;
        }
        (frames, place)
    }

    /// Whether a whole frame begins at this place or at any sector after it.
    fn has_frame_after(&self, mut place: Place) -> bool {
        while place.offset < JOURNAL_BYTES {
            if self.frame_at(place).is_some() {
                return true;
            }
            place.offset += SECTOR as u64;
        }
        false
    }
}
