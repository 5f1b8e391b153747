//! How records and the root are sealed: the bytes of sled's keys and values, and nothing about where they lie.
//!
//! A record is split into parts of at most [`PART_BYTES_MAX`] bytes; part 0 begins with a head that says how long the
//! whole is and carries its seal, a keyed hash over key, length and bytes. The root counts the records and sums their
//! seals, so that a lost, old or foreign record is noticed although each record by itself is whole.

use xxhash_rust::xxh3::Xxh3;

use crate::{Key, META_BYTES_MAX, VALUE_BYTES_MAX};

/// The format of records and root that this program writes, and the newest it reads.
pub(crate) const FORMAT: u8 = 1;
/// The most bytes of a value in one part. sled writes a whole leaf of about 20 parts at once, and moves what is larger
/// than 128 KiB to a file of its own, which it never syncs: 20 parts must stay below that.
pub(crate) const PART_BYTES_MAX: usize = 4 * 1024 - 64;
/// The sled key of the root.
pub(crate) const ROOT_KEY: [u8; 1] = [0];
/// First byte of the sled key of every part of a record.
const RECORD_PREFIX: u8 = 1;
/// Length of a record's sled key: prefix, table, kind, id, part.
const PART_KEY_BYTES: usize = 1 + 18 + 1;
/// Length of the head of part 0: format, length, seal.
const HEAD_BYTES: usize = 1 + 4 + 8;
/// Length of a root without its meta.
const ROOT_BYTES: usize = 1 + 5 * 8 + 1 + 4 + 8;

/// What a hash is for; part of its seed, so that one never passes for another.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Record = 1,
    Root = 2,
    Frame = 3,
    Spill = 4,
    Header = 5,
    Pointer = 6,
    Key = 7,
    RunHeader = 8,
    RunChunk = 9,
    RunEnd = 10,
}

/// No number of a generation, a commit or a journal is larger, so that one can be added to any that was read.
pub(crate) const NUMBER_MAX: u64 = u64::MAX >> 1;

/// Takes such a number off the front.
pub(crate) fn take_number(rest: &mut &[u8]) -> Option<u64> {
    take_u64(rest).filter(|number| *number <= NUMBER_MAX)
}

/// A hasher for one purpose, generation and number (a journal's serial, a commit's sequence number, or 0).
pub(crate) fn hasher(purpose: Purpose, generation: u64, number: u64) -> Xxh3 {
    let mut seed = Xxh3::new();
    seed.update(&[purpose as u8]);
    seed.update(&generation.to_le_bytes());
    seed.update(&number.to_le_bytes());
    Xxh3::with_seed(seed.digest())
}

/// Seals the records of one generation. Whoever seals many keeps one: the seed is the same for all.
pub(crate) struct Sealer(Xxh3);

impl Sealer {
    pub(crate) fn new(generation: u64) -> Sealer {
        Sealer(hasher(Purpose::Record, generation, 0))
    }

    /// The seal of a record.
    pub(crate) fn seal(&self, key: &Key, value: &[u8]) -> u64 {
        let mut hasher = self.0.clone();
        hasher.update(&key_bytes(key));
        hasher.update(&(value.len() as u64).to_le_bytes());
        hasher.update(value);
        hasher.digest()
    }
}

/// The seal of a record.
pub(crate) fn seal(generation: u64, key: &Key, value: &[u8]) -> u64 {
    Sealer::new(generation).seal(key, value)
}

pub(crate) fn key_bytes(key: &Key) -> [u8; 18] {
    let mut bytes = [0; 18];
    bytes[0] = key.table;
    bytes[1] = key.kind;
    bytes[2..].copy_from_slice(&key.id);
    bytes
}

/// The sled key of one part of a record.
pub(crate) fn part_key(key: &Key, part: u8) -> [u8; PART_KEY_BYTES] {
    let mut bytes = [0; PART_KEY_BYTES];
    bytes[0] = RECORD_PREFIX;
    bytes[1..19].copy_from_slice(&key_bytes(key));
    bytes[19] = part;
    bytes
}

/// The record and part that a sled key names; `None` if it is no key of ours.
pub(crate) fn parse_part_key(bytes: &[u8]) -> Option<(Key, u8)> {
    let bytes: &[u8; PART_KEY_BYTES] = bytes.try_into().ok()?;
    let [RECORD_PREFIX, table, kind, id @ .., part] = bytes else { return None };
    Some((Key { table: *table, kind: *kind, id: *id }, *part))
}

/// The head of a record: what part 0 says about the whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) len: usize,
    pub(crate) seal: u64,
}

impl Head {
    /// Reads a head and returns the rest of part 0; the error says what is wrong.
    pub(crate) fn parse(part: &[u8]) -> Result<(Head, &[u8]), &'static str> {
        let Some((head, rest)) = part.split_first_chunk::<HEAD_BYTES>() else { return Err("a record without a head") };
        let [format, len @ .., _, _, _, _, _, _, _, _] = head;
        let [.., s0, s1, s2, s3, s4, s5, s6, s7] = head;
        if *format != FORMAT {
            return Err("a record of an unknown format");
        }
        let len = u32::from_le_bytes(*len) as usize;
        if len > VALUE_BYTES_MAX {
            return Err("a record longer than the limit");
        }
        Ok((Head { len, seal: u64::from_le_bytes([*s0, *s1, *s2, *s3, *s4, *s5, *s6, *s7]) }, rest))
    }

    /// The length of the value as the root counts it.
    pub(crate) fn bytes(&self) -> u64 {
        self.len as u64
    }

    /// In how many parts the record lies.
    pub(crate) fn parts(&self) -> u8 {
        parts(self.len)
    }
}

fn parts(len: usize) -> u8 {
    u8::try_from(len.div_ceil(PART_BYTES_MAX).max(1)).unwrap_or(u8::MAX)
}

/// The sled values of a record, part by part, and its seal.
pub(crate) fn split(generation: u64, key: &Key, value: &[u8]) -> (u64, Vec<Vec<u8>>) {
    let seal = seal(generation, key, value);
    let (first, mut rest) = value.split_at(value.len().min(PART_BYTES_MAX));
    let mut head = Vec::with_capacity(HEAD_BYTES + first.len());
    head.push(FORMAT);
    head.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
    head.extend_from_slice(&seal.to_le_bytes());
    head.extend_from_slice(first);
    let mut parts = vec![head];
    while !rest.is_empty() {
        let (part, after) = rest.split_at(rest.len().min(PART_BYTES_MAX));
        parts.push(part.to_vec());
        rest = after;
    }
    (seal, parts)
}

/// What a generation's sled holds as of its last checkpoint.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Root {
    /// The number of the last commit in it.
    pub(crate) seq: u64,
    /// How many records there are.
    pub(crate) records: u64,
    /// The wrapping sum of their seals.
    pub(crate) sum: u64,
    /// The bytes of their values.
    pub(crate) bytes: u64,
    /// The meta of the last commit; none if there never was one.
    pub(crate) meta: Option<Vec<u8>>,
}

impl Root {
    /// Its sled value.
    pub(crate) fn encode(&self, generation: u64) -> Vec<u8> {
        let meta = self.meta.as_deref().unwrap_or_default();
        let mut bytes = Vec::with_capacity(ROOT_BYTES + meta.len());
        bytes.push(FORMAT);
        for number in [generation, self.seq, self.records, self.sum, self.bytes] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.push(u8::from(self.meta.is_some()));
        bytes.extend_from_slice(&u32::try_from(meta.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(meta);
        let mut hasher = hasher(Purpose::Root, generation, 0);
        hasher.update(&bytes);
        bytes.extend_from_slice(&hasher.digest().to_le_bytes());
        bytes
    }

    /// Reads it back; the error says what is wrong.
    pub(crate) fn parse(bytes: &[u8], generation: u64) -> Result<Root, &'static str> {
        let Some((body, hash)) = bytes.split_last_chunk::<8>() else { return Err("a root too short") };
        if body.first() != Some(&FORMAT) {
            return Err("a root of an unknown format");
        }
        let mut hasher = hasher(Purpose::Root, generation, 0);
        hasher.update(body);
        if hasher.digest() != u64::from_le_bytes(*hash) {
            return Err("a root that fails its hash");
        }
        let mut rest = body.get(1..).unwrap_or_default();
        let short = "a root cut short";
        if take_u64(&mut rest).ok_or(short)? != generation {
            return Err("a root of another generation");
        }
        let seq = take_number(&mut rest).ok_or("a root with a number too large")?;
        let records = take_u64(&mut rest).ok_or(short)?;
        let sum = take_u64(&mut rest).ok_or(short)?;
        let bytes = take_u64(&mut rest).ok_or(short)?;
        let has_meta = take(&mut rest, 1).ok_or(short)? == [1];
        let len = take_u32(&mut rest).ok_or(short)? as usize;
        if len != rest.len() || len > META_BYTES_MAX {
            return Err("a root with a meta of the wrong length");
        }
        Ok(Root { seq, records, sum, bytes, meta: has_meta.then(|| rest.to_vec()) })
    }
}

/// Takes bytes off the front.
pub(crate) fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(head)
}

/// Takes a little-endian number off the front.
pub(crate) fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(u32::from_le_bytes(*head))
}

/// Takes a little-endian number off the front.
pub(crate) fn take_u64(rest: &mut &[u8]) -> Option<u64> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(u64::from_le_bytes(*head))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key { table: 1, kind: 2, id: [3; 16] };

    #[test]
    fn a_root_comes_back_and_no_flipped_bit_passes() {
        let root = Root { seq: 7, records: 3, sum: u64::MAX - 4, bytes: 99, meta: Some(b"meta".to_vec()) };
        let bytes = root.encode(9);
        assert_eq!(Root::parse(&bytes, 9), Ok(root));
        assert!(Root::parse(&bytes, 8).is_err());
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Root::parse(&bad, 9).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Root::parse(&bytes[..len], 9).is_err());
        }
    }

    #[test]
    fn an_empty_meta_is_not_no_meta() {
        for meta in [None, Some(Vec::new())] {
            let root = Root { meta, ..Root::default() };
            assert_eq!(Root::parse(&root.encode(1), 1), Ok(root));
        }
    }

    #[test]
    fn a_record_is_split_at_the_limit_and_its_head_knows_into_how_many_parts() {
        for (len, parts) in [(0, 1), (1, 1), (PART_BYTES_MAX, 1), (PART_BYTES_MAX + 1, 2), (VALUE_BYTES_MAX, 131)] {
            let value = vec![5; len];
            let (seal, split) = split(1, &KEY, &value);
            assert_eq!(split.len(), parts, "{len}");
            assert!(split.iter().all(|part| part.len() < 4 * 1024));
            let (head, first) = Head::parse(&split[0]).unwrap();
            assert_eq!(head, Head { len, seal });
            assert_eq!(usize::from(head.parts()), parts);
            assert_eq!(first.len() + split[1..].iter().map(Vec::len).sum::<usize>(), len);
        }
    }

    #[test]
    fn seals_differ_by_generation_key_and_value() {
        let seals = [
            seal(1, &KEY, b"v"),
            seal(2, &KEY, b"v"),
            seal(1, &Key { kind: 3, ..KEY }, b"v"),
            seal(1, &KEY, b"w"),
            seal(1, &KEY, b"v\0"),
        ];
        for (i, a) in seals.iter().enumerate() {
            assert!(seals[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn part_keys_sort_as_their_records_do() {
        let keys = [KEY, Key { id: [4; 16], ..KEY }, Key { kind: 3, id: [0; 16], ..KEY }];
        for pair in keys.windows(2) {
            assert!(part_key(&pair[0], 255) < part_key(&pair[1], 0));
        }
        assert_eq!(parse_part_key(&part_key(&KEY, 7)), Some((KEY, 7)));
        assert_eq!(parse_part_key(&ROOT_KEY), None);
    }
}
