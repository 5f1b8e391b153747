//! SNIs: which TLS server name is answered with which certificate.

use super::{CREATED_AT, ID, TAGS, UPDATED_AT, def};
use crate::body::{ForeignKey, Tags, body};
use crate::kind::Facts;
use crate::schema::{Field, Rule, Schema, text};
use crate::{Id, Kind};

body! {
    /// A server name and its certificate.
    pub struct Sni {
        /// Its id.
        pub id: Id,
        /// The name, perhaps with one wildcard at either end; unique.
        pub name: String,
        /// Seconds since 1970.
        pub created_at: i64,
        /// Seconds since 1970.
        pub updated_at: i64,
        /// Tags.
        pub tags: Tags,
        /// The certificate.
        pub certificate: ForeignKey,
    }
}

/// Fields and checks.
pub static SCHEMA: Schema = Schema {
    name: "snis",
    endpoint_key: Some("name"),
    cache_key: &[],
    fields: &[
        ID,
        Field::string("name").rules(&[Rule::Text(text::wildcard_host)]).required().unique(),
        CREATED_AT,
        UPDATED_AT,
        TAGS,
        Field::foreign("certificate", "certificates").required(),
    ],
    checks: &[],
    prepare: None,
    subschema: None,
};

fn facts(sni: &Sni) -> Facts {
    Facts::default()
        .refers("certificate", Kind::Certificate, Some(sni.certificate), false)
        .unique("name", Some(sni.name.clone()))
}

def!(Sni, Sni, "snis", "snis", "snis");
