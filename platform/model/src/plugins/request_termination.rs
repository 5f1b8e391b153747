//! request-termination: requests answered here, with a fixed answer.

use super::{HTTP_PROTOCOLS, PluginDef, VERSION};
use crate::body::Object;
use crate::schema::{CheckCx, EntityCheck, Field, Literal, Rule, Schema, Violations, text};
use serde_json::{Value, json};

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
    checks: &[EntityCheck::Custom { fields: &["message", "content_type", "body", "echo"], check: one_sort_of_answer }],
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

/// Kong: an answer is a message, or a body of some type, or an echo.
fn one_sort_of_answer(_: &CheckCx<'_>, config: &Object, found: &mut Violations) {
    let says = |field: &str| config.get(field).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    let (content_type, body) = (says("content_type"), says("body"));
    let wrong = if says("message") && (content_type || body) {
        "message cannot be used with content_type or body"
    } else if content_type && !body {
        "content_type requires a body"
    } else if config.get("echo") == Some(&json!(true)) && body {
        "echo cannot be used with content_type and body"
    } else {
        return;
    };
    found.add("config", wrong);
}
