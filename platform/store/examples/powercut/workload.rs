//! What the writers of the power-cut tests write: a stream of commits of which each is a function of its number, so that
//! whoever opens what a cut left can compute what must be there.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use store::{Change, Encryption, Key, Mode, Options, Secret};

/// Records, by key.
pub(crate) type Model = BTreeMap<Key, Vec<u8>>;

/// So many different records there are at most.
const KEYS: u64 = 300;
/// Every so many commits the whole content is replaced.
const REPLACE_EVERY: u64 = 211;
/// Every so many commits one is larger than a journal.
const LARGE_EVERY: u64 = 83;

/// A small generator of numbers: the same seed, the same numbers.
pub(crate) struct Random(u64);

impl Random {
    /// One whose numbers depend on the seed.
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_add(1).wrapping_mul(0x2545_f491_4f6c_dd1d) | 1)
    }

    /// A number below `below`, which is not 0.
    pub(crate) fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % below
    }

    /// True so many times in a hundred.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.next(100) < percent
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.next(from.len() as u64) as usize]
    }
}

/// The key of a record.
pub(crate) fn key(n: u64) -> Key {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    Key { table: 0, kind: (n % 3) as u8, id }
}

fn value(random: &mut Random, longest: u64) -> Vec<u8> {
    let len = random.next(longest);
    (0..len).map(|_| random.next(256) as u8).collect()
}

/// One such stream; each salt has another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) salt: u64,
}

impl Workload {
    /// Whether commit `number` replaces the whole content.
    pub(crate) fn is_replacement(self, number: u64) -> bool {
        (number + self.salt).is_multiple_of(REPLACE_EVERY)
    }

    /// What commit `number` puts and deletes; of a replacement, all there is.
    pub(crate) fn changes(self, number: u64) -> Vec<Change> {
        let place = number + self.salt;
        let mut random = Random(place.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1);
        let (count, longest) = match place {
            _ if self.is_replacement(number) => (100, 2_000),
            n if n.is_multiple_of(LARGE_EVERY) => (60, 20_000),
            n if n.is_multiple_of(20) => (30, 1_000),
            _ => (1 + random.next(4), 100 << random.next(8)),
        };
        let mut changes = Vec::new();
        for _ in 0..count {
            let key = key(random.next(KEYS));
            let delete = !self.is_replacement(number) && random.next(10) == 0;
            changes.push(Change { key, value: (!delete).then(|| Arc::from(value(&mut random, longest))) });
        }
        changes
    }

    fn step(self, model: &mut Model, number: u64) {
        if self.is_replacement(number) {
            model.clear();
        }
        for change in self.changes(number) {
            match change.value {
                Some(value) => model.insert(change.key, value.to_vec()),
                None => model.remove(&change.key),
            };
        }
    }

    /// The content as of commit `number`.
    pub(crate) fn model(self, number: u64) -> Model {
        let mut model = Model::new();
        // What came before a replacement does not matter.
        let first = number.saturating_sub((number + self.salt) % REPLACE_EVERY).max(1);
        for number in first..=number {
            self.step(&mut model, number);
        }
        model
    }

    /// For every commit from 0 to `last`: the sum of the digests of all records, and how many there are.
    pub(crate) fn digests(self, last: u64) -> Vec<(u64, usize)> {
        let (mut model, mut digests) = (Model::new(), vec![(0, 0)]);
        let mut records: BTreeMap<Key, u64> = BTreeMap::new();
        for number in 1..=last {
            if self.is_replacement(number) {
                records.clear();
            }
            self.step(&mut model, number);
            for Change { key, .. } in self.changes(number) {
                match model.get(&key) {
                    Some(value) => records.insert(key, digest(&key, value)),
                    None => records.remove(&key),
                };
            }
            digests.push((records.values().fold(0, |sum: u64, one| sum.wrapping_add(*one)), records.len()));
        }
        digests
    }
}

/// A number that stands for a record in [`Workload::digests`].
pub(crate) fn digest(key: &Key, value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (key, value).hash(&mut hasher);
    hasher.finish()
}

/// The encryption that `POWERCUT_ENCRYPTION` names.
pub(crate) fn mode() -> Mode {
    std::env::var("POWERCUT_ENCRYPTION").ok().and_then(|name| Mode::parse(&name)).unwrap_or_default()
}

/// Options under which much happens in little time: checkpoints, and where files are small already, compaction.
pub(crate) fn busy(encryption: Encryption) -> Options {
    Options { encryption, checkpoint_commits: 50, compaction_floor: 1_000_000, ..Options::default() }
}

/// An encryption by a secret that is good for nothing else.
pub(crate) fn encryption(mode: Mode, secret: u64, former: Option<u64>) -> Encryption {
    let secret_of = |number: u64| Secret::new(format!("powercut {number}").as_bytes());
    Encryption { mode, secret: Some(secret_of(secret)), former: former.map(secret_of) }
}
