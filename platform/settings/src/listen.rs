//! Addresses to listen on, in the words of kong.conf: `0.0.0.0:8443 ssl`, or `off`. For [`crate::Kind::List`] settings.

use std::net::SocketAddr;

/// Flags with a value that change nothing here.
const HARMLESS: [&str; 3] = ["backlog=", "so_keepalive=", "ipv6only="];

/// An address that may speak TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listen {
    /// Where.
    pub address: SocketAddr,
    /// Whether clients speak TLS there.
    pub ssl: bool,
}

/// `off`, or addresses that may each be followed by flags, as in kong.conf. Of these `ssl` has an effect; those about the
/// system's queue of connections are taken and change nothing, since all workers share the listeners; those that ask for
/// another protocol are refused. The error is for people.
pub fn listeners(items: &[String]) -> Result<Vec<Listen>, String> {
    each(items, |item| {
        let mut words = item.split_whitespace();
        let address = address(words.next().unwrap_or_default())?;
        let mut ssl = false;
        for word in words {
            match word {
                "ssl" => ssl = true,
                "reuseport" | "deferred" | "bind" => {}
                word if HARMLESS.iter().any(|flag| word.starts_with(flag)) => {}
                other => return Err(format!("\"{other}\" after {address} is not supported; only \"ssl\" is")),
            }
        }
        Ok(Listen { address, ssl })
    })
}

/// `off`, or plain addresses. The error is for people, as that of [`listeners`].
pub fn addresses(items: &[String]) -> Result<Vec<SocketAddr>, String> {
    each(items, address)
}

fn each<T>(items: &[String], parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    match items {
        [off] if off == "off" => Ok(Vec::new()),
        items => items.iter().map(|item| parse(item)).collect(),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("\"{text}\" is not ADDRESS:PORT, such as 0.0.0.0:8000 or [::]:8000"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Listen>, String> {
        listeners(&text.split(',').map(|item| item.trim().to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn addresses_may_be_followed_by_ssl_and_nothing_else() {
        let listen = |address: &str, ssl| Listen { address: address.parse().unwrap(), ssl };
        assert_eq!(
            read("0.0.0.0:8000, [::]:8443 ssl"),
            Ok(vec![listen("0.0.0.0:8000", false), listen("[::]:8443", true)])
        );
        assert_eq!(read("off"), Ok(vec![]));
        assert_eq!(
            read("0.0.0.0:8443 http2 ssl").unwrap_err(),
            "\"http2\" after 0.0.0.0:8443 is not supported; only \"ssl\" is"
        );
        assert_eq!(read("8000").unwrap_err(), "\"8000\" is not ADDRESS:PORT, such as 0.0.0.0:8000 or [::]:8000");
    }
}
