//! Writes a generation anew when its files have become much larger than what lives in them, for sled only grows.
//!
//! It happens on sled's thread, right after a checkpoint, while commits go on in the journal. When it is done, what was
//! committed meanwhile becomes one frame in the new generation's journal, and `CURRENT` is switched. If the journal had
//! to be turned meanwhile, the attempt is given up; another follows the next checkpoint.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::time::Instant;

use crate::archive::Archive;
use crate::build::Builder;
use crate::cipher::Cipher;
use crate::frame::{Content, Frame, encoded_len, frame_len};
use crate::journal::Journal;
use crate::layout::{generation_dir, remove};
use crate::seal::Root;
use crate::switch::Before;
use crate::tree::{Scan, Tree, TreeError};
use crate::{COMMIT_BYTES_MAX, CommitError, Key, Store, spill};

/// What a record takes in sled beside its value.
const RECORD_BYTES: u64 = 64;
/// A compaction, or a healing, may take so many times what a checkpoint may; then it hangs. (Ten minutes. A content of 30,000
/// entities takes seconds.)
pub(crate) const HEALING_PATIENCES: u32 = 30;
/// So much is read at a time, for only one sled is open at any moment: the old one or the new one.
const PIECE_BYTES: usize = 1024 * 1024;

/// A compaction under way. It writes the next generation's directory, so nobody else may until its result is there.
#[derive(Debug)]
pub(crate) struct Compaction {
    pub(crate) result: Receiver<Result<Archive, CommitError>>,
    pub(crate) given_up: Arc<AtomicBool>,
    /// It is made because something is wrong with the generation in use.
    pub(crate) heals: bool,
    pub(crate) begun: Instant,
}

impl Compaction {
    pub(crate) fn new(
        result: Receiver<Result<Archive, CommitError>>,
        given_up: Arc<AtomicBool>,
        heals: bool,
    ) -> Compaction {
        Compaction { result, given_up, heals, begun: Instant::now() }
    }
}

/// Whether sled's files are too large for what is in them.
fn is_due(root: &Root, floor: u64, sled_bytes: u64) -> bool {
    let live = root.bytes.saturating_add(root.records.saturating_mul(RECORD_BYTES));
    sled_bytes > floor.saturating_add((live / 2).saturating_mul(5))
}

impl Store {
    /// Starts a compaction if one is due. The checkpoint just made is all of the content but for `recent`.
    pub(crate) fn compact_if_due(&mut self, sled_bytes: u64) {
        if !is_due(&self.root, self.options.compaction_floor, sled_bytes)
            || self.unsure
            || self.builder.strong_count() > 0
        {
            return;
        }
        self.interrupt_scrub();
        let (old, next) = (self.generation, self.next_generation());
        let (dir, cipher) = (self.dir.clone(), self.cipher.clone());
        let given_up = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&given_up);
        let (sender, result) = sync_channel(1);
        let work = move |_: &AtomicBool| {
            let _ = sender.send(rewrite(&dir, (old, next), cipher, &flag));
        };
        match self.worker.post(work) {
            Ok(()) => self.compaction = Some(Compaction::new(result, given_up, false)),
            Err(error) => tracing::warn!(%error, "store: no compaction"),
        }
    }

    /// Takes note of a compaction that has ended, and switches to what it wrote.
    pub(crate) fn poll_compaction(&mut self) {
        let Some(compaction) = &self.compaction else { return };
        let result = match compaction.result.try_recv() {
            Err(TryRecvError::Empty) if compaction.begun.elapsed() < self.patience * HEALING_PATIENCES => return,
            Err(TryRecvError::Empty) => return self.abandon_sled(),
            Err(TryRecvError::Disconnected) => Err(CommitError::Corrupt("the compaction panicked".into())),
            Ok(result) => result,
        };
        self.compaction_ended(result);
    }

    pub(crate) fn compaction_ended(&mut self, result: Result<Archive, CommitError>) {
        let heals = self.compaction.take().is_some_and(|compaction| compaction.heals);
        match result.and_then(|archive| self.adopt(archive, heals)) {
            Ok(()) if heals => self.healed(),
            Ok(()) => tracing::info!(generation = self.generation, "store: compacted"),
            Err(CommitError::Superseded) => tracing::debug!("store: a compaction was overtaken by commits"),
            // The archive it was made from; whether sled is of any use after all, sled is to say.
            Err(CommitError::Corrupt(what)) if heals => self.mend_archive(&TreeError::Corrupt(what)),
            Err(error) => {
                tracing::warn!(%error, "store: a compaction failed; the next checkpoint will try again");
            }
        }
    }

    /// Lets a compaction end soon: it would be of a content that the journal does not follow on any more.
    pub(crate) fn give_up_compaction(&self) {
        if let Some(compaction) = &self.compaction {
            compaction.given_up.store(true, Ordering::Relaxed);
        }
    }

    /// Ends a compaction under way and waits until sled is closed and its litter gone, so that the next generation may
    /// be written by somebody else.
    pub(crate) fn end_compaction(&mut self) -> Result<(), CommitError> {
        self.end_scrub();
        self.give_up_compaction();
        let Some(compaction) = &self.compaction else { return Ok(()) };
        match compaction.result.recv_timeout(self.patience) {
            Err(RecvTimeoutError::Timeout) if compaction.heals => {
                return Err(CommitError::Checkpoint("sled is being made anew".into()));
            }
            Err(RecvTimeoutError::Timeout) => self.give_up_thread(),
            Ok(Ok(_)) => self.discard(),
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => {}
        }
        self.compaction = None;
        Ok(())
    }

    /// The number of the next generation. Where a thread that hangs may still write into one, its number is left out.
    pub(crate) fn next_generation(&self) -> u64 {
        self.generation + 1 + self.left_out
    }

    fn discard(&self) {
        // If it cannot be removed now, the next open or the next generation does it.
        let _ = remove(&generation_dir(&self.dir, self.next_generation()));
    }

    /// Brings the journal of the new generation up to date and switches to it.
    fn adopt(&mut self, archive: Archive, heals: bool) -> Result<(), CommitError> {
        let generation = self.next_generation();
        let dir = generation_dir(&self.dir, generation);
        // All that came before `recent`.
        let base = self.frozen.as_ref().map_or(self.root.seq, |frozen| frozen.seq);
        let prepared = if archive.seq() == base && !self.turning {
            self.carry_over(&dir, generation, base)
        } else {
            Err(CommitError::Superseded)
        };
        let before = if heals { Before::SetAside } else { Before::Removed };
        let switched = prepared.and_then(|journal| self.switch(journal, archive, before));
        if switched.is_err() && !self.unsure {
            self.discard();
        }
        switched
    }

    /// Makes one frame of what was committed since the checkpoint.
    fn carry_over(&self, dir: &Path, generation: u64, base: u64) -> Result<Journal, CommitError> {
        let mut journal = Journal::open_first(dir, generation).map_err(|e| CommitError::io(dir, e))?;
        if self.seq == base {
            return Ok(journal);
        }
        let changes = self.recent.to_changes();
        let (len, meta) = (encoded_len(&changes), self.meta.clone().unwrap_or_default());
        let content = if journal.fits(frame_len(meta.len(), len)) {
            Content::Here(changes)
        } else if len <= COMMIT_BYTES_MAX {
            spill::write(dir, generation, self.seq, &changes)?
        } else {
            return Err(CommitError::CommitTooLarge(len));
        };
        let frame = Frame { prev: base, seq: self.seq, meta, content };
        journal.append(&frame).map_err(|e| CommitError::io(journal.path(), e))?;
        Ok(journal)
    }
}

/// Writes all of a generation's checkpoint into the next generation, sealed as it is, with the same data key.
fn rewrite(
    store_dir: &Path,
    (generation, next): (u64, u64),
    cipher: Cipher,
    given_up: &AtomicBool,
) -> Result<Archive, CommitError> {
    let old = generation_dir(store_dir, generation);
    let fail = |error: TreeError| error.into_commit(&old);
    let mut builder = Builder::start(store_dir, next, cipher)?;
    let mut scan = Scan::new();
    loop {
        builder.rest()?;
        let (root, records) = read_piece(&old, generation, &mut scan).map_err(fail)?;
        if records.is_empty() {
            scan.finish(&root).map_err(fail)?;
            return builder.finish(root.seq, root.meta);
        }
        for (key, value) in records {
            builder.put_sealed(&key, &value)?;
        }
        if given_up.load(Ordering::Relaxed) {
            return Err(CommitError::Superseded);
        }
    }
}

type Records = Vec<(Key, Vec<u8>)>;

/// Some records from where the scan stands on; none after the last. sled is open only while this runs.
pub(crate) fn read_piece(old: &Path, generation: u64, scan: &mut Scan) -> Result<(Root, Records), TreeError> {
    let tree = Tree::open(old, generation)?;
    let root = tree.root()?;
    let (mut records, mut bytes) = (Vec::new(), 0);
    while bytes < PIECE_BYTES {
        let mut value = Vec::new();
        let Some(key) = scan.next(&tree, &mut value)? else { break };
        bytes += value.len() + size_of::<(Key, Vec<u8>)>();
        records.push((key, value));
    }
    tree.close()?;
    Ok((root, records))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use crate::{Change, Options, layout};

    fn open(dir: &Path) -> (Store, BTreeMap<u8, Vec<u8>>) {
        let mut found = BTreeMap::new();
        let load = &mut |key: Key, value: &[u8]| drop(found.insert(key.id[0], value.to_vec()));
        let options = Options { checkpoint_commits: 20, compaction_floor: 1024 * 1024, ..Options::default() };
        let (store, _) = Store::open(dir, options, load).unwrap();
        (store, found)
    }

    fn put(n: u8, len: usize) -> Change {
        Change { key: Key { table: 0, kind: 0, id: [n; 16] }, value: Some(Arc::from(vec![n; len])) }
    }

    #[test]
    fn it_is_due_when_the_files_are_two_and_a_half_times_what_lives() {
        let root = Root { records: 1_000, bytes: 20_000_000, ..Root::default() };
        assert!(!is_due(&root, 8_000_000, 58_000_000));
        assert!(is_due(&root, 8_000_000, 59_000_000));
        assert!(!is_due(&Root::default(), 8_000_000, 8_000_000));
    }

    #[test]
    fn a_content_that_shrank_gives_its_space_back_and_stays_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = open(dir.path());
        for round in 0..4 {
            let changes = (0..64).map(|n| put(64 * round + n, 40_000)).collect();
            store.commit(b"large", changes).unwrap();
        }
        let mut model = BTreeMap::new();
        let shrunk: Vec<Change> = (0..=255).map(|n| put(n, usize::from(n))).collect();
        model.extend((0..=255).map(|n| (n, vec![n; usize::from(n)])));
        store.commit(b"small", shrunk).unwrap();
        let mut commits = 0_u32;
        // It may come, and come again, while the large values are still there.
        while store.generation == 1 || crate::layout::size(&store.generation_dir()) > 4 * 1024 * 1024 {
            let n = (commits % 256) as u8;
            store.commit(b"after", vec![put(n, 10)]).unwrap();
            model.insert(n, vec![n; 10]);
            commits += 1;
            assert!(commits < 20_000, "no compaction came");
            // A burst of commits overtakes a compaction, by design; this is no burst.
            std::thread::park_timeout(std::time::Duration::from_micros(500));
        }
        assert!(!dir.path().join("gen-1").exists());
        for n in 0..5 {
            store.commit(b"end", vec![put(n, 20)]).unwrap();
            model.insert(n, vec![n; 20]);
        }
        drop(store);
        let (store, found) = open(dir.path());
        assert_eq!(store.meta(), Some(&b"end"[..]));
        assert_eq!(found, model);
    }

    const MIB: u64 = 1024 * 1024;

    /// FORMAT.md, "What it takes", for values of these lengths: of sled, and of all.
    fn bounds(lengths: &BTreeMap<u8, usize>, has_shrunk: bool) -> (u64, u64) {
        let live: u64 = lengths.values().map(|len| *len as u64 + RECORD_BYTES).sum();
        let all = if has_shrunk { 22 * MIB + live * 25 / 4 } else { 10 * MIB + live * 4 };
        (8 * MIB + live * 5 / 2, all)
    }

    /// Until everything is in the checkpoint, and nothing is under way any more.
    fn rest(store: &mut Store) {
        store.wait();
        store.turn().unwrap();
        store.wait();
        while store.compaction.is_some() {
            store.poll();
            std::thread::park_timeout(std::time::Duration::from_millis(1));
        }
        assert_eq!(store.info().state, crate::State::Good);
    }

    #[test]
    fn after_any_churn_a_store_is_as_large_as_is_stated_at_most() {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(dir.path(), Options::default(), &mut |_, _| {}).unwrap();
        // What nothing can pack.
        let mut seed = 1_u64;
        let mut noise = |len: usize| -> Arc<[u8]> {
            let next = || {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 56) as u8
            };
            std::iter::repeat_with(next).take(len).collect()
        };
        let mut lengths = BTreeMap::new();
        let mut compactions = 0;
        // Overwritten as it is, grown, shrunk to little, gone but for one record.
        for (rounds, len) in [(16, 8_000), (4, 20_000), (2, 300), (2, 20)] {
            for round in 0..rounds {
                let changes = (0..=255_u8).map(|n| {
                    let is_kept = len != 20 || n == 0;
                    let value = is_kept.then(|| noise(len + usize::from(n) % 7));
                    match &value {
                        Some(value) => lengths.insert(n, value.len()),
                        None => lengths.remove(&n),
                    };
                    Change { value, ..put(n, 0) }
                });
                let changes: Vec<Change> = changes.collect();
                for some in changes.chunks(64) {
                    store.commit(b"churn", some.to_vec()).unwrap();
                }
                let generation = store.generation;
                rest(&mut store);
                compactions += store.generation - generation;
                let (sled, whole) = bounds(&lengths, len < 8_000);
                let found = (layout::size(&store.generation_dir().join("sled")), layout::size(dir.path()));
                assert!(found.0 <= sled && found.1 <= whole, "{len} {round}: {found:?} of {sled} and {whole}");
                if round == rounds - 1 {
                    println!("{} records of {len}: {found:?} of {sled} and {whole}", lengths.len());
                }
            }
        }
        assert!(compactions > 0, "{compactions} compactions");
    }
}
