//! A fleet of 1,000 nodes and three control planes, in seconds that pass at once.

use super::*;
use std::collections::BTreeMap;

const PLANES: [&str; 3] = ["a:8005", "b:8005", "c:8005"];

/// Nodes choose as data planes do: by rank of a hash, the first that is up; where a move led them they stay.
struct Fleet {
    nodes: Vec<Node>,
    up: BTreeMap<&'static str, (Balance, u64)>,
    /// What each control plane heard of all a second ago.
    heard: Vec<PlaneNodes>,
    second: u64,
    /// Moves that were made, and the most in one second.
    moves: (u32, u32),
}

struct Node {
    ranked: Vec<&'static str>,
    at: &'static str,
}

fn hash(node: u64, plane: &str) -> u64 {
    let mut z = plane.bytes().fold(node.wrapping_mul(0x9e37_79b9_7f4a_7c15), |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0xbf58_476d_1ce4_e5b9).rotate_left(29)
    });
    z = (z ^ (z >> 30)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Fleet {
    fn new(count: u64) -> Self {
        let node = |id| {
            let mut ranked = PLANES.to_vec();
            ranked.sort_by_key(|plane| hash(id, plane));
            Node { at: ranked[0], ranked }
        };
        let up = PLANES.map(|plane| (plane, (Balance::new(0), 0))).into();
        Self { nodes: (0..count).map(node).collect(), up, heard: Vec::new(), second: 0, moves: (0, 0) }
    }

    fn count(&self, plane: &str) -> u32 {
        u32::try_from(self.nodes.iter().filter(|node| node.at == plane).count()).unwrap()
    }

    /// The difference between the most and the fewest, in percent of a fair share.
    fn spread(&self) -> u32 {
        let counts: Vec<u32> = self.up.keys().map(|plane| self.count(plane)).collect();
        let (most, fewest) = (counts.iter().max().unwrap(), counts.iter().min().unwrap());
        (most - fewest) * 100 * u32::try_from(counts.len()).unwrap() / u32::try_from(self.nodes.len()).unwrap()
    }

    fn dies(&mut self, plane: &'static str) {
        self.up.remove(plane);
        for node in self.nodes.iter_mut().filter(|node| node.at == plane) {
            node.at = node.ranked.iter().find(|plane| self.up.contains_key(*plane)).unwrap();
        }
    }

    fn comes_back(&mut self, plane: &'static str) {
        self.up.insert(plane, (Balance::new(self.second * 1000), 0));
    }

    fn passes(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.second += 1;
            let mut this_second = 0;
            for plane in PLANES {
                let own = self.count(plane);
                let others: Vec<_> = self.heard.iter().filter(|other| other.address != plane).cloned().collect();
                let Some((balance, _)) = self.up.get_mut(plane) else { continue };
                let Some((to, count)) = balance.due(own, &others, self.second * 1000) else { continue };
                let to = PLANES.into_iter().find(|plane| *plane == to).unwrap();
                for node in self.nodes.iter_mut().filter(|node| node.at == plane).take(count as usize) {
                    // Whoever is sent to one that has died meanwhile chooses by itself.
                    node.at = if self.up.contains_key(to) { to } else { plane };
                    this_second += 1;
                }
            }
            self.moves = (self.moves.0 + this_second, self.moves.1.max(this_second));
            let told = |plane: &&'static str| PlaneNodes { address: (*plane).to_owned(), nodes: self.count(plane) };
            self.heard = self.up.keys().map(told).collect();
        }
    }
}

#[test]
fn a_thousand_nodes_stay_within_a_tenth_when_a_control_plane_dies_and_comes_back() {
    let mut fleet = Fleet::new(1000);
    fleet.passes(10);
    let first = fleet.moves.0;
    assert!(fleet.spread() <= 10 && first < 50, "hashes spread them nearly evenly: {}%, {first} moves", fleet.spread());

    fleet.dies("b:8005");
    fleet.passes(10);
    assert!(fleet.spread() <= 10, "{}%", fleet.spread());
    assert!(fleet.moves.0 - first < 50, "those of the dead one spread over both of the others by themselves");

    let before = fleet.moves.0;
    fleet.comes_back("b:8005");
    assert_eq!(fleet.count("b:8005"), 0);
    fleet.passes(60);
    assert!(fleet.spread() <= 10, "{}%", fleet.spread());
    let moved = fleet.moves.0 - before;
    assert!((300..=340).contains(&moved), "{moved} nodes moved for a share of 333");
    assert!(fleet.moves.1 <= 2 * MOVES_PER_S, "{} in one second", fleet.moves.1);

    let settled = fleet.moves.0;
    fleet.passes(600);
    assert_eq!(fleet.moves.0, settled, "and then it is quiet");
}

#[test]
fn a_handful_is_balanced_to_one_and_never_moved_to_and_fro() {
    for count in 0..40 {
        let mut fleet = Fleet::new(count);
        fleet.nodes.iter_mut().for_each(|node| node.at = "a:8005");
        fleet.passes(60);
        let counts = PLANES.map(|plane| fleet.count(plane));
        let (most, fewest) = (counts.iter().max().unwrap(), counts.iter().min().unwrap());
        assert!(most - fewest <= 1, "{count}: {counts:?}");
        let moves = fleet.moves.0;
        fleet.passes(60);
        assert_eq!(fleet.moves.0, moves, "{count}");
    }
}

#[test]
fn nobody_is_sent_to_one_that_nodes_have_no_name_for() {
    let nameless = PlaneNodes { address: String::new(), nodes: 0 };
    assert_eq!(Balance::new(0).due(1000, &[nameless], 10_000), None);
    assert_eq!(Balance::new(0).due(1000, &[], 10_000), None);
}

#[test]
fn a_long_time_without_moves_saves_up_no_storm() {
    let empty = [PlaneNodes { address: "b:1".to_owned(), nodes: 0 }];
    let mut balance = Balance::new(0);
    assert_eq!(balance.due(1000, &empty, 3_600_000), Some(("b:1", MOVES_PER_S)));
    assert_eq!(balance.due(1000, &empty, 3_600_000), None);
    assert_eq!(balance.due(1000, &empty, 3_600_200), Some(("b:1", 1)));
}
