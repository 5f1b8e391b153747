//! What of a message travels compressed: the operations of a DELTA (see [`crate::delta`]). The control plane packs with
//! whatever library it likes; this is what unpacks, bounded by what was announced. A DELTA of a few entities is too small
//! to teach a compressor what entities look like, so both ends hold a dictionary that says it: [`DICTIONARY`].

use crate::limits::BLOB_WINDOW_LOG_MAX;
use crate::message::{CODEC_DICTIONARY, CODEC_ZSTD};
use ruzstd::decoding::{BlockDecodingStrategy, Dictionary, FrameDecoder};
use std::io::Read;

/// The dictionary of [`CODEC_DICTIONARY`], in zstd's format: how entities look that are configured often. It was trained
/// by `examples/dictionary.rs`. Another one is another codec: these bytes never change.
pub const DICTIONARY: &[u8] = include_bytes!("pack/dictionary");

/// The id of the dictionary, which no frame names: its codec does.
const DICTIONARY_ID: u32 = 1;

/// What every zstd frame starts with (RFC 8878, section 3.1.1), and no packed frame.
pub const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How much is unpacked at once: one block of zstd.
const PIECE_BYTES: usize = 128 * 1024;

/// Packs for nodes that can unpack; a control plane has one.
pub trait Pack {
    /// `plain` as one zstd frame without its [`MAGIC`], with the dictionary or without, as the codec that is named with it
    /// says. `None`: it does not become smaller.
    fn pack(&self, plain: &[u8]) -> Option<(u8, Vec<u8>)>;
}

/// Packs nothing.
#[derive(Debug, Clone, Copy)]
pub struct Plain;

impl Pack for Plain {
    fn pack(&self, _: &[u8]) -> Option<(u8, Vec<u8>)> {
        None
    }
}

/// Why something packed cannot be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It is packed in a way that this build does not know.
    Codec(u8),
    /// It is no such frame, or does not become exactly as many bytes as announced.
    Malformed,
}

/// The `plain` bytes that were packed. Takes no more memory than those, a window of 1 MiB and two blocks.
pub(crate) fn unpack(codec: u8, packed: &[u8], plain: usize) -> Result<Vec<u8>, Unreadable> {
    if codec != CODEC_DICTIONARY && codec != CODEC_ZSTD {
        return Err(Unreadable::Codec(codec));
    }
    inflate(codec == CODEC_DICTIONARY, packed, plain).ok_or(Unreadable::Malformed)
}

fn inflate(primed: bool, packed: &[u8], plain: usize) -> Option<Vec<u8>> {
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(1 << BLOB_WINDOW_LOG_MAX);
    let mut source = MAGIC.as_slice().chain(packed);
    decoder.reset(&mut source).ok()?;
    if primed {
        decoder.add_dict(Dictionary::decode_dict(DICTIONARY).ok()?).ok()?;
        decoder.force_dict(DICTIONARY_ID).ok()?;
    }
    let mut bytes = Vec::with_capacity(plain);
    while !decoder.is_finished() {
        decoder.decode_blocks(&mut source, BlockDecodingStrategy::UptoBytes(PIECE_BYTES)).ok()?;
        let left = (plain - bytes.len()) as u64;
        (&mut decoder).take(left + 1).read_to_end(&mut bytes).ok()?;
        if bytes.len() > plain {
            return None;
        }
    }
    let is_all = source.read(&mut [0]).ok()? == 0;
    (is_all && bytes.len() == plain).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What another release of ours holds.
    const DICTIONARY_DIGEST: u64 = 6_566_307_618_835_982_359;

    fn packed(codec: u8, plain: &[u8]) -> Vec<u8> {
        let dictionary = if codec == CODEC_DICTIONARY { DICTIONARY } else { &[] };
        let mut compressor = zstd::bulk::Compressor::with_dictionary(19, dictionary).unwrap();
        compressor.include_dictid(false).unwrap();
        compressor.compress(plain).unwrap().split_off(MAGIC.len())
    }

    #[test]
    fn the_dictionary_of_a_codec_never_changes() {
        assert_eq!(xxhash_rust::xxh3::xxh3_64(DICTIONARY), DICTIONARY_DIGEST);
        assert_eq!(Dictionary::decode_dict(DICTIONARY).unwrap().id, DICTIONARY_ID);
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        let long: Vec<u8> =
            (0..crate::limits::DELTA_BYTES_MAX as u32 / 4).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for plain in [&b""[..], b"x", b"api.example.com api.example.com", &long] {
            for codec in [CODEC_DICTIONARY, CODEC_ZSTD] {
                let unpacked = unpack(codec, &packed(codec, plain), plain.len());
                assert!(unpacked.as_deref() == Ok(plain), "{} bytes with codec {codec}", plain.len());
            }
        }
    }

    #[test]
    fn whatever_is_not_as_announced_is_refused() {
        let plain = b"/orders/(?<id>[^/]+)$ /orders/(?<id>[^/]+)/items$".repeat(3);
        let right = packed(CODEC_DICTIONARY, &plain);
        let refused = Err(Unreadable::Malformed);
        assert_eq!(unpack(CODEC_DICTIONARY, &right, plain.len() - 1), refused, "more than announced");
        assert_eq!(unpack(CODEC_DICTIONARY, &right, plain.len() + 1), refused, "less than announced");
        assert_eq!(
            unpack(CODEC_DICTIONARY, &[&right[..], b"!"].concat(), plain.len()),
            refused,
            "bytes after the frame"
        );
        assert_eq!(unpack(9, &right, plain.len()), Err(Unreadable::Codec(9)));
        for cut in 0..right.len() {
            assert_eq!(unpack(CODEC_DICTIONARY, &right[..cut], plain.len()), refused, "cut at {cut}");
        }
        let bomb = packed(CODEC_ZSTD, &vec![0; 30_000_000]);
        assert_eq!(unpack(CODEC_ZSTD, &bomb, 1_000), refused, "many times what was announced");
    }
}
