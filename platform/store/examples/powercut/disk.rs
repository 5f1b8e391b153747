//! What may lie on a disk after a power cut, as promised by POSIX and no more: what was synced is there, a file's bytes by a
//! sync of the file, a name by a sync of its directory. Of everything else any part may be there: later changes without
//! earlier ones, a file without its name, a name without its bytes, a write torn at any sector.
//!
//! Two things are never torn apart: the old and the new name of a rename, and changes of one name, which come in order.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::trace::{Effect, Inode, Names, Step, TOP, Trace, What};
use crate::workload::Random;

/// What a disk writes whole.
const SECTOR: usize = 512;
/// What some write whole.
const LARGE_SECTOR: usize = 4096;
/// Zeros are not written out in pieces of this size: a hole reads the same.
const HOLE: usize = 64 * 1024;

/// A file as it is in the page cache and as it is on the disk.
#[derive(Default)]
struct Content {
    durable: Vec<u8>,
    /// Steps that changed it since.
    pending: Vec<usize>,
}

/// A change of names that is not durable.
#[derive(Clone, Copy)]
struct Renaming {
    step: usize,
    /// Any sync since then would have made it durable on a file system that keeps metadata in order.
    committed: bool,
}

/// The disk at some step of a trace.
pub(crate) struct Disk<'t> {
    trace: &'t Trace,
    /// The first step that has not happened yet.
    next: usize,
    files: HashMap<Inode, Content>,
    names: Names,
    renamings: Vec<Renaming>,
}

/// Which part of what is not durable survives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Survivors {
    Nothing,
    Everything,
    /// Everything up to some write, and part of that.
    UpToOne,
    /// Each with this chance in percent, else with the second a part of it.
    Each(u64, u64),
}

/// What kind of a disk and file system is met.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Medium {
    pub(crate) bytes: Survivors,
    pub(crate) names: Survivors,
    /// Whether names change in the order of the calls, and any sync makes all earlier changes durable (as on ext4).
    pub(crate) ordered_names: bool,
    sector: usize,
    /// Whether a file has its new length although what was written there is lost, and reads as zeros.
    length_first: bool,
}

impl Medium {
    /// One that loses nothing.
    pub(crate) fn perfect() -> Medium {
        let all = Survivors::Everything;
        Medium { bytes: all, names: all, ordered_names: true, sector: SECTOR, length_first: true }
    }

    /// One of those that there are.
    pub(crate) fn any(random: &mut Random) -> Medium {
        let survivors = [
            Survivors::Nothing,
            Survivors::Everything,
            Survivors::UpToOne,
            Survivors::UpToOne,
            Survivors::Each(20, 30),
            Survivors::Each(50, 50),
            Survivors::Each(80, 80),
        ];
        Medium {
            bytes: *random.pick(&survivors),
            names: *random.pick(&survivors),
            ordered_names: random.percent(30),
            sector: *random.pick(&[SECTOR, SECTOR, LARGE_SECTOR]),
            length_first: random.percent(50),
        }
    }
}

/// Takes a path and, of a file, its bytes.
type Take<'a> = &'a mut dyn FnMut(&Path, Option<&[u8]>) -> io::Result<()>;

/// A disk after a cut: names and bytes.
pub(crate) struct State<'d> {
    directories: &'d [bool],
    names: Names,
    files: HashMap<Inode, Cow<'d, [u8]>>,
}

impl<'t> Disk<'t> {
    pub(crate) fn new(trace: &'t Trace) -> Disk<'t> {
        let (names, files) = trace.before.clone();
        let files = files.into_iter().map(|(inode, durable)| (inode, Content { durable, pending: Vec::new() }));
        Disk { trace, next: 0, files: files.collect(), names, renamings: Vec::new() }
    }

    /// Goes on until step `step` has happened.
    pub(crate) fn go_to(&mut self, step: usize) {
        while self.next <= step && self.next < self.trace.steps.len() {
            let Step { what, .. } = &self.trace.steps[self.next];
            match what {
                What::Effect(Effect::Name(_)) => self.renamings.push(Renaming { step: self.next, committed: false }),
                What::Effect(Effect::Write { file, .. } | Effect::Resize { file, .. }) => {
                    self.files.entry(*file).or_default().pending.push(self.next);
                }
                What::Sync { of, since } => self.sync(*of, *since),
                What::Said(_) => {}
            }
            self.next += 1;
        }
    }

    /// How many steps there are in all.
    pub(crate) fn steps(&self) -> usize {
        self.trace.steps.len()
    }

    /// How many changes a cut might undo now.
    pub(crate) fn at_stake(&self) -> usize {
        self.renamings.len() + self.files.values().map(|file| file.pending.len()).sum::<usize>()
    }

    fn sync(&mut self, of: Option<Inode>, since: usize) {
        let ended = |step: usize| self.trace.steps[step].done < since;
        for (_, content) in self.files.iter_mut().filter(|(inode, _)| of.is_none_or(|of| of == **inode)) {
            let (durable, pending): (Vec<usize>, _) = content.pending.iter().partition(|step| ended(**step));
            content.pending = pending;
            durable.into_iter().for_each(|step| self.trace.apply(step, &mut content.durable));
        }
        for renaming in self.renamings.iter_mut().filter(|renaming| ended(renaming.step)) {
            renaming.committed = true;
        }
        let trace = self.trace;
        let synced = |(dir, _): &(Inode, String)| of.is_none_or(|of| of == *dir);
        let durable = self.with_earlier(|renaming| {
            ended(renaming.step) && trace.entries(renaming.step).iter().any(|(name, _)| synced(name))
        });
        self.renamings.retain(|renaming| !durable.contains(&renaming.step));
        durable.into_iter().for_each(|step| trace.rename(step, &mut self.names));
    }

    /// The changes of names that are chosen, and all earlier ones of the same names.
    fn with_earlier(&self, mut choose: impl FnMut(&Renaming) -> bool) -> BTreeSet<usize> {
        let (mut chosen, mut names) = (BTreeSet::new(), BTreeSet::new());
        for renaming in self.renamings.iter().rev() {
            let entries = self.trace.entries(renaming.step);
            if choose(renaming) || entries.iter().any(|(name, _)| names.contains(name)) {
                chosen.insert(renaming.step);
                names.extend(entries.iter().map(|(name, _)| name));
            }
        }
        chosen
    }

    /// What a cut now may leave.
    pub(crate) fn cut(&self, medium: Medium, random: &mut Random) -> State<'_> {
        let mut names = self.names.clone();
        for step in self.surviving_names(medium, random) {
            self.trace.rename(step, &mut names);
        }
        let last = match medium.bytes {
            Survivors::UpToOne => {
                let mut pending: Vec<usize> =
                    self.files.values().flat_map(|file| file.pending.iter().copied()).collect();
                pending.sort_unstable();
                if pending.is_empty() { 0 } else { *random.pick(&pending) }
            }
            _ => 0,
        };
        let mut files = HashMap::new();
        // In the order of their numbers, so that the same seed chooses the same.
        for inode in names.values().copied().collect::<BTreeSet<_>>() {
            if !self.trace.directories[inode] {
                files.insert(inode, self.surviving_bytes(inode, medium, last, random));
            }
        }
        State { directories: &self.trace.directories, names, files }
    }

    fn surviving_names(&self, medium: Medium, random: &mut Random) -> BTreeSet<usize> {
        let all = self.renamings.len() as u64;
        let up_to = match medium.names {
            Survivors::Nothing => 0,
            Survivors::Everything => all,
            Survivors::UpToOne | Survivors::Each(..) => random.next(all + 1),
        };
        let last = self.renamings.get(up_to as usize).map_or(usize::MAX, |renaming| renaming.step);
        self.with_earlier(|renaming| match medium.names {
            Survivors::Each(percent, _) if !medium.ordered_names => random.percent(percent),
            _ => renaming.step < last || medium.ordered_names && renaming.committed,
        })
    }

    /// A file of which some of the sectors are as they were last synced, and some as they were written since.
    fn surviving_bytes(&self, inode: Inode, medium: Medium, last: usize, random: &mut Random) -> Cow<'_, [u8]> {
        let Some(content) = self.files.get(&inode) else { return Cow::Borrowed(&[]) };
        if content.pending.is_empty() {
            return Cow::Borrowed(&content.durable);
        }
        let (mut cache, mut disk) = (content.durable.clone(), content.durable.clone());
        for step in &content.pending {
            self.trace.apply(*step, &mut cache);
            let (whole, part) = match medium.bytes {
                Survivors::Nothing => (false, false),
                Survivors::Everything => (true, false),
                Survivors::UpToOne => (*step < last, *step == last),
                Survivors::Each(whole, part) => (random.percent(whole), random.percent(part)),
            };
            match &self.trace.steps[*step].what {
                What::Effect(Effect::Write { offset, data, .. }) if whole || part => {
                    let sectors = sectors(*offset as usize, data.len(), medium.sector);
                    let prefix = sectors.start + random.next(sectors.len().max(1) as u64) as usize;
                    let scattered = part && random.percent(50);
                    for sector in sectors {
                        if whole || if scattered { random.percent(50) } else { sector < prefix } {
                            write_back(sector * medium.sector, medium.sector, &cache, &mut disk);
                        }
                    }
                }
                What::Effect(Effect::Resize { len, .. }) if whole => disk.resize(*len as usize, 0),
                _ => {}
            }
        }
        if medium.length_first && disk.len() < cache.len() {
            disk.resize(cache.len(), 0);
        }
        Cow::Owned(disk)
    }
}

fn sectors(offset: usize, len: usize, sector: usize) -> std::ops::Range<usize> {
    offset / sector..(offset + len).div_ceil(sector)
}

/// A sector goes to the disk as it is in the page cache, with all that was ever written to it.
fn write_back(start: usize, len: usize, cache: &[u8], disk: &mut Vec<u8>) {
    let end = (start + len).min(cache.len());
    if start < end {
        disk.resize(disk.len().max(end), 0);
        disk[start..end].copy_from_slice(&cache[start..end]);
    }
}

impl Trace {
    /// What a step does to the bytes of its file.
    fn apply(&self, step: usize, bytes: &mut Vec<u8>) {
        match &self.steps[step].what {
            What::Effect(Effect::Write { offset, data, .. }) => {
                let (start, end) = (*offset as usize, *offset as usize + data.len());
                bytes.resize(bytes.len().max(end), 0);
                bytes[start..end].copy_from_slice(data);
            }
            What::Effect(Effect::Resize { len, .. }) => bytes.resize(*len as usize, 0),
            _ => {}
        }
    }

    fn entries(&self, step: usize) -> &[((Inode, String), Option<Inode>)] {
        match &self.steps[step].what {
            What::Effect(Effect::Name(entries)) => entries,
            _ => &[],
        }
    }

    fn rename(&self, step: usize, names: &mut Names) {
        for (name, whose) in self.entries(step) {
            match whose {
                Some(inode) => names.insert(name.clone(), *inode),
                None => names.remove(name),
            };
        }
    }
}

impl State<'_> {
    /// Writes it out below a directory, which exists and is empty.
    pub(crate) fn write_to(&self, path: &Path) -> io::Result<()> {
        self.visit(TOP, path, &mut |path, bytes| match bytes {
            None => fs::create_dir(path),
            Some(bytes) => {
                let file = File::create(path)?;
                for (number, piece) in bytes.chunks(HOLE).enumerate() {
                    if piece.iter().any(|byte| *byte != 0) {
                        file.write_all_at(piece, (number * HOLE) as u64)?;
                    }
                }
                file.set_len(bytes.len() as u64)
            }
        })
    }

    /// The paths of what a real directory has otherwise, or has alone, or lacks.
    pub(crate) fn differences(&self, path: &Path) -> io::Result<BTreeSet<String>> {
        let (mut here, mut there) = (BTreeMap::new(), BTreeMap::new());
        self.visit(TOP, path, &mut |path, bytes| {
            here.insert(path.to_owned(), bytes.map(<[u8]>::to_vec));
            Ok(())
        })?;
        read_tree(path, &mut there)?;
        let all: BTreeSet<_> = here.keys().chain(there.keys()).collect();
        let differ = all.into_iter().filter(|path| here.get(*path) != there.get(*path));
        Ok(differ.map(|path| path.display().to_string()).collect())
    }

    fn visit(&self, dir: Inode, path: &Path, take: Take<'_>) -> io::Result<()> {
        for ((_, name), inode) in self.names.range((dir, String::new())..(dir + 1, String::new())) {
            let path = path.join(name);
            if self.directories[*inode] {
                take(&path, None)?;
                self.visit(*inode, &path, take)?;
            } else {
                take(&path, Some(self.files.get(inode).map_or(&[][..], |bytes| bytes)))?;
            }
        }
        Ok(())
    }
}

fn read_tree(dir: &Path, into: &mut BTreeMap<std::path::PathBuf, Option<Vec<u8>>>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            into.insert(path.clone(), None);
            read_tree(&path, into)?;
        } else {
            into.insert(path.clone(), Some(fs::read(&path)?));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effect(at: usize, effect: Effect) -> Step {
        Step { at, done: at, what: What::Effect(effect) }
    }

    fn sync(at: usize, of: Inode) -> Step {
        Step { at, done: at, what: What::Sync { of: Some(of), since: at } }
    }

    fn named(name: &str, inode: Inode) -> Effect {
        Effect::Name(vec![((TOP, name.into()), Some(inode))])
    }

    fn write(offset: u64, data: &[u8]) -> Effect {
        Effect::Write { file: 1, offset, data: data.to_vec() }
    }

    fn trace(steps: Vec<Step>) -> Trace {
        Trace { steps, directories: vec![true, false, false], ..Trace::default() }
    }

    /// All that many cuts after the last step leave: names, and the bytes of file 1.
    fn states(trace: &Trace) -> BTreeSet<(Vec<String>, Vec<u8>)> {
        let mut disk = Disk::new(trace);
        disk.go_to(trace.steps.len());
        let mut random = Random::new(1);
        let mut one = || {
            let medium = Medium::any(&mut random);
            let state = disk.cut(medium, &mut random);
            let bytes = state.files.get(&1).map(|bytes| bytes.to_vec()).unwrap_or_default();
            (state.names.keys().map(|(_, name)| name.clone()).collect(), bytes)
        };
        (0..2_000).map(|_| one()).collect()
    }

    #[test]
    fn what_was_synced_is_there_in_every_state() {
        let steps = vec![effect(0, named("a", 1)), effect(1, write(0, b"kept")), sync(2, 1), sync(3, TOP)];
        assert_eq!(states(&trace(steps)), BTreeSet::from([(vec!["a".into()], b"kept".to_vec())]));
    }

    #[test]
    fn a_sync_of_a_file_is_none_of_its_name_and_the_other_way_round() {
        let steps = |of| vec![effect(0, named("a", 1)), effect(1, write(0, b"x")), sync(2, of)];
        let (gone, there): (_, Vec<String>) = (Vec::new(), vec!["a".into()]);
        let of_file = BTreeSet::from([(gone, Vec::new()), (there.clone(), b"x".to_vec())]);
        assert_eq!(states(&trace(steps(1))), of_file);
        let of_name = [Vec::new(), vec![0], b"x".to_vec()].map(|bytes| (there.clone(), bytes));
        assert_eq!(states(&trace(steps(TOP))), BTreeSet::from(of_name));
    }

    #[test]
    fn a_write_is_torn_at_sectors_and_a_sector_is_as_it_was_at_some_moment() {
        let steps = vec![
            effect(0, named("a", 1)),
            effect(1, write(0, &[1; 1536])),
            sync(2, 1),
            sync(3, TOP),
            effect(4, write(256, &[2; 1024])),
            effect(5, write(300, &[3; 10])),
        ];
        let (mut kinds, states) = (BTreeSet::new(), states(&trace(steps)));
        for (_, bytes) in &states {
            let sectors: Vec<&[u8]> = bytes.chunks(SECTOR).collect();
            assert!(sectors[1] == [1; 512] || sectors[1] == [2; 512]);
            // The later write never without the earlier one in the same sector.
            assert!(sectors[0] == [1; 512] || sectors[0][256..300] == [2; 44]);
            kinds.insert((sectors[0][256], sectors[0][300], sectors[1][0], sectors[2][0]));
        }
        assert_eq!(kinds.len(), 12, "each of the three sectors by itself: {kinds:?}");
    }

    #[test]
    fn a_rename_is_never_half_there_and_brings_what_the_name_was_before() {
        let rename = Effect::Name(vec![((TOP, "a".into()), None), ((TOP, "b".into()), Some(1))]);
        let steps = vec![effect(0, named("a", 1)), effect(1, rename)];
        let names: BTreeSet<Vec<String>> = states(&trace(steps)).into_iter().map(|(names, _)| names).collect();
        assert_eq!(names, BTreeSet::from([vec![], vec!["a".into()], vec!["b".into()]]));
    }
}
