//! Who the client is, and what the upstream is told about it: `X-Forwarded-*` and `X-Real-IP`. Pure.
//!
//! A peer in `trusted_ips` is another proxy: what it says about its client is taken. Anybody else's word is replaced.

use super::names;
use super::settings::Settings;
use http::header::Entry;
use http::{HeaderMap, HeaderName, HeaderValue};
use std::net::IpAddr;

/// The most addresses of a forwarding header that are looked at, from the right.
const HOPS_MAX: usize = 64;

/// The client's address: the peer's, or what a trusted peer reports in `real_ip_header`.
#[must_use]
pub fn client_ip(settings: &Settings, peer: IpAddr, peer_trusted: bool, headers: &HeaderMap) -> IpAddr {
    if !peer_trusted {
        return peer;
    }
    let mut client = peer;
    let values = headers.get_all(&settings.real_ip_header).iter().rev().filter_map(|value| value.to_str().ok());
    let hops = values.flat_map(|value| value.rsplit(',')).map(|hop| hop.trim().parse::<IpAddr>());
    for hop in hops.take(HOPS_MAX) {
        let Ok(hop) = hop else { break };
        client = hop;
        if !settings.real_ip_recursive || !settings.trusts(hop) {
            break;
        }
    }
    client
}

/// What is known of the request for the `X-Forwarded-*` headers.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Whether the peer's own headers are kept.
    pub peer_trusted: bool,
    /// The peer's address as text.
    pub peer: &'a HeaderValue,
    /// The client's address as text; the peer's unless a trusted peer reported another.
    pub client: &'a HeaderValue,
    /// Whether the request came over TLS.
    pub over_tls: bool,
    /// The port it came to, as text.
    pub port: &'a HeaderValue,
    /// The name in the Host header, without a port.
    pub host: Option<HeaderValue>,
    /// The path as the client sent it, without the query.
    pub path: &'a str,
    /// What the route took off the path.
    pub prefix: Option<&'a str>,
}

/// Sets the headers.
pub fn set(headers: &mut HeaderMap, facts: Facts<'_>) {
    let scheme = HeaderValue::from_static(if facts.over_tls { "https" } else { "http" });
    extend_chain(headers, facts.peer, facts.client);
    let mut set = |name: HeaderName, value: Option<HeaderValue>| {
        if facts.peer_trusted && headers.contains_key(&name) {
            return;
        }
        match value {
            Some(value) => drop(headers.insert(name, value)),
            None => drop(headers.remove(name)),
        }
    };
    set(names::X_FORWARDED_PROTO, Some(scheme));
    set(names::X_FORWARDED_HOST, facts.host);
    set(names::X_FORWARDED_PORT, Some(facts.port.clone()));
    set(names::X_FORWARDED_PATH, HeaderValue::from_str(facts.path).ok());
    let prefix = facts.prefix.filter(|&prefix| prefix != "/" && !prefix.is_empty());
    set(names::X_FORWARDED_PREFIX, prefix.and_then(|prefix| HeaderValue::from_str(prefix).ok()));
    headers.insert(names::X_REAL_IP, facts.client.clone());
}

/// `X-Forwarded-For`: the chain that the client sent and then the peer, or the client alone.
fn extend_chain(headers: &mut HeaderMap, peer: &HeaderValue, client: &HeaderValue) {
    match headers.entry(names::X_FORWARDED_FOR) {
        Entry::Vacant(entry) => drop(entry.insert(client.clone())),
        Entry::Occupied(mut entry) => {
            let mut chain = Vec::with_capacity(64);
            for value in entry.iter() {
                chain.extend_from_slice(value.as_bytes());
                chain.extend_from_slice(b", ");
            }
            chain.extend_from_slice(peer.as_bytes());
            if let Ok(chain) = HeaderValue::from_maybe_shared(bytes::Bytes::from(chain)) {
                entry.insert(chain);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn settings(trusted: &[&str], header: &'static str, recursive: bool) -> Settings {
        Settings {
            trusted_ips: trusted.iter().map(|network| network.parse().unwrap()).collect(),
            real_ip_header: HeaderName::from_static(header),
            real_ip_recursive: recursive,
            ..Settings::default()
        }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        pairs.iter().map(pair).collect()
    }

    fn facts<'a>(peer: &'a HeaderValue, port: &'a HeaderValue, peer_trusted: bool) -> Facts<'a> {
        let host = Some(HeaderValue::from_static("a.example"));
        Facts { peer_trusted, peer, client: peer, over_tls: false, port, host, path: "/api/x", prefix: Some("/api") }
    }

    #[test]
    fn a_stranger_cannot_say_who_it_is() {
        let settings = settings(&["192.168.0.0/16"], "x-real-ip", false);
        let headers = headers(&[("x-real-ip", "1.2.3.4")]);
        assert_eq!(client_ip(&settings, PEER, settings.trusts(PEER), &headers), PEER);
    }

    #[test]
    fn a_trusted_peer_reports_its_client() {
        let chain = headers(&[("x-forwarded-for", "1.2.3.4, 10.0.0.9")]);
        let last = settings(&["10.0.0.0/8"], "x-forwarded-for", false);
        assert_eq!(client_ip(&last, PEER, true, &chain), IpAddr::from([10, 0, 0, 9]));
        let recursive = settings(&["10.0.0.0/8"], "x-forwarded-for", true);
        assert_eq!(client_ip(&recursive, PEER, true, &chain), IpAddr::from([1, 2, 3, 4]));
        let garbage = headers(&[("x-forwarded-for", "nobody")]);
        assert_eq!(client_ip(&recursive, PEER, true, &garbage), PEER);
    }

    #[test]
    fn a_strangers_forwarding_headers_are_replaced_and_the_chain_extended() {
        let (peer, port) = (HeaderValue::from_static("10.0.0.1"), HeaderValue::from_static("8000"));
        let mut map =
            headers(&[("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https"), ("x-forwarded-port", "1")]);
        set(&mut map, facts(&peer, &port, false));
        assert_eq!(map["x-forwarded-for"], "1.2.3.4, 10.0.0.1");
        assert_eq!(map["x-forwarded-proto"], "http");
        assert_eq!(map["x-forwarded-port"], "8000");
        assert_eq!(map["x-forwarded-host"], "a.example");
        assert_eq!(map["x-forwarded-path"], "/api/x");
        assert_eq!(map["x-forwarded-prefix"], "/api");
        assert_eq!(map["x-real-ip"], "10.0.0.1");
    }

    #[test]
    fn a_trusted_peers_forwarding_headers_are_kept() {
        let (peer, port) = (HeaderValue::from_static("10.0.0.1"), HeaderValue::from_static("8000"));
        let mut map = headers(&[("x-forwarded-proto", "https"), ("x-forwarded-host", "b.example")]);
        set(&mut map, facts(&peer, &port, true));
        assert_eq!(map["x-forwarded-proto"], "https");
        assert_eq!(map["x-forwarded-host"], "b.example");
        assert_eq!(map["x-forwarded-port"], "8000");
    }

    #[test]
    fn a_prefix_of_one_slash_is_none() {
        let (peer, port) = (HeaderValue::from_static("10.0.0.1"), HeaderValue::from_static("8000"));
        let mut map = headers(&[("x-forwarded-prefix", "/forged")]);
        set(&mut map, Facts { prefix: Some("/"), ..facts(&peer, &port, false) });
        assert!(!map.contains_key("x-forwarded-prefix"));
    }
}
