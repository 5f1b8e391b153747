//! What a one-field change costs from end to end, with the programs that ship: time from the Admin API's answer until
//! requests see it, CPU time of both programs, and their memory, at three sizes of configuration.
//! `cargo build --release && cargo bench -p tests --bench delta`

use serde_json::json;
use std::time::{Duration, Instant};
use tests::generate::{Config, Shape};
use tests::http::Client;
use tests::lab::Daemon;
use tests::pair::{Pair, load};

/// Sizes in entities.
const SIZES: [usize; 3] = [120, 3_000, 30_000];
/// Changes per measurement.
const CHANGES: usize = 60;
/// Between two changes whose CPU time is counted: long enough for the first to be acknowledged, so that none are merged.
const PAUSE: Duration = Duration::from_millis(20);

/// What was measured at one size.
struct Row {
    /// From the answer of the Admin API to the first answer of the gateway that shows the change, ascending.
    live: Vec<Duration>,
    cp_cpu: Duration,
    dp_cpu: Duration,
    cp_memory: Memory,
    dp_memory: Memory,
    dp_restarted: Memory,
}

/// In KiB.
struct Memory {
    resident: u64,
    anonymous: u64,
    peak: u64,
}

fn main() {
    println!(
        "{:>8} | {:>8} {:>8} {:>8} | {:>9} {:>9} | {:>26} | {:>26} | {:>26}",
        "entities", "live p50", "p90", "max", "CPU of CP", "CPU of DP", "RSS (anon, peak) CP", "DP", "DP restarted"
    );
    for size in SIZES {
        let row = measure(size);
        let ms = |share: usize| row.live[(row.live.len() - 1) * share / 100].as_secs_f64() * 1e3;
        let us = |time: Duration| format!("{} us", time.as_micros());
        println!(
            "{size:>8} | {:>5.2} ms {:>5.2} ms {:>5.2} ms | {:>9} {:>9} | {:>26} | {:>26} | {:>26}",
            ms(50),
            ms(90),
            ms(100),
            us(row.cp_cpu),
            us(row.dp_cpu),
            row.cp_memory.to_string(),
            row.dp_memory.to_string(),
            row.dp_restarted.to_string()
        );
    }
}

fn measure(size: usize) -> Row {
    let mut pair = Pair::start();
    let config = Config { shape: Shape::of(size), seed: 1, origin: pair.origin.address() };
    load(&pair.lab, &mut pair.cp, &config.declarative());
    pair.acknowledged();
    let (cp_memory, dp_memory) = (Memory::of(&pair.cp), Memory::of(&pair.dp));
    let live = live(&mut pair, &config);
    let (cp_cpu, dp_cpu) = cpu(&mut pair, &config);
    pair.acknowledged();
    pair.dp = pair.dp.kill().start();
    pair.dp.is_ready();
    Row { live, cp_cpu, dp_cpu, cp_memory, dp_memory, dp_restarted: Memory::of(&pair.dp) }
}

/// Toggles whether route 0 strips its path, and asks the gateway without a pause until the origin is asked otherwise.
fn live(pair: &mut Pair, config: &Config) -> Vec<Duration> {
    let (route, host) = (path_of_route(config), config.route_host(0));
    let (path, headers) = (config.request_path(0), [("host", host.as_str())]);
    let mut admin = Client::connect(pair.cp.address("admin")).expect("it listens");
    let mut client = Client::connect(pair.dp.address("proxy")).expect("it listens");
    let mut upstream_uri = || {
        let answer = client.request("GET", &path, &headers, b"").expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["uri"].to_string()
    };
    let mut times = Vec::with_capacity(CHANGES);
    for change in 0..CHANGES {
        let before = upstream_uri();
        patch(&mut admin, &route, change % 2 == 1);
        let answered = Instant::now();
        while upstream_uri() == before {
            assert!(answered.elapsed() < tests::wait::PATIENCE, "change {change} is never live");
        }
        times.push(answered.elapsed());
        std::thread::sleep(PAUSE);
    }
    times.sort();
    times
}

/// CPU time of both per change, while nobody asks either for anything else.
fn cpu(pair: &mut Pair, config: &Config) -> (Duration, Duration) {
    let route = path_of_route(config);
    let mut admin = Client::connect(pair.cp.address("admin")).expect("it listens");
    std::thread::sleep(PAUSE);
    let read = |pair: &Pair| (pair.cp.cpu_ns(), pair.dp.cpu_ns());
    let before = read(pair);
    for change in 0..CHANGES {
        patch(&mut admin, &route, change % 2 == 1);
        std::thread::sleep(PAUSE);
    }
    let after = read(pair);
    let each = |before: u64, after: u64| Duration::from_nanos((after - before) / CHANGES as u64);
    (each(before.0, after.0), each(before.1, after.1))
}

fn path_of_route(config: &Config) -> String {
    format!("/routes/{}", config.id("routes", 0))
}

fn patch(admin: &mut Client, route: &str, strip: bool) {
    let body = json!({ "strip_path": strip }).to_string();
    let answer = admin.request("PATCH", route, &[("content-type", "application/json")], body.as_bytes());
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

impl Memory {
    fn of(daemon: &Daemon) -> Self {
        let [resident, anonymous, peak] = ["VmRSS", "RssAnon", "VmHWM"].map(|field| daemon.memory_kib(field));
        Self { resident, anonymous, peak }
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mib = |kib: u64| kib as f64 / 1024.0;
        write!(f, "{:.1} ({:.1}, {:.1}) MiB", mib(self.resident), mib(self.anonymous), mib(self.peak))
    }
}
