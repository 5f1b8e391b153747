//! TLS towards origins: `https` services and upstreams.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::material::PkiError;
use crate::verify::{AnyServer, IssuedServer};
use crate::{Authorities, provider};

/// How many sessions with origins are remembered per configuration, to be resumed.
const SESSIONS_MAX: usize = 64;
/// What `verify_depth` is unless told otherwise (Kong: `lua_ssl_verify_depth`).
pub const VERIFY_DEPTH_DEFAULT: u32 = 1;

/// How a service talks TLS to its origins.
pub struct UpstreamTls {
    /// The issuers to trust; `None` takes any certificate (Kong: `tls_verify = false`, the default).
    pub verify: Option<Arc<Authorities>>,
    /// How many intermediate certificates a chain may have (Kong: `tls_verify_depth`).
    pub verify_depth: u32,
    /// What to show when the origin asks who we are (Kong: `client_certificate`).
    pub client_certificate: Option<Arc<CertifiedKey>>,
}

/// TLS 1.2 and 1.3 towards origins. `alpn` lists the protocols to offer, most wanted first.
pub fn upstream_client(tls: &UpstreamTls, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, PkiError> {
    let verifier: Arc<dyn ServerCertVerifier> = match &tls.verify {
        Some(authorities) => Arc::new(IssuedServer { authorities: authorities.clone(), depth_max: tls.verify_depth }),
        None => Arc::new(AnyServer),
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| PkiError::Crypto(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &tls.client_certificate {
        Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key.clone()))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    Ok(Arc::new(config))
}
