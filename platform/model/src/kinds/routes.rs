//! Routes: which requests go to which service.

use super::{CREATED_AT, ID, IP_PORT, NAME, PROTOCOLS, Protocol, TAGS, UPDATED_AT, def};
use crate::body::{Element, ForeignKey, Tags, body, words};
use crate::kind::Facts;
use crate::schema::{EntityCheck, Field, Literal, Rule, Schema, Then, Type, When, route, text};
use crate::{Id, Kind};
use std::collections::BTreeMap;

words! {
    /// How the service's path and the rest of the request's path are joined.
    pub enum PathHandling {
        /// With exactly one slash between them.
        V0 = "v0",
        /// As they are.
        V1 = "v1",
    }
}

body! {
    /// Where a connection comes from or goes to; at least one of the two is set.
    pub struct IpPort {
        /// An address or a CIDR range.
        pub ip: Option<String>,
        /// A port.
        pub port: Option<u16>,
    }

    /// A rule that picks requests for a service.
    pub struct Route {
        /// Its id.
        pub id: Id,
        /// Seconds since 1970.
        pub created_at: i64,
        /// Seconds since 1970.
        pub updated_at: i64,
        /// Unique.
        pub name: Option<String>,
        /// What requests may come over.
        pub protocols: Vec<Protocol> = vec![Protocol::Http, Protocol::Https],
        /// What answers a cleartext request to a route that wants TLS.
        pub https_redirect_status_code: u16 = 426,
        /// Whether the matched prefix is taken off the path.
        pub strip_path: bool = true,
        /// Whether the service sees the client's `Host`.
        pub preserve_host: bool,
        /// Kong's; bodies are always streamed here.
        pub request_buffering: bool = true,
        /// Kong's; bodies are always streamed here.
        pub response_buffering: bool = true,
        /// Tags.
        pub tags: Tags,
        /// Where requests go; without one, a plugin must answer.
        pub service: Option<ForeignKey>,
        /// TLS server names.
        pub snis: Option<Vec<String>>,
        /// For TCP and TLS: whence.
        pub sources: Option<Vec<IpPort>>,
        /// For TCP and TLS: to where.
        pub destinations: Option<Vec<IpPort>>,
        /// HTTP methods.
        pub methods: Option<Vec<String>>,
        /// Hosts, with at most one wildcard each.
        pub hosts: Option<Vec<String>>,
        /// Prefixes, or regexes that begin with `~`.
        pub paths: Option<Vec<String>>,
        /// Header names to values; a single value may be a regex that begins with `~*`.
        pub headers: Option<BTreeMap<String, Vec<String>>>,
        /// Order among regex paths, high first.
        pub regex_priority: Option<i64> = Some(0),
        /// How paths are joined.
        pub path_handling: Option<PathHandling> = Some(PathHandling::V0),
    }
}

impl Element for IpPort {}

/// Protocols whose routes may name TLS server names.
const WITH_SNI: &[&str] = &["grpcs", "https", "tls", "tls_passthrough"];

/// Fields and checks.
pub static SCHEMA: Schema = Schema {
    name: "routes",
    endpoint_key: Some("name"),
    cache_key: &[],
    fields: &[
        ID,
        CREATED_AT,
        UPDATED_AT,
        NAME,
        PROTOCOLS.rules(&[Rule::LenMin(1)]).default(Literal::Texts(&["http", "https"])),
        Field::integer("https_redirect_status_code", &[Rule::OneOfInts(&[426, 301, 302, 307, 308])])
            .required()
            .default(Literal::Int(426)),
        Field::boolean("strip_path").required().default(Literal::Bool(true)),
        Field::boolean("preserve_host").required().default(Literal::Bool(false)),
        Field::boolean("request_buffering").required().default(Literal::Bool(true)),
        Field::boolean("response_buffering").required().default(Literal::Bool(true)),
        TAGS,
        Field::foreign("service", "services"),
        Field::set("snis", &Field::string("").rules(&[Rule::Text(text::wildcard_host)])),
        Field::set("sources", &IP_PORT),
        Field::set("destinations", &IP_PORT),
        Field::set("methods", &Field::string("").rules(&[Rule::Capitals])),
        Field::array("hosts", &Field::string("").rules(&[Rule::Text(text::route_host)])),
        Field::array("paths", &Field::string("").rules(&[Rule::Text(route::path)])),
        Field::new(
            "headers",
            Type::Map(
                &Field::string("").rules(&[Rule::Text(route::header_name)]),
                &Field::array("", &Field::string("")),
            ),
        ),
        Field::integer("regex_priority", &[]).default(Literal::Int(0)),
        Field::word("path_handling", &[Rule::OneOf(PathHandling::WORDS)]).default(Literal::Text("v0")),
    ],
    checks: &[
        EntityCheck::Conditional {
            if_field: "protocols",
            when: When::NoElementOf(WITH_SNI),
            then_field: "snis",
            then: Then::Empty,
            message: Some("'snis' can only be set when 'protocols' is 'grpcs', 'https', 'tls' or 'tls_passthrough'"),
        },
        EntityCheck::Custom { fields: &["protocols"], check: route::one_sort },
        EntityCheck::Custom { fields: &["protocols"], check: route::says_which },
        EntityCheck::Custom { fields: &["headers"], check: route::header_regexes },
    ],
    prepare: None,
    subschema: Some(route::subschema),
};

fn facts(route: &Route) -> Facts {
    Facts::default().refers("service", Kind::Service, route.service, false).unique("name", route.name.clone())
}

def!(Route, Route, "routes", "routes", "routes");
