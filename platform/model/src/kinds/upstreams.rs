//! Upstreams: groups of targets behind one host name, with balancing and health checks.

use super::{CREATED_AT, ID, TAGS, UPDATED_AT, def};
use crate::body::{ForeignKey, Number, Tags, body, words};
use crate::kind::Facts;
use crate::schema::{EntityCheck, Field, Literal, Rule, Schema, Then, Type, When, text};
use crate::{Id, Kind};
use std::collections::BTreeMap;

words! {
    /// How a target is picked.
    pub enum Algorithm {
        /// By a hash of the request.
        ConsistentHashing = "consistent-hashing",
        /// The one with the fewest requests under way.
        LeastConnections = "least-connections",
        /// In turn.
        RoundRobin = "round-robin",
        /// The one that answered fastest of late.
        Latency = "latency",
    }

    /// What is hashed.
    pub enum HashOn {
        /// Nothing.
        None = "none",
        /// The consumer's id.
        Consumer = "consumer",
        /// The client's address.
        Ip = "ip",
        /// A header.
        Header = "header",
        /// A cookie, made if missing.
        Cookie = "cookie",
        /// The path.
        Path = "path",
        /// A query argument.
        QueryArg = "query_arg",
        /// A capture of the route's regex path.
        UriCapture = "uri_capture",
    }

    /// How a target is probed or judged.
    pub enum CheckType {
        /// By connections.
        Tcp = "tcp",
        /// By HTTP answers.
        Http = "http",
        /// By HTTP answers over TLS.
        Https = "https",
        /// By the gRPC health protocol.
        Grpc = "grpc",
        /// By the gRPC health protocol over TLS.
        Grpcs = "grpcs",
    }
}

const PASSIVE_HEALTHY: &[u16] =
    &[200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304, 305, 306, 307, 308];
const PASSIVE_UNHEALTHY: &[u16] = &[429, 500, 503];
const ACTIVE_HEALTHY: &[u16] = &[200, 302];
const ACTIVE_UNHEALTHY: &[u16] = &[429, 404, 500, 501, 502, 503, 504, 505];

body! {
    /// When traffic shows a target to be unhealthy; a count of 0 switches itself off.
    pub struct PassiveUnhealthy {
        /// Bad answers in a row.
        pub http_failures: Option<u16> = Some(0),
        /// Timeouts in a row.
        pub timeouts: Option<u16> = Some(0),
        /// Failed connections in a row.
        pub tcp_failures: Option<u16> = Some(0),
        /// Which answers are bad.
        pub http_statuses: Option<Vec<u16>> = Some(PASSIVE_UNHEALTHY.to_vec()),
    }

    /// When traffic shows a target to be healthy.
    pub struct PassiveHealthy {
        /// Good answers in a row; 0 switches off.
        pub successes: Option<u16> = Some(0),
        /// Which answers are good.
        pub http_statuses: Option<Vec<u16>> = Some(PASSIVE_HEALTHY.to_vec()),
    }

    /// Health judged by traffic.
    pub struct Passive {
        /// What makes a target unhealthy.
        pub unhealthy: Option<PassiveUnhealthy> = Some(PassiveUnhealthy::default()),
        /// What makes it healthy.
        pub healthy: Option<PassiveHealthy> = Some(PassiveHealthy::default()),
        /// What is looked at.
        pub r#type: Option<CheckType> = Some(CheckType::Http),
    }

    /// When probes show a target to be healthy.
    pub struct ActiveHealthy {
        /// Good answers in a row; 0 switches off.
        pub successes: Option<u16> = Some(0),
        /// Seconds between probes of healthy targets; 0 switches off.
        pub interval: Option<Number> = Some(Number::Integer(0)),
        /// Which answers are good.
        pub http_statuses: Option<Vec<u16>> = Some(ACTIVE_HEALTHY.to_vec()),
    }

    /// When probes show a target to be unhealthy; a count of 0 switches itself off.
    pub struct ActiveUnhealthy {
        /// Bad answers in a row.
        pub http_failures: Option<u16> = Some(0),
        /// Seconds between probes of unhealthy targets; 0 switches off.
        pub interval: Option<Number> = Some(Number::Integer(0)),
        /// Which answers are bad.
        pub http_statuses: Option<Vec<u16>> = Some(ACTIVE_UNHEALTHY.to_vec()),
        /// Failed connections in a row.
        pub tcp_failures: Option<u16> = Some(0),
        /// Timeouts in a row.
        pub timeouts: Option<u16> = Some(0),
    }

    /// Health judged by probes.
    pub struct Active {
        /// The server name of probes over TLS.
        pub https_sni: Option<String>,
        /// Whether the certificate is verified.
        pub https_verify_certificate: bool = true,
        /// What makes a target healthy.
        pub healthy: Option<ActiveHealthy> = Some(ActiveHealthy::default()),
        /// Seconds until a probe is given up.
        pub timeout: Option<Number> = Some(Number::Integer(1)),
        /// How probes are sent.
        pub r#type: Option<CheckType> = Some(CheckType::Http),
        /// What makes a target unhealthy.
        pub unhealthy: Option<ActiveUnhealthy> = Some(ActiveUnhealthy::default()),
        /// Headers of probes.
        pub headers: Option<BTreeMap<String, Vec<String>>>,
        /// How many targets are probed at once.
        pub concurrency: Option<u32> = Some(10),
        /// The path of probes.
        pub http_path: Option<String> = Some("/".to_owned()),
    }

    /// Health checks.
    pub struct Healthchecks {
        /// By traffic.
        pub passive: Option<Passive> = Some(Passive::default()),
        /// By probes.
        pub active: Option<Active> = Some(Active::default()),
        /// Percent of the weight that must be available for the upstream to be healthy.
        pub threshold: Option<Number> = Some(Number::Integer(0)),
    }

    /// A virtual host name with targets.
    pub struct Upstream {
        /// Its id.
        pub id: Id,
        /// Seconds since 1970.
        pub created_at: i64,
        /// The host name that services use; unique.
        pub name: String,
        /// Seconds since 1970.
        pub updated_at: i64,
        /// How a target is picked.
        pub algorithm: Option<Algorithm> = Some(Algorithm::RoundRobin),
        /// What is hashed.
        pub hash_on: Option<HashOn> = Some(HashOn::None),
        /// What is hashed where that is missing.
        pub hash_fallback: Option<HashOn> = Some(HashOn::None),
        /// Which header.
        pub hash_on_header: Option<String>,
        /// Which header, for the fallback.
        pub hash_fallback_header: Option<String>,
        /// Which cookie.
        pub hash_on_cookie: Option<String>,
        /// The path of the cookie when it is made.
        pub hash_on_cookie_path: Option<String> = Some("/".to_owned()),
        /// Which query argument.
        pub hash_on_query_arg: Option<String>,
        /// Which query argument, for the fallback.
        pub hash_fallback_query_arg: Option<String>,
        /// Which capture.
        pub hash_on_uri_capture: Option<String>,
        /// Which capture, for the fallback.
        pub hash_fallback_uri_capture: Option<String>,
        /// Places on the wheel of consistent hashing.
        pub slots: Option<u32> = Some(10_000),
        /// Health checks.
        pub healthchecks: Option<Healthchecks> = Some(Healthchecks::default()),
        /// Tags.
        pub tags: Tags,
        /// The `Host` that targets see.
        pub host_header: Option<String>,
        /// Shown to targets.
        pub client_certificate: Option<ForeignKey>,
        /// Whether SRV names are used for ports and server names.
        pub use_srv_name: Option<bool> = Some(false),
    }
}

const COUNT: &[Rule] = &[Rule::Between(0, 255)];
const SECONDS: &[Rule] = &[Rule::Between(0, 65535)];
const TYPE: Field = Field::word("type", &[Rule::OneOf(CheckType::WORDS)]).default(Literal::Text("http"));
const HASH_ON: Field = Field::word("hash_on", &[Rule::OneOf(HashOn::WORDS)]).default(Literal::Text("none"));
const HTTP_STATUSES: Field = Field::array("http_statuses", &Field::integer("", &[Rule::Between(100, 999)]));

const fn count(name: &'static str) -> Field {
    Field::integer(name, COUNT).default(Literal::Int(0))
}

const fn interval() -> Field {
    Field::number("interval", SECONDS).default(Literal::Int(0))
}

const PASSIVE: &[Field] = &[
    Field::record(
        "unhealthy",
        &[
            count("http_failures"),
            count("timeouts"),
            count("tcp_failures"),
            HTTP_STATUSES.default(Literal::Ints(PASSIVE_UNHEALTHY)),
        ],
    ),
    Field::record("healthy", &[count("successes"), HTTP_STATUSES.default(Literal::Ints(PASSIVE_HEALTHY))]),
    TYPE,
];

const ACTIVE: &[Field] = &[
    Field::string("https_sni").rules(&[Rule::Text(text::sni)]),
    Field::boolean("https_verify_certificate").required().default(Literal::Bool(true)),
    Field::record("healthy", &[count("successes"), interval(), HTTP_STATUSES.default(Literal::Ints(ACTIVE_HEALTHY))]),
    Field::number("timeout", SECONDS).default(Literal::Int(1)),
    TYPE,
    Field::record(
        "unhealthy",
        &[
            count("http_failures"),
            interval(),
            HTTP_STATUSES.default(Literal::Ints(ACTIVE_UNHEALTHY)),
            count("tcp_failures"),
            count("timeouts"),
        ],
    ),
    Field::new(
        "headers",
        Type::Map(&Field::string("").rules(&[Rule::Text(text::header_name)]), &Field::array("", &Field::string(""))),
    ),
    Field::integer("concurrency", &[Rule::Between(1, 2_147_483_648)]).default(Literal::Int(10)),
    Field::string("http_path").rules(text::PATH).default(Literal::Text("/")),
];

const HEALTHCHECKS: &[Field] = &[
    Field::record("passive", PASSIVE),
    Field::record("active", ACTIVE),
    Field::number("threshold", &[Rule::Between(0, 100)]).default(Literal::Int(0)),
];

/// Fields and checks.
pub static SCHEMA: Schema = Schema {
    name: "upstreams",
    endpoint_key: Some("name"),
    cache_key: &[],
    fields: &[
        ID,
        CREATED_AT,
        Field::string("name").rules(&[Rule::Text(text::upstream_name)]).required().unique(),
        UPDATED_AT,
        Field::word("algorithm", &[Rule::OneOf(Algorithm::WORDS)]).default(Literal::Text("round-robin")),
        HASH_ON,
        Field { name: "hash_fallback", ..HASH_ON },
        Field::string("hash_on_header").rules(&[Rule::Text(text::header_name)]),
        Field::string("hash_fallback_header").rules(&[Rule::Text(text::header_name)]),
        Field::string("hash_on_cookie").rules(&[Rule::Text(text::cookie_name)]),
        Field::string("hash_on_cookie_path").rules(text::PATH).default(Literal::Text("/")),
        Field::string("hash_on_query_arg").rules(&[Rule::LenMin(1)]),
        Field::string("hash_fallback_query_arg").rules(&[Rule::LenMin(1)]),
        Field::string("hash_on_uri_capture").rules(&[Rule::LenMin(1)]),
        Field::string("hash_fallback_uri_capture").rules(&[Rule::LenMin(1)]),
        Field::integer("slots", &[Rule::Between(10, 65536)]).default(Literal::Int(10_000)),
        Field::record("healthchecks", HEALTHCHECKS),
        TAGS,
        Field::string("host_header").rules(&[Rule::Text(text::host_with_optional_port)]),
        Field::foreign("client_certificate", "certificates"),
        Field::boolean("use_srv_name").default(Literal::Bool(false)),
    ],
    checks: &[
        needs("hash_on", "header", "hash_on_header"),
        needs("hash_fallback", "header", "hash_fallback_header"),
        needs("hash_on", "cookie", "hash_on_cookie"),
        needs("hash_fallback", "cookie", "hash_on_cookie"),
        fallback("none", &["none"]),
        fallback("cookie", &["none"]),
        fallback("consumer", &["none", "ip", "header", "cookie", "path", "query_arg", "uri_capture"]),
        fallback("ip", &["none", "consumer", "header", "cookie", "path", "query_arg", "uri_capture"]),
        fallback("path", &["none", "consumer", "header", "cookie", "query_arg", "ip", "uri_capture"]),
        EntityCheck::Distinct(&["hash_on_header", "hash_fallback_header"]),
        needs("hash_on", "query_arg", "hash_on_query_arg"),
        needs("hash_fallback", "query_arg", "hash_fallback_query_arg"),
        EntityCheck::Distinct(&["hash_on_query_arg", "hash_fallback_query_arg"]),
        needs("hash_on", "uri_capture", "hash_on_uri_capture"),
        needs("hash_fallback", "uri_capture", "hash_fallback_uri_capture"),
        EntityCheck::Distinct(&["hash_on_uri_capture", "hash_fallback_uri_capture"]),
    ],
    prepare: None,
    subschema: None,
};

/// `then_field` is required where `if_field` is `word`.
const fn needs(if_field: &'static str, word: &'static str, then_field: &'static str) -> EntityCheck {
    EntityCheck::Conditional { if_field, when: When::Is(word), then_field, then: Then::Required, message: None }
}

/// What `hash_fallback` may be where `hash_on` is `word`.
const fn fallback(word: &'static str, words: &'static [&'static str]) -> EntityCheck {
    EntityCheck::Conditional {
        if_field: "hash_on",
        when: When::Is(word),
        then_field: "hash_fallback",
        then: Then::OneOf(words),
        message: None,
    }
}

fn facts(upstream: &Upstream) -> Facts {
    Facts::default()
        .refers("client_certificate", Kind::Certificate, upstream.client_certificate, false)
        .unique("name", Some(upstream.name.clone()))
}

def!(Upstream, Upstream, "upstreams", "upstreams", "upstreams");
