//! CA certificates: whom to trust.

use super::{CREATED_AT, ID, TAGS, UPDATED_AT, def};
use crate::Id;
use crate::body::{Object, Tags, body};
use crate::kind::Facts;
use crate::schema::{CheckCx, EntityCheck, Field, Rule, Schema, Violations, pem};
use serde_json::Value;

body! {
    /// One trusted certificate authority.
    pub struct CaCertificate {
        /// Its id.
        pub id: Id,
        /// Seconds since 1970.
        pub created_at: i64,
        /// Seconds since 1970.
        pub updated_at: i64,
        /// PEM, one certificate.
        pub cert: String,
        /// SHA-256 of the certificate in hex; unique.
        pub cert_digest: Option<String>,
        /// Tags.
        pub tags: Tags,
    }
}

/// Fields and checks.
pub static SCHEMA: Schema = Schema {
    name: "ca_certificates",
    endpoint_key: None,
    cache_key: &[],
    fields: &[
        ID,
        CREATED_AT,
        UPDATED_AT,
        Field::string("cert").rules(&[Rule::Text(pem::certificate)]).required(),
        Field::string("cert_digest").unique(),
        TAGS,
    ],
    checks: &[EntityCheck::Custom { fields: &["cert"], check: authority }],
    prepare: Some(pem::fill_digest),
    subschema: None,
};

/// There is one certificate, it parses, may sign others and has not expired.
fn authority(cx: &CheckCx<'_>, entity: &Object, found: &mut Violations) {
    let Some(cert) = entity.get("cert").and_then(Value::as_str) else { return };
    if pem::count_certificates(cert) > 1 {
        found.add_entity("please submit only one certificate at a time");
        return;
    }
    let Some(checks) = cx.certificates else { return };
    if let Err(message) = checks.certificate(cert) {
        found.add("cert", message);
    } else if let Err(message) = checks.authority(cert, cx.now_ms.div_euclid(1000)) {
        found.add_entity(message);
    }
}

fn facts(certificate: &CaCertificate) -> Facts {
    Facts::default().unique("cert_digest", certificate.cert_digest.clone())
}

def!(CaCertificate, CaCertificate, "ca_certificates", "ca_certificates", "ca_certificates");
