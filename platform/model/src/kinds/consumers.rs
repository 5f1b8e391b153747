//! Consumers: who sends requests.

use super::{CREATED_AT, ID, TAGS, UPDATED_AT, def};
use crate::Id;
use crate::body::{Tags, body};
use crate::kind::Facts;
use crate::schema::{EntityCheck, Field, Schema};

body! {
    /// Someone whose requests are told apart by their credentials.
    pub struct Consumer {
        /// Its id.
        pub id: Id,
        /// Seconds since 1970.
        pub created_at: i64,
        /// Seconds since 1970.
        pub updated_at: i64,
        /// Unique. At least one of this and `custom_id` is set.
        pub username: Option<String>,
        /// Unique.
        pub custom_id: Option<String>,
        /// Tags.
        pub tags: Tags,
    }
}

/// Fields and checks.
pub static SCHEMA: Schema = Schema {
    name: "consumers",
    endpoint_key: Some("username"),
    cache_key: &[],
    fields: &[
        ID,
        CREATED_AT,
        UPDATED_AT,
        Field::string("username").unique(),
        Field::string("custom_id").unique(),
        TAGS,
    ],
    checks: &[EntityCheck::AtLeastOneOf(&["custom_id", "username"])],
    prepare: None,
    subschema: None,
};

fn facts(consumer: &Consumer) -> Facts {
    Facts::default().unique("username", consumer.username.clone()).unique("custom_id", consumer.custom_id.clone())
}

def!(Consumer, Consumer, "consumers", "consumers", "consumers");
