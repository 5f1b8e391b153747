//! Hosts: what a route may name, how a request's Host header is read, and the keys of the buckets that both select.
//!
//! Kong compares hosts byte by byte; we fold them to lower case on both sides (RFC 9110 §4.2.3: hosts are
//! case-insensitive), a deliberate difference.

use super::route::RouteError;
use super::short::Short;

/// Longest host in bytes, port not included: a DNS name has at most 253. A request with a longer one meets no route
/// that names hosts.
pub(super) const HOST_BYTES_MAX: usize = 255;

/// How a pattern's text is compared with a request's host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum HostKind {
    /// The whole host.
    Exact = 1,
    /// `*.example.com`: the host ends with `.example.com`.
    Suffix = 2,
    /// `example.*`: the host starts with `example.`.
    Prefix = 3,
}

/// One host of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HostPattern {
    /// Lower case, without the asterisk and the port.
    pub(super) text: Short,
    /// The port that is required too.
    pub(super) port: Option<u16>,
    pub(super) kind: HostKind,
}

impl HostPattern {
    /// Reads a host as a route gives it: plain or with one `*` label at either end, and with an optional port.
    pub(super) fn parse(given: &str) -> Result<Self, RouteError> {
        let invalid = || RouteError::Host(given.to_owned());
        let (name, port) = split_port(given);
        let port = port.map(u16::try_from).transpose().map_err(|_| invalid())?;
        let (text, kind) = if let Some(suffix) = name.strip_prefix('*') {
            (suffix, HostKind::Suffix)
        } else if let Some(prefix) = name.strip_suffix('*') {
            (prefix, HostKind::Prefix)
        } else {
            (name, HostKind::Exact)
        };
        let edge = match kind {
            HostKind::Exact => !text.is_empty(),
            HostKind::Suffix => text.starts_with('.'),
            HostKind::Prefix => text.ends_with('.'),
        };
        if !edge || text.contains('*') || text.len() > HOST_BYTES_MAX {
            return Err(invalid());
        }
        Ok(Self { text: text.to_ascii_lowercase().as_bytes().into(), port, kind })
    }

    /// Whether a request's host (folded) and port meet it.
    pub(super) fn admits(&self, host: &[u8], port: u32) -> bool {
        let text = self.text.bytes();
        self.port.is_none_or(|wanted| u32::from(wanted) == port)
            && match self.kind {
                HostKind::Exact => host == text,
                HostKind::Suffix => host.ends_with(text),
                HostKind::Prefix => host.starts_with(text),
            }
    }

    /// The bucket it is filed in.
    pub(super) fn key(&self) -> u128 {
        bucket_key(self.kind, self.text.bytes())
    }
}

/// The bucket for a folded text.
pub(super) fn bucket_key(kind: HostKind, text: &[u8]) -> u128 {
    xxhash_rust::xxh3::xxh3_128_with_seed(text, kind as u64)
}

/// Splits `host:port` at the first colon if only digits follow; `[::1]:80` stays whole (Kong: `split_host_port`).
/// A port beyond 32 bits counts as the greatest, which no route can name.
fn split_port(given: &str) -> (&str, Option<u32>) {
    match given.split_once(':') {
        Some((name, digits)) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            (name, Some(digits.parse().unwrap_or(u32::MAX)))
        }
        _ => (given, None),
    }
}

/// A request's host, folded to lower case in place, with the port that host criteria are compared with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Folded {
    bytes: [u8; HOST_BYTES_MAX],
    /// `None`: no Host header, or one too long.
    length: Option<u8>,
    /// From the Host header, else the listener's.
    pub(super) port: u32,
}

impl Folded {
    pub(super) fn new(host: Option<&str>, listening: u16) -> Self {
        let mut folded = Self { bytes: [0; HOST_BYTES_MAX], length: None, port: u32::from(listening) };
        let Some(host) = host else { return folded };
        let (name, port) = split_port(host);
        folded.port = port.unwrap_or(folded.port);
        if let (Some(room), Ok(length)) = (folded.bytes.get_mut(..name.len()), u8::try_from(name.len())) {
            room.copy_from_slice(name.as_bytes());
            room.make_ascii_lowercase();
            folded.length = Some(length);
        }
        folded
    }

    /// The folded name without its port.
    pub(super) fn name(&self) -> Option<&[u8]> {
        self.bytes.get(..usize::from(self.length?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_plain_and_wildcard_hosts_with_and_without_port() {
        for (given, text, port, kind) in [
            ("A.example.com", "a.example.com", None, HostKind::Exact),
            ("a.com:8080", "a.com", Some(8080), HostKind::Exact),
            ("*.a.com", ".a.com", None, HostKind::Suffix),
            ("*.a.com:80", ".a.com", Some(80), HostKind::Suffix),
            ("a.*", "a.", None, HostKind::Prefix),
            ("a.*:443", "a.", Some(443), HostKind::Prefix),
            ("[::1]:80", "[::1]:80", None, HostKind::Exact),
        ] {
            assert_eq!(
                HostPattern::parse(given).unwrap(),
                HostPattern { text: text.as_bytes().into(), port, kind },
                "{given}"
            );
        }
    }

    #[test]
    fn refuses_what_no_bucket_could_hold() {
        let long = "a".repeat(HOST_BYTES_MAX + 1);
        for given in ["", "*", "*a.com", "a*", "*.a.*", "a.*.com", "a.com:65536", &long] {
            assert_eq!(HostPattern::parse(given), Err(RouteError::Host(given.to_owned())), "{given}");
        }
    }

    #[test]
    fn folds_a_request_host_and_takes_the_port_from_it_or_from_the_listener() {
        let with = Folded::new(Some("A.Com:81"), 8000);
        assert_eq!((with.name(), with.port), (Some(&b"a.com"[..]), 81));
        let without = Folded::new(Some("a.com"), 8000);
        assert_eq!((without.name(), without.port), (Some(&b"a.com"[..]), 8000));
        assert_eq!(Folded::new(None, 8000).name(), None);
        assert_eq!(Folded::new(Some("a.com:x"), 8000).name(), Some(&b"a.com:x"[..]));
        assert_eq!(Folded::new(Some(&"a".repeat(256)), 80).name(), None);
        assert_eq!(Folded::new(Some(&"a".repeat(255)), 80).name().map(<[u8]>::len), Some(255));
    }
}
