//! Making certificates: the shared cluster certificate (Kong: `kong hybrid gen_cert`) and the certificate that a
//! data plane shows to clients when none of the configured ones fits. Time comes in as an argument, in seconds
//! since the Unix epoch.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, SignatureAlgorithm, date_time_ymd,
};
use rustls::sign::CertifiedKey;

use crate::material::{Material, PkiError};
use crate::proxy::certify;

/// The common name that marks a shared cluster certificate, and the name that its peers ask for (Kong's).
pub const CLUSTER_COMMON_NAME: &str = "kong_clustering";
/// How long a cluster certificate lasts unless told otherwise (Kong's three years).
pub const CLUSTER_DAYS_DEFAULT: u32 = 1095;
/// The longest life that can be asked for. X.509 ends with the year 9999.
pub const CLUSTER_DAYS_MAX: u32 = 36_500;
const FALLBACK_DAYS: u32 = 3650;
const DAY: u64 = 86_400;

/// A certificate and its private key, both as PEM text.
pub struct Pair {
    /// `BEGIN CERTIFICATE`.
    pub cert_pem: String,
    /// `BEGIN PRIVATE KEY` (PKCS#8).
    pub key_pem: String,
}

/// A shared cluster certificate: self-signed, ECDSA P-384, valid for `days` from `now`. `days` beyond
/// [`CLUSTER_DAYS_MAX`] are cut to it.
pub fn gen_cert(days: u32, now: u64) -> Result<Pair, PkiError> {
    let mut params = self_signed_params(CLUSTER_COMMON_NAME, days, now)?;
    // Kong's own nodes check the shared certificate against itself as a CA; ours only compare it.
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    sign(&params, &PKCS_ECDSA_P384_SHA384)
}

/// A certificate for `localhost`, for clients that ask for a name that nobody configured. It is made anew at every
/// start: nothing should come to trust it.
pub fn fallback(now: u64) -> Result<Arc<CertifiedKey>, PkiError> {
    let params = self_signed_params("localhost", FALLBACK_DAYS, now)?;
    let pair = sign(&params, &PKCS_ECDSA_P256_SHA256)?;
    let origin = "the self-signed fallback certificate";
    let key = certify(&Material::text(origin, &pair.cert_pem), &Material::text(origin, &pair.key_pem))?;
    Ok(Arc::new(key))
}

fn self_signed_params(name: &str, days: u32, now: u64) -> Result<CertificateParams, PkiError> {
    let mut params = CertificateParams::new([name.to_owned()]).map_err(crypto)?;
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    let days = u64::from(days.min(CLUSTER_DAYS_MAX));
    let epoch = date_time_ymd(1970, 1, 1);
    // A clock beyond the year 9000 is broken; the bound keeps the addition within what a calendar can hold.
    let now = now.min(7000 * 365 * DAY);
    params.not_before = epoch + Duration::from_secs(now);
    params.not_after = epoch + Duration::from_secs(now + days * DAY);
    Ok(params)
}

fn sign(params: &CertificateParams, algorithm: &'static SignatureAlgorithm) -> Result<Pair, PkiError> {
    let key = KeyPair::generate_for(algorithm).map_err(crypto)?;
    let certificate = params.self_signed(&key).map_err(crypto)?;
    Ok(Pair { cert_pem: certificate.pem(), key_pem: key.serialize_pem() })
}

fn crypto(error: rcgen::Error) -> PkiError {
    PkiError::Crypto(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::der;

    #[test]
    fn a_life_beyond_the_calendar_is_cut_and_does_not_panic() {
        let pair = gen_cert(u32::MAX, u64::MAX).unwrap();
        let der = Material::text("x", &pair.cert_pem).certificates().unwrap().remove(0);
        assert!(der::facts(&der).is_some());
    }

    #[test]
    fn the_fallback_certificate_is_for_localhost() {
        let key = fallback(1_700_000_000).unwrap();
        let facts = der::facts(key.end_entity_cert().unwrap()).unwrap();
        assert_eq!(facts.common_name.as_deref(), Some("localhost"));
        assert_eq!(facts.validity.not_before, 1_700_000_000);
    }
}
