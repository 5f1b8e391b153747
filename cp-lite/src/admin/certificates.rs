//! What checks of certificates and keys need to see in them, read by `pki`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::schema::CertificateChecks;
use pki::Material;

/// The DER form of 1.2.840.113549.1.1.1, which says in a certificate that its key is an RSA key (RFC 3279 section 2.3.1).
const RSA_ENCRYPTION: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// How long public keys on P-256 and P-384 are whose points are compressed.
const EC_COMPRESSED_BYTES: [usize; 2] = [59, 72];
/// No RSA key that can be used has a shorter PKCS#1 form.
const RSA_PKCS1_BYTES_MIN: usize = 100;

/// Reads certificates and keys in full. Texts are Kong's where it has one.
#[derive(Debug, Clone, Copy, Default)]
pub struct X509;

impl CertificateChecks for X509 {
    fn certificate(&self, pem: &str) -> Result<(), String> {
        inspect(pem).map(drop)
    }

    fn private_key(&self, pem: &str) -> Result<(), String> {
        Material::text("key", pem).private_key().map(drop).map_err(|error| format!("invalid key: {error}"))
    }

    /// The outer form: base64 of one DER sequence. Which keys are of use is the plugin's to say.
    fn public_key(&self, pem: &str) -> Result<(), String> {
        der(pem).map(drop).ok_or_else(|| "invalid key".to_owned())
    }

    fn key_pair(&self, public_key: &str, private_key: &str) -> Result<(), String> {
        let (Some(theirs), Some(ours)) = (der(public_key), pki::inspect::public_key_of(private_key)) else {
            return Ok(());
        };
        // PKCS#1 is what the usual form of an RSA key ends with; a compressed point of a curve is not taken apart.
        let is_same = theirs == ours || (theirs.len() >= RSA_PKCS1_BYTES_MIN && ours.ends_with(&theirs));
        if is_same || EC_COMPRESSED_BYTES.contains(&theirs.len()) {
            return Ok(());
        }
        Err("public key does not match private key".to_owned())
    }

    fn pair(&self, certificate: &str, private_key: &str) -> Result<(), String> {
        pki::inspect::check_pair(certificate, private_key).map_err(|_| "certificate does not match key".to_owned())
    }

    fn alternates(&self, certificate: &str, other: &str) -> Result<(), String> {
        if is_rsa(certificate)? != is_rsa(other)? {
            return Ok(());
        }
        let text = "certificate and alternative certificate need to have different type (e.g. RSA and ECDSA), \
                    the provided certificates were both of the same type";
        Err(text.to_owned())
    }

    fn authority(&self, certificate: &str, now_s: i64) -> Result<(), String> {
        let inspected = inspect(certificate)?;
        if inspected.count != 1 {
            return Err("please submit only one certificate at a time".to_owned());
        }
        if inspected.validity.not_after < now_s {
            return Err("certificate expired, \"Not After\" time is in the past".to_owned());
        }
        if !inspected.is_ca {
            let text = "certificate does not appear to be a CA because it is missing the \"CA\" basic constraint";
            return Err(text.to_owned());
        }
        Ok(())
    }
}

/// What a PEM text with one key holds, if that is a DER sequence.
fn der(pem: &str) -> Option<Vec<u8>> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
    STANDARD.decode(body).ok().filter(|der| der.first() == Some(&0x30))
}

fn inspect(pem: &str) -> Result<pki::inspect::Inspected, String> {
    pki::inspect::inspect(pem).map_err(|error| format!("invalid certificate: {error}"))
}

fn is_rsa(pem: &str) -> Result<bool, String> {
    let chain = Material::text("certificate", pem).certificates();
    let chain = chain.map_err(|error| format!("invalid certificate: {error}"))?;
    let windows = |der: &[u8]| der.windows(RSA_ENCRYPTION.len()).any(|window| window == RSA_ENCRYPTION);
    Ok(chain.first().is_some_and(|der| windows(der)))
}
