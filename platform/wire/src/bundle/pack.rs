//! The data plane's compressor: what a data plane holds becomes the blob of a bundle. It is the encoder of the library that
//! decodes full syncs, in pure Rust: fast, and worse than the control plane's by what the README says.

use crate::delta::push_entity;
use model::Record;
use ruzstd::encoding::{CompressionLevel, compress};
use std::io::{self, Read, Write};

/// Appends a record as the stream of a full sync to `version` has it.
pub fn push(version: u64, record: &Record, out: &mut Vec<u8>) {
    let Record { kind, id, version: changed, tag, body } = record;
    push_entity(version, kind.code(), *id, *changed, *tag, body, out);
}

/// Compresses everything of `source` into one frame of [`crate::message::CODEC_ZSTD`] on `drain`.
///
/// # Errors
/// The first one of `source` or `drain`.
pub fn pack(source: impl Read, drain: impl Write) -> io::Result<()> {
    // The library panics at an error of either, so it is shown none: a source that fails has ended, and a drain that
    // fails takes everything.
    let (mut source, mut drain) = (Source { source, failed: None }, Drain { drain, failed: None });
    compress(&mut source, &mut drain, CompressionLevel::Fastest);
    source.failed.or(drain.failed).map_or(Ok(()), Err)
}

struct Source<R> {
    source: R,
    failed: Option<io::Error>,
}

struct Drain<W> {
    drain: W,
    failed: Option<io::Error>,
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.failed.is_some() {
            return Ok(0);
        }
        loop {
            match self.source.read(buffer) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.failed = Some(error);
                    return Ok(0);
                }
            }
        }
    }
}

impl<W: Write> Write for Drain<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed.is_none() {
            self.failed = self.drain.write_all(bytes).err();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
