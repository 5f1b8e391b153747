//! Packs the operations of a DELTA for nodes that unpack them, with the C library. A step is packed once for all nodes that
//! get it.

use wire::message::{CODEC_DICTIONARY, CODEC_ZSTD};
use wire::pack::{DICTIONARY, MAGIC, Pack};
use zstd::bulk::Compressor;
use zstd::dict::EncoderDictionary;

/// Up to so many bytes the dictionary tells more than the bytes themselves; measured with generated entities.
const DICTIONARY_PLAIN_MAX: usize = 32 * 1024;

/// Higher levels take one percent off, and several times as long.
const LEVEL: i32 = 9;

/// What packing needs each time.
pub(super) struct Packer {
    dictionary: EncoderDictionary<'static>,
}

impl Packer {
    /// Digests the dictionary.
    pub(super) fn new() -> Self {
        Self { dictionary: EncoderDictionary::copy(DICTIONARY, LEVEL) }
    }

    fn compress(&self, plain: &[u8]) -> std::io::Result<(u8, Vec<u8>)> {
        let is_primed = plain.len() <= DICTIONARY_PLAIN_MAX;
        let mut compressor =
            if is_primed { Compressor::with_prepared_dictionary(&self.dictionary)? } else { Compressor::new(LEVEL)? };
        compressor.include_dictid(false)?;
        let mut frame = compressor.compress(plain)?;
        frame.drain(..MAGIC.len().min(frame.len()));
        Ok((if is_primed { CODEC_DICTIONARY } else { CODEC_ZSTD }, frame))
    }
}

impl Default for Packer {
    fn default() -> Self {
        Self::new()
    }
}

impl Pack for Packer {
    fn pack(&self, plain: &[u8]) -> Option<(u8, Vec<u8>)> {
        self.compress(plain).ok().filter(|(_, packed)| packed.len() < plain.len())
    }
}
