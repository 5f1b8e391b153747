//! Checks between fields, on the canonical form, with Kong's texts.

use super::walk::REQUIRED;
use super::{CheckCx, EntityCheck, Occasion, Then, Violations, When};
use crate::body::Object;
use serde_json::Value;

/// Runs all checks of an entity, or of a plugin's configuration (`prefix` is then `config.`).
pub(super) fn run(
    checks: &[EntityCheck],
    cx: &CheckCx<'_>,
    entity: &Object,
    prefix: &str,
    occasion: Occasion,
    found: &mut Violations,
) {
    for check in checks {
        match check {
            EntityCheck::AtLeastOneOf(fields) => {
                if fields.iter().all(|field| is_empty(get(entity, field))) {
                    let when = if occasion == Occasion::Update { "when updating, " } else { "" };
                    found.add_entity(format!("{when}{}", at_least_one_of(&prefixed(prefix, fields))));
                }
            }
            EntityCheck::MutuallyExclusive(fields) => {
                let set: Vec<_> = fields.iter().copied().filter(|field| !is_empty(get(entity, field))).collect();
                if set.len() > 1 {
                    let list = quoted(&prefixed(prefix, &set));
                    found.add_entity(format!("only one or none of these fields must be set: {list}"));
                }
            }
            EntityCheck::MutuallyRequired(fields) => {
                let set = fields.iter().filter(|field| !is_empty(get(entity, field))).count();
                if set != 0 && set != fields.len() && !faulty(found, prefix, fields) {
                    let list = quoted(&prefixed(prefix, fields));
                    found.add_entity(format!("all or none of these fields must be set: {list}"));
                }
            }
            EntityCheck::Distinct(fields) => {
                let values: Vec<_> = fields
                    .iter()
                    .filter_map(|field| get(entity, field))
                    .filter(|value| !is_empty(Some(value)))
                    .collect();
                let same = values
                    .iter()
                    .enumerate()
                    .any(|(place, value)| values.iter().skip(place + 1).any(|other| other == value));
                if same {
                    let list = quoted(&prefixed(prefix, fields));
                    found.add_entity(format!("values of these fields must be distinct: {list}"));
                }
            }
            EntityCheck::Conditional { if_field, when, then_field, then, message } => {
                let (if_path, then_path) = (format!("{prefix}{if_field}"), format!("{prefix}{then_field}"));
                if found.has(&if_path) || !when.holds(get(entity, if_field)) {
                    continue;
                }
                if let Err(violation) = then.check(get(entity, then_field)) {
                    found.add(&then_path, violation);
                    let default = || format!("failed conditional validation given value of field '{if_path}'");
                    found.add_entity(message.map_or_else(default, str::to_owned));
                }
            }
            EntityCheck::Custom { fields, check } => {
                if !faulty(found, prefix, fields) {
                    check(cx, entity, found);
                }
            }
        }
    }
}

/// Whether one of the fields has mistakes of its own.
fn faulty(found: &Violations, prefix: &str, fields: &[&str]) -> bool {
    prefixed(prefix, fields).iter().any(|field| found.has(field))
}

/// The value at a dotted path.
fn get<'a>(entity: &'a Object, path: &str) -> Option<&'a Value> {
    let mut names = path.split('.');
    let first = entity.get(names.next()?)?;
    names.try_fold(first, |value, name| value.get(name))
}

/// Whether Kong takes the value for empty.
pub(super) fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(object)) => object.is_empty(),
        Some(_) => false,
    }
}

/// Kong's sentence.
pub(super) fn at_least_one_of<S: AsRef<str>>(fields: &[S]) -> String {
    format!("at least one of these fields must be non-empty: {}", quoted(fields))
}

/// `'a', 'b'`.
pub(super) fn quoted<S: AsRef<str>>(words: &[S]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("'{}'", word.as_ref())).collect();
    quoted.join(", ")
}

fn prefixed(prefix: &str, fields: &[&str]) -> Vec<String> {
    fields.iter().map(|field| format!("{prefix}{field}")).collect()
}

/// Whether an array has an element that is one of the words.
fn has_one_of(value: Option<&Value>, words: &[&str]) -> bool {
    let elements = value.and_then(Value::as_array).into_iter().flatten();
    elements.filter_map(Value::as_str).any(|word| words.contains(&word))
}

impl When {
    /// Whether the field is so. A field that is not set never is.
    fn holds(&self, value: Option<&Value>) -> bool {
        let word = value.and_then(Value::as_str);
        match self {
            Self::Is(wanted) => word == Some(wanted),
            Self::OneOf(words) => word.is_some_and(|word| words.contains(&word)),
            Self::NotOneOf(words) => word.is_some_and(|word| !words.contains(&word)),
            Self::NoElementOf(words) => value.is_some_and(Value::is_array) && !has_one_of(value, words),
            Self::Gt(limit) => value.and_then(Value::as_f64).is_some_and(|float| float > *limit as f64),
        }
    }
}

impl Then {
    /// Whether the field is so, or Kong's text.
    fn check(&self, value: Option<&Value>) -> Result<(), String> {
        let unset = value.is_none_or(Value::is_null);
        let (holds, message) = match self {
            Self::Null => (unset, "value must be null".to_owned()),
            Self::Required => (!unset, REQUIRED.to_owned()),
            Self::Empty => (is_empty(value), "length must be 0".to_owned()),
            Self::OneOf(words) => {
                let word = value.and_then(Value::as_str);
                (
                    unset || word.is_some_and(|word| words.contains(&word)),
                    format!("expected one of: {}", words.join(", ")),
                )
            }
            Self::Contains(word) => (unset || has_one_of(value, &[word]), format!("expected to contain: {word}")),
        };
        if holds { Ok(()) } else { Err(message) }
    }
}
