//! `edge-gateway status`: asks the Status API of the gateway that runs with these settings.

use std::fmt::Write as _;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use os::{Exit, ExitError};
use serde_json::Value;

use crate::config::Config;

const CONNECT_MAX: Duration = Duration::from_secs(2);
const ANSWER_MAX: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

/// What `/status/sync` says, as text or as JSON.
pub(super) fn run(config: &Config, json: bool) -> Result<String, ExitError> {
    let address = config.status_listen.first().copied().map(reachable);
    let address = address.ok_or_else(|| ExitError::new(Exit::Unavailable, "status_listen is off: nobody to ask"))?;
    let body = get(address, "/status/sync").map_err(|error| {
        let why = format!("no answer from the Status API at {address}: {error}; is edge-gateway running?");
        ExitError::new(Exit::Unavailable, why)
    })?;
    let answer: Value = serde_json::from_slice(&body).map_err(|error| {
        ExitError::new(Exit::Unavailable, format!("{address} answers something else than a status: {error}"))
    })?;
    if json {
        return Ok(format!("{answer:#}\n"));
    }
    let mut lines = Vec::new();
    flatten("", &answer, &mut lines);
    let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, value) in lines {
        let _ = writeln!(text, "{name:width$}  {value}");
    }
    Ok(text)
}

/// An address that stands for all of the machine's is asked at loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The body of a 200; HTTP/1.0, so that it ends with the connection.
fn get(address: SocketAddr, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    body(&answer).map(<[u8]>::to_vec).ok_or_else(|| io::Error::other("not the answer of a Status API"))
}

fn body(answer: &[u8]) -> Option<&[u8]> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = answer.split_at_checked(end + 4)?;
    let is_200 = head.starts_with(b"HTTP/1.0 200 ") || head.starts_with(b"HTTP/1.1 200 ");
    is_200.then_some(body)
}

/// One line per leaf, named by its path. Depth is bounded by the JSON parser.
fn flatten(name: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(&name, member, lines);
            }
        }
        Value::Null => lines.push((name.to_owned(), "-".to_owned())),
        Value::String(text) => lines.push((name.to_owned(), text.clone())),
        other => lines.push((name.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A Status API that says this once.
    fn api(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn takes_the_body_of_a_200_and_nothing_else() {
        assert_eq!(get(api("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), "/status/sync").unwrap(), b"{}");
        assert!(get(api("HTTP/1.1 404 Not Found\r\n\r\n{}"), "/status/sync").is_err());
        assert!(get(api("SSH-2.0\r\n"), "/status/sync").is_err());
    }

    #[test]
    fn leaves_are_named_by_their_path() {
        let mut lines = Vec::new();
        flatten("", &serde_json::json!({"a": 1, "store": {"state": "ok", "error": null}}), &mut lines);
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(lines, [pair("a", "1"), pair("store.state", "ok"), pair("store.error", "-")]);
    }

    #[test]
    fn an_unspecified_address_is_asked_at_loopback() {
        assert_eq!(reachable("0.0.0.0:8007".parse().unwrap()), "127.0.0.1:8007".parse().unwrap());
        assert_eq!(reachable("[::]:8007".parse().unwrap()), "[::1]:8007".parse().unwrap());
        assert_eq!(reachable("192.0.2.1:8007".parse().unwrap()), "192.0.2.1:8007".parse().unwrap());
    }
}
