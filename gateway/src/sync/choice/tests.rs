use super::*;

const MINUTE: u64 = 60_000;
const DEAD: Outcome = Outcome::Unreached { retry_after: Duration::ZERO };

/// Random numbers that are the same in every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn id(&mut self) -> Id {
        Id(u128::from(self.roll()) << 64 | u128::from(self.roll()))
    }
}

fn list() -> Vec<String> {
    ["a.example.com:8005", "b.example.com:8005", "c.example.com:8005"].map(str::to_owned).to_vec()
}

fn chooser() -> Chooser {
    Chooser::new(Id(7), &list())
}

fn lost(useful: bool) -> Outcome {
    Outcome::Lost { retry_after: Duration::ZERO, useful }
}

fn moved(to: &str) -> Outcome {
    Outcome::Moved { to: to.to_owned() }
}

#[test]
fn the_order_of_the_list_and_repetitions_mean_nothing() {
    let mut dice = Dice(1);
    for _ in 0..100 {
        let node = dice.id();
        let mut shuffled = list();
        shuffled.rotate_left((dice.roll() % 3) as usize);
        shuffled.push(shuffled[0].clone());
        let (one, other) = (Chooser::new(node, &list()), Chooser::new(node, &shuffled));
        let names = |chooser: &Chooser| -> Vec<String> {
            chooser.ranked().iter().map(|(plane, _)| chooser.address(*plane).to_owned()).collect()
        };
        assert_eq!(names(&one), names(&other));
        assert_eq!(names(&one).len(), 3);
    }
}

#[test]
fn a_dead_one_is_passed_over_within_moments_and_asked_ever_more_rarely() {
    let (mut chooser, mut dice) = (chooser(), Dice(2));
    let first = chooser.next(0).unwrap();
    assert_eq!(first, Attempt { plane: 0, at: 0 });
    chooser.ended(0, DEAD, 0, dice.roll());
    let second = chooser.next(0).unwrap();
    assert_eq!(second.plane, 1, "not the dead one once more");
    assert!(second.at < SPREAD_MS);
    // All dead: each is asked at most about once a minute in the end, and none is given up.
    let (mut now, mut asked) = (0, [0; 3]);
    while now < 60 * MINUTE {
        let attempt = chooser.next(now).unwrap();
        now = attempt.at;
        asked[attempt.plane] += 1;
        chooser.ended(attempt.plane, DEAD, now, dice.roll());
    }
    for count in asked {
        assert!((60..200).contains(&count), "{asked:?} attempts in an hour");
    }
}

#[test]
fn a_cut_link_is_no_reason_to_go_elsewhere_and_a_dead_end_is() {
    let (mut chooser, mut dice) = (chooser(), Dice(3));
    chooser.welcomed(0, false, 0, dice.roll());
    chooser.ended(0, lost(true), 5_000, dice.roll());
    let again = chooser.next(5_000).unwrap();
    assert_eq!(again.plane, 0);
    assert!((5_050..5_500).contains(&again.at), "{again:?}");
    chooser.ended(0, DEAD, again.at, dice.roll());
    assert_ne!(chooser.next(again.at).unwrap().plane, 0);
    // One that welcomes and drops is a dead end too, after one more chance.
    let mut chooser = self::chooser();
    for now in [0, 1_000] {
        assert_eq!(chooser.next(now).unwrap().plane, 0);
        chooser.welcomed(0, false, now, dice.roll());
        chooser.ended(0, lost(false), now, dice.roll());
    }
    assert_ne!(chooser.next(3_000).unwrap().plane, 0);
}

#[test]
fn retry_after_is_obeyed_by_address() {
    let (mut chooser, mut dice) = (chooser(), Dice(4));
    let refused = Outcome::Unreached { retry_after: Duration::from_secs(90) };
    chooser.ended(0, refused.clone(), 0, dice.roll());
    chooser.ended(1, refused.clone(), 0, dice.roll());
    let mut now = 0;
    while now < 90_000 {
        let attempt = chooser.next(now).unwrap();
        assert!(attempt.plane == 2 || attempt.at >= 90_000, "{attempt:?} is too early");
        now = attempt.at.max(now + 1);
        chooser.ended(attempt.plane, DEAD, now, dice.roll());
    }
    // Neither a move nor a look is a way round it.
    let mut chooser = self::chooser();
    chooser.ended(1, refused.clone(), 0, dice.roll());
    chooser.welcomed(2, false, 0, dice.roll());
    let to = chooser.address(1).to_owned();
    chooser.ended(2, moved(&to), 1_000, dice.roll());
    assert!(chooser.next(1_000).unwrap().at >= 90_000);
    let mut chooser = self::chooser();
    chooser.ended(0, refused, 0, dice.roll());
    chooser.welcomed(1, false, 0, dice.roll());
    assert_eq!(chooser.look(89_999, dice.roll()), None);
    assert_eq!(chooser.look(90_000, dice.roll()), Some(0));
    // A single one that asks for patience gets it.
    let mut alone = Chooser::new(Id(7), &list()[..1]);
    alone.welcomed(0, false, 0, dice.roll());
    alone.ended(0, Outcome::Lost { retry_after: Duration::from_secs(30), useful: true }, 0, dice.roll());
    assert_eq!(alone.next(0).unwrap().at, 30_000);
}

#[test]
fn a_node_that_is_elsewhere_looks_where_it_belongs_after_5_to_15_minutes() {
    let mut dice = Dice(5);
    for _ in 0..100 {
        let mut chooser = chooser();
        chooser.welcomed(0, false, 0, dice.roll());
        assert_eq!(chooser.look_at(), None, "it is where it belongs");
        chooser.ended(0, lost(true), 0, dice.roll());
        chooser.ended(0, DEAD, 0, dice.roll());
        chooser.welcomed(1, false, 1_000, dice.roll());
        let at = chooser.look_at().unwrap() - 1_000;
        assert!((5 * MINUTE..15 * MINUTE).contains(&at));
        assert_eq!(chooser.look(at, dice.roll()), Some(0));
        // Nothing there yet: later once more, and what it has stays its own.
        chooser.ended(0, DEAD, at, dice.roll());
        assert!((at + 5 * MINUTE..at + 15 * MINUTE).contains(&chooser.look_at().unwrap()));
        chooser.welcomed(0, false, at + 1, dice.roll());
        assert_eq!(chooser.look_at(), None, "back");
    }
}

#[test]
fn a_node_behind_whom_its_control_plane_lags_looks_at_each_other_one_in_turn() {
    let (mut chooser, mut dice) = (chooser(), Dice(6));
    chooser.welcomed(0, true, 0, dice.roll());
    let at = chooser.look_at().unwrap();
    assert!((BEHIND_MS..BEHIND_MS + BEHIND_SPREAD_MS).contains(&at));
    let seen: Vec<_> = (1..=4).map(|n| chooser.look(n * at, dice.roll()).unwrap()).collect();
    assert_eq!(seen, [1, 2, 1, 2]);
    chooser.caught_up(5 * at, dice.roll());
    assert_eq!(chooser.look_at(), None);
    // Where there is no other there is nothing to look at.
    let mut alone = Chooser::new(Id(7), &list()[..1]);
    alone.welcomed(0, true, 0, dice.roll());
    assert_eq!(alone.look_at(), None);
}

#[test]
fn a_move_is_followed_at_once_into_the_own_list_only_and_three_times_in_a_row() {
    let (mut chooser, mut dice) = (chooser(), Dice(7));
    let mut now = 0;
    for step in 0..3 {
        let (here, there) = if step % 2 == 0 { (0, 2) } else { (2, 0) };
        chooser.welcomed(here, false, now, dice.roll());
        let to = chooser.address(there).to_owned();
        chooser.ended(here, moved(&to), now, dice.roll());
        let next = chooser.next(now).unwrap();
        assert_eq!(next.plane, there);
        assert!(next.at < now + SPREAD_MS, "no patience grows by it");
        now = next.at;
    }
    chooser.welcomed(2, false, now, dice.roll());
    assert_eq!(chooser.look_at(), None, "where a move led is home");
    let back = chooser.address(0).to_owned();
    chooser.ended(2, moved(&back), now, dice.roll());
    assert_ne!(chooser.next(now), Some(Attempt { plane: 0, at: now }), "a fourth one is not followed");
    // A minute of quiet, and moves count anew.
    chooser.welcomed(2, false, now, dice.roll());
    now += MINUTE;
    chooser.ended(2, moved(&back), now, dice.roll());
    assert_eq!(chooser.next(now).unwrap().plane, 0);
    // An address from elsewhere leads nowhere, and is no reason to stay either.
    let mut chooser = self::chooser();
    chooser.welcomed(0, false, 0, dice.roll());
    chooser.ended(0, moved("evil.example.com:8005"), 0, dice.roll());
    assert_eq!(chooser.next(0).unwrap().plane, 1);
}

#[test]
fn where_a_move_led_is_forgotten_when_it_cannot_be_reached() {
    let (mut chooser, mut dice) = (chooser(), Dice(8));
    chooser.welcomed(0, false, 0, dice.roll());
    let to = chooser.address(2).to_owned();
    chooser.ended(0, moved(&to), 0, dice.roll());
    chooser.ended(2, DEAD, 1_000, dice.roll());
    assert_eq!(chooser.next(1_000).unwrap().plane, 0);
}

/// A thousand nodes and three control planes over time, an event at a time.
struct Fleet {
    nodes: Vec<Chooser>,
    /// What each node does next, and when; of a session that is up: its look.
    due: Vec<(u64, bool)>,
    at: Vec<Option<usize>>,
    up: Vec<bool>,
    now: u64,
    /// Connections that were made, by second.
    arrivals: std::collections::BTreeMap<u64, usize>,
    dice: Dice,
}

impl Fleet {
    fn new(count: usize) -> Self {
        let mut dice = Dice(9);
        let nodes: Vec<_> = (0..count).map(|_| Chooser::new(dice.id(), &list())).collect();
        let due = nodes.iter().map(|_| (dice.roll() % SPREAD_MS, false)).collect();
        let at = vec![None; count];
        Self { nodes, due, at, up: vec![true; 3], now: 0, arrivals: Default::default(), dice }
    }

    /// Which of [`list`] a node's plane is.
    fn global(&self, node: usize, plane: Index) -> usize {
        list().iter().position(|address| address == self.nodes[node].address(plane)).unwrap()
    }

    fn plan(&mut self, node: usize) {
        self.due[node] = match self.at[node] {
            Some(_) => (self.nodes[node].look_at().unwrap_or(u64::MAX), true),
            None => (self.nodes[node].next(self.now).unwrap().at, false),
        };
    }

    fn run(&mut self, until: u64) {
        while let Some((node, (at, looks))) = self.due.iter().copied().enumerate().min_by_key(|(_, due)| due.0)
            && at <= until
        {
            self.now = self.now.max(at);
            let (now, random) = (self.now, self.dice.roll());
            let plane =
                if looks { self.nodes[node].look(now, random) } else { self.nodes[node].next(now).map(|a| a.plane) };
            if let Some(plane) = plane {
                let global = self.global(node, plane);
                if self.up[global] {
                    *self.arrivals.entry(now / 1000).or_default() += 1;
                    self.nodes[node].welcomed(plane, false, now, random);
                    self.at[node] = Some(global);
                } else {
                    self.nodes[node].ended(plane, DEAD, now, random);
                }
            }
            self.plan(node);
        }
        self.now = until;
    }

    fn dies(&mut self, global: usize) {
        self.up[global] = false;
        for node in 0..self.nodes.len() {
            if self.at[node] == Some(global) {
                let plane = (0..3).find(|plane| self.global(node, *plane) == global).unwrap();
                let random = self.dice.roll();
                self.nodes[node].ended(plane, lost(true), self.now, random);
                self.at[node] = None;
                self.plan(node);
            }
        }
    }

    fn spread(&self) -> [usize; 3] {
        [0, 1, 2].map(|global| self.at.iter().filter(|at| **at == Some(global)).count())
    }
}

#[test]
fn a_thousand_nodes_spread_evenly_over_three_and_over_two_when_one_dies_and_return() {
    let mut fleet = Fleet::new(1_000);
    fleet.run(10_000);
    let at_first = fleet.spread();
    // A third of a thousand, give or take four standard deviations of a fair die (15): what chance allows.
    assert!(at_first.iter().all(|count| (273..=393).contains(count)), "{at_first:?}");

    fleet.now = 20 * MINUTE;
    fleet.arrivals.clear();
    fleet.dies(0);
    fleet.run(20 * MINUTE + 5_000);
    let without = fleet.spread();
    let storm = *fleet.arrivals.values().max().unwrap();
    assert_eq!(without[0], 0);
    assert_eq!(without.iter().sum::<usize>(), 1_000, "all have another one within five seconds");
    assert!(without[1].abs_diff(without[2]) <= 126, "{without:?}");
    let orphans = at_first[0];
    assert!(storm < orphans * 3 / 4, "{storm} of {orphans} came in one second");

    fleet.run(40 * MINUTE);
    fleet.up[0] = true;
    fleet.arrivals.clear();
    fleet.run(40 * MINUTE + 15 * MINUTE);
    let again = fleet.spread();
    assert_eq!(again, at_first, "all are back within a quarter of an hour");
    let storm_back = *fleet.arrivals.values().max().unwrap();
    assert!(storm_back <= 10, "{storm_back} came back in one second");
    println!(
        "spread {at_first:?}; one dead: {without:?}, at most {storm} of {orphans} connections in a second; \
         back: {again:?}, at most {storm_back} in a second"
    );
}
