//! Writer and checker of the power-cut test: `powercut write DIR ACKS COMMITS` and `powercut check DIR ACKED`.
//!
//! The writer makes a stream of commits of which each is a function of its number, and appends a line to ACKS as soon
//! as one is durable. The checker opens what a power cut left, takes the number of the last commit from the meta, and
//! compares the whole content with what it computes for that number: nothing acknowledged may be lost, and nothing may
//! be half there.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use store::{Change, Encryption, Key, Mode, Options, Secret, Store};

type Model = BTreeMap<Key, Vec<u8>>;

/// So many different records there are at most.
const KEYS: u64 = 300;
/// Every so many commits the whole content is replaced.
const REPLACE_EVERY: u64 = 211;
/// Every so many commits one is larger than a journal.
const LARGE_EVERY: u64 = 83;

struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }
}

fn key(n: u64) -> Key {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    Key { table: 0, kind: (n % 3) as u8, id }
}

fn value(random: &mut Random, longest: u64) -> Vec<u8> {
    let len = random.next(longest);
    (0..len).map(|_| random.next(256) as u8).collect()
}

fn is_replacement(number: u64) -> bool {
    number.is_multiple_of(REPLACE_EVERY)
}

/// What commit `number` puts and deletes; of a replacement, all there is.
fn changes(number: u64) -> Vec<Change> {
    let mut random = Random(number.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1);
    let (count, longest) = match number {
        n if is_replacement(n) => (100, 2_000),
        n if n.is_multiple_of(LARGE_EVERY) => (60, 20_000),
        n if n.is_multiple_of(20) => (30, 1_000),
        _ => (1 + random.next(4), 100 << random.next(8)),
    };
    let mut changes = Vec::new();
    for _ in 0..count {
        let key = key(random.next(KEYS));
        let delete = !is_replacement(number) && random.next(10) == 0;
        changes.push(Change { key, value: (!delete).then(|| Arc::from(value(&mut random, longest))) });
    }
    changes
}

fn model(number: u64) -> Model {
    let mut model = Model::new();
    for number in number / REPLACE_EVERY * REPLACE_EVERY..=number {
        if number == 0 {
            continue;
        }
        if is_replacement(number) {
            model.clear();
        }
        for change in changes(number) {
            match change.value {
                Some(value) => model.insert(change.key, value.to_vec()),
                None => model.remove(&change.key),
            };
        }
    }
    model
}

/// Encrypted as `POWERCUT_ENCRYPTION` says.
fn options() -> Options {
    let mode = std::env::var("POWERCUT_ENCRYPTION").ok().and_then(|name| Mode::parse(&name)).unwrap_or_default();
    let secret = Some(Secret::new(b"powercut"));
    Options { encryption: Encryption { mode, secret, former: None }, ..Options::default() }
}

fn write(dir: &Path, acks: &str, commits: u64) -> Result<(), Box<dyn Error>> {
    let mut acks = OpenOptions::new().append(true).create(true).open(acks)?;
    let options = || Options { checkpoint_commits: 50, compaction_floor: 1_000_000, ..options() };
    let (mut store, _) = Store::open(dir, options(), &mut |_, _| {})?;
    for number in 1..=commits {
        let meta = number.to_le_bytes();
        if is_replacement(number) {
            let mut replacement = store.replace()?;
            for Change { key, value } in changes(number) {
                replacement.put(key, &value.unwrap_or_default())?;
            }
            replacement.finish(&meta)?;
        } else {
            store.commit(&meta, changes(number))?;
        }
        acks.write_all(b"ack\n")?;
        if number.is_multiple_of(97) {
            drop(store);
            (store, _) = Store::open(dir, options(), &mut |_, _| {})?;
        }
    }
    Ok(())
}

fn check(dir: &Path, acked: u64) -> Result<(), Box<dyn Error>> {
    if acked == 0 && !dir.exists() {
        return Ok(());
    }
    let mut found = Model::new();
    let (mut store, meta) = Store::open(dir, options(), &mut |key, value| {
        found.insert(key, value.to_vec());
    })?;
    let number = match meta {
        None => 0,
        Some(meta) => u64::from_le_bytes(meta.as_slice().try_into()?),
    };
    if number < acked {
        return Err(format!("commit {acked} was acknowledged, the store is at {number}").into());
    }
    if found != model(number) {
        return Err(format!("the content is not that of commit {number}").into());
    }
    // What was recovered must go on working.
    store.commit(&u64::MAX.to_le_bytes(), vec![Change { key: key(1), value: Some(Arc::from(&b"after"[..])) }])?;
    drop(store);
    let (_, meta) = Store::open(dir, options(), &mut |_, _| {})?;
    if meta.as_deref() == Some(&u64::MAX.to_le_bytes()[..]) { Ok(()) } else { Err("it does not go on".into()) }
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        [_, "write", dir, acks, commits] => write(Path::new(dir), acks, commits.parse()?),
        [_, "check", dir, acked] => check(Path::new(dir), acked.parse()?),
        _ => Err("powercut write DIR ACKS COMMITS | check DIR ACKED".into()),
    }
}
