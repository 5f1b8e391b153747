//! What a store promises when the disk does not keep what it was given: damage is noticed or does no harm, and wrong
//! content is never handed out. One thing cannot be seen from inside: that the very last frame of the journal is gone,
//! for a damaged last frame looks like one that a power cut tore. Whoever had it acknowledged can tell.

mod lab;

use lab::copy_tree;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use store::{Change, Key, OpenError, Options, Store};

type Model = BTreeMap<Key, Vec<u8>>;
type Content = (Option<Vec<u8>>, Model);

/// Damages of each kind that each file gets, unless `STORE_DAMAGE_ROUNDS` says otherwise (and `STORE_DAMAGE_SEED` which).
const ROUNDS: u64 = 8;

struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below.max(1)
    }
}

fn key(n: u64) -> Key {
    Key { table: 0, kind: 1, id: u128::from(n).to_be_bytes() }
}

fn open(dir: &Path) -> Result<Content, OpenError> {
    let mut model = Model::new();
    let (_, meta) = Store::open(dir, Options::default(), &mut |key, value| drop(model.insert(key, value.to_vec())))?;
    Ok((meta, model))
}

fn files(dir: &Path, prefix: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let path = prefix.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), &path, found);
        } else {
            found.push(path);
        }
    }
}

/// A store with everything that one can have: checkpoints, both journals in use, a large commit.
/// Returns all contents that it ever had, the first one empty.
fn make(dir: &Path) -> Vec<Content> {
    let mut random = Random(99);
    let (mut store, _) =
        Store::open(dir, Options { checkpoint_commits: 60, ..Options::default() }, &mut |_, _| {}).unwrap();
    let mut model = Model::new();
    let mut states = vec![(None, Model::new())];
    for number in 1_u64..=150 {
        let (count, longest) = if number == 140 { (60, 30_000) } else { (3, 700) };
        let mut changes = Vec::new();
        for _ in 0..count {
            let key = key(random.next(90));
            let value: Vec<u8> = (0..random.next(longest)).map(|_| random.next(256) as u8).collect();
            model.insert(key, value.clone());
            changes.push(Change { key, value: Some(Arc::from(value)) });
        }
        let meta = number.to_le_bytes().to_vec();
        store.commit(&meta, changes).unwrap();
        states.push((Some(meta), model.clone()));
    }
    drop(store);
    states
}

/// Leaves a generation as the first release made it.
fn remove_archive(generation: &Path) {
    for entry in fs::read_dir(generation).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_str().unwrap().starts_with("run-") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip,
    ZeroSector,
    Truncate,
    SwapSectors,
    Remove,
}

fn inflict(damage: Damage, path: &Path, random: &mut Random) {
    let len = fs::metadata(path).unwrap().len();
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let sector = |random: &mut Random| random.next(len / 512) * 512;
    match damage {
        Damage::Flip => {
            let at = random.next(len);
            let mut byte = [0];
            if file.read_at(&mut byte, at).unwrap() == 1 {
                file.write_at(&[byte[0] ^ (1 << random.next(8))], at).unwrap();
            }
        }
        Damage::ZeroSector => {
            let at = sector(random);
            file.write_all_at(&vec![0; (len - at).min(512) as usize], at).unwrap();
        }
        Damage::Truncate => file.set_len(random.next(len)).unwrap(),
        Damage::SwapSectors => {
            let (a, b) = (sector(random), sector(random));
            let (mut first, mut second) = ([0; 512], [0; 512]);
            if a.max(b) + 512 <= len {
                file.read_exact_at(&mut first, a).unwrap();
                file.read_exact_at(&mut second, b).unwrap();
                file.write_all_at(&first, b).unwrap();
                file.write_all_at(&second, a).unwrap();
            }
        }
        Damage::Remove => fs::remove_file(path).unwrap(),
    }
}

/// How many of each kind of damage came to what.
#[derive(Default, Debug)]
struct Tally {
    /// The content is whole, and nothing had to be said.
    harmless: u32,
    /// The content is whole, and what was made good is reported.
    healed: u32,
    /// An older content, whole, and the loss is reported.
    salvaged: u32,
    /// Refused as corrupt.
    refused: u32,
    /// The last frame of the journal, which nobody but its committer can miss.
    last_frame: u32,
}

/// Opens a damaged copy, judges what comes of it, and says whether the store can be used.
fn judge(copy: &Path, name: &Path, is_changed: bool, salvage: bool, states: &[Content], tally: &mut Tally) -> bool {
    let journal = name.file_name().is_some_and(|n| n == "j0" || n == "j1");
    let spill = name.to_string_lossy().contains("spill-");
    let [.., before_last, last] = states else { panic!("no states") };
    let mut model = Model::new();
    let options = Options { salvage, checkpoint_commits: 60, ..Options::default() };
    let opened = Store::open(copy, options, &mut |key, value| drop(model.insert(key, value.to_vec())));
    let (store, meta) = match opened {
        Ok(opened) => opened,
        Err(OpenError::Corrupt { .. }) if !salvage => {
            tally.refused += 1;
            return false;
        }
        Err(other) => panic!("{name:?}: {other}"),
    };
    let found = (meta, model);
    if is_changed && name.file_name().is_some_and(|n| n.to_string_lossy().starts_with("run-")) {
        let report = store.reports().last().unwrap_or_else(|| panic!("{name:?} is damaged, and nothing is said of it"));
        assert!(!report.lost && found == *last, "{name:?}: {report:?}");
        let aside =
            lab::find(copy, name.file_name().unwrap()).into_iter().find(|path| path.starts_with("quarantine-1"));
        assert!(aside.is_some(), "{name:?} is not set aside: {report:?}");
    }
    match store.reports().last() {
        None if found == *last => tally.harmless += 1,
        Some(report) if found == *last && !report.lost => tally.healed += 1,
        None if found == *before_last && journal => tally.last_frame += 1,
        Some(report) if report.lost && (journal || spill) && salvage => {
            assert!(states.contains(&found), "{name:?}: a content that never was");
            tally.salvaged += 1;
        }
        report => panic!("{name:?}: meta {:?}, {} records, {report:?}", found.0, found.1.len()),
    }
    true
}

#[test]
fn no_damage_to_any_file_is_ever_served() {
    let work = tempfile::tempdir().unwrap();
    let whole = work.path().join("whole");
    let states = make(&whole);
    assert!(open(&whole).unwrap() == *states.last().unwrap());
    let mut names = Vec::new();
    files(&whole, Path::new(""), &mut names);
    let names: Vec<_> =
        names.into_iter().filter(|name| !["lock", "reserve"].iter().any(|n| name.ends_with(n))).collect();
    for needed in ["CURRENT", "provisioned", "j0", "j1", "db", "conf"] {
        assert!(names.iter().any(|name| name.ends_with(needed)), "{needed} is not there to be damaged");
    }
    for needed in ["run-", "spill-"] {
        assert!(names.iter().any(|name| name.to_string_lossy().contains(needed)), "no {needed} to be damaged");
    }
    let rounds = std::env::var("STORE_DAMAGE_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().expect("a number"));
    let seed = std::env::var("STORE_DAMAGE_SEED").map_or(7, |seed| seed.parse().expect("a number"));
    let (mut random, mut tally) = (Random(seed), Tally::default());
    for name in &names {
        for damage in [Damage::Flip, Damage::ZeroSector, Damage::Truncate, Damage::SwapSectors, Damage::Remove] {
            for round in 0..if matches!(damage, Damage::Remove) { 2 } else { rounds } {
                let copy = work.path().join("copy");
                copy_tree(&whole, &copy);
                inflict(damage, &copy.join(name), &mut random);
                // A file that is not there may be one that an earlier release did not write.
                let is_changed =
                    fs::read(copy.join(name)).is_ok_and(|bytes| bytes != fs::read(whole.join(name)).unwrap());
                let usable = judge(&copy, name, is_changed, round % 2 == 0, &states, &mut tally);
                if round < 2 {
                    if usable {
                        goes_on(&copy);
                    } else {
                        store::quarantine(&copy).unwrap();
                        assert_eq!(open(&copy).unwrap(), (None, Model::new()));
                    }
                }
                fs::remove_dir_all(&copy).unwrap();
            }
        }
    }
    println!("{tally:?}");
    assert!(tally.healed > 0 && tally.salvaged > 0 && tally.refused > 0, "{tally:?}");
}

/// Checkpoints come over sled and archive as they are, and what is then there is what was committed.
fn goes_on(dir: &Path) {
    let mut model = Model::new();
    let options = || Options { salvage: true, checkpoint_commits: 20, ..Options::default() };
    let (mut store, _) =
        Store::open(dir, options(), &mut |key, value| drop(model.insert(key, value.to_vec()))).unwrap();
    for n in 0..70_u64 {
        let value = vec![n as u8; 300];
        store.commit(b"on", vec![Change { key: key(n % 30), value: Some(Arc::from(value.as_slice())) }]).unwrap();
        model.insert(key(n % 30), value);
    }
    drop(store);
    let mut found = Model::new();
    let (store, _) = Store::open(dir, options(), &mut |key, value| drop(found.insert(key, value.to_vec()))).unwrap();
    assert!(found == model && store.reports().last().is_none());
}

#[test]
fn a_damaged_frame_before_a_whole_one_is_no_torn_tail() {
    let work = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(work.path(), Options::default(), &mut |_, _| {}).unwrap();
    for n in 0..5_u64 {
        store.commit(&[n as u8], vec![Change { key: key(n), value: Some(Arc::from(&[7; 300][..])) }]).unwrap();
    }
    drop(store);
    let journal = fs::OpenOptions::new().read(true).write(true).open(work.path().join("gen-1/j0")).unwrap();
    // Five frames of one sector each. Without the last one the store is that of four commits, as after a power cut.
    journal.write_all_at(&[0], 8192 + 4 * 512).unwrap();
    assert_eq!(open(work.path()).unwrap().0, Some(vec![3]));
    journal.write_all_at(&[0], 8192 + 512).unwrap();
    assert!(open(work.path()).unwrap_err().is_corrupt());
}

#[test]
fn a_torn_tail_at_any_length_is_the_commit_before_and_the_store_goes_on() {
    let work = tempfile::tempdir().unwrap();
    let (mut store, _) = Store::open(work.path(), Options::default(), &mut |_, _| {}).unwrap();
    let put = |n: u64, len: usize| vec![Change { key: key(n), value: Some(Arc::from(vec![n as u8; len])) }];
    store.commit(b"first", put(1, 100)).unwrap();
    store.commit(b"second", put(2, 5_000)).unwrap();
    drop(store);
    let path = work.path().join("gen-1/j0");
    let whole = fs::read(&path).unwrap();
    let frame = 8192 + 512..8192 + 512 + 5_000;
    for cut in frame.clone().step_by(512).chain([frame.end - 1]) {
        let mut torn = whole.clone();
        torn[cut..frame.end + 100].fill(0);
        fs::write(&path, torn).unwrap();
        let (mut store, meta) = Store::open(work.path(), Options::default(), &mut |_, _| {}).unwrap();
        assert_eq!(meta.as_deref(), Some(&b"first"[..]), "cut at {cut}");
        store.commit(b"third", put(3, 200)).unwrap();
        drop(store);
        assert_eq!(open(work.path()).unwrap().0.as_deref(), Some(&b"third"[..]));
    }
}

#[test]
fn an_older_copy_of_sleds_files_is_noticed() {
    let work = tempfile::tempdir().unwrap();
    let dir = work.path().join("store");
    let options = || Options { checkpoint_commits: 10, ..Options::default() };
    let mut commits = 0..;
    let mut commit = |store: &mut Store, count| {
        for n in commits.by_ref().take(count) {
            let value = Some(Arc::from(&[n as u8; 50][..]));
            store.commit(&[n as u8], vec![Change { key: key(n), value }]).unwrap();
        }
    };
    let (mut store, _) = Store::open(&dir, options(), &mut |_, _| {}).unwrap();
    commit(&mut store, 25);
    drop(store);
    copy_tree(&dir.join("gen-1/sled"), &work.path().join("old"));
    let (mut store, _) = Store::open(&dir, options(), &mut |_, _| {}).unwrap();
    // So many that both journals are turned meanwhile, however slow the disk.
    commit(&mut store, 600);
    drop(store);
    fs::remove_dir_all(dir.join("gen-1/sled")).unwrap();
    copy_tree(&work.path().join("old"), &dir.join("gen-1/sled"));
    remove_archive(&dir.join("gen-1"));
    let error = open(&dir).unwrap_err();
    assert!(error.is_corrupt() && error.to_string().contains("it had come to"), "{error}");
}

#[test]
fn garbage_in_place_of_a_store_is_a_clear_error() {
    let mut random = Random(3);
    let mut garbage = |len: usize| -> Vec<u8> { (0..len).map(|_| random.next(256) as u8).collect() };
    for rounds in 0..8 {
        let work = tempfile::tempdir().unwrap();
        make(work.path());
        let mut names = Vec::new();
        files(work.path(), Path::new(""), &mut names);
        for name in names.iter().filter(|name| rounds == 0 || name.starts_with("gen-1/sled") || name.ends_with("j0")) {
            let path = work.path().join(name);
            let len = fs::metadata(&path).unwrap().len() as usize;
            fs::write(&path, garbage(if rounds % 2 == 0 { len } else { 10_000 })).unwrap();
        }
        let error = open(work.path()).unwrap_err();
        assert!(error.is_corrupt(), "{error}");
        store::quarantine(work.path()).unwrap();
        assert_eq!(open(work.path()).unwrap().0, None);
    }
    let work = tempfile::tempdir().unwrap();
    fs::write(work.path().join("CURRENT"), garbage(5_000)).unwrap();
    assert!(open(work.path()).unwrap_err().is_corrupt());
}

#[test]
fn a_generation_without_its_current_is_never_an_empty_store() {
    let work = tempfile::tempdir().unwrap();
    let content = make(work.path()).pop().unwrap();
    fs::remove_file(work.path().join("CURRENT")).unwrap();
    assert!(open(work.path()).unwrap() == content);
    // With two that were finished, nobody can say which it was.
    copy_tree(&work.path().join("gen-1"), &work.path().join("gen-2"));
    let marker = fs::read(work.path().join("CURRENT")).unwrap();
    fs::remove_file(work.path().join("CURRENT")).unwrap();
    drop(open(work.path()).unwrap());
    assert_eq!(
        fs::read(work.path().join("CURRENT")).unwrap(),
        marker,
        "the marker of gen-2 is gen-1's, so it does not count"
    );
}

#[test]
fn what_a_cut_leaves_of_a_creation_or_a_switch_is_swept_up() {
    let work = tempfile::tempdir().unwrap();
    let content = make(work.path()).pop().unwrap();
    // An unfinished generation, one finished but never switched to, a temporary file.
    fs::create_dir_all(work.path().join("gen-2/sled")).unwrap();
    fs::write(work.path().join("gen-2/j0"), b"half").unwrap();
    copy_tree(&work.path().join("gen-1"), &work.path().join("gen-3"));
    fs::write(work.path().join("CURRENT.tmp"), b"half").unwrap();
    assert!(open(work.path()).unwrap() == content);
    assert!(!work.path().join("gen-2").exists() && !work.path().join("gen-3").exists());
    // A creation cut before its marker, and between the marker and CURRENT.
    for name in ["provisioned", "CURRENT"] {
        let work = tempfile::tempdir().unwrap();
        open(work.path()).unwrap();
        fs::remove_file(work.path().join("CURRENT")).unwrap();
        if name == "provisioned" {
            fs::remove_file(work.path().join("gen-1/provisioned")).unwrap();
        }
        assert_eq!(open(work.path()).unwrap(), (None, Model::new()));
    }
}

#[test]
fn an_interrupted_quarantine_is_finished_by_the_next_open() {
    let work = tempfile::tempdir().unwrap();
    make(work.path());
    fs::create_dir(work.path().join("quarantine.partial")).unwrap();
    fs::rename(work.path().join("gen-1"), work.path().join("quarantine.partial/gen-1")).unwrap();
    assert_eq!(open(work.path()).unwrap(), (None, Model::new()));
    assert!(work.path().join("quarantine-1/gen-1/j0").exists());
    assert!(work.path().join("quarantine-1/CURRENT").exists());
}

#[test]
fn a_snapshot_that_sled_was_writing_at_the_cut_does_not_lock_it_out() {
    let work = tempfile::tempdir().unwrap();
    let content = make(work.path()).pop().unwrap();
    fs::write(work.path().join("gen-1/sled/snap.00000000000000FF.generating"), b"half").unwrap();
    assert!(open(work.path()).unwrap() == content);
}
