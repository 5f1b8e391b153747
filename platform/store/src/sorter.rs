//! Makes the base of an archive of records that come in any order, in bounded memory: they are gathered, sorted, written
//! as runs into a directory of their own, and merged at the end.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::Arc;

use crate::Key;
use crate::archive::{Archive, merge};
use crate::layout::remove;
use crate::run::{Home, Run, Span, Writer};
use crate::seal::Root;
use crate::tree::TreeError;

/// So many bytes are sorted in memory.
const GATHERED_BYTES: usize = 512 * 1024;
/// So many runs are merged into one before the end, for each that is open costs a descriptor and a chunk of memory.
const RUNS_MAX: usize = 32;
const DIR: &str = "sort";

/// Records on their way into a base.
#[derive(Debug)]
pub(crate) struct Sorter {
    home: Home,
    gathered: BTreeMap<Key, Box<[u8]>>,
    bytes: usize,
    runs: Vec<Arc<Run>>,
    /// How many runs were begun.
    begun: u64,
}

impl Sorter {
    pub(crate) fn new(home: Home) -> Sorter {
        let gathered = BTreeMap::new();
        Sorter { home, gathered, bytes: 0, runs: Vec::new(), begun: 0 }
    }

    /// Adds a record; one with the same key is replaced.
    pub(crate) fn put(&mut self, key: &Key, value: &[u8]) -> Result<(), TreeError> {
        self.bytes += size_of::<Key>() + value.len();
        self.gathered.insert(*key, value.into());
        if self.bytes < GATHERED_BYTES { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> Result<(), TreeError> {
        let mut run = self.begin()?;
        for (key, value) in std::mem::take(&mut self.gathered) {
            run.put(&key, Some(&value))?;
        }
        self.bytes = 0;
        self.end(run)?;
        if self.runs.len() < RUNS_MAX {
            return Ok(());
        }
        let mut run = self.begin()?;
        merge(&self.runs, &mut |key, value| run.put(&key, value).map_err(TreeError::Io))?;
        for old in self.runs.drain(..) {
            remove(old.path())?;
        }
        self.end(run)
    }

    fn begin(&mut self) -> io::Result<Writer> {
        let dir = self.home.dir.join(DIR);
        if self.begun == 0 {
            fs::create_dir(&dir)?;
        }
        self.begun += 1;
        Writer::create(&Home { dir, ..self.home.clone() }, Span { from: 0, to: self.begun })
    }

    fn end(&mut self, run: Writer) -> Result<(), TreeError> {
        let root = Root { seq: self.begun, ..Root::default() };
        self.runs.push(Arc::new(run.finish_unsynced(&root)?));
        Ok(())
    }

    /// Writes the base, durably, and leaves nothing beside it. All records must be those of the root.
    pub(crate) fn finish(mut self, root: &Root) -> Result<Archive, TreeError> {
        if !self.gathered.is_empty() {
            self.write()?;
        }
        let mut base = Writer::create(&self.home, Span { from: 0, to: root.seq })?;
        merge(&self.runs, &mut |key, value| base.put(&key, value).map_err(TreeError::Io))?;
        let base = base.finish(root)?;
        remove(&self.home.dir.join(DIR))?;
        Ok(Archive::new(&self.home, base))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_in_any_order_come_out_sorted_and_the_last_of_each_key_counts() {
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(Home::new(dir.path(), 1, &crate::cipher::Cipher::none()));
        let mut model = BTreeMap::new();
        // More than can be sorted at once, and more runs than are kept open.
        for n in 0..40_000_u64 {
            let id = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 30_000;
            let key = Key { table: 0, kind: (id % 3) as u8, id: u128::from(id).to_be_bytes() };
            let value = vec![n as u8; 500];
            sorter.put(&key, &value).unwrap();
            model.insert(key, value);
        }
        assert!(sorter.begun > RUNS_MAX as u64);
        let sum = model.iter().fold(0_u64, |sum, (key, value)| sum.wrapping_add(crate::seal::seal(1, key, value)));
        let root = Root { seq: 7, records: model.len() as u64, sum, ..Root::default() };
        let archive = sorter.finish(&root).unwrap();
        let mut all = model.into_iter();
        let take = &mut |key, value: &[u8]| {
            assert_eq!(all.next(), Some((key, value.to_vec())));
            Ok::<(), TreeError>(())
        };
        archive.walk(take).unwrap();
        assert_eq!(all.next(), None);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
