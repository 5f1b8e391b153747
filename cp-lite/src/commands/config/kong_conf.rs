//! A kong.conf as our settings: the keys have the same names, and what has no meaning here is named. Which program it
//! becomes a settings file for follows from `role`.

use crate::config::keys::KEYS;
use settings::{Kind, Value};
use std::collections::BTreeMap;
use std::fmt::Write;

const NUMBER: Kind = Kind::Number { min: 0, max: u64::MAX };

/// The settings of `edge-gateway`, which this program does not see. That one checks the values.
pub const GATEWAY_KEYS: &[(&str, Kind)] = &[
    ("allow_debug_header", Kind::Flag),
    ("cluster_ca_cert", Kind::Text),
    ("cluster_cert", Kind::Text),
    ("cluster_cert_key", Kind::Text),
    ("cluster_control_plane", Kind::List),
    ("cluster_dp_labels", Kind::List),
    ("cluster_mtls", Kind::Text),
    ("cluster_server_name", Kind::Text),
    ("cluster_use_proxy", Kind::Flag),
    ("declarative_config", Kind::Text),
    ("headers", Kind::List),
    ("headers_upstream", Kind::List),
    ("incremental_sync", Kind::Flag),
    ("log_level", Kind::Text),
    ("lua_ssl_trusted_certificate", Kind::List),
    ("nginx_worker_processes", Kind::Text),
    ("prefix", Kind::Text),
    ("proxy_access_log", Kind::Text),
    ("proxy_listen", Kind::List),
    ("proxy_server", Kind::Text),
    ("real_ip_header", Kind::Text),
    ("real_ip_recursive", Kind::Flag),
    ("status_listen", Kind::List),
    ("trusted_ips", Kind::List),
    ("upstream_keepalive_idle_timeout", NUMBER),
    ("upstream_keepalive_max_requests", NUMBER),
    ("upstream_keepalive_pool_size", NUMBER),
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
    let (program, known): (_, fn(&str) -> Option<Kind>) = match role.as_deref() {
        Some("control_plane") => (CONTROL_PLANE, own),
        _ => (GATEWAY, gateway),
    };
    _ = writeln!(converted.toml, "# Settings of {program}, from a kong.conf.");
    for (key, (line, value)) in entries {
        match known(&key) {
            Some(kind) => converted.carry(line, &key, &value, kind),
            None => converted.note(line, &key, &reason(&key, program)),
        }
    }
    converted.notes.sort_by_key(|note| note.line);
    converted
}

const CONTROL_PLANE: &str = "cp-lite";
const GATEWAY: &str = "edge-gateway";

fn own(key: &str) -> Option<Kind> {
    KEYS.iter().find(|own| own.name == key).map(|own| own.kind)
}

fn gateway(key: &str) -> Option<Kind> {
    GATEWAY_KEYS.iter().find(|(name, _)| *name == key).map(|(_, kind)| *kind)
}

impl Converted {
    fn carry(&mut self, line: usize, key: &str, value: &str, kind: Kind) {
        let value = match kind.read_text(value) {
            Ok(value) => value,
            Err(expected) => return self.note(line, key, &expected),
        };
        let value = match value {
            Value::Text(text) => quoted(&text),
            Value::Flag(flag) => flag.to_string(),
            Value::Number(number) => number.to_string(),
            Value::List(items) if key.ends_with("_listen") => self.addresses(line, key, &items),
            Value::List(items) => list(&items),
        };
        _ = writeln!(self.toml, "{key} = {value}");
        self.carried += 1;
    }

    /// Addresses without what they tell nginx about its sockets.
    fn addresses(&mut self, line: usize, key: &str, items: &[String]) -> String {
        let mut kept = Vec::with_capacity(items.len());
        for item in items {
            let (own, foreign): (Vec<&str>, Vec<&str>) =
                item.split_whitespace().partition(|word| *word == "ssl" || !is_socket_option(word));
            if !foreign.is_empty() {
                self.note(line, key, &format!("left out: {}", foreign.join(" ")));
            }
            kept.push(own.join(" "));
        }
        list(&kept)
    }

    fn note(&mut self, line: usize, key: &str, message: &str) {
        self.notes.push(Note { line, key: key.to_owned(), message: message.to_owned() });
    }
}

/// What may follow an address in kong.conf besides `ssl`.
fn is_socket_option(word: &str) -> bool {
    let options = ["backlog=", "so_keepalive=", "ipv6only="];
    matches!(word, "http2" | "proxy_protocol" | "deferred" | "bind" | "reuseport")
        || options.iter().any(|option| word.starts_with(option))
}

fn list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
    format!("[{}]", items.join(", "))
}

/// What of Kong's settings begins so is about something that is not inside either program.
const ELSEWHERE: [&str; 8] = ["cassandra_", "database", "db_cache_", "lua_", "mem_cache_", "nginx_", "pg_", "wasm"];

/// Why a key has no place in the program's settings.
fn reason(key: &str, program: &str) -> String {
    let other = match program {
        CONTROL_PLANE => gateway(key).map(|_| GATEWAY),
        _ => own(key).map(|_| CONTROL_PLANE),
    };
    match other {
        Some(other) => format!("not carried over: a setting of {other}, not of {program}"),
        None if ELSEWHERE.iter().any(|prefix| key.starts_with(prefix)) => {
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
