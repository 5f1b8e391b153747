//! sled's log as it lies on disk: segments, and the messages in them.
//!
//! A segment of 512 KiB begins with 20 bytes: a CRC-32, and two numbers with their bits turned over, the first of which is
//! its place in the order of the log. Messages follow, each under a CRC-32 of its own. Where something else than a message
//! of this use of the segment follows, the log has come to an end there, or the segment was written over from its front.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::WINDOW_BYTES;
use crate::fault::read_point;
use crate::tree::TreeError;

/// The size of a segment, which sled keeps in `conf` and which we never set.
pub(super) const SEGMENT_BYTES: u64 = 512 * 1024;
/// Length of the head of a segment.
pub(super) const SEGMENT_HEAD_BYTES: usize = 20;
/// Length of the longest head of a message; closer to its end a segment has none.
const HEAD_BYTES_MAX: u64 = 32;

/// Where a message's body lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) at: u64,
    pub(super) len: u32,
}

/// A segment in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    /// Its place in the order of the log.
    pub(super) lsn: u64,
    /// Where it lies in the file.
    pub(super) at: u64,
}

/// What a message is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Nothing that matters here.
    Skipped,
    /// The page is gone.
    Free,
    /// The page as a whole.
    Node,
    /// A change to the page.
    Link,
    /// The page lies in a file of its own, as none of ours does.
    Elsewhere,
}

/// A message.
pub(super) struct Message<'a> {
    pub(super) kind: Kind,
    pub(super) page: u64,
    pub(super) place: Place,
    pub(super) body: &'a [u8],
}

/// A file read in windows, of which one is in memory.
pub(super) struct Windows {
    file: File,
    /// Where it lies.
    dir: PathBuf,
    bytes: Vec<u8>,
    start: u64,
    /// How many bytes were read in all.
    pub(super) read: u64,
}

impl Windows {
    pub(super) fn new(file: File, dir: &Path) -> Windows {
        Windows { file, dir: dir.into(), bytes: Vec::new(), start: 0, read: 0 }
    }

    /// The bytes from `at` on, as many of `len` as the file has.
    pub(super) fn get(&mut self, at: u64, len: usize) -> io::Result<&[u8]> {
        let inside = at.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        let covered = inside.filter(|from| from.checked_add(len).is_some_and(|end| end <= self.bytes.len()));
        let from = match covered {
            Some(from) => from,
            None => {
                self.fill(at, len.max(WINDOW_BYTES))?;
                0
            }
        };
        let end = from.saturating_add(len).min(self.bytes.len());
        Ok(self.bytes.get(from..end).unwrap_or_default())
    }

    /// Bytes that lie apart from those around them.
    pub(super) fn exact(&mut self, place: Place) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; place.len as usize];
        read_point(&self.dir)?;
        self.file.read_exact_at(&mut bytes, place.at)?;
        self.read += u64::from(place.len);
        Ok(bytes)
    }

    fn fill(&mut self, at: u64, len: usize) -> io::Result<()> {
        self.bytes.clear();
        self.bytes.resize(len, 0);
        self.start = at;
        let mut filled = 0;
        read_point(&self.dir)?;
        while let Some(rest) = self.bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, at + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.bytes.truncate(filled);
        self.read += filled as u64;
        Ok(())
    }
}

/// The segments in use, in the order of the log.
pub(super) fn segments(file: &mut Windows, len: u64) -> Result<Vec<Segment>, TreeError> {
    let mut found: Vec<Segment> = Vec::new();
    for at in (0..len).step_by(SEGMENT_BYTES as usize) {
        let mut head = [0; SEGMENT_HEAD_BYTES];
        match file.file.read_exact_at(&mut head, at) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            read => read?,
        }
        if let Some(lsn) = segment_lsn(&head).filter(|lsn| lsn.is_multiple_of(SEGMENT_BYTES)) {
            found.push(Segment { lsn, at });
        }
    }
    found.sort_by_key(|segment| segment.lsn);
    if found.windows(2).any(|pair| matches!(pair, [a, b] if a.lsn == b.lsn)) {
        return Err(TreeError::corrupt("sled's log has two segments of the same number"));
    }
    Ok(found)
}

/// The number in the head of a segment; none where it is not in use.
fn segment_lsn(head: &[u8; SEGMENT_HEAD_BYTES]) -> Option<u64> {
    let (crc, numbers) = head.split_first_chunk::<4>()?;
    let lsn = i64::from_le_bytes(*numbers.first_chunk()?) ^ i64::MAX;
    (!u32::from_le_bytes(*crc) == crc32fast::hash(numbers)).then_some(u64::try_from(lsn).ok()?)
}

/// Where the next message of a segment may be.
pub(super) fn first(segment: Segment) -> u64 {
    segment.at + SEGMENT_HEAD_BYTES as u64
}

/// The message at `at`, and where the next one may be; none at the end of the segment.
pub(super) fn message<'a>(
    file: &'a mut Windows,
    segment: Segment,
    at: u64,
) -> Result<Option<(Message<'a>, u64)>, TreeError> {
    let end = segment.at + SEGMENT_BYTES;
    if at + HEAD_BYTES_MAX > end {
        return Ok(None);
    }
    let head = file.get(at, HEAD_BYTES_MAX as usize)?;
    let Some(Head { crc, kind, len, number, page, taken }) = Head::parse(head) else { return Ok(None) };
    let after = (at + taken as u64).checked_add(len).filter(|after| *after <= end);
    // What another use of the segment left behind has another number.
    if number != segment.lsn / SEGMENT_BYTES || kind == 0 {
        return Ok(None);
    }
    let damaged = || TreeError::corrupt(format!("sled's log has a damaged message at {at}"));
    let (after, len) = (after.ok_or_else(damaged)?, u32::try_from(len).map_err(|_| damaged())?);
    let whole = file.get(at, taken + len as usize)?;
    let (head, body) =
        whole.split_at_checked(taken).filter(|(_, body)| body.len() == len as usize).ok_or_else(damaged)?;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(body);
    hasher.update(head.get(4..).unwrap_or_default());
    if !hasher.finalize() != crc {
        return Err(damaged());
    }
    let kind = match kind {
        // The rest of the segment is padding.
        2 => return Ok(None),
        1 | 3 | 5 | 6 => Kind::Skipped,
        4 => Kind::Free,
        8 => Kind::Node,
        10 => Kind::Link,
        7 | 9 | 11 => Kind::Elsewhere,
        _ => return Err(damaged()),
    };
    Ok(Some((Message { kind, page, place: Place { at: at + taken as u64, len }, body }, after)))
}

pub(super) struct Head {
    crc: u32,
    pub(super) kind: u8,
    pub(super) len: u64,
    pub(super) number: u64,
    pub(super) page: u64,
    /// Its own length.
    pub(super) taken: usize,
}

impl Head {
    pub(super) fn parse(bytes: &[u8]) -> Option<Head> {
        let (crc, rest) = bytes.split_first_chunk::<4>()?;
        let (kind, mut rest) = rest.split_first()?;
        let (len, number, page) = (varint(&mut rest)?, varint(&mut rest)?, varint(&mut rest)?);
        Some(Head { crc: u32::from_le_bytes(*crc), kind: *kind, len, number, page, taken: bytes.len() - rest.len() })
    }
}

/// sled's own way to write a number in one to nine bytes.
pub(super) fn varint(rest: &mut &[u8]) -> Option<u64> {
    let (first, after) = rest.split_first()?;
    let (number, after) = match *first {
        first @ 0..=240 => (u64::from(first), after),
        first @ 241..=248 => {
            let (low, after) = after.split_first()?;
            (240 + 256 * (u64::from(first) - 241) + u64::from(*low), after)
        }
        249 => {
            let ([high, low], after) = after.split_first_chunk::<2>()?;
            (2288 + 256 * u64::from(*high) + u64::from(*low), after)
        }
        first => {
            let (bytes, after) = after.split_at_checked(usize::from(first) - 247)?;
            let mut number = [0; 8];
            number.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            (u64::from_le_bytes(number), after)
        }
    };
    *rest = after;
    Some(number)
}
