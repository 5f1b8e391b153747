//! A certificate read in full, for whoever stores it or shows it to people.

use std::net::{Ipv4Addr, Ipv6Addr};

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::material::{Material, PkiError};
use crate::proxy::certify;
use crate::{Digest, Validity, provider};

/// What a certificate says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inspected {
    /// When it may be used.
    pub validity: Validity,
    /// The subject, such as `CN=kong_clustering`.
    pub subject: String,
    /// The issuer, in the same form.
    pub issuer: String,
    /// The names and addresses it is for.
    pub sans: Vec<String>,
    /// Whether it may issue others (basic constraints, RFC 5280 §4.2.1.9).
    pub is_ca: bool,
    /// The SHA-256 of its DER form.
    pub sha256: Digest,
    /// How many certificates the text holds; this one is the first.
    pub count: usize,
}

/// Reads the first certificate of a PEM text.
pub fn inspect(cert_pem: &str) -> Result<Inspected, PkiError> {
    let material = Material::text("certificate", cert_pem);
    let all = material.certificates()?;
    let first = all.first().ok_or_else(|| PkiError::NoCertificate { origin: material.origin().to_owned() })?;
    let (rest, parsed) = X509Certificate::from_der(first)
        .map_err(|error| material.malformed(format!("not an X.509 certificate: {error}")))?;
    if !rest.is_empty() {
        return Err(material.malformed("bytes left over after the certificate"));
    }
    Ok(Inspected {
        validity: Validity {
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
        },
        subject: parsed.subject().to_string(),
        issuer: parsed.issuer().to_string(),
        sans: sans(&parsed),
        is_ca: parsed.is_ca(),
        sha256: Digest::of(first),
        count: all.len(),
    })
}

/// Whether a key is the private key of a certificate, both as PEM text.
pub fn check_pair(cert_pem: &str, key_pem: &str) -> Result<(), PkiError> {
    certify(&Material::text("certificate", cert_pem), &Material::text("key", key_pem)).map(|_| ())
}

/// The public key that goes with a private one given as PEM text, as DER (RFC 5280 §4.1.2.7); none where this build cannot use
/// keys of that sort.
#[must_use]
pub fn public_key_of(key_pem: &str) -> Option<Vec<u8>> {
    let private = Material::text("key", key_pem).private_key().ok()?;
    let key = provider().key_provider.load_private_key(private).ok()?;
    key.public_key().map(|public| public.to_vec())
}

fn sans(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    extension.value.general_names.iter().filter_map(san).collect()
}

fn san(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(octets) => address(octets),
        _ => None,
    }
}

fn address(octets: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(octets).ok().map(|v6| Ipv6Addr::from(v6).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issue;

    #[test]
    fn shows_what_gen_cert_wrote() {
        let pair = issue::gen_cert(2, 1_700_000_000).unwrap();
        let shown = inspect(&pair.cert_pem).unwrap();
        assert_eq!(shown.subject, "CN=kong_clustering");
        assert_eq!(shown.issuer, shown.subject);
        assert_eq!(shown.sans, ["kong_clustering"]);
        assert_eq!(shown.validity, Validity { not_before: 1_700_000_000, not_after: 1_700_172_800 });
        assert!(shown.is_ca);
        assert_eq!(shown.count, 1);
        check_pair(&pair.cert_pem, &pair.key_pem).unwrap();
        let other = issue::gen_cert(2, 1_700_000_000).unwrap();
        assert!(matches!(check_pair(&pair.cert_pem, &other.key_pem), Err(PkiError::KeyMismatch { .. })));
    }

    #[test]
    fn tells_the_public_key_of_a_private_one() {
        let key = rcgen::KeyPair::generate().unwrap();
        let public = rcgen::PublicKeyData::subject_public_key_info(&key);
        assert_eq!(public_key_of(&key.serialize_pem()), Some(public));
        assert_eq!(public_key_of("-----BEGIN PRIVATE KEY-----\nBAUGBw==\n-----END PRIVATE KEY-----\n"), None);
    }
}
