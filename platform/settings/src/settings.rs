//! The merged settings, from which a program takes its typed configuration.
//!
//! Taking never fails on the spot: what a parser refuses is noted with the place that it came from, and
//! [`Settings::finish`] hands out all of it at once. Kinds are checked while reading, so that flags, numbers and
//! choices are simply there.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::key::{Key, Value};
use crate::mistake::{Mistake, Mistakes, Origin};

/// All settings with their origins, and the mistakes found so far.
#[derive(Clone, Debug)]
pub struct Settings {
    keys: &'static [Key],
    values: BTreeMap<&'static str, (Value, Origin)>,
    mistakes: Vec<Mistake>,
}

impl Settings {
    pub(crate) fn new(
        keys: &'static [Key],
        values: BTreeMap<&'static str, (Value, Origin)>,
        mistakes: Vec<Mistake>,
    ) -> Settings {
        Settings { keys, values, mistakes }
    }

    /// A text or a choice; `None` if unset.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.values.get(name) {
            Some((Value::Text(text), _)) => Some(text),
            _ => None,
        }
    }

    /// A flag.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.values.get(name), Some((Value::Flag(true), _)))
    }

    /// A number; zero if its value was refused, which [`Settings::finish`] tells.
    pub fn number(&self, name: &str) -> u64 {
        match self.values.get(name) {
            Some((Value::Number(number), _)) => *number,
            _ => 0,
        }
    }

    /// A list; empty if unset.
    pub fn list(&self, name: &str) -> &[String] {
        match self.values.get(name) {
            Some((Value::List(list), _)) => list,
            _ => &[],
        }
    }

    /// A text made into something better. `None` if it is unset, or refused, which is noted.
    pub fn parsed<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let parsed = parse(self.text(name)?);
        self.noted(name, parsed)
    }

    /// A list, each item made into something better. `None` if an item was refused; an unset list is empty.
    pub fn parsed_list<T>(&mut self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<Vec<T>> {
        let parsed = self.list(name).iter().map(|item| parse(item)).collect();
        self.noted(name, parsed)
    }

    /// A list as a whole made into something better. `None` if it was refused; an unset list is empty.
    pub fn parsed_whole<T>(&mut self, name: &str, parse: impl FnOnce(&[String]) -> Result<T, String>) -> Option<T> {
        let parsed = parse(self.list(name));
        self.noted(name, parsed)
    }

    /// What was read elsewhere, or `None` with the reason noted against this setting.
    pub fn noted<T>(&mut self, name: &str, read: Result<T, impl std::fmt::Display>) -> Option<T> {
        read.map_err(|why| self.mistake(name, why.to_string())).ok()
    }

    /// Notes that the value of this setting is wrong.
    pub fn mistake(&mut self, name: &str, why: impl AsRef<str>) {
        let origin = self.origin(name).clone();
        self.mistakes.push(Mistake::new(origin, format!("{name}: {}", why.as_ref())));
    }

    /// All settings in the order of the table, with their values, if set.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Key, Option<&Value>)> {
        self.keys.iter().map(|key| (key, self.values.get(key.name).map(|(value, _)| value)))
    }

    /// Where the value of this setting came from.
    pub fn origin(&self, name: &str) -> &Origin {
        self.values.get(name).map_or(&Origin::Default, |(_, origin)| origin)
    }

    /// All mistakes, if any.
    pub fn finish(&self) -> Result<(), Mistakes> {
        if self.mistakes.is_empty() {
            return Ok(());
        }
        let mut mistakes = self.mistakes.clone();
        mistakes.sort_by_key(Mistake::order);
        Err(Mistakes(mistakes))
    }

    /// The merged result as TOML, each value with the place that it came from. Secrets are not shown.
    pub fn show(&self) -> String {
        let width = self.keys.iter().map(|key| key.name.len()).max().unwrap_or(0);
        let mut shown = String::new();
        for key in self.keys {
            let line = match self.values.get(key.name) {
                None => format!("# {:width$} is unset", key.name),
                Some((value, origin)) => {
                    let value = if key.secret && !is_path(value) { "\"***\"".to_owned() } else { toml(value) };
                    format!("{:width$} = {value}  # {origin}", key.name)
                }
            };
            let _ = writeln!(shown, "{line}");
        }
        shown
    }
}

/// A path is no secret, though what it leads to may be.
fn is_path(value: &Value) -> bool {
    matches!(value, Value::Text(text) if text.starts_with(['/', '.']) && !text.contains('\n'))
}

fn toml(value: &Value) -> String {
    match value {
        Value::Text(text) => quoted(text),
        Value::Flag(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::List(list) => format!("[{}]", list.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", ")),
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => drop(write!(quoted, "\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
