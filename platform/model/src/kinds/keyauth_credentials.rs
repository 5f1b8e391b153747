//! Key-auth credentials: the API keys of a consumer.

use super::{CREATED_AT, ID, TAGS, def};
use crate::body::{ForeignKey, Tags, body};
use crate::kind::{Appended, Facts};
use crate::schema::{Field, Schema, Type};
use crate::{Id, Kind};

body! {
    /// An API key.
    pub struct KeyauthCredential {
        /// Its id.
        pub id: Id,
        /// Seconds since 1970.
        pub created_at: i64,
        /// Whose it is.
        pub consumer: ForeignKey,
        /// The key; unique.
        pub key: String,
        /// Tags.
        pub tags: Tags,
        /// When it stops to count, in seconds since 1970; `None` for never. `ttl` in JSON.
        #[serde(rename = "ttl")]
        pub expires_at: Option<i64>,
    }
}

/// Fields and checks.
pub static SCHEMA: Schema = Schema {
    name: "keyauth_credentials",
    endpoint_key: Some("key"),
    cache_key: &[],
    fields: &[
        ID,
        CREATED_AT,
        Field::foreign("consumer", "consumers").required().cascade(),
        Field::string("key").unique().auto(),
        TAGS,
        Field::new("ttl", Type::Expiry),
    ],
    checks: &[],
    prepare: None,
    subschema: None,
};

/// A node that knows no `ttl` would take the key for ever.
const APPENDED: &[Appended] = &[Appended {
    body: 2,
    field: "ttl",
    harmless: false,
    used: |body| Ok(KeyauthCredential::decode(body)?.expires_at.is_some()),
}];

fn facts(credential: &KeyauthCredential) -> Facts {
    Facts::default()
        .refers("consumer", Kind::Consumer, Some(credential.consumer), true)
        .unique("key", Some(credential.key.clone()))
}

def!(KeyauthCredential, KeyauthCredential, "keyauth_credentials", "key-auths", "key-auth", appended APPENDED);
