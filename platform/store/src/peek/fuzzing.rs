//! For fuzzers only: sled's files out of a script of messages, with every checksum right, read by [`Peek`]; and the
//! script of files that sled wrote.
//!
//! A message of the script is one byte of kind and flags, the page, two bytes of length (least significant first), and
//! the body. Segments are put into the file in another order than that of the log, as sled's own are after a while.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::log::{Head, SEGMENT_BYTES, SEGMENT_HEAD_BYTES, Windows, first, segments};
use super::{Peek, SEGMENT_LINE};
use crate::seal::Root;
use crate::tree::{Tree, TreeError};
use crate::{Key, tree};

/// The generation that the records are sealed for.
const GENERATION: u64 = 1;
/// No script has more segments.
const SEGMENTS_MAX: u64 = 8;
const SCRIPT_HEAD_BYTES: usize = 4;

/// The kind of a message, and what is done to it.
const KIND: u8 = 0b0000_1111;
const NEXT_SEGMENT: u8 = 1 << 4;
const OF_ANOTHER_USE: u8 = 1 << 5;
const BAD_CHECKSUM: u8 = 1 << 6;
const TOO_LONG: u8 = 1 << 7;

/// Reads what the script says, at once and byte by byte. Returns the number of records in it, or what is wrong.
pub(crate) fn read(gen_dir: &Path, script: &[u8]) -> Result<u64, String> {
    write(gen_dir, script).map_err(|error| error.to_string())?;
    let read = |bytes: u64| -> Result<Root, String> {
        let mut peek = Peek::open(gen_dir, GENERATION).map_err(|error| error.to_string())?;
        loop {
            if let Some(root) = peek.step(bytes).map_err(|error| error.to_string())? {
                return Ok(root);
            }
        }
    };
    let (whole, piecemeal) = (read(u64::MAX), read(1));
    assert_eq!(whole, piecemeal, "what is read depends on how much at a time");
    whole.map(|root| root.records)
}

/// Writes the files of a script.
fn write(gen_dir: &Path, mut script: &[u8]) -> std::io::Result<()> {
    let dir = tree::path(gen_dir);
    fs::create_dir_all(&dir)?;
    let conf = SEGMENT_LINE.as_bytes();
    fs::write(dir.join("conf"), [conf, &crc32fast::hash(conf).to_le_bytes()].concat())?;
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(dir.join("db"))?;
    file.set_len(SEGMENTS_MAX * SEGMENT_BYTES)?;
    let mut segment = 0;
    let mut at = begin(&file, segment)?;
    while let Some(([flags, page, low, high], rest)) = script.split_first_chunk::<SCRIPT_HEAD_BYTES>() {
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (body, rest) = rest.split_at(len);
        script = rest;
        if flags & NEXT_SEGMENT != 0 {
            segment += 1;
            if segment == SEGMENTS_MAX {
                break;
            }
            at = begin(&file, segment)?;
        }
        let mut head = vec![flags & KIND];
        varint(body.len() as u64 + u64::from(flags & TOO_LONG) * SEGMENT_BYTES, &mut head);
        varint(segment + u64::from(flags & OF_ANOTHER_USE != 0), &mut head);
        varint(u64::from(*page), &mut head);
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(body);
        hasher.update(&head);
        let crc = !hasher.finalize() ^ u32::from(flags & BAD_CHECKSUM != 0);
        let message = [&crc.to_le_bytes()[..], &head, body].concat();
        file.write_all_at(&message, at)?;
        at += message.len() as u64;
    }
    Ok(())
}

/// Writes the head of a segment, and returns where its first message goes.
fn begin(file: &fs::File, segment: u64) -> std::io::Result<u64> {
    let lsn = (segment * SEGMENT_BYTES).cast_signed();
    let numbers = [(lsn ^ i64::MAX).to_le_bytes(), i64::MAX.to_le_bytes()].concat();
    let head = [&(!crc32fast::hash(&numbers)).to_le_bytes()[..], &numbers].concat();
    // Pairs change places.
    let at = (segment ^ 1) * SEGMENT_BYTES;
    file.write_all_at(&head, at)?;
    Ok(at + SEGMENT_HEAD_BYTES as u64)
}

fn varint(number: u64, out: &mut Vec<u8>) {
    match number {
        0..=240 => out.push(number as u8),
        241..=2287 => out.extend_from_slice(&[((number - 240) / 256 + 241) as u8, ((number - 240) % 256) as u8]),
        2288..=67823 => {
            out.extend_from_slice(&[249, ((number - 2288) / 256) as u8, ((number - 2288) % 256) as u8]);
        }
        _ => {
            out.push(255);
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
}

/// The script of what sled writes in a few checkpoints below a directory.
pub(crate) fn seed(gen_dir: &Path, checkpoints: u8) -> Result<Vec<u8>, TreeError> {
    let mut root = Root::default();
    Tree::create(gen_dir, GENERATION)?.close()?;
    for n in 1..=checkpoints {
        root.seq = u64::from(n);
        let tree = Tree::open(gen_dir, GENERATION)?;
        let key = |id: u8| Key { table: 1, kind: 2, id: [id; 16] };
        let changes = [(key(n), Some(vec![n; 9])), (key(n + 1), Some(vec![n; 3])), (key(n.saturating_sub(2)), None)];
        tree.checkpoint(&mut root, changes.iter().map(|(key, value)| (key, value.as_deref())))?;
        tree.close()?;
    }
    let path = tree::path(gen_dir).join("db");
    let len = fs::metadata(&path)?.len();
    let mut file = Windows::new(fs::File::open(path)?, gen_dir);
    let mut script = Vec::new();
    for (n, segment) in segments(&mut file, len)?.into_iter().enumerate() {
        let (mut at, mut flag) = (first(segment), if n == 0 { 0 } else { NEXT_SEGMENT });
        while let Some(head) = Head::parse(file.get(at, 32)?) {
            if head.number != segment.lsn / SEGMENT_BYTES || !(1..=KIND).contains(&head.kind) || head.kind == 2 {
                break;
            }
            // Batches are of no page, and have a number far beyond all pages.
            let page = u8::try_from(head.page).unwrap_or(u8::MAX);
            let Ok(len) = u16::try_from(head.len) else { break };
            let body = file.get(at + head.taken as u64, usize::from(len))?;
            script.extend_from_slice(&[head.kind | flag, page]);
            script.extend_from_slice(&len.to_le_bytes());
            script.extend_from_slice(body);
            at += head.taken as u64 + head.len;
            flag = 0;
        }
    }
    Ok(script)
}
