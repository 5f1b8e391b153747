//! The full sync: one stream of entities, cut into FULL_DATA frames, sent no further than the data plane granted, with
//! a digest over all of it at the end. It comes in two forms. As a [`blob`] it is compressed once for all nodes, and
//! the data plane keeps its bytes until they are complete, over any number of connections. For a node that takes no
//! blobs the writer pulls entities one by one, so that it never holds more than a chunk, and the reader hands them out
//! as they are complete.

pub mod blob;

use crate::delta::{Entity, Stop, push_entity, read_entity};
use crate::error::ProtocolError;
use crate::limits::{BLOB_GRANT_BYTES, BODY_BYTES_MAX, FULL_CHUNK_BYTES_MAX};
use crate::message::{CODEC_RAW, FullBegin, FullData, FullEnd, FullGet, Message, Type};
use crate::read::Reader;
use bytes::Bytes;
use model::Record;
use xxhash_rust::xxh3::Xxh3;

pub use blob::{Blob, BlobError, Offer, Unpack, Wanted, Written};

/// A whole configuration at one version, entity by entity. The order is the same each time.
pub trait Cursor: Send {
    /// The version that it shows.
    fn version(&self) -> u64;
    /// The root digest at that version.
    fn root(&self) -> u64;
    /// How many entities it gives.
    fn count(&self) -> u64;
    /// The next entity.
    fn next(&mut self) -> Option<Record>;
}

/// The sending half.
pub(crate) struct Sender {
    begin: FullBegin,
    stream: Stream,
    offset: u64,
    granted: u64,
    started: bool,
    ended: bool,
}

enum Stream {
    Blob(Blob),
    Entities(Box<Entities>),
}

/// Entities that are encoded as they are sent.
struct Entities {
    cursor: Box<dyn Cursor>,
    base: u64,
    /// Encoded and not sent; the first `sent` bytes of it are gone already.
    pending: Vec<u8>,
    sent: usize,
    exhausted: bool,
    hash: Xxh3,
}

impl Sender {
    /// Sends entity by entity.
    pub(crate) fn entities(epoch: u64, cursor: Box<dyn Cursor>) -> Self {
        let (version, root, count) = (cursor.version(), cursor.root(), cursor.count());
        let transfer = transfer(epoch, version, root);
        let begin = FullBegin { transfer, version, root, count, codec: CODEC_RAW, plain: 0, bytes: 0, confirmed: 0 };
        let (pending, sent, exhausted, hash) = (Vec::new(), 0, false, Xxh3::new());
        let entities = Entities { cursor, base: version, pending, sent, exhausted, hash };
        Self::new(begin, Stream::Entities(Box::new(entities)))
    }

    /// Sends a blob.
    pub(crate) fn blob(blob: Blob) -> Self {
        Self::new(blob.begin(), Stream::Blob(blob))
    }

    fn new(begin: FullBegin, stream: Stream) -> Self {
        Self { begin, stream, offset: 0, granted: 0, started: false, ended: false }
    }

    pub(crate) fn begin(&self) -> FullBegin {
        self.begin
    }

    /// Says with it how many of the node's entities may go.
    pub(crate) fn confirm(&mut self, gone: u64) -> FullBegin {
        self.begin.confirmed = gone;
        self.begin
    }

    /// Takes a grant. The first one says where to start.
    pub(crate) fn grant(&mut self, get: FullGet) -> Result<(), ProtocolError> {
        if !self.started {
            self.started = true;
            self.offset = self.stream.skip(get.offset);
        }
        if get.offset > self.offset || get.until < self.granted {
            return Err(ProtocolError::GrantRange { offset: get.offset, sent: self.offset });
        }
        self.granted = get.until;
        Ok(())
    }

    /// The next frame that the grant allows.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        if !self.started || self.ended {
            return None;
        }
        let transfer = self.begin.transfer;
        if self.stream.is_at_end(self.offset) {
            self.ended = true;
            let end = FullEnd { transfer, bytes: self.offset, digest: self.stream.digest() };
            return Some(Message::FullEnd(end).encode());
        }
        let credit = usize::try_from(self.granted.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let bytes = self.stream.take(self.offset, credit.min(FULL_CHUNK_BYTES_MAX));
        if bytes.is_empty() {
            return None;
        }
        let data = FullData { transfer, offset: self.offset, bytes };
        self.offset += data.bytes.len() as u64;
        Some(Message::FullData(data).encode())
    }

    /// Whether all of it was sent.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }
}

impl Stream {
    /// Leaves out what lies before `target`; says how far that went.
    fn skip(&mut self, target: u64) -> u64 {
        match self {
            Self::Blob(blob) => target.min(blob.begin().bytes),
            Self::Entities(entities) => entities.skip(target),
        }
    }

    fn is_at_end(&mut self, offset: u64) -> bool {
        match self {
            Self::Blob(blob) => offset >= blob.begin().bytes,
            Self::Entities(entities) => {
                entities.fill();
                entities.pending.len() == entities.sent
            }
        }
    }

    /// At most `count` bytes from `offset` on, which is where the last call ended.
    fn take(&mut self, offset: u64, count: usize) -> Bytes {
        match self {
            Self::Blob(blob) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(blob.bytes().len());
                blob.bytes().slice(start..blob.bytes().len().min(start.saturating_add(count)))
            }
            Self::Entities(entities) => entities.take(count),
        }
    }

    fn digest(&self) -> u64 {
        match self {
            Self::Blob(blob) => blob.begin().transfer,
            Self::Entities(entities) => entities.hash.digest(),
        }
    }
}

impl Entities {
    /// What lies before is encoded and hashed, but not sent.
    fn skip(&mut self, target: u64) -> u64 {
        let mut offset = 0;
        while offset < target {
            self.fill();
            let left = usize::try_from(target - offset).unwrap_or(usize::MAX);
            let count = self.take(left.min(FULL_CHUNK_BYTES_MAX)).len() as u64;
            if count == 0 {
                break;
            }
            offset += count;
        }
        offset
    }

    fn take(&mut self, count: usize) -> Bytes {
        let end = self.pending.len().min(self.sent.saturating_add(count));
        let chunk = self.pending.get(self.sent..end).unwrap_or_default();
        self.hash.update(chunk);
        self.sent = end;
        Bytes::copy_from_slice(chunk)
    }

    /// Encodes entities until there is a chunk.
    fn fill(&mut self) {
        if self.exhausted || self.pending.len() - self.sent >= FULL_CHUNK_BYTES_MAX {
            return;
        }
        self.pending.drain(..self.sent);
        self.sent = 0;
        while self.pending.len() < FULL_CHUNK_BYTES_MAX {
            let Some(record) = self.cursor.next() else {
                self.exhausted = true;
                return;
            };
            let Record { kind, id, version, tag, body } = &record;
            push_entity(self.base, kind.code(), *id, *version, *tag, body, &mut self.pending);
        }
    }
}

/// The name of a stream: what it holds decides it.
fn transfer(epoch: u64, version: u64, root: u64) -> u64 {
    let mut hash = Xxh3::new();
    for part in [epoch, version, root] {
        hash.update(&part.to_le_bytes());
    }
    hash.digest()
}

/// The receiving half.
pub(crate) struct Receiver {
    begin: FullBegin,
    window: u64,
    /// Whether the caller lets it in, and has said where to start.
    open: bool,
    rest: Vec<u8>,
    offset: u64,
    granted: u64,
    /// Bytes that were handed out and not yet reported as processed.
    unprocessed: u64,
    count: u64,
    root: u64,
    hash: Xxh3,
}

/// What came of a FULL_DATA.
pub(crate) enum Piece {
    /// Entities that are complete, and how many bytes of the stream they were.
    Entities(Vec<Entity>, u64),
    /// Bytes of a blob, from this offset on.
    Blob(u64, Bytes),
}

impl Receiver {
    pub(crate) fn new(begin: FullBegin, window: u64) -> Result<Self, ProtocolError> {
        if begin.codec != CODEC_RAW && !begin.is_blob() {
            return Err(ProtocolError::CodecUnknown { code: begin.codec });
        }
        if begin.is_blob() && !blob::is_sound(&begin) {
            return Err(ProtocolError::BlobSize { bytes: begin.bytes, plain: begin.plain });
        }
        Ok(Self {
            begin,
            window: if begin.is_blob() { window.min(BLOB_GRANT_BYTES) } else { window },
            open: false,
            rest: Vec::new(),
            offset: 0,
            granted: 0,
            unprocessed: 0,
            count: 0,
            root: 0,
            hash: Xxh3::new(),
        })
    }

    pub(crate) fn begin(&self) -> FullBegin {
        self.begin
    }

    /// The caller takes it, and has so many bytes of a blob already.
    pub(crate) fn open(&mut self, offset: u64) {
        if !self.open {
            (self.open, self.offset) = (true, offset.min(self.begin.bytes));
        }
    }

    /// The grant to send now, if it is worth a frame: at the start, and whenever half the window has been used.
    pub(crate) fn grant(&mut self) -> Option<FullGet> {
        if !self.open {
            return None;
        }
        let until = self.offset.saturating_add(self.window).saturating_sub(self.unprocessed);
        if self.started() && until < self.granted.saturating_add((self.window / 2).max(1)) {
            return None;
        }
        self.granted = until.max(1);
        Some(FullGet { transfer: self.begin.transfer, offset: self.offset, until: self.granted })
    }

    /// Whether the first grant has been given.
    pub(crate) fn started(&self) -> bool {
        self.granted > 0
    }

    /// The caller is done with so many bytes.
    pub(crate) fn processed(&mut self, bytes: u64) {
        self.unprocessed = self.unprocessed.saturating_sub(bytes);
    }

    pub(crate) fn push(&mut self, data: &FullData) -> Result<Piece, ProtocolError> {
        if data.offset != self.offset {
            return Err(ProtocolError::FullOffset { expected: self.offset, got: data.offset });
        }
        self.offset += data.bytes.len() as u64;
        if self.offset > self.granted {
            return Err(ProtocolError::FullWindow);
        }
        if !self.begin.is_blob() {
            return self.entities(&data.bytes);
        }
        if self.offset > self.begin.bytes {
            return Err(ProtocolError::FullTruncated { expected: self.begin.bytes, got: self.offset });
        }
        self.unprocessed += data.bytes.len() as u64;
        Ok(Piece::Blob(data.offset, data.bytes.clone()))
    }

    fn entities(&mut self, bytes: &[u8]) -> Result<Piece, ProtocolError> {
        self.hash.update(bytes);
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(bytes);
        let mut reader = Reader::new(&rest);
        let mut entities = Vec::new();
        while !reader.rest.is_empty() {
            let before = reader.rest;
            match read_entity(self.begin.version, &mut reader, Type::FullData) {
                Ok(entity) => entities.push(self.counted(entity)),
                Err(Stop::Error(error)) => return Err(error),
                Err(Stop::More) => {
                    reader.rest = before;
                    break;
                }
            }
        }
        let taken = rest.len() - reader.rest.len();
        rest.drain(..taken);
        self.rest = rest;
        self.unprocessed += taken as u64;
        Ok(Piece::Entities(entities, taken as u64))
    }

    fn counted(&mut self, entity: Entity) -> Entity {
        self.count += 1;
        self.root = self.root.wrapping_add(entity.tag);
        entity
    }

    pub(crate) fn end(&self, end: FullEnd) -> Result<(), ProtocolError> {
        if self.begin.is_blob() {
            // Its digest, and what is in it, are checked when it is unpacked.
            return match (self.offset == self.begin.bytes, end.digest == self.begin.transfer) {
                (false, _) => Err(ProtocolError::FullTruncated { expected: self.begin.bytes, got: self.offset }),
                (true, false) => Err(ProtocolError::FullDigest),
                (true, true) => Ok(()),
            };
        }
        if end.bytes != self.offset || !self.rest.is_empty() {
            return Err(ProtocolError::FullTruncated { expected: end.bytes, got: self.offset });
        }
        if end.digest != self.hash.digest() {
            return Err(ProtocolError::FullDigest);
        }
        if self.count != self.begin.count {
            return Err(ProtocolError::FullCount { expected: self.begin.count, got: self.count });
        }
        if self.root != self.begin.root {
            return Err(ProtocolError::FullRoot);
        }
        Ok(())
    }
}

// The unfinished entity of a reader is bounded by the largest entity.
const _: () = assert!(BODY_BYTES_MAX >= FULL_CHUNK_BYTES_MAX);
