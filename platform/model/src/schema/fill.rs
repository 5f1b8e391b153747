//! What is in an entity although nobody wrote it: generated fields, defaults, and on a change what was there before.

use super::{CheckCx, Field, Literal, Schema, Type};
use crate::Id;
use crate::body::{Number, Object};
use serde_json::Value;

/// Characters of generated keys and secrets, as many as Kong's.
const KEY_CHARS: usize = 32;
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// Makes the fields that make themselves: ids, times, keys.
pub(super) fn auto(fields: &[Field], cx: &CheckCx<'_>, entity: &mut Object) {
    for field in fields.iter().filter(|field| field.auto) {
        let given = entity.get(field.name).is_some_and(|value| !value.is_null());
        let stands = given && (field.name != "updated_at" || cx.keeps_updated_at);
        if !stands {
            entity.insert(field.name.to_owned(), generated(field, cx));
        }
    }
}

fn generated(field: &Field, cx: &CheckCx<'_>) -> Value {
    match field.ty {
        Type::Integer => Value::from(cx.now_ms.div_euclid(1000)),
        Type::Number => number(Number::new(cx.now_ms as f64 / 1000.0)),
        _ if field.name == "id" => Value::String((cx.new_id)().to_string()),
        _ => Value::String(key(cx.new_id)),
    }
}

/// A random key. Eight letters use 48 of the 62 low bits of an id, all of which are random.
fn key(new_id: &dyn Fn() -> Id) -> String {
    let mut key = String::with_capacity(KEY_CHARS);
    while key.len() < KEY_CHARS {
        let mut bits = new_id().0 & ((1 << 62) - 1);
        for _ in 0..8 {
            let index = usize::try_from(bits % 62).unwrap_or_default();
            key.push(ALPHABET.get(index).copied().map_or('0', char::from));
            bits /= 62;
        }
    }
    key
}

/// A number as JSON.
pub(super) fn number(number: Number) -> Value {
    match number {
        Number::Integer(value) => Value::from(value),
        Number::Real(value) => Value::from(value),
    }
}

impl Literal {
    /// As JSON; `None` for none.
    pub(super) fn to_value(self) -> Option<Value> {
        match self {
            Self::Null => None,
            Self::Bool(value) => Some(Value::Bool(value)),
            Self::Int(value) => Some(Value::from(value)),
            Self::Real(value) => Some(number(Number::new(value))),
            Self::Text(text) => Some(Value::from(text)),
            Self::Texts(texts) => Some(texts.iter().copied().map(Value::from).collect()),
            Self::Ints(ints) => Some(ints.iter().copied().map(Value::from).collect()),
            Self::Record => Some(Value::Object(Object::new())),
        }
    }
}

/// Lays a change over what was there. Only records are merged; everything else the change replaces whole.
pub(super) fn merge(fields: &[Field], config: Option<&Schema>, mut base: Object, patch: Object) -> Object {
    for (name, value) in patch {
        let ty = fields.iter().find(|field| field.name == name).map(|field| field.ty);
        let inner = match ty {
            Some(Type::Record(inner)) => Some(inner),
            Some(Type::Object) => config.map(|schema| schema.fields),
            _ => None,
        };
        let merged = match (inner, base.remove(&name), value) {
            (Some(inner), Some(Value::Object(old)), Value::Object(new)) => Value::Object(merge(inner, None, old, new)),
            (_, _, value) => value,
        };
        base.insert(name, merged);
    }
    base
}
