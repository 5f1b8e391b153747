use super::*;
use crate::tree::{Scan, Tree};

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
    Key { table: 0, kind: (n % 3) as u8, id: u128::from(n).to_be_bytes() }
}

fn peeked(dir: &Path) -> Result<Root, TreeError> {
    let mut peek = Peek::open(dir, 1)?;
    loop {
        if let Some(root) = peek.step(10_000)? {
            return Ok(root);
        }
    }
}

/// What sled itself says.
fn scanned(dir: &Path) -> Result<Root, TreeError> {
    let tree = Tree::open(dir, 1)?;
    let (root, mut scan) = (tree.root()?, Scan::new());
    while scan.next(&tree, &mut Vec::new())?.is_some() {}
    scan.finish(&root)?;
    tree.close()?;
    Ok(root)
}

/// Checkpoints of puts, changes and deletions, small and large, sled closed after each.
fn grow(dir: &Path, random: &mut Random, checkpoints: u64, mut each: impl FnMut(&Root)) {
    let mut root = Root::default();
    Tree::create(dir, 1).unwrap().close().unwrap();
    for seq in 1..=checkpoints {
        let mut changes = BTreeMap::new();
        for _ in 0..random.next(300) {
            let longest = if random.next(40) == 0 { 60_000 } else { 900 };
            let value = (random.next(4) > 0).then(|| vec![seq as u8; random.next(longest) as usize]);
            changes.insert(key(random.next(1_500)), value);
        }
        root.seq = seq;
        let tree = Tree::open(dir, 1).unwrap();
        tree.checkpoint(&mut root, changes.iter().map(|(key, value)| (key, value.as_deref()))).unwrap();
        tree.close().unwrap();
        each(&root);
    }
}

#[test]
fn it_finds_what_sled_holds_after_every_checkpoint_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    grow(dir.path(), &mut Random(5), 60, |root| {
        let before = fs::read(dir.path().join("sled/db")).unwrap();
        assert_eq!(&peeked(dir.path()).unwrap(), root);
        assert!(fs::read(dir.path().join("sled/db")).unwrap() == before);
    });
    assert_eq!(peeked(dir.path()).unwrap(), scanned(dir.path()).unwrap());
}

#[test]
fn no_damage_that_sled_would_lose_something_to_is_overlooked() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random(11);
    let mut last = Root::default();
    grow(dir.path(), &mut random, 12, |root| last = root.clone());
    let path = dir.path().join("sled/db");
    let whole = fs::read(&path).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let (mut found, mut harmless) = (0, 0);
    for round in 0..150 {
        let mut bytes = whole.clone();
        let at = random.next(bytes.len() as u64) as usize;
        match round % 3 {
            0 => bytes[at] ^= 1 << random.next(8),
            1 => bytes[at / 512 * 512..].iter_mut().take(512).for_each(|byte| *byte = 0),
            _ => bytes.truncate(at),
        }
        let _ = fs::remove_dir_all(copy.path().join("sled"));
        fs::create_dir(copy.path().join("sled")).unwrap();
        for entry in fs::read_dir(dir.path().join("sled")).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), copy.path().join("sled").join(entry.file_name())).unwrap();
            }
        }
        fs::write(copy.path().join("sled/db"), bytes).unwrap();
        match peeked(copy.path()) {
            Ok(root) => {
                assert_eq!(root, last);
                assert_eq!(scanned(copy.path()).expect("sled finds a fault that was overlooked"), last);
                harmless += 1;
            }
            Err(TreeError::Corrupt(_)) => found += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(found > 20, "{found} found, {harmless} harmless");
}
