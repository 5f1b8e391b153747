//! jwt: consumers known by a signed token (RFC 7519).

use super::{HTTP_PROTOCOLS, NO_CONSUMER, PluginDef, VERSION};
use crate::schema::{EntityCheck, Field, Literal, Rule, Schema, Then, When};

static SCHEMA: Schema = Schema {
    name: "jwt",
    endpoint_key: None,
    cache_key: &[],
    fields: &[
        Field::set("uri_param_names", &Field::string("")).default(Literal::Texts(&["jwt"])),
        Field::set("cookie_names", &Field::string("")).default(Literal::Texts(&[])),
        Field::string("key_claim_name").default(Literal::Text("iss")),
        Field::boolean("secret_is_base64").required().default(Literal::Bool(false)),
        Field::set("claims_to_verify", &Field::word("", &[Rule::OneOf(&["exp", "nbf"])])),
        Field::string("anonymous"),
        Field::boolean("run_on_preflight").required().default(Literal::Bool(true)),
        Field::number("maximum_expiration", &[Rule::Between(0, 31_536_000)]).default(Literal::Int(0)),
        Field::set("header_names", &Field::string("")).default(Literal::Texts(&["authorization"])),
        Field::string("realm"),
    ],
    checks: &[EntityCheck::Conditional {
        if_field: "maximum_expiration",
        when: When::Gt(0),
        then_field: "claims_to_verify",
        then: Then::Contains("exp"),
        message: None,
    }],
    prepare: None,
    subschema: None,
};

pub(super) static DEF: PluginDef = PluginDef {
    name: "jwt",
    version: VERSION,
    priority: 1450,
    schema: &SCHEMA,
    fields: &[HTTP_PROTOCOLS, NO_CONSUMER],
};
