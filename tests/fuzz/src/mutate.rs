//! Seeded mutation of valid inputs: what stands in for a fuzzer where there is no nightly toolchain.

/// SplitMix64: the same seed gives the same numbers.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// Starts at a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 for an end of 0.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).unwrap_or_default()
    }
}

/// The longest input that mutation makes, in bytes.
const BYTES_MAX: usize = 64 * 1024;
/// Bytes that lengths, tags and numbers break at.
const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xfe, 0xff, b'"', b'{'];

/// Another input, made of `seeds` by a few random edits.
pub fn mutate(seeds: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let pick = |rng: &mut Rng| seeds.get(rng.below(seeds.len())).cloned().unwrap_or_default();
    let mut bytes = pick(rng);
    for _ in 0..=rng.below(6) {
        let at = rng.below(bytes.len());
        let end = at + rng.below((bytes.len() - at).min(32) + 1);
        match rng.below(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
            3 => {
                let other = pick(rng);
                let from = rng.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            4 => bytes.splice(at..at, [EDGES[rng.below(EDGES.len())]]).for_each(drop),
            5 if at < bytes.len() => bytes[at] = EDGES[rng.below(EDGES.len())],
            6 if at < bytes.len() => bytes[at] = bytes[at].wrapping_add(1),
            _ if at < bytes.len() => bytes[at] ^= 1 << rng.below(8),
            _ => bytes.push(EDGES[rng.below(EDGES.len())]),
        }
    }
    bytes.truncate(BYTES_MAX);
    bytes
}
