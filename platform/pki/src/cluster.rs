//! The link between a control plane and its data planes: mutual TLS 1.3 on `cluster_listen`.
//!
//! `shared` mode compares the peer's certificate with our own, byte for byte, and looks at nothing else in it (the
//! file is the same on every node). `pki` mode verifies it against `cluster_ca_cert`. On the listening side a
//! certificate is requested, not demanded, and judged after the handshake by [`ClusterServer::peer`]: enrolment comes
//! without one, and whoever comes with a wrong one is told so instead of being cut off.
//!
//! Sessions are resumed from tickets, so that a reconnect costs no signature; the certificate of the first handshake
//! comes back with the session and is judged anew each time.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::server::{ServerConnection, ServerSessionMemoryCache};
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::{ServerName, UnixTime};
use webpki::KeyUsage;

use crate::issue::CLUSTER_COMMON_NAME;
use crate::material::{Material, PkiError};
use crate::verify::{AnyClient, IssuedServer, PinnedServer, check_chain, check_pin};
use crate::{Authorities, ClusterIdentity, Digest, Refusal, der, provider};

/// The protocol of synchronisation, as named in the TLS handshake.
pub const ALPN_SYNC: &[u8] = b"edge-sync/1";
/// HTTP on the cluster port: enrolment.
pub const ALPN_HTTP: &[u8] = b"http/1.1";
/// How many nodes can resume a session; about 1 KiB each, taken as they come.
const SESSIONS_MAX: usize = 4096;
/// A data plane talks to a few control planes.
const CLIENT_SESSIONS_MAX: usize = 8;
/// How many intermediate certificates a chain may have in `pki` mode (Kong: depth 4).
pub(crate) const DEPTH_MAX: u32 = 4;

/// How the ends of the link come to trust each other (Kong: `cluster_mtls`).
#[derive(Clone, Debug)]
pub enum Mtls {
    /// Everyone holds the same certificate.
    Shared,
    /// Everyone holds a certificate from one of these authorities.
    Pki(Arc<Authorities>),
}

impl Mtls {
    /// The words of `cluster_mtls`.
    pub const NAMES: [&'static str; 2] = ["shared", "pki"];

    /// The mode of this name; any other than `pki` is `shared`. `authorities` is `cluster_ca_cert`: a path, PEM text
    /// or base64 of it, without which `pki` trusts whom the operating system trusts.
    pub fn load(name: &str, authorities: Option<&str>) -> Result<Mtls, PkiError> {
        match (name, authorities) {
            ("pki", Some(given)) => Ok(Mtls::Pki(Arc::new(Authorities::load(&Material::load(given)?)?))),
            ("pki", None) => Ok(Mtls::Pki(Arc::new(Authorities::system()?))),
            _ => Ok(Mtls::Shared),
        }
    }
}

/// The listening end.
pub struct ClusterServer {
    config: Arc<ServerConfig>,
    own: Digest,
    mtls: Mtls,
}

/// Who is at the other end of an accepted connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Peer {
    /// Showed no certificate.
    Anonymous,
    /// Showed one that belongs to the cluster.
    Member(Member),
    /// Showed one that does not.
    Stranger {
        /// What it showed.
        digest: Digest,
        /// What is wrong with it.
        refusal: Refusal,
    },
}

/// A certificate that belongs to the cluster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// Its SHA-256.
    pub digest: Digest,
    /// Its last second, in seconds since the Unix epoch. In `shared` mode it may lie in the past.
    pub not_after: i64,
    /// The subject's common name.
    pub common_name: Option<String>,
}

impl ClusterServer {
    /// Prepares the listening end.
    pub fn new(identity: &ClusterIdentity, mtls: Mtls) -> Result<ClusterServer, PkiError> {
        let resolver = Arc::new(SingleCertAndKey::from(identity.certified_key().clone()));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| PkiError::Crypto(error.to_string()))?
            .with_client_cert_verifier(Arc::new(AnyClient))
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![ALPN_SYNC.to_vec(), ALPN_HTTP.to_vec()];
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
        // One ticket per connection: a node has one connection, and an idle link counts every byte.
        config.send_tls13_tickets = 1;
        Ok(ClusterServer { config: Arc::new(config), own: identity.digest(), mtls })
    }

    /// For the TLS acceptor.
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// Who completed this handshake. `now` is in seconds since the Unix epoch.
    pub fn peer(&self, connection: &ServerConnection, now: u64) -> Peer {
        let Some((certificate, intermediates)) = connection.peer_certificates().and_then(<[_]>::split_first) else {
            return Peer::Anonymous;
        };
        let digest = Digest::of(certificate);
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now));
        let verdict = match &self.mtls {
            Mtls::Shared => check_pin(self.own, certificate),
            Mtls::Pki(authorities) => {
                check_chain(authorities, certificate, intermediates, now, KeyUsage::client_auth(), DEPTH_MAX)
            }
        };
        match (verdict, der::facts(certificate)) {
            (Ok(()), Some(facts)) => {
                Peer::Member(Member { digest, not_after: facts.validity.not_after, common_name: facts.common_name })
            }
            (Ok(()), None) => {
                Peer::Stranger { digest, refusal: Refusal::Unusable { why: "not an X.509 certificate".to_owned() } }
            }
            (Err(refusal), _) => Peer::Stranger { digest, refusal },
        }
    }
}

/// The calling end: its TLS configuration, and the name to call each control plane by.
#[derive(Clone)]
pub struct ClusterClient {
    config: Arc<ClientConfig>,
    mtls: Mtls,
    server_name: Option<ServerName<'static>>,
}

impl ClusterClient {
    /// Prepares the calling end, which speaks `edge-sync/1`. `server_name` is Kong's `cluster_server_name`, used in
    /// `pki` mode.
    pub fn new(identity: &ClusterIdentity, mtls: Mtls, server_name: Option<&str>) -> Result<ClusterClient, PkiError> {
        let server_name = server_name.map(host_name).transpose()?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| PkiError::Crypto(error.to_string()))?
            .dangerous();
        let builder = match &mtls {
            Mtls::Shared => builder.with_custom_certificate_verifier(Arc::new(PinnedServer(identity.digest()))),
            Mtls::Pki(authorities) => builder.with_custom_certificate_verifier(Arc::new(IssuedServer {
                authorities: authorities.clone(),
                depth_max: DEPTH_MAX,
            })),
        };
        let resolver = Arc::new(SingleCertAndKey::from(identity.certified_key().clone()));
        let mut config = builder.with_client_cert_resolver(resolver);
        config.alpn_protocols = vec![ALPN_SYNC.to_vec()];
        config.resumption = Resumption::in_memory_sessions(CLIENT_SESSIONS_MAX);
        Ok(ClusterClient { config: Arc::new(config), mtls, server_name })
    }

    /// The same, with sessions of its own to resume: in `shared` mode all control planes have one name, and a session
    /// with one of them is of no use with another.
    #[must_use]
    pub fn apart(&self) -> ClusterClient {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::in_memory_sessions(CLIENT_SESSIONS_MAX);
        ClusterClient { config: Arc::new(config), ..self.clone() }
    }

    /// For the TLS connector.
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// The name to ask for (SNI): `kong_clustering` in `shared` mode, else `cluster_server_name`, else the host that
    /// is called.
    pub fn server_name(&self, host: &str) -> Result<ServerName<'static>, PkiError> {
        match (&self.mtls, &self.server_name) {
            (Mtls::Shared, _) => host_name(CLUSTER_COMMON_NAME),
            (Mtls::Pki(_), Some(name)) => Ok(name.clone()),
            (Mtls::Pki(_), None) => host_name(host),
        }
    }
}

fn host_name(name: &str) -> Result<ServerName<'static>, PkiError> {
    ServerName::try_from(name.to_owned()).map_err(|_| PkiError::BadName { name: name.to_owned() })
}
