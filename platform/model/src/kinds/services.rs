//! Services: where requests go.

use super::{CREATED_AT, ID, NAME, PORT, PROTOCOL, Protocol, TAGS, UPDATED_AT, def};
use crate::body::{ForeignKey, Tags, body};
use crate::kind::Facts;
use crate::schema::{EntityCheck, Field, Literal, Rule, Schema, Then, When, text, url};
use crate::{Id, Kind};

body! {
    /// An upstream application.
    pub struct Service {
        /// Its id.
        pub id: Id,
        /// Seconds since 1970.
        pub created_at: i64,
        /// Seconds since 1970.
        pub updated_at: i64,
        /// Unique.
        pub name: Option<String>,
        /// How often a failed request is tried again.
        pub retries: Option<u16> = Some(5),
        /// What the application speaks.
        pub protocol: Protocol = Protocol::Http,
        /// Its host, or the name of an upstream.
        pub host: String,
        /// Its port.
        pub port: u16 = 80,
        /// Put before the path of requests.
        pub path: Option<String>,
        /// Milliseconds.
        pub connect_timeout: Option<u32> = Some(60_000),
        /// Milliseconds between two writes.
        pub write_timeout: Option<u32> = Some(60_000),
        /// Milliseconds between two reads.
        pub read_timeout: Option<u32> = Some(60_000),
        /// Tags.
        pub tags: Tags,
        /// Shown to the application.
        pub client_certificate: Option<ForeignKey>,
        /// Whether the application's certificate is verified.
        pub tls_verify: Option<bool>,
        /// How long its chain may be.
        pub tls_verify_depth: Option<u16>,
        /// Whom to trust, instead of all `ca_certificates`.
        pub ca_certificates: Option<Vec<Id>>,
        /// Whether it and its routes are in force.
        pub enabled: bool = true,
    }
}

const TIMEOUT: &[Rule] = &[Rule::Between(1, 2_147_483_646)];
const NOT_TLS: When = When::NotOneOf(&["https", "tls"]);

/// Fields and checks.
pub static SCHEMA: Schema = Schema {
    name: "services",
    endpoint_key: Some("name"),
    cache_key: &[],
    fields: &[
        ID,
        CREATED_AT,
        UPDATED_AT,
        NAME,
        Field::integer("retries", &[Rule::Between(0, 32767)]).default(Literal::Int(5)),
        PROTOCOL.required().default(Literal::Text("http")),
        Field::string("host").rules(&[Rule::Text(text::host)]).required(),
        PORT.required().default(Literal::Int(80)),
        Field::string("path").rules(text::PATH),
        Field::integer("connect_timeout", TIMEOUT).default(Literal::Int(60_000)),
        Field::integer("write_timeout", TIMEOUT).default(Literal::Int(60_000)),
        Field::integer("read_timeout", TIMEOUT).default(Literal::Int(60_000)),
        TAGS,
        Field::foreign("client_certificate", "certificates"),
        Field::boolean("tls_verify"),
        Field::integer("tls_verify_depth", &[Rule::Between(0, 64)]),
        Field::array("ca_certificates", &Field::string("").rules(&[Rule::Uuid])),
        Field::boolean("enabled").required().default(Literal::Bool(true)),
    ],
    checks: &[
        EntityCheck::Conditional {
            if_field: "protocol",
            when: When::OneOf(&["tcp", "tls", "udp", "grpc", "grpcs"]),
            then_field: "path",
            then: Then::Null,
            message: None,
        },
        tls_only("client_certificate"),
        tls_only("tls_verify"),
        tls_only("tls_verify_depth"),
        tls_only("ca_certificates"),
    ],
    prepare: Some(url::expand),
    subschema: None,
};

const fn tls_only(then_field: &'static str) -> EntityCheck {
    EntityCheck::Conditional { if_field: "protocol", when: NOT_TLS, then_field, then: Then::Null, message: None }
}

fn facts(service: &Service) -> Facts {
    let mut facts = Facts::default()
        .refers("client_certificate", Kind::Certificate, service.client_certificate, false)
        .unique("name", service.name.clone());
    // Kong keeps these as bare ids, and refuses to delete a CA certificate that a service names.
    for id in service.ca_certificates.iter().flatten() {
        facts = facts.refers("ca_certificates", Kind::CaCertificate, Some(ForeignKey { id: *id }), false);
    }
    facts
}

def!(Service, Service, "services", "services", "services");
