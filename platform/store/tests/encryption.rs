//! What an encrypted store promises: nothing readable in any file, the same content after any restart, damage noticed,
//! and a wrong key that changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use store::{Change, CommitError, Encryption, Key, Mode, OpenError, Options, Secret, Store};

type Content = (Option<Vec<u8>>, BTreeMap<Key, Vec<u8>>);

/// What must be found in no file.
const NEEDLE: &[u8] = b"an-api-key-that-nobody-may-read";
const MODES: [Mode; 2] = [Mode::Aes256Gcm, Mode::Chacha20Poly1305];

fn options(mode: Mode, secret: &[u8]) -> Options {
    let encryption = Encryption { mode, secret: Some(Secret::new(secret)), former: None };
    Options { checkpoint_commits: 40, encryption, ..Options::default() }
}

fn open(dir: &Path, options: Options) -> Result<(Store, Content), OpenError> {
    let mut found = BTreeMap::new();
    let (store, meta) = Store::open(dir, options, &mut |key, value| drop(found.insert(key, value.to_vec())))?;
    Ok((store, (meta, found)))
}

fn key(n: u64) -> Key {
    Key { table: 0, kind: 1, id: u128::from(n).to_be_bytes() }
}

fn value(n: u64) -> Vec<u8> {
    [NEEDLE, &n.to_le_bytes(), &vec![n as u8; (n as usize * 37) % 900]].concat()
}

/// Checkpoints, both journals, a spill file at the end.
fn make(dir: &Path, mode: Mode) -> Content {
    let (mut store, _) = open(dir, options(mode, b"secret")).unwrap();
    let mut model = BTreeMap::new();
    for n in 1..=90 {
        model.insert(key(n % 50), value(n));
        store.commit(NEEDLE, vec![Change { key: key(n % 50), value: Some(value(n).into()) }]).unwrap();
    }
    let large: Vec<u64> = (100..160).collect();
    let spilled = |n: &u64| [value(*n), vec![7; 10_000]].concat();
    model.extend(large.iter().map(|n| (key(*n), spilled(n))));
    let changes = large.iter().map(|n| Change { key: key(*n), value: Some(spilled(n).into()) });
    store.commit(NEEDLE, changes.collect()).unwrap();
    assert_eq!(store.get(key(100)).unwrap().as_deref(), model.get(&key(100)).map(Vec::as_slice));
    assert_eq!(store.get(key(1)).unwrap().as_deref(), model.get(&key(1)).map(Vec::as_slice));
    (Some(NEEDLE.to_vec()), model)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

fn readable(dir: &Path) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| fs::read(path).unwrap().windows(NEEDLE.len()).any(|bytes| bytes == NEEDLE);
    files(dir).into_iter().filter(holds).collect()
}

#[test]
fn nothing_of_a_value_or_a_meta_can_be_read_in_any_file() {
    for mode in MODES {
        let dir = tempfile::tempdir().unwrap();
        let content = make(dir.path(), mode);
        assert_eq!(readable(dir.path()), Vec::<PathBuf>::new(), "{mode:?}");
        let (mut store, found) = open(dir.path(), options(mode, b"secret")).unwrap();
        assert!(found == content && store.info().encryption == mode);
        assert_eq!(store.meta(), Some(NEEDLE));
    }
    let dir = tempfile::tempdir().unwrap();
    make(dir.path(), Mode::Off);
    assert!(!readable(dir.path()).is_empty(), "the search finds what is there");
}

#[test]
fn an_encrypted_archive_is_about_as_small_as_a_plain_one() {
    let archive = |mode| {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = open(dir.path(), options(mode, b"secret")).unwrap();
        let entity = |n: u64| {
            let name = format!("service-{n}");
            format!(
                "{{\"name\":\"{name}\",\"host\":\"{name}.internal.example\",\"port\":8080,\"protocol\":\"http\",\"path\":\"/v{n}\",\"tags\":[\"team-{}\",\"generated\"],\"retries\":5,\"connect_timeout\":60000,\"read_timeout\":60000,\"write_timeout\":60000}}",
                n % 20
            )
        };
        let mut replacement = store.replace().unwrap();
        (0..3_000).for_each(|n| replacement.put(key(n), entity(n).as_bytes()).unwrap());
        replacement.finish(b"meta").unwrap();
        let bytes = store.info().archive_bytes;
        assert_eq!(store.get(key(77)).unwrap().as_deref(), Some(entity(77).as_bytes()));
        bytes
    };
    let plain = archive(Mode::Off);
    for mode in MODES {
        let sealed = archive(mode);
        // Twelve bytes of nonce for each record are all that cannot be packed.
        assert!(sealed < plain + 3_000 * 16, "{sealed} bytes, plain {plain}");
    }
}

#[test]
fn another_key_or_none_is_a_clear_error_that_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let content = make(dir.path(), Mode::Aes256Gcm);
    for mode in [Mode::Off, Mode::Aes256Gcm, Mode::Chacha20Poly1305] {
        let error = open(dir.path(), options(mode, b"another")).unwrap_err();
        assert!(matches!(error, OpenError::WrongKey(_)) && !error.is_corrupt(), "{error}");
        let encryption = Encryption { mode, ..Encryption::default() };
        let error = open(dir.path(), Options { encryption, ..Options::default() }).unwrap_err();
        assert!(matches!(error, OpenError::NoKey(_)) && !error.is_corrupt(), "{error}");
    }
    assert!(open(dir.path(), options(Mode::Aes256Gcm, b"secret")).unwrap().1 == content);
    let empty = tempfile::tempdir().unwrap();
    let encryption = Encryption { mode: Mode::Aes256Gcm, ..Encryption::default() };
    let error = open(empty.path(), Options { encryption, ..Options::default() }).unwrap_err();
    assert!(matches!(error, OpenError::NoKey(_)));
}

#[test]
fn a_switch_of_the_mode_writes_the_content_anew_and_leaves_nothing_of_the_old() {
    let dir = tempfile::tempdir().unwrap();
    let mut content = make(dir.path(), Mode::Off);
    let steps = [Mode::Aes256Gcm, Mode::Chacha20Poly1305, Mode::Off, Mode::Chacha20Poly1305];
    for (generation, mode) in (2..).zip(steps) {
        let (mut store, found) = open(dir.path(), options(mode, b"secret")).unwrap();
        assert!(found == content, "{mode:?}");
        let info = store.info();
        assert_eq!((info.encryption, info.generation), (mode, generation));
        assert_eq!(readable(dir.path()).is_empty(), mode != Mode::Off, "{mode:?}");
        let (changed, new) = (key(generation), value(1000 + generation));
        store.commit(NEEDLE, vec![Change { key: changed, value: Some(new.clone().into()) }]).unwrap();
        content.1.insert(changed, new);
    }
    assert!(open(dir.path(), options(Mode::Chacha20Poly1305, b"secret")).unwrap().1 == content);
    let empty = tempfile::tempdir().unwrap();
    drop(open(empty.path(), options(Mode::Off, b"secret")).unwrap());
    let (mut store, found) = open(empty.path(), options(Mode::Aes256Gcm, b"secret")).unwrap();
    assert!(store.info().encryption == Mode::Aes256Gcm && found == (None, BTreeMap::new()));
}

#[test]
fn no_flipped_bit_of_any_file_is_ever_served() {
    let work = tempfile::tempdir().unwrap();
    let (whole, copy) = (work.path().join("whole"), work.path().join("copy"));
    fs::create_dir(&whole).unwrap();
    let content = make(&whole, Mode::Aes256Gcm);
    let (mut noticed, mut harmless, mut seed) = (0, 0, 1_u64);
    for path in files(&whole) {
        let name = path.strip_prefix(&whole).unwrap();
        let len = fs::metadata(&path).unwrap().len();
        for _ in 0..if len == 0 || name.ends_with("reserve") { 0 } else { 20 } {
            copy_tree(&whole, &copy);
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (seed >> 20) % len;
            let file = fs::OpenOptions::new().read(true).write(true).open(copy.join(name)).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1 << (seed >> 60 & 7)], at).unwrap();
            match open(&copy, options(Mode::Aes256Gcm, b"secret")) {
                Ok((_, found)) if found == content => harmless += 1,
                // The journal's last frame: as if a power cut had torn it.
                Ok((_, found)) => {
                    assert!(name.ends_with("j0") || name.ends_with("j1"), "{name:?} at {at}");
                    assert!(found.1.iter().all(|(key, value)| content.1.get(key) == Some(value)), "{name:?} at {at}");
                }
                Err(error) => {
                    assert!(error.is_corrupt(), "{name:?} at {at}: {error}");
                    noticed += 1;
                }
            }
            fs::remove_dir_all(&copy).unwrap();
        }
    }
    assert!(noticed > 20 && harmless > 0, "{noticed} noticed, {harmless} harmless");
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in files(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(path, target).unwrap();
    }
}

#[test]
fn a_torn_tail_is_the_commit_before_and_the_store_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path(), options(Mode::Chacha20Poly1305, b"secret")).unwrap();
    for n in 1..=2_u64 {
        store.commit(&n.to_le_bytes(), vec![Change { key: key(n), value: Some(value(2 * n).into()) }]).unwrap();
    }
    drop(store);
    let journal = fs::OpenOptions::new().write(true).open(dir.path().join("gen-1/j0")).unwrap();
    journal.write_all_at(&[0; 64], 8192 + 512 + 20).unwrap();
    let (mut store, found) = open(dir.path(), options(Mode::Chacha20Poly1305, b"secret")).unwrap();
    assert_eq!(found, (Some(1_u64.to_le_bytes().to_vec()), BTreeMap::from([(key(1), value(2))])));
    store.commit(b"on", vec![Change { key: key(3), value: Some(Arc::from(&b"3"[..])) }]).unwrap();
    drop(store);
    assert_eq!(open(dir.path(), options(Mode::Chacha20Poly1305, b"secret")).unwrap().1.0, Some(b"on".to_vec()));
}

/// More commits than any machine should need until a compaction has come.
const COMMITS_MAX: u64 = 50_000;

#[test]
fn replacements_and_compactions_stay_encrypted_and_equal_a_map() {
    let dir = tempfile::tempdir().unwrap();
    let options = || Options { checkpoint_commits: 8, compaction_floor: 0, ..options(Mode::Aes256Gcm, b"secret") };
    let (mut store, _) = open(dir.path(), options()).unwrap();
    let mut model = BTreeMap::new();
    for n in 1..=400_u64 {
        let meta = n.to_le_bytes();
        if n % 150 == 0 {
            model.clear();
            let mut replacement = store.replace().unwrap();
            for m in n..n + 30 {
                replacement.put(key(m), &value(m)).unwrap();
                model.insert(key(m), value(m));
            }
            replacement.finish(&meta).unwrap();
        } else {
            let kept = (n % 7 != 0).then(|| value(n));
            store.commit(&meta, vec![Change { key: key(n % 40), value: kept.clone().map(Arc::from) }]).unwrap();
            match kept {
                Some(value) => drop(model.insert(key(n % 40), value)),
                None => drop(model.remove(&key(n % 40))),
            }
        }
        if n % 60 == 0 {
            drop(store);
            let found;
            (store, found) = open(dir.path(), options()).unwrap();
            assert!(found == (Some(meta.to_vec()), model.clone()), "after {n}");
        }
    }
    // There were two replacements. Compactions go on beside commits, so that a fast run may have to make a few more.
    let mut n = 400_u64;
    while store.info().generation <= 3 {
        n += 1;
        assert!(n < COMMITS_MAX, "no compaction came within {n} commits");
        store.commit(&n.to_le_bytes(), vec![Change { key: key(n % 40), value: Some(Arc::from(value(n))) }]).unwrap();
        model.insert(key(n % 40), value(n));
        // A burst of commits overtakes a compaction, by design; this is no burst.
        std::thread::park_timeout(std::time::Duration::from_micros(500));
    }
    drop(store);
    let found = open(dir.path(), options()).unwrap().1;
    assert!(found == (Some(n.to_le_bytes().to_vec()), model), "after {n}");
    assert_eq!(readable(dir.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_value_at_the_limit_is_told_to_be_too_large_once_it_is_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path(), options(Mode::Aes256Gcm, b"secret")).unwrap();
    let put = |len: usize| vec![Change { key: key(1), value: Some(vec![1; len].into()) }];
    store.commit(b"", put(store::VALUE_BYTES_MAX - store::SEALED_EXTRA_BYTES)).unwrap();
    assert!(matches!(store.commit(b"", put(store::VALUE_BYTES_MAX)), Err(CommitError::ValueTooLarge(_))));
}
