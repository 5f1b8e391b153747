//! Plugins: what is done to the requests of a route, service or consumer, or to all. Which plugins there are and how
//! they are configured is [`crate::plugins`]' subject.

use super::{CREATED_AT, ID, PROTOCOLS, Protocol, TAGS, UPDATED_AT, def};
use crate::body::{ForeignKey, Object, Tags, body};
use crate::kind::Facts;
use crate::schema::{Field, Literal, Rule, Schema, Type, text};
use crate::{Id, Kind};

body! {
    /// A plugin in force, with its configuration and scope.
    pub struct Plugin {
        /// Its id.
        pub id: Id,
        /// Which plugin.
        pub name: String,
        /// A name of its own; unique.
        pub instance_name: Option<String>,
        /// Seconds since 1970.
        pub created_at: i64,
        /// Seconds since 1970.
        pub updated_at: i64,
        /// For the requests of this route only.
        pub route: Option<ForeignKey>,
        /// For the requests of this service only.
        pub service: Option<ForeignKey>,
        /// For the requests of this consumer only.
        pub consumer: Option<ForeignKey>,
        /// As the plugin's own schema has it.
        pub config: Object,
        /// For requests over these only.
        pub protocols: Vec<Protocol> = vec![Protocol::Grpc, Protocol::Grpcs, Protocol::Http, Protocol::Https],
        /// Whether it is in force.
        pub enabled: bool = true,
        /// Tags.
        pub tags: Tags,
    }
}

/// Fields and checks.
pub static SCHEMA: Schema = Schema {
    name: "plugins",
    endpoint_key: Some("instance_name"),
    cache_key: &["name", "route", "service", "consumer"],
    fields: &[
        ID,
        Field::string("name").required(),
        Field::string("instance_name").rules(&[Rule::Text(text::name)]).unique(),
        CREATED_AT,
        UPDATED_AT,
        Field::foreign("route", "routes").cascade(),
        Field::foreign("service", "services").cascade(),
        Field::foreign("consumer", "consumers").cascade(),
        Field::new("config", Type::Object).required().default(Literal::Record),
        PROTOCOLS.default(Literal::Texts(&["grpc", "grpcs", "http", "https"])),
        Field::boolean("enabled").required().default(Literal::Bool(true)),
        TAGS,
    ],
    checks: &[],
    prepare: None,
    subschema: Some(crate::plugins::subschema),
};

fn facts(plugin: &Plugin) -> Facts {
    let part = |key: Option<ForeignKey>| key.map(|key| key.id.to_string()).unwrap_or_default();
    let scope = format!("{}:{}:{}:{}", plugin.name, part(plugin.route), part(plugin.service), part(plugin.consumer));
    Facts::default()
        .refers("route", Kind::Route, plugin.route, true)
        .refers("service", Kind::Service, plugin.service, true)
        .refers("consumer", Kind::Consumer, plugin.consumer, true)
        .unique("instance_name", plugin.instance_name.clone())
        .unique("name,route,service,consumer", Some(scope))
}

def!(Plugin, Plugin, "plugins", "plugins", "plugins");
