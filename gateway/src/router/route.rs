//! A route as requests need it: criteria parsed and checked, everything in boxed slices, nothing that only the control
//! plane or the Admin API look at. Neighbours: `index` files a route under its `Place`s and asks
//! `CompiledRoute::admits` of those that a request might belong to.

use super::criteria::{HeaderRule, NetRule, OTHER_METHOD, Rare, SniPattern, method_bit};
use super::host::{HostKind, HostPattern};
use super::pattern::PathPattern;
use super::query::Prepared;
use super::radix::Step;
use super::rank::{self, NONE, Rank, Weight};
use model::Id;
use model::few::Few;
use model::kinds::Protocol;
use model::kinds::routes::{IpPort, Route};

/// Longest path of a route in bytes.
pub(super) const PATH_BYTES_MAX: usize = 8 * 1024;
/// Most entries that one route is filed under. A route with more hosts times paths is filed without its hosts, which are
/// then compared one by one.
const ENTRIES_MAX: usize = 1024;

/// The protocols that a route serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protocols(u8);

impl Protocols {
    /// The set of `protocols`.
    #[must_use]
    pub fn new(protocols: &[Protocol]) -> Self {
        Self(protocols.iter().fold(0, |bits, protocol| bits | Self::bit(*protocol)))
    }

    /// Whether `protocol` is among them.
    #[must_use]
    pub const fn contains(self, protocol: Protocol) -> bool {
        self.0 & Self::bit(protocol) != 0
    }

    /// Whether requests over cleartext HTTP are served (`http` or `grpc`).
    #[must_use]
    pub const fn plain(self) -> bool {
        self.contains(Protocol::Http) || self.contains(Protocol::Grpc)
    }

    /// Whether requests over TLS are served (`https` or `grpcs`).
    #[must_use]
    pub const fn secure(self) -> bool {
        self.contains(Protocol::Https) || self.contains(Protocol::Grpcs)
    }

    const fn bit(protocol: Protocol) -> u8 {
        1 << protocol as u8
    }
}

/// Why a route cannot be compiled. All are faults of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// The host is not one, or its wildcard is not a whole label at one end.
    #[error("invalid host {0:?}")]
    Host(String),
    /// The path does not begin with a slash or is too long.
    #[error("invalid path {0:?}")]
    Path(String),
    /// The regular expression is not one, or exceeds the limits.
    #[error("invalid regular expression {source_text:?}: {reason}")]
    Regex {
        /// The expression.
        source_text: String,
        /// What the engine says of it.
        reason: String,
    },
    /// Not the name of a header.
    #[error("invalid header name {0:?}")]
    HeaderName(String),
    /// The regular expression for a header's value is not one, or exceeds the limits.
    #[error("invalid regular expression {source_text:?}: {reason}")]
    HeaderRegex {
        /// The expression.
        source_text: String,
        /// What the engine says of it.
        reason: String,
    },
    /// Neither an address nor a network, or (when empty) not even a port.
    #[error("invalid address {text:?}")]
    Address {
        /// `sources` or `destinations`.
        field: &'static str,
        /// What it says.
        text: String,
    },
    /// The route has no criteria at all, so that it would take every request.
    #[error("a route needs at least one of methods, hosts, headers, paths, snis, sources, destinations")]
    NoCriteria,
}

impl RouteError {
    /// The field of the route that is at fault.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Host(_) => "hosts",
            Self::Path(_) | Self::Regex { .. } => "paths",
            Self::HeaderName(_) | Self::HeaderRegex { .. } => "headers",
            Self::Address { field, .. } => field,
            Self::NoCriteria => "@entity",
        }
    }
}

/// A route, compiled. Made for being shared behind an `Arc` by the index and by whoever serves a request.
#[derive(Debug, PartialEq, Eq)]
pub struct CompiledRoute {
    /// Its id.
    pub id: Id,
    /// The service it leads to; without one a plugin has to answer.
    pub service: Option<Id>,
    /// Its name, for `Kong-Route-Name`.
    pub name: Option<Box<str>>,
    hosts: Few<HostPattern>,
    paths: Few<PathPattern>,
    rare: Option<Box<Rare>>,
    /// The upper bits of its priority, common to all its paths.
    weight: u64,
    regex_priority: i64,
    methods: u16,
    /// The status that answers plain HTTP where only HTTPS is served: 426, or a redirect.
    pub https_redirect_status_code: u16,
    /// What it serves.
    pub protocols: Protocols,
    /// Whether the matched part is taken off the path.
    pub strip_path: bool,
    /// Whether the upstream sees the request's Host header.
    pub preserve_host: bool,
}

/// Where in the index an entry of a route is filed.
pub(super) struct Place<'a> {
    /// The bucket; `None` for the one without hosts.
    pub(super) bucket: Option<u128>,
    /// Whether the bucket is one of wildcards.
    pub(super) kind: Option<HostKind>,
    /// The way in the radix tree.
    pub(super) way: &'a [Step<'a>],
    pub(super) rank: Rank,
}

impl CompiledRoute {
    /// Parses and checks the criteria of a route.
    ///
    /// # Errors
    /// The first criterion that the router cannot serve.
    pub fn compile(route: &Route) -> Result<Self, RouteError> {
        Self::compile_with(route, &[])
    }

    /// Compiles what this route has become. Expressions that it had already are not checked again: that is what
    /// compiling costs most.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub fn recompile(&self, route: &Route) -> Result<Self, RouteError> {
        Self::compile_with(route, &self.paths)
    }

    fn compile_with(route: &Route, known: &[PathPattern]) -> Result<Self, RouteError> {
        let path = |given: &String| match known.iter().find(|path| path.is(given)) {
            Some(path) => Ok(path.clone()),
            None => PathPattern::parse(given),
        };
        let hosts: Few<_> =
            list(route.hosts.as_ref()).iter().map(|host| HostPattern::parse(host)).collect::<Result<_, _>>()?;
        let paths: Few<_> = list(route.paths.as_ref()).iter().map(path).collect::<Result<_, _>>()?;
        let methods = list(route.methods.as_ref());
        let rare = rare(route)?;
        let weight = Weight {
            kinds: [
                !methods.is_empty(),
                !hosts.is_empty(),
                !paths.is_empty(),
                !rare.headers.is_empty(),
                !rare.snis.is_empty(),
                !rare.sources.is_empty(),
                !rare.destinations.is_empty(),
            ]
            .into_iter()
            .map(u64::from)
            .sum(),
            // An empty list counts as one without wildcards, as in Kong.
            plain_hosts: route.hosts.is_some() && hosts.iter().all(|host| host.kind == HostKind::Exact),
            headers: rare.headers.len(),
        };
        if weight.kinds == 0 {
            return Err(RouteError::NoCriteria);
        }
        Ok(Self {
            id: route.id,
            service: route.service.map(|service| service.id),
            name: route.name.as_deref().map(Into::into),
            hosts,
            paths,
            rare: (rare != Rare::default()).then(|| Box::new(rare)),
            weight: weight.bits(),
            regex_priority: route.regex_priority.unwrap_or(0),
            methods: methods.iter().fold(0, |bits, method| bits | method_bit(method)),
            https_redirect_status_code: route.https_redirect_status_code,
            protocols: Protocols::new(&route.protocols),
            strip_path: route.strip_path,
            preserve_host: route.preserve_host,
        })
    }

    /// The paths that are matched, regular expressions without their `~`.
    pub fn path_patterns(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(PathPattern::source)
    }

    pub(super) fn path(&self, index: usize) -> Option<&PathPattern> {
        self.paths.get(index)
    }

    /// Whether all its entries are in the same places and of the same ranks as those of `other`.
    pub(super) fn is_filed_as(&self, other: &Self) -> bool {
        let serves_http = |route: &Self| route.protocols.plain() || route.protocols.secure();
        self.id == other.id
            && self.hosts == other.hosts
            && self.paths == other.paths
            && (self.weight, self.regex_priority) == (other.weight, other.regex_priority)
            && serves_http(self) == serves_http(other)
    }

    /// Calls `file` for each place where the route belongs in the index: none for one that serves no kind of HTTP.
    pub(super) fn places(&self, mut file: impl FnMut(Place<'_>)) {
        if !self.protocols.plain() && !self.protocols.secure() {
            return;
        }
        let fanout = self.hosts.len().saturating_mul(self.paths.len().max(1));
        let by_host = !self.hosts.is_empty() && fanout <= ENTRIES_MAX;
        self.paths_ranked(|way, priority, id, path| {
            if !by_host {
                return file(Place { bucket: None, kind: None, way, rank: Rank::new(priority, id, path, NONE) });
            }
            for (index, host) in (0..).zip(self.hosts.iter()) {
                let rank = Rank::new(priority, id, path, index);
                file(Place { bucket: Some(host.key()), kind: Some(host.kind), way, rank });
            }
        });
    }

    /// Calls `found` with way, priority, id and index of each path. A route whose paths differ in length or kind
    /// counts as several with ids of their own, numbered in order of first appearance (Kong:
    /// `split_routes_and_services_by_path`).
    fn paths_ranked(&self, mut found: impl FnMut(&[Step<'_>], u64, Id, u32)) {
        if self.paths.is_empty() {
            return found(&[], self.weight, self.id, NONE);
        }
        // Regular expressions count as length 0, which no prefix has.
        let group_of = |path: &PathPattern| path.prefix_length().unwrap_or(0);
        let mut groups: Vec<(usize, Id)> = Vec::new();
        for path in self.paths.iter() {
            if !groups.iter().any(|(length, _)| *length == group_of(path)) {
                groups.push((group_of(path), self.id));
            }
        }
        if groups.len() > 1 {
            for (number, (_, id)) in (1..).zip(&mut groups) {
                *id = rank::split_id(self.id, number);
            }
        }
        for (index, path) in (0..).zip(self.paths.iter()) {
            let bits = path.prefix_length().map_or_else(|| rank::regex_bits(self.regex_priority), rank::prefix_bits);
            let id = groups.iter().find(|(length, _)| *length == group_of(path)).map_or(self.id, |(_, id)| *id);
            found(&path.way(), self.weight | bits, id, index);
        }
    }

    /// Whether a request meets all criteria but the path, given the host it was found by.
    pub(super) fn admits(&self, request: &Prepared<'_>, host: u32) -> bool {
        (self.methods == 0 || self.admits_method(request)) && self.admits_host(request, host) && {
            self.rare.as_ref().is_none_or(|rare| rare.admits(request))
        }
    }

    fn admits_method(&self, request: &Prepared<'_>) -> bool {
        self.methods & request.method != 0
            && (request.method != OTHER_METHOD
                || self.rare.as_ref().is_some_and(|rare| rare.methods.iter().any(|m| **m == *request.query.method)))
    }

    fn admits_host(&self, request: &Prepared<'_>, index: u32) -> bool {
        if self.hosts.is_empty() {
            return true;
        }
        let (Some(name), port) = (request.host.name(), request.host.port) else { return false };
        if index == NONE {
            return self.hosts.iter().any(|host| host.admits(name, port));
        }
        self.hosts.get(index as usize).is_some_and(|host| host.admits(name, port))
    }
}

fn list(field: Option<&Vec<String>>) -> &[String] {
    field.map_or(&[], Vec::as_slice)
}

fn rare(route: &Route) -> Result<Rare, RouteError> {
    let nets = |field: &'static str, given: Option<&Vec<IpPort>>| {
        given.into_iter().flatten().map(|given| NetRule::parse(field, given)).collect::<Result<Box<[_]>, RouteError>>()
    };
    let headers = route.headers.iter().flatten().map(|(name, values)| HeaderRule::parse(name, values));
    let other = list(route.methods.as_ref()).iter().filter(|method| method_bit(method) == OTHER_METHOD);
    Ok(Rare {
        methods: other.map(|method| method.as_str().into()).collect(),
        headers: headers.collect::<Result<_, _>>()?,
        snis: list(route.snis.as_ref()).iter().map(|sni| SniPattern::parse(sni)).collect(),
        sources: nets("sources", route.sources.as_ref())?,
        destinations: nets("destinations", route.destinations.as_ref())?,
    })
}
