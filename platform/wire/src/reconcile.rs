//! Reconcile: finds what two sets of entities differ in at the cost of the difference, not of the sets, where no version
//! that both ends know tells it (beyond the horizon of deletions, after a backup was restored, with a foreign store).
//!
//! A rateless invertible Bloom lookup table (Yang, Gilad and Alizadeh, "Practical Rateless Set Reconciliation", 2024).
//! Each entity is eight bytes of keyed hash over kind, id and tag. A set is an endless row of [`Symbol`]s: symbol 0 sums
//! up all its entities, later ones ever fewer ([`Places`]). The row of one end less that of the other is the row of what
//! differs, and a [`Decoder`] takes it apart as soon as it has about 1.4 symbols for each differing entity: it needs no
//! estimate of the difference and knows by itself when it is done. The data plane streams, the control plane has its own
//! row as a [`Sketch`], shared by all sessions, and answers with one [`Step`]. What hashes get wrong the root finds out.

mod mend;
mod sketch;
mod step;

use model::Id;
use std::collections::HashSet;
use xxhash_rust::xxh3::xxh3_64_with_seed;

pub use mend::Mend;
pub use sketch::{Content, Mended, Sketch, Sketching};
pub(crate) use step::Parts;
pub use step::Step;

/// The bytes of a symbol on the wire.
pub(crate) const SYMBOL_BYTES: usize = 12;

/// With fewer empty symbols nothing is to be told of how many entities differ.
const EMPTY_MIN: usize = 4;

/// The hash of an entity under a seed that nobody could know beforehand.
#[must_use]
pub fn digest(seed: u64, kind: u8, id: Id, tag: u64) -> u64 {
    let mut bytes = [0; 25];
    bytes[0] = kind;
    bytes[1..17].copy_from_slice(&id.to_bytes());
    bytes[17..].copy_from_slice(&tag.to_le_bytes());
    xxh3_64_with_seed(&bytes, seed)
}

/// The sum (exclusive or) of the entities at one place, and of four bytes of hash over each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Symbol {
    /// Of the entities' hashes.
    pub sum: u64,
    /// Of the hashes' hashes: tells one entity from the sum of several.
    pub check: u32,
}

impl Symbol {
    fn of(hash: u64, seed: u64) -> Self {
        Self { sum: hash, check: (xxh3_64_with_seed(&hash.to_le_bytes(), seed) >> 32) as u32 }
    }

    fn add(&mut self, other: Self) {
        self.sum ^= other.sum;
        self.check ^= other.check;
    }
}

/// The places of one entity in the row: 0, and from each place *i* on the next one at a distance that grows with *i*, so
/// that place *i* is taken by one entity in 1 + *i*/2. In IEEE 754 double precision, rounding to nearest: the same on
/// every machine.
#[derive(Debug, Clone)]
struct Places {
    state: u64,
    next: u64,
}

impl Places {
    fn of(hash: u64) -> Self {
        Self { state: hash | 1, next: 0 }
    }

    /// Goes on to the place after `next`.
    fn advance(&mut self) {
        self.state = self.state.wrapping_mul(0xda94_2042_e4dd_58b5);
        let distance = (self.next as f64 + 1.5) * (4_294_967_296.0 / (self.state as f64 + 1.0).sqrt() - 1.0);
        self.next = self.next.saturating_add((distance.ceil() as u64).max(1));
    }
}

/// Sums up a set into one stretch of its row. Adding an entity costs about as many steps as it has places before the
/// stretch's end, a dozen or two; nothing but the stretch is held.
#[derive(Debug)]
pub struct Encoder {
    seed: u64,
    from: u64,
    symbols: Vec<Symbol>,
}

impl Encoder {
    /// For the symbols from `from` to before `until`.
    #[must_use]
    pub fn new(seed: u64, from: u64, until: u64) -> Self {
        let count = usize::try_from(until.saturating_sub(from)).unwrap_or(0);
        Self { seed, from, symbols: vec![Symbol::default(); count] }
    }

    /// Adds an entity.
    pub fn add(&mut self, kind: u8, id: Id, tag: u64) {
        self.add_digest(digest(self.seed, kind, id, tag));
    }

    fn add_digest(&mut self, hash: u64) {
        let (symbol, mut places) = (Symbol::of(hash, self.seed), Places::of(hash));
        let until = self.from + self.symbols.len() as u64;
        while places.next < until {
            if let Some(place) = places.next.checked_sub(self.from).and_then(|place| usize::try_from(place).ok())
                && let Some(sum) = self.symbols.get_mut(place)
            {
                sum.add(symbol);
            }
            places.advance();
        }
    }

    /// The stretch.
    #[must_use]
    pub fn finish(self) -> Vec<Symbol> {
        self.symbols
    }
}

/// The row is not that of two sets: somebody made it up, or a hash failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("symbols of no set")]
pub struct Nonsense;

/// Takes the difference of two rows apart.
#[derive(Debug)]
pub struct Decoder {
    seed: u64,
    /// What is left of the difference at each place.
    left: Vec<Symbol>,
    /// Places that were empty when they came.
    empty: Vec<usize>,
    /// What was found, and its next place beyond those here.
    found: Vec<(u64, Places)>,
    known: HashSet<u64>,
}

impl Decoder {
    /// A decoder that has nothing yet.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, left: Vec::new(), empty: Vec::new(), found: Vec::new(), known: HashSet::new() }
    }

    /// How many symbols it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.left.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    /// About how many entities only one of the sets has, if the symbols here let it be told: by how many of the later half
    /// are empty, where at place *i* each one is missing with 1 - 1 / (1 + *i*/2).
    #[must_use]
    pub fn estimate(&self) -> Option<usize> {
        let half = self.left.len() / 2;
        let empty = self.empty.len() - self.empty.partition_point(|place| *place < half);
        if empty < EMPTY_MIN {
            return None;
        }
        let logarithm = |place: usize| (1.0 - 1.0 / (1.0 + place as f64 / 2.0)).ln();
        let logarithms: Vec<f64> = (half.max(1)..self.left.len()).map(logarithm).collect();
        let expected = |differing: usize| logarithms.iter().map(|log| (log * differing as f64).exp()).sum::<f64>();
        let (mut low, mut high) = (0, self.left.len());
        while low < high {
            let middle = (low + high) / 2;
            if expected(middle) > empty as f64 { low = middle + 1 } else { high = middle }
        }
        Some(low)
    }

    /// Takes the next symbols of both rows, as many of each. The hashes of all entities that only one of the sets has, once
    /// they are all known.
    ///
    /// # Errors
    /// [`Nonsense`]; no more symbols will help.
    pub fn push(&mut self, theirs: &[Symbol], ours: &[Symbol]) -> Result<Option<Vec<u64>>, Nonsense> {
        let start = self.left.len();
        self.left.extend(theirs.iter().zip(ours).map(|(theirs, ours)| {
            let mut difference = *theirs;
            difference.add(*ours);
            difference
        }));
        let empty = |(_, left): &(usize, &Symbol)| **left == Symbol::default();
        self.empty.extend(self.left.iter().enumerate().skip(start).filter(empty).map(|(place, _)| place));
        for (hash, places) in &mut self.found {
            take_out(Symbol::of(*hash, self.seed), places, &mut self.left, &mut Vec::new());
        }
        let mut look: Vec<usize> = (start..self.left.len()).collect();
        while let Some(place) = look.pop() {
            let Some(&symbol) = self.left.get(place) else { continue };
            if symbol.sum == 0 || symbol != Symbol::of(symbol.sum, self.seed) {
                continue;
            }
            // As many as there are symbols can never be found in a row of two sets.
            if !self.known.insert(symbol.sum) || self.found.len() > self.left.len() {
                return Err(Nonsense);
            }
            let mut places = Places::of(symbol.sum);
            take_out(symbol, &mut places, &mut self.left, &mut look);
            self.found.push((symbol.sum, places));
        }
        let done = self.left.first().is_some_and(|first| *first == Symbol::default());
        Ok(done.then(|| self.found.iter().map(|(hash, _)| *hash).collect()))
    }
}

/// Takes an entity out of all places from `places` on that are here, and notes them.
fn take_out(symbol: Symbol, places: &mut Places, left: &mut [Symbol], touched: &mut Vec<usize>) {
    while let Some(place) = usize::try_from(places.next).ok().filter(|place| *place < left.len()) {
        if let Some(left) = left.get_mut(place) {
            left.add(symbol);
            touched.push(place);
        }
        places.advance();
    }
}

#[cfg(test)]
mod tests;
