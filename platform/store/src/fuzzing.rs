//! For fuzzers only (feature `fuzzing`): what the store reads from its files, with every hash made right.
//!
//! A hash keeps a fuzzer out as it keeps damage out; behind it lies what malice or an old bug may have written with a
//! valid one. Each function panics if what was read is not what its own writing gives back.

use std::fs;
use std::path::Path;

use crate::cipher::{Cipher, What};
use crate::frame::{Frame, Place, SECTOR, sealed};
use crate::run::{Cursor, FIRST_CHUNK_AT, Home, Run, Span, sealed as run_of};
use crate::seal::{Head, Root, hasher, parse_part_key, part_key};
use crate::{Key, Mode, seal::Purpose};

mod files;

pub use files::{Small, journals, journals_seeds, peek, peek_seeds, small, small_seeds};

const GENERATION: u64 = 3;
const PLACE: Place = Place { generation: GENERATION, serial: 9, offset: 8192 };
const SPAN: Span = Span { from: 0, to: 5 };
/// The most records that are walked over.
const RECORDS_MAX: usize = 1 << 16;

/// A frame of a journal: two bytes of length of the meta, one of flags, then meta and content. Returns the number of
/// its changes, if it is a frame.
pub fn frame(bytes: &[u8]) -> Option<usize> {
    let ([low, high, flags], payload) = bytes.split_first_chunk::<3>()?;
    let meta_len = u32::from(u16::from_le_bytes([*low, *high]));
    let file = sealed(PLACE, meta_len, u32::from(*flags), payload);
    let (frame, taken) = Frame::decode(PLACE, &file)?;
    assert!(taken % SECTOR == 0, "a frame that ends inside a sector");
    let again = frame.encode(PLACE);
    assert_eq!(Frame::decode(PLACE, &again), Some((frame.clone(), again.len())));
    Some(frame.changes())
}

/// The root record, the head of a record and a key of sled's. Returns the meta of the root, if it is one.
pub fn record(bytes: &[u8]) -> Option<Vec<u8>> {
    if let Some((key, part)) = parse_part_key(bytes) {
        assert_eq!(part_key(&key, part).as_slice(), bytes, "two keys of one record");
    }
    if let Ok((head, rest)) = Head::parse(bytes) {
        assert!(rest.len() < bytes.len() && head.parts() > 0);
    }
    let mut body = bytes.to_vec();
    let mut hash = hasher(Purpose::Root, GENERATION, 0);
    hash.update(&body);
    body.extend_from_slice(&hash.digest().to_le_bytes());
    let root = Root::parse(&body, GENERATION).ok()?;
    assert_eq!(Root::parse(&root.encode(GENERATION), GENERATION).as_ref(), Ok(&root));
    root.meta
}

/// A run of the archive in a file below `dir`: two bytes of the plain length, one of the codec, then the one chunk.
/// Returns the number of records in it, if all of it is sound.
pub fn run(dir: &Path, bytes: &[u8]) -> Option<usize> {
    let ([low, high, codec], chunk) = bytes.split_first_chunk::<3>()?;
    let plain = u32::from(u16::from_le_bytes([*low, *high]));
    let root = Root { seq: SPAN.to, ..Root::default() };
    fs::write(SPAN.path(dir), run_of(GENERATION, SPAN, &root, plain, *codec, chunk)).ok()?;
    walk(&Home::new(dir, GENERATION, &Cipher::none()))
}

/// As [`run`], of an encrypted generation: two bytes of the plain length, one of which the lowest bit chooses the cipher,
/// then what is sealed as the one chunk: its codec, and records with their nonces and plain values.
pub fn sealed_run(dir: &Path, bytes: &[u8]) -> Option<usize> {
    let ([low, high, mode], within) = bytes.split_first_chunk::<3>()?;
    let plain = u32::from(u16::from_le_bytes([*low, *high]));
    let cipher = Cipher::with_key(if mode % 2 == 0 { Mode::Aes256Gcm } else { Mode::Chacha20Poly1305 }, &[9; 32])?;
    let chunk = cipher.seal(What::Chunk { to: SPAN.to, offset: FIRST_CHUNK_AT }, within.into()).ok()?;
    let root = Root { seq: SPAN.to, ..Root::default() };
    fs::write(SPAN.path(dir), run_of(GENERATION, SPAN, &root, plain, 2, &chunk)).ok()?;
    walk(&Home::new(dir, GENERATION, &cipher))
}

/// The number of records in the run, if all of it is sound.
fn walk(home: &Home) -> Option<usize> {
    let run = Run::open(home, SPAN).ok()?;
    let mut cursor = Cursor::new(&run).ok()?;
    let mut last: Option<Key> = None;
    for count in 0..RECORDS_MAX {
        let Some(key) = cursor.key() else { return Some(count) };
        assert!(last.is_none_or(|last| last < key), "records out of order");
        let value = cursor.value().map(<[u8]>::to_vec);
        // A look-up begins at the chunk whose first key is not beyond it: here that is all zeros.
        let sealed = value.as_deref().filter(|_| home.cipher.mode() != Mode::Off);
        let opens = sealed.is_none_or(|sealed| home.cipher.take_apart(&key, sealed).is_some());
        assert!(opens, "handed over with a seal that does not open");
        assert!(run.get(&key).is_ok_and(|found| found == Some(value)), "walked over, but not found");
        last = Some(key);
        cursor.advance().ok()?;
    }
    None
}

/// Valid inputs of [`sealed_run`].
#[must_use]
pub fn sealed_run_seeds() -> Vec<Vec<u8>> {
    let value = |id: u8, plain: &[u8]| {
        let len = (plain.len() + crate::SEALED_EXTRA_BYTES) as u32 + 1;
        [&key_bytes(id)[..], &len.to_le_bytes(), &[id; crate::cipher::NONCE_BYTES], plain].concat()
    };
    let deleted = [&key_bytes(2)[..], &[0; 4]].concat();
    let chunk = [value(1, b"a value"), deleted, value(3, b"")].concat();
    let plain = u16::try_from(chunk.len()).unwrap_or(u16::MAX).to_le_bytes();
    let led = |mode: u8, codec: u8, bytes: &[u8]| [&plain[..], &[mode, codec], bytes].concat();
    vec![led(0, 0, &chunk), led(1, 1, &lz4::compress(&chunk))]
}

fn key_bytes(id: u8) -> [u8; 18] {
    crate::seal::key_bytes(&Key { table: 1, kind: 2, id: [id; 16] })
}

/// Valid inputs of [`frame`], [`record`] and [`run`].
#[must_use]
pub fn seeds() -> [Vec<Vec<u8>>; 3] {
    let key = |id: u8| Key { table: 1, kind: 2, id: [id; 16] };
    let change = |id: u8, value: Option<&[u8]>| crate::Change { key: key(id), value: value.map(Into::into) };
    let changes = vec![change(1, Some(b"a value")), change(2, None), change(3, Some(b""))];
    let mut content = Vec::new();
    crate::frame::encode_changes(&changes, &mut content);
    let framed = [&[4, 0, 0][..], b"meta", &content].concat();
    let spilled = [&[4, 0, 1][..], b"meta", &[7; 16]].concat();

    let root = Root { seq: 5, records: 2, sum: 9, bytes: 10, meta: Some(b"meta".to_vec()) }.encode(GENERATION);
    let root = root[..root.len() - 8].to_vec();
    let part = crate::seal::split(GENERATION, &key(1), b"value").1.concat();
    let records = vec![root, part, part_key(&key(1), 0).to_vec()];

    let chunk: Vec<u8> = changes.iter().flat_map(|change| record_of(&change.key, change.value.as_deref())).collect();
    let packed = lz4::compress(&chunk);
    let plain = u16::try_from(chunk.len()).unwrap_or(u16::MAX).to_le_bytes();
    let led = |codec: u8, bytes: &[u8]| [&plain[..], &[codec], bytes].concat();
    [vec![framed, spilled], records, vec![led(0, &chunk), led(1, &packed)]]
}

fn record_of(key: &Key, value: Option<&[u8]>) -> Vec<u8> {
    let len = value.map_or(0, |value| value.len() as u32 + 1).to_le_bytes();
    [&crate::seal::key_bytes(key)[..], &len, value.unwrap_or_default()].concat()
}
