//! Which headers cross the gateway, and which belong to one of its two connections only (RFC 9110 §7.6.1). Pure;
//! header maps are edited in place.

use super::names;
use super::settings::PRODUCT;
use crate::plugins::auth::IDENTITY_HEADERS;
use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, VIA};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The most names in a `Connection` header that are looked at.
const CONNECTION_NAMES_MAX: usize = 32;

/// What a request's own connection headers asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hop {
    /// The client wants to speak WebSocket.
    pub websocket: bool,
    /// The client can take trailers.
    pub trailers: bool,
}

/// Removes the headers that say who the consumer is: only plugins may set them. Done on every route, before any plugin
/// runs; Kong passes a client's own through where no authentication plugin is, and upstreams believe them.
pub fn drop_identity(headers: &mut HeaderMap) {
    for name in IDENTITY_HEADERS {
        headers.remove(name);
    }
}

/// Removes what a client must not send on: headers about its connection to us, `Expect` (which we meet ourselves), and
/// `Proxy` (which CGI programs take for a setting of theirs).
pub fn clean_request(headers: &mut HeaderMap) -> Hop {
    let hop = Hop { websocket: wants_websocket(headers), trailers: lists(headers, &TE, "trailers") };
    if headers.contains_key(CONNECTION) {
        remove_named_in_connection(headers);
        headers.remove(CONNECTION);
    }
    for name in [TE, TRANSFER_ENCODING, names::KEEP_ALIVE, names::PROXY_CONNECTION, names::PROXY, UPGRADE, EXPECT] {
        headers.remove(name);
    }
    hop
}

/// Puts the headers about our connection to the upstream in. `length` is the length of the body, if it is known.
pub fn dress_request(headers: &mut HeaderMap, hop: Hop, has_body: bool, length: Option<u64>) {
    if hop.websocket {
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    } else {
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
    }
    if hop.trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if has_body && length.is_none() {
        headers.remove(CONTENT_LENGTH);
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    append_via(headers);
}

/// Removes what an upstream says about its connection to us. On a switch of protocols `Upgrade` stays.
pub fn clean_response(headers: &mut HeaderMap, hop: Hop, switching: bool) {
    if headers.contains_key(CONNECTION) {
        if !switching {
            remove_named_in_connection(headers);
        }
        headers.remove(CONNECTION);
    }
    // RFC 9112 §6.3: where both are given the transfer coding counts, and the length must not go on.
    if headers.remove(TRANSFER_ENCODING).is_some() {
        headers.remove(CONTENT_LENGTH);
    }
    for name in [names::KEEP_ALIVE, names::PROXY_CONNECTION] {
        headers.remove(name);
    }
    if switching {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    } else {
        headers.remove(UPGRADE);
    }
    if !hop.trailers {
        headers.remove(TRAILER);
    }
}

/// Adds us to `Via` (RFC 9110 §7.6.3).
pub fn append_via(headers: &mut HeaderMap) {
    const OURS: &str = concat!("1.1 edge-gateway/", env!("CARGO_PKG_VERSION"));
    debug_assert!(OURS.ends_with(PRODUCT), "one product token");
    let value = match headers.get(VIA).and_then(|via| via.to_str().ok()) {
        None => HeaderValue::from_static(OURS),
        Some(before) => HeaderValue::from_str(&format!("{before}, {OURS}")).unwrap_or(HeaderValue::from_static(OURS)),
    };
    headers.insert(VIA, value);
}

fn wants_websocket(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
        && lists(headers, &CONNECTION, "upgrade")
}

/// Whether a comma-separated header has this word.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    words(headers, name).any(|found| found.eq_ignore_ascii_case(word))
}

fn words<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|word| !word.is_empty())
}

fn remove_named_in_connection(headers: &mut HeaderMap) {
    let plain =
        |word: &&str| !["keep-alive", "close", "upgrade", "te"].iter().any(|known| word.eq_ignore_ascii_case(known));
    let named: Vec<HeaderName> = words(headers, &CONNECTION)
        .filter(plain)
        .take(CONNECTION_NAMES_MAX)
        .filter_map(|word| HeaderName::from_bytes(word.as_bytes()).ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for &(name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn hop_by_hop_headers_stay_on_their_hop() {
        let mut headers = map(&[
            ("connection", "close, X-Secret"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("proxy", "http://evil"),
            ("proxy-connection", "keep-alive"),
            ("upgrade", "h2c"),
            ("accept", "*/*"),
        ]);
        assert_eq!(clean_request(&mut headers), Hop::default());
        assert_eq!(headers, map(&[("accept", "*/*")]));
    }

    #[test]
    fn nobody_but_the_gateway_says_who_the_consumer_is() {
        let mut headers = map(&[
            ("x-consumer-username", "root"),
            ("x-consumer-groups", "admins"),
            ("x-anonymous-consumer", "true"),
            ("x-consumer-id", "1"),
        ]);
        drop_identity(&mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn websocket_is_the_only_upgrade_that_is_passed_on() {
        let mut headers = map(&[("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket"), ("te", "trailers")]);
        let hop = clean_request(&mut headers);
        assert_eq!(hop, Hop { websocket: true, trailers: true });
        dress_request(&mut headers, hop, false, None);
        assert_eq!(headers["connection"], "keep-alive, Upgrade");
        assert_eq!(headers["upgrade"], "websocket");
        assert_eq!(headers["te"], "trailers");
    }

    #[test]
    fn a_body_of_unknown_length_is_chunked() {
        let mut headers = map(&[]);
        dress_request(&mut headers, Hop::default(), true, None);
        assert_eq!(headers["transfer-encoding"], "chunked");
        let mut headers = map(&[("content-length", "3")]);
        dress_request(&mut headers, Hop::default(), true, Some(3));
        assert!(!headers.contains_key("transfer-encoding"));
        assert_eq!(headers["content-length"], "3");
    }

    #[test]
    fn answers_lose_what_was_about_the_upstreams_connection() {
        let mut headers =
            map(&[("connection", "x-hop"), ("x-hop", "1"), ("upgrade", "h2"), ("trailer", "x-sum"), ("server", "o")]);
        clean_response(&mut headers, Hop::default(), false);
        assert_eq!(headers, map(&[("server", "o")]));
    }

    #[test]
    fn via_is_extended() {
        let mut headers = map(&[("via", "1.0 front")]);
        append_via(&mut headers);
        assert_eq!(headers["via"], format!("1.0 front, 1.1 {PRODUCT}").as_str());
    }
}
