//! The walk over an entity by its table: each value into its canonical form, or a complaint in its place.

use super::fill::number;
use super::violations::Complaint;
use super::{Field, Rule, Schema, Subschema, Type};
use crate::Id;
use crate::body::{Number, Object};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What the walk carries along.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk {
    /// What depends on the entity.
    pub(super) subschema: Subschema,
    /// Whether vault references are refused in every text (plugin configurations), or only where Kong takes them.
    pub(super) refuses_vaults: bool,
}

type Complaints = BTreeMap<String, Complaint>;

/// Kong's text where a value must be.
pub(super) const REQUIRED: &str = "required field missing";

/// A complaint that is one text.
fn text(message: impl Into<String>) -> Complaint {
    Complaint::Text(message.into())
}

impl Walk {
    /// Checks the fields of a record. What had mistakes is `null` in the outcome.
    pub(super) fn fields(self, fields: &[Field], mut input: Object) -> (Object, Complaints) {
        let mut output = Object::new();
        let mut complaints = Complaints::new();
        for field in fields {
            let field = self.subschema.fields.iter().find(|special| special.name == field.name).unwrap_or(field);
            let value = input.shift_remove(field.name).or_else(|| field.default.to_value()).unwrap_or(Value::Null);
            let value = self.value(field, value).unwrap_or_else(|complaint| {
                complaints.insert(field.name.to_owned(), complaint);
                Value::Null
            });
            output.insert(field.name.to_owned(), value);
        }
        complaints.extend(input.into_iter().map(|(name, _)| (name, text("unknown field"))));
        (output, complaints)
    }

    /// A configuration with what is faulty in it `null`, for the checks between its fields. Nothing if there are none.
    pub(super) fn config(self, schema: &Schema, input: Option<&Value>) -> Option<Object> {
        if schema.checks.is_empty() {
            return None;
        }
        let input = input.map_or_else(|| Some(Object::new()), |value| object(value.clone()))?;
        Some(self.in_config().fields(schema.fields, input).0)
    }

    fn in_config(self) -> Self {
        Self { subschema: Subschema::default(), refuses_vaults: true }
    }

    fn value(self, field: &Field, value: Value) -> Result<Value, Complaint> {
        if value.is_null() {
            return if field.required { Err(text(REQUIRED)) } else { Ok(Value::Null) };
        }
        if let Some(Rule::Null(message)) = field.rules.first() {
            return Err(text(*message));
        }
        let value = self.typed(field, value)?;
        field.rules.iter().try_for_each(|rule| rule.check(&value))?;
        Ok(value)
    }

    fn typed(self, field: &Field, value: Value) -> Result<Value, Complaint> {
        match field.ty {
            Type::String => self.string(field, value),
            Type::Integer | Type::Expiry => integer(&value).map(Value::from).ok_or_else(|| text("expected an integer")),
            Type::Number => match value.as_f64() {
                Some(float) if value.is_number() => {
                    Ok(number(value.as_i64().map_or_else(|| Number::new(float), Number::Integer)))
                }
                _ => Err(text("expected a number")),
            },
            Type::Boolean if value.is_boolean() => Ok(value),
            Type::Boolean => Err(text("expected a boolean")),
            Type::Array(element) => self.elements(element, list(value).ok_or_else(|| text("expected an array"))?),
            Type::Set(element) => {
                let value = self.elements(element, list(value).ok_or_else(|| text("expected a set"))?)?;
                Ok(without_duplicates(value))
            }
            Type::Map(key, element) => self.map(key, element, object(value).ok_or_else(|| text("expected a map"))?),
            Type::Record(fields) => self.record(fields, value),
            Type::Foreign(_) => foreign(&value),
            Type::Object => match self.subschema.config {
                Some(schema) => self.in_config().record(schema.fields, value),
                None => object(value).map(Value::Object).ok_or_else(|| text("expected a record")),
            },
        }
    }

    fn string(self, field: &Field, value: Value) -> Result<Value, Complaint> {
        let Value::String(content) = value else { return Err(text("expected a string")) };
        if (field.referenceable || self.refuses_vaults) && content.starts_with("{vault://") {
            return Err(text(format!("vault references are not supported yet: {content}")));
        }
        let uuid = field.rules.iter().any(|rule| matches!(rule, Rule::Uuid));
        match content.parse::<Id>() {
            Ok(id) if uuid => Ok(Value::String(id.to_string())),
            Err(_) if uuid => Err(text("expected a valid UUID")),
            _ if content.is_empty() => Err(text("length must be at least 1")),
            _ => Ok(Value::String(content)),
        }
    }

    fn elements(self, element: &Field, list: Vec<Value>) -> Result<Value, Complaint> {
        let element = Field { required: true, ..*element };
        let mut output = Vec::with_capacity(list.len());
        let mut complaints = BTreeMap::new();
        for (place, value) in list.into_iter().enumerate() {
            match self.value(&element, value) {
                Ok(value) => output.push(value),
                Err(complaint) => {
                    complaints.insert(place, complaint);
                }
            }
        }
        if complaints.is_empty() { Ok(Value::Array(output)) } else { Err(Complaint::Elements(complaints)) }
    }

    /// Kong reports the first mistake of a map, in place of the map.
    fn map(self, key: &Field, element: &Field, map: Object) -> Result<Value, Complaint> {
        let element = Field { required: true, ..*element };
        let mut output = BTreeMap::new();
        for (name, value) in map {
            self.value(key, Value::String(name.clone()))?;
            output.insert(name, self.value(&element, value)?);
        }
        Ok(Value::Object(output.into_iter().collect()))
    }

    fn record(self, fields: &[Field], value: Value) -> Result<Value, Complaint> {
        let object = object(value).ok_or_else(|| text("expected a record"))?;
        let inner = Self { subschema: Subschema::default(), ..self };
        let (output, complaints) = inner.fields(fields, object);
        if complaints.is_empty() { Ok(Value::Object(output)) } else { Err(Complaint::Fields(complaints)) }
    }
}

/// An integer, also when written with a fraction of 0.
pub(super) fn integer(value: &Value) -> Option<i64> {
    let Value::Number(number) = value else { return None };
    number.as_i64().or_else(|| match Number::new(number.as_f64()?) {
        Number::Integer(value) => Some(value),
        Number::Real(_) => None,
    })
}

/// A list. Kong's JSON knows no difference between an empty list and an empty object.
fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(list) => Some(list),
        Value::Object(object) if object.is_empty() => Some(Vec::new()),
        _ => None,
    }
}

fn object(value: Value) -> Option<Object> {
    match value {
        Value::Object(object) => Some(object),
        Value::Array(list) if list.is_empty() => Some(Object::new()),
        _ => None,
    }
}

fn without_duplicates(value: Value) -> Value {
    let Value::Array(list) = value else { return value };
    let mut seen = BTreeSet::new();
    Value::Array(list.into_iter().filter(|element| seen.insert(element.to_string())).collect())
}

/// A reference by id; whatever else is in it does not matter.
fn foreign(value: &Value) -> Result<Value, Complaint> {
    let message = match value.get("id") {
        None => "missing primary key",
        Some(Value::Null) => REQUIRED,
        Some(Value::String(id)) => match id.parse::<Id>() {
            Ok(id) => return Ok(serde_json::json!({"id": id})),
            Err(_) => "expected a valid UUID",
        },
        Some(_) => "expected a string",
    };
    Err(Complaint::Fields(BTreeMap::from([("id".to_owned(), text(message))])))
}

impl Rule {
    /// Holds the rule against a value of the field's type.
    pub(super) fn check(&self, value: &Value) -> Result<(), Complaint> {
        let string = value.as_str().unwrap_or_default();
        match self {
            Self::Null(message) => Err(text(*message)),
            Self::NotTrue(message) => demand(value != &Value::Bool(true), || (*message).to_owned()),
            Self::AtLeastOneOf(fields) => {
                let any = fields.iter().any(|field| !super::checks::is_empty(value.get(field)));
                if any { Ok(()) } else { Err(entity(super::checks::at_least_one_of(fields))) }
            }
            Self::OneOf(words) => demand(words.contains(&string), || format!("expected one of: {}", words.join(", "))),
            Self::OneOfInts(ints) => demand(value.as_i64().is_some_and(|int| ints.contains(&int)), || {
                let ints: Vec<_> = ints.iter().map(i64::to_string).collect();
                format!("expected one of: {}", ints.join(", "))
            }),
            Self::Between(low, high) => {
                let inside = value.as_f64().is_some_and(|float| *low as f64 <= float && float <= *high as f64);
                demand(inside, || format!("value should be between {low} and {high}"))
            }
            Self::Gt(limit) => {
                let above = value.as_f64().is_some_and(|float| float > *limit as f64);
                demand(above, || format!("value must be greater than {limit}"))
            }
            Self::Timestamp => {
                let after = value.as_f64().is_some_and(|float| float > 0.0);
                demand(after, || "expected a valid timestamp".to_owned())
            }
            Self::Uuid => Ok(()),
            Self::LenMin(min) => {
                let long = value.as_array().map_or(string.len(), Vec::len) >= *min;
                demand(long, || format!("length must be at least {min}"))
            }
            Self::StartsWith(start) => demand(string.starts_with(start), || format!("should start with: {start}")),
            Self::NoEmptySegments => demand(!string.contains("//"), || "must not have empty segments".to_owned()),
            Self::Capitals => {
                let capitals = string.bytes().all(|byte| byte.is_ascii_uppercase());
                demand(capitals, || format!("invalid value: {string}"))
            }
            Self::Text(check) => check(string).map_err(text),
        }
    }
}

fn demand(holds: bool, message: impl FnOnce() -> String) -> Result<(), Complaint> {
    if holds { Ok(()) } else { Err(text(message())) }
}

/// A mistake between the fields of a nested record.
fn entity(message: String) -> Complaint {
    let list = Complaint::Elements(BTreeMap::from([(0, text(message))]));
    Complaint::Fields(BTreeMap::from([("@entity".to_owned(), list)]))
}
