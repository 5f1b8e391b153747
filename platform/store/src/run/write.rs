//! Writes a run: gathers records into chunks, packs and seals them, and gives the file its name when all of it is durable.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use super::{
    CHUNK_BYTES, Codec, END_MAGIC, ENTRY_BYTES, Entry, HEADER_BYTES, Home, Run, Span, TEMPORARY, TRAILER_BYTES,
};
use super::{chunk_hash, end_hash, header};
use crate::cipher::What;
use crate::fault::point;
use crate::layout::{remove, sync_data, sync_dir};
use crate::seal::{Root, key_bytes};
use crate::{Key, Mode};

const WRITE_BUFFER_BYTES: usize = 64 * 1024;

/// A run being written.
pub(crate) struct Writer {
    file: BufWriter<File>,
    home: Home,
    temporary: PathBuf,
    span: Span,
    offset: u64,
    first: Option<Key>,
    chunk: Vec<u8>,
    index: Vec<Entry>,
    finished: bool,
}

impl Writer {
    /// Begins a run.
    pub(crate) fn create(home: &Home, span: Span) -> io::Result<Writer> {
        let temporary = home.dir.join(format!("{}{TEMPORARY}", span.name()));
        point(&temporary)?;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&temporary)?;
        let mut writer = Writer {
            file: BufWriter::with_capacity(WRITE_BUFFER_BYTES, file),
            home: home.clone(),
            temporary,
            span,
            offset: HEADER_BYTES as u64,
            first: None,
            chunk: Vec::new(),
            index: Vec::new(),
            finished: false,
        };
        writer.file.write_all(&header(home.generation, span))?;
        Ok(writer)
    }

    /// Adds a record, or that there is none. Keys must ascend.
    pub(crate) fn put(&mut self, key: &Key, value: Option<&[u8]>) -> io::Result<()> {
        self.first.get_or_insert(*key);
        self.chunk.extend_from_slice(&key_bytes(key));
        let len = value.map_or(0, |value| value.len() as u64 + 1);
        self.chunk.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
        match value {
            Some(sealed) if self.is_sealed() => {
                // The ciphertext would not shrink; with its nonce, the plain value makes the same one again.
                let opened = self.home.cipher.take_apart(key, sealed);
                let (nonce, plain) = opened.ok_or_else(|| io::Error::other("a value that its key does not open"))?;
                self.chunk.extend_from_slice(&nonce);
                self.chunk.extend_from_slice(&plain);
            }
            value => self.chunk.extend_from_slice(value.unwrap_or_default()),
        }
        if self.chunk.len() < CHUNK_BYTES { Ok(()) } else { self.end_chunk() }
    }

    fn end_chunk(&mut self) -> io::Result<()> {
        let Some(first) = self.first.take() else { return Ok(()) };
        let packed = lz4::compress(&self.chunk);
        // What does not come back is not trusted: a fault of the compressor must not cost the only good copy.
        let comes_back = || {
            let mut back = vec![0; self.chunk.len()];
            lz4::decompress_into(&packed, &mut back) && back == self.chunk
        };
        let (mut codec, mut kept) = if packed.len() < self.chunk.len() && comes_back() {
            (Codec::Lz4, Cow::from(&packed))
        } else {
            (Codec::Plain, Cow::from(&self.chunk))
        };
        if self.is_sealed() {
            let within = [&[codec as u8], &*kept].concat();
            let what = What::Chunk { to: self.span.to, offset: self.offset };
            let sealed = self.home.cipher.seal(what, within.into()).map_err(io::Error::other)?;
            (codec, kept) = (Codec::Sealed, Cow::Owned(sealed.to_vec()));
        }
        let kept = &*kept;
        point(&self.temporary)?;
        self.file.write_all(kept)?;
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.index.push(Entry {
            first,
            offset: self.offset,
            kept: length(kept),
            plain: length(&self.chunk),
            codec,
            hash: chunk_hash(self.home.generation, self.offset, kept),
        });
        self.offset += kept.len() as u64;
        self.chunk.clear();
        Ok(())
    }

    fn is_sealed(&self) -> bool {
        self.home.cipher.mode() != Mode::Off
    }

    /// Completes the run: `root` is the content as of its last commit. It is durable, and has its name, afterwards.
    pub(crate) fn finish(self, root: &Root) -> io::Result<Run> {
        self.complete(root, true)
    }

    /// As [`Writer::finish`], for a run that need not survive.
    pub(crate) fn finish_unsynced(self, root: &Root) -> io::Result<Run> {
        self.complete(root, false)
    }

    fn complete(mut self, root: &Root, durable: bool) -> io::Result<Run> {
        self.end_chunk()?;
        let root_bytes = root.encode(self.home.generation);
        let mut end = Vec::with_capacity(self.index.len() * ENTRY_BYTES + root_bytes.len() + TRAILER_BYTES);
        self.index.iter().for_each(|entry| entry.encode(&mut end));
        end.extend_from_slice(&root_bytes);
        end.extend_from_slice(&self.offset.to_le_bytes());
        for len in [self.index.len(), root_bytes.len()] {
            end.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
        }
        end.extend_from_slice(&end_hash(self.home.generation, self.span, &end).to_le_bytes());
        end.extend_from_slice(&END_MAGIC);
        self.file.write_all(&end)?;
        self.file.flush()?;
        let file = self.file.get_ref().try_clone()?;
        if durable {
            point(&self.temporary)?;
            sync_data(&file)?;
        }
        point(&self.temporary)?;
        fs::rename(&self.temporary, self.span.path(&self.home.dir))?;
        self.finished = true;
        if durable {
            sync_dir(&self.home.dir)?;
        }
        Ok(Run {
            file,
            path: self.span.path(&self.home.dir),
            home: self.home.clone(),
            span: self.span,
            root: root.clone(),
            index: std::mem::take(&mut self.index),
            bytes: self.offset + end.len() as u64,
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed now is removed by the next open.
            let _ = remove(&self.temporary);
        }
    }
}
