//! A fleet over three control planes, with the program that ships: a crowd of nodes on real TLS connections comes, loses one
//! of them, and is shared with it again when it is back. Printed for each phase: how many nodes each control plane has, how
//! many connections were begun, and the most within a second. That nodes come to be spread within a tenth, and go to the
//! one that is back a few at a time and no more often than need be, is asserted.
//! `cargo build --release && cargo bench -p tests --bench spread [-- nodes]`
//!
//! The crowd's nodes take the control planes in turn; which one a data plane prefers by itself is shown by
//! `cargo test -p gateway --lib choice -- --nocapture`.

use serde_json::json;
use std::time::{Duration, Instant};
use tests::crowd::Crowd;
use tests::lab::{Daemon, Lab};
use tests::planes::{advertised, following, own};
use wire::message::Have;

const NODES: usize = 1_000;
/// How far counts may be apart, as so manieth of a fair share.
const TOLERATED_ONE_IN: usize = 10;
/// How many nodes one control plane sends away per second.
const MOVES_PER_S: usize = 5;
/// After an even spread: that long nothing more may move.
const STEADY: Duration = Duration::from_secs(5);
/// The longest that a phase may take.
const PHASE_MAX: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How a phase went.
struct Phase {
    counts: Vec<usize>,
    took: Duration,
    attempts: usize,
    /// Of any second.
    most: usize,
}

fn main() {
    let _ = os::host::raise_open_files();
    let nodes = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(NODES);
    let lab = Lab::new();
    let (first, first_at) = advertised(lab.cp("first").start());
    let (second, second_at) = advertised(following(&lab, "second", &[first_at]).start());
    let (third, third_at) = advertised(following(&lab, "third", &[first_at]).start());
    let mut planes = vec![first.start(), second.start(), third.start()];
    planes[0].admin_ok("POST", "/services", &json!({ "host": "h" }));
    println!("{nodes} nodes, three control planes");
    let crowd = Crowd::spread(nodes, Have::default(), 0, &[first_at, second_at, third_at], lab.path());
    let came = Phase::until_even(&crowd, 0, nodes, &mut planes);
    came.print("all come at once");

    let begun = crowd.attempts();
    let third = planes.pop().expect("three").kill();
    Phase::until_even(&crowd, begun, nodes, &mut planes).print("one control plane is killed");

    let begun = crowd.attempts();
    planes.push(third.start());
    let back = Phase::until_even(&crowd, begun, nodes, &mut planes);
    back.print("it is back");
    let (share, senders) = (nodes / planes.len(), planes.len() - 1);
    // Those that are sent, and no others; few may find it full of news, and come twice.
    assert!(back.attempts <= share + share / TOLERATED_ONE_IN, "{} connections for {share} nodes", back.attempts);
    // What is saved up may go at once.
    assert!(back.most <= 2 * senders * MOVES_PER_S, "{} connections within a second", back.most);
}

impl Phase {
    /// Waits until all nodes are connected and spread within a tenth of a fair share, and stay where they are.
    fn until_even(crowd: &Crowd, begun: usize, nodes: usize, planes: &mut [Daemon]) -> Self {
        let tolerated = nodes / planes.len() / TOLERATED_ONE_IN;
        let (started, mut seen, mut most) = (Instant::now(), vec![(Instant::now(), begun)], 0);
        let mut steady: Option<Self> = None;
        loop {
            let (now, attempts) = (Instant::now(), crowd.attempts());
            seen.retain(|(at, _)| now.duration_since(*at) <= Duration::from_secs(1));
            most = most.max(attempts - seen.first().map_or(attempts, |(_, attempts)| *attempts));
            seen.push((now, attempts));
            let counts: Vec<usize> = planes.iter_mut().map(connected).collect();
            let spread = counts.iter().max().zip(counts.iter().min()).map_or(0, |(most, fewest)| most - fewest);
            let is_even = counts.iter().sum::<usize>() == nodes && crowd.connected() == nodes && spread <= tolerated;
            steady = match steady {
                Some(phase) if is_even && phase.counts == counts => Some(phase),
                _ if is_even => Some(Self { counts, took: started.elapsed(), attempts: attempts - begun, most }),
                _ => None,
            };
            if let Some(phase) = steady.take_if(|phase| started.elapsed() - phase.took >= STEADY) {
                return phase;
            }
            assert!(started.elapsed() < PHASE_MAX, "not even: {} of {nodes} are connected", crowd.connected());
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    fn print(&self, what: &str) {
        let Self { counts, took, attempts, most } = self;
        println!("{what}: {counts:?} after {took:.1?}; {attempts} connections, at most {most} within a second");
    }
}

fn connected(cp: &mut Daemon) -> usize {
    own(cp)["data_planes"].as_u64().and_then(|count| usize::try_from(count).ok()).expect("a count")
}
