//! `proxy_listen` and its like: `0.0.0.0:8000, 0.0.0.0:8443 ssl`, with the flags that Kong knows. Pure.

use std::net::SocketAddr;

/// The most listeners that one setting may name.
const LISTENERS_MAX: usize = 64;

/// One listener that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddress {
    /// Where.
    pub address: SocketAddr,
    /// `ssl`
    pub over_tls: bool,
}

/// What is wrong with the setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not an address with a port.
    #[error("'{0}' is not an address with a port, such as 0.0.0.0:8000 or [::]:8000")]
    Address(String),
    /// Kong has the flag, this build does not.
    #[error("the flag '{0}' is not available in this build")]
    Unavailable(String),
    /// Nobody has the flag.
    #[error("unknown flag '{0}'")]
    Flag(String),
    /// More than 64.
    #[error("more than {LISTENERS_MAX} listeners")]
    TooMany,
}

/// Parses a list of listeners; `off` is the empty one.
///
/// # Errors
/// The first thing that is wrong.
pub fn parse(setting: &str) -> Result<Vec<ListenAddress>, AddressError> {
    if setting.trim() == "off" {
        return Ok(Vec::new());
    }
    let parts: Vec<&str> = setting.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if parts.len() > LISTENERS_MAX {
        return Err(AddressError::TooMany);
    }
    parts.into_iter().map(parse_one).collect()
}

fn parse_one(text: &str) -> Result<ListenAddress, AddressError> {
    let mut words = text.split_ascii_whitespace();
    let address = words.next().unwrap_or_default();
    let address = address.parse().map_err(|_| AddressError::Address(address.to_owned()))?;
    let mut over_tls = false;
    for flag in words {
        match flag {
            "ssl" => over_tls = true,
            // Listeners are shared by all workers and reuse their address anyway; the system's backlog is used.
            "reuseport" | "deferred" | "bind" => {}
            "http2" | "proxy_protocol" => return Err(AddressError::Unavailable(flag.to_owned())),
            _ if flag.starts_with("backlog=") || flag.starts_with("so_keepalive=") || flag.starts_with("ipv6only=") => {
            }
            _ => return Err(AddressError::Flag(flag.to_owned())),
        }
    }
    Ok(ListenAddress { address, over_tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_kongs_way_of_writing() {
        let parsed = parse("0.0.0.0:8000 reuseport backlog=16384, [::]:8443 ssl").unwrap();
        let expected = [("0.0.0.0:8000", false), ("[::]:8443", true)];
        let expected =
            expected.map(|(address, over_tls)| ListenAddress { address: address.parse().unwrap(), over_tls });
        assert_eq!(parsed, expected);
        assert_eq!(parse("off"), Ok(Vec::new()));
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(parse("8000"), Err(AddressError::Address("8000".into())));
        assert_eq!(parse("0.0.0.0:8443 http2 ssl"), Err(AddressError::Unavailable("http2".into())));
        assert_eq!(parse("0.0.0.0:8443 sll"), Err(AddressError::Flag("sll".into())));
    }
}
