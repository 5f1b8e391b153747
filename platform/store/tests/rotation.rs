//! What a store promises while the secret of its encryption is replaced by another: no start without the content, the
//! former secret good for nothing once it is no longer named, and nothing written anew but a key file.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use store::{Change, Encryption, Key, Mode, OpenError, Options, Secret, Store};

type Content = Vec<(u8, Vec<u8>)>;

fn options(secret: &[u8], former: Option<&[u8]>) -> Options {
    let (secret, former) = (Some(Secret::new(secret)), former.map(Secret::new));
    Options { encryption: Encryption { mode: Mode::Aes256Gcm, secret, former }, ..Options::default() }
}

fn open(dir: &Path, secret: &[u8], former: Option<&[u8]>) -> Result<(Store, Content), OpenError> {
    let mut found = Vec::new();
    let (store, _) =
        Store::open(dir, options(secret, former), &mut |key, value| found.push((key.id[0], value.to_vec())))?;
    Ok((store, found))
}

fn put(n: u8) -> Change {
    Change { key: Key { table: 0, kind: 0, id: [n; 16] }, value: Some(Arc::from(vec![n; 30])) }
}

fn make(dir: &Path) -> Content {
    let (mut store, _) = open(dir, b"old", None).unwrap();
    store.commit(b"meta", vec![put(1), put(2)]).unwrap();
    vec![(1, vec![1; 30]), (2, vec![2; 30])]
}

fn is_refused(dir: &Path, secret: &[u8]) {
    assert!(matches!(open(dir, secret, None), Err(OpenError::WrongKey(_))));
}

#[test]
fn while_the_former_secret_is_named_either_opens_and_afterwards_only_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut content = make(dir.path());
    is_refused(dir.path(), b"new");
    assert_eq!(open(dir.path(), b"new", Some(b"old")).unwrap().1, content);

    // A program that goes back to the image before, which knows neither the new secret nor the second file.
    let second = fs::read(dir.path().join("gen-1/key2")).unwrap();
    fs::remove_file(dir.path().join("gen-1/key2")).unwrap();
    assert_eq!(open(dir.path(), b"old", None).unwrap().1, content);
    fs::write(dir.path().join("gen-1/key2"), second).unwrap();

    let (mut store, found) = open(dir.path(), b"new", Some(b"old")).unwrap();
    assert_eq!(found, content);
    store.commit(b"meta", vec![put(3)]).unwrap();
    content.push((3, vec![3; 30]));
    drop(store);
    assert_eq!(open(dir.path(), b"new", None).unwrap().1, content);
    assert!(!dir.path().join("gen-1/key2").exists());
    is_refused(dir.path(), b"old");
    assert_eq!(open(dir.path(), b"new", None).unwrap().1, content);
}

#[test]
fn going_back_to_the_former_secret_is_a_rotation_as_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let content = make(dir.path());
    for (secret, former) in [("new", "old"), ("old", "new"), ("third", "old"), ("third", "third"), ("old", "third")] {
        let found = open(dir.path(), secret.as_bytes(), Some(former.as_bytes())).unwrap().1;
        assert_eq!(found, content, "{secret} after {former}");
    }
    is_refused(dir.path(), b"new");
}

#[test]
fn every_state_that_a_power_cut_can_leave_opens_with_what_is_set() {
    let dir = tempfile::tempdir().unwrap();
    let content = make(dir.path());
    let wraps = |dir: &Path| ["key", "key2"].map(|name| fs::read(dir.join("gen-1").join(name)).ok());
    let before = wraps(dir.path());
    drop(open(dir.path(), b"new", Some(b"old")).unwrap());
    let between = wraps(dir.path());
    drop(open(dir.path(), b"new", None).unwrap());
    let after = wraps(dir.path());
    assert_eq!((&before[1], &before[0], &after[1]), (&None, &between[0], &None));
    // Each step replaces or removes one file.
    let states: [(_, _, Option<&[u8]>); 4] = [
        (&before[0], &before[1], Some(b"old")),
        (&between[0], &between[1], Some(b"old")),
        (&between[0], &between[1], None),
        (&after[0], &between[1], None),
    ];
    for (number, (key, key2, former)) in states.into_iter().enumerate() {
        for (name, bytes) in [("key", key), ("key2", key2)] {
            let path = dir.path().join("gen-1").join(name);
            match bytes {
                Some(bytes) => fs::write(path, bytes).unwrap(),
                None => drop(fs::remove_file(path)),
            }
        }
        fs::write(dir.path().join("gen-1/key2.tmp"), b"torn").unwrap();
        assert_eq!(open(dir.path(), b"new", former).unwrap().1, content, "state {number}");
    }
}

#[test]
fn a_key_file_that_rots_is_healed_from_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let content = make(dir.path());
    drop(open(dir.path(), b"new", Some(b"old")).unwrap());
    for name in ["key", "key2"] {
        let path = dir.path().join("gen-1").join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[40] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(open(dir.path(), b"new", Some(b"old")).unwrap().1, content);
        assert_eq!(open(dir.path(), b"new", Some(b"old")).unwrap().1, content);
    }
    for name in ["key", "key2"] {
        fs::write(dir.path().join("gen-1").join(name), b"rotten").unwrap();
    }
    assert!(open(dir.path(), b"new", Some(b"old")).unwrap_err().is_corrupt());
}

#[test]
fn what_is_written_during_a_rotation_opens_with_either_secret_too() {
    let dir = tempfile::tempdir().unwrap();
    make(dir.path());
    let (mut store, _) = open(dir.path(), b"new", Some(b"old")).unwrap();
    let mut replacement = store.replace().unwrap();
    replacement.put(put(9).key, b"replaced").unwrap();
    replacement.finish(b"meta").unwrap();
    drop(store);
    let content = vec![(9, b"replaced".to_vec())];
    assert_eq!(open(dir.path(), b"old", None).unwrap().1, content, "only the former one is set");
    assert_eq!(open(dir.path(), b"new", Some(b"old")).unwrap().1, content);
    assert_eq!(open(dir.path(), b"new", None).unwrap().1, content);
}
