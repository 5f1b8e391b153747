//! A kong.conf as our settings: the keys have the same names, and what has no meaning here is named. Which program it
//! becomes a settings file for follows from `role`.

use std::collections::BTreeMap;
use std::fmt::Write;

/// How a value is written in TOML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// In quotes.
    Text,
    /// Bare.
    Number,
    /// In brackets, split at commas.
    List,
}

/// The settings of kong.conf that `edge-gateway` has, too.
pub const GATEWAY_KEYS: &[(&str, Form)] = &[
    ("allow_debug_header", Form::Text),
    ("cluster_ca_cert", Form::Text),
    ("cluster_cert", Form::Text),
    ("cluster_cert_key", Form::Text),
    ("cluster_control_plane", Form::List),
    ("cluster_dp_labels", Form::List),
    ("cluster_mtls", Form::Text),
    ("cluster_server_name", Form::Text),
    ("declarative_config", Form::Text),
    ("headers", Form::List),
    ("incremental_sync", Form::Text),
    ("log_level", Form::Text),
    ("prefix", Form::Text),
    ("proxy_listen", Form::List),
    ("real_ip_header", Form::Text),
    ("status_listen", Form::List),
    ("trusted_ips", Form::List),
    ("upstream_keepalive_idle_timeout", Form::Number),
    ("upstream_keepalive_max_requests", Form::Number),
    ("upstream_keepalive_pool_size", Form::Number),
];

/// The settings of kong.conf that `cp-lite` has, too.
pub const CONTROL_PLANE_KEYS: &[(&str, Form)] = &[
    ("admin_listen", Form::List),
    ("cluster_ca_cert", Form::Text),
    ("cluster_cert", Form::Text),
    ("cluster_cert_key", Form::Text),
    ("cluster_data_plane_purge_delay", Form::Number),
    ("cluster_listen", Form::List),
    ("cluster_mtls", Form::Text),
    ("incremental_sync", Form::Text),
    ("log_level", Form::Text),
    ("prefix", Form::Text),
    ("status_listen", Form::List),
];

/// A kong.conf in our words.
#[derive(Debug, Default)]
pub(super) struct Converted {
    pub(super) toml: String,
    /// How many settings it carries.
    pub(super) carried: usize,
    /// What it does not carry.
    pub(super) notes: Vec<Note>,
}

/// A line that was not carried over, or not without loss.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) message: String,
}

/// Converts the text of a kong.conf.
pub(super) fn convert(text: &str) -> Converted {
    let mut converted = Converted::default();
    let mut entries: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for (place, line) in text.lines().enumerate() {
        let line = without_comment(line);
        if line.is_empty() {
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            converted.note(place + 1, &line, "not a setting: expected 'key = value'");
            continue;
        };
        let key = key.trim().to_ascii_lowercase();
        if let Some((earlier, _)) = entries.insert(key.clone(), (place + 1, value.trim().to_owned())) {
            converted.note(earlier, &key, &format!("set again in line {}, which counts", place + 1));
        }
    }
    let role = entries.remove("role").map(|(_, role)| role);
    let (program, keys) = match role.as_deref() {
        Some("control_plane") => ("cp-lite", CONTROL_PLANE_KEYS),
        _ => ("edge-gateway", GATEWAY_KEYS),
    };
    _ = writeln!(converted.toml, "# Settings of {program}, from a kong.conf.");
    for (key, (line, value)) in entries {
        match keys.iter().find(|(name, _)| *name == key) {
            Some((_, form)) => converted.carry(line, &key, &value, *form),
            None => converted.note(line, &key, &reason(&key, program)),
        }
    }
    converted.notes.sort_by_key(|note| note.line);
    converted
}

impl Converted {
    fn carry(&mut self, line: usize, key: &str, value: &str, form: Form) {
        let value = match form {
            Form::Text => quoted(value),
            Form::List if value.eq_ignore_ascii_case("off") => quoted("off"),
            Form::List => {
                format!("[{}]", value.split(',').map(|item| quoted(item.trim())).collect::<Vec<_>>().join(", "))
            }
            Form::Number => match value.parse::<u64>() {
                Ok(number) => number.to_string(),
                Err(_) => return self.note(line, key, &format!("expected a whole number, not \"{value}\"")),
            },
        };
        _ = writeln!(self.toml, "{key} = {value}");
        self.carried += 1;
    }

    fn note(&mut self, line: usize, key: &str, message: &str) {
        self.notes.push(Note { line, key: key.to_owned(), message: message.to_owned() });
    }
}

/// Why a key has no place in the program's settings.
fn reason(key: &str, program: &str) -> String {
    let nginx = ["nginx_", "lua_", "worker_", "mem_cache_", "db_cache_", "pg_", "database", "cassandra_", "wasm"];
    let elsewhere = GATEWAY_KEYS
        .iter()
        .map(|key| ("edge-gateway", key))
        .chain(CONTROL_PLANE_KEYS.iter().map(|key| ("cp-lite", key)));
    let mut elsewhere = elsewhere.filter(|(_, (name, _))| *name == key).map(|(program, _)| program);
    match elsewhere.next() {
        Some(other) => format!("not carried over: a setting of {other}, not of {program}"),
        None if nginx.iter().any(|prefix| key.starts_with(prefix)) => {
            "not carried over: about nginx, Lua, WebAssembly or a database, none of which is here".to_owned()
        }
        None => format!("not carried over: {program} has no such setting"),
    }
}

/// A line without its comment: from a `#` that begins it or stands behind a space. `\#` is a `#`.
fn without_comment(line: &str) -> String {
    let mut previous = ' ';
    let mut end = line.len();
    for (at, character) in line.char_indices() {
        if character == '#' && previous.is_whitespace() {
            end = at;
            break;
        }
        previous = character;
    }
    line.get(..end).unwrap_or_default().trim().replace("\\#", "#")
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            character if character.is_control() => _ = write!(out, "\\u{:04X}", u32::from(character)),
            character => out.push(character),
        }
    }
    out.push('"');
    out
}
