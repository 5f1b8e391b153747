//! The way to a control plane through an HTTP proxy: CONNECT, and then bytes as on any connection.
//!
//! Kong's `cluster_use_proxy` and `proxy_server`. The proxy sees the name of the control plane and TLS, nothing else. What
//! it is told of this node are the credentials of the setting, which stand in no log and no error.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use std::fmt;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The most bytes of a proxy's answer up to the empty line.
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// The most bytes of a proxy's own words in an error.
const REASON_BYTES_MAX: usize = 80;
/// The port of a proxy that is given without one.
const PORT_DEFAULT: u16 = 80;

/// A proxy, and how to be let through.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyServer {
    /// `host:port`
    address: String,
    /// The value of Proxy-Authorization.
    authorization: Option<String>,
}

/// Why there is no way through. The texts name the proxy by host and port alone.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// Nobody listens there, or the name does not resolve.
    #[error("cannot connect to proxy {proxy}: {error}")]
    Connect {
        /// `host:port`
        proxy: String,
        /// What the system says.
        error: io::Error,
    },
    /// The connection to the proxy broke before it had answered.
    #[error("proxy {proxy} closed the connection without an answer")]
    Closed {
        /// `host:port`
        proxy: String,
    },
    /// 407, with credentials or without.
    #[error("proxy {proxy} {} (407)", if *.given { "refuses the credentials of proxy_server" } else { "wants credentials: set them in proxy_server" })]
    Credentials {
        /// `host:port`
        proxy: String,
        /// Whether there were any.
        given: bool,
    },
    /// 403.
    #[error("proxy {proxy} forbids connections to {target} (403)")]
    Forbidden {
        /// `host:port`
        proxy: String,
        /// The control plane.
        target: String,
    },
    /// Any other status.
    #[error("proxy {proxy} does not connect to {target}: {status} {reason}")]
    Refused {
        /// `host:port`
        proxy: String,
        /// The control plane.
        target: String,
        /// What the proxy answered.
        status: u16,
        /// In its own words.
        reason: String,
    },
    /// What is there is no HTTP proxy: no status line, more than [`HEAD_BYTES_MAX`] of head, or bytes after it.
    #[error("{proxy} does not answer as an HTTP proxy does: {what}")]
    NotHttp {
        /// `host:port`
        proxy: String,
        /// In which way.
        what: &'static str,
    },
}

impl ProxyServer {
    /// Reads `http://user:password@host:port`; user, password and port may be missing, and may be percent-encoded.
    ///
    /// # Errors
    /// What is wrong with it, without a word of what it says: it may hold a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").ok_or("is not a URL such as http://proxy.example.com:3128")?;
        match scheme.to_ascii_lowercase().as_str() {
            "http" => {}
            "https" => {
                return Err(
                    "https is not supported: the way to the proxy is plain HTTP, inside it is TLS to the control \
                            plane all the same"
                        .to_owned(),
                );
            }
            _ => return Err("is not a URL with http://".to_owned()),
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, host) = rest.rsplit_once('@').map_or((None, rest), |(user, host)| (Some(user), host));
        if host.contains(['/', '?', '#']) {
            return Err("has a path; a proxy has none".to_owned());
        }
        let address = address(host).ok_or("has no host and port such as proxy.example.com:3128")?;
        Ok(Self { address, authorization: credentials.map(basic).transpose()? })
    }

    /// `host:port`
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Connects through the proxy to `target`, `host:port`. The caller bounds the time.
    ///
    /// # Errors
    /// Whatever was in the way.
    pub async fn connect(&self, target: &str) -> Result<TcpStream, TunnelError> {
        let proxy = || self.address.clone();
        let connected = TcpStream::connect(&self.address).await;
        let mut stream = connected.map_err(|error| TunnelError::Connect { proxy: proxy(), error })?;
        let closed = |_: io::Error| TunnelError::Closed { proxy: proxy() };
        stream.write_all(self.request(target).as_bytes()).await.map_err(closed)?;
        let mut head = Vec::with_capacity(512);
        let end = loop {
            if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let room = HEAD_BYTES_MAX - head.len();
            if room == 0 {
                return Err(TunnelError::NotHttp { proxy: proxy(), what: "its answer has no end" });
            }
            match (&mut stream).take(room as u64).read_buf(&mut head).await.map_err(closed)? {
                0 => return Err(TunnelError::Closed { proxy: proxy() }),
                _ => continue,
            }
        };
        self.judge(&head, target)?;
        // In TLS it is for this end to speak first.
        if head.len() > end {
            return Err(TunnelError::NotHttp { proxy: proxy(), what: "it goes on after its answer" });
        }
        Ok(stream)
    }

    fn request(&self, target: &str) -> String {
        let authorization = self.authorization.as_ref();
        let authorization = authorization.map(|value| format!("Proxy-Authorization: {value}\r\n")).unwrap_or_default();
        format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n")
    }

    fn judge(&self, head: &[u8], target: &str) -> Result<(), TunnelError> {
        let (proxy, target) = (self.address.clone(), target.to_owned());
        let Some((status, reason)) = status(head) else {
            return Err(TunnelError::NotHttp { proxy, what: "no status line" });
        };
        match status {
            200..=299 => Ok(()),
            407 => Err(TunnelError::Credentials { proxy, given: self.authorization.is_some() }),
            403 => Err(TunnelError::Forbidden { proxy, target }),
            status => Err(TunnelError::Refused { proxy, target, status, reason }),
        }
    }
}

impl fmt::Debug for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProxyServer").field("address", &self.address).finish_non_exhaustive()
    }
}

/// `host:port` of a URL's authority without credentials.
fn address(host: &str) -> Option<String> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port.parse().ok().filter(|port| *port > 0)?),
        _ => (host, PORT_DEFAULT),
    };
    let bracketed = name.starts_with('[') && name.ends_with(']');
    let good =
        !name.is_empty() && (bracketed || !name.contains([':', '[', ']'])) && !name.contains(char::is_whitespace);
    good.then(|| format!("{name}:{port}"))
}

/// RFC 7617.
fn basic(credentials: &str) -> Result<String, String> {
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    let decoded = |part: &str| percent_decode_str(part).collect::<Vec<u8>>();
    let (user, password) = (decoded(user), decoded(password));
    if user.contains(&b':') || user.iter().chain(&password).any(u8::is_ascii_control) {
        return Err("has a user with a colon or a control character in it, or a password with one".to_owned());
    }
    Ok(format!("Basic {}", STANDARD.encode([&user[..], b":", &password].concat())))
}

/// Status and reason of an answer's first line; of the reason what is fit to be read.
fn status(head: &[u8]) -> Option<(u16, String)> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let rest = line.strip_prefix("HTTP/1.")?.get(1..)?.strip_prefix(' ')?;
    let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let status = status.parse().ok().filter(|status| (100..600).contains(status))?;
    let fit = reason.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(REASON_BYTES_MAX);
    Some((status, fit.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn parsed(text: &str) -> (String, Option<String>) {
        let proxy = ProxyServer::parse(text).unwrap();
        (proxy.address, proxy.authorization)
    }

    #[test]
    fn kongs_url_is_read_with_and_without_credentials() {
        assert_eq!(parsed("http://proxy:3128"), ("proxy:3128".into(), None));
        assert_eq!(parsed("HTTP://proxy/"), ("proxy:80".into(), None));
        assert_eq!(parsed("http://[::1]:8080"), ("[::1]:8080".into(), None));
        assert_eq!(parsed("http://[::1]"), ("[::1]:80".into(), None));
        let basic = |text: &str| Some(format!("Basic {}", STANDARD.encode(text)));
        assert_eq!(parsed("http://me:secret@proxy:3128"), ("proxy:3128".into(), basic("me:secret")));
        assert_eq!(parsed("http://me@proxy:3128/").1, basic("me:"));
        assert_eq!(parsed("http://a%40b:p%3Aw%2F@proxy:1").1, basic("a@b:p:w/"));
        assert_eq!(parsed("http://me:p@ss@proxy:1"), ("proxy:1".into(), basic("me:p@ss")));
    }

    #[test]
    fn a_mistake_is_told_without_the_password() {
        for wrong in [
            "me:hunter2@proxy:3128",
            "https://me:hunter2@proxy:3128",
            "socks5://me:hunter2@proxy:1080",
            "http://me:hunter2@",
            "http://me:hunter2@proxy:0",
            "http://me:hunter2@proxy:99999",
            "http://me:hunter2@proxy:3128/path",
            "http://me:hunter2%0d%0aX: y@proxy:3128",
            "http://me:hunter2@two words:1",
        ] {
            let told = ProxyServer::parse(wrong).unwrap_err();
            assert!(!told.contains("hunter2"), "{told}");
        }
        let shown = format!("{:?}", ProxyServer::parse("http://me:hunter2@proxy:3128").unwrap());
        assert!(shown.contains("proxy:3128") && !shown.contains("hunter2") && !shown.contains("Basic"), "{shown}");
    }

    /// What comes of a proxy that answers with these bytes, and what it was asked.
    async fn through(answer: &'static [u8]) -> (Result<TcpStream, TunnelError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut asked).await.unwrap();
            }
            stream.write_all(answer).await.unwrap();
            String::from_utf8(asked).unwrap()
        });
        let proxy = ProxyServer::parse(&format!("http://me:pw@{address}")).unwrap();
        let connected = proxy.connect("cp.example.com:8005").await;
        (connected, asked.await.unwrap())
    }

    #[tokio::test]
    async fn a_proxy_is_asked_as_the_rfc_says() {
        let (connected, asked) = through(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n").await;
        connected.unwrap();
        assert_eq!(
            asked,
            "CONNECT cp.example.com:8005 HTTP/1.1\r\nHost: cp.example.com:8005\r\n\
             Proxy-Authorization: Basic bWU6cHc=\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn each_way_to_be_turned_away_has_its_own_words() {
        let told = async |answer: &'static [u8]| match through(answer).await.0 {
            Ok(_) => panic!("let through"),
            Err(error) => {
                let text = error.to_string();
                assert!(!text.contains("pw") && !text.contains("Basic"), "{text}");
                text.split_once(' ').unwrap().1.to_owned()
            }
        };
        assert!(told(b"HTTP/1.1 407 Auth\r\n\r\n").await.contains("refuses the credentials of proxy_server (407)"));
        assert!(told(b"HTTP/1.1 403 No\r\n\r\n").await.contains("forbids connections to cp.example.com:8005 (403)"));
        assert!(told(b"HTTP/1.0 502 Bad \x1b[1mGateway\r\n\r\n").await.ends_with("8005: 502 Bad [1mGateway"));
        assert!(told(b"SSH-2.0-x\r\n\r\n").await.contains("no status line"));
        assert!(told(b"HTTP/1.1 9999 x\r\n\r\n").await.contains("no status line"));
        assert!(told(b"HTTP/1.1 200 OK\r\n\r\nmore").await.contains("goes on"));
        assert!(told(b"HTTP/1.1 200 OK\r\n").await.contains("closed the connection without an answer"));
        static ENDLESS: [u8; HEAD_BYTES_MAX] = [b'a'; HEAD_BYTES_MAX];
        assert!(told(&ENDLESS).await.contains("no end"));
    }
}
