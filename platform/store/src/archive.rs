//! The archive: the content a second time, compressed and outside of sled, in files that are written once.
//!
//! It is a chain of runs (`run.rs`): the *base* leads from nothing to some commit, each further run on from there. Every
//! checkpoint adds one, before the journal that has its commits is given up, so archive and journals are the exact
//! content at any time, as sled and journals are. Runs are merged when the newer ones have grown to a share of an older
//! one, which bounds their number and what merging writes. Neighbours: `load.rs` opens a store from it, without sled;
//! `sled_thread.rs` adds to it; `heal.rs` makes sled anew from it, and it from sled.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Key;
use crate::layout::remove;
use crate::pending::{Pending, Take};
use crate::quarantine;
use crate::run::{self, Cursor, Home, Run, Span, Writer};
use crate::seal::{Root, Sealer};
use crate::tree::TreeError;

/// The base is written anew when the newer runs together have half its size.
const BASE_SHARE: u64 = 2;
/// Other runs are merged when those after one have together three times its size, so that each byte is written about
/// once for every time that the runs have grown fourfold.
const RUN_GROWTH: u64 = 3;
/// More runs than so many are merged whatever their sizes: each costs a look-up and a descriptor.
const RUNS_MAX: usize = 12;

/// The archive of a generation.
#[derive(Clone, Debug)]
pub(crate) struct Archive {
    home: Home,
    /// From the oldest on, never empty; each leads on from where the one before ends.
    runs: Vec<Arc<Run>>,
    newest: Arc<Run>,
}

impl Archive {
    /// An archive of one run, the base.
    pub(crate) fn new(home: &Home, base: Run) -> Archive {
        let base = Arc::new(base);
        Archive { home: home.clone(), runs: vec![Arc::clone(&base)], newest: base }
    }

    /// Opens the archive of a generation and verifies everything but the chunks; `None` if there are no runs. Where a
    /// merge was cut before it removed what it merged, the longer run counts.
    pub(crate) fn open(home: &Home) -> Result<Option<Archive>, TreeError> {
        let spans = run::spans(&home.dir)?;
        let mut archive: Option<Archive> = None;
        while let Some(span) = longest(&spans, archive.as_ref().map_or(0, Archive::seq), archive.is_none()) {
            let run = Run::open(home, span)?;
            match &mut archive {
                None => archive = Some(Archive::new(home, run)),
                Some(archive) => archive.push(run),
            }
        }
        match archive {
            None if !spans.is_empty() => Err(TreeError::corrupt("the base of the archive is missing")),
            archive => Ok(archive),
        }
    }

    /// As much of the archive of a generation as is whole, from its base on: the content of an older commit if a newer run
    /// fails its checks. None where there is no base that passes; an error where one cannot be read, which may be whole.
    pub(crate) fn whole_part(home: &Home) -> io::Result<Option<Archive>> {
        let spans = run::spans(&home.dir)?;
        let mut archive: Option<Archive> = None;
        while let Some(span) = longest(&spans, archive.as_ref().map_or(0, Archive::seq), archive.is_none()) {
            match (&mut archive, whole_run(home, span)) {
                (_, Err(TreeError::Corrupt(_))) => break,
                (_, Err(TreeError::Io(error))) => return Err(error),
                (None, Ok(run)) => archive = Some(Archive::new(home, run)),
                (Some(archive), Ok(run)) => archive.push(run),
            }
        }
        Ok(archive)
    }

    fn push(&mut self, run: Run) {
        self.newest = Arc::new(run);
        self.runs.push(Arc::clone(&self.newest));
    }

    /// The last commit in it.
    pub(crate) fn seq(&self) -> u64 {
        self.newest.span().to
    }

    /// The content that it holds.
    pub(crate) fn root(&self) -> &Root {
        self.newest.root()
    }

    /// Bytes of its files.
    pub(crate) fn bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.bytes()).sum()
    }

    #[cfg(test)]
    pub(crate) fn runs(&self) -> &[Arc<Run>] {
        &self.runs
    }

    /// Checks the hash of every chunk, without decompressing anything, and says how many bytes that were so far.
    pub(crate) fn verify(&self, read: &mut dyn FnMut(u64)) -> Result<(), TreeError> {
        let (mut bytes, mut kept) = (0, Vec::new());
        for run in &self.runs {
            for chunk in 0..run.chunks() {
                run.verify(chunk, &mut kept)?;
                bytes += kept.len() as u64;
                read(bytes);
            }
        }
        Ok(())
    }

    /// Makes sure that what is read is on the medium.
    pub(crate) fn settle(&self) -> std::io::Result<()> {
        self.runs.iter().try_for_each(|run| run.settle())
    }

    /// One record, from the one chunk of each run that may have it.
    pub(crate) fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, TreeError> {
        for run in self.runs.iter().rev() {
            if let Some(value) = run.get(key)? {
                return Ok(value);
            }
        }
        Ok(None)
    }

    /// Hands over all records in the order of their keys; a fault of `take` ends it. All are those of the root, or this
    /// is an error at the end.
    pub(crate) fn walk<E: From<TreeError>>(&self, take: Take<'_, E>) -> Result<(), E> {
        let mut walk = self.begin_walk()?;
        while walk.next(take)? {}
        Ok(())
    }

    /// As [`Archive::walk`], piece by piece.
    pub(crate) fn begin_walk(&self) -> Result<Walk, TreeError> {
        let (merge, root) = (Merge::new(&self.runs)?, self.root().clone());
        Ok(Walk { merge, sealer: Box::new(Sealer::new(self.home.generation)), root, records: 0, sum: 0 })
    }

    /// The archive with the changes up to the commit of `root` added, durably, and merged as is due. The files of this
    /// one may be gone then, but whoever has it can read on.
    pub(crate) fn with(&self, changes: &Pending, root: &Root) -> Result<Archive, TreeError> {
        let span = Span { from: self.seq(), to: root.seq };
        let mut writer = Writer::create(&self.home, span)?;
        for (key, value) in changes.iter() {
            writer.put(key, value)?;
        }
        let mut next = self.clone();
        next.push(writer.finish(root)?);
        let sizes: Vec<u64> = next.runs.iter().map(|run| run.bytes()).collect();
        match merge_from(&sizes) {
            Some(first) => next.merged(first),
            None => Ok(next),
        }
    }

    /// The archive with all runs from `first` on made one.
    fn merged(mut self, first: usize) -> Result<Archive, TreeError> {
        let Some((older, from)) = self.runs.get(first).map(|run| (first > 0, run.span().from)) else { return Ok(self) };
        let span = Span { from, to: self.seq() };
        let mut writer = Writer::create(&self.home, span)?;
        merge(self.runs.get(first..).unwrap_or_default(), &mut |key, value| {
            // Below the base there is nothing to delete.
            if value.is_some() || older { writer.put(&key, value).map_err(TreeError::Io) } else { Ok(()) }
        })?;
        let run = writer.finish(&self.root().clone())?;
        // A run after an empty base has the same name as both together, and has just been replaced.
        for old in self.runs.drain(first..).filter(|old| old.span() != span) {
            // What stays is swept up by the next open.
            let _ = remove(old.path());
        }
        self.push(run);
        Ok(self)
    }

    /// Removes the files of runs that are no part of the chain, and unfinished ones.
    pub(crate) fn sweep(&self) {
        run::remove_unfinished(&self.home.dir);
        let Ok(spans) = run::spans(&self.home.dir) else { return };
        for span in spans.into_iter().filter(|span| self.runs.iter().all(|run| run.span() != *span)) {
            let _ = remove(&span.path(&self.home.dir));
        }
    }
}

/// Removes all runs of a generation, whole or not.
pub(crate) fn remove_all(gen_dir: &Path) {
    run::remove_unfinished(gen_dir);
    for span in run::spans(gen_dir).unwrap_or_default() {
        let _ = remove(&span.path(gen_dir));
    }
}

/// A run of which every chunk passes its hash.
fn whole_run(home: &Home, span: Span) -> Result<Run, TreeError> {
    let run = Run::open(home, span)?;
    let mut kept = Vec::new();
    (0..run.chunks()).try_for_each(|chunk| run.verify(chunk, &mut kept))?;
    Ok(run)
}

/// Moves the runs of a generation that fail their checks to the quarantine, before the archive is written anew over them,
/// and names them. Where that cannot be done they are not kept: of what they hold there is a copy that is whole.
pub(crate) fn set_bad_aside(home: &Home) -> Vec<String> {
    let spans = run::spans(&home.dir).unwrap_or_default().into_iter();
    let bad = spans.filter(|span| whole_run(home, *span).is_err());
    let bad: Vec<PathBuf> = bad.map(|span| span.path(&home.dir)).collect();
    if bad.is_empty() {
        return Vec::new();
    }
    match quarantine::set_files_aside(&home.dir, &bad) {
        Ok(()) => bad.iter().filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect(),
        Err(error) => {
            tracing::warn!(%error, "store: a damaged run of the archive cannot be set aside");
            Vec::new()
        }
    }
}

/// The run that leads furthest from `from`. Only the base may end where it begins, with an empty content.
fn longest(spans: &[Span], from: u64, is_base: bool) -> Option<Span> {
    let leads_on = |span: &&Span| span.from == from && (span.to > from || is_base);
    spans.iter().filter(leads_on).max_by_key(|span| span.to).copied()
}

/// From which run on those of these sizes are to be merged, if at all: as many as it pays for.
fn merge_from(sizes: &[u64]) -> Option<usize> {
    let due = |first: usize| {
        let (Some(size), Some(newer)) = (sizes.get(first), sizes.get(first + 1..)) else { return false };
        let newer_bytes: u64 = newer.iter().sum();
        match first {
            0 => newer_bytes * BASE_SHARE >= *size,
            1 if sizes.len() > RUNS_MAX => true,
            _ => newer_bytes >= size.saturating_mul(RUN_GROWTH),
        }
    };
    (0..sizes.len().saturating_sub(1)).find(|first| due(*first))
}

/// Takes a record, or that there is none, and may end the walk.
pub(crate) type TakeChange<'a, E> = &'a mut dyn FnMut(Key, Option<&[u8]>) -> Result<(), E>;

/// Hands over what runs, from the oldest to the newest, say together, in the order of the keys.
pub(crate) fn merge<E: From<TreeError>>(runs: &[Arc<Run>], take: TakeChange<'_, E>) -> Result<(), E> {
    let mut merge = Merge::new(runs)?;
    while merge.next(take)? {}
    Ok(())
}

/// Runs being read side by side, a chunk of each in memory.
pub(crate) struct Merge {
    /// The newest first.
    cursors: Vec<Cursor<Arc<Run>>>,
}

impl Merge {
    fn new(runs: &[Arc<Run>]) -> Result<Merge, TreeError> {
        let cursors: Result<_, _> = runs.iter().rev().map(|run| Cursor::new(Arc::clone(run))).collect();
        Ok(Merge { cursors: cursors? })
    }

    /// Hands over the next record, or that there is none; says whether there was another.
    fn next<E: From<TreeError>>(&mut self, take: TakeChange<'_, E>) -> Result<bool, E> {
        let keys = self.cursors.iter().enumerate().filter_map(|(at, cursor)| Some((cursor.key()?, at)));
        // Of the same key, the newest: it stands first.
        let Some((key, newest)) = keys.min() else { return Ok(false) };
        if let Some(cursor) = self.cursors.get(newest) {
            take(key, cursor.value())?;
        }
        for cursor in self.cursors.iter_mut().filter(|cursor| cursor.key() == Some(key)) {
            cursor.advance()?;
        }
        Ok(true)
    }
}

/// A reading of all records that goes on piece by piece.
pub(crate) struct Walk {
    merge: Merge,
    sealer: Box<Sealer>,
    root: Root,
    records: u64,
    sum: u64,
}

impl Walk {
    /// Hands over the next record, if there is one; whether all were those of the root is said at the end.
    pub(crate) fn next<E: From<TreeError>>(&mut self, take: Take<'_, E>) -> Result<bool, E> {
        let Walk { merge, sealer, root, records, sum } = self;
        let more = merge.next::<E>(&mut |key, value| {
            let Some(value) = value else { return Ok(()) };
            *records += 1;
            *sum = sum.wrapping_add(sealer.seal(&key, value));
            take(key, value)
        })?;
        if more || (*records, *sum) == (root.records, root.sum) {
            Ok(more)
        } else {
            Err(TreeError::corrupt("the records of the archive are not those of its root").into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use crate::Change;
    use crate::seal::seal;

    type Model = BTreeMap<Key, Vec<u8>>;

    fn home(dir: &Path) -> Home {
        Home::new(dir, 3, &crate::cipher::Cipher::none())
    }

    fn key(n: u64) -> Key {
        Key { table: 0, kind: 1, id: u128::from(n).to_be_bytes() }
    }

    fn root_of(model: &Model, seq: u64) -> Root {
        let sum = model.iter().fold(0_u64, |sum, (key, value)| sum.wrapping_add(seal(3, key, value)));
        let bytes = model.values().map(|value| value.len() as u64).sum();
        Root { seq, records: model.len() as u64, sum, bytes, meta: Some(seq.to_le_bytes().to_vec()) }
    }

    fn contents(archive: &Archive) -> Result<Model, TreeError> {
        let mut model = Model::new();
        archive.walk::<TreeError>(&mut |key, value| {
            model.insert(key, value.to_vec());
            Ok(())
        })?;
        Ok(model)
    }

    /// Adds `steps` checkpoints of changes that are a function of their number, and returns what is then there.
    fn grow(dir: &Path, steps: u64) -> (Archive, Model) {
        let mut model = Model::new();
        let base = Writer::create(&home(dir), Span { from: 0, to: 0 }).unwrap().finish(&root_of(&model, 0)).unwrap();
        let mut archive = Archive::new(&home(dir), base);
        for step in 1..=steps {
            let mut pending = Pending::default();
            let changes = (0..40).map(|n| {
                let id = step.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(n * 7919) % 3_000;
                let value = (n % 5 != 0).then(|| vec![(step + n) as u8; (id % 900) as usize].into());
                Change { key: key(id), value }
            });
            let changes: Vec<Change> = changes.collect();
            for change in &changes {
                match &change.value {
                    Some(value) => model.insert(change.key, value.to_vec()),
                    None => model.remove(&change.key),
                };
            }
            pending.add(changes);
            archive = archive.with(&pending, &root_of(&model, step * 10)).unwrap();
            assert!(archive.runs().len() <= RUNS_MAX + 1, "{} runs", archive.runs().len());
        }
        (archive, model)
    }

    #[test]
    fn it_is_what_was_put_into_it_and_stays_so_when_it_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let (archive, model) = grow(dir.path(), 120);
        assert!(contents(&archive).unwrap() == model);
        let again = Archive::open(&home(dir.path())).unwrap().unwrap();
        assert!(contents(&again).unwrap() == model);
        assert_eq!(again.root(), &root_of(&model, 1_200));
        again.verify(&mut |_| ()).unwrap();
        for n in 0..3_000 {
            assert_eq!(again.get(&key(n)).unwrap(), model.get(&key(n)).cloned(), "{n}");
        }
    }

    #[test]
    fn the_first_run_after_an_empty_base_stays_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let (archive, model) = grow(dir.path(), 1);
        assert_eq!(archive.runs().len(), 1);
        assert!(contents(&Archive::open(&home(dir.path())).unwrap().unwrap()).unwrap() == model);
    }

    #[test]
    fn what_a_cut_merge_left_is_not_in_the_way_and_is_swept_up() {
        let dir = tempfile::tempdir().unwrap();
        let (archive, model) = grow(dir.path(), 50);
        let base = archive.runs()[0].path().to_path_buf();
        let away = dir.path().join("away");
        // As if a longer base had been written and nothing removed.
        let copies: Vec<_> = archive.runs().iter().map(|run| run.path().to_path_buf()).collect();
        for path in &copies {
            std::fs::copy(path, away.with_file_name(format!("away-{}", path.file_name().unwrap().to_str().unwrap())))
                .unwrap();
        }
        let merged = archive.merged(0).unwrap();
        assert!(merged.runs().len() == 1 && !base.exists());
        for path in &copies {
            std::fs::copy(away.with_file_name(format!("away-{}", path.file_name().unwrap().to_str().unwrap())), path)
                .unwrap();
        }
        std::fs::write(dir.path().join("run-500-600.tmp"), b"half").unwrap();
        let again = Archive::open(&home(dir.path())).unwrap().unwrap();
        assert!(again.runs().len() == 1 && contents(&again).unwrap() == model);
        again.sweep();
        assert!(!base.exists() && !dir.path().join("run-500-600.tmp").exists());
        assert!(contents(&Archive::open(&home(dir.path())).unwrap().unwrap()).unwrap() == model);
    }

    #[test]
    fn no_flipped_bit_and_no_cut_passes() {
        let dir = tempfile::tempdir().unwrap();
        let (archive, model) = grow(dir.path(), 30);
        for run in archive.runs() {
            let good = std::fs::read(run.path()).unwrap();
            let looks = || {
                let archive = Archive::open(&home(dir.path()))?.ok_or_else(|| TreeError::corrupt("it is empty"))?;
                archive.verify(&mut |_| ())?;
                // Without its last run it is what it was before, which its commit tells.
                if archive.seq() == 300 { contents(&archive).map(Some) } else { Ok(None) }
            };
            for bit in (0..good.len() * 8).step_by(97) {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                std::fs::write(run.path(), &bad).unwrap();
                assert!(!matches!(looks(), Ok(Some(_))), "bit {bit} of {:?}", run.span());
            }
            for len in (0..good.len()).step_by(29) {
                std::fs::write(run.path(), &good[..len]).unwrap();
                assert!(!matches!(looks(), Ok(Some(_))), "length {len} of {:?}", run.span());
            }
            std::fs::write(run.path(), &good).unwrap();
            assert!(looks().unwrap().unwrap() == model);
        }
    }

    #[test]
    fn merging_writes_each_byte_a_few_times_and_keeps_few_runs() {
        // A base of 20 MB and 1,000 checkpoints of 300 KB each.
        let (mut sizes, mut written) = (vec![20_000_000_u64], 0);
        let mut most = 0;
        for _ in 0..1_000 {
            sizes.push(300_000);
            written += 300_000;
            if let Some(first) = merge_from(&sizes) {
                // Nothing coalesces but what goes into the base, whose size stays.
                let merged: u64 = if first == 0 { 20_000_000 } else { sizes[first..].iter().sum() };
                sizes.truncate(first);
                sizes.push(merged);
                written += merged;
            }
            most = most.max(sizes.len());
        }
        assert!(most <= RUNS_MAX, "{most} runs");
        assert!(written <= 6 * 300_000_000, "{written} bytes written");
    }
}
