//! Parity of bodies: whatever is told of a body, restoring it comes to an end, and brings only what is right.

use crate::plant;
use wire::parity::{Told, of, restore};

/// The most sums, as a control plane asks for them.
const SUMS_MAX: usize = 64;
/// What a search may take here.
const WORK_MAX: usize = 2_000;

/// How many sums, two bytes of the length of our body, and two of how far theirs is from that; then the sums, and our body.
pub(crate) fn parity(input: &[u8]) {
    let Some(([count, low, high, shift], rest)) = input.split_first_chunk::<4>() else { return };
    let (sums, rest) = rest.split_at((usize::from(*count) % (SUMS_MAX + 1) * 2).min(rest.len()));
    let sums: Vec<u16> = sums.as_chunks::<2>().0.iter().map(|sum| u16::from_le_bytes(*sum)).collect();
    let ours = &rest[..usize::from(u16::from_le_bytes([*low, *high])).min(rest.len())];
    let length = (ours.len() + usize::from(*shift)).saturating_sub(128);
    let mut work = WORK_MAX;
    let is_right = |body: &[u8]| {
        // The sums are those of what comes out, whatever they were said to be of.
        let told = of(body, 0, sums.len()).expect("no longer than ours and a bit");
        assert_eq!(told, Told { length: length as u32, sums: sums.clone() });
        true
    };
    let found = restore(ours, length, &sums, &mut work, is_right);
    assert!(work <= WORK_MAX);
    plant(found.is_some_and(|body| body.first() != ours.first()), "parity");
}

pub(crate) fn parity_seeds() -> Vec<Vec<u8>> {
    let theirs = b"a body of some length, with a name in it, and a number: 12345";
    let led = |count: usize, ours: &[u8]| {
        let told = of(theirs, 0, count).expect("it is short");
        let shift = (theirs.len() + 128 - ours.len()) as u8;
        let mut bytes = vec![count as u8, ours.len() as u8, 0, shift];
        told.sums.iter().for_each(|sum| bytes.extend_from_slice(&sum.to_le_bytes()));
        [&bytes, ours].concat()
    };
    vec![
        led(6, theirs),
        led(6, b"a body of some length, with a name in it, and a number: 67890"),
        led(16, b"a body of some length, with another name in it, and a number: 12346"),
        led(16, b"a body of length, with a name in it, and a number: 12346"),
        led(32, b"something else, which has nothing in common with a body of theirs"),
    ]
}
