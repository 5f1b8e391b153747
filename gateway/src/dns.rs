//! Names to addresses: the operating system's resolver behind a bounded cache, one for the whole process.
//!
//! `getaddrinfo` blocks and tells no time to live, so it runs on the blocking pool and an answer counts for a fixed
//! time. An expired answer is still given, while one request's lookup renews it in the background; when the resolver
//! fails, old answers go on being given for [`Ttl::stale`]: a name server that is away must not take services with it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most names in the cache. When it is full, it starts anew.
const NAMES_MAX: usize = 16_384;
/// The most addresses of one name that are used.
const ADDRESSES_MAX: usize = 64;

/// How long answers count.
#[derive(Debug, Clone, Copy)]
pub struct Ttl {
    /// An answer.
    pub valid: Duration,
    /// An answer that could not be renewed, after that (Kong: `dns_stale_ttl`).
    pub stale: Duration,
    /// The absence of an answer (Kong: `dns_error_ttl`).
    pub error: Duration,
}

impl Default for Ttl {
    fn default() -> Self {
        Self { valid: Duration::from_secs(30), stale: Duration::from_secs(3600), error: Duration::from_secs(1) }
    }
}

/// The name has no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("name resolution failed")]
pub struct NoAddress;

type Lookup = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// The resolver with its cache.
pub struct Resolver {
    names: Mutex<HashMap<Box<str>, Arc<Name>>>,
    ttl: Ttl,
    lookup: Arc<Lookup>,
}

#[derive(Default)]
struct Name {
    answer: Mutex<Option<Answer>>,
    /// Held by the one that asks; others wait for its answer.
    asking: tokio::sync::Mutex<()>,
    turn: AtomicUsize,
}

#[derive(Clone)]
struct Answer {
    addresses: Arc<[IpAddr]>,
    at: Instant,
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new(Ttl::default())
    }
}

impl Resolver {
    /// A resolver that asks the operating system.
    #[must_use]
    pub fn new(ttl: Ttl) -> Self {
        Self::with_lookup(ttl, system)
    }

    /// A resolver that asks `lookup`, which may block.
    pub fn with_lookup(ttl: Ttl, lookup: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Self {
        Self { names: Mutex::default(), ttl, lookup: Arc::new(lookup) }
    }

    /// An address of `host`; a name with several gives them in turn.
    ///
    /// # Errors
    /// When the name has none and none is remembered.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<SocketAddr, NoAddress> {
        // An IPv6 address may come in the brackets of a URL.
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(SocketAddr::new(ip, port));
        }
        let name = self.name(host);
        match self.remembered(&name, Instant::now()) {
            Remembered::Fresh(addresses) => return name.next(&addresses, port),
            Remembered::Stale(addresses) => {
                self.renew(name.clone(), host);
                return name.next(&addresses, port);
            }
            Remembered::Nothing => {}
        }
        let _asking = name.asking.lock().await;
        // Whoever held the lock before may have brought the answer.
        if let Remembered::Fresh(addresses) = self.remembered(&name, Instant::now()) {
            return name.next(&addresses, port);
        }
        let answer = ask(self.lookup.clone(), host.into()).await;
        name.remember(answer, self.ttl, Instant::now());
        match self.remembered(&name, Instant::now()) {
            Remembered::Fresh(addresses) | Remembered::Stale(addresses) => name.next(&addresses, port),
            Remembered::Nothing => Err(NoAddress),
        }
    }

    fn name(&self, host: &str) -> Arc<Name> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = names.get(host) {
            return name.clone();
        }
        if names.len() >= NAMES_MAX {
            names.clear();
        }
        names.entry(host.into()).or_default().clone()
    }

    fn remembered(&self, name: &Name, now: Instant) -> Remembered {
        let answer = name.answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(answer) = answer else { return Remembered::Nothing };
        let age = now.saturating_duration_since(answer.at);
        match answer.addresses.is_empty() {
            true if age < self.ttl.error => Remembered::Fresh(answer.addresses),
            true => Remembered::Nothing,
            false if age < self.ttl.valid => Remembered::Fresh(answer.addresses),
            false if age < self.ttl.valid + self.ttl.stale => Remembered::Stale(answer.addresses),
            false => Remembered::Nothing,
        }
    }

    /// Asks in the background, unless somebody already does.
    fn renew(&self, name: Arc<Name>, host: &str) {
        if name.asking.try_lock().is_err() {
            return;
        }
        let (lookup, host, ttl) = (self.lookup.clone(), host.into(), self.ttl);
        tokio::spawn(async move {
            let Ok(_asking) = name.asking.try_lock() else { return };
            let answer = ask(lookup, host).await;
            name.remember(answer, ttl, Instant::now());
        });
    }
}

enum Remembered {
    Fresh(Arc<[IpAddr]>),
    Stale(Arc<[IpAddr]>),
    Nothing,
}

impl Name {
    fn next(&self, addresses: &[IpAddr], port: u16) -> Result<SocketAddr, NoAddress> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let index = turn.checked_rem(addresses.len()).ok_or(NoAddress)?;
        addresses.get(index).map(|&ip| SocketAddr::new(ip, port)).ok_or(NoAddress)
    }

    /// Takes an answer in. A failure leaves an old answer in place and lets it count a little longer.
    fn remember(&self, answer: io::Result<Vec<IpAddr>>, ttl: Ttl, now: Instant) {
        let mut kept = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        let addresses: Vec<IpAddr> = answer.unwrap_or_default().into_iter().take(ADDRESSES_MAX).collect();
        let old = kept.as_ref().filter(|old| !old.addresses.is_empty());
        let usable = old.is_some_and(|old| now.saturating_duration_since(old.at) < ttl.valid + ttl.stale);
        if !addresses.is_empty() || !usable {
            *kept = Some(Answer { addresses: addresses.into(), at: now });
        }
    }
}

async fn ask(lookup: Arc<Lookup>, host: Box<str>) -> io::Result<Vec<IpAddr>> {
    tokio::task::spawn_blocking(move || lookup(&host)).await.map_err(io::Error::other)?
}

fn system(host: &str) -> io::Result<Vec<IpAddr>> {
    let mut addresses: Vec<IpAddr> = (host, 0).to_socket_addrs()?.map(|address| address.ip()).collect();
    addresses.dedup();
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    const FIRST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const SECOND: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn run(future: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
    }

    #[test]
    fn literal_addresses_ask_nobody() {
        run(async {
            let resolver = Resolver::with_lookup(Ttl::default(), |_| panic!("asked"));
            assert_eq!(resolver.resolve("10.0.0.1", 80).await, Ok("10.0.0.1:80".parse().unwrap()));
            assert_eq!(resolver.resolve("::1", 80).await, Ok("[::1]:80".parse().unwrap()));
        });
    }

    #[test]
    fn asks_once_and_gives_the_addresses_in_turn() {
        run(async {
            let asked = Arc::new(AtomicUsize::new(0));
            let count = asked.clone();
            let resolver = Resolver::with_lookup(Ttl::default(), move |_| {
                count.fetch_add(1, Ordering::Relaxed);
                Ok(vec![FIRST, SECOND])
            });
            let mut got = Vec::new();
            for _ in 0..3 {
                got.push(resolver.resolve("a.example", 1).await.unwrap().ip());
            }
            assert_eq!(got, [FIRST, SECOND, FIRST]);
            assert_eq!(asked.load(Ordering::Relaxed), 1);
        });
    }

    #[test]
    fn an_old_answer_counts_on_while_the_resolver_is_away() {
        run(async {
            let away = Arc::new(AtomicBool::new(false));
            let switch = away.clone();
            let ttl = Ttl { valid: Duration::ZERO, ..Ttl::default() };
            let resolver = Resolver::with_lookup(ttl, move |_| {
                if switch.load(Ordering::Relaxed) { Err(io::Error::other("away")) } else { Ok(vec![FIRST]) }
            });
            assert_eq!(resolver.resolve("a.example", 1).await.map(|address| address.ip()), Ok(FIRST));
            away.store(true, Ordering::Relaxed);
            for _ in 0..3 {
                assert_eq!(resolver.resolve("a.example", 1).await.map(|address| address.ip()), Ok(FIRST));
                tokio::task::yield_now().await;
            }
        });
    }

    #[test]
    fn a_name_without_address_is_an_error() {
        run(async {
            let resolver = Resolver::with_lookup(Ttl::default(), |_| Err(io::Error::other("NXDOMAIN")));
            assert_eq!(resolver.resolve("nowhere.example", 1).await, Err(NoAddress));
        });
    }
}
