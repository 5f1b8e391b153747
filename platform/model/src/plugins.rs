//! The plugins of this build, by name: priority, configuration schema, where they may be put. Adding a plugin is one
//! file below this module and one line in the list; its behaviour is the data plane's.

mod jwt;
mod key_auth;
mod request_termination;

use crate::body::Object;
use crate::schema::{Field, Literal, Rule, Schema, Subschema, Violations, show};
use serde_json::{Value, json};

/// The version that all plugins report, as Kong's bundled plugins do.
pub const VERSION: &str = "3.9.1";

/// What is known of a plugin without running it.
#[derive(Debug)]
pub struct PluginDef {
    /// Its name.
    pub name: &'static str,
    /// Its version, as in `GET /`.
    pub version: &'static str,
    /// Where it stands in the order of execution, high first.
    pub priority: i32,
    /// The fields of its configuration.
    pub schema: &'static Schema,
    /// Fields of the plugin entity that are narrower for this plugin: its protocols, and scopes that it may not have.
    pub fields: &'static [Field],
}

static ALL: [&PluginDef; 3] = [&jwt::DEF, &key_auth::DEF, &request_termination::DEF];

/// All plugins, by name.
#[must_use]
pub fn all() -> &'static [&'static PluginDef] {
    &ALL
}

/// The plugin with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static PluginDef> {
    ALL.iter().copied().find(|def| def.name == name)
}

impl PluginDef {
    /// Whether it may be put on a single consumer. Plugins that find out who the consumer is may not.
    #[must_use]
    pub fn scopes_to_consumers(&self) -> bool {
        !self.fields.iter().any(|field| field.name == "consumer")
    }

    /// Kong's `/schemas/plugins/{name}` answer.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let config = json!({"type": "record", "required": true, "fields": show::fields(self.schema.fields)});
        let fields: Vec<Value> = self
            .fields
            .iter()
            .map(|field| json!({field.name: field.to_json()}))
            .chain([json!({"config": config})])
            .collect();
        json!({"fields": fields, "entity_checks": show::checks(self.schema.checks)})
    }
}

/// Protocols of plugins that work on HTTP requests.
const HTTP: &[&str] = &["grpc", "grpcs", "http", "https"];

/// `protocols` of plugins that work on HTTP requests.
const HTTP_PROTOCOLS: Field =
    Field::set("protocols", &Field::word("", &[Rule::OneOf(HTTP)])).required().default(Literal::Texts(HTTP));

/// `consumer` of plugins that may not be put on one.
const NO_CONSUMER: Field = Field::foreign("consumer", "consumers").rules(&[Rule::Null("value must be null")]);

/// What a plugin entity is checked against, by its name. Nothing else can be said of a plugin that is not known.
pub(crate) fn subschema(plugin: &Object) -> Result<Subschema, Violations> {
    let name = match plugin.get("name") {
        None | Some(Value::Null) => return Err(Violations::of("name", "required field missing")),
        Some(Value::String(name)) => name,
        Some(_) => return Err(Violations::of("name", "expected a string")),
    };
    let def = find(name).ok_or_else(|| {
        Violations::of("name", format!("plugin '{name}' not enabled; add it to the 'plugins' configuration property"))
    })?;
    Ok(Subschema { config: Some(def.schema), fields: def.fields })
}
