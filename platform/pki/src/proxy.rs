//! TLS towards clients: the proxy's `ssl` listeners and, on the control plane, the Admin API's.
//!
//! Which certificate a client sees is decided per handshake by a closure over the name that it asked for (SNI), so
//! that this crate need not know where certificates are kept.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring::Ticketer;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::material::{Material, PkiError};
use crate::provider;

/// A certificate chain with its key, both as PEM text; checked to belong together.
pub fn certified_key(cert_pem: &str, key_pem: &str) -> Result<Arc<CertifiedKey>, PkiError> {
    certify(&Material::text("certificate", cert_pem), &Material::text("key", key_pem)).map(Arc::new)
}

/// The same from material of whatever origin.
pub(crate) fn certify(cert: &Material, key: &Material) -> Result<CertifiedKey, PkiError> {
    let chain = cert.certificates()?;
    let private = key.private_key()?;
    let signer = provider()
        .key_provider
        .load_private_key(private)
        .map_err(|error| key.malformed(format!("unusable private key: {error}")))?;
    let certified = CertifiedKey::new(chain, signer);
    match certified.keys_match() {
        Ok(()) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(PkiError::KeyMismatch { certificate: cert.origin().to_owned(), key: key.origin().to_owned() })
        }
        Err(error) => Err(cert.malformed(format!("unusable certificate: {error}"))),
    }
}

/// TLS 1.2 and 1.3 for clients, without client certificates. `resolve` gets the name that the client asked for, in
/// lower case, and answers with a certificate; `None` ends the handshake. `alpn` lists the protocols inside, most
/// wanted first. Sessions are resumed from tickets that the client keeps, under keys that rotate; all workers must
/// share one configuration for that.
pub fn proxy_server<F>(resolve: F, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, PkiError>
where
    F: Fn(Option<&str>) -> Option<Arc<CertifiedKey>> + Send + Sync + 'static,
{
    let crypto = |error: rustls::Error| PkiError::Crypto(error.to_string());
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(crypto)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(BySni(resolve)));
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.ticketer = Ticketer::new().map_err(crypto)?;
    Ok(Arc::new(config))
}

struct BySni<F>(F);

impl<F> ResolvesServerCert for BySni<F>
where
    F: Fn(Option<&str>) -> Option<Arc<CertifiedKey>> + Send + Sync,
{
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        (self.0)(hello.server_name())
    }
}

impl<F> fmt::Debug for BySni<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BySni")
    }
}
