//! The full sync: one stream of entities, cut into FULL_DATA frames, sent no further than the data plane granted, with
//! a digest over all of it at the end. The writer pulls entities one by one, so a control plane never holds more than
//! a chunk of it per node; the reader hands out entities as they are complete.

use crate::delta::{Entity, Stop, push_entity, read_entity};
use crate::error::ProtocolError;
use crate::limits::{BODY_BYTES_MAX, FULL_CHUNK_BYTES_MAX};
use crate::message::{CODEC_RAW, FullBegin, FullData, FullEnd, FullGet, Message, Type};
use crate::read::Reader;
use bytes::Bytes;
use model::Record;
use xxhash_rust::xxh3::Xxh3;

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
    cursor: Box<dyn Cursor>,
    begin: FullBegin,
    /// Encoded and not sent; the first `sent` bytes of it are gone already.
    pending: Vec<u8>,
    sent: usize,
    offset: u64,
    granted: u64,
    started: bool,
    exhausted: bool,
    ended: bool,
    hash: Xxh3,
}

impl Sender {
    pub(crate) fn new(epoch: u64, cursor: Box<dyn Cursor>) -> Self {
        let (version, root, count) = (cursor.version(), cursor.root(), cursor.count());
        let begin = FullBegin { transfer: transfer(epoch, version, root), version, root, count, codec: CODEC_RAW };
        Self {
            cursor,
            begin,
            pending: Vec::new(),
            sent: 0,
            offset: 0,
            granted: 0,
            started: false,
            exhausted: false,
            ended: false,
            hash: Xxh3::new(),
        }
    }

    pub(crate) fn begin(&self) -> FullBegin {
        self.begin
    }

    /// Takes a grant. The first one says where to start: what lies before is encoded and hashed, but not sent.
    pub(crate) fn grant(&mut self, get: FullGet) -> Result<(), ProtocolError> {
        let range = ProtocolError::GrantRange { offset: get.offset, sent: self.offset };
        if !self.started {
            self.started = true;
            self.skip(get.offset);
        }
        if get.offset > self.offset || get.until < self.granted {
            return Err(range);
        }
        self.granted = get.until;
        Ok(())
    }

    fn skip(&mut self, target: u64) {
        while self.offset < target {
            self.fill();
            let left = usize::try_from(target - self.offset).unwrap_or(usize::MAX);
            let count = left.min(self.pending.len() - self.sent).min(FULL_CHUNK_BYTES_MAX);
            if count == 0 {
                return;
            }
            self.advance(count);
        }
    }

    /// The next frame that the grant allows.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        if !self.started || self.ended {
            return None;
        }
        self.fill();
        let transfer = self.begin.transfer;
        let rest = self.pending.get(self.sent..).unwrap_or_default();
        if rest.is_empty() {
            self.ended = true;
            let end = FullEnd { transfer, bytes: self.offset, digest: self.hash.digest() };
            return Some(Message::FullEnd(end).encode());
        }
        let credit = usize::try_from(self.granted.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let chunk = rest.get(..rest.len().min(credit).min(FULL_CHUNK_BYTES_MAX)).filter(|chunk| !chunk.is_empty())?;
        let bytes = Bytes::copy_from_slice(chunk);
        let data = FullData { transfer, offset: self.offset, bytes };
        self.advance(data.bytes.len());
        Some(Message::FullData(data).encode())
    }

    /// Whether all of it was sent.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    fn advance(&mut self, count: usize) {
        self.hash.update(self.pending.get(self.sent..self.sent + count).unwrap_or_default());
        self.sent += count;
        self.offset += count as u64;
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
            push_entity(self.begin.version, kind.code(), *id, *version, *tag, body, &mut self.pending);
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
    rest: Vec<u8>,
    offset: u64,
    granted: u64,
    /// Bytes of entities that were handed out and not yet reported as processed.
    unprocessed: u64,
    count: u64,
    root: u64,
    hash: Xxh3,
}

/// Entities that are complete, and how many bytes of the stream they were.
pub(crate) struct Piece {
    pub(crate) entities: Vec<Entity>,
    pub(crate) bytes: u64,
}

impl Receiver {
    pub(crate) fn new(begin: FullBegin, window: u64) -> Result<Self, ProtocolError> {
        if begin.codec != CODEC_RAW {
            return Err(ProtocolError::CodecUnknown { code: begin.codec });
        }
        Ok(Self {
            begin,
            window,
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

    /// The grant to send now, if it is worth a frame: at the start, and whenever half the window has been used.
    pub(crate) fn grant(&mut self) -> Option<FullGet> {
        let until = self.offset.saturating_add(self.window).saturating_sub(self.unprocessed);
        if until < self.granted.saturating_add((self.window / 2).max(1)) {
            return None;
        }
        self.granted = until;
        Some(FullGet { transfer: self.begin.transfer, offset: self.offset, until })
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
        self.hash.update(&data.bytes);
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(&data.bytes);
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
        Ok(Piece { entities, bytes: taken as u64 })
    }

    fn counted(&mut self, entity: Entity) -> Entity {
        self.count += 1;
        self.root = self.root.wrapping_add(entity.tag);
        entity
    }

    pub(crate) fn end(&self, end: FullEnd) -> Result<(), ProtocolError> {
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
