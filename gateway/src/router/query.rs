//! What a lookup is given and what it gives back. Both borrow: a lookup allocates nothing, unless a header is matched
//! by a regular expression.

use super::host::Folded;
use super::pattern::PathPattern;
use super::route::CompiledRoute;
use http::HeaderMap;
use std::net::SocketAddr;
use std::sync::Arc;

/// A request, as far as routing looks at it.
#[derive(Debug, Clone, Copy)]
pub struct Query<'q> {
    /// The method, as sent.
    pub method: &'q str,
    /// The Host header (or `:authority`) as sent, in any case, with or without a port.
    pub host: Option<&'q str>,
    /// The port the request came in on: what a host's port is compared with when the Host header has none.
    pub port: u16,
    /// The path without the query, normalised as the caller sees fit (Kong: percent-decoded, dot segments removed,
    /// slashes merged).
    pub path: &'q str,
    /// The request's headers.
    pub headers: &'q HeaderMap,
    /// Whether it came over TLS. Without, `snis` of routes are not looked at.
    pub https: bool,
    /// The server name of the TLS handshake.
    pub sni: Option<&'q str>,
    /// Where it came from.
    pub source: Option<SocketAddr>,
    /// The address it was sent to. For its port see [`Query::port`] and the Host header, as in Kong.
    pub destination: Option<SocketAddr>,
}

/// A query with what is computed once per lookup.
#[derive(Debug)]
pub(super) struct Prepared<'q> {
    pub(super) query: &'q Query<'q>,
    pub(super) host: Folded,
    pub(super) method: u16,
}

/// The route that a request belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Match<'r> {
    /// The route.
    pub route: &'r Arc<CompiledRoute>,
    /// How many bytes at the beginning of the path `strip_path` takes away: the prefix, or the length of what the
    /// regular expression matched. For a route without paths 1: Kong takes the leading slash.
    pub matched: usize,
    pub(super) path: Option<usize>,
}

impl Match<'_> {
    /// What the groups of the regular expression matched in `path`, which must be the path of the query.
    /// `None` when the route was not found by a regular expression, or by one without groups.
    #[must_use]
    pub fn captures<'p>(&self, path: &'p str) -> Option<Captures<'p>> {
        let captures = self.route.path(self.path?)?.captures(path.as_bytes())?;
        (!captures.groups.is_empty()).then_some(captures)
    }

    /// The path or regular expression (without its `~`) that was met, if the route has any.
    #[must_use]
    pub fn pattern(&self) -> Option<&str> {
        self.route.path(self.path?).map(PathPattern::source)
    }
}

/// What a regular expression and its groups matched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captures<'p> {
    /// What the whole expression matched.
    pub whole: &'p [u8],
    /// In order of their opening parentheses.
    pub groups: Vec<Group<'p>>,
}

/// A group of a regular expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group<'p> {
    /// Its name, if it has one.
    pub name: Option<Box<str>>,
    /// What it matched, if it took part.
    pub matched: Option<&'p [u8]>,
}

impl<'p> Captures<'p> {
    /// What the group with this name matched.
    #[must_use]
    pub fn name(&self, name: &str) -> Option<&'p [u8]> {
        self.groups.iter().find(|group| group.name.as_deref() == Some(name)).and_then(|group| group.matched)
    }

    /// What group `number` (from 1; 0 is the whole) matched.
    #[must_use]
    pub fn number(&self, number: usize) -> Option<&'p [u8]> {
        match number.checked_sub(1) {
            None => Some(self.whole),
            Some(index) => self.groups.get(index).and_then(|group| group.matched),
        }
    }
}
