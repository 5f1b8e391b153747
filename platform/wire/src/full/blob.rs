//! A full sync as one compressed blob: immutable, named by the digest of its bytes, so that it can be shared by all
//! sessions, fetched by offset, and gone on with on another connection. The control plane compresses (with whatever
//! library it likes: the stream is what [`write`] writes); the data plane keeps the bytes as they come, and unpacks
//! them in one go when it has them all.

use super::Cursor;
use crate::delta::{Entity, Stop, push_entity, read_entity};
use crate::limits::{BLOB_BYTES_MAX, BLOB_WINDOW_LOG_MAX, BODY_BYTES_MAX, PLAIN_BYTES_MAX};
use crate::message::{CODEC_ZSTD, FullBegin, Type};
use crate::read::Reader;
use bytes::Bytes;
use model::Record;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use std::io::{self, BufReader, Read, Write};
use xxhash_rust::xxh3::Xxh3;

/// How much is unpacked at once.
const PIECE_BYTES: usize = 32 * 1024;

/// The fewest bytes of an encoded entity: kind, id, base-version, tag, codec, length.
const ENTITY_BYTES_MIN: u64 = 1 + 16 + 1 + 8 + 1 + 1;

/// A whole configuration at one version, compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    begin: FullBegin,
    bytes: Bytes,
}

/// What a control plane has for a node that needs everything and takes blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offer {
    /// This blob.
    Blob(Blob),
    /// A blob that is being made. The session is told of it with `head_changed`.
    Later,
    /// No blob: entity by entity.
    Entities,
}

/// Which blob would do for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The oldest version that is of use.
    pub oldest: u64,
    /// The blob of which the node has the beginning.
    pub held: Option<u64>,
}

/// What [`write`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    version: u64,
    root: u64,
    count: u64,
    plain: u64,
}

/// Why a blob cannot be unpacked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// The bytes are not those that the blob is named by.
    #[error("the bytes are damaged")]
    Digest,
    /// The compressed stream is malformed, or asks for more memory than it may.
    #[error("{0}")]
    Codec(String),
    /// The stream ends inside an entity, or holds what is none.
    #[error("malformed entity {0}")]
    Entity(u64),
    /// Not as many entities or bytes as announced, or another root.
    #[error("the content is not what was announced")]
    Content,
}

/// Writes the stream that a blob compresses: every entity of `cursor`, one after the other.
///
/// # Errors
/// Those of `out`, and one of its own when there are more than [`PLAIN_BYTES_MAX`] bytes.
pub fn write(cursor: &mut dyn Cursor, out: &mut dyn Write) -> io::Result<Written> {
    let (version, root, mut count, mut plain) = (cursor.version(), cursor.root(), 0, 0u64);
    let mut bytes = Vec::new();
    while let Some(Record { kind, id, version: changed, tag, body }) = cursor.next() {
        bytes.clear();
        push_entity(version, kind.code(), id, changed, tag, &body, &mut bytes);
        (count, plain) = (count + 1, plain + bytes.len() as u64);
        if plain > PLAIN_BYTES_MAX {
            return Err(io::Error::other("too large for a blob"));
        }
        out.write_all(&bytes)?;
    }
    Ok(Written { version, root, count, plain })
}

impl Blob {
    /// A blob of what was written, after [`CODEC_ZSTD`]. `None`: it is larger than a blob may be.
    #[must_use]
    pub fn new(written: Written, bytes: Bytes) -> Option<Self> {
        let Written { version, root, count, plain } = written;
        let length = bytes.len() as u64;
        let transfer = xxhash_rust::xxh3::xxh3_64(&bytes);
        let begin = FullBegin { transfer, version, root, count, codec: CODEC_ZSTD, plain, bytes: length, confirmed: 0 };
        (length <= BLOB_BYTES_MAX).then_some(Self { begin, bytes })
    }

    /// A blob that was made before, and its bytes again: whoever kept them knows that they are the same.
    #[must_use]
    pub fn again(begin: FullBegin, bytes: Bytes) -> Self {
        Self { begin, bytes }
    }

    /// What FULL_BEGIN says of it.
    #[must_use]
    pub fn begin(&self) -> FullBegin {
        self.begin
    }

    /// All of it.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Whether an announcement keeps the limits.
pub(crate) fn is_sound(begin: &FullBegin) -> bool {
    let FullBegin { count, plain, bytes, .. } = *begin;
    bytes <= BLOB_BYTES_MAX && plain <= PLAIN_BYTES_MAX && count.saturating_mul(ENTITY_BYTES_MIN) <= plain
}

/// The digest of a whole blob, which is its name.
///
/// # Errors
/// Those of `blob`.
pub fn digest(mut blob: impl Read) -> io::Result<u64> {
    let (mut hash, mut piece) = (Xxh3::new(), vec![0; PIECE_BYTES]);
    loop {
        match blob.read(&mut piece)? {
            0 => return Ok(hash.digest()),
            count => hash.update(piece.get(..count).unwrap_or_default()),
        }
    }
}

/// Takes a blob apart. Holds a window of at most 1 MiB and the largest entity.
pub struct Unpack<R: Read> {
    begin: FullBegin,
    decoder: StreamingDecoder<BufReader<R>, FrameDecoder>,
    pending: Vec<u8>,
    taken: usize,
    count: u64,
    root: u64,
    plain: u64,
    ended: bool,
}

impl<R: Read> Unpack<R> {
    /// Starts at the first byte of `blob`, whose [`digest`] was found right.
    ///
    /// # Errors
    /// The stream does not start as one of this codec, or wants a larger window.
    pub fn new(begin: FullBegin, blob: R) -> Result<Self, BlobError> {
        let blob = BufReader::with_capacity(PIECE_BYTES, blob);
        let decoder = StreamingDecoder::new_with_max_window_size(blob, 1 << BLOB_WINDOW_LOG_MAX)
            .map_err(|error| BlobError::Codec(error.to_string()))?;
        Ok(Self { begin, decoder, pending: Vec::new(), taken: 0, count: 0, root: 0, plain: 0, ended: false })
    }

    /// The next entity; none after the last one, when all of it was as announced.
    ///
    /// # Errors
    /// What is wrong with the blob; nothing of it is to be used then.
    #[expect(clippy::should_implement_trait, reason = "an error ends it")]
    pub fn next(&mut self) -> Result<Option<Entity>, BlobError> {
        loop {
            let rest = self.pending.get(self.taken..).unwrap_or_default();
            if !rest.is_empty() {
                let mut reader = Reader::new(rest);
                match read_entity(self.begin.version, &mut reader, Type::FullData) {
                    Ok(entity) => {
                        self.taken += rest.len() - reader.rest.len();
                        return self.counted(entity).map(Some);
                    }
                    Err(Stop::Error(_)) => return Err(BlobError::Entity(self.count)),
                    Err(Stop::More) if self.ended || rest.len() > 2 * BODY_BYTES_MAX => {
                        return Err(BlobError::Entity(self.count));
                    }
                    Err(Stop::More) => {}
                }
            } else if self.ended {
                let FullBegin { count, root, plain, .. } = self.begin;
                let right = (self.count, self.root, self.plain) == (count, root, plain);
                return if right { Ok(None) } else { Err(BlobError::Content) };
            }
            self.fill()?;
        }
    }

    fn counted(&mut self, entity: Entity) -> Result<Entity, BlobError> {
        self.count += 1;
        self.root = self.root.wrapping_add(entity.tag);
        if self.count > self.begin.count { Err(BlobError::Content) } else { Ok(entity) }
    }

    fn fill(&mut self) -> Result<(), BlobError> {
        self.pending.drain(..self.taken);
        self.taken = 0;
        let before = self.pending.len();
        self.pending.resize(before + PIECE_BYTES, 0);
        let space = self.pending.get_mut(before..).unwrap_or_default();
        let count = self.decoder.read(space).map_err(|error| BlobError::Codec(error.to_string()))?;
        self.pending.truncate(before + count);
        self.ended = count == 0;
        self.plain += count as u64;
        if self.plain > self.begin.plain { Err(BlobError::Content) } else { Ok(()) }
    }
}
