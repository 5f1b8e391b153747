//! One file of the archive: a *run*, the changes that lead from one commit to another, sorted by key, in compressed
//! chunks with an index at the end.
//!
//! A run is written under a temporary name, synced and renamed, and never written again. Everything in it is under a
//! hash: the chunks' hashes stand in the index, and the index, with the root of the content as of its last commit,
//! under one of its own. A look-up reads the one chunk that the index names. In an encrypted generation a chunk is packed
//! with its values opened, and sealed as a whole; what is handed over has them sealed one by one again, as everywhere else.

use std::fs::{self, File};
use std::io;
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::cipher::{Cipher, NONCE_BYTES, What};
use crate::fault::read_point;
use crate::layout::{remove, sync_data};
use crate::seal::{Purpose, Root, hasher, key_bytes, take, take_u32, take_u64};
use crate::tree::TreeError;
use crate::{Key, SEALED_EXTRA_BYTES, VALUE_BYTES_MAX};

mod write;

pub(crate) use write::Writer;

/// A chunk ends with the record that brings it to so many bytes.
const CHUNK_BYTES: usize = 32 * 1024;
/// Bytes of a record in a chunk without its value: key and length.
const RECORD_BYTES: usize = 18 + 4;
/// No chunk is longer, for none has more than one record beyond [`CHUNK_BYTES`].
const CHUNK_BYTES_MAX: usize = CHUNK_BYTES + RECORD_BYTES + VALUE_BYTES_MAX;
const MAGIC: [u8; 8] = *b"EGrun1\n\0";
const END_MAGIC: [u8; 8] = *b"EGrunE\n\0";
const HEADER_BYTES: usize = 8 + 3 * 8 + 8;
const ENTRY_BYTES: usize = 18 + 8 + 4 + 4 + 1 + 8;
const TRAILER_BYTES: usize = 8 + 4 + 4 + 8 + 8;
const PREFIX: &str = "run-";
const TEMPORARY: &str = ".tmp";

/// Where runs are, and whose: the directory of a generation, its number, and what seals its values.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) dir: PathBuf,
    pub(crate) generation: u64,
    pub(crate) cipher: Cipher,
}

impl Home {
    pub(crate) fn new(dir: &Path, generation: u64, cipher: &Cipher) -> Home {
        Home { dir: dir.into(), generation, cipher: cipher.clone() }
    }
}

/// How a chunk is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Codec {
    /// As it is: compressed it would not be shorter.
    Plain = 0,
    /// As an LZ4 block.
    Lz4 = 1,
    /// Sealed as a whole, and in it packed, with values that are not.
    Sealed = 2,
}

/// What the index says of a chunk.
#[derive(Clone, Debug)]
struct Entry {
    first: Key,
    offset: u64,
    kept: u32,
    plain: u32,
    codec: Codec,
    hash: u64,
}

/// The two commits that a run leads from and to, as its name says them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Span {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Span {
    fn name(self) -> String {
        format!("{PREFIX}{}-{}", self.from, self.to)
    }

    fn parse(name: &str) -> Option<Span> {
        let (from, to) = name.strip_prefix(PREFIX)?.split_once('-')?;
        Some(Span { from: from.parse().ok()?, to: to.parse().ok()? })
    }

    /// The file of this run.
    pub(crate) fn path(self, gen_dir: &Path) -> PathBuf {
        gen_dir.join(self.name())
    }
}

/// The runs that a generation's directory holds, by their names.
pub(crate) fn spans(gen_dir: &Path) -> io::Result<Vec<Span>> {
    let mut spans = Vec::new();
    for entry in fs::read_dir(gen_dir)? {
        spans.extend(entry?.file_name().to_str().and_then(Span::parse));
    }
    spans.sort_unstable();
    Ok(spans)
}

/// Removes what a cut left of runs being written. What cannot be removed only takes space.
pub(crate) fn remove_unfinished(gen_dir: &Path) {
    let Ok(entries) = fs::read_dir(gen_dir) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.ends_with(TEMPORARY)) {
            let _ = remove(&entry.path());
        }
    }
}

impl Entry {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&key_bytes(&self.first));
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.kept.to_le_bytes());
        out.extend_from_slice(&self.plain.to_le_bytes());
        out.push(self.codec as u8);
        out.extend_from_slice(&self.hash.to_le_bytes());
    }

    fn decode(rest: &mut &[u8]) -> Option<Entry> {
        let first = take_key(rest)?;
        let (offset, kept, plain) = (take_u64(rest)?, take_u32(rest)?, take_u32(rest)?);
        let codec = match take(rest, 1)? {
            [0] => Codec::Plain,
            [1] => Codec::Lz4,
            [2] => Codec::Sealed,
            _ => return None,
        };
        Some(Entry { first, offset, kept, plain, codec, hash: take_u64(rest)? })
    }
}

/// Where the first chunk of a run lies.
#[cfg(feature = "fuzzing")]
pub(crate) const FIRST_CHUNK_AT: u64 = HEADER_BYTES as u64;

/// The bytes of a run with one chunk, whatever it is, and right hashes.
#[cfg(feature = "fuzzing")]
pub(crate) fn sealed(generation: u64, span: Span, root: &Root, plain: u32, codec: u8, chunk: &[u8]) -> Vec<u8> {
    let mut bytes = header(generation, span).to_vec();
    bytes.extend_from_slice(chunk);
    let (offset, mut end) = (HEADER_BYTES as u64, Vec::new());
    let first = Key { table: 0, kind: 0, id: [0; 16] };
    let hash = chunk_hash(generation, offset, chunk);
    Entry { first, offset, kept: chunk.len() as u32, plain, codec: Codec::Plain, hash }.encode(&mut end);
    let codec_at = end.len() - 9;
    end[codec_at] = codec;
    let root = root.encode(generation);
    end.extend_from_slice(&root);
    end.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
    end.extend_from_slice(&1u32.to_le_bytes());
    end.extend_from_slice(&(root.len() as u32).to_le_bytes());
    end.extend_from_slice(&end_hash(generation, span, &end).to_le_bytes());
    end.extend_from_slice(&END_MAGIC);
    bytes.extend_from_slice(&end);
    bytes
}

fn header(generation: u64, span: Span) -> [u8; HEADER_BYTES] {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend_from_slice(&MAGIC);
    for number in [generation, span.from, span.to] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    let mut hasher = hasher(Purpose::RunHeader, generation, span.to);
    hasher.update(&bytes);
    bytes.extend_from_slice(&hasher.digest().to_le_bytes());
    let mut header = [0; HEADER_BYTES];
    header.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    header
}

fn chunk_hash(generation: u64, offset: u64, kept: &[u8]) -> u64 {
    let mut hasher = hasher(Purpose::RunChunk, generation, offset);
    hasher.update(kept);
    hasher.digest()
}

fn end_hash(generation: u64, span: Span, end: &[u8]) -> u64 {
    let mut hasher = hasher(Purpose::RunEnd, generation, span.to);
    hasher.update(&span.from.to_le_bytes());
    hasher.update(end);
    hasher.digest()
}

/// A record in a sealed chunk.
struct Packed<'a> {
    key: Key,
    /// The length of its sealed value plus one, or 0.
    len: u32,
    /// The nonce of that, and the value that is in it.
    value: Option<(&'a [u8; NONCE_BYTES], &'a [u8])>,
}

fn take_packed<'a>(rest: &mut &'a [u8]) -> Option<Packed<'a>> {
    let (key, len) = (take_key(rest)?, take_u32(rest)?);
    if len == 0 {
        return Some(Packed { key, len, value: None });
    }
    let plain = (len as usize - 1).checked_sub(SEALED_EXTRA_BYTES)?;
    let nonce = take(rest, NONCE_BYTES)?.try_into().ok()?;
    Some(Packed { key, len, value: Some((nonce, take(rest, plain)?)) })
}

fn take_key(rest: &mut &[u8]) -> Option<Key> {
    let [table, kind, id @ ..]: &[u8; 18] = take(rest, 18)?.try_into().ok()?;
    Some(Key { table: *table, kind: *kind, id: *id })
}

/// A run, open; its index is in memory.
#[derive(Debug)]
pub(crate) struct Run {
    file: File,
    path: PathBuf,
    home: Home,
    span: Span,
    root: Root,
    index: Vec<Entry>,
    bytes: u64,
}

impl Run {
    /// Opens a run and verifies its header, index and root, but none of its chunks.
    pub(crate) fn open(home: &Home, span: Span) -> Result<Run, TreeError> {
        let (path, generation) = (span.path(&home.dir), home.generation);
        let wrong = |what: &str| TreeError::corrupt(format!("{}: {what}", span.name()));
        read_point(&path)?;
        let file = File::open(&path)?;
        let bytes = file.metadata()?.len();
        let mut head = [0; HEADER_BYTES];
        let mut trailer = [0; TRAILER_BYTES];
        let trailer_at = bytes.checked_sub(TRAILER_BYTES as u64).filter(|at| *at >= HEADER_BYTES as u64);
        let trailer_at = trailer_at.ok_or_else(|| wrong("it is too short"))?;
        file.read_exact_at(&mut head, 0)?;
        file.read_exact_at(&mut trailer, trailer_at)?;
        if head != header(generation, span) {
            return Err(wrong("its header is not what its name says"));
        }
        let mut rest = trailer.as_slice();
        let fields = || Some((take_u64(&mut rest)?, take_u32(&mut rest)?, take_u32(&mut rest)?, take_u64(&mut rest)?));
        let (offset, chunks, root_len, hash) = { fields }().ok_or_else(|| wrong("it is too short"))?;
        let index_len = u64::from(chunks) * ENTRY_BYTES as u64;
        if rest != END_MAGIC || offset.checked_add(index_len + u64::from(root_len)) != Some(trailer_at) {
            return Err(wrong("its end is missing"));
        }
        // All of the file but the chunks, whose length is that of a file that is there.
        let mut end = vec![0; usize::try_from(bytes - offset).unwrap_or(0)];
        file.read_exact_at(&mut end, offset)?;
        end.truncate(end.len().saturating_sub(8 + END_MAGIC.len()));
        if end_hash(generation, span, &end) != hash {
            return Err(wrong("its index fails its hash"));
        }
        let mut rest = end.as_slice();
        let index: Option<Vec<Entry>> = (0..chunks).map(|_| Entry::decode(&mut rest)).collect();
        let index = index.ok_or_else(|| wrong("its index makes no sense"))?;
        let root = take(&mut rest, root_len as usize).unwrap_or_default();
        let root = Root::parse(root, generation).map_err(wrong)?;
        if root.seq != span.to || index.iter().any(|entry| entry.plain as usize > CHUNK_BYTES_MAX) {
            return Err(wrong("its index makes no sense"));
        }
        Ok(Run { file, path, home: home.clone(), span, root, index, bytes })
    }

    pub(crate) fn span(&self) -> Span {
        self.span
    }

    /// The whole content as of its last commit, of which this run is only a part.
    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    /// Bytes of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn chunks(&self) -> usize {
        self.index.len()
    }

    /// Makes sure that what is read is on the medium: a killed process may have written and not synced.
    pub(crate) fn settle(&self) -> io::Result<()> {
        sync_data(&self.file)
    }

    /// Checks the hash of a chunk, and makes `kept` its bytes as they are kept.
    pub(crate) fn verify(&self, chunk: usize, kept: &mut Vec<u8>) -> Result<(), TreeError> {
        let Some(entry) = self.index.get(chunk) else { return Err(self.wrong("it has no such chunk")) };
        if u64::from(entry.kept) > self.bytes {
            return Err(self.wrong("a chunk longer than the file"));
        }
        kept.resize(entry.kept as usize, 0);
        read_point(&self.path)?;
        self.file.read_exact_at(kept, entry.offset).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.wrong("it ends too soon"),
            _ => TreeError::Io(error),
        })?;
        if chunk_hash(self.home.generation, entry.offset, kept) != entry.hash {
            return Err(self.wrong("a chunk fails its hash"));
        }
        Ok(())
    }

    /// A chunk, verified and decompressed into `bytes`; `kept` is where it is read into.
    fn chunk(&self, chunk: usize, kept: &mut Vec<u8>, bytes: &mut Vec<u8>) -> Result<(), TreeError> {
        self.verify(chunk, kept)?;
        match self.index.get(chunk) {
            Some(entry @ Entry { codec: Codec::Sealed, .. }) => *bytes = self.sealed_again(entry, kept)?,
            Some(Entry { codec: Codec::Plain, .. }) => std::mem::swap(kept, bytes),
            Some(entry) => self.unpack(kept, entry.plain as usize, bytes)?,
            None => return Err(self.wrong("it has no such chunk")),
        }
        Ok(())
    }

    /// Decompresses what becomes `plain` bytes.
    fn unpack(&self, packed: &[u8], plain: usize, bytes: &mut Vec<u8>) -> Result<(), TreeError> {
        bytes.resize(plain, 0);
        if lz4::decompress_into(packed, bytes) { Ok(()) } else { Err(self.wrong("a chunk does not decompress")) }
    }

    /// The bytes of a sealed chunk as if it were not one: with every value as it is sealed everywhere else.
    fn sealed_again(&self, entry: &Entry, kept: &[u8]) -> Result<Vec<u8>, TreeError> {
        let closed = || self.wrong("a chunk does not open with its key");
        let what = What::Chunk { to: self.span.to, offset: entry.offset };
        let within = self.home.cipher.with_open(what, kept, <[u8]>::to_vec).ok_or_else(closed)?;
        let mut unpacked = Vec::new();
        let plain = match within.split_first() {
            Some((0, plain)) => plain,
            Some((1, packed)) => {
                self.unpack(packed, entry.plain as usize, &mut unpacked)?;
                &unpacked
            }
            _ => return Err(self.wrong("a chunk makes no sense")),
        };
        let (mut rest, mut chunk) = (plain, Vec::with_capacity(plain.len() + plain.len() / 8));
        while !rest.is_empty() {
            let record = take_packed(&mut rest).ok_or_else(|| self.wrong("a chunk makes no sense"))?;
            chunk.extend_from_slice(&key_bytes(&record.key));
            chunk.extend_from_slice(&record.len.to_le_bytes());
            if let Some((nonce, plain)) = record.value {
                let sealed = self.home.cipher.put_together(&record.key, nonce, plain).ok_or_else(closed)?;
                chunk.extend_from_slice(&sealed);
            }
        }
        Ok(chunk)
    }

    /// What it says of a record: `None` for nothing, else its value or that it was deleted.
    pub(crate) fn get(&self, key: &Key) -> Result<Option<Option<Vec<u8>>>, TreeError> {
        let after = self.index.partition_point(|entry| entry.first <= *key);
        let Some(chunk) = after.checked_sub(1) else { return Ok(None) };
        let (mut kept, mut bytes) = (Vec::new(), Vec::new());
        self.chunk(chunk, &mut kept, &mut bytes)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (found, value) = self.record(&mut rest)?;
            if found == *key {
                return Ok(Some(value.map(<[u8]>::to_vec)));
            }
        }
        Ok(None)
    }

    fn record<'a>(&self, rest: &mut &'a [u8]) -> Result<(Key, Option<&'a [u8]>), TreeError> {
        let mut parse = || {
            let key = take_key(rest)?;
            let value = match take_u32(rest)? as usize {
                0 => None,
                len if len > VALUE_BYTES_MAX + 1 => return None,
                len => Some(take(rest, len - 1)?),
            };
            Some((key, value))
        };
        parse().ok_or_else(|| self.wrong("a chunk makes no sense"))
    }

    fn wrong(&self, what: &str) -> TreeError {
        TreeError::corrupt(format!("{}: {what}", self.span.name()))
    }
}

/// Reads a run from its beginning, one chunk in memory at a time.
pub(crate) struct Cursor<R> {
    run: R,
    next_chunk: usize,
    /// The chunk as it is in the file, and as records: both are room for the next.
    kept: Vec<u8>,
    bytes: Vec<u8>,
    /// Where the record after the current one begins.
    at: usize,
    current: Option<(Key, Option<std::ops::Range<usize>>)>,
}

impl<R: Deref<Target = Run>> Cursor<R> {
    /// Stands on the first record.
    pub(crate) fn new(run: R) -> Result<Cursor<R>, TreeError> {
        let mut cursor = Cursor { run, next_chunk: 0, kept: Vec::new(), bytes: Vec::new(), at: 0, current: None };
        cursor.advance()?;
        Ok(cursor)
    }

    /// The key it stands on; `None` after the last.
    pub(crate) fn key(&self) -> Option<Key> {
        self.current.as_ref().map(|(key, _)| *key)
    }

    /// The value it stands on; `None` where it was deleted.
    pub(crate) fn value(&self) -> Option<&[u8]> {
        let (_, range) = self.current.as_ref()?;
        self.bytes.get(range.clone()?)
    }

    pub(crate) fn advance(&mut self) -> Result<(), TreeError> {
        let before = self.key();
        if self.at == self.bytes.len() {
            if self.next_chunk == self.run.chunks() {
                self.current = None;
                return Ok(());
            }
            self.run.chunk(self.next_chunk, &mut self.kept, &mut self.bytes)?;
            (self.next_chunk, self.at) = (self.next_chunk + 1, 0);
        }
        let mut rest = self.bytes.get(self.at..).unwrap_or_default();
        let (key, value) = self.run.record(&mut rest)?;
        let (end, len) = (self.bytes.len() - rest.len(), value.map(<[u8]>::len));
        self.at = end;
        self.current = Some((key, len.map(|len| end - len..end)));
        if before.is_some_and(|before| before >= key) {
            return Err(self.run.wrong("its records are not in order"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
