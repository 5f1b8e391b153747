//! One setting: its name, its type, its default and its doc; and how its value is read from a TOML value or from
//! text (environment, flags, defaults, credentials).

use toml::de::DeValue;

/// A setting, as a row of a program's table.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// In lower case with underscores, as in kong.conf.
    pub name: &'static str,
    /// What a value may look like.
    pub kind: Kind,
    /// The default, as one would write it in the environment; `None` for a setting that is unset by default.
    pub default: Option<&'static str>,
    /// Whether its value must not be shown, and may come as a credential.
    pub secret: bool,
    /// What it is for: full sentences, for help and man pages.
    pub doc: &'static str,
}

impl Key {
    /// A setting that has a default.
    pub const fn new(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
        Key { name, kind, default: Some(default), secret: false, doc }
    }

    /// A setting that is unset by default.
    pub const fn unset(name: &'static str, kind: Kind, doc: &'static str) -> Key {
        Key { name, kind, default: None, secret: false, doc }
    }

    /// The same, but a secret.
    pub const fn secret(self) -> Key {
        Key { secret: true, ..self }
    }
}

/// What a value may look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// `true`, `false`, `on`, `off`.
    Flag,
    /// A whole number between two bounds, both included.
    Number {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Several texts: a TOML array, or one text with commas.
    List,
}

/// A value that fits its kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// Of [`Kind::Text`] and [`Kind::Choice`].
    Text(String),
    /// Of [`Kind::Flag`].
    Flag(bool),
    /// Of [`Kind::Number`].
    Number(u64),
    /// Of [`Kind::List`].
    List(Vec<String>),
}

impl Kind {
    /// Reads a value from text. The error is a phrase that completes "… is wrong:".
    pub fn read_text(self, text: &str) -> Result<Value, String> {
        match self {
            Kind::Text => Ok(Value::Text(text.to_owned())),
            Kind::Flag => flag(text).map(Value::Flag).ok_or_else(|| format!("expected on or off, not {text:?}")),
            Kind::Number { .. } => match text.trim().parse() {
                Ok(number) => self.number(number),
                Err(_) => Err(format!("expected {}, not {text:?}", self.describe())),
            },
            Kind::Choice(words) => match words.contains(&text) {
                true => Ok(Value::Text(text.to_owned())),
                false => Err(format!("expected {}, not {text:?}", self.describe())),
            },
            Kind::List => Ok(Value::List(split_list(text))),
        }
    }

    /// Reads a value from a TOML value; text is taken too wherever [`Kind::read_text`] understands it.
    pub(crate) fn read_toml(self, value: &DeValue<'_>) -> Result<Value, String> {
        match (self, value) {
            (_, DeValue::String(text)) => self.read_text(text),
            (Kind::Flag, DeValue::Boolean(flag)) => Ok(Value::Flag(*flag)),
            (Kind::Number { .. }, DeValue::Integer(integer)) => {
                match u64::from_str_radix(integer.as_str(), integer.radix()) {
                    Ok(number) => self.number(number),
                    Err(_) => Err(format!("expected {}, not {integer}", self.describe())),
                }
            }
            // Kong writes `off` where a list may be empty, and TOML has a word for that.
            (Kind::List, DeValue::Boolean(false)) => Ok(Value::List(vec!["off".to_owned()])),
            (Kind::List, DeValue::Array(items)) => {
                let text = |item: &DeValue<'_>| match item {
                    DeValue::String(text) => Ok(text.trim().to_owned()),
                    other => Err(format!("expected an array of texts, found {} in it", noun(other))),
                };
                items.iter().map(|item| text(item.get_ref())).collect::<Result<_, _>>().map(Value::List)
            }
            (_, other) => Err(format!("expected {}, not {}", self.describe(), noun(other))),
        }
    }

    /// A noun phrase for errors and help.
    pub fn describe(self) -> String {
        match self {
            Kind::Text => "text in quotes".to_owned(),
            Kind::Flag => "on or off".to_owned(),
            Kind::Number { min, max: u64::MAX } => format!("a whole number from {min}"),
            Kind::Number { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
            Kind::List => "a list of texts".to_owned(),
        }
    }

    fn number(self, number: u64) -> Result<Value, String> {
        match self {
            Kind::Number { min, max } if (min..=max).contains(&number) => Ok(Value::Number(number)),
            _ => Err(format!("expected {}, not {number}", self.describe())),
        }
    }
}

/// Kong's words for truth.
fn flag(text: &str) -> Option<bool> {
    match text {
        "on" | "true" => Some(true),
        "off" | "false" => Some(false),
        _ => None,
    }
}

fn split_list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn noun(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Kind = Kind::Number { min: 1, max: 9 };

    fn toml(kind: Kind, value: &str) -> Result<Value, String> {
        let parsed = DeValue::parse(value).unwrap();
        kind.read_toml(parsed.get_ref())
    }

    #[test]
    fn on_and_off_are_taken_wherever_kong_takes_them() {
        for (text, expected) in [("on", true), ("off", false), ("true", true), ("false", false)] {
            assert_eq!(Kind::Flag.read_text(text), Ok(Value::Flag(expected)));
            assert_eq!(toml(Kind::Flag, &format!("\"{text}\"")), Ok(Value::Flag(expected)));
        }
        assert_eq!(toml(Kind::Flag, "true"), Ok(Value::Flag(true)));
        assert_eq!(toml(Kind::Flag, "1").unwrap_err(), "expected on or off, not a whole number");
        assert_eq!(Kind::Flag.read_text("yes").unwrap_err(), "expected on or off, not \"yes\"");
    }

    #[test]
    fn numbers_keep_their_bounds() {
        assert_eq!(toml(SMALL, "9"), Ok(Value::Number(9)));
        assert_eq!(toml(SMALL, "0x09"), Ok(Value::Number(9)));
        assert_eq!(toml(SMALL, "\"9\""), Ok(Value::Number(9)));
        assert_eq!(toml(SMALL, "10").unwrap_err(), "expected a whole number from 1 to 9, not 10");
        assert_eq!(toml(SMALL, "-1").unwrap_err(), "expected a whole number from 1 to 9, not -1");
        assert_eq!(SMALL.read_text("").unwrap_err(), "expected a whole number from 1 to 9, not \"\"");
    }

    #[test]
    fn a_list_is_an_array_or_text_with_commas() {
        let expected = Ok(Value::List(vec!["a".to_owned(), "b c".to_owned()]));
        assert_eq!(Kind::List.read_text(" a , b c,"), expected);
        assert_eq!(toml(Kind::List, "['a', 'b c']"), expected);
        assert_eq!(toml(Kind::List, "'a,b c'"), expected);
        assert_eq!(toml(Kind::List, "[1]").unwrap_err(), "expected an array of texts, found a whole number in it");
    }

    #[test]
    fn a_choice_names_its_words() {
        let kind = Kind::Choice(&["shared", "pki"]);
        assert_eq!(kind.read_text("pki"), Ok(Value::Text("pki".to_owned())));
        assert_eq!(kind.read_text("PKI").unwrap_err(), "expected one of shared, pki, not \"PKI\"");
    }
}
