//! Writes what the shared dictionary (codec 1, `src/pack/dictionary`) was trained on: entities as they stand in a DELTA, one file
//! each, made up from words that configurations of gateways use. The dictionary of a codec never changes once it was
//! released, since both ends must hold the same bytes: this is here to tell where it comes from, and to make the next one.
//! With a declarative FILE, that file's entities instead, to see what a dictionary makes of others than those it knows.
//!
//! ```sh
//! cargo run -p wire --example dictionary SAMPLES [FILE] && zstd --train -r SAMPLES --maxdict=12288 --dictID=1 -o DICTIONARY
//! ```

use model::Id;
use model::declarative;
use model::schema::CheckCx;
use serde_json::{Value, json};
use wire::delta::Builder;

/// How many entities of each of the more frequent kinds.
const SAMPLES: usize = 600;
/// The one version of all samples.
const VERSION: u64 = 1;
/// Bytes of a DELTA before its operations, at that version.
const HEAD_BYTES: usize = 1 + 1 + 8;

const TEAMS: &[&str] = &[
    "platform",
    "payments",
    "identity",
    "mobile",
    "web",
    "data",
    "iot",
    "telemetry",
    "billing",
    "search",
    "logistics",
    "partner",
];
const THINGS: &[&str] = &[
    "users",
    "accounts",
    "orders",
    "products",
    "inventory",
    "sessions",
    "events",
    "metrics",
    "devices",
    "messages",
    "files",
    "reports",
    "invoices",
    "notifications",
    "customers",
    "catalog",
    "profiles",
    "tokens",
    "jobs",
    "status",
];
const TAGS: &[&str] = &[
    "env:production",
    "env:staging",
    "env:dev",
    "public",
    "internal",
    "v1",
    "v2",
    "managed-by:deck",
    "critical",
    "region:eu-west-1",
    "region:us-east-1",
    "tier:gold",
    "owner:platform",
    "team:payments",
    "deprecated",
];
const TAILS: &[&str] = &[
    "",
    "/(?<id>[^/]+)$",
    "/(?<id>\\d+)$",
    "/(?<id>[^#?/]+)$",
    "/v1",
    "/v2",
    "/health",
    "/api/v1",
    "/(?<id>[^/]+)/items$",
];
const METHODS: &[&[&str]] = &[
    &[],
    &["GET"],
    &["GET", "POST"],
    &["GET", "POST", "PUT", "DELETE"],
    &["POST"],
    &["GET", "HEAD", "OPTIONS"],
    &["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
];

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

    fn one_in(&mut self, chances: u64) -> bool {
        self.next().is_multiple_of(chances)
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[(self.next() % of.len() as u64) as usize]
    }

    fn uuid(&mut self) -> String {
        let bits = u128::from(self.next()) << 64 | u128::from(self.next());
        Id((bits & !(0xf << 76) & !(0xc << 60)) | 4 << 76 | 8 << 60).to_string()
    }

    fn tags(&mut self) -> Vec<&'static str> {
        let mut tags: Vec<&str> = (0..self.next() % 5).map(|_| self.pick(TAGS)).collect();
        tags.sort_unstable();
        tags.dedup();
        tags
    }

    fn host(&mut self) -> String {
        match self.next() % 5 {
            0 => format!("{}.example.com", self.pick(THINGS)),
            1 => format!("api.{}.example.com", self.pick(TEAMS)),
            2 => format!("{}.{}.svc.cluster.local", self.pick(THINGS), self.pick(TEAMS)),
            3 => format!("{}.internal", self.pick(THINGS)),
            _ => format!("10.0.{}.{}", self.next() % 256, self.next() % 256),
        }
    }
}

fn service(rng: &mut Rng, index: usize) -> Value {
    let protocol = if rng.one_in(2) { "http" } else { "https" };
    let mut service = json!({ "id": rng.uuid(), "name": format!("{}-{}-{index}", rng.pick(TEAMS), rng.pick(THINGS)), "protocol": protocol,
        "host": rng.host(), "port": if protocol == "https" { 443 } else { 8080 }, "tags": rng.tags() });
    if rng.one_in(2) {
        service["path"] = json!(format!("/{}", rng.pick(THINGS)));
    }
    if rng.one_in(4) {
        service["read_timeout"] = json!(30_000);
        service["connect_timeout"] = json!(5_000);
    }
    service
}

fn route(rng: &mut Rng, service: &Value, index: usize) -> Value {
    let thing = rng.pick(THINGS);
    let tail = rng.pick(TAILS);
    let path = if tail.ends_with('$') { format!("~/{thing}{tail}") } else { format!("/{thing}{tail}") };
    let mut route = json!({ "id": rng.uuid(), "name": format!("{}-{thing}-{index}", rng.pick(TEAMS)), "service": { "id": service },
        "paths": [path], "tags": rng.tags() });
    let methods = rng.pick(METHODS);
    if !methods.is_empty() {
        route["methods"] = json!(methods);
    }
    if rng.one_in(2) {
        route["hosts"] = json!([format!("api.{}.example.com", rng.pick(TEAMS))]);
    }
    if rng.one_in(3) {
        route["strip_path"] = json!(false);
        route["preserve_host"] = json!(true);
    }
    if rng.one_in(3) {
        route["protocols"] = json!(["https"]);
        route["https_redirect_status_code"] = json!(308);
    }
    if rng.one_in(8) {
        route["headers"] = json!({ "x-api-version": ["v1"], "x-tenant": [rng.pick(TEAMS)] });
    }
    route
}

fn plugin(rng: &mut Rng, of: &str, owner: &Value, number: usize) -> Value {
    let (name, config) = match number % 3 {
        0 => ("key-auth", json!({ "key_names": ["apikey"], "hide_credentials": true })),
        1 => ("jwt", json!({ "claims_to_verify": ["exp"], "key_claim_name": "iss" })),
        _ => ("request-termination", json!({ "status_code": 503, "message": "Service unavailable" })),
    };
    json!({ "id": rng.uuid(), "name": name, of: { "id": owner }, "config": config, "tags": rng.tags() })
}

fn configuration(rng: &mut Rng) -> Value {
    let mut all = json!({ "_format_version": "3.0" });
    let services: Vec<Value> = (0..SAMPLES).map(|index| service(rng, index)).collect();
    let consumers: Vec<Value> = (0..SAMPLES)
        .map(|index| {
            json!({ "id": rng.uuid(), "username": format!("{}-{}-{index}", rng.pick(TEAMS), rng.pick(THINGS)),
                "custom_id": format!("customer-{:06}", rng.next() % 1_000_000), "tags": rng.tags() })
        })
        .collect();
    let upstreams: Vec<Value> = (0..SAMPLES / 4)
        .map(|index| json!({ "id": rng.uuid(), "name": format!("{}-{index}.upstream", rng.pick(THINGS)), "tags": rng.tags() }))
        .collect();
    let of = |list: &[Value], rng: &mut Rng| list[(rng.next() % list.len() as u64) as usize]["id"].clone();
    let routes: Vec<Value> = (0..SAMPLES)
        .map(|index| {
            let service = of(&services, rng);
            route(rng, &service, index)
        })
        .collect();
    all["targets"] = (0..SAMPLES / 2)
        .map(|index| {
            let target = format!("10.{}.{}.{}:{}", index % 4, index / 250, index % 250 + 1, rng.pick(&["80", "8080", "443", "3000"]));
            json!({ "id": rng.uuid(), "upstream": { "id": of(&upstreams, rng) }, "target": target, "weight": 100, "tags": rng.tags() })
        })
        .collect();
    all["keyauth_credentials"] = (0..SAMPLES)
        .map(|_| {
            let key = format!("{:016x}{:016x}", rng.next(), rng.next());
            json!({ "id": rng.uuid(), "consumer": { "id": of(&consumers, rng) }, "key": key, "tags": rng.tags() })
        })
        .collect();
    all["jwt_secrets"] = (0..SAMPLES / 4)
        .map(|_| {
            let (key, secret) = (format!("{:016x}{:016x}", rng.next(), rng.next()), format!("{:016x}{:016x}", rng.next(), rng.next()));
            json!({ "id": rng.uuid(), "consumer": { "id": of(&consumers, rng) }, "key": key, "secret": secret, "algorithm": "HS256" })
        })
        .collect();
    // One plugin of a name for each owner.
    all["plugins"] = (0..SAMPLES / 2)
        .map(|index| {
            let (of, owner) = if index.is_multiple_of(2) {
                ("route", &routes[index]["id"])
            } else {
                ("service", &services[index]["id"])
            };
            plugin(rng, of, owner, index)
        })
        .collect();
    (all["services"], all["routes"]) = (services.into(), routes.into());
    (all["consumers"], all["upstreams"]) = (consumers.into(), upstreams.into());
    all
}

fn main() {
    let Some(dir) = std::env::args_os().nth(1).map(std::path::PathBuf::from) else {
        eprintln!("where to? see the head of this file");
        std::process::exit(64);
    };
    let text = match std::env::args_os().nth(2) {
        Some(file) => std::fs::read_to_string(file).expect("the file can be read"),
        None => configuration(&mut Rng(1)).to_string(),
    };
    let cx = CheckCx { now_ms: 1_790_000_000_000, new_id: &Id::random, certificates: None, keeps_updated_at: true };
    let declared = declarative::read(&text, None, &cx).expect("entities are right");
    std::fs::create_dir_all(&dir).expect("the folder can be made");
    for (index, record) in declared.to_records(VERSION).into_iter().enumerate() {
        let mut builder = Builder::new(0, VERSION, 0);
        builder.put(&record);
        let step = builder.finish().expect("one entity fits a delta");
        std::fs::write(dir.join(format!("{index:05}")), &step.payload()[HEAD_BYTES..])
            .expect("the folder can be written");
    }
}
