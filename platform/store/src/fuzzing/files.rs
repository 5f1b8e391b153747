//! For fuzzers only: what is read as whole files. Journals with their headers, and what is salvaged of them; sled's files
//! as `peek` reads them; pointers, keys, sled's `conf`.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::GENERATION;
use crate::frame::{Content, Frame, Place, SECTOR};
use crate::journal::{self, FRAMES_START, JOURNAL_BYTES, Journal};
use crate::tree::TreeError;
use crate::{Change, Key, Mode, cipher, layout};

const SECRET: &[u8] = b"a secret";
/// Bytes of an operation of [`journals`].
const OPERATION_BYTES: usize = 4;

/// What [`small`] took for a file of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Small {
    /// The header of a journal with this serial.
    Header(u64),
    /// A pointer to this generation, in this format.
    Pointer(u64, u32),
    /// A key of this mode, and whether the secret opens it.
    Key(Mode, bool),
    /// sled's `conf`.
    Conf,
}

/// One byte chooses a small file, the rest is what is in it before its hash: the fields of a journal's header, the line of
/// a pointer, the body of a key file, the text of sled's `conf`.
pub fn small(dir: &Path, bytes: &[u8]) -> Option<Small> {
    let (which, bytes) = bytes.split_first()?;
    match which % 4 {
        0 => journal::fuzz_header(bytes).map(Small::Header),
        1 => layout::fuzz_pointer(dir, bytes).map(|(number, format)| Small::Pointer(number, format)),
        2 => cipher::fuzz_key_file(bytes, SECRET).map(|(mode, opens)| Small::Key(mode, opens)),
        _ => crate::peek::fuzz_conf(dir, bytes).then_some(Small::Conf),
    }
}

/// Valid inputs of [`small`].
#[must_use]
pub fn small_seeds() -> Vec<Vec<u8>> {
    let led = |which: u8, bytes: &[u8]| [&[which], bytes].concat();
    let header = journal::fuzz_header_bytes(GENERATION, 8, 5);
    let key = cipher::fuzz_key_file_seed(Mode::Aes256Gcm, SECRET).expect("there is randomness");
    let conf = "segment_size: 524288\nuse_compression: false\nversion: 0.34\nthe_file: is sled's\n";
    vec![
        led(0, &header[..40]),
        led(1, b"edge-store 1 generation 42"),
        led(1, b"edge-store 2 generation 7"),
        led(2, &key),
        led(3, conf.as_bytes()),
    ]
}

/// Both journals of a generation, out of operations of four bytes: a header, a frame, a gap, a damage. Returns how many
/// frames the newer one has, if the journals belong together.
pub fn journals(dir: &Path, script: &[u8]) -> Option<usize> {
    write_journals(dir, script).ok()?;
    let salvaged = journal::salvage(dir, GENERATION).ok()?;
    assert!(salvaged.is_sorted_by_key(|frame| frame.seq), "salvaged out of order");
    let pair = journal::read(dir, GENERATION).ok()?;
    let older = pair.older.iter().flat_map(|older| &older.frames);
    for frame in pair.newer.frames.iter().chain(older) {
        assert!(salvaged.contains(frame), "read, but not salvaged: {frame:?}");
    }
    // A look reads the files that frames name as well, and there are none here.
    if pair.newer.frames.iter().any(|frame| matches!(frame.content, Content::Spilled { .. })) {
        return None;
    }
    let journal = Journal::open(dir, GENERATION, &pair.newer, true).ok()?;
    let looked = journal::check(dir, &journal, pair.newer.last(), None);
    assert!(looked.is_ok(), "what a start reads fails a look: {looked:?}");
    let again = journal::read(dir, GENERATION).map(|again| again.newer.frames);
    assert!(again.is_ok_and(|again| again == pair.newer.frames), "a look changed it");
    Some(pair.newer.frames.len())
}

fn write_journals(dir: &Path, script: &[u8]) -> std::io::Result<()> {
    let create = |name| {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(dir.join(name))?;
        file.set_len(JOURNAL_BYTES).map(|()| file)
    };
    let files = [create("j0")?, create("j1")?];
    let (mut ends, mut last, mut serials) = ([FRAMES_START; 2], [0; 2], [0; 2]);
    for operation in script.as_chunks::<OPERATION_BYTES>().0 {
        let [what, which, a, b] = *operation;
        let of = usize::from(which % 2);
        let place = Place { generation: GENERATION, serial: serials[of], offset: ends[of] };
        match what % 4 {
            0 => {
                (serials[of], last[of]) = (u64::from(a), u64::from(b));
                let generation = GENERATION + u64::from(which & 0x80 != 0);
                let header = journal::fuzz_header_bytes(generation, serials[of], last[of]);
                for copy in [0, 1].into_iter().filter(|copy| which & (2 << copy) != 0) {
                    files[of].write_all_at(&header, copy * 4096)?;
                }
            }
            1 => {
                let key = |id| Key { table: 1, kind: 2, id: [id; 16] };
                let changes = (0..b % 8).map(|id| Change { key: key(id), value: (id % 3 > 0).then(|| [id].into()) });
                let (prev, seq) = (last[of] + u64::from(a & 1), last[of] + u64::from(a >> 1));
                let content = match which & 2 {
                    0 => Content::Here(changes.collect()),
                    _ => Content::Spilled { len: u64::from(b), hash: 1 },
                };
                let frame = Frame { prev, seq, meta: vec![b; usize::from(a % 4)], content };
                let bytes = frame.encode(place);
                if ends[of] + bytes.len() as u64 <= JOURNAL_BYTES {
                    files[of].write_all_at(&bytes, ends[of])?;
                    (ends[of], last[of]) = (ends[of] + bytes.len() as u64, seq);
                }
            }
            2 => ends[of] = (ends[of] + u64::from(a) * SECTOR as u64).min(JOURNAL_BYTES),
            _ => {
                let at = (u64::from(a) << 8 | u64::from(b)) * 4;
                let mut byte = [0];
                files[of].read_exact_at(&mut byte, at)?;
                files[of].write_all_at(&[!byte[0]], at)?;
            }
        }
    }
    Ok(())
}

/// Valid inputs of [`journals`].
#[must_use]
pub fn journals_seeds() -> Vec<Vec<u8>> {
    // Headers of both files, both copies; frames that follow one on the other (seq one more each).
    let fresh = [[0, 7, 1, 5], [0, 6, 2, 5]];
    let frame = |of: u8, changes: u8| [1, of, 2, changes];
    let seed = |more: &[[u8; 4]]| [&fresh[..], more].concat().concat();
    vec![
        seed(&[]),
        seed(&[frame(0, 1), frame(0, 3)]),
        // The next use of the other file; one copy of its header; a torn tail; a header that is gone.
        seed(&[frame(0, 1), frame(0, 2), [0, 7, 3, 6], frame(1, 4)]),
        seed(&[frame(0, 1), [0, 3, 3, 5], frame(1, 1)]),
        seed(&[frame(0, 1), frame(0, 2), [3, 0, 8, 128 + 10]]),
        seed(&[frame(0, 1), [3, 0, 0, 2], [3, 0, 4, 2]]),
    ]
}

/// sled's files out of a script of messages; see `peek::fuzzing`. Returns the number of records, or what is wrong.
///
/// # Errors
/// What is wrong with the files.
pub fn peek(dir: &Path, script: &[u8]) -> Result<u64, String> {
    crate::peek::fuzzing::read(dir, script)
}

/// Valid inputs of [`peek`]: what sled itself writes, below `dir`.
#[must_use]
pub fn peek_seeds(dir: &Path) -> Vec<Vec<u8>> {
    let seed = |checkpoints: u8| {
        let dir = dir.join(checkpoints.to_string());
        std::fs::create_dir(&dir).map_err(TreeError::from)?;
        crate::peek::fuzzing::seed(&dir, checkpoints)
    };
    (1..=3).map(|checkpoints| seed(checkpoints).expect("sled writes to a new directory")).collect()
}
