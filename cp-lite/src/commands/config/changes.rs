//! A plan for people: a line per entity, a line per field of an update. Secrets are not shown.

use super::plan::{Plan, Step};
use model::Kind;
use model::body::Object;
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
    let named = def.endpoint_key.filter(|field| !is_secret(step.kind, field)).and_then(text);
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
        if is_secret(kind, name) {
            _ = writeln!(text, "    {name}: changed (not shown)");
        } else {
            differences(name, old, new, text);
        }
    }
}

/// The leaves that differ, each with its path.
fn differences(path: &str, old: &Value, new: &Value, text: &mut String) {
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        _ = writeln!(text, "    {path}: {} → {}", short(old), short(new));
        return;
    };
    for name in after.keys().chain(before.keys().filter(|name| !after.contains_key(*name))) {
        let (old, new) = (before.get(name).unwrap_or(&Value::Null), after.get(name).unwrap_or(&Value::Null));
        if old != new {
            differences(&format!("{path}.{name}"), old, new, text);
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
fn is_secret(kind: Kind, name: &str) -> bool {
    let field = kind.def().schema.field(name);
    field.is_some_and(|field| field.secret || (field.auto && !matches!(name, "id" | "created_at" | "updated_at")))
}
