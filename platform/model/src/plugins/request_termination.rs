//! request-termination: requests answered here, with a fixed answer.

use super::{HTTP_PROTOCOLS, PluginDef, VERSION};
use crate::schema::{Field, Literal, Rule, Schema, text};

static SCHEMA: Schema = Schema {
    name: "request-termination",
    endpoint_key: None,
    cache_key: &[],
    fields: &[
        Field::integer("status_code", &[Rule::Between(100, 599)]).required().default(Literal::Int(503)),
        Field::string("message"),
        Field::string("content_type"),
        Field::string("body"),
        Field::boolean("echo").required().default(Literal::Bool(false)),
        Field::string("trigger").rules(&[Rule::Text(text::header_name)]),
    ],
    checks: &[],
    prepare: None,
    subschema: None,
};

pub(super) static DEF: PluginDef = PluginDef {
    name: "request-termination",
    version: VERSION,
    priority: 2,
    schema: &SCHEMA,
    fields: &[HTTP_PROTOCOLS],
};
