//! The criteria of a route other than hosts and paths: methods, headers, server names, addresses.

use super::query::Prepared;
use super::regexes;
use super::route::RouteError;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;
use model::kinds::routes::IpPort;
use std::net::IpAddr;
use std::sync::Arc;

/// The methods that have a bit of their own.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
/// The bit of all other methods.
pub(super) const OTHER_METHOD: u16 = 1 << METHODS.len();

/// The bit of a method. Methods are case-sensitive (RFC 9110 §9.1).
pub(super) fn method_bit(method: &str) -> u16 {
    METHODS.iter().position(|known| *known == method).map_or(OTHER_METHOD, |index| 1 << index)
}

/// Criteria that few routes have, in one box so that the others pay a pointer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rare {
    /// Methods without a bit of their own.
    pub(super) methods: Box<[Box<str>]>,
    pub(super) headers: Box<[HeaderRule]>,
    pub(super) snis: Box<[SniPattern]>,
    pub(super) sources: Box<[NetRule]>,
    pub(super) destinations: Box<[NetRule]>,
}

impl Rare {
    /// Whether a request meets all but the methods.
    pub(super) fn admits(&self, request: &Prepared<'_>) -> bool {
        let query = request.query;
        let source = query.source.map(|address| (address.ip(), u32::from(address.port())));
        let to = (query.destination.map(|address| address.ip()), request.host.port);
        self.headers.iter().all(|rule| rule.admits(query.headers))
            && (self.snis.is_empty() || !query.https || self.snis.iter().any(|sni| sni.admits(query.sni)))
            && (self.sources.is_empty()
                || source.is_some_and(|(ip, port)| self.sources.iter().any(|rule| rule.admits(Some(ip), port))))
            && (self.destinations.is_empty() || self.destinations.iter().any(|rule| rule.admits(to.0, to.1)))
    }
}

/// One header name with the values that it may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HeaderRule {
    name: HeaderName,
    values: Box<[HeaderValueRule]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HeaderValueRule {
    /// The whole value, in any case.
    Equal(Box<str>),
    /// A regular expression that is met anywhere in the lower-cased value.
    Regex(Arc<str>),
}

impl HeaderRule {
    /// Reads a header criterion. A value that starts with `~*` is a regular expression; Kong lower-cases its text as it
    /// lower-cases values, so `\D` means `\d`.
    pub(super) fn parse(name: &str, values: &[String]) -> Result<Self, RouteError> {
        let invalid = || RouteError::HeaderName(name.to_owned());
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
        let values = values.iter().map(|value| match value.strip_prefix("~*") {
            None => Ok(HeaderValueRule::Equal(value.to_ascii_lowercase().into())),
            Some(source) => {
                let source = source.to_ascii_lowercase();
                regexes::build(&source).map_err(|error| RouteError::HeaderRegex {
                    source_text: source.clone(),
                    reason: error.to_string(),
                })?;
                Ok(HeaderValueRule::Regex(source.into()))
            }
        });
        Ok(Self { name, values: values.collect::<Result<_, RouteError>>()? })
    }

    /// Any value of the request may meet any value of the rule.
    fn admits(&self, headers: &HeaderMap) -> bool {
        headers.get_all(&self.name).iter().any(|given| {
            self.values.iter().any(|rule| match rule {
                HeaderValueRule::Equal(text) => given.as_bytes().eq_ignore_ascii_case(text.as_bytes()),
                HeaderValueRule::Regex(source) => {
                    regexes::get(source).is_some_and(|regex| regex.is_match(&given.as_bytes().to_ascii_lowercase()))
                }
            })
        })
    }
}

/// One server name of a route: exact, or with a wildcard label at either end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SniPattern {
    Exact(Box<str>),
    Suffix(Box<str>),
    Prefix(Box<str>),
}

impl SniPattern {
    /// Reads a server name. The final dot of an absolute name is not compared (Kong: `sni_val_transform`).
    pub(super) fn parse(given: &str) -> Self {
        let lower = given.to_ascii_lowercase();
        if let (Some(prefix), false) = (lower.strip_suffix('*'), lower.starts_with('*')) {
            return Self::Prefix(prefix.into());
        }
        let name = lower.strip_suffix('.').filter(|name| !name.is_empty()).unwrap_or(&lower);
        match name.strip_prefix('*') {
            Some(suffix) => Self::Suffix(suffix.into()),
            None => Self::Exact(name.into()),
        }
    }

    fn admits(&self, sni: Option<&str>) -> bool {
        let Some(sni) = sni.map(str::as_bytes) else { return false };
        let same = |part: Option<&[u8]>, text: &str| part.is_some_and(|p| p.eq_ignore_ascii_case(text.as_bytes()));
        match self {
            Self::Exact(text) => same(Some(sni), text),
            Self::Suffix(text) => same(sni.len().checked_sub(text.len()).and_then(|at| sni.get(at..)), text),
            Self::Prefix(text) => same(sni.get(..text.len()), text),
        }
    }
}

/// One source or destination: an address or network, a port, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NetRule {
    net: Option<IpNet>,
    port: Option<u16>,
}

impl NetRule {
    pub(super) fn parse(field: &'static str, given: &IpPort) -> Result<Self, RouteError> {
        let invalid = |text: &str| RouteError::Address { field, text: text.to_owned() };
        let net = match given.ip.as_deref() {
            None if given.port.is_none() => return Err(invalid("")),
            None => None,
            Some(text) => {
                let net = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
                Some(net.ok_or_else(|| invalid(text))?.trunc())
            }
        };
        Ok(Self { net, port: given.port })
    }

    fn admits(&self, ip: Option<IpAddr>, port: u32) -> bool {
        self.port.is_none_or(|wanted| u32::from(wanted) == port)
            && self.net.is_none_or(|net| ip.is_some_and(|ip| net.contains(&ip.to_canonical())))
    }
}
