//! Certificates: certificate chains with their private keys, for TLS from clients and to services.

use super::{CREATED_AT, ID, TAGS, UPDATED_AT, def};
use crate::Id;
use crate::body::{Object, Tags, body};
use crate::kind::Facts;
use crate::schema::{CheckCx, EntityCheck, Field, Rule, Schema, Violations, pem};
use serde_json::Value;

body! {
    /// A certificate and its key, and perhaps a second pair of another key type.
    pub struct Certificate {
        /// Its id.
        pub id: Id,
        /// Seconds since 1970.
        pub created_at: i64,
        /// Seconds since 1970.
        pub updated_at: i64,
        /// PEM: the certificate and those that lead to its root.
        pub cert: String,
        /// PEM: the private key.
        pub key: String,
        /// PEM: the second certificate.
        pub cert_alt: Option<String>,
        /// PEM: its key.
        pub key_alt: Option<String>,
        /// Tags.
        pub tags: Tags,
    }
}

const CERT: &[Rule] = &[Rule::Text(pem::certificate)];
const KEY: &[Rule] = &[Rule::Text(pem::private_key)];

/// Fields and checks. The Admin API's `snis` are entities of their own and are taken off before.
pub static SCHEMA: Schema = Schema {
    name: "certificates",
    endpoint_key: None,
    cache_key: &[],
    fields: &[
        ID,
        CREATED_AT,
        UPDATED_AT,
        Field::string("cert").rules(CERT).required().referenceable(),
        Field::string("key").rules(KEY).required().secret().referenceable(),
        Field::string("cert_alt").rules(CERT).referenceable(),
        Field::string("key_alt").rules(KEY).secret().referenceable(),
        TAGS,
    ],
    checks: &[
        EntityCheck::MutuallyRequired(&["cert_alt", "key_alt"]),
        EntityCheck::Custom {
            fields: &["cert", "key"],
            check: |cx, entity, found| pair(cx, entity, "cert", "key", found),
        },
        EntityCheck::Custom {
            fields: &["cert_alt", "key_alt"],
            check: |cx, entity, found| pair(cx, entity, "cert_alt", "key_alt", found),
        },
        EntityCheck::Custom { fields: &["cert", "cert_alt"], check: alternates },
    ],
    prepare: None,
    subschema: None,
};

/// The certificate and key parse and belong together.
fn pair(cx: &CheckCx<'_>, entity: &Object, cert_field: &str, key_field: &str, found: &mut Violations) {
    let (Some(checks), Some(cert), Some(key)) = (
        cx.certificates,
        entity.get(cert_field).and_then(Value::as_str),
        entity.get(key_field).and_then(Value::as_str),
    ) else {
        return;
    };
    let parsed = [(cert_field, checks.certificate(cert)), (key_field, checks.private_key(key))];
    let mut parses = true;
    for (field, result) in parsed {
        if let Err(message) = result {
            found.add(field, message);
            parses = false;
        }
    }
    if parses && let Err(message) = checks.pair(cert, key) {
        found.add_entity(message);
    }
}

/// The two certificates are of different types.
fn alternates(cx: &CheckCx<'_>, entity: &Object, found: &mut Violations) {
    if let (Some(checks), Some(cert), Some(other)) =
        (cx.certificates, entity.get("cert").and_then(Value::as_str), entity.get("cert_alt").and_then(Value::as_str))
        && let Err(message) = checks.alternates(cert, other)
    {
        found.add_entity(message);
    }
}

fn facts(_: &Certificate) -> Facts {
    Facts::default()
}

def!(Certificate, Certificate, "certificates", "certificates", "certificates");
