//! TLS configurations towards upstreams, made once per combination of a service's settings and kept for the process.

use super::error::ProxyError;
use crate::snapshot::Snapshot;
use crate::snapshot::entities::ServiceTls;
use model::{Id, Kind};
use pki::{Authorities, ClientConfig, UpstreamTls, upstream_client};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use xxhash_rust::xxh3::Xxh3;

/// The most configurations that are kept; beyond, all are made anew.
const CONFIGS_MAX: usize = 1_024;
/// What is offered inside TLS.
const ALPN: [&[u8]; 1] = [b"http/1.1"];

/// The configurations.
#[derive(Default)]
pub(super) struct TlsConfigs {
    known: Mutex<HashMap<u64, Arc<ClientConfig>>>,
}

/// Names a configuration: a hash of the settings and of the content of the entities that they refer to. Not of their versions,
/// which another epoch uses again for other content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TlsIdentity(u64);

impl TlsIdentity {
    /// The identity of a service's settings. `upstream_certificate` is used where the service names none.
    pub(super) fn of(snapshot: &Snapshot, tls: Option<&ServiceTls>, upstream_certificate: Option<Id>) -> Self {
        let mut hash = Xxh3::new();
        let mut entity = |kind: Kind, id: Id| {
            hash.update(&id.to_bytes());
            let tag = snapshot.catalog().get(kind, id).map_or(0, |entry| entry.tag);
            hash.update(&tag.to_le_bytes());
        };
        if let Some(certificate) = client_certificate(tls, upstream_certificate) {
            entity(Kind::Certificate, certificate);
        }
        for &id in tls.map_or(&[][..], |tls| &tls.ca_certificates) {
            entity(Kind::CaCertificate, id);
        }
        hash.update(&[u8::from(tls.is_some_and(|tls| tls.verify == Some(true)))]);
        hash.update(&tls.and_then(|tls| tls.verify_depth).unwrap_or(u32::MAX).to_le_bytes());
        Self(hash.digest())
    }

    /// The part of a pool key that keeps sessions with different identities or server names apart; never 0.
    pub(super) fn with_name(self, name: &str) -> u64 {
        let mut hash = Xxh3::with_seed(self.0);
        hash.update(name.as_bytes());
        hash.digest() | 1
    }
}

impl TlsConfigs {
    /// The configuration with this identity.
    ///
    /// # Errors
    /// When a certificate that it refers to is missing or unusable.
    pub(super) fn get(
        &self,
        identity: TlsIdentity,
        snapshot: &Snapshot,
        tls: Option<&ServiceTls>,
        upstream_certificate: Option<Id>,
        trusted: Option<&Arc<Authorities>>,
    ) -> Result<Arc<ClientConfig>, ProxyError> {
        let known = |configs: &HashMap<u64, Arc<ClientConfig>>| configs.get(&identity.0).cloned();
        if let Some(config) = known(&self.known.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(config);
        }
        let config = make(snapshot, tls, upstream_certificate, trusted)?;
        let mut configs = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if configs.len() >= CONFIGS_MAX {
            configs.clear();
        }
        Ok(configs.entry(identity.0).or_insert(config).clone())
    }
}

fn client_certificate(tls: Option<&ServiceTls>, upstream_certificate: Option<Id>) -> Option<Id> {
    tls.and_then(|tls| tls.client_certificate).or(upstream_certificate)
}

fn make(
    snapshot: &Snapshot,
    tls: Option<&ServiceTls>,
    upstream_certificate: Option<Id>,
    trusted: Option<&Arc<Authorities>>,
) -> Result<Arc<ClientConfig>, ProxyError> {
    let unusable = |error: &dyn std::fmt::Display| ProxyError::TlsSettings(error.to_string());
    let verify = match tls {
        Some(tls) if tls.verify == Some(true) => Some(authorities(snapshot, tls, trusted)?),
        _ => None,
    };
    let client_certificate = match client_certificate(tls, upstream_certificate) {
        None => None,
        Some(id) => Some(snapshot.certificate(id).cloned().ok_or_else(|| unusable(&"no such client certificate"))?),
    };
    let verify_depth = tls.and_then(|tls| tls.verify_depth).unwrap_or(pki::upstream::VERIFY_DEPTH_DEFAULT);
    let settings = UpstreamTls { verify, verify_depth, client_certificate };
    upstream_client(&settings, &ALPN).map_err(|error| unusable(&error))
}

fn authorities(
    snapshot: &Snapshot,
    tls: &ServiceTls,
    trusted: Option<&Arc<Authorities>>,
) -> Result<Arc<Authorities>, ProxyError> {
    let unusable = |error: String| ProxyError::TlsSettings(error);
    if tls.ca_certificates.is_empty() {
        return trusted.cloned().ok_or_else(|| unusable("tls_verify without trusted CA certificates".into()));
    }
    let pems = tls.ca_certificates.iter().filter_map(|&id| snapshot.ca_certificate(id)).map(|pem| &**pem);
    Authorities::from_pems(pems).map(Arc::new).map_err(|error| unusable(error.to_string()))
}
