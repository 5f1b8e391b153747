//! Our own cluster certificate and its key: `cluster_cert` and `cluster_cert_key`, read once and checked to belong
//! together, so that a mix-up is an error at start and not a failing handshake later.

use std::fmt;
use std::sync::Arc;

use rustls::sign::CertifiedKey;

use crate::material::{Material, PkiError};
use crate::proxy::certify;
use crate::{Digest, Validity, der};

/// A cluster certificate with its key. Cheap to clone.
#[derive(Clone)]
pub struct ClusterIdentity {
    key: Arc<CertifiedKey>,
    digest: Digest,
    validity: Validity,
    common_name: Option<String>,
}

impl ClusterIdentity {
    /// Reads both, each given as a path, PEM text or base64 of PEM text.
    pub fn load(cert: &str, key: &str) -> Result<ClusterIdentity, PkiError> {
        ClusterIdentity::from_material(&Material::load(cert)?, &Material::load(key)?)
    }

    /// The same from what was read already.
    pub fn from_material(cert: &Material, key: &Material) -> Result<ClusterIdentity, PkiError> {
        let key = Arc::new(certify(cert, key)?);
        let end_entity = key.end_entity_cert().map_err(|error| cert.malformed(error.to_string()))?;
        let facts = der::facts(end_entity).ok_or_else(|| cert.malformed("not an X.509 certificate"))?;
        let digest = Digest::of(end_entity);
        Ok(ClusterIdentity { key, digest, validity: facts.validity, common_name: facts.common_name })
    }

    /// The certificate chain and the key, for a TLS configuration.
    pub fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }

    /// The end entity certificate's SHA-256.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The id of the cluster whose members share this certificate: the first half of its SHA-256.
    pub fn cluster(&self) -> [u8; 16] {
        let [id, ..] = self.digest.0.as_chunks::<16>().0 else { return [0; 16] };
        *id
    }

    /// When the certificate may be used.
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// The subject's common name.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }
}

impl fmt::Debug for ClusterIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterIdentity").field("digest", &self.digest).field("validity", &self.validity).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issue;

    #[test]
    fn reads_what_gen_cert_wrote() {
        let pair = issue::gen_cert(1095, 1_700_000_000).unwrap();
        let identity = ClusterIdentity::load(&pair.cert_pem, &pair.key_pem).unwrap();
        assert_eq!(identity.common_name(), Some("kong_clustering"));
        assert_eq!(
            identity.validity(),
            Validity { not_before: 1_700_000_000, not_after: 1_700_000_000 + 1095 * 86_400 }
        );
    }

    #[test]
    fn refuses_a_key_of_another_certificate_naming_both() {
        let ours = Material::text("cluster.crt", &issue::gen_cert(1, 1_700_000_000).unwrap().cert_pem);
        let theirs = Material::text("other.key", &issue::gen_cert(1, 1_700_000_000).unwrap().key_pem);
        assert_eq!(
            ClusterIdentity::from_material(&ours, &theirs).unwrap_err().to_string(),
            "other.key is not the private key of the certificate in cluster.crt"
        );
    }

    #[test]
    fn debug_output_shows_no_key() {
        let pair = issue::gen_cert(1, 1_700_000_000).unwrap();
        let shown = format!("{:?}", ClusterIdentity::load(&pair.cert_pem, &pair.key_pem).unwrap());
        assert!(shown.starts_with("ClusterIdentity { digest: "), "{shown}");
        assert!(!shown.contains("key"), "{shown}");
    }
}
