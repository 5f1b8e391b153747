use super::*;

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// Some of what bodies consist of: runs, zeroes, text, noise.
    fn body(&mut self, length: usize) -> Vec<u8> {
        let mut body = Vec::new();
        while body.len() < length {
            let run = 1 + self.below(40);
            match self.below(3) {
                0 => body.extend(vec![self.next() as u8; run]),
                1 => body.extend(b"the-name-of-some-service.example.com".iter().take(run)),
                _ => body.extend((0..run).map(|_| self.next() as u8)),
            }
        }
        body.truncate(length);
        body
    }
}

/// Of `ours` and so many sums over `theirs`.
fn restored(ours: &[u8], theirs: &[u8], sums: usize) -> Option<Vec<u8>> {
    let told = of(theirs, 0, sums).unwrap();
    restore(ours, told.length as usize, &told.sums, &mut 1_000_000, |body| body == theirs)
}

/// In how many pairs two bodies of one length differ.
fn distance(one: &[u8], other: &[u8]) -> usize {
    pairs(one).zip(pairs(other)).filter(|(one, other)| one != other).count()
}

#[test]
fn a_body_is_restored_wherever_it_differs_from_as_many_sums_as_twice_the_pairs_that_do() {
    let mut rng = Rng(1);
    for round in 0..400 {
        let length = 1 + rng.below(700);
        let theirs = rng.body(length);
        let mut ours = theirs.clone();
        for _ in 0..rng.below(10) {
            let at = rng.below(length);
            ours[at] = rng.next() as u8;
        }
        let apart = distance(&ours, &theirs);
        assert_eq!(restored(&ours, &theirs, 2 * apart), Some(theirs.clone()), "{round}");
        assert_eq!(restored(&ours, &theirs, 2 * apart + 5), Some(theirs.clone()), "{round}");
        if apart > 0 {
            assert_eq!(restored(&ours, &theirs, 2 * apart - 1), None, "{round}: one too few");
        }
    }
}

#[test]
fn a_body_is_restored_where_bytes_came_in_or_went_out_at_one_place_and_some_changed_elsewhere() {
    let mut rng = Rng(2);
    for round in 0..200 {
        let length = 60 + rng.below(500);
        let theirs = rng.body(length);
        let mut ours = theirs.clone();
        let (at, out, into) = (rng.below(40), rng.below(8), rng.below(8));
        let new = rng.body(into);
        ours.splice(at..at + out, new);
        for _ in 0..2 {
            let at = 50 + rng.below(ours.len() - 50);
            ours[at] ^= 1 << rng.below(8);
        }
        // What came in its place may be off in each pair.
        let sums = 2 * (2 + out.div_ceil(2) + 1) + 1;
        assert_eq!(restored(&ours, &theirs, sums), Some(theirs), "{round}: {out} bytes out, {into} in, at {at}");
    }
}

#[test]
fn sums_come_in_parts_that_fit_together_and_long_bodies_have_none() {
    let body = Rng(3).body(999);
    let whole = of(&body, 0, 40).unwrap();
    let parts = [0..6, 6..16, 16..40].map(|part| of(&body, part.start, part.end).unwrap().sums);
    assert_eq!((whole.length, whole.sums), (999, parts.concat()));
    assert!(of(&vec![1; BODY_BYTES_MAX], 0, 1).is_some());
    assert!(of(&vec![1; BODY_BYTES_MAX + 1], 0, 1).is_none());
}

#[test]
fn sums_are_as_documented() {
    assert_eq!(of(b"", 0, 2).unwrap(), Told { length: 0, sums: vec![0, 0] });
    // One pair, and one byte that is filled up: 0x0201 + 3 · 2^j.
    assert_eq!(of(&[1, 2, 3], 0, 3).unwrap(), Told { length: 3, sums: vec![0x0202, 0x0207, 0x020d] });
    // 2^(1·15) · 2 is reduced by x^16 + x^5 + x^3 + x^2 + 1.
    assert_eq!(of(&[0, 0, 2, 0], 15, 16).unwrap().sums, vec![0x2d]);
}

#[test]
fn anything_else_restores_nothing_and_takes_no_more_tries_than_it_may() {
    let mut rng = Rng(4);
    for _ in 0..300 {
        let (ours, theirs) = (rng.below(300), rng.below(300));
        let (ours, theirs) = (rng.body(ours), rng.body(theirs));
        let sums: Vec<u16> = (0..rng.below(33)).map(|_| rng.next() as u16).collect();
        let mut tries = 50;
        let found = restore(&ours, theirs.len(), &sums, &mut tries, |body| body == theirs);
        assert!(found.is_none_or(|body| body == theirs));
        assert!(tries <= 50);
    }
    let mut tries = 0;
    assert_eq!(restore(b"same", 4, &[], &mut tries, |_| true), None);
    assert_eq!(restore(b"", BODY_BYTES_MAX + 1, &[0; 4], &mut 9, |_| true), None);
}

#[test]
#[ignore = "prints how long the search for a seam takes"]
fn a_try_costs_so_much() {
    let mut rng = Rng(5);
    let theirs = rng.body(600);
    let mut ours = theirs.clone();
    ours.splice(300..301, []);
    ours.extend(rng.body(40));
    for sums in [6, 16, 32] {
        let told = of(&theirs, 0, sums).unwrap();
        let (mut tries, started) = (1 << 20, std::time::Instant::now());
        assert_eq!(restore(&ours, 600, &told.sums, &mut tries, |body| body == theirs), None);
        let tried = (1 << 20) - tries;
        println!("{sums} sums: {tried} tries, {:?} each", started.elapsed() / tried as u32);
        let started = std::time::Instant::now();
        (0..100).for_each(|_| drop(of(&theirs, 0, sums)));
        println!("{sums} sums of 600 bytes: {:?}", started.elapsed() / 100);
    }
}
