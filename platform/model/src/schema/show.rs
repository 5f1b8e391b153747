//! Tables as Kong shows them at `/schemas/{name}`. decK fills defaults from this, Kong Manager draws forms from it.

use super::{EntityCheck, Field, Literal, Rule, Schema, Then, Type, When};
use crate::body::Object;
use serde_json::{Value, json};

impl Schema {
    /// Kong's `/schemas/{name}` answer.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"fields": fields(self.fields), "entity_checks": checks(self.checks)})
    }
}

/// Fields as a list of one-key objects. Kong's tables do not list `ttl`.
pub(crate) fn fields(fields: &[Field]) -> Value {
    let listed = fields.iter().filter(|field| !matches!(field.ty, Type::Expiry));
    listed.map(|field| json!({field.name: field.to_json()})).collect()
}

/// Checks as Kong names them; those that are code have no data to show.
pub(crate) fn checks(checks: &[EntityCheck]) -> Value {
    checks.iter().filter_map(EntityCheck::shown).collect()
}

impl Field {
    /// The field's attributes.
    pub(crate) fn to_json(self) -> Value {
        let mut shown = Object::new();
        self.ty.show(&mut shown);
        let flags = [
            ("required", self.required),
            ("auto", self.auto),
            ("unique", self.unique),
            ("encrypted", self.secret),
            ("referenceable", self.referenceable),
        ];
        for (name, _) in flags.into_iter().filter(|(_, set)| *set) {
            shown.insert(name.to_owned(), Value::Bool(true));
        }
        if self.cascade {
            shown.insert("on_delete".to_owned(), Value::from("cascade"));
        }
        if let Some(default) = self.shown_default() {
            shown.insert("default".to_owned(), default);
        }
        for rule in self.rules {
            rule.show(&mut shown);
        }
        Value::Object(shown)
    }

    /// The default; that of a record is made of its fields'.
    fn shown_default(&self) -> Option<Value> {
        match (self.default, self.ty) {
            (Literal::Record, Type::Record(fields)) => {
                let defaults = fields.iter().filter_map(|field| Some((field.name.to_owned(), field.shown_default()?)));
                Some(Value::Object(defaults.collect()))
            }
            (default, _) => default.to_value(),
        }
    }
}

impl Type {
    fn show(self, shown: &mut Object) {
        let name = match self {
            Self::String => "string",
            Self::Integer | Self::Expiry => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Array(_) => "array",
            Self::Set(_) => "set",
            Self::Map(..) => "map",
            Self::Record(_) | Self::Object => "record",
            Self::Foreign(_) => "foreign",
        };
        shown.insert("type".to_owned(), Value::from(name));
        match self {
            Self::Array(element) | Self::Set(element) => {
                shown.insert("elements".to_owned(), element.to_json());
            }
            Self::Map(key, value) => {
                shown.insert("keys".to_owned(), key.to_json());
                shown.insert("values".to_owned(), value.to_json());
            }
            Self::Record(inner) => {
                shown.insert("fields".to_owned(), fields(inner));
            }
            Self::Object => {
                shown.insert("abstract".to_owned(), Value::Bool(true));
            }
            Self::Foreign(collection) => {
                shown.insert("reference".to_owned(), Value::from(collection));
            }
            Self::String | Self::Integer | Self::Expiry | Self::Number | Self::Boolean => {}
        }
    }
}

impl Rule {
    fn show(&self, shown: &mut Object) {
        let (name, value) = match self {
            Self::Null(_) => ("eq", Value::Null),
            Self::NotTrue(_) => ("ne", Value::Bool(true)),
            Self::OneOf(words) => ("one_of", json!(words)),
            Self::OneOfInts(ints) => ("one_of", json!(ints)),
            Self::Between(low, high) => ("between", json!([low, high])),
            Self::Gt(limit) => ("gt", json!(limit)),
            Self::Timestamp => ("timestamp", Value::Bool(true)),
            Self::Uuid => ("uuid", Value::Bool(true)),
            Self::LenMin(min) => ("len_min", json!(min)),
            Self::StartsWith(start) => ("starts_with", json!(start)),
            Self::NoEmptySegments => ("match_none", json!([{"pattern": "//", "err": "must not have empty segments"}])),
            Self::Capitals => ("match", json!("^%u+$")),
            Self::AtLeastOneOf(fields) => ("entity_checks", json!([{"at_least_one_of": fields}])),
            Self::Text(_) => return,
        };
        shown.insert(name.to_owned(), value);
    }
}

impl EntityCheck {
    fn shown(&self) -> Option<Value> {
        match self {
            Self::AtLeastOneOf(fields) => Some(json!({"at_least_one_of": fields})),
            Self::MutuallyExclusive(fields) => Some(json!({"mutually_exclusive": fields})),
            Self::MutuallyRequired(fields) => Some(json!({"mutually_required": fields})),
            Self::Distinct(fields) => Some(json!({"distinct": fields})),
            Self::Custom { .. } => None,
            Self::Conditional { if_field, when, then_field, then, message } => {
                let mut shown = json!({"if_field": if_field, "if_match": when.to_json(), "then_field": then_field, "then_match": then.to_json()});
                if let (Some(message), Some(shown)) = (message, shown.as_object_mut()) {
                    shown.insert("then_err".to_owned(), Value::from(*message));
                }
                Some(json!({"conditional": shown}))
            }
        }
    }
}

impl When {
    fn to_json(self) -> Value {
        match self {
            Self::Is(word) => json!({"match": format!("^{word}$")}),
            Self::OneOf(words) => json!({"one_of": words}),
            Self::NotOneOf(words) => json!({"not_one_of": words}),
            Self::NoElementOf(words) => json!({"elements": {"type": "string", "not_one_of": words}}),
            Self::Gt(limit) => json!({"gt": limit}),
        }
    }
}

impl Then {
    fn to_json(self) -> Value {
        match self {
            Self::Null => json!({"eq": null}),
            Self::Required => json!({"required": true}),
            Self::OneOf(words) => json!({"one_of": words}),
            Self::Empty => json!({"len_eq": 0}),
            Self::Contains(word) => json!({"contains": word}),
        }
    }
}
