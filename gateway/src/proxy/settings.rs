//! What an operator can set about proxying, parsed. Names and defaults are Kong's.

use http::HeaderName;
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The product token of `Server` and `Via`.
pub const PRODUCT: &str = concat!("edge-gateway/", env!("CARGO_PKG_VERSION"));

/// Settings of the proxy.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `trusted_ips`: peers whose `X-Forwarded-*` and [`Settings::real_ip_header`] are believed.
    pub trusted_ips: Vec<IpNet>,
    /// `real_ip_header`: where a trusted peer says who its client is.
    pub real_ip_header: HeaderName,
    /// `real_ip_recursive`: whether trusted addresses in that header are skipped from the right.
    pub real_ip_recursive: bool,
    /// `allow_debug_header`: whether `Kong-Debug: 1` is answered.
    pub allow_debug_header: bool,
    /// `headers`: which headers answers get.
    pub headers: ResponseHeaders,
    /// `headers_upstream`: whether the upstream gets `X-Kong-Request-Id`.
    pub request_id_upstream: bool,
    /// `upstream_keepalive_pool_size`: idle connections kept per worker and upstream address; 0 keeps none.
    pub keepalive_pool_size: usize,
    /// `upstream_keepalive_max_requests`: requests per connection; 0 is no bound.
    pub keepalive_max_requests: u32,
    /// `upstream_keepalive_idle_timeout`: how long an idle connection is kept; zero is no bound.
    pub keepalive_idle_timeout: Duration,
    /// Time between two pieces of a client's request body (`client_body_timeout`).
    pub client_body_timeout: Duration,
    /// What `tls_verify = true` trusts in services without `ca_certificates`.
    pub trusted_certificates: Option<Arc<pki::Authorities>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            trusted_ips: Vec::new(),
            real_ip_header: HeaderName::from_static("x-real-ip"),
            real_ip_recursive: false,
            allow_debug_header: false,
            headers: ResponseHeaders::default(),
            request_id_upstream: true,
            keepalive_pool_size: 512,
            keepalive_max_requests: 10_000,
            keepalive_idle_timeout: Duration::from_secs(60),
            client_body_timeout: Duration::from_secs(60),
            trusted_certificates: None,
        }
    }
}

impl Settings {
    /// Whether this peer's word about its client is taken.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        self.trusted_ips.iter().any(|network| network.contains(&peer))
    }
}

/// Which headers the gateway adds to answers (Kong: `headers`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseHeaders {
    /// `Via` on proxied answers.
    pub via: bool,
    /// `Server` on answers of the gateway itself.
    pub server: bool,
    /// `X-Kong-Proxy-Latency` on proxied answers.
    pub proxy_latency: bool,
    /// `X-Kong-Upstream-Latency` on proxied answers.
    pub upstream_latency: bool,
    /// `X-Kong-Response-Latency` on answers of the gateway itself.
    pub response_latency: bool,
    /// `X-Kong-Upstream-Status` on proxied answers.
    pub upstream_status: bool,
    /// `X-Kong-Request-Id` on all answers.
    pub request_id: bool,
}

impl Default for ResponseHeaders {
    fn default() -> Self {
        Self {
            via: true,
            server: true,
            proxy_latency: true,
            upstream_latency: true,
            response_latency: true,
            upstream_status: false,
            request_id: true,
        }
    }
}

/// The value of `headers` has an unknown word.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("headers: unknown value '{0}'")]
pub struct UnknownHeader(pub String);

impl ResponseHeaders {
    const NONE: Self = Self {
        via: false,
        server: false,
        proxy_latency: false,
        upstream_latency: false,
        response_latency: false,
        upstream_status: false,
        request_id: false,
    };

    /// Parses the words of `headers`: `off`, `server_tokens`, `latency_tokens` and names of single headers.
    ///
    /// # Errors
    /// The first word that is none of them.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownHeader> {
        let mut set = Self::NONE;
        for word in words.into_iter().map(str::trim).filter(|word| !word.is_empty()) {
            match word.to_ascii_lowercase().as_str() {
                "off" => {}
                "server_tokens" => (set.via, set.server) = (true, true),
                "latency_tokens" => {
                    (set.proxy_latency, set.upstream_latency, set.response_latency) = (true, true, true);
                }
                "via" => set.via = true,
                "server" => set.server = true,
                "x-kong-proxy-latency" => set.proxy_latency = true,
                "x-kong-upstream-latency" => set.upstream_latency = true,
                "x-kong-response-latency" => set.response_latency = true,
                "x-kong-upstream-status" => set.upstream_status = true,
                "x-kong-request-id" => set.request_id = true,
                // Only the Admin API has it; Kong takes the word here as well.
                "x-kong-admin-latency" => {}
                _ => return Err(UnknownHeader(word.to_owned())),
            }
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_switched_by_kongs_words() {
        let default = ResponseHeaders::parse(["server_tokens", "latency_tokens", "X-Kong-Request-Id"]);
        assert_eq!(default, Ok(ResponseHeaders::default()));
        assert_eq!(ResponseHeaders::parse(["off"]), Ok(ResponseHeaders::NONE));
        assert_eq!(ResponseHeaders::parse(["Vai"]), Err(UnknownHeader("Vai".into())));
    }
}
