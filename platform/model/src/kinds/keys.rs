//! Keys: what plugins sign, verify or decrypt with, as a JSON Web Key or as PEM.

use super::{CREATED_AT, ID, TAGS, UPDATED_AT, def};
use crate::body::{ForeignKey, Object, Tags, body};
use crate::kind::Facts;
use crate::schema::{CheckCx, EntityCheck, Field, Rule, Schema, Type, Violations, jwk, pem};
use crate::{Id, Kind};
use serde_json::Value;

body! {
    /// A key in PEM: both halves or one of them.
    pub struct Pem {
        /// The private one.
        pub private_key: Option<String>,
        /// The public one.
        pub public_key: Option<String>,
    }

    /// One key.
    pub struct Key {
        /// Its id.
        pub id: Id,
        /// The set that it is in.
        pub set: Option<ForeignKey>,
        /// Its name; unique.
        pub name: Option<String>,
        /// What tokens call it; unique within its set, or among the keys that are in none.
        pub kid: String,
        /// JSON: the key as a JSON Web Key, public or private.
        pub jwk: Option<String>,
        /// The same as PEM.
        pub pem: Option<Pem>,
        /// Tags.
        pub tags: Tags,
        /// Seconds since 1970.
        pub created_at: i64,
        /// Seconds since 1970.
        pub updated_at: i64,
    }
}

/// The two forms of a key.
const FORMS: &[&str] = &["pem", "jwk"];

/// Fields and checks.
pub static SCHEMA: Schema = Schema {
    name: "keys",
    endpoint_key: Some("name"),
    cache_key: &["kid", "set"],
    fields: &[
        ID,
        Field::foreign("set", "key_sets").cascade(),
        Field::string("name").unique(),
        Field::string("kid").required(),
        Field::string("jwk").secret().referenceable(),
        Field::new(
            "pem",
            Type::Record(&[
                Field::string("private_key").secret().referenceable(),
                Field::string("public_key").referenceable(),
            ]),
        )
        .rules(&[Rule::AtLeastOneOf(&["private_key", "public_key"])]),
        TAGS,
        CREATED_AT,
        UPDATED_AT,
    ],
    checks: &[
        EntityCheck::MutuallyExclusive(FORMS),
        EntityCheck::AtLeastOneOf(FORMS),
        EntityCheck::Custom { fields: &["jwk", "kid"], check: web_key },
        EntityCheck::Custom { fields: &["pem"], check: pem_key },
    ],
    prepare: None,
    subschema: None,
};

/// The JWK is one, and is called as the entity says.
fn web_key(_: &CheckCx<'_>, entity: &Object, found: &mut Violations) {
    let text = |field: &str| entity.get(field).and_then(Value::as_str);
    if let (Some(key), Some(kid)) = (text("jwk"), text("kid"))
        && let Err(message) = jwk::check(key, kid)
    {
        found.add_entity(message);
    }
}

/// The halves are keys, and of one pair. Kong says what is wrong of the record, not of its fields.
fn pem_key(cx: &CheckCx<'_>, entity: &Object, found: &mut Violations) {
    let half = |field: &str| entity.get("pem").and_then(|pem| pem.get(field)).and_then(Value::as_str);
    let (public, private) = (half("public_key"), half("private_key"));
    let parses = |key: &str, outer: fn(&str) -> Result<(), String>, is_private: bool| {
        outer(key).is_ok()
            && cx.certificates.is_none_or(|checks| {
                if is_private { checks.private_key(key).is_ok() } else { checks.public_key(key).is_ok() }
            })
    };
    if public.is_some_and(|key| !parses(key, pem::public_key, false)) {
        found.add("pem", "could not load public key");
    } else if private.is_some_and(|key| !parses(key, pem::private_key, true)) {
        found.add("pem", "could not load private key");
    } else if let (Some(public), Some(private), Some(checks)) = (public, private, cx.certificates)
        && let Err(message) = checks.key_pair(public, private)
    {
        found.add("pem", message);
    }
}

fn facts(key: &Key) -> Facts {
    let set = key.set.map(|set| set.id.to_string()).unwrap_or_default();
    Facts::default()
        .refers("set", Kind::KeySet, key.set, true)
        .unique("name", key.name.clone())
        .unique("kid,set", Some(format!("{}:{set}", key.kid)))
}

def!(Key, Key, "keys", "keys", "keys");
