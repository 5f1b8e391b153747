//! What synchronisation costs on a link, with the programs that ship: bytes of TCP payload both ways, TLS and its handshake
//! included, as a relay between the two counts them, and the time until the control plane knows that it is durable.
//! `cargo build --release && cargo bench -p tests --bench links [-- table|field]`
//!
//! `table`: after absences, for a full sync, and for an idle hour, as rows of the README's table. `field`: a new data plane
//! and 30,000 entities over 64 kbit/s with 600 ms round trip, 5 % loss and a cut every minute; half an hour.

use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tests::crowd::Crowd;
use tests::generate::{Config, Shape as Entities};
use tests::lab::{Daemon, Lab};
use tests::pair::{acknowledged_by, apply, follower, head, load, put};
use tests::relay::Relay;
use tests::shape::Shape;
use tests::wait;
use wire::limits::HEARTBEAT_S;
use wire::message::Have;

const ENTITIES: usize = 30_000;
/// Changes while a data plane is away.
const ABSENCES: [usize; 4] = [1, 10, 100, 1_000];
/// Deletions that a control plane remembers; one more is beyond its horizon.
const HORIZON: usize = 100_000;
/// Changes in one transaction, where many are made only to get beyond the horizon.
const BATCH: usize = 5_000;
/// Heartbeats that are counted, at the shortest interval that a control plane agrees to.
const HEARTBEATS: u64 = 3;
/// After a PING was seen: until its PONG has been.
const ANSWER: Duration = Duration::from_millis(300);
/// Of the field: how often the link is cut, what a cut may waste with the next handshake and greeting, and the longest that
/// the sync may take.
const CUT_EVERY: Duration = Duration::from_secs(60);
const WASTED_MAX: u64 = 64 * 1024;
const FIELD_MAX: Duration = Duration::from_secs(3 * 3600);

struct Bench {
    lab: Lab,
    cp: Daemon,
    config: Config,
    /// How often each route was changed.
    round: usize,
}

fn main() {
    let wanted = |name: &str| {
        let mut words = std::env::args().skip(1).filter(|word| !word.starts_with('-')).peekable();
        words.peek().is_none() || words.any(|word| word == name)
    };
    let lab = Lab::new();
    let config = Config { shape: Entities::of(ENTITIES), seed: 1, origin: ([127, 0, 0, 1], 9000).into() };
    let mut cp = lab.cp("cp").start();
    load(&lab, &mut cp, &config.declarative());
    let mut bench = Bench { lab, cp, config, round: 0 };
    println!("| what | up | down | time |\n|---|---|---|---|");
    let whole = bench.full_sync();
    if wanted("field") {
        bench.field(whole);
    }
    if wanted("table") {
        bench.idle_hour();
        bench.connected();
        bench.absences("within the horizon", 0);
        bench.absences("beyond the horizon", HORIZON + 1);
    }
}

impl Bench {
    /// Bytes of a full sync without trouble.
    fn full_sync(&mut self) -> u64 {
        let (link, started) = (self.link(), Instant::now());
        let mut dp = follower(&self.lab, "whole", &link).start();
        let version = head(&mut self.cp);
        dp.serves_version(version);
        acknowledged_by(&mut self.cp, &dp, version);
        report(&format!("full sync of {ENTITIES} entities"), (0, 0), link.bytes(), Some(started));
        link.bytes().1
    }

    /// A new data plane over a link of the field that is cut every minute.
    fn field(&mut self, whole: u64) {
        let link = self.link().shaped(Shape::FIELD);
        let started = Instant::now();
        let mut dp = follower(&self.lab, "field", &link).start();
        let version = head(&mut self.cp);
        let serves = |dp: &mut Daemon| dp.sync_status()["version"].as_u64().is_some_and(|held| held >= version);
        let (mut cuts, mut next) = (0_u64, CUT_EVERY);
        while !serves(&mut dp) {
            assert!(started.elapsed() < FIELD_MAX, "not there after {cuts} cuts and {:?} bytes", link.bytes());
            if started.elapsed() >= next {
                link.cut();
                cuts += 1;
                next += CUT_EVERY;
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let (took, (up, down)) = (started.elapsed(), link.bytes());
        let wasted = down.saturating_sub(whole);
        println!(
            "the same over {} bit/s, {} ms round trip, one segment in {} lost, a cut every minute: {} min {} s, {cuts} cuts, \
             {up} bytes up, {down} down, {wasted} more than without trouble, {} by each cut",
            Shape::FIELD.rate * 8,
            Shape::FIELD.delay.as_millis() * 2,
            Shape::FIELD.loses_one_in,
            took.as_secs() / 60,
            took.as_secs() % 60,
            wasted / cuts.max(1)
        );
        // One that had to start over would have wasted all that came between two cuts.
        assert!(cuts > 0 && wasted / cuts <= WASTED_MAX, "{cuts} cuts, {wasted} bytes wasted");
        let goes_on = |line: &&str| line.contains("full sync") && line.contains(" held=") && !line.contains(" held=0");
        let resumed = dp.log().lines().filter(goes_on).count();
        println!("it went on from what it had {resumed} times");
        assert!(resumed > 0, "it began anew each time");
    }

    /// An idle hour at the default heartbeat, from the bytes of some heartbeats.
    fn idle_hour(&mut self) {
        let link = self.link();
        let node = Crowd::start(1, Have::default(), 1, link.address(), self.lab.path());
        let version = head(&mut self.cp);
        wait::until("the node", || (node.at(version) == 1).then_some(()));
        let beat = || {
            let before = link.bytes();
            wait::until("a heartbeat", || (link.bytes() != before).then_some(()));
            std::thread::sleep(ANSWER);
            link.bytes()
        };
        let first = beat();
        let last = (0..HEARTBEATS).fold(first, |_, _| beat());
        let (up, down) = ((last.0 - first.0) / HEARTBEATS, (last.1 - first.1) / HEARTBEATS);
        let per_hour = 3600 / u64::from(HEARTBEAT_S);
        let what = format!("one idle hour, {per_hour} heartbeats");
        report(&what, (0, 0), (up * per_hour, down * per_hour), None);
    }

    /// One-field changes to a data plane that is connected.
    fn connected(&mut self) {
        let link = self.link();
        let dp = follower(&self.lab, "connected", &link).start();
        let version = head(&mut self.cp);
        acknowledged_by(&mut self.cp, &dp, version);
        for changes in [1, 10] {
            let (before, started) = (link.bytes(), Instant::now());
            for _ in 0..changes {
                let version = self.change(1);
                acknowledged_by(&mut self.cp, &dp, version);
            }
            let what = format!("{changes} one-field changes, one by one, connected");
            report(&what, before, link.bytes(), Some(started));
        }
        // Beyond those that there are, which it does not touch.
        let mut next = self.config.shape.routes;
        for count in [1, 10, 100, 1_000] {
            let puts: Vec<Value> = (next..next + count).map(|index| put("routes", self.config.route(index))).collect();
            next += count;
            let (before, started) = (link.bytes(), Instant::now());
            let version = apply(&mut self.cp, &puts);
            acknowledged_by(&mut self.cp, &dp, version);
            let what = format!("{count} new routes in one transaction, connected");
            report(&what, before, link.bytes(), Some(started));
        }
    }

    /// One-field changes of so many routes while a data plane is away, with so many deletions beside.
    fn absences(&mut self, what: &str, deletions: usize) {
        let link = self.link();
        let mut dp = follower(&self.lab, &format!("away-{deletions}"), &link).start();
        let version = head(&mut self.cp);
        acknowledged_by(&mut self.cp, &dp, version);
        for changes in ABSENCES {
            let (setup, _) = dp.stop();
            self.delete(deletions);
            let version = self.change(changes);
            let (before, started) = (link.bytes(), Instant::now());
            dp = setup.start();
            acknowledged_by(&mut self.cp, &dp, version);
            let mode = dp.sync_status()["mode"].clone();
            let mode = mode.as_str().unwrap_or("none");
            let what = format!("after an absence with {changes} one-field changes, {what} ({mode})");
            report(&what, before, link.bytes(), Some(started));
        }
    }

    /// Changes one field of so many routes, in one transaction; returns its version.
    fn change(&mut self, routes: usize) -> u64 {
        self.round += 1;
        let changed = |index: usize| {
            let mut route = self.config.route(index);
            route["strip_path"] = json!((index + self.round).is_multiple_of(2));
            put("routes", route)
        };
        let changes: Vec<Value> = (0..routes).map(changed).collect();
        apply(&mut self.cp, &changes)
    }

    /// Creates and deletes so many consumers.
    fn delete(&mut self, count: usize) {
        for start in (0..count).step_by(BATCH) {
            let ids: Vec<_> = (start..count.min(start + BATCH)).map(|_| model::Id::random()).collect();
            let puts: Vec<_> = ids.iter().map(|id| put("consumers", json!({ "id": id, "username": id }))).collect();
            apply(&mut self.cp, &puts);
            let deletes: Vec<_> = ids.iter().map(|id| json!({ "delete": { "kind": "consumers", "id": id } })).collect();
            apply(&mut self.cp, &deletes);
        }
    }

    fn link(&mut self) -> Relay {
        Relay::to(self.cp.address("cluster"))
    }
}

/// A row of the table; the time is from `started` until now, which is that of the program's start, too, after an absence.
fn report(what: &str, before: (u64, u64), after: (u64, u64), started: Option<Instant>) {
    let time = started.map_or_else(|| "-".to_owned(), |started| format!("{:.2?}", started.elapsed()));
    println!("| {what} | {} | {} | {time} |", after.0 - before.0, after.1 - before.1);
}
