//! Reads sled's files without sled: for a look at them while nothing else happens.
//!
//! sled writes whenever it opens (3 MiB of zeros over the free segments of a store of 30,000 records), and keeps what it
//! reads; a check that does either could not run every day on a flash of 16 MB beside a proxy of 30. So this reads the log
//! as sled 0.34.7 leaves it when it is closed: in its order it says of every page where its last whole state lies and what
//! changed since, and the leaves, sorted by their lowest keys, give all entries in order, which are then judged as records.
//! It takes a window of the file, one leaf, and about a hundred bytes for each leaf. No content is ever taken from here:
//! where it finds a fault, sled itself is asked before anything is done about it.

#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod log;
mod node;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use crate::Key;
use crate::fault::read_point;
use crate::seal::{Head, ROOT_KEY, Root, parse_part_key};
use crate::tree::{self, TreeError, verify};
use log::{Kind, Place, Segment, Windows};
use node::Node;

/// So much of the file is in memory at a time, unless a message is longer.
const WINDOW_BYTES: usize = 64 * 1024;
/// The most changes that a page has: sled writes it whole after ten.
const LINKS_MAX: usize = 64;
/// The line of `conf` that says how large segments are.
const SEGMENT_LINE: &str = "segment_size: 524288\n";
/// `conf` is a few lines.
const CONF_BYTES_MAX: u64 = 4096;

/// A page: where it was last written whole, and its changes since.
#[derive(Debug)]
struct Page {
    node: Place,
    links: Vec<Place>,
    /// The lowest key of a leaf; none of an index.
    low: Option<Box<[u8]>>,
}

/// A reading of sled's files that goes on piece by piece. It must not outlive the next opening of sled.
pub(crate) struct Peek {
    file: Windows,
    generation: u64,
    stage: Stage,
}

enum Stage {
    /// Finding out where the pages are.
    Log { segments: std::vec::IntoIter<Segment>, current: Option<(Segment, u64)>, pages: BTreeMap<u64, Page> },
    /// Reading the leaves in order; `high` is where the last one ended.
    Leaves { leaves: std::vec::IntoIter<Page>, high: Option<Vec<u8>>, judge: Judge },
}

impl Peek {
    /// Begins to read what is in a generation's directory.
    pub(crate) fn open(gen_dir: &Path, generation: u64) -> Result<Peek, TreeError> {
        let dir = tree::path(gen_dir);
        check_conf(&dir)?;
        let file = File::open(dir.join("db"))?;
        let len = file.metadata()?.len();
        let mut file = Windows::new(file, &dir);
        let segments = log::segments(&mut file, len)?.into_iter();
        let stage = Stage::Log { segments, current: None, pages: BTreeMap::new() };
        Ok(Peek { file, generation, stage })
    }

    /// Goes on for about so many bytes; the root at the end, when everything was found right.
    pub(crate) fn step(&mut self, bytes: u64) -> Result<Option<Root>, TreeError> {
        let end = self.file.read.saturating_add(bytes);
        while self.file.read < end {
            match &mut self.stage {
                Stage::Log { segments, current, pages } => {
                    let Some((segment, at)) = current.take().or_else(|| segments.next().map(|s| (s, log::first(s))))
                    else {
                        let leaves = leaves(std::mem::take(pages)).into_iter();
                        self.stage = Stage::Leaves { leaves, high: None, judge: Judge::new(self.generation) };
                        continue;
                    };
                    if let Some((message, next)) = log::message(&mut self.file, segment, at)? {
                        note(pages, &message)?;
                        *current = Some((segment, next));
                    }
                }
                Stage::Leaves { leaves, high, judge } => match leaves.next() {
                    Some(leaf) => *high = Some(read_leaf(&mut self.file, &leaf, high.as_deref(), judge)?),
                    None if high.as_ref().is_some_and(|high| !high.is_empty()) => {
                        return Err(TreeError::corrupt("the last of sled's leaves is missing"));
                    }
                    None => return std::mem::replace(judge, Judge::new(self.generation)).finish().map(Some),
                },
            }
        }
        Ok(None)
    }
}

/// `conf` is four lines and a CRC-32 of them; sled does not open without it.
fn check_conf(dir: &Path) -> Result<(), TreeError> {
    let path = dir.join("conf");
    let missing = || TreeError::corrupt("sled's files are missing");
    if !tree::is_there(&path)?.is_some_and(|found| found.is_file() && found.len() <= CONF_BYTES_MAX) {
        return Err(missing());
    }
    read_point(&path)?;
    let bytes = fs::read(&path)?;
    let (text, crc) = bytes.split_last_chunk::<4>().ok_or_else(missing)?;
    let text_of = String::from_utf8_lossy(text);
    if crc32fast::hash(text) != u32::from_le_bytes(*crc) || !text_of.contains(SEGMENT_LINE) {
        return Err(TreeError::corrupt("sled's conf is damaged"));
    }
    Ok(())
}

/// Whether a `conf` with this text and a right checksum is one of ours.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_conf(dir: &Path, text: &[u8]) -> bool {
    let file = [text, &crc32fast::hash(text).to_le_bytes()].concat();
    fs::write(dir.join("conf"), file).is_ok() && check_conf(dir).is_ok()
}

/// Notes what a message says of its page.
fn note(pages: &mut BTreeMap<u64, Page>, message: &log::Message<'_>) -> Result<(), TreeError> {
    match message.kind {
        Kind::Skipped => {}
        Kind::Free => drop(pages.remove(&message.page)),
        Kind::Elsewhere => return Err(TreeError::corrupt("sled wrote a blob file, which it does not sync")),
        Kind::Node => {
            let node =
                Node::parse(message.body).ok_or_else(|| TreeError::corrupt("a page of sled's makes no sense"))?;
            let low = node.is_leaf().then(|| node.low.into());
            pages.insert(message.page, Page { node: message.place, links: Vec::new(), low });
        }
        Kind::Link => {
            // What changes a page that was freed or written whole later on is of no interest.
            let Some(page) = pages.get_mut(&message.page) else { return Ok(()) };
            if page.links.len() == LINKS_MAX {
                return Err(TreeError::corrupt("a page of sled's has too many changes"));
            }
            page.links.push(message.place);
        }
    }
    Ok(())
}

/// The leaves in the order of their keys.
fn leaves(pages: BTreeMap<u64, Page>) -> Vec<Page> {
    let mut leaves: Vec<Page> = pages.into_values().filter(|page| page.low.is_some()).collect();
    leaves.sort_by(|a, b| a.low.cmp(&b.low));
    leaves
}

/// Hands a leaf's entries to the judge, and returns where the next leaf must begin.
fn read_leaf(file: &mut Windows, leaf: &Page, begins: Option<&[u8]>, judge: &mut Judge) -> Result<Vec<u8>, TreeError> {
    let body = file.exact(leaf.node)?;
    let links: Result<Vec<Vec<u8>>, _> = leaf.links.iter().map(|place| file.exact(*place)).collect();
    let links = links?;
    let senseless = || TreeError::corrupt("a page of sled's makes no sense");
    let node = Node::parse(&body).ok_or_else(senseless)?;
    if node.low != begins.unwrap_or_default() || begins.is_some_and(<[u8]>::is_empty) {
        return Err(TreeError::corrupt("sled's leaves do not follow on one another"));
    }
    for (key, value) in node.with(&links).ok_or_else(senseless)? {
        judge.entry(&key, value)?;
    }
    Ok(node.high.to_vec())
}

/// Takes sled's entries in order and judges them as `tree::Scan` does: every record by its seal, all of them by the root.
struct Judge {
    generation: u64,
    root: Option<Root>,
    /// A record of which parts are to come: its key, its head, what there is of it, and how many parts that is.
    open: Option<(Key, Head, Vec<u8>, u8)>,
    records: u64,
    sum: u64,
}

impl Judge {
    fn new(generation: u64) -> Judge {
        Judge { generation, root: None, open: None, records: 0, sum: 0 }
    }

    fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), TreeError> {
        if key == ROOT_KEY {
            self.root = Some(Root::parse(value, self.generation).map_err(TreeError::corrupt)?);
            return Ok(());
        }
        let (key, part) = parse_part_key(key).ok_or_else(|| TreeError::corrupt("a sled key that is none of ours"))?;
        let (head, bytes, parts) = match self.open.take() {
            None if part == 0 => {
                let (head, bytes) = Head::parse(value).map_err(TreeError::corrupt)?;
                (head, bytes.to_vec(), 1)
            }
            Some((open, head, mut bytes, parts)) if open == key && part == parts => {
                bytes.extend_from_slice(value);
                (head, bytes, parts + 1)
            }
            _ => return Err(TreeError::corrupt(format!("record {key:?} lacks a part"))),
        };
        if parts < head.parts() {
            self.open = Some((key, head, bytes, parts));
            return Ok(());
        }
        verify(self.generation, &key, &head, &bytes)?;
        self.records += 1;
        self.sum = self.sum.wrapping_add(head.seal);
        Ok(())
    }

    fn finish(self) -> Result<Root, TreeError> {
        let root = self.root.ok_or_else(|| TreeError::corrupt("the root is missing"))?;
        if self.open.is_some() || (self.records, self.sum) != (root.records, root.sum) {
            return Err(TreeError::corrupt("the records in sled's files are not those of the root"));
        }
        Ok(root)
    }
}

#[cfg(test)]
mod tests;
