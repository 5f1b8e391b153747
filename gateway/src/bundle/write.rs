//! Exports what a stopped data plane holds as a bundle, signed with the cluster key.
//!
//! Records go from the store through the compressor to the file, a little at a time; the head is written last, into space
//! that was left for it, and the file gets its name when all of it was read back and found right.

use super::{CheckError, PIECE_BYTES, check_file};
use crate::state::{self, Meta, Source};
use model::Id;
use os::file::Replacement;
use pki::{Mtls, Sha256, Verifier};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use store::{OpenError, Store};
use wire::bundle::{AUDIENCE_ALL, BundleError, FIXED_BYTES, HEADER_BYTES_MAX, Head, Header, Signature, Writer, pack};
use wire::full::{BlobError, Unpack};
use wire::limits::{BLOB_BYTES_MAX, PLAIN_BYTES_MAX};
use wire::message::CODEC_ZSTD;

/// Keys are in it: for nobody but its owner.
const FILE_MODE: u32 = 0o600;
/// How many pieces may wait for the compressor.
const PIECES_MAX: usize = 4;
/// What a signature may be longer than one of the same key, and the lengths around it.
const SIGNATURE_SLACK_BYTES: usize = 64;

/// Why nothing was exported.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// There is nothing in it.
    #[error("the store holds nothing yet")]
    Nothing,
    /// What is in it came from a declarative file.
    #[error("the store holds what a declarative file brought, which no control plane knows; copy that file instead")]
    File,
    /// Another version of this program wrote it.
    #[error("the store holds what another version of this program wrote")]
    UnknownMeta,
    /// It is not what it was a moment ago, or what it says to be.
    #[error("the store's content is not what its last commit says")]
    Content,
    /// It is larger than a bundle may be.
    #[error("the store holds more than a bundle may")]
    TooLarge,
    /// The key signs nothing.
    #[error(transparent)]
    Sign(#[from] pki::PkiError),
    /// The chain of the cluster certificate is longer than a bundle's may be.
    #[error(transparent)]
    Head(#[from] BundleError),
    /// The compressor broke off.
    #[error("the compressor has failed")]
    Compressor,
    /// The file cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// What was written cannot be read back.
    #[error("what was written cannot be read back: {0}")]
    Unreadable(CheckError),
    /// What was compressed cannot be taken apart again.
    #[error("what was written cannot be read back: {0}")]
    Unpackable(BlobError),
}

/// Writes what the store in `dir` holds. The store must not be in use. `now_s` is in seconds since 1970.
///
/// # Errors
/// See [`WriteError`]; there is no file then, or the one that was there.
pub fn export(
    dir: &Path,
    options: &store::Options,
    signer: &Verifier,
    path: &Path,
    now_s: u64,
) -> Result<Header, WriteError> {
    let meta = meta(dir, options)?;
    let blob_at = head_bytes(signer)?;
    let mut replacement = Replacement::begin(path, FILE_MODE)?;
    replacement.file().write_all(&vec![0; blob_at])?;
    let (summed, bytes, sha256) = thread::scope(|scope| {
        let (sender, receiver) = sync_channel(PIECES_MAX);
        let file = &*replacement.file();
        let packing = scope.spawn(move || {
            let mut out = Out { file, bytes: 0, hash: Sha256::default() };
            pack::pack(Pieces { receiver, piece: Vec::new(), at: 0 }, &mut out)?;
            Ok::<_, io::Error>((out.bytes, out.hash.finish()))
        });
        let summed = feed(dir, options, &meta, sender);
        let (bytes, sha256) = packing.join().map_err(|_| WriteError::Compressor)??;
        Ok::<_, WriteError>((summed?, bytes, sha256))
    })?;
    let header = header(&meta, signer, summed, bytes, sha256, now_s);
    let pki::Signed { scheme, certificates, bytes } = signer.identity.sign(&header.signed())?;
    let head = Head::encode(&header, &Signature { scheme, certificates, bytes }, Some(blob_at))?;
    replacement.file().seek(SeekFrom::Start(0))?;
    replacement.file().write_all(&head)?;
    read_back(&mut replacement, signer, now_s)?;
    replacement.finish()?;
    Ok(header)
}

/// What the store says of its content, if that can be exported.
fn meta(dir: &Path, options: &store::Options) -> Result<Meta, WriteError> {
    let (_, meta) = Store::open(dir, options.clone(), &mut |_, _| {})?;
    let bytes = meta.filter(|bytes| !bytes.is_empty()).ok_or(WriteError::Nothing)?;
    let meta = Meta::from_bytes(&bytes).ok_or(WriteError::UnknownMeta)?;
    if meta.source == Source::ControlPlane { Ok(meta) } else { Err(WriteError::File) }
}

/// How much to leave for the head: it is known only when everything else is.
fn head_bytes(signer: &Verifier) -> Result<usize, WriteError> {
    let trial = signer.identity.sign(b"EGbundle: how long is a signature?")?;
    let certificates: usize = trial.certificates.iter().map(|der| der.len() + size_of::<u32>()).sum();
    let length = FIXED_BYTES + HEADER_BYTES_MAX + certificates + trial.bytes.len() + SIGNATURE_SLACK_BYTES;
    Ok(length.next_multiple_of(512))
}

/// What the entities come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Summed {
    count: u64,
    root: u64,
    plain: u64,
}

/// Reads the store and hands its entities to the compressor, which ends when `sender` goes.
fn feed(dir: &Path, options: &store::Options, meta: &Meta, sender: SyncSender<Vec<u8>>) -> Result<Summed, WriteError> {
    let (mut summed, mut pending, mut foreign) = (Summed::default(), Vec::new(), false);
    let (_, found) = Store::open(dir, options.clone(), &mut |key, value| {
        let Some(record) = state::record(key, value) else {
            foreign |= key.table == state::TABLE_ENTITIES;
            return;
        };
        if record.version > meta.version {
            foreign = true;
            return;
        }
        let before = pending.len();
        pack::push(meta.version, &record, &mut pending);
        summed.count += 1;
        summed.root = summed.root.wrapping_add(record.tag);
        summed.plain += (pending.len() - before) as u64;
        if pending.len() >= PIECE_BYTES {
            // A compressor that has ended says why itself.
            let _ = sender.send(std::mem::take(&mut pending));
        }
    })?;
    let _ = sender.send(pending);
    if summed.plain > PLAIN_BYTES_MAX {
        return Err(WriteError::TooLarge);
    }
    let same = found.as_deref().and_then(Meta::from_bytes).as_ref() == Some(meta);
    let whole = (summed.count, summed.root) == (meta.count, meta.root);
    if same && whole && !foreign { Ok(summed) } else { Err(WriteError::Content) }
}

fn header(meta: &Meta, signer: &Verifier, summed: Summed, bytes: u64, sha256: [u8; 32], now_s: u64) -> Header {
    // With certificates of their own, nodes do not know how their control plane names the cluster.
    let cluster = match signer.mtls {
        Mtls::Shared => Id::from_bytes(signer.identity.cluster()),
        Mtls::Pki(_) => Id::default(),
    };
    Header {
        cluster,
        epoch: meta.epoch,
        term: meta.term,
        version: meta.version,
        root: summed.root,
        count: summed.count,
        audience: AUDIENCE_ALL,
        codec: CODEC_ZSTD,
        plain: summed.plain,
        bytes,
        sha256,
        writer: Writer::DataPlane,
        software: concat!("edge-gateway ", env!("CARGO_PKG_VERSION")).to_owned(),
        made_s: now_s,
    }
}

/// Takes apart what was written, as whoever imports it will.
fn read_back(replacement: &mut Replacement, signer: &Verifier, now_s: u64) -> Result<(), WriteError> {
    let mut checked = check_file(replacement.file().try_clone()?, signer, now_s).map_err(WriteError::Unreadable)?;
    let begin = checked.header.begin();
    let mut entities = Unpack::new(begin, checked.blob()?).map_err(WriteError::Unpackable)?;
    while entities.next().map_err(WriteError::Unpackable)?.is_some() {}
    Ok(())
}

/// What the compressor reads: pieces from another thread.
struct Pieces {
    receiver: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            match self.receiver.recv() {
                Ok(piece) => (self.piece, self.at) = (piece, 0),
                Err(_) => return Ok(0),
            }
        }
        let rest = self.piece.get(self.at..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        self.at += count;
        Ok(count)
    }
}

/// Where it writes: the file, counted and hashed.
struct Out<'a> {
    file: &'a std::fs::File,
    bytes: u64,
    hash: Sha256,
}

impl Write for Out<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.bytes += count as u64;
        self.hash.update(bytes.get(..count).unwrap_or_default());
        if self.bytes > BLOB_BYTES_MAX { Err(io::Error::other("more than a bundle may hold")) } else { Ok(count) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
