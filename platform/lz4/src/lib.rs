//! LZ4 blocks, as the store's archive has them.
//!
//! All of `lz4_flex` is inline, so that it is compiled as its caller is: for size, where the caller is the store. Reading
//! the archive is half of a start, so this is a crate of its own, which the workspace's profile compiles for speed. Nothing here may be inlined further up.

/// The bytes as one block, which may be longer than they are.
#[must_use]
#[inline(never)]
pub fn compress(bytes: &[u8]) -> Vec<u8> {
    lz4_flex::block::compress(bytes)
}

/// Whether a block is just so many bytes, which it then becomes. Otherwise what is in `bytes` means nothing.
#[must_use]
#[inline(never)]
pub fn decompress_into(block: &[u8], bytes: &mut [u8]) -> bool {
    lz4_flex::block::decompress_into(block, bytes).is_ok_and(|length| length == bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_packed_comes_back_and_is_told_from_what_is_longer_or_shorter() {
        let bytes = "an edge gateway is at the edge of an edge ".repeat(40).into_bytes();
        let block = compress(&bytes);
        assert!(block.len() < bytes.len() / 4);
        for (room, fits) in [(bytes.len(), true), (bytes.len() - 1, false), (bytes.len() + 1, false), (0, false)] {
            let mut back = vec![0; room];
            assert_eq!(decompress_into(&block, &mut back), fits, "{room}");
            assert!(!fits || back == bytes);
        }
        assert!(!decompress_into(&[0xff; 9], &mut [0; 64]));
    }
}
