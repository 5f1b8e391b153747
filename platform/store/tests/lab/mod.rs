//! What the tests of damaged stores share: a store that many commits have filled, the model of its content, and its files.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use store::{Change, Key, OpenError, Options, Store};
use tempfile::TempDir;

pub(crate) type Model = BTreeMap<Key, Vec<u8>>;

pub(crate) fn key(n: u64) -> Key {
    Key { table: 0, kind: 1, id: u128::from(n).to_be_bytes() }
}

pub(crate) fn options() -> Options {
    Options { checkpoint_commits: 20, salvage: true, ..Options::default() }
}

pub(crate) fn open_as(dir: &Path, options: Options) -> Result<(Store, Model), OpenError> {
    let mut model = Model::new();
    let load = &mut |key: Key, value: &[u8]| assert!(model.insert(key, value.to_vec()).is_none());
    let (store, _) = Store::open(dir, options, load)?;
    Ok((store, model))
}

pub(crate) fn open(dir: &Path) -> (Store, Model) {
    open_as(dir, options()).unwrap()
}

/// Commits number `from` to `to`, each a function of its number.
pub(crate) fn commit(store: &mut Store, model: &mut Model, numbers: std::ops::Range<u64>) {
    for n in numbers {
        let (k, value) = (key(n * 7 % 50), vec![n as u8; (n * 37 % 2_000) as usize]);
        if n % 9 == 0 {
            store.commit(&n.to_le_bytes(), vec![Change { key: k, value: None }]).unwrap();
            model.remove(&k);
        } else {
            store.commit(&n.to_le_bytes(), vec![Change { key: k, value: Some(Arc::from(value.as_slice())) }]).unwrap();
            model.insert(k, value);
        }
    }
}

/// A store that these commits have filled, closed, and its content.
pub(crate) fn stored(numbers: std::ops::Range<u64>) -> (TempDir, Model) {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut model) = open(dir.path());
    commit(&mut store, &mut model, numbers);
    (dir, model)
}

pub(crate) fn runs(generation: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(generation).unwrap().map(|entry| entry.unwrap().path());
    let mut runs: Vec<PathBuf> =
        entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("run-")).collect();
    runs.sort();
    runs
}

pub(crate) fn generation(dir: &Path) -> PathBuf {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found = entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("gen-"));
    let one = found.next().unwrap();
    assert!(found.next().is_none(), "more than one generation");
    one
}

/// The paths below a directory, relative to it, of all files of a name.
pub(crate) fn find(dir: &Path, name: &OsStr) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let here = PathBuf::from(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            found.extend(find(&entry.path(), name).iter().map(|path| here.join(path)));
        } else if entry.file_name() == name {
            found.push(here);
        }
    }
    found
}

pub(crate) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
