//! What a one-field change costs from end to end, with the programs that ship: time from the Admin API's answer until
//! requests see it, CPU time of both programs, bytes that they write and that reach a disk, their memory and its peaks, and
//! how long a data plane takes from its start to its first answer without its control plane, at three sizes of
//! configuration. What of it the design bounds in bytes and ratios is asserted; times are printed.
//! What both allocate: `cargo test -p gateway --test a_delta_costs_the_same_until_its_ack -- --nocapture`, and `-p cp-lite
//! --test a_change_costs_what_it_touches`.
//! `cargo build --release && cargo bench -p tests --bench delta [-- ENTITIES...]`

use serde_json::json;
use std::time::{Duration, Instant};
use tests::counted::Device;
use tests::generate::{Config, Shape};
use tests::http::Client;
use tests::lab::{Daemon, Lab};
use tests::pair::{Pair, head, load};
use tests::wait;

/// Sizes in entities.
const SIZES: [usize; 3] = [100, 3_000, 30_000];
/// Changes per measurement.
const CHANGES: usize = 60;
/// Between two changes whose CPU time is counted: long enough for the first to be acknowledged, so that none are merged.
const PAUSE: Duration = Duration::from_millis(20);
/// Changes while what reaches the disks is counted, one after the other; so many that checkpoints are among them, which
/// write what has changed since the one before. `EDGE_WEAR_CHANGES` says otherwise.
const WEAR_CHANGES: u64 = 3_000;
/// The size of each program's disk.
const DISK_MB: u32 = 512;
/// Cold starts per measurement.
const STARTS: usize = 5;
/// The design's bounds: device bytes of a small change, how far it may raise the data plane's memory (KiB), and how many
/// times as much of its CPU it may take at the largest size as at the smallest.
const DEVICE_BYTES_MAX: u64 = 16_000;
const RISE_KIB_MAX: u64 = 4 * 1024;
const CPU_GROWTH_MAX: f64 = 1.5;
/// What the design says of a cold start at 30,000 entities; printed only, as all times.
const COLD_MS_MAX: u64 = 200;

/// What was measured at one size.
struct Row {
    /// From the answer of the Admin API to the first answer of the gateway that shows the change, ascending.
    live: Vec<Duration>,
    cp: Cost,
    dp: Cost,
    /// Bytes that reached the disk of the control plane and of the data plane, for each change.
    device: Option<(u64, u64)>,
    cp_memory: Memory,
    dp_memory: Memory,
    dp_restarted: Memory,
    /// From the start of the process to the first answer of a route, ascending.
    cold: Vec<Duration>,
}

/// Of one change.
struct Cost {
    cpu: Duration,
    /// To files and sockets.
    written: u64,
    /// How far the resident memory rose above what it was before, in KiB.
    rise: u64,
}

/// In KiB.
struct Memory {
    resident: u64,
    anonymous: u64,
    peak: u64,
}

fn main() {
    let given: Vec<usize> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let sizes = if given.is_empty() { SIZES.to_vec() } else { given };
    let rows: Vec<Row> = sizes.iter().map(|&size| measure(size)).collect();
    if let [few, .., many] = &rows[..] {
        let growth = |of: fn(&Row) -> &Cost| of(many).cpu.as_secs_f64() / of(few).cpu.as_secs_f64();
        let (dp, cp) = (growth(|row| &row.dp), growth(|row| &row.cp));
        println!(
            "CPU of a change, the largest size against the smallest: data plane {dp:.2} times (bound {CPU_GROWTH_MAX}), control plane {cp:.2}"
        );
        assert!(dp <= CPU_GROWTH_MAX, "a change takes {dp:.2} times the CPU");
    }
}

fn measure(size: usize) -> Row {
    let lab = Lab::new();
    let mounted = ["cp", "dp"].map(|name| Device::mount(lab.path().join(name), DISK_MB));
    let mut pair = Pair::start_in(lab);
    // Unmounted before the lab goes.
    let disks = mounted;
    let config = Config { shape: Shape::of(size), seed: 1, origin: pair.origin.address() };
    load(&pair.lab, &mut pair.cp, &config.declarative());
    pair.acknowledged();
    let (cp_memory, dp_memory) = (Memory::of(&pair.cp), Memory::of(&pair.dp));
    let live = live(&mut pair, &config);
    let (cp, dp) = cost(&mut pair, &config);
    pair.acknowledged();
    let device = if let [Some(cp), Some(dp)] = &disks { Some(wear(&mut pair, &config, cp, dp)) } else { None };
    pair.dp = pair.dp.kill().start();
    pair.dp.is_ready();
    let dp_restarted = Memory::of(&pair.dp);
    pair.link.down();
    let cold = cold(&mut pair, &config);
    let row = Row { live, cp, dp, device, cp_memory, dp_memory, dp_restarted, cold };
    row.print(size);
    row.judge();
    row
}

impl Row {
    fn print(&self, size: usize) {
        let ms = |times: &[Duration], share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1e3;
        let live = |share| ms(&self.live, share);
        println!("{size} entities");
        println!("  live after {:.2} ms (median), {:.2} (p90), {:.2} (worst)", live(50), live(90), live(100));
        println!("  a change on the data plane: {}", self.dp);
        println!("  a change on the control plane: {}", self.cp);
        if let Some((cp, dp)) = self.device {
            println!("  a change on the devices, checkpoints included: data plane {dp} bytes, control plane {cp}");
        }
        println!("  data plane: {}; restarted: {}", self.dp_memory, self.dp_restarted);
        println!("  control plane: {}", self.cp_memory);
        let (median, worst) = (ms(&self.cold, 50), ms(&self.cold, 100));
        println!("  start to first answer: {median:.0} ms (median), {worst:.0} (worst); bound {COLD_MS_MAX} ms");
    }

    /// Bytes have bounds that hold on any machine.
    fn judge(&self) {
        let rise = self.dp.rise;
        assert!(rise <= RISE_KIB_MAX, "a change raises the data plane by {rise} KiB");
        if let Some((_, dp)) = self.device {
            assert!(dp <= DEVICE_BYTES_MAX, "a change writes {dp} bytes to the data plane's disk");
        }
    }
}

/// Kills the data plane and asks it until it answers, again and again, while its control plane is away.
fn cold(pair: &mut Pair, config: &Config) -> Vec<Duration> {
    let (path, host) = (config.request_path(0), config.route_host(0));
    let setup = pair.dp.resettled();
    let proxy = pair.dp.address("proxy");
    let answers = || {
        let mut client = Client::connect(proxy).ok()?;
        let answer = client.request("GET", &path, &[("host", host.as_str())], b"").ok()?;
        (answer.status == 200).then_some(())
    };
    let mut times = Vec::with_capacity(STARTS);
    for _ in 0..STARTS {
        drop(pair.dp.kill());
        let start = Instant::now();
        pair.dp = setup.clone().start();
        while answers().is_none() {
            assert!(start.elapsed() < wait::PATIENCE, "it never answers");
            std::thread::sleep(Duration::from_millis(1));
        }
        times.push(start.elapsed());
    }
    times.sort();
    times
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
            assert!(answered.elapsed() < wait::PATIENCE, "change {change} is never live");
        }
        times.push(answered.elapsed());
        std::thread::sleep(PAUSE);
    }
    times.sort();
    times
}

/// What a change costs each of both, while nobody asks either for anything else.
fn cost(pair: &mut Pair, config: &Config) -> (Cost, Cost) {
    let route = path_of_route(config);
    let mut admin = Client::connect(pair.cp.address("admin")).expect("it listens");
    std::thread::sleep(PAUSE);
    let read = |daemon: &Daemon| (daemon.cpu_ns(), daemon.written_bytes(), daemon.memory_kib("VmRSS"));
    let before = (read(&pair.cp), read(&pair.dp));
    pair.cp.forget_peak();
    pair.dp.forget_peak();
    for change in 0..CHANGES {
        patch(&mut admin, &route, change % 2 == 1);
        std::thread::sleep(PAUSE);
    }
    let cost = |daemon: &Daemon, before: (u64, u64, u64)| Cost {
        cpu: Duration::from_nanos((daemon.cpu_ns() - before.0) / CHANGES as u64),
        written: (daemon.written_bytes() - before.1) / CHANGES as u64,
        rise: daemon.memory_kib("VmHWM").saturating_sub(before.2),
    };
    (cost(&pair.cp, before.0), cost(&pair.dp, before.1))
}

/// Bytes that reach both disks for a change, while each is acknowledged as durable before the next is made.
fn wear(pair: &mut Pair, config: &Config, cp: &Device, dp: &Device) -> (u64, u64) {
    let given = std::env::var("EDGE_WEAR_CHANGES").ok().and_then(|count| count.parse().ok());
    let changes: u64 = given.unwrap_or(WEAR_CHANGES).max(1);
    let (route, row) = (path_of_route(config), format!("/clustering/data-planes/{}", pair.dp.node_id()));
    let mut version = head(&mut pair.cp);
    let mut admin = Client::connect(pair.cp.address("admin")).expect("it listens");
    let before = (cp.written(), dp.written());
    for change in 0..changes {
        patch(&mut admin, &route, change % 2 == 1);
        version += 1;
        wait::until(&format!("the durable ack of version {version}"), || {
            let answer = admin.request("GET", &row, &[], b"").expect("an answer");
            (answer.json()["durable_version"].as_u64()? >= version).then_some(())
        });
    }
    ((cp.written() - before.0) / changes, (dp.written() - before.1) / changes)
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

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cpu, written, rise } = self;
        write!(f, "{} us of CPU, {written} bytes written, at most {rise} KiB above what was resident", cpu.as_micros())
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mib = |kib: u64| kib as f64 / 1024.0;
        write!(
            f,
            "{:.1} MiB resident ({:.1} anonymous), {:.1} at its peak",
            mib(self.resident),
            mib(self.anonymous),
            mib(self.peak)
        )
    }
}
