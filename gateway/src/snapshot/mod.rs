//! One immutable configuration, ready to serve: what a request reads and what a delta replaces.
//!
//! A request takes one [`Snapshot`] and uses nothing else, so that route, plugins and target of one response always
//! belong to one version. [`Snapshot::apply`] makes the next one from a delta by persistent structures that share what
//! did not change; [`Loader`] builds one from a whole set of records. [`live`] is where the current one is found.
//! Entities arrive from `sync` or `declarative` and are compiled in [`compile`]; nothing here does I/O.

mod compile;
pub mod entities;
mod held;
pub mod live;
mod load;
mod load_thread;

pub use compile::{Reason, Rejection};
pub use held::Held;
pub use live::Live;
pub use load::Loader;
pub(crate) use load_thread::LoadThread;

use crate::plugins::{Registry, registry};
use crate::router::Router;
use entities::{Consumer, Instance, JwtSecret, KeyauthCredential, Scope, Service, Sni, Target, Upstream};
use model::trie::Trie;
use model::{Catalog, Id, Kind};
use pki::CertifiedKey;
use std::sync::Arc;

/// The most instances that can apply to one request: one per plugin name and scope that a request can have.
type InstanceList = Arc<[Arc<Instance>]>;

/// One version of the configuration. Cloning costs a few reference counts.
#[derive(Clone)]
pub struct Snapshot {
    /// The incarnation of the control plane's database that it came from; 0 for a file.
    pub epoch: u64,
    /// The term of that epoch.
    pub term: u32,
    /// The commit that it is at; 0 for none.
    pub version: u64,
    catalog: Catalog<()>,
    router: Router,
    routes: Trie<Arc<crate::router::CompiledRoute>>,
    services: Trie<Arc<Service>>,
    consumers: Trie<Arc<Consumer>>,
    upstreams: Trie<Arc<Upstream>>,
    targets: Trie<Arc<Target>>,
    /// By upstream.
    target_lists: Trie<Arc<[Arc<Target>]>>,
    keyauth: Trie<Arc<KeyauthCredential>>,
    jwt: Trie<Arc<JwtSecret>>,
    instances: Trie<Arc<Instance>>,
    /// By [`scope_key`].
    scoped: Trie<InstanceList>,
    global: InstanceList,
    /// How many instances name a consumer, and how many a route and a service: look-ups that can be spared.
    with_consumer: usize,
    with_route_and_service: usize,
    certificates: Trie<Arc<CertifiedKey>>,
    ca_certificates: Trie<Arc<str>>,
    snis: Trie<Sni>,
    /// The plugins that it is compiled with; the same for all snapshots of a process.
    registry: Arc<Registry>,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self::empty()
    }
}

impl Snapshot {
    /// Nothing configured: every request is answered 404.
    #[must_use]
    pub fn empty() -> Self {
        Self::with(Registry::new(&registry::ALL))
    }

    /// The same, for these plugins.
    #[must_use]
    pub fn with(registry: Arc<Registry>) -> Self {
        Self {
            epoch: 0,
            term: 0,
            version: 0,
            catalog: Catalog::without_bodies(),
            router: Router::new(),
            routes: Trie::new(),
            services: Trie::new(),
            consumers: Trie::new(),
            upstreams: Trie::new(),
            targets: Trie::new(),
            target_lists: Trie::new(),
            keyauth: Trie::new(),
            jwt: Trie::new(),
            instances: Trie::new(),
            scoped: Trie::new(),
            global: Arc::new([]),
            with_consumer: 0,
            with_route_and_service: 0,
            certificates: Trie::new(),
            ca_certificates: Trie::new(),
            snis: Trie::new(),
            registry,
        }
    }

    /// What exists, with the digest.
    #[must_use]
    pub fn catalog(&self) -> &Catalog<()> {
        &self.catalog
    }

    /// The plugins that it is compiled with.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Finds the route of a request.
    #[must_use]
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// A service.
    #[must_use]
    pub fn service(&self, id: Id) -> Option<&Arc<Service>> {
        self.services.get(id.0)
    }

    /// A consumer.
    #[must_use]
    pub fn consumer(&self, id: Id) -> Option<&Arc<Consumer>> {
        self.consumers.get(id.0)
    }

    /// A consumer by id or username: what `anonymous` of an auth plugin may say.
    #[must_use]
    pub fn consumer_named(&self, name: &str) -> Option<&Arc<Consumer>> {
        let by_id = name.parse().ok().and_then(|id: Id| self.consumer(id));
        by_id.or_else(|| self.consumer(self.catalog.find(Kind::Consumer, "username", name)?))
    }

    /// The upstream that a service's host names, if it does.
    #[must_use]
    pub fn upstream_named(&self, host: &str) -> Option<&Arc<Upstream>> {
        self.upstreams.get(self.catalog.find(Kind::Upstream, "name", host)?.0)
    }

    /// An upstream's targets, those with weight 0 included; the same list as long as none of them changed.
    #[must_use]
    pub fn targets(&self, upstream: Id) -> Option<&Arc<[Arc<Target>]>> {
        self.target_lists.get(upstream.0)
    }

    /// The credential with this key, expired or not.
    #[must_use]
    pub fn keyauth(&self, key: &str) -> Option<&Arc<KeyauthCredential>> {
        let id = self.catalog.find(Kind::KeyauthCredential, "key", key)?;
        self.keyauth.get(id.0).filter(|credential| *credential.key == *key)
    }

    /// The secret that tokens name by this key.
    #[must_use]
    pub fn jwt_secret(&self, key: &str) -> Option<&Arc<JwtSecret>> {
        let id = self.catalog.find(Kind::JwtSecret, "key", key)?;
        self.jwt.get(id.0).filter(|secret| *secret.name == *key)
    }

    /// The certificate for a server name: an exact SNI, else `*.rest`, else `first.*`.
    #[must_use]
    pub fn certificate_for(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let find = |sni: &str| self.catalog.find(Kind::Sni, "name", sni);
        let left = || name.split_once('.').and_then(|(_, rest)| find(&format!("*.{rest}")));
        let right = || name.rsplit_once('.').and_then(|(rest, _)| find(&format!("{rest}.*")));
        let any = || find("*");
        let sni = find(name).or_else(left).or_else(right).or_else(any)?;
        self.certificate(self.snis.get(sni.0)?.certificate)
    }

    /// A certificate with its key.
    #[must_use]
    pub fn certificate(&self, id: Id) -> Option<&Arc<CertifiedKey>> {
        self.certificates.get(id.0)
    }

    /// A CA certificate (PEM).
    #[must_use]
    pub fn ca_certificate(&self, id: Id) -> Option<&Arc<str>> {
        self.ca_certificates.get(id.0)
    }

    /// The instances that apply everywhere.
    #[must_use]
    pub fn global_instances(&self) -> &[Arc<Instance>] {
        &self.global
    }

    /// The instances of exactly this scope.
    #[must_use]
    pub fn instances(&self, scope: Scope) -> &[Arc<Instance>] {
        if scope == Scope::default() {
            return &self.global;
        }
        self.scoped.get(scope_key(scope)).map_or(&[], |list| list)
    }

    /// Whether any instance names a consumer.
    #[must_use]
    pub fn has_consumer_instances(&self) -> bool {
        self.with_consumer > 0
    }

    /// Whether any instance names both a route and a service.
    #[must_use]
    pub fn has_route_and_service_instances(&self) -> bool {
        self.with_route_and_service > 0
    }

    /// The names of all plugins that are configured, for `hello`.
    #[must_use]
    pub fn entities(&self) -> usize {
        self.catalog.len()
    }
}

/// The key of [`Snapshot::scoped`].
fn scope_key(scope: Scope) -> u128 {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    for part in [scope.route, scope.service, scope.consumer] {
        hash.update(&part.map_or([0; 16], Id::to_bytes));
    }
    hash.digest128()
}
