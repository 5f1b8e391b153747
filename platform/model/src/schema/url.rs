//! Kong's shorthand `url` of services: one text in place of `protocol`, `host`, `port` and `path`.

use super::Violations;
use crate::body::Object;
use serde_json::Value;

/// Replaces `url`, if given, by what it stands for.
pub(crate) fn expand(service: &mut Object, found: &mut Violations) {
    let url = match service.shift_remove("url") {
        None | Some(Value::Null) => return,
        Some(Value::String(url)) => url,
        Some(_) => return found.add("url", "expected a string"),
    };
    if url.is_empty() {
        return;
    }
    let parts = Parts::of(&url);
    let number = parts.port.and_then(|port| port.parse::<u64>().ok());
    let protocol = parts.scheme.unwrap_or(if number == Some(443) { "https" } else { "http" });
    let port = match (number, parts.port) {
        (Some(number), _) => Value::from(number),
        (None, Some(text)) if !text.is_empty() => Value::from(text),
        (None, _) => Value::from(if protocol == "https" { 443 } else { 80 }),
    };
    let set = |text: Option<&str>| text.filter(|text| !text.is_empty()).map_or(Value::Null, Value::from);
    service.insert("protocol".to_owned(), Value::from(protocol));
    service.insert("host".to_owned(), set(parts.host));
    service.insert("port".to_owned(), port);
    service.insert("path".to_owned(), set(Some(parts.path)));
}

/// A URL taken apart; nothing is checked, the fields' own rules do that.
#[derive(Debug, PartialEq, Eq)]
struct Parts<'a> {
    scheme: Option<&'a str>,
    host: Option<&'a str>,
    port: Option<&'a str>,
    path: &'a str,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Self {
        let url = url.split(['#', '?']).next().unwrap_or_default();
        let (scheme, rest) = match url.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme), rest),
            _ => (None, url),
        };
        let Some(rest) = rest.strip_prefix("//") else { return Self { scheme, host: None, port: None, path: rest } };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        Self { scheme, host: Some(bare.unwrap_or(host)), port, path }
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}
