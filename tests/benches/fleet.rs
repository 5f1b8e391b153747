//! What a fleet costs its control plane, with the program that ships: one `cp-lite` with 30,000 entities, and a crowd of
//! nodes on real TLS connections. CPU is the control plane's own (the scheduler's count), so that the crowd beside it on
//! the same cores does not count; times do suffer from it.
//! `cargo build --release && cargo bench -p tests --bench fleet [-- nodes]`

use model::Id;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tests::crowd::Crowd;
use tests::generate::{Config, Shape};
use tests::http::Client;
use tests::lab::{Daemon, Lab};
use tests::pair::{apply, load, put};
use tests::wait;
use wire::limits::HEARTBEAT_S;
use wire::message::Have;

const ENTITIES: usize = 30_000;
const NODES: usize = 1_000;
/// Changes per measurement.
const CHANGES: usize = 40;
/// Admin API requests per measurement.
const REQUESTS: usize = 200;
/// After what was awaited has happened: until the control plane has read the last acks.
const SETTLE: Duration = Duration::from_millis(300);
/// The longest that a storm of full syncs may take here.
const STORM_MAX: Duration = Duration::from_secs(900);

struct Bench {
    lab: Lab,
    cp: Daemon,
    config: Config,
    changes: usize,
}

fn main() {
    let _ = os::host::raise_open_files();
    let nodes = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(NODES);
    println!("{nodes} nodes, {ENTITIES} entities");
    memory(nodes);
    let lab = Lab::new();
    let config = Config { shape: Shape::of(ENTITIES), seed: 1, origin: ([127, 0, 0, 1], 9000).into() };
    let mut cp = lab.cp("cp").start();
    load(&lab, &mut cp, &config.declarative());
    let mut bench = Bench { lab, cp, config, changes: 0 };
    let idle = bench.cp.memory_kib("VmRSS");
    println!("control plane before any node: {idle} KiB resident");

    let one = bench.crowd(1, Have::default());
    bench.acknowledged(&one);
    println!("after the first full sync: {} KiB", bench.cp.memory_kib("VmRSS"));
    let alone = bench.fan_out("one change to one node", &one);
    let alone_admin = bench.admin("with one node");

    let have = one.have();
    drop(one);
    bench.settle();
    let (before, cpu) = (bench.cp.memory_kib("VmRSS"), bench.cp.cpu_ns());
    let start = Instant::now();
    let all = bench.crowd(nodes, have);
    wait::until("all nodes to be welcome", || (all.connected() == nodes).then_some(()));
    let took = start.elapsed();
    bench.acknowledged(&all);
    bench.settle();
    let (after, cpu) = (bench.cp.memory_kib("VmRSS"), bench.cp.cpu_ns() - cpu);
    println!(
        "{nodes} nodes connect at once: {took:.1?}, {} attempts, {:.0} us of CPU each, {after} KiB resident, {before} before",
        all.attempts(),
        cpu as f64 / 1e3 / nodes as f64,
    );
    let many = bench.fan_out(&format!("one change to {nodes} nodes"), &all);
    println!("  of which for the nodes: {:.2} ms of CPU", (many - alone).max(0.0));
    let many_admin = bench.admin(&format!("with {nodes} nodes"));
    println!("Admin API write, median, against one node: {:.2} times", many_admin / alone_admin);

    let (start, cpu, attempts) = (Instant::now(), bench.cp.cpu_ns(), all.attempts());
    all.reconnect();
    wait::until("connections to break", || (all.connected() < nodes).then_some(()));
    wait::until("all nodes to be back", || (all.connected() == nodes).then_some(()));
    println!(
        "{nodes} nodes reconnect at once: {:.1?}, {} attempts, {:.0} us of CPU each",
        start.elapsed(),
        all.attempts() - attempts,
        (bench.cp.cpu_ns() - cpu) as f64 / 1e3 / nodes as f64
    );
    bench.fan_out("  one change after that", &all);
    println!("control plane with all of them: {} KiB resident", bench.cp.memory_kib("VmRSS"));
    drop(all);
    bench.settle();

    bench.cp.forget_peak();
    let (start, cpu) = (Instant::now(), bench.cp.cpu_ns());
    let empty = bench.crowd(nodes, Have::default());
    let head = bench.head();
    wait::within(STORM_MAX, "all nodes to be full", || (empty.at(head) == nodes).then_some(()));
    println!(
        "{nodes} empty nodes at once: {:.1?}, {:.1} ms of CPU each, {} MB sent, peak {} KiB resident",
        start.elapsed(),
        (bench.cp.cpu_ns() - cpu) as f64 / 1e6 / nodes as f64,
        empty.bytes().1 / 1_000_000,
        bench.cp.memory_kib("VmHWM")
    );
}

/// What a node costs in memory, on a control plane without entities: one with many has free memory to give to nodes.
fn memory(nodes: usize) {
    let lab = Lab::new();
    let mut cp = lab.cp("cp").start();
    let address = cp.address("cluster");
    let has = |crowd: &Crowd, head: u64| wait::until("all nodes", || (crowd.at(head) == nodes).then_some(()));
    let before = cp.memory_kib("VmRSS");
    let crowd = Crowd::start(nodes, Have::default(), HEARTBEAT_S, address, lab.path());
    wait::until("all nodes to be welcome", || (crowd.connected() == nodes).then_some(()));
    let per_node = |cp: &Daemon| {
        std::thread::sleep(SETTLE);
        (cp.memory_kib("VmRSS") as f64 - before as f64) / nodes as f64
    };
    print!("resident per node: {:.1} KiB once it is connected", per_node(&cp));
    for _ in 0..CHANGES {
        let head = apply(&mut cp, &[put("consumers", json!({ "id": Id::random(), "username": Id::random() }))]);
        has(&crowd, head);
    }
    println!(", {:.1} KiB after {CHANGES} changes", per_node(&cp));
}

impl Bench {
    fn crowd(&mut self, nodes: usize, have: Have) -> Crowd {
        Crowd::start(nodes, have, HEARTBEAT_S, self.cp.address("cluster"), self.lab.path())
    }

    fn head(&mut self) -> u64 {
        apply(&mut self.cp, &[])
    }

    fn acknowledged(&mut self, crowd: &Crowd) {
        let (head, nodes) = (self.head(), crowd.connected());
        wait::until("all acks", || (crowd.connected() >= nodes.max(1) && crowd.at(head) >= nodes.max(1)).then_some(()));
    }

    fn settle(&self) {
        std::thread::sleep(SETTLE);
    }

    /// Changes one field again and again, each time until all nodes have acknowledged it; CPU per change in milliseconds.
    fn fan_out(&mut self, what: &str, crowd: &Crowd) -> f64 {
        let nodes = crowd.connected();
        self.settle();
        let (cpu, mut times) = (self.cp.cpu_ns(), Vec::new());
        for _ in 0..CHANGES {
            let change = put("routes", self.changed_route());
            let head = apply(&mut self.cp, &[change]);
            let answered = Instant::now();
            wait::until("all acks", || (crowd.at(head) >= nodes).then_some(()));
            times.push(crowd.last_ack().saturating_duration_since(answered));
        }
        self.settle();
        let cpu = (self.cp.cpu_ns() - cpu) as f64 / 1e6 / CHANGES as f64;
        println!(
            "{what}: {cpu:.2} ms of CPU on the control plane, last ack after {:.1} ms (median), {:.1} ms (worst)",
            percentile(&mut times, 50),
            percentile(&mut times, 100)
        );
        cpu
    }

    /// The median time of a write by the Admin API, in milliseconds, while nobody waits for the nodes in between.
    fn admin(&mut self, what: &str) -> f64 {
        let mut client = Client::connect(self.cp.address("admin")).expect("it listens");
        let route = format!("/routes/{}", self.config.id("routes", 1));
        let mut times = Vec::new();
        for count in 0..REQUESTS {
            let body = json!({ "strip_path": count.is_multiple_of(2) }).to_string();
            let start = Instant::now();
            let answer = client.request("PATCH", &route, &[("content-type", "application/json")], body.as_bytes());
            times.push(start.elapsed());
            assert_eq!(answer.expect("an answer").status, 200);
        }
        let (median, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
        println!("Admin API write {what}: {median:.2} ms (median), {p99:.2} ms (p99)");
        median
    }

    fn changed_route(&mut self) -> Value {
        self.changes += 1;
        let mut route = self.config.route(0);
        route["strip_path"] = json!(self.changes.is_multiple_of(2));
        route
    }
}

fn percentile(times: &mut [Duration], share: usize) -> f64 {
    times.sort();
    times.get((times.len() - 1) * share / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}
