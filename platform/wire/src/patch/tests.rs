use super::*;

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }

    /// Bytes of few values repeat, which is what misleads a search for equal places.
    fn bytes(&mut self, length: usize, values: usize) -> Vec<u8> {
        (0..length).map(|_| self.below(values) as u8).collect()
    }

    fn edited(&mut self, old: &[u8], edits: usize, values: usize) -> Vec<u8> {
        let mut new = old.to_vec();
        for _ in 0..edits {
            let at = self.below(new.len() + 1);
            let end = (at + self.below(12)).min(new.len());
            let length = if self.below(3) == 0 { end - at } else { self.below(12) };
            let bytes = self.bytes(length, values);
            new.splice(at..end, bytes);
        }
        new
    }
}

fn round_trip(old: &[u8], new: &[u8]) -> usize {
    let hunks = make(old, new, usize::MAX).unwrap();
    assert_eq!(apply(old, &hunks).as_deref(), Ok(new), "{old:?} -> {new:?} by {hunks:?}");
    hunks.len()
}

/// What the text above says, as slowly as it can be said.
fn naive(old: &[u8], hunks: &[u8]) -> Option<Vec<u8>> {
    let mut rest = hunks;
    let (mut new, mut at) = (Vec::new(), 0usize);
    while !rest.is_empty() {
        let mut number = || -> Option<usize> {
            let (number, after) = postcard::take_from_bytes::<u64>(rest).ok()?;
            rest = after;
            usize::try_from(number).ok()
        };
        let (copy, head) = (number()?, number()?);
        let skip = if head & 1 == 1 { number()? } else { head >> 1 };
        for _ in 0..copy {
            new.push(*old.get(at)?);
            at += 1;
        }
        for _ in 0..head >> 1 {
            let (byte, after) = rest.split_first()?;
            new.push(*byte);
            rest = after;
        }
        at = at.checked_add(skip).filter(|at| *at <= old.len())?;
        if head >> 1 == 0 && skip == 0 {
            return None;
        }
    }
    new.extend_from_slice(&old[at..]);
    Some(new)
}

#[test]
fn a_patch_has_these_bytes_for_ever() {
    let case = |old: &[u8], new: &[u8], hunks: &[u8]| {
        assert_eq!(make(old, new, usize::MAX).unwrap(), hunks, "{old:?} -> {new:?}");
        assert_eq!(apply(old, hunks).unwrap(), new);
    };
    case(b"same", b"same", b"");
    case(b"", b"new", b"\x00\x07\x00new");
    case(b"gone", b"", b"\x00\x01\x04");
    // A byte in its place; two, three bytes apart; two, two bytes apart.
    case(b"abcdefgh", b"abcdXfgh", b"\x04\x02X");
    case(b"abcdefgh", b"aXcdeYgh", b"\x01\x02X\x03\x02Y");
    case(b"abcdefgh", b"aXcdYfgh", b"\x01\x08XcdY");
    // More for less, less for more, at the end.
    case(b"abcdefghijkl", b"abcdXYfghijkl", b"\x04\x05\x01XY");
    case(b"abcdefghijkl", b"abcdghijkl", b"\x04\x01\x02");
    case(b"abcd", b"abcdX", b"\x04\x03\x00X");
}

#[test]
fn whatever_was_edited_the_patch_leads_there() {
    let mut rng = Rng(1);
    for round in 0..20_000 {
        let values = [2, 4, 256][round % 3];
        let length = rng.below(400);
        let old = rng.bytes(length, values);
        let edits = rng.below(8);
        let new = rng.edited(&old, edits, values);
        round_trip(&old, &new);
        let unrelated = rng.below(400);
        let unrelated = rng.bytes(unrelated, values);
        let length = round_trip(&old, &unrelated);
        // Never much worse than saying all of it.
        assert!(length <= unrelated.len() + 10 + unrelated.len() / ANCHOR_BYTES * 4, "{length}");
    }
}

#[test]
fn a_few_edits_of_a_long_body_cost_a_few_bytes() {
    let mut rng = Rng(2);
    for _ in 0..300 {
        let old = rng.bytes(4096, 256);
        let new = rng.edited(&old, 3, 256);
        let length = round_trip(&old, &new);
        assert!(length <= 3 * (12 + 6), "{length} bytes");
    }
}

#[test]
fn bodies_of_the_longest_kind_take_no_longer_than_their_length_says() {
    // Everything equal to everything is the worst case for a search.
    for (old, new) in [(0, 0), (0, 1), (0, 2)] {
        let old = vec![old; BODY_BYTES_MAX];
        let mut new = vec![new; BODY_BYTES_MAX - 7];
        new[100_000] = 9;
        round_trip(&old, &new);
    }
    let mut rng = Rng(3);
    let old = rng.bytes(BODY_BYTES_MAX, 2);
    let new = rng.bytes(BODY_BYTES_MAX, 2);
    round_trip(&old, &new);
}

#[test]
fn a_patch_that_is_not_shorter_is_none() {
    let (old, new) = (b"abcdefgh".as_slice(), b"abcdXfgh".as_slice());
    assert_eq!(make(old, new, 4).unwrap().len(), 3);
    assert_eq!(make(old, new, 3), None);
    assert_eq!(make(old, old, 0), None);
}

#[test]
fn hunks_of_any_bytes_are_refused_or_do_what_the_text_says() {
    let mut rng = Rng(4);
    let (mut refused, mut applied) = (0, 0);
    for round in 0..200_000 {
        let old = rng.bytes(64, 256);
        let mut hunks = if round % 2 == 0 {
            let new = rng.edited(&old, 3, 256);
            make(&old, &new, usize::MAX).unwrap()
        } else {
            let length = rng.below(12);
            rng.bytes(length, 32)
        };
        if !hunks.is_empty() && round % 4 == 0 {
            let at = rng.below(hunks.len());
            hunks[at] ^= 1 << rng.below(8);
        }
        let found = apply(&old, &hunks);
        assert_eq!(found.clone().ok(), naive(&old, &hunks), "{old:?} by {hunks:?}");
        assert!(found != Err(PatchError::Malformed) || !is_well_formed(&hunks));
        if found.is_ok() {
            assert!(is_well_formed(&hunks));
            applied += 1;
        } else {
            refused += 1;
        }
    }
    assert!(refused > 20_000 && applied > 20_000, "{refused} refused, {applied} applied");
}

#[test]
fn a_result_over_the_limit_of_bodies_is_refused() {
    let old = vec![1; BODY_BYTES_MAX];
    assert_eq!(apply(&old, b"\x00\x03\x00x"), Err(PatchError::TooLong));
    assert_eq!(apply(&old, b"\x00\x02x").unwrap().len(), BODY_BYTES_MAX);
    // Numbers that no body is as long as.
    let huge = [&[0xff; 9][..], &[1, 2, b'x']].concat();
    assert_eq!(apply(&old, &huge), Err(PatchError::Beyond));
    let huge = [&[0][..], &[0xff; 9], &[1, b'x']].concat();
    assert_eq!(apply(&old, &huge), Err(PatchError::Malformed));
}

#[test]
fn a_patch_of_another_body_or_another_id_is_noticed() {
    let (old, new, id) = (b"the old body", b"the new body", Id(7));
    let hunks = make(old, new, usize::MAX).unwrap().into();
    let tag = Record::tag_of(Kind::Route, id, new);
    let patch = Patch { kind: Kind::Route.code(), prefix: IdPrefix::of(id, 16), version: 3, tag, hunks };
    assert_eq!(&*patch.apply(id, old).unwrap().body, new);
    assert_eq!(patch.apply(id, b"the odd body plus"), Err(BaseDiffers));
    assert_eq!(patch.apply(id, b"the"), Err(BaseDiffers));
    assert_eq!(patch.apply(Id(8), old), Err(BaseDiffers));
    assert_eq!(Patch { kind: 250, ..patch }.apply(id, old), Err(BaseDiffers));
}

#[test]
fn a_prefix_is_of_the_ids_between_its_ends() {
    let id = Id(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);
    let prefix = IdPrefix::of(id, 3);
    assert_eq!(prefix.bytes(), [0x00, 0x11, 0x22]);
    let (low, high) = prefix.range();
    assert_eq!((low.0, high.0), (0x1122 << 104, (0x1123 << 104) - 1));
    assert!(prefix.is_of(id) && prefix.is_of(low) && prefix.is_of(high));
    assert!(!prefix.is_of(Id(high.0 + 1)) && !prefix.is_of(Id(low.0 - 1)));
    assert_eq!(IdPrefix::of(id, 99).range(), (id, id));
}
