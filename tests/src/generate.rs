//! Realistic configurations of any size, seeded: the same arguments give the same bytes.
//!
//! Every entity is made from `(seed, kind, index)` alone, so that entity 0 of a kind is the same in a configuration of
//! 100 and of 30,000 entities: what a change of it costs can be compared. Plausible names, hosts, regexes and tags;
//! tags bring an entity to about one kilobyte of JSON, half of it dictionary-like and half random.

use model::declarative::{self, Format};
use model::schema::CheckCx;
use model::{Id, Record};
use serde_json::{Value, json};

/// How many entities of each kind, and what is unusual about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// `services`
    pub services: usize,
    /// `routes`
    pub routes: usize,
    /// `consumers`
    pub consumers: usize,
    /// `keyauth_credentials`
    pub keys: usize,
    /// `plugins`
    pub plugins: usize,
    /// `upstreams`
    pub upstreams: usize,
    /// `targets`
    pub targets: usize,
    /// How many of the routes have a regex path.
    pub regex_routes: usize,
    /// How many of the routes share one prefix and differ in a header.
    pub on_one_prefix: usize,
    /// How many of the keys belong to the first consumer.
    pub keys_of_one: usize,
    /// Whether all routes are on one host.
    pub one_host: bool,
}

impl Shape {
    /// A plausible mix of `total` entities.
    #[must_use]
    pub fn of(total: usize) -> Self {
        let part = |of_thirty: usize| total * of_thirty / 30;
        let whole = [2, 8, 8, 8, 1, 1, 2].map(part).iter().sum::<usize>();
        Self {
            services: part(2),
            routes: part(8),
            consumers: part(8) + total - whole,
            keys: part(8),
            plugins: part(1),
            upstreams: part(1),
            targets: part(2),
            regex_routes: part(3),
            on_one_prefix: (total / 150).min(200),
            keys_of_one: (total / 60).min(500),
            one_host: false,
        }
    }

    /// The same with 10,000 routes (a third of the entities) on one host.
    #[must_use]
    pub fn on_one_host(total: usize) -> Self {
        let usual = Self::of(total);
        let routes = total / 3;
        let taken = routes - usual.routes;
        Self { routes, keys: usual.keys - taken, one_host: true, ..usual }
    }

    /// How many entities there are in all.
    #[must_use]
    pub fn total(&self) -> usize {
        self.services + self.routes + self.consumers + self.keys + self.plugins + self.upstreams + self.targets
    }
}

/// A generated configuration.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// What it consists of.
    pub shape: Shape,
    /// Where its randomness comes from.
    pub seed: u64,
    /// Where the upstreams' targets are; every target is this address.
    pub origin: std::net::SocketAddr,
}

/// The entities of a generated configuration, also of one that something was done to, as what this version wrote.
///
/// # Panics
/// When it is not right.
#[must_use]
pub fn records(json: &Value, version: u64) -> Vec<Record> {
    let cx = CheckCx { now_ms: 1_700_000_000_000, new_id: &Id::random, certificates: None, keeps_updated_at: true };
    let declared = declarative::read(&json.to_string(), Some(Format::Json), &cx);
    declared.expect("a configuration that is right").to_records(version)
}

impl Config {
    /// The whole as a flat declarative file, `_format_version` 3.0, JSON.
    #[must_use]
    pub fn declarative(&self) -> Value {
        let all = |count: usize, make: &dyn Fn(usize) -> Value| (0..count).map(make).collect::<Vec<_>>();
        json!({
            "_format_version": "3.0",
            "upstreams": all(self.shape.upstreams, &|index| self.upstream(index)),
            "targets": all(self.shape.targets, &|index| self.target(index)),
            "services": all(self.shape.services, &|index| self.service(index)),
            "routes": all(self.shape.routes, &|index| self.route(index)),
            "consumers": all(self.shape.consumers, &|index| self.consumer(index)),
            "keyauth_credentials": all(self.shape.keys, &|index| self.key(index)),
            "plugins": all(self.shape.plugins, &|index| self.plugin(index)),
        })
    }

    /// The id of an entity.
    #[must_use]
    pub fn id(&self, kind: &str, index: usize) -> Id {
        let mut rng = self.rng(&format!("id/{kind}"), index);
        let (high, low) = (rng.next(), rng.next());
        // The bits that make it a version 4 UUID.
        Id(((u128::from(high) << 64 | u128::from(low)) & !(0xf << 76) & !(0xc << 60)) | 4 << 76 | 8 << 60)
    }

    /// Upstream `index`.
    #[must_use]
    pub fn upstream(&self, index: usize) -> Value {
        json!({ "id": self.id("upstreams", index), "name": self.upstream_name(index), "tags": self.tags("upstreams", index, 4) })
    }

    /// Target `index`: targets go round the upstreams.
    #[must_use]
    pub fn target(&self, index: usize) -> Value {
        let upstream = self.id("upstreams", index % self.shape.upstreams.max(1));
        // A second target of one upstream needs another address; all of 127/8 is this machine.
        let round = index / self.shape.upstreams.max(1) + 1;
        let target = format!("127.0.0.{round}:{}", self.origin.port());
        json!({ "id": self.id("targets", index), "upstream": { "id": upstream }, "target": target,
                "weight": 100, "tags": self.tags("targets", index, 20) })
    }

    /// Service `index`: half of them name an upstream, half an address.
    #[must_use]
    pub fn service(&self, index: usize) -> Value {
        let mut rng = self.rng("services", index);
        let host = if index.is_multiple_of(2) && self.shape.upstreams > 0 {
            self.upstream_name(index / 2 % self.shape.upstreams)
        } else {
            self.origin.ip().to_string()
        };
        json!({ "id": self.id("services", index), "name": format!("{}-{}-{index}", pick(&mut rng, WORDS), pick(&mut rng, NOUNS)),
                "protocol": "http", "host": host, "port": self.origin.port(),
                "path": format!("/{}", pick(&mut rng, NOUNS)), "retries": 5, "read_timeout": 30_000,
                "tags": self.tags("services", index, 12) })
    }

    /// Route `index`: plain prefixes on a host of their own group, regexes, or one prefix told apart by a header.
    #[must_use]
    pub fn route(&self, index: usize) -> Value {
        let service = self.id("services", index % self.shape.services.max(1));
        let mut route = json!({ "id": self.id("routes", index), "name": format!("route-{index}"),
            "service": { "id": service }, "protocols": ["http", "https"], "hosts": [self.route_host(index)],
            "paths": [self.route_path(index)], "methods": ["GET", "POST"], "strip_path": index.is_multiple_of(2),
            "tags": self.tags("routes", index, 11) });
        if self.is_on_one_prefix(index) {
            route["headers"] = json!({ "x-tenant": [format!("tenant-{index}")] });
        }
        route
    }

    /// The host of route `index`.
    #[must_use]
    pub fn route_host(&self, index: usize) -> String {
        if self.shape.one_host || self.is_on_one_prefix(index) {
            return "api.example.com".to_owned();
        }
        // Ten routes share a host, as the services of a team do. The first has one to itself.
        let group = index.div_ceil(10);
        let mut rng = self.rng("hosts", group);
        format!("{}-{group}.{}.example.com", pick(&mut rng, NOUNS), pick(&mut rng, WORDS))
    }

    /// The path of route `index` as configured.
    #[must_use]
    pub fn route_path(&self, index: usize) -> String {
        if self.is_on_one_prefix(index) {
            return "/shared/v1".to_owned();
        }
        let mut rng = self.rng("paths", index);
        let (noun, word) = (pick(&mut rng, NOUNS), pick(&mut rng, WORDS));
        if self.is_regex(index) {
            match index % 3 {
                0 => format!("~/{noun}/{index}/(?<id>[^/]+)$"),
                1 => format!("~/{noun}/{index}/(?<id>\\d+)/{word}$"),
                _ => format!("~/{noun}-{index}/(?<id>[^#?/]+)/{word}/(?<part>[^#?/]+)$"),
            }
        } else {
            format!("/{noun}/v{}/{word}-{index}", 1 + rng.next() % 3)
        }
    }

    /// A path that a request may use to meet route `index`.
    #[must_use]
    pub fn request_path(&self, index: usize) -> String {
        let path = self.route_path(index);
        match path.strip_prefix('~') {
            None => format!("{path}/42"),
            Some(regex) => regex
                .replace("(?<id>[^/]+)", "42")
                .replace("(?<id>\\d+)", "42")
                .replace("(?<id>[^#?/]+)", "42")
                .replace("(?<part>[^#?/]+)", "a7")
                .trim_end_matches('$')
                .to_owned(),
        }
    }

    /// A header that a request needs to meet route `index`, if one.
    #[must_use]
    pub fn request_header(&self, index: usize) -> Option<(&'static str, String)> {
        self.is_on_one_prefix(index).then(|| ("x-tenant", format!("tenant-{index}")))
    }

    /// Consumer `index`.
    #[must_use]
    pub fn consumer(&self, index: usize) -> Value {
        let mut rng = self.rng("consumers", index);
        json!({ "id": self.id("consumers", index), "username": format!("{}.{}-{index}", pick(&mut rng, WORDS), pick(&mut rng, NOUNS)),
                "custom_id": format!("cust-{:08x}-{index}", rng.next() as u32), "tags": self.tags("consumers", index, 20) })
    }

    /// Key `index`: the first consumer has many, the others share the rest.
    #[must_use]
    pub fn key(&self, index: usize) -> Value {
        let consumers = self.shape.consumers.max(1);
        let consumer = if index < self.shape.keys_of_one { 0 } else { index % consumers };
        json!({ "id": self.id("keyauth_credentials", index), "consumer": { "id": self.id("consumers", consumer) },
                "key": self.key_of(index), "tags": self.tags("keyauth_credentials", index, 20) })
    }

    /// The secret of key `index`.
    #[must_use]
    pub fn key_of(&self, index: usize) -> String {
        let mut rng = self.rng("keys", index);
        format!("{:016x}{:016x}", rng.next(), rng.next())
    }

    /// Plugin `index`: key-auth on every third route from route 2 on, request-termination with a trigger on services.
    #[must_use]
    pub fn plugin(&self, index: usize) -> Value {
        let id = self.id("plugins", index);
        let tags = self.tags("plugins", index, 14);
        if index.is_multiple_of(2) {
            let route = self.id("routes", self.protected_route(index));
            json!({ "id": id, "name": "key-auth", "route": { "id": route }, "config": { "key_names": ["apikey", "x-api-key"] }, "tags": tags })
        } else {
            let service = self.id("services", index % self.shape.services.max(1));
            json!({ "id": id, "name": "request-termination", "service": { "id": service },
                    "config": { "status_code": 503, "message": "down for maintenance", "trigger": "x-maintenance" }, "tags": tags })
        }
    }

    /// The route that key-auth instance `index` (an even plugin) protects.
    #[must_use]
    pub fn protected_route(&self, index: usize) -> usize {
        (2 + index / 2 * 3) % self.shape.routes.max(1)
    }

    fn is_on_one_prefix(&self, index: usize) -> bool {
        // Never route 0, which is the one that tests change.
        index > self.shape.regex_routes && index <= self.shape.regex_routes + self.shape.on_one_prefix
    }

    fn is_regex(&self, index: usize) -> bool {
        index > 0 && index <= self.shape.regex_routes
    }

    fn upstream_name(&self, index: usize) -> String {
        let mut rng = self.rng("upstream-names", index);
        format!("{}-{index}.{}.internal", pick(&mut rng, NOUNS), pick(&mut rng, WORDS))
    }

    fn tags(&self, kind: &str, index: usize, pairs: usize) -> Vec<String> {
        let mut rng = self.rng(&format!("tags/{kind}"), index);
        let mut tags = Vec::with_capacity(pairs * 2);
        for pair in 0..pairs {
            tags.push(format!("{}:{}-{}", pick(&mut rng, TAG_KEYS), pick(&mut rng, WORDS), pick(&mut rng, NOUNS)));
            tags.push(format!("{:x}{pair}{:08x}", rng.next(), rng.next() as u32));
        }
        tags.sort();
        tags.dedup();
        tags
    }

    fn rng(&self, subject: &str, index: usize) -> Rng {
        let mut state = self.seed ^ 0x9e37_79b9_7f4a_7c15;
        for byte in subject.bytes().chain(index.to_le_bytes()) {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
        }
        Rng(state)
    }
}

/// SplitMix64: small, seeded, good enough to make data with.
#[derive(Debug, Clone)]
pub struct Rng(pub u64);

impl Rng {
    /// The next 64 random bits.
    #[allow(clippy::should_implement_trait, reason = "not an iterator: it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

fn pick<'a>(rng: &mut Rng, words: &[&'a str]) -> &'a str {
    words[rng.below(words.len())]
}

const TAG_KEYS: &[&str] = &["team", "env", "owner", "region", "cost-centre", "tier", "release", "domain"];
const WORDS: &[&str] = &[
    "amber", "brisk", "calm", "dusty", "early", "fleet", "grand", "hazel", "ivory", "jolly", "keen", "lunar", "mellow",
    "noble", "ocean", "proud", "quiet", "rapid", "solar", "tidal", "urban", "vivid", "windy", "young", "zonal",
];
const NOUNS: &[&str] = &[
    "orders",
    "invoices",
    "payments",
    "customers",
    "sensors",
    "meters",
    "devices",
    "bookings",
    "flights",
    "tickets",
    "alerts",
    "reports",
    "sessions",
    "tokens",
    "users",
    "groups",
    "assets",
    "catalog",
    "carts",
    "shipments",
    "drivers",
    "vehicles",
    "tariffs",
    "readings",
    "sites",
    "gateways",
    "firmware",
    "jobs",
    "queues",
    "events",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn config(shape: Shape) -> Config {
        Config { shape, seed: 1, origin: ([127, 0, 0, 1], 9000).into() }
    }

    #[test]
    fn thirty_thousand_entities_are_about_thirty_megabytes() {
        let config = config(Shape::of(30_000));
        assert_eq!(config.shape.total(), 30_000);
        let megabytes = serde_json::to_string(&config.declarative()).unwrap().len() as f64 / 1e6;
        assert!((24.0..36.0).contains(&megabytes), "{megabytes} MB");
    }

    #[test]
    fn the_first_route_is_the_same_at_every_size() {
        assert_eq!(config(Shape::of(100)).route(0)["paths"], config(Shape::of(30_000)).route(0)["paths"]);
        assert_eq!(config(Shape::of(100)).route(0), config(Shape::of(30_000)).route(0));
    }

    #[test]
    fn a_mix_has_as_many_entities_as_were_asked_for() {
        for total in [30, 100, 101, 1_000, 2_999, 30_000] {
            assert_eq!(Shape::of(total).total(), total);
        }
    }

    #[test]
    fn one_host_has_ten_thousand_routes() {
        let config = config(Shape::on_one_host(30_000));
        assert_eq!((config.shape.routes, config.shape.total()), (10_000, 30_000));
        assert!((0..10_000).all(|index| config.route_host(index) == "api.example.com"));
    }
}
