//! key-auth: consumers known by an API key.

use super::{HTTP_PROTOCOLS, NO_CONSUMER, PluginDef, VERSION};
use crate::schema::{Field, Literal, Rule, Schema, text};

static SCHEMA: Schema = Schema {
    name: "key-auth",
    endpoint_key: None,
    cache_key: &[],
    fields: &[
        Field::array("key_names", &Field::string("").rules(&[Rule::Text(text::header_name)]))
            .required()
            .default(Literal::Texts(&["apikey"])),
        Field::boolean("hide_credentials").required().default(Literal::Bool(false)),
        Field::string("anonymous"),
        Field::boolean("key_in_header").required().default(Literal::Bool(true)),
        Field::boolean("key_in_query").required().default(Literal::Bool(true)),
        Field::boolean("key_in_body").required().default(Literal::Bool(false)),
        Field::boolean("run_on_preflight").required().default(Literal::Bool(true)),
        Field::string("realm"),
    ],
    checks: &[],
    prepare: None,
    subschema: None,
};

pub(super) static DEF: PluginDef = PluginDef {
    name: "key-auth",
    version: VERSION,
    priority: 1250,
    schema: &SCHEMA,
    fields: &[HTTP_PROTOCOLS, NO_CONSUMER],
};
