//! The other end's body from our own and some sums over theirs: decodes a Reed–Solomon code, with our body as the word
//! that was received with errors.

use super::field::{ORDER, Times, inverse, mul, power};
use super::{BODY_BYTES_MAX, of};

/// What 1 of work is, in sums to the third power: about what one try took when it was measured.
const SUMS_CUBED: usize = 16 * 16 * 16;

/// The body of `length` bytes with these sums (from number 0 on) that `is_right`, if it is to be had from `ours`: where it
/// differs in no more pairs than half the sums, or would, if at one place some bytes were put in or taken out.
///
/// That place is sought, byte after byte. Each one tried takes its part of `work`: 1 for up to 16 sums, 8 for 32.
pub fn restore(
    ours: &[u8],
    length: usize,
    sums: &[u16],
    work: &mut usize,
    is_right: impl Fn(&[u8]) -> bool,
) -> Option<Vec<u8>> {
    if ours.len().max(length) > BODY_BYTES_MAX {
        return None;
    }
    let mut seam = Seam::new(ours, length, sums)?;
    // Where the place of a seam is to be found too, the last sum must bear witness to it; or every place would do.
    let cost = (sums.len().pow(3) / SUMS_CUBED).max(1);
    let most = if seam.is_needed() { sums.len().saturating_sub(1) / 2 } else { sums.len() / 2 };
    loop {
        *work = work.checked_sub(cost)?;
        if let Some(locator) = locator(&seam.differences, most)
            && let Some(body) = seam.corrected(&locator).filter(|body| is_right(body))
        {
            return Some(body);
        }
        if !seam.is_needed() || !seam.advance() {
            return None;
        }
    }
}

/// Our body made as long as theirs: as it is up to the seam, and from there on as it is counted from the end.
struct Seam<'a> {
    ours: &'a [u8],
    length: usize,
    at: usize,
    /// Of their sums and those of this.
    differences: Vec<u16>,
}

impl<'a> Seam<'a> {
    fn new(ours: &'a [u8], length: usize, sums: &[u16]) -> Option<Self> {
        let mut seam = Self { ours, length, at: length, differences: sums.to_vec() };
        let here = of(&seam.bytes(), 0, sums.len())?;
        seam.differences.iter_mut().zip(here.sums).for_each(|(difference, sum)| *difference ^= sum);
        Some(seam)
    }

    /// Bodies of one length have none.
    fn is_needed(&self) -> bool {
        self.ours.len() != self.length
    }

    /// The byte at a place, if the seam were behind it, or before it.
    fn sides(&self, place: usize) -> (u8, u8) {
        let at = |place: Option<usize>| place.and_then(|place| self.ours.get(place)).copied().unwrap_or(0);
        (at(Some(place)), at((place + self.ours.len()).checked_sub(self.length)))
    }

    fn bytes(&self) -> Vec<u8> {
        let byte = |place| if place < self.at { self.sides(place).0 } else { self.sides(place).1 };
        (0..self.length).map(byte).collect()
    }

    /// Moves the seam to the next place before it where that makes a difference. It starts at the end: bodies grow there, and
    /// what a change puts into one that never had it comes after all that it had.
    fn advance(&mut self) -> bool {
        while self.at > self.length.saturating_sub(self.ours.len()) {
            self.at -= 1;
            let (behind, before) = self.sides(self.at);
            let (pair, shift) = (self.at / 2, self.at % 2 * 8);
            if behind != before {
                let step = Times::by(power(pair));
                let mut change = u16::from(behind ^ before) << shift;
                for difference in &mut self.differences {
                    *difference ^= change;
                    change = step.of(change);
                }
                return true;
            }
        }
        false
    }

    /// The body with the errors taken out that the locator speaks of; none if it speaks of places that there are not.
    fn corrected(&self, locator: &[u16]) -> Option<Vec<u8>> {
        let mut bytes = self.bytes();
        for (place, error) in errors(locator, &self.differences, self.length.div_ceil(2))? {
            let [low, high] = error.to_le_bytes();
            *bytes.get_mut(place * 2)? ^= low;
            match bytes.get_mut(place * 2 + 1) {
                Some(byte) => *byte ^= high,
                None if high != 0 => return None,
                None => {}
            }
        }
        Some(bytes)
    }
}

/// The shortest polynomial whose roots are the inverse places of errors that explain these differences of sums, up to a
/// factor, if there are at most so many (Berlekamp and Massey's, without division).
fn locator(differences: &[u16], most: usize) -> Option<Vec<u16>> {
    let (mut locator, mut before) = (vec![1], vec![1]);
    let (mut errors, mut gap, mut scale) = (0, 1, 1);
    for at in 0..differences.len() {
        let terms = locator.iter().zip(differences.get(..=at)?.iter().rev());
        let misses = terms.fold(0, |sum, (factor, difference)| sum ^ mul(*factor, *difference));
        if misses == 0 {
            gap += 1;
            continue;
        }
        let (by_scale, by_misses) = (Times::by(scale), Times::by(misses));
        let mut next: Vec<u16> = locator.iter().map(|factor| by_scale.of(*factor)).collect();
        next.resize(next.len().max(before.len() + gap), 0);
        for (factor, earlier) in next.iter_mut().skip(gap).zip(&before) {
            *factor ^= by_misses.of(*earlier);
        }
        if 2 * errors <= at {
            (before, scale) = (locator, misses);
            (errors, gap) = (at + 1 - errors, 1);
            if errors > most {
                return None;
            }
        } else {
            gap += 1;
        }
        locator = next;
    }
    locator.truncate(errors + 1);
    Some(locator)
}

/// The errors, pair and what it is off by: Chien's search for the places, Forney's formula for the values.
fn errors(locator: &[u16], differences: &[u16], pairs: usize) -> Option<Vec<(usize, u16)>> {
    let count = locator.len() - 1;
    let mut found = Vec::with_capacity(count);
    let steps: Vec<Times> = (0..locator.len()).map(|degree| Times::by(power(ORDER - degree))).collect();
    let mut terms = locator.to_vec();
    for place in 0..pairs {
        if found.len() == count {
            break;
        }
        if terms.iter().fold(0, |sum, term| sum ^ term) == 0 {
            found.push((place, value(locator, differences, place)?));
        }
        terms.iter_mut().zip(&steps).for_each(|(term, step)| *term = step.of(*term));
    }
    (found.len() == count).then_some(found)
}

fn value(locator: &[u16], differences: &[u16], place: usize) -> Option<u16> {
    let (root, back) = (power(ORDER - place % ORDER), power(place));
    let (mut evaluator, mut slope, mut at_root) = (0, 0, 1);
    for degree in 0..locator.len() - 1 {
        let terms = locator.iter().zip(differences.get(..=degree)?.iter().rev());
        let factor = terms.fold(0, |sum, (factor, difference)| sum ^ mul(*factor, *difference));
        evaluator ^= mul(factor, at_root);
        // Of the derivative only what had an odd power is left.
        if degree % 2 == 0 {
            slope ^= mul(*locator.get(degree + 1)?, at_root);
        }
        at_root = mul(at_root, root);
    }
    Some(mul(back, mul(evaluator, inverse(slope))))
}
