//! Key sets: keys that plugins use together, under one name.

use super::{CREATED_AT, ID, TAGS, UPDATED_AT, def};
use crate::Id;
use crate::body::{Tags, body};
use crate::kind::Facts;
use crate::schema::{Field, Schema};

body! {
    /// A set of keys; which are in it, they say themselves.
    pub struct KeySet {
        /// Its id.
        pub id: Id,
        /// Its name; unique.
        pub name: Option<String>,
        /// Tags.
        pub tags: Tags,
        /// Seconds since 1970.
        pub created_at: i64,
        /// Seconds since 1970.
        pub updated_at: i64,
    }
}

/// Fields and checks. Kong takes any text for a name here.
pub static SCHEMA: Schema = Schema {
    name: "key_sets",
    endpoint_key: Some("name"),
    cache_key: &[],
    fields: &[ID, Field::string("name").unique(), TAGS, CREATED_AT, UPDATED_AT],
    checks: &[],
    prepare: None,
    subschema: None,
};

fn facts(set: &KeySet) -> Facts {
    Facts::default().unique("name", set.name.clone())
}

def!(KeySet, KeySet, "key_sets", "key-sets", "key-sets");
