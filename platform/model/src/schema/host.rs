//! Hosts as Kong reads them: a name, an IPv4 or an IPv6 address, perhaps with a port.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The port of targets that name none.
const TARGET_PORT: u16 = 8000;

/// A host that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) kind: HostKind,
    /// Normalised: IPv4 without leading zeros, IPv6 written out in full.
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
}

/// What kind of host it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostKind {
    Name,
    V4,
    V6,
}

/// Why it is not a host. The texts are Kong's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAHost {
    #[error("invalid hostname: {0}")]
    Name(String),
    #[error("invalid ipv4 address: {0}")]
    V4(String),
    #[error("invalid ipv6 address: {0}")]
    V6(String),
    #[error("invalid port number")]
    Port,
}

impl std::str::FromStr for Host {
    type Err = NotAHost;

    fn from_str(address: &str) -> Result<Self, NotAHost> {
        let before_port = address.split(':').next().unwrap_or_default();
        if address.bytes().filter(|byte| *byte == b':').count() > 1 {
            v6(address)
        } else if !before_port.is_empty() && before_port.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            v4(address)
        } else {
            name(address)
        }
    }
}

impl Host {
    /// `host:port`, with brackets around IPv6.
    pub(crate) fn with_port(&self) -> String {
        let port = self.port.unwrap_or(TARGET_PORT);
        match self.kind {
            HostKind::V6 => format!("[{}]:{port}", self.host),
            HostKind::Name | HostKind::V4 => format!("{}:{port}", self.host),
        }
    }
}

fn port(digits: &str) -> Result<u16, NotAHost> {
    digits.parse().map_err(|_| NotAHost::Port)
}

/// The text without a `:digits` at its end, and the port.
fn split_port(address: &str) -> Result<(&str, Option<u16>), NotAHost> {
    match address.rsplit_once(':') {
        Some((host, digits)) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok((host, Some(port(digits)?)))
        }
        _ => Ok((address, None)),
    }
}

fn v4(address: &str) -> Result<Host, NotAHost> {
    let invalid = || NotAHost::V4(address.to_owned());
    let (host, port) = split_port(address)?;
    let octets: Vec<u8> = host
        .split('.')
        .map(|octet| if octet.len() <= 3 { octet.parse::<u8>().ok() } else { None })
        .collect::<Option<_>>()
        .ok_or_else(invalid)?;
    let octets: [u8; 4] = octets.try_into().map_err(|_| invalid())?;
    Ok(Host { kind: HostKind::V4, host: Ipv4Addr::from(octets).to_string(), port })
}

fn v6(address: &str) -> Result<Host, NotAHost> {
    let invalid = || NotAHost::V6(address.to_owned());
    let (inner, port) = match address.strip_prefix('[') {
        None => (address, None),
        Some(rest) => {
            let (inner, after) = rest.split_once(']').ok_or_else(invalid)?;
            match after.strip_prefix(':') {
                Some(digits) => (inner, Some(port(digits)?)),
                None if after.is_empty() => (inner, None),
                None => return Err(invalid()),
            }
        }
    };
    let parsed: Ipv6Addr = inner.parse().map_err(|_| invalid())?;
    let mut host = String::with_capacity(39);
    for (place, segment) in parsed.segments().into_iter().enumerate() {
        let colon = if place == 0 { "" } else { ":" };
        // Writing to a String cannot fail.
        let _ = write!(host, "{colon}{segment:04x}");
    }
    Ok(Host { kind: HostKind::V6, host, port })
}

fn name(address: &str) -> Result<Host, NotAHost> {
    let invalid = || NotAHost::Name(address.to_owned());
    let (name, port) = split_port(address)?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if name.is_empty() || !name.bytes().all(allowed) {
        return Err(invalid());
    }
    let labels: Vec<&str> = name.split('.').collect();
    let last = labels.len() - 1;
    let bad = |(place, label): (usize, &&str)| label.ends_with('-') || (label.is_empty() && place != last);
    if labels.iter().enumerate().any(bad) {
        return Err(invalid());
    }
    Ok(Host { kind: HostKind::Name, host: name.to_owned(), port })
}
