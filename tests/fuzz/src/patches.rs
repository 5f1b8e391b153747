//! Patches of bodies: whatever comes is applied within its bounds, and what is made leads to what it was made for.

use crate::plant;
use wire::patch::{apply, make};

/// Two bytes are the length of an old body; the rest after it is taken for hunks, and for a new body.
pub(crate) fn patch(input: &[u8]) {
    let Some(([low, high], rest)) = input.split_first_chunk::<2>() else { return };
    let (old, other) = rest.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(rest.len()));
    if let Ok(new) = apply(old, other) {
        assert!(new.len() <= old.len() + other.len(), "longer than both together");
        plant(new.len() > old.len() + 3 && old.len() > 4, "patch");
    }
    if let Some(hunks) = make(old, other, usize::MAX) {
        assert_eq!(apply(old, &hunks).as_deref(), Ok(other));
    } else {
        panic!("nothing was asked of its length");
    }
}

pub(crate) fn patch_seeds() -> Vec<Vec<u8>> {
    let old = b"a body of some length, with a name in it".as_slice();
    let led = |other: &[u8]| {
        let length = u16::try_from(old.len()).unwrap_or(u16::MAX).to_le_bytes();
        [&length[..], old, other].concat()
    };
    let new = b"a body of some length, with another name".as_slice();
    let hunks = make(old, new, usize::MAX).unwrap_or_default();
    vec![led(new), led(&hunks), led(b""), led(old)]
}
