//! A set of certificates that are trusted as issuers: `cluster_ca_cert`, the `ca_certificates` entities of a
//! service, or the operating system's own.

use std::fmt;

use rustls_pki_types::{CertificateDer, TrustAnchor};

use crate::Digest;
use crate::material::{Material, PkiError};

/// Where distributions keep the bundle of CA certificates, most frequent first.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Trusted issuers. A certificate that is itself in the set is trusted too, as with OpenSSL.
pub struct Authorities {
    pub(crate) anchors: Vec<TrustAnchor<'static>>,
    digests: Vec<Digest>,
}

impl Authorities {
    /// Trusts nobody.
    pub fn none() -> Authorities {
        Authorities { anchors: Vec::new(), digests: Vec::new() }
    }

    /// Whether it trusts nobody.
    pub fn is_empty(&self) -> bool {
        self.anchors.is_empty()
    }

    /// Trusts these as well.
    pub fn merge(&mut self, mut more: Authorities) {
        self.anchors.append(&mut more.anchors);
        self.digests.append(&mut more.digests);
    }

    /// All certificates of this material; every one must be usable.
    pub fn load(material: &Material) -> Result<Authorities, PkiError> {
        let mut authorities = Authorities::none();
        for certificate in material.certificates()? {
            authorities
                .add(&certificate)
                .map_err(|error| material.malformed(format!("not a CA certificate: {error}")))?;
        }
        Ok(authorities)
    }

    /// Those of several PEM texts, such as `ca_certificates` entities.
    pub fn from_pems<'a>(pems: impl IntoIterator<Item = &'a str>) -> Result<Authorities, PkiError> {
        let mut all = Authorities::none();
        for pem in pems {
            all.merge(Authorities::load(&Material::text("CA certificate", pem))?);
        }
        Ok(all)
    }

    /// Those that the operating system trusts. Certificates in its bundle that cannot be used are passed over.
    pub fn system() -> Result<Authorities, PkiError> {
        for bundle in SYSTEM_BUNDLES {
            let Ok(certificates) = Material::load(bundle).and_then(|material| material.certificates()) else {
                continue;
            };
            let mut authorities = Authorities::none();
            for certificate in &certificates {
                let _ = authorities.add(certificate);
            }
            if !authorities.anchors.is_empty() {
                return Ok(authorities);
            }
        }
        Err(PkiError::NoSystemAuthorities { looked_in: SYSTEM_BUNDLES.join(", ") })
    }

    /// Whether this very certificate is one of the set.
    pub(crate) fn holds(&self, certificate: &[u8]) -> bool {
        self.digests.contains(&Digest::of(certificate))
    }

    fn add(&mut self, certificate: &CertificateDer<'_>) -> Result<(), webpki::Error> {
        self.anchors.push(webpki::anchor_from_trusted_cert(certificate)?.to_owned());
        self.digests.push(Digest::of(certificate));
        Ok(())
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authorities").field(&self.digests).finish()
    }
}
