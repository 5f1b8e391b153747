//! A plan for people: a line per entity, a line per field of an update. Secrets are not shown.

use super::plan::{Plan, Step};
use model::Kind;
use model::body::Object;
use model::schema::Field;
use serde_json::Value;
use std::fmt::Write;

/// The most characters of a value that are shown.
const VALUE_CHARS_MAX: usize = 120;

/// The whole plan with its summary, or that there is no difference.
pub(super) fn show(plan: &Plan) -> String {
    if plan.is_empty() {
        return "no difference\n".to_owned();
    }
    let mut text = String::new();
    for step in &plan.steps {
        let entity = name(step);
        match (&step.before, &step.after) {
            (Some(before), Some(after)) => {
                _ = writeln!(text, "update {entity}");
                fields(step.kind, before, after, &mut text);
            }
            (None, _) => _ = writeln!(text, "create {entity}"),
            (_, None) => _ = writeln!(text, "delete {entity}"),
        }
    }
    _ = writeln!(text, "{}", summary(plan));
    text
}

/// `1 to create, 2 to update, 0 to delete`
fn summary(plan: &Plan) -> String {
    let deletions = plan.deletions();
    let creations = plan.steps.iter().filter(|step| step.before.is_none()).count();
    let updates = plan.steps.len() - creations - deletions;
    format!("{creations} to create, {updates} to update, {deletions} to delete")
}

/// `route 'list'`, `plugin 'jwt' (0dc6…)`: by name where that tells, with the id where it does not.
pub(super) fn name(step: &Step) -> String {
    let def = step.kind.def();
    let singular = def.name.trim_end_matches('s');
    let entity = step.after.as_ref().or(step.before.as_ref());
    let text = |field: &str| entity.and_then(|entity| entity.get(field)?.as_str());
    let named = def.endpoint_key.filter(|name| !def.schema.field(name).is_some_and(is_secret)).and_then(text);
    match (named, text("name")) {
        (Some(name), _) => format!("{singular} '{name}'"),
        (None, Some(name)) => format!("{singular} '{name}' ({})", step.id),
        (None, None) => format!("{singular} {}", step.id),
    }
}

fn fields(kind: Kind, before: &Object, after: &Object, text: &mut String) {
    for name in after.keys().chain(before.keys().filter(|name| !after.contains_key(*name))) {
        let (old, new) = (before.get(name).unwrap_or(&Value::Null), after.get(name).unwrap_or(&Value::Null));
        if old == new || matches!(name.as_str(), "created_at" | "updated_at") {
            continue;
        }
        differences(name, kind.def().schema.field(name), old, new, text);
    }
}

/// The leaves that differ, each with its path. A record with secrets in it is told by its leaves, also where it comes or goes.
fn differences(path: &str, field: Option<&Field>, old: &Value, new: &Value, text: &mut String) {
    let inner = field.and_then(Field::inner).filter(|inner| inner.iter().any(holds_secrets));
    let none = Object::new();
    let (before, after) = match (old, new) {
        (Value::Object(before), Value::Object(after)) => (before, after),
        (Value::Object(before), Value::Null) if inner.is_some() => (before, &none),
        (Value::Null, Value::Object(after)) if inner.is_some() => (&none, after),
        _ if field.is_some_and(holds_secrets) => {
            _ = writeln!(text, "    {path}: changed (not shown)");
            return;
        }
        _ => {
            _ = writeln!(text, "    {path}: {} → {}", short(old), short(new));
            return;
        }
    };
    for name in after.keys().chain(before.keys().filter(|name| !after.contains_key(*name))) {
        let (old, new) = (before.get(name).unwrap_or(&Value::Null), after.get(name).unwrap_or(&Value::Null));
        if old != new {
            let field = inner.and_then(|inner| inner.iter().find(|field| field.name == *name));
            differences(&format!("{path}.{name}"), field, old, new, text);
        }
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Keys and secrets; generated ones are, too.
fn is_secret(field: &Field) -> bool {
    field.secret || (field.auto && !matches!(field.name, "id" | "created_at" | "updated_at"))
}

/// Whether the value is a secret, or a record with one in it.
fn holds_secrets(field: &Field) -> bool {
    is_secret(field) || field.inner().is_some_and(|inner| inner.iter().any(holds_secrets))
}
