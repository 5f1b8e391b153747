//! The only module that names sled: opening it with the settings that suit us, and nothing it does is trusted.
//!
//! sled may panic on bytes it does not like, and its `flush` never syncs its file; so every call is made under
//! `catch_unwind`, and a checkpoint is followed by an fdatasync of our own through a second descriptor.

use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::Key;
use crate::fault::{point, read_point};
use crate::layout::sync_data;
use crate::seal::{Head, ROOT_KEY, Root, parse_part_key, part_key, split};

/// sled's page cache: small, for we read everything once and keep nothing.
const CACHE_BYTES: u64 = 1024 * 1024;
/// How long we wait for the lock of a sled just dropped, whose threads may hold it a moment longer.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_RETRY: Duration = Duration::from_millis(5);
/// The medium does not give back what it took.
const EIO: i32 = 5;
/// sled's directory in a generation.
const DIR: &str = "sled";

/// What is wrong with the checkpoint.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TreeError {
    #[error("{0}")]
    Corrupt(String),
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl TreeError {
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt(what.into())
    }

    /// Whether the content is what is wrong: it fails a check, or the medium does not give it back. The latter may pass, so
    /// nothing is given up for it of which no whole copy was read first.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Corrupt(_) => true,
            Self::Io(error) => error.raw_os_error() == Some(EIO),
        }
    }

    /// Whether space is what is missing.
    pub(crate) fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io(e) if matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }
}

impl From<sled::Error> for TreeError {
    fn from(error: sled::Error) -> Self {
        match error {
            // An error of the system has a number; sled reports bad content as errors without.
            sled::Error::Io(error) if error.raw_os_error().is_some() || error.kind() == io::ErrorKind::StorageFull => {
                Self::Io(error)
            }
            error => Self::Corrupt(format!("sled: {error}")),
        }
    }
}

/// The checkpoint of one generation, open.
pub(crate) struct Tree {
    db: Option<sled::Db>,
    dir: PathBuf,
    generation: u64,
}

/// Runs something that calls sled, and turns a panic into an error.
fn guarded<T>(work: impl FnOnce() -> Result<T, TreeError>) -> Result<T, TreeError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(TreeError::Corrupt(format!("sled panicked: {text}")))
    })
}

/// Where sled lies in a generation.
pub(crate) fn path(generation_dir: &Path) -> PathBuf {
    generation_dir.join(DIR)
}

/// What the system says of a file; `None` if it is not there, which an error that it cannot be looked at is no proof of.
pub(crate) fn is_there(path: &Path) -> io::Result<Option<fs::Metadata>> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl Tree {
    /// Opens what is there. sled would make a new one where its file is gone; we do not.
    pub(crate) fn open(generation_dir: &Path, generation: u64) -> Result<Tree, TreeError> {
        let dir = path(generation_dir);
        read_point(&dir)?;
        for name in ["db", "conf"] {
            if !is_there(&dir.join(name))?.is_some_and(|found| found.is_file()) {
                return Err(TreeError::corrupt("sled's files are missing"));
            }
        }
        Self::start(dir, generation)
    }

    /// Creates an empty one.
    pub(crate) fn create(generation_dir: &Path, generation: u64) -> Result<Tree, TreeError> {
        let dir = path(generation_dir);
        fs::create_dir(&dir)?;
        Self::start(dir, generation)
    }

    fn start(dir: PathBuf, generation: u64) -> Result<Tree, TreeError> {
        remove_half_written_snapshots(&dir)?;
        let config = sled::Config::new()
            .path(&dir)
            .cache_capacity(CACHE_BYTES)
            .mode(sled::Mode::LowSpace)
            .use_compression(false)
            .flush_every_ms(None);
        let patience = Instant::now() + LOCK_PATIENCE;
        loop {
            match guarded(|| Ok(config.open()?)) {
                Ok(db) => return Ok(Tree { db: Some(db), dir, generation }),
                Err(error) if is_lock_held(&error) && Instant::now() < patience => thread::sleep(LOCK_RETRY),
                // A thread that was given up has it: that says nothing of the content.
                Err(error) if is_lock_held(&error) => return Err(io::Error::other(error.to_string()).into()),
                Err(error) => return Err(error),
            }
        }
    }

    fn with<T>(&self, work: impl FnOnce(&sled::Db) -> Result<T, TreeError>) -> Result<T, TreeError> {
        let db = self.db.as_ref().ok_or_else(|| TreeError::corrupt("sled is closed"))?;
        guarded(|| work(db))
    }

    /// The root. A generation always has one.
    pub(crate) fn root(&self) -> Result<Root, TreeError> {
        let found = self.with(|db| Ok(db.get(ROOT_KEY)?))?;
        let bytes = found.ok_or_else(|| TreeError::corrupt("the root is missing"))?;
        Root::parse(&bytes, self.generation).map_err(TreeError::corrupt)
    }

    /// One record, verified.
    pub(crate) fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, TreeError> {
        let Some(first) = self.with(|db| Ok(db.get(part_key(key, 0))?))? else { return Ok(None) };
        let (head, bytes) = Head::parse(&first).map_err(TreeError::corrupt)?;
        let mut value = bytes.to_vec();
        for part in 1..head.parts() {
            let bytes = self.with(|db| Ok(db.get(part_key(key, part))?))?;
            value.extend_from_slice(&bytes.ok_or_else(|| TreeError::corrupt("a part of a record is missing"))?);
        }
        verify(self.generation, key, &head, &value)?;
        Ok(Some(value))
    }

    /// The sled key and value that follow on a sled key.
    pub(crate) fn after(&self, key: &[u8]) -> Result<Option<(sled::IVec, sled::IVec)>, TreeError> {
        self.with(|db| Ok(db.get_gt(key)?))
    }

    /// Brings the content from `root` to the state after `changes`, in one batch, and makes it durable.
    /// `root` gets the new number and sum of the records; its `seq` and `meta` are the caller's.
    pub(crate) fn checkpoint<'a>(
        &self,
        root: &mut Root,
        changes: impl Iterator<Item = (&'a Key, Option<&'a [u8]>)>,
    ) -> Result<(), TreeError> {
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            let old = self.head(key)?;
            let mut writer = |part: u8, bytes: Option<Vec<u8>>| match bytes {
                Some(bytes) => batch.insert(&part_key(key, part), bytes),
                None => batch.remove(&part_key(key, part)),
            };
            write_record(self.generation, key, value, old, root, &mut writer);
        }
        batch.insert(&ROOT_KEY, root.encode(self.generation));
        self.with(|db| Ok(db.apply_batch(batch)?))?;
        self.persist()
    }

    /// Puts one record outside of any batch: for a generation that nobody uses yet.
    pub(crate) fn put(&self, root: &mut Root, key: &Key, value: &[u8]) -> Result<(), TreeError> {
        let old = self.head(key)?;
        let mut done = Ok(());
        let mut writer = |part: u8, bytes: Option<Vec<u8>>| {
            let result = self.with(|db| match bytes {
                Some(bytes) => Ok(db.insert(part_key(key, part), bytes).map(drop)?),
                None => Ok(db.remove(part_key(key, part)).map(drop)?),
            });
            if done.is_ok() {
                done = result;
            }
        };
        write_record(self.generation, key, Some(value), old, root, &mut writer);
        done
    }

    fn head(&self, key: &Key) -> Result<Option<Head>, TreeError> {
        let found = self.with(|db| Ok(db.get(part_key(key, 0))?))?;
        let Some(part) = found else { return Ok(None) };
        Ok(Some(Head::parse(&part).map_err(TreeError::corrupt)?.0))
    }

    /// Makes sure that what is read is on the medium. A process killed between writing and syncing leaves it to us:
    /// what only the page cache has must not be taken for durable.
    pub(crate) fn settle(&self) -> Result<(), TreeError> {
        Ok(sync_data(&File::open(self.dir.join("db"))?)?)
    }

    /// Makes everything written so far durable, as `flush` alone does not.
    pub(crate) fn persist(&self) -> Result<(), TreeError> {
        point(&self.dir)?;
        self.with(|db| Ok(db.flush().map(drop)?))?;
        point(&self.dir)?;
        self.settle()?;
        // sled keeps large values in files of their own and never syncs them. Ours are too small for that.
        match fs::read_dir(self.dir.join("blobs")).map(|mut entries| entries.next().is_some()) {
            Ok(true) => Err(TreeError::corrupt("sled wrote a blob file, which it does not sync")),
            _ => Ok(()),
        }
    }

    /// Closes it; what was not persisted may be lost.
    pub(crate) fn close(mut self) -> Result<(), TreeError> {
        self.shut()
    }

    fn shut(&mut self) -> Result<(), TreeError> {
        let db = self.db.take();
        guarded(|| {
            drop(db);
            Ok(())
        })
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        // A panic of sled's while it closes must not meet another one; there is nothing left to save.
        let _ = self.shut();
    }
}

/// Checks a whole value against the head that came with it.
pub(crate) fn verify(generation: u64, key: &Key, head: &Head, value: &[u8]) -> Result<(), TreeError> {
    if value.len() != head.len {
        return Err(TreeError::corrupt(format!("record {key:?} has the wrong length")));
    }
    if crate::seal::seal(generation, key, value) != head.seal {
        return Err(TreeError::corrupt(format!("record {key:?} fails its seal")));
    }
    Ok(())
}

/// Hands the parts of a record to a writer (`None` removes a part) and adjusts count and sum.
fn write_record(
    generation: u64,
    key: &Key,
    value: Option<&[u8]>,
    old: Option<Head>,
    root: &mut Root,
    writer: &mut dyn FnMut(u8, Option<Vec<u8>>),
) {
    let mut kept = 0;
    if let Some(value) = value {
        let (seal, parts) = split(generation, key, value);
        root.records = root.records.wrapping_add(1);
        root.sum = root.sum.wrapping_add(seal);
        root.bytes = root.bytes.wrapping_add(value.len() as u64);
        for (part, bytes) in (0..).zip(parts) {
            writer(part, Some(bytes));
            kept = part + 1;
        }
    }
    if let Some(old) = old {
        root.records = root.records.wrapping_sub(1);
        root.sum = root.sum.wrapping_sub(old.seal);
        root.bytes = root.bytes.wrapping_sub(old.bytes());
        for part in kept..old.parts() {
            writer(part, None);
        }
    }
}

/// Walks through all records in order, verifies each, and at the end that they are those of the root. It may go on in
/// the same content opened again.
pub(crate) struct Scan {
    last: Vec<u8>,
    records: u64,
    sum: u64,
}

impl Scan {
    pub(crate) fn new() -> Scan {
        Scan { last: ROOT_KEY.to_vec(), records: 0, sum: 0 }
    }

    /// Appends the next record's value to `value`; `None` after the last.
    pub(crate) fn next(&mut self, tree: &Tree, value: &mut Vec<u8>) -> Result<Option<Key>, TreeError> {
        let Some((sled_key, first)) = tree.after(&self.last)? else { return Ok(None) };
        let Some((key, 0)) = parse_part_key(&sled_key) else {
            return Err(TreeError::corrupt("a sled key that begins no record"));
        };
        let (head, bytes) = Head::parse(&first).map_err(TreeError::corrupt)?;
        let start = value.len();
        value.extend_from_slice(bytes);
        for part in 1..head.parts() {
            let found = tree.with(|db| Ok(db.get(part_key(&key, part))?))?;
            let bytes = found.ok_or_else(|| TreeError::corrupt(format!("record {key:?} lacks a part")))?;
            value.extend_from_slice(&bytes);
        }
        verify(tree.generation, &key, &head, value.get(start..).unwrap_or_default())?;
        self.records += 1;
        self.sum = self.sum.wrapping_add(head.seal);
        self.last = part_key(&key, head.parts() - 1).to_vec();
        Ok(Some(key))
    }

    /// The verdict over everything.
    pub(crate) fn finish(&self, root: &Root) -> Result<(), TreeError> {
        if self.records != root.records {
            let (found, said) = (self.records, root.records);
            return Err(TreeError::corrupt(format!("{found} records where the root says {said}")));
        }
        if self.sum != root.sum {
            return Err(TreeError::corrupt("the records are not those of the root"));
        }
        Ok(())
    }
}

/// sled refuses to open beside a snapshot that a power cut left half written (its issue 1527).
fn remove_half_written_snapshots(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(".generating") {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn is_lock_held(error: &TreeError) -> bool {
    matches!(error, TreeError::Corrupt(text) if text.contains("could not acquire lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Key {
        Key { table: 0, kind: 1, id: [n; 16] }
    }

    fn contents(tree: &Tree, root: &Root) -> Vec<(Key, Vec<u8>)> {
        let (mut scan, mut all) = (Scan::new(), Vec::new());
        loop {
            let mut value = Vec::new();
            let Some(key) = scan.next(tree, &mut value).unwrap() else { break };
            all.push((key, value));
        }
        scan.finish(root).unwrap();
        all
    }

    #[test]
    fn records_grow_shrink_and_go_and_the_sum_follows() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::create(dir.path(), 1).unwrap();
        let mut root = Root::default();
        let (large, small) = (vec![1; 100_000], vec![2; 10]);
        for value in [Some(&small), Some(&large), Some(&small), None, None, Some(&large)] {
            let value = value.map(Vec::as_slice);
            tree.checkpoint(&mut root, [(&key(1), value)].into_iter()).unwrap();
            let expected: Vec<_> = value.map(|value| (key(1), value.to_vec())).into_iter().collect();
            assert_eq!(contents(&tree, &root), expected);
            assert_eq!(tree.root().unwrap(), root);
        }
    }

    #[test]
    fn a_record_of_another_generation_does_not_pass() {
        let dir = tempfile::tempdir().unwrap();
        let mut root = Root::default();
        let tree = Tree::create(dir.path(), 1).unwrap();
        tree.checkpoint(&mut root, [(&key(1), Some(&b"value"[..]))].into_iter()).unwrap();
        tree.close().unwrap();
        let tree = Tree::open(dir.path(), 2).unwrap();
        assert!(matches!(tree.root(), Err(TreeError::Corrupt(_))));
        assert!(matches!(tree.get(&key(1)), Err(TreeError::Corrupt(_))));
    }

    #[test]
    fn a_missing_record_is_noticed_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::create(dir.path(), 1).unwrap();
        let mut root = Root::default();
        tree.put(&mut root, &key(1), b"one").unwrap();
        tree.put(&mut root, &key(2), b"two").unwrap();
        tree.with(|db| Ok(db.remove(part_key(&key(1), 0)).map(drop)?)).unwrap();
        let mut scan = Scan::new();
        while scan.next(&tree, &mut Vec::new()).unwrap().is_some() {}
        assert!(matches!(scan.finish(&root), Err(TreeError::Corrupt(_))));
    }
}
