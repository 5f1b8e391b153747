//! From a delta to the next snapshot: the only place that knows every kind.
//!
//! Each kind compiles by itself, without looking at others, so that records may come in any order and a change costs
//! what it touches; that references resolve and unique values are unique is the catalog's to judge.

use super::entities::{
    Consumer, Instance, JwtSecret, KeyauthCredential, Lifetime, Protocol, Scope, Service, ServiceTls, Sni, Target,
    Upstream,
};
use super::{InstanceList, Snapshot, scope_key};
use crate::plugins::{PluginError, Site, jwt::VerifyKey};
use crate::router::{CompiledRoute, RouteError};
use model::body::BodyError;
use model::catalog::Conflict;
use model::kind::{Entity, Facts};
use model::kinds::{self, jwt_secrets::JwtAlgorithm};
use model::trie::Trie;
use model::{Change, Id, Kind, meter};
use std::sync::Arc;
use std::time::Duration;

/// Kong's defaults for what an entity may leave unset.
const RETRIES: u32 = 5;
const WEIGHT: u32 = 100;
const TIMEOUT_MS: u64 = 60_000;

/// Why a delta cannot be served: which entity, and what is wrong with it. The control plane shows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} {id}: {message}", kind.def().name)]
pub struct Rejection {
    /// What sort of fault it is.
    pub reason: Reason,
    /// The entity's kind.
    pub kind: Kind,
    /// The entity.
    pub id: Id,
    /// The field, where one is to blame.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

/// What sort of fault a [`Rejection`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A plugin that this build does not have.
    UnknownPlugin,
    /// A body that cannot be read, or a value in it that fails its checks.
    Invalid,
    /// A reference to what is not there.
    Dangling,
    /// A value that must be unique and is not.
    Duplicate,
    /// It is well-formed, and nothing that can serve comes of it.
    Compile,
    /// A fault of this program.
    Internal,
}

impl Rejection {
    fn new(reason: Reason, kind: Kind, id: Id, path: &str, message: impl ToString) -> Self {
        Self { reason, kind, id, path: path.to_owned(), message: message.to_string() }
    }
}

impl From<Conflict> for Rejection {
    fn from(conflict: Conflict) -> Self {
        let (reason, kind, id, path) = match &conflict {
            Conflict::Body { kind, id, .. } => (Reason::Invalid, *kind, *id, ""),
            Conflict::Duplicate { kind, id, field, .. } => (Reason::Duplicate, *kind, *id, *field),
            Conflict::Dangling { kind, id, field, .. } => (Reason::Dangling, *kind, *id, *field),
            Conflict::StillReferenced { kind, id, .. } => (Reason::Dangling, *kind, *id, ""),
        };
        Self::new(reason, kind, id, path, &conflict)
    }
}

impl From<Vec<Conflict>> for Rejection {
    /// The first one stands for all: a rejection is about the delta as a whole.
    fn from(conflicts: Vec<Conflict>) -> Self {
        let none = || Self::new(Reason::Internal, Kind::Service, Id::default(), "", "refused for no reason given");
        conflicts.into_iter().next().map_or_else(none, Self::from)
    }
}

/// Takes what indexes need to know of an entity.
pub(super) type Index<'a> = &'a mut dyn FnMut(Facts) -> Result<(), Rejection>;

/// An entity that is about to be compiled.
struct Reading<'a> {
    kind: Kind,
    id: Id,
    body: &'a [u8],
    index: Option<Index<'a>>,
}

impl Reading<'_> {
    fn refused(&self, error: BodyError) -> Rejection {
        Rejection::new(Reason::Invalid, self.kind, self.id, "", error)
    }

    /// The entity: no request looks at its tags.
    fn entity<E: Entity>(&mut self) -> Result<E, Rejection> {
        let entity = E::decode_untagged(self.body).map_err(|error| self.refused(error))?;
        if let Some(index) = &mut self.index {
            index(entity.facts())?;
        }
        Ok(entity)
    }

    fn facts_only(&mut self) -> Result<(), Rejection> {
        let Some(index) = self.index.take() else { return Ok(()) };
        index((self.kind.def().facts)(self.body).map_err(|error| self.refused(error))?)
    }
}

impl Snapshot {
    /// The snapshot after these changes, all or none of them.
    ///
    /// # Errors
    /// The first thing that forbids it; `self` is untouched and serves on.
    pub fn apply(&self, epoch: u64, version: u64, changes: &[Change]) -> Result<Self, Rejection> {
        let catalog = self.catalog.apply(changes).map_err(Rejection::from)?;
        let mut next = Self { epoch, version, ..self.clone() };
        for change in changes {
            match change {
                Change::Put(record) => next.put(record.kind, record.id, &record.body, None)?,
                Change::Delete { kind, id } => next.delete(*kind, *id),
            }
        }
        next.catalog = catalog;
        Ok(next)
    }

    /// Compiles one entity in, in the place of what is there under its id. `index` is told what indexes need to know of it.
    pub(super) fn put<'a>(
        &mut self,
        kind: Kind,
        id: Id,
        body: &'a [u8],
        index: Option<Index<'a>>,
    ) -> Result<(), Rejection> {
        let mut reading = Reading { kind, id, body, index };
        match kind {
            Kind::Service => self.put_service(reading.entity()?),
            Kind::Route => self.put_route(&reading.entity()?)?,
            Kind::Consumer => self.put_consumer(reading.entity()?),
            Kind::Plugin => self.put_plugin(&reading.entity()?)?,
            Kind::Upstream => self.put_upstream(reading.entity()?),
            Kind::Target => self.put_target(&reading.entity()?)?,
            Kind::Certificate => self.put_certificate(&reading.entity()?)?,
            Kind::Sni => {
                let sni: kinds::snis::Sni = reading.entity()?;
                self.snis.insert(id.0, Sni { certificate: sni.certificate.id });
            }
            Kind::CaCertificate => {
                let ca: kinds::ca_certificates::CaCertificate = reading.entity()?;
                self.ca_certificates.insert(id.0, ca.cert.into());
            }
            Kind::KeyauthCredential => self.put_keyauth(reading.entity()?),
            Kind::JwtSecret => self.put_jwt(reading.entity()?)?,
            // No request needs them yet: the catalog has all that events tell.
            Kind::KeySet | Kind::Key => reading.facts_only()?,
        }
        Ok(())
    }

    fn delete(&mut self, kind: Kind, id: Id) {
        match kind {
            Kind::Service => drop(self.services.remove(id.0)),
            Kind::Route => {
                if let Some(route) = self.routes.remove(id.0) {
                    self.router.remove(&route);
                }
            }
            Kind::Consumer => drop(self.consumers.remove(id.0)),
            Kind::Plugin => {
                if let Some(instance) = self.instances.remove(id.0) {
                    self.unscope(&instance);
                }
            }
            Kind::Upstream => drop(self.upstreams.remove(id.0)),
            Kind::Target => {
                if let Some(target) = self.targets.remove(id.0) {
                    without(&mut self.target_lists, target.upstream.0, |other| other.id == target.id);
                }
            }
            Kind::Certificate => drop(self.certificates.remove(id.0)),
            Kind::Sni => drop(self.snis.remove(id.0)),
            Kind::CaCertificate => drop(self.ca_certificates.remove(id.0)),
            Kind::KeyauthCredential => drop(self.keyauth.remove(id.0)),
            Kind::JwtSecret => drop(self.jwt.remove(id.0)),
            Kind::KeySet | Kind::Key => {}
        }
    }

    fn put_service(&mut self, service: kinds::services::Service) {
        let tls = ServiceTls {
            verify: service.tls_verify,
            verify_depth: service.tls_verify_depth.map(u32::from),
            ca_certificates: service.ca_certificates.unwrap_or_default().into(),
            client_certificate: service.client_certificate.map(|certificate| certificate.id),
        };
        let is_plain = tls.verify.is_none() && tls.ca_certificates.is_empty() && tls.client_certificate.is_none();
        let compiled = Service {
            id: service.id,
            name: service.name.map(Into::into),
            enabled: service.enabled,
            protocol: match service.protocol {
                kinds::Protocol::Http => Protocol::Http,
                kinds::Protocol::Https => Protocol::Https,
                _ => Protocol::Unsupported,
            },
            host: service.host.into(),
            port: service.port,
            path: service.path.map(Into::into),
            retries: service.retries.map_or(RETRIES, u32::from),
            connect_timeout: millis(service.connect_timeout),
            write_timeout: millis(service.write_timeout),
            read_timeout: millis(service.read_timeout),
            tls: (!is_plain).then(|| Box::new(tls)),
        };
        self.services.insert(compiled.id.0, Arc::new(compiled));
    }

    fn put_route(&mut self, route: &kinds::routes::Route) -> Result<(), Rejection> {
        let compiled = match self.routes.get(route.id.0) {
            Some(before) => before.recompile(route),
            None => CompiledRoute::compile(route),
        };
        let refused = |error: RouteError| Rejection::new(Reason::Compile, Kind::Route, route.id, error.field(), &error);
        let compiled = compiled.map_err(refused)?;
        let compiled = Arc::new(compiled);
        if let Some(before) = self.routes.insert(route.id.0, Arc::clone(&compiled)) {
            self.router.replace(&before, &compiled);
        } else {
            self.router.insert(&compiled);
        }
        Ok(())
    }

    fn put_consumer(&mut self, consumer: kinds::consumers::Consumer) {
        let compiled = Consumer {
            id: consumer.id,
            username: consumer.username.map(Into::into),
            custom_id: consumer.custom_id.map(Into::into),
        };
        self.consumers.insert(compiled.id.0, Arc::new(compiled));
    }

    fn put_plugin(&mut self, plugin: &kinds::plugins::Plugin) -> Result<(), Rejection> {
        let refuse = |path: &str, error: PluginError| {
            let unknown = matches!(error, PluginError::Unknown(_));
            let reason = if unknown { Reason::UnknownPlugin } else { Reason::Invalid };
            Rejection::new(reason, Kind::Plugin, plugin.id, path, error)
        };
        let registry = Arc::clone(&self.registry);
        if !plugin.enabled {
            // Whether this build has it or not: a control plane sends it to all.
            self.delete(Kind::Plugin, plugin.id);
            return Ok(());
        }
        let definition = registry.find(&plugin.name).map_err(|unknown| refuse("name", unknown))?;
        let site = Site { instance: plugin.id, states: registry.states() };
        let built = definition.build(&plugin.config, &site).map_err(|error| refuse("config", error))?;
        let scope = Scope {
            route: plugin.route.map(|route| route.id),
            service: plugin.service.map(|service| service.id),
            consumer: plugin.consumer.map(|consumer| consumer.id),
        };
        let runs_on = |protocol| plugin.protocols.contains(&protocol);
        let instance = Arc::new(Instance {
            id: plugin.id,
            name: definition.name(),
            priority: definition.priority(),
            scope,
            on_http: runs_on(kinds::Protocol::Http),
            on_https: runs_on(kinds::Protocol::Https),
            plugin: built,
        });
        if let Some(before) = self.instances.insert(plugin.id.0, Arc::clone(&instance)) {
            self.unscope(&before);
        }
        self.scope(&instance);
        Ok(())
    }

    fn scope(&mut self, instance: &Arc<Instance>) {
        self.count_scope(instance.scope, 1);
        let by_priority = |a: &Arc<Instance>, b: &Arc<Instance>| b.priority.cmp(&a.priority).then(a.name.cmp(b.name));
        if instance.scope == Scope::default() {
            let mut list = self.global.to_vec();
            meter::visited(list.len());
            list.push(instance.clone());
            list.sort_by(by_priority);
            self.global = list.into();
        } else {
            with(&mut self.scoped, scope_key(instance.scope), instance.clone(), by_priority);
        }
    }

    fn unscope(&mut self, instance: &Instance) {
        self.count_scope(instance.scope, -1);
        if instance.scope == Scope::default() {
            meter::visited(self.global.len());
            self.global = self.global.iter().filter(|other| other.id != instance.id).cloned().collect::<InstanceList>();
        } else {
            without(&mut self.scoped, scope_key(instance.scope), |other| other.id == instance.id);
        }
    }

    fn count_scope(&mut self, scope: Scope, by: isize) {
        if scope.consumer.is_some() {
            self.with_consumer = self.with_consumer.saturating_add_signed(by);
        }
        if scope.route.is_some() && scope.service.is_some() {
            self.with_route_and_service = self.with_route_and_service.saturating_add_signed(by);
        }
    }

    fn put_upstream(&mut self, upstream: kinds::upstreams::Upstream) {
        let compiled = Upstream {
            id: upstream.id,
            name: upstream.name.into(),
            host_header: upstream.host_header.map(Into::into),
            client_certificate: upstream.client_certificate.map(|certificate| certificate.id),
        };
        self.upstreams.insert(compiled.id.0, Arc::new(compiled));
    }

    fn put_target(&mut self, target: &kinds::targets::Target) -> Result<(), Rejection> {
        let refused = || Rejection::new(Reason::Invalid, Kind::Target, target.id, "target", "expected host:port");
        let (host, port) = target.target.rsplit_once(':').ok_or_else(refused)?;
        let compiled = Arc::new(Target {
            id: target.id,
            upstream: target.upstream.id,
            host: host.trim_start_matches('[').trim_end_matches(']').into(),
            port: port.parse().map_err(|_| refused())?,
            weight: target.weight.map_or(WEIGHT, u32::from),
        });
        if let Some(before) = self.targets.insert(compiled.id.0, Arc::clone(&compiled)) {
            without(&mut self.target_lists, before.upstream.0, |other| other.id == before.id);
        }
        let by_id = |a: &Arc<Target>, b: &Arc<Target>| a.id.cmp(&b.id);
        with(&mut self.target_lists, compiled.upstream.0, compiled, by_id);
        Ok(())
    }

    fn put_certificate(&mut self, certificate: &kinds::certificates::Certificate) -> Result<(), Rejection> {
        let key = pki::certified_key(&certificate.cert, &certificate.key)
            .map_err(|error| Rejection::new(Reason::Compile, Kind::Certificate, certificate.id, "cert", error))?;
        self.certificates.insert(certificate.id.0, key);
        Ok(())
    }

    fn put_keyauth(&mut self, credential: kinds::keyauth_credentials::KeyauthCredential) {
        let compiled = KeyauthCredential {
            id: credential.id,
            consumer: credential.consumer.id,
            key: credential.key.into(),
            lifetime: credential.expires_at.map(|until| Box::new(Lifetime { from: credential.created_at, until })),
        };
        self.keyauth.insert(compiled.id.0, Arc::new(compiled));
    }

    fn put_jwt(&mut self, secret: kinds::jwt_secrets::JwtSecret) -> Result<(), Rejection> {
        let algorithm = secret.algorithm.unwrap_or(JwtAlgorithm::Hs256);
        let key = VerifyKey::parse(algorithm, secret.secret.as_deref(), secret.rsa_public_key.as_deref())
            .map_err(|error| Rejection::new(Reason::Compile, Kind::JwtSecret, secret.id, "algorithm", error))?;
        let compiled = JwtSecret { id: secret.id, consumer: secret.consumer.id, name: secret.key.into(), key };
        self.jwt.insert(compiled.id.0, Arc::new(compiled));
        Ok(())
    }
}

/// Adds to a shared list, in order; what shares the old list keeps it.
fn with<T>(
    lists: &mut Trie<Arc<[Arc<T>]>>,
    key: u128,
    item: Arc<T>,
    order: impl FnMut(&Arc<T>, &Arc<T>) -> std::cmp::Ordering,
) {
    let mut list = lists.get(key).map(|list| list.to_vec()).unwrap_or_default();
    meter::visited(list.len());
    list.push(item);
    list.sort_by(order);
    lists.insert(key, list.into());
}

/// Takes out of a shared list, and the list away when nothing is left.
fn without<T>(lists: &mut Trie<Arc<[Arc<T>]>>, key: u128, is_it: impl Fn(&T) -> bool) {
    let Some(list) = lists.get(key) else { return };
    meter::visited(list.len());
    let rest: Arc<[Arc<T>]> = list.iter().filter(|item| !is_it(item)).cloned().collect();
    if rest.is_empty() {
        lists.remove(key);
    } else {
        lists.insert(key, rest);
    }
}

fn millis(number: Option<u32>) -> Duration {
    Duration::from_millis(number.map_or(TIMEOUT_MS, u64::from))
}
