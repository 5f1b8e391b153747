//! Entities as requests need them: compact, immutable, shared. What no request needs (tags, timestamps) stays on disk.

use crate::plugins::Plugin;
use crate::plugins::jwt::VerifyKey;
use model::Id;
use std::sync::Arc;
use std::time::Duration;

/// Where a route's requests go.
#[derive(Debug)]
pub struct Service {
    /// Its id.
    pub id: Id,
    /// Its name, shown by `Kong-Service-Name`.
    pub name: Option<Box<str>>,
    /// Whether its routes are served at all.
    pub enabled: bool,
    /// How to speak to it.
    pub protocol: Protocol,
    /// A host name, an address, or the name of an upstream.
    pub host: Box<str>,
    /// The port, unless an upstream's targets say another.
    pub port: u16,
    /// What is put before the request's path.
    pub path: Option<Box<str>>,
    /// Further tries after the first.
    pub retries: u32,
    /// Time to connect, TLS included.
    pub connect_timeout: Duration,
    /// Time between two successful writes.
    pub write_timeout: Duration,
    /// Time between two successful reads.
    pub read_timeout: Duration,
    /// What differs from Kong's defaults for TLS; none for most.
    pub tls: Option<Box<ServiceTls>>,
}

/// The TLS side of a service.
#[derive(Debug, Default)]
pub struct ServiceTls {
    /// Whether the certificate is verified; unset means no, as in Kong.
    pub verify: Option<bool>,
    /// How long a chain may be.
    pub verify_depth: Option<u32>,
    /// The CA certificates that are trusted.
    pub ca_certificates: Box<[Id]>,
    /// What the gateway shows of itself.
    pub client_certificate: Option<Id>,
}

/// A service's protocol, as far as this data plane speaks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1 in the clear.
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// One of Kong's that this build does not proxy; requests are answered with an error that names it.
    Unsupported,
}

/// Who is on the other side.
#[derive(Debug)]
pub struct Consumer {
    /// Its id.
    pub id: Id,
    /// `username`
    pub username: Option<Box<str>>,
    /// `custom_id`
    pub custom_id: Option<Box<str>>,
}

/// A virtual host name with targets of its own.
#[derive(Debug)]
pub struct Upstream {
    /// Its id, by which balancing state is kept.
    pub id: Id,
    /// The name that services use as host.
    pub name: Box<str>,
    /// The Host header for its targets, if not the service's.
    pub host_header: Option<Box<str>>,
    /// The certificate shown to its targets.
    pub client_certificate: Option<Id>,
}

/// A server name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sni {
    /// What is shown to clients that ask for it.
    pub certificate: Id,
}

/// One place that an upstream's requests may go to.
#[derive(Debug)]
pub struct Target {
    /// Its id.
    pub id: Id,
    /// The upstream it belongs to.
    pub upstream: Id,
    /// A host name or an address.
    pub host: Box<str>,
    /// The port.
    pub port: u16,
    /// Its share; 0 takes it out.
    pub weight: u32,
}

/// A key of a consumer.
#[derive(Debug)]
pub struct KeyauthCredential {
    /// Its id, shown as `X-Credential-Identifier`.
    pub id: Id,
    /// Whose it is.
    pub consumer: Id,
    /// The key itself.
    pub key: Box<str>,
    /// When it counts; `None` for always.
    pub lifetime: Option<Box<Lifetime>>,
}

/// No clock that is right shows less (2026-01-01): this program is younger.
pub const CLOCK_FLOOR_S: i64 = 1_767_225_600;

/// Of a credential with a `ttl`. Both ends in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// When it was made: a clock before that is not set.
    pub from: i64,
    /// When it stops to count.
    pub until: i64,
}

impl Lifetime {
    /// Whether the credential counts when the clock shows this. A clock that cannot be right proves nothing.
    #[must_use]
    pub fn contains(&self, now_s: i64) -> bool {
        now_s >= self.from.max(CLOCK_FLOOR_S) && now_s < self.until
    }
}

/// A secret of a consumer, named by a claim of a token.
#[derive(Debug)]
pub struct JwtSecret {
    /// Its id.
    pub id: Id,
    /// Whose it is.
    pub consumer: Id,
    /// What the token's key claim (`iss`) says.
    pub name: Box<str>,
    /// The algorithm that tokens must use, and what verifies them.
    pub key: VerifyKey,
}

/// A plugin's instance with its configuration parsed.
pub struct Instance {
    /// Its id.
    pub id: Id,
    /// The plugin's name.
    pub name: &'static str,
    /// Its place in the chain; higher runs first.
    pub priority: i32,
    /// What it applies to.
    pub scope: Scope,
    /// Whether it runs for requests that came over plain HTTP.
    pub on_http: bool,
    /// Whether it runs for requests that came over TLS.
    pub on_https: bool,
    /// The plugin itself.
    pub plugin: Arc<dyn Plugin>,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("id", &self.id).field("name", &self.name).field("scope", &self.scope).finish()
    }
}

/// What an instance applies to: all that is named must hold; nothing named is everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Scope {
    /// A route.
    pub route: Option<Id>,
    /// A service.
    pub service: Option<Id>,
    /// A consumer.
    pub consumer: Option<Id>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_counts_from_its_beginning_until_its_end_and_for_no_clock_that_is_not_set() {
        let lifetime = Lifetime { from: CLOCK_FLOOR_S + 100, until: CLOCK_FLOOR_S + 200 };
        let counts = [0, 99, 100, 199, 200, i64::MAX - CLOCK_FLOOR_S].map(|s| lifetime.contains(CLOCK_FLOOR_S + s));
        assert_eq!(counts, [false, false, true, true, false, false]);
        let old = Lifetime { from: 0, until: CLOCK_FLOOR_S + 200 };
        assert!(!old.contains(CLOCK_FLOOR_S - 1), "whatever the control plane's clock said, this one is not set");
        assert!(!old.contains(0) && old.contains(CLOCK_FLOOR_S));
    }
}
