//! What a store promises on a disk that is full, read-only, or not ours: a clear error, nothing acknowledged is lost,
//! and it goes on as soon as it can. Where a file system must be mounted for that, only root can run the test.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use store::{Change, CommitError, Key, OpenError, Options, State, Store};

type Model = BTreeMap<Key, Vec<u8>>;

fn key(n: u64) -> Key {
    Key { table: 0, kind: 1, id: u128::from(n).to_be_bytes() }
}

fn open(dir: &Path) -> Result<(Store, Model), OpenError> {
    let mut model = Model::new();
    let load = &mut |key: Key, value: &[u8]| drop(model.insert(key, value.to_vec()));
    let (store, _) = Store::open(dir, Options { checkpoint_commits: 100, ..Options::default() }, load)?;
    Ok((store, model))
}

/// A tmpfs of a few MiB, unmounted when dropped; `None` where it cannot be mounted, which in CI is a failure.
struct SmallDisk(PathBuf, #[allow(dead_code)] tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<SmallDisk> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_path_buf();
        let options = format!("size={size}");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).output();
        let why = match done {
            Ok(done) if done.status.success() => return Some(SmallDisk(path, dir)),
            Ok(done) => String::from_utf8_lossy(&done.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        assert!(std::env::var_os("CI").is_none(), "no file system can be mounted here: {why}");
        eprintln!("skipped: no file system can be mounted here: {why}");
        None
    }

    fn remount(&self, options: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn fill(path: &Path) {
    let mut file = fs::File::create(path).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
}

#[test]
fn a_full_disk_refuses_clearly_keeps_everything_and_opens_again() {
    let Some(disk) = SmallDisk::mount("12m") else { return };
    let dir = disk.0.join("store");
    let (mut store, mut model) = open(&dir).unwrap();
    let mut number = 0;
    let mut commit = |store: &mut Store, model: &mut Model| -> Result<(), CommitError> {
        number += 1;
        let value: Vec<u8> = vec![number as u8; 3_000];
        let key = key(number % 500);
        store.commit(&number.to_le_bytes(), vec![Change { key, value: Some(Arc::from(value.as_slice())) }])?;
        model.insert(key, value);
        Ok(())
    };
    for _ in 0..150 {
        commit(&mut store, &mut model).unwrap();
    }
    fill(&disk.0.join("filler"));
    // The journals have their space; only when a checkpoint must come does the full disk show.
    let mut more = 0;
    let error = loop {
        match commit(&mut store, &mut model) {
            Ok(()) => more += 1,
            Err(error) => break error,
        }
        assert!(more < 2_000, "the disk never shows that it is full");
    };
    assert!(matches!(error, CommitError::DiskFull | CommitError::Checkpoint(_)), "{error}");
    assert!(more > 20, "{more} commits fitted into the journals");
    drop(store);
    fill(&disk.0.join("more"));
    let (mut store, found) = open(&dir).expect("opens on a full disk");
    assert!(found == model);
    fs::remove_file(disk.0.join("filler")).unwrap();
    fs::remove_file(disk.0.join("more")).unwrap();
    for _ in 0..400 {
        commit(&mut store, &mut model).unwrap();
    }
    drop(store);
    assert!(open(&dir).unwrap().1 == model);
}

#[test]
fn wherever_the_space_ends_nothing_acknowledged_is_lost() {
    let Some(disk) = SmallDisk::mount("16m") else { return };
    for left in (0..1_600_u64).step_by(100) {
        let dir = disk.0.join(format!("store-{left}"));
        let (mut store, mut model) = open(&dir).unwrap();
        let filler = disk.0.join("filler");
        fill(&filler);
        let full = fs::metadata(&filler).unwrap().len();
        fs::OpenOptions::new().write(true).open(&filler).unwrap().set_len(full.saturating_sub(left * 1024)).unwrap();
        // Large and small commits, checkpoints, runs and merges: each meets the end of the disk at another place.
        for number in 0..300_u64 {
            let value = vec![number as u8; if number % 40 == 39 { 60_000 } else { 900 }];
            let change = Change { key: key(number % 90), value: Some(Arc::from(value.as_slice())) };
            if store.commit(&number.to_le_bytes(), vec![change]).is_ok() {
                model.insert(key(number % 90), value);
            }
        }
        drop(store);
        fs::remove_file(&filler).unwrap();
        let (mut store, found) = open(&dir).unwrap();
        assert!(found == model, "{left} KiB left: {} records of {}", found.len(), model.len());
        store.commit(b"on", vec![Change { key: key(1), value: None }]).unwrap();
        drop(store);
        fs::remove_dir_all(&dir).unwrap();
    }
}

#[test]
fn a_replacement_that_does_not_fit_leaves_the_old_content_and_no_litter() {
    let Some(disk) = SmallDisk::mount("12m") else { return };
    let dir = disk.0.join("store");
    let (mut store, _) = open(&dir).unwrap();
    store.commit(b"old", vec![Change { key: key(1), value: Some(Arc::from(&b"old"[..])) }]).unwrap();
    let mut replacement = store.replace().unwrap();
    let mut result = Ok(());
    for n in 0..10_000 {
        result = replacement.put(key(n), &[7; 2_000]);
        if result.is_err() {
            break;
        }
    }
    let result = result.and_then(|()| replacement.finish(b"new"));
    assert!(matches!(result, Err(CommitError::DiskFull)), "{result:?}");
    store.commit(b"newer", vec![Change { key: key(2), value: Some(Arc::from(&b"newer"[..])) }]).unwrap();
    drop(store);
    let (_, found) = open(&dir).unwrap();
    assert_eq!(found, Model::from([(key(1), b"old".to_vec()), (key(2), b"newer".to_vec())]));
    assert!(!dir.join("gen-2").exists());
}

#[test]
fn no_space_at_all_is_named_when_a_store_is_created() {
    let Some(disk) = SmallDisk::mount("256k") else { return };
    let dir = disk.0.join("store");
    assert!(matches!(open(&dir), Err(OpenError::DiskFull(_))));
    disk.remount("size=12m");
    open(&dir).unwrap();
}

#[test]
fn a_read_only_store_opens_whole_writes_nothing_and_goes_on_when_it_can() {
    let Some(disk) = SmallDisk::mount("12m") else { return };
    let dir = disk.0.join("store");
    let put = |n: u64| vec![Change { key: key(n), value: Some(Arc::from(vec![n as u8; 500])) }];
    let (mut store, _) = open(&dir).unwrap();
    (0..250_u64).for_each(|n| store.commit(&n.to_le_bytes(), put(n)).unwrap());
    drop(store);
    disk.remount("ro");
    let (mut store, found) = open(&dir).unwrap();
    assert_eq!(found.len(), 250);
    assert!(store.is_read_only());
    assert_eq!(store.info().state, State::ReadOnly);
    assert_eq!(store.get(key(7)).unwrap().as_deref(), Some(&[7; 500][..]));
    assert!(matches!(store.commit(b"meta", put(250)), Err(CommitError::ReadOnly)));
    assert!(matches!(store.replace(), Err(CommitError::ReadOnly)));
    assert!(matches!(open(&dir), Err(OpenError::Locked(_))), "it is locked all the same");
    disk.remount("rw");
    (250..500_u64).for_each(|n| store.commit(&n.to_le_bytes(), put(n)).unwrap());
    assert_eq!(store.info().state, State::Good);
    drop(store);
    let (_, found) = open(&dir).unwrap();
    assert_eq!(found.len(), 500);
}

#[test]
fn a_read_only_store_without_an_archive_is_named_and_not_called_corrupt() {
    let Some(disk) = SmallDisk::mount("12m") else { return };
    let dir = disk.0.join("store");
    drop(open(&dir).unwrap());
    fs::remove_file(dir.join("gen-1/run-0-0")).unwrap();
    disk.remount("ro");
    assert!(matches!(open(&dir), Err(OpenError::ReadOnly(_))));
    disk.remount("rw");
    open(&dir).unwrap();
}

#[test]
fn a_read_only_place_without_a_store_is_named() {
    let Some(disk) = SmallDisk::mount("12m") else { return };
    fs::create_dir(disk.0.join("empty")).unwrap();
    disk.remount("ro");
    assert!(matches!(open(&disk.0.join("empty")), Err(OpenError::ReadOnly(_))));
    assert!(matches!(open(&disk.0.join("none")), Err(OpenError::ReadOnly(_))));
}

#[test]
fn a_path_that_is_no_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    assert!(matches!(open(&file), Err(OpenError::NotADirectory(path)) if path == file));
    assert!(matches!(open(&file.join("below")), Err(OpenError::NotADirectory(_))));
}

/// Set for the process that is to find a directory closed to it.
const CHILD: &str = "STORE_TEST_FORBIDDEN";
const NOBODY: u32 = 65534;

#[test]
fn a_directory_without_permission_is_named() {
    if let Some(dir) = std::env::var_os(CHILD) {
        let error = open(Path::new(&dir)).unwrap_err();
        assert!(matches!(error, OpenError::Permission(_)), "{error}");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let closed = dir.path().join("closed");
    drop(open(&closed).unwrap());
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    fs::set_permissions(closed.join("lock"), fs::Permissions::from_mode(0o444)).unwrap();
    // Root may do everything, so it sends somebody else; a copy of this program, for its own place may be closed too.
    let program = dir.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut child = Command::new(&program);
    child.args(["--exact", "a_directory_without_permission_is_named"]).env(CHILD, &closed).current_dir("/");
    if fs::metadata(&closed).unwrap().uid() == 0 {
        child.uid(NOBODY).gid(NOBODY);
    }
    let done = child.output().unwrap();
    assert!(
        done.status.success(),
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    assert!(String::from_utf8_lossy(&done.stdout).contains("1 passed"));
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
}
