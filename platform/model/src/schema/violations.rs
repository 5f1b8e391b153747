//! The mistakes found in one entity, and Kong's error body for them.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Kong's code of a schema violation.
const CODE: u8 = 2;

/// All mistakes of one entity: per field, nested as the entity is, and those between fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Violations {
    fields: BTreeMap<String, Complaint>,
    entity: Vec<String>,
}

/// What is wrong with one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Complaint {
    /// With the value itself.
    Text(String),
    /// With elements of an array or set, by their place from 0.
    Elements(BTreeMap<usize, Complaint>),
    /// With fields of a record or entries of a map.
    Fields(BTreeMap<String, Complaint>),
}

impl Violations {
    /// One mistake in one field; `path` is dotted (`config.key_names`).
    #[must_use]
    pub fn of(path: &str, message: impl Into<String>) -> Self {
        let mut violations = Self::default();
        violations.add(path, message);
        violations
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.entity.is_empty()
    }

    /// Adds a mistake in a field; `path` is dotted. The first mistake of a field stands.
    pub fn add(&mut self, path: &str, message: impl Into<String>) {
        let mut names: Vec<&str> = path.split('.').collect();
        let last = names.pop().unwrap_or_default();
        let mut fields = &mut self.fields;
        for name in names {
            let inner = fields.entry(name.to_owned()).or_insert_with(|| Complaint::Fields(BTreeMap::new()));
            let Complaint::Fields(inner) = inner else { return };
            fields = inner;
        }
        fields.entry(last.to_owned()).or_insert_with(|| Complaint::Text(message.into()));
    }

    /// Adds a mistake between fields (Kong's `@entity`).
    pub fn add_entity(&mut self, message: impl Into<String>) {
        self.entity.push(message.into());
    }

    /// Adds what is wrong with a top-level field.
    pub(super) fn put(&mut self, field: &str, complaint: Complaint) {
        self.fields.entry(field.to_owned()).or_insert(complaint);
    }

    /// The outcome of a further check, if there were no mistakes before it; else all of them.
    pub(super) fn before<T>(mut self, outcome: Result<T, Self>) -> Result<T, Self> {
        match outcome {
            Ok(value) if self.is_empty() => Ok(value),
            Ok(_) => Err(self),
            Err(others) => {
                self.merge(others);
                Err(self)
            }
        }
    }

    /// Whether there are mistakes in the field; `path` is dotted.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        let mut names = path.split('.');
        let mut found = names.next().and_then(|name| self.fields.get(name));
        for name in names {
            found = match found {
                Some(Complaint::Fields(inner)) => inner.get(name),
                _ => return found.is_some(),
            };
        }
        found.is_some()
    }

    /// Moves everything below a field, as a plugin's violations below `config`. Mistakes between fields stay on top.
    #[must_use]
    pub fn below(self, field: &str) -> Self {
        let mut fields = BTreeMap::new();
        if !self.fields.is_empty() {
            fields.insert(field.to_owned(), Complaint::Fields(self.fields));
        }
        Self { fields, entity: self.entity }
    }

    /// Takes over the mistakes of another list.
    pub fn merge(&mut self, other: Self) {
        for (name, complaint) in other.fields {
            match (self.fields.get_mut(&name), complaint) {
                (Some(Complaint::Fields(mine)), Complaint::Fields(theirs)) => mine.extend(theirs),
                (Some(_), _) => {}
                (None, complaint) => {
                    self.fields.insert(name, complaint);
                }
            }
        }
        self.entity.extend(other.entity);
    }

    /// Kong's error body (HTTP status 400).
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"code": CODE, "name": "schema violation", "message": self.message(), "fields": self.to_fields()})
    }

    /// Kong's `fields` object, `@entity` included.
    #[must_use]
    pub fn to_fields(&self) -> Value {
        let mut fields = Map::new();
        if !self.entity.is_empty() {
            fields.insert("@entity".to_owned(), json!(self.entity));
        }
        for (name, complaint) in &self.fields {
            fields.insert(name.clone(), complaint.to_json());
        }
        Value::Object(fields)
    }

    /// Kong's sentence: `schema violation (host: required field missing)`, `2 schema violations (…; …)`.
    #[must_use]
    pub fn message(&self) -> String {
        let mut parts = self.entity.clone();
        for (name, complaint) in &self.fields {
            complaint.describe(name, &mut parts);
        }
        match parts.as_slice() {
            [one] => format!("schema violation ({one})"),
            many => format!("{} schema violations ({})", many.len(), many.join("; ")),
        }
    }

    /// Every mistake with its dotted path, elements counted from 1 as in Kong's messages; `@entity` for those between
    /// fields.
    #[must_use]
    pub fn flatten(&self) -> Vec<(String, String)> {
        let mut list: Vec<_> = self.entity.iter().map(|message| ("@entity".to_owned(), message.clone())).collect();
        for (name, complaint) in &self.fields {
            complaint.flatten(name, &mut list);
        }
        list
    }
}

impl std::fmt::Display for Violations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message())
    }
}

impl std::error::Error for Violations {}

impl Complaint {
    fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => Value::String(text.clone()),
            Self::Fields(fields) => fields.iter().map(|(name, inner)| (name.clone(), inner.to_json())).collect(),
            Self::Elements(elements) => {
                let length = elements.keys().next_back().map_or(0, |last| last + 1);
                (0..length).map(|place| elements.get(&place).map_or(Value::Null, Self::to_json)).collect()
            }
        }
    }

    /// What is inside, by name or by place from 1.
    fn inner(&self) -> Vec<(String, &Self)> {
        match self {
            Self::Text(_) => Vec::new(),
            Self::Elements(elements) => {
                elements.iter().map(|(place, inner)| ((place + 1).to_string(), inner)).collect()
            }
            Self::Fields(fields) => fields.iter().map(|(name, inner)| (name.clone(), inner)).collect(),
        }
    }

    fn flatten(&self, path: &str, list: &mut Vec<(String, String)>) {
        if let Self::Text(text) = self {
            list.push((path.to_owned(), text.clone()));
        }
        for (name, inner) in self.inner() {
            inner.flatten(&format!("{path}.{name}"), list);
        }
    }

    /// The parts of Kong's sentence. It names two levels and prints what lies deeper as a table.
    fn describe(&self, name: &str, parts: &mut Vec<String>) {
        if let Self::Text(text) = self {
            parts.push(format!("{name}: {text}"));
        }
        for (inner_name, inner) in self.inner() {
            let mut text = String::new();
            inner.print(0, &mut text);
            parts.push(format!("{name}.{inner_name}: {text}"));
        }
    }

    /// Prints a text bare at the top and quoted within, a table in braces, two spaces deeper at each level.
    fn print(&self, depth: usize, out: &mut String) {
        match self {
            Self::Text(text) if depth == 0 => out.push_str(text),
            Self::Text(text) => out.push_str(&format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))),
            Self::Elements(_) | Self::Fields(_) => {
                let indent = "  ".repeat(depth + 1);
                let lines: Vec<String> = self
                    .inner()
                    .into_iter()
                    .map(|(name, inner)| {
                        let mut line = format!("{indent}{}", self.label(&name));
                        inner.print(depth + 1, &mut line);
                        line
                    })
                    .collect();
                out.push_str(&format!("{{\n{}\n{}}}", lines.join(",\n"), "  ".repeat(depth)));
            }
        }
    }

    /// How an entry is introduced: elements of an unbroken list are not numbered.
    fn label(&self, name: &str) -> String {
        match self {
            Self::Elements(elements) if elements.keys().enumerate().all(|(place, key)| place == *key) => String::new(),
            Self::Elements(_) => format!("[{name}] = "),
            Self::Text(_) | Self::Fields(_) => format!("{name} = "),
        }
    }
}
