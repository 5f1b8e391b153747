//! What single texts must look like: names, tags, hosts, paths. The error texts are Kong's.

use super::host::{Host, HostKind, NotAHost};
use super::{Rule, Violations};
use crate::body::Object;
use serde_json::Value;
use std::net::IpAddr;

/// The rules of a URL path.
pub(crate) const PATH: &[Rule] = &[Rule::StartsWith("/"), Rule::NoEmptySegments, Rule::Text(path)];

/// The name of an entity.
pub(crate) fn name(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '~') || !c.is_ascii();
    demand(name.chars().all(allowed), || {
        format!("invalid value '{name}': the only accepted ascii characters are alphanumerics or ., -, _, and ~")
    })
}

/// A tag.
pub(crate) fn tag(tag: &str) -> Result<(), String> {
    let allowed = |c: char| c == ' ' || (c.is_ascii_graphic() && !matches!(c, ',' | '/')) || !c.is_ascii();
    demand(tag.chars().all(allowed), || {
        format!("invalid tag '{tag}': expected printable ascii (except `,` and `/`) or valid utf-8 sequences")
    })
}

/// A URL path as of RFC 3986.
pub(crate) fn path(path: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || ".-_~/%:@!$&'()*+,;=".contains(c);
    demand(path.chars().all(allowed), || {
        format!("invalid path: '{path}' (characters outside of the reserved list of RFC 3986 found)")
    })?;
    percent_encoding(path)
}

/// Every `%` is followed by two hex digits.
pub(crate) fn percent_encoding(text: &str) -> Result<(), String> {
    for (place, _) in text.chars().enumerate().filter(|(_, c)| *c == '%') {
        let digits: String = text.chars().skip(place + 1).take(2).collect();
        if digits.len() != 2 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("invalid url-encoded value: '%{digits}'"));
        }
    }
    Ok(())
}

/// A host without a port.
pub(crate) fn host(host: &str) -> Result<(), String> {
    portless(host, host).map(|_| ())
}

/// A host, perhaps with a port.
pub(crate) fn host_with_optional_port(host: &str) -> Result<(), String> {
    host.parse::<Host>().map(|_| ()).map_err(|error| error.to_string())
}

/// A host without a port; `shown` is what the error names.
fn portless(host: &str, shown: &str) -> Result<Host, String> {
    match host.parse::<Host>() {
        Ok(Host { port: Some(_), .. }) | Err(NotAHost::Port) => Err("must not have a port".to_owned()),
        Ok(host) => Ok(host),
        Err(_) => Err(format!("invalid value: {shown}")),
    }
}

/// A TLS server name.
pub(crate) fn sni(name: &str) -> Result<(), String> {
    server_name(name, name)
}

fn server_name(name: &str, shown: &str) -> Result<(), String> {
    match name.parse::<Host>() {
        Ok(Host { kind: HostKind::V4 | HostKind::V6, .. }) => Err("must not be an IP".to_owned()),
        _ => portless(name, shown).map(|_| ()),
    }
}

/// A TLS server name, perhaps with one wildcard at either end.
pub(crate) fn wildcard_host(host: &str) -> Result<(), String> {
    let Some(place) = host.find('*') else { return sni(host) };
    if place != 0 && place != host.len() - 1 {
        return Err("wildcard must be leftmost or rightmost character".to_owned());
    }
    if host.matches('*').count() > 1 {
        return Err("only one wildcard must be specified".to_owned());
    }
    server_name(&host.replace('*', "wildcard"), host)
}

/// A host of a route: at most one wildcard, as its first or last label.
pub(crate) fn route_host(host: &str) -> Result<(), String> {
    let wildcards = host.matches('*').count();
    if wildcards > 1 {
        return Err("invalid wildcard: must have at most one wildcard".to_owned());
    }
    if wildcards == 1 && !host.starts_with("*.") && !host.ends_with(".*") {
        return Err("invalid wildcard: must be placed at leftmost or rightmost label".to_owned());
    }
    match host.replace('*', "abc").parse::<Host>() {
        Ok(_) => Ok(()),
        Err(NotAHost::Port) => Err(NotAHost::Port.to_string()),
        Err(_) => Err(NotAHost::Name(host.to_owned()).to_string()),
    }
}

/// The name of an upstream.
pub(crate) fn upstream_name(name: &str) -> Result<(), String> {
    match name.parse::<Host>() {
        Err(_) => Err("Invalid name; must be a valid hostname".to_owned()),
        Ok(Host { kind: HostKind::V4 | HostKind::V6, .. }) => Err("Invalid name; no ip addresses allowed".to_owned()),
        Ok(Host { port: Some(_), .. }) => Err("Invalid name; no port allowed".to_owned()),
        Ok(_) => Ok(()),
    }
}

/// A target of an upstream.
pub(crate) fn target(target: &str) -> Result<(), String> {
    let parsed = target.parse::<Host>();
    demand(parsed.is_ok(), || format!("Invalid target ('{target}'); not a valid hostname or ip address"))
}

/// Writes the port into a target that has none, and IPv6 addresses in full.
pub(crate) fn normalize_target(entity: &mut Object, _: &mut Violations) {
    if let Some(Value::String(target)) = entity.get_mut("target")
        && let Ok(host) = target.parse::<Host>()
    {
        *target = host.with_port();
    }
}

/// The name of an HTTP header.
pub(crate) fn header_name(name: &str) -> Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    demand(name.bytes().all(allowed), || {
        format!("bad header name '{name}', allowed characters are A-Z, a-z, 0-9, '_', and '-'")
    })
}

/// The name of a cookie: an HTTP token.
pub(crate) fn cookie_name(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_graphic() && !"()<>@,;:\\\"/?={}[]".contains(c);
    demand(name.chars().all(allowed), || {
        "contains one or more invalid characters. ASCII control characters (0-31;127), space, tab and the \
         characters ()<>@,;:\\\"/?={}[] are not allowed."
            .to_owned()
    })
}

/// An IP address or a range of them.
pub(crate) fn ip_or_cidr(text: &str) -> Result<(), String> {
    let valid = text.parse::<IpAddr>().is_ok() || text.parse::<ipnet::IpNet>().is_ok();
    demand(valid, || format!("invalid ip or cidr range: '{text}'"))
}

fn demand(holds: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(message()) }
}
