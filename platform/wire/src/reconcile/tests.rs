use super::step::Parts;
use super::*;
use crate::delta::{Entity, push_entity};
use crate::message::Type;
use crate::patch::IdPrefix;

const SEED: u64 = 0x5eed;

/// Entities `range` of a set, told apart by their number.
fn entity(n: u64) -> (u8, Id, u64) {
    (1 + (n % 7) as u8, Id(u128::from(n) << 64 | u128::from(!n)), n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn row(seed: u64, set: impl Iterator<Item = u64>, from: u64, until: u64) -> Vec<Symbol> {
    let mut encoder = Encoder::new(seed, from, until);
    set.map(entity).for_each(|(kind, id, tag)| encoder.add(kind, id, tag));
    encoder.finish()
}

/// What is found, sorted, and with how many symbols; none where `most` are not enough.
fn reconcile(seed: u64, ours: &[u64], theirs: &[u64], batch: usize, most: usize) -> Option<(Vec<u64>, usize)> {
    let (ours, theirs) =
        (row(seed, ours.iter().copied(), 0, most as u64), row(seed, theirs.iter().copied(), 0, most as u64));
    let mut decoder = Decoder::new(seed);
    for (theirs, ours) in theirs.chunks(batch).zip(ours.chunks(batch)) {
        if let Some(mut found) = decoder.push(theirs, ours).unwrap() {
            found.sort_unstable();
            return Some((found, decoder.len()));
        }
    }
    None
}

fn digests(seed: u64, set: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut digests: Vec<u64> = set.map(entity).map(|(kind, id, tag)| digest(seed, kind, id, tag)).collect();
    digests.sort_unstable();
    digests
}

#[test]
fn finds_exactly_what_differs_whatever_the_sets_and_the_seed() {
    for case in 0..300u64 {
        let seed = case.wrapping_mul(0x2545_f491_4f6c_dd1d);
        let (shared, only_ours, only_theirs) = (case % 97, case * 7 % 61, case * 13 % 53);
        let ours: Vec<u64> = (0..shared + only_ours).collect();
        let theirs: Vec<u64> = (0..shared).chain(10_000..10_000 + only_theirs).collect();
        let (found, _) = reconcile(seed, &ours, &theirs, 1 + (case % 40) as usize, 2_000).unwrap();
        let expected = digests(seed, (shared..shared + only_ours).chain(10_000..10_000 + only_theirs));
        assert_eq!(found, expected, "case {case}");
    }
}

#[test]
fn equal_sets_are_known_to_be_equal_by_their_first_symbol() {
    let set: Vec<u64> = (0..500).collect();
    assert_eq!(reconcile(SEED, &set, &set, 1, 10), Some((Vec::new(), 1)));
    assert_eq!(reconcile(SEED, &[], &[], 1, 10), Some((Vec::new(), 1)));
}

#[test]
fn costs_about_one_and_a_half_symbols_for_each_difference_and_nothing_for_what_is_equal() {
    for (difference, most) in [(10, 2.6), (100, 1.75), (1_000, 1.5)] {
        let mut used = 0;
        for seed in 0..20 {
            let ours: Vec<u64> = (0..3_000).collect();
            let theirs: Vec<u64> = (0..3_000 - difference).collect();
            used += reconcile(seed, &ours, &theirs, 1, 3_000).unwrap().1;
        }
        let each = used as f64 / 20.0 / difference as f64;
        assert!(each < most, "{each:.2} symbols for each of {difference} differences");
    }
}

#[test]
fn a_stretch_is_the_same_however_the_row_is_cut() {
    let whole = row(SEED, 0..200, 0, 300);
    let cut = [row(SEED, 0..200, 0, 17), row(SEED, 0..200, 17, 18), row(SEED, 0..200, 18, 300)].concat();
    assert_eq!(whole, cut);
}

#[test]
fn the_row_of_a_set_is_the_same_for_ever() {
    let row = row(SEED, 0..3, 0, 8);
    let golden: Vec<String> = row.iter().map(|symbol| format!("{:016x} {:08x}", symbol.sum, symbol.check)).collect();
    assert_eq!(
        golden,
        [
            "87ade914af791c98 bb6bfe90",
            "ba12aa3dd115dfca ac72b59d",
            "2ee071122d5b0652 61aa780c",
            "87ade914af791c98 bb6bfe90",
            "0000000000000000 00000000",
            "0000000000000000 00000000",
            "2ee071122d5b0652 61aa780c",
            "0000000000000000 00000000"
        ]
    );
}

#[test]
fn made_up_symbols_find_nothing_for_ever_or_are_called_nonsense() {
    let mut state = 7u64;
    let mut random = || {
        state = state.wrapping_mul(0xda94_2042_e4dd_58b5).wrapping_add(1);
        state
    };
    for _ in 0..200 {
        let mut decoder = Decoder::new(SEED);
        for _ in 0..20 {
            let theirs: Vec<Symbol> = (0..8)
                .map(|_| match random() % 3 {
                    // A sum that looks like one entity, in any place.
                    0 => Symbol::of(random(), SEED),
                    1 => Symbol::default(),
                    _ => Symbol { sum: random(), check: random() as u32 },
                })
                .collect();
            if decoder.push(&theirs, &[Symbol::default(); 8]).is_err() {
                break;
            }
            assert!(decoder.found.len() <= decoder.len() + 1);
        }
    }
}

#[test]
fn a_step_with_patches_has_these_bytes_for_ever() {
    let mend = |id: u128, length, version, hunks: &[u8]| Mend {
        kind: 2,
        prefix: IdPrefix::of(Id(id << 104), length),
        version,
        hunks: hunks.into(),
    };
    // Three bytes that stay, and two others; one in the place of two.
    let mends = vec![mend(0x0011_2200, 2, 300, &[3, 4, 9, 9]), mend(0x0033_4455, 3, 299, &[0, 3, 2, 7])];
    let body: std::sync::Arc<[u8]> = b"new".as_slice().into();
    let entity = Entity { kind: 1, id: Id(5), version: 300, tag: 6, body };
    let mut plain = Vec::new();
    mend::push(&mends, 300, &mut plain);
    push_entity(300, 1, entity.id, 300, 6, &entity.body, &mut plain);
    let step =
        Step { seed: 7, base: 8, version: 300, root: 9, confirmed: 1, gone: vec![10], puts: vec![entity], mends };
    let frames = step.encode(&plain, None).expect("within the limits");
    let hex: String = frames.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = "5e 15 0700000000000000 0800000000000000 ac02 0900000000000000 01 01 0a00000000000000 00 37 \
         02 020201 1122 020301 334455 0001 0404 03040909 00030207 \
         01 00000000000000000000000000000005 00 0600000000000000 00 03 6e6577";
    assert_eq!(hex, expected.replace(' ', ""));
    let frame = crate::frame::Decoder::new().next(&mut &*frames).unwrap().unwrap();
    assert_eq!(Parts::default().push(Type::Mended, &frame.payload, false), Ok(Some(step)));
    // As a RECONCILED it would be entities from the start, and it goes on as what it began as.
    assert!(Parts::default().push(Type::Reconciled, &frame.payload, false).is_err());
    let mut parts = Parts::default();
    assert_eq!(parts.push(Type::Mended, &[7; 8], true), Ok(None));
    assert!(parts.push(Type::Reconciled, &[7; 8], true).is_err());
    for length in 0..frame.payload.len() {
        assert!(Parts::default().push(Type::Mended, &frame.payload[..length], false).is_err(), "{length}");
    }
}

#[test]
fn how_many_differ_is_known_about_before_it_is_known_which() {
    for differing in [150, 600, 2_000] {
        let mut decoder = Decoder::new(SEED);
        assert_eq!(decoder.estimate(), None);
        let ours = row(SEED, 0..3_000 + differing, 0, differing);
        assert_eq!(decoder.push(&row(SEED, 0..3_000, 0, differing), &ours), Ok(None));
        let (estimate, differing) = (decoder.estimate().expect("some are empty"), differing as usize);
        assert!((differing * 3 / 4..differing * 4 / 3).contains(&estimate), "{estimate} of {differing}");
    }
}
