//! Certificates, keys and every TLS configuration of both programs; nobody else builds one.
//!
//! The one idea: *who the peer is* and *what it may do* are separate questions. The cluster listener asks for a
//! client certificate but never fails a handshake over it; [`cluster::ClusterServer::peer`] answers afterwards who
//! it was, so that each protocol on the port can refuse in its own words. On the client side a refusal is a
//! [`Refusal`], which [`TlsFailure`] digs out of whatever error the I/O layer wrapped it in.
//!
//! [`material`] reads what operators give (a path, PEM, base64 of PEM), [`identity`] is our own cluster certificate,
//! [`authorities`] is a set of trusted CAs, [`cluster`] is the link between control plane and data plane, [`link`] how
//! one that is called comes about, [`proxy`]
//! is the listener for clients, [`upstream`] the way to origins, [`signed`] signs what travels as a file, [`issue`] makes certificates, and `inspect`
//! (a cargo feature: the data plane does without) reads one in full.
//!
//! The cryptography provider is always *ring*, always named explicitly.

pub mod authorities;
pub mod cluster;
mod der;
pub mod failure;
pub mod identity;
#[cfg(feature = "inspect")]
pub mod inspect;
pub mod issue;
pub mod link;
pub mod material;
pub mod proxy;
pub mod signed;
pub mod upstream;
mod verify;

use std::fmt;
use std::sync::{Arc, OnceLock};

pub use authorities::Authorities;
pub use cluster::{ClusterClient, ClusterServer, Member, Mtls, Peer};
pub use failure::{Refusal, TlsFailure};
pub use identity::ClusterIdentity;
pub use link::LinkFailure;
pub use material::{Material, PkiError};
pub use proxy::{certified_key, proxy_server};
pub use rustls::sign::CertifiedKey;
pub use rustls::{ClientConfig, HandshakeKind, ServerConfig};
pub use rustls_pki_types::ServerName;
pub use signed::{Proof, Role, Sha256, SignatureError, Signed, Verifier};
pub use upstream::{UpstreamTls, upstream_client};

/// The SHA-256 of a certificate's DER form: how certificates are compared and named to people.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of a certificate in DER form.
    pub fn of(der: &[u8]) -> Digest {
        let hash = ring::digest::digest(&ring::digest::SHA256, der);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(hash.as_ref());
        Digest(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// When a certificate may be used, in seconds since the Unix epoch, both ends included (RFC 5280 §4.1.2.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    /// The first second.
    pub not_before: i64,
    /// The last second.
    pub not_after: i64,
}

/// The one provider. Building it copies tables, so it is built once.
pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    static PROVIDER: OnceLock<Arc<rustls::crypto::CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())).clone()
}
