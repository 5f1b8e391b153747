//! The outer shape of PEM (RFC 7468): labels and base64. What is inside needs an X.509 parser, see
//! [`super::CertificateChecks`].

use super::Violations;
use crate::body::Object;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

const CERTIFICATE: &str = "CERTIFICATE";
const PUBLIC_KEYS: [&str; 2] = ["PUBLIC KEY", "RSA PUBLIC KEY"];
const PRIVATE_KEYS: [&str; 3] = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"];

/// One or more certificates.
pub(crate) fn certificate(text: &str) -> Result<(), String> {
    block(text, CERTIFICATE).map(|_| ()).ok_or_else(|| "invalid certificate: not a PEM certificate".to_owned())
}

/// A private key, not encrypted.
pub(crate) fn private_key(text: &str) -> Result<(), String> {
    let found = PRIVATE_KEYS.iter().any(|label| block(text, label).is_some());
    if found { Ok(()) } else { Err("invalid key: not a PEM private key".to_owned()) }
}

/// A public key.
pub(crate) fn public_key(text: &str) -> Result<(), String> {
    let found = PUBLIC_KEYS.iter().any(|label| block(text, label).is_some());
    if found { Ok(()) } else { Err("invalid key".to_owned()) }
}

/// How many certificates there are.
pub(crate) fn count_certificates(text: &str) -> usize {
    text.matches("-----BEGIN CERTIFICATE-----").count()
}

/// The bytes of the first block with this label.
fn block(text: &str, label: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (inner, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let base64: String = inner.split_ascii_whitespace().collect();
    STANDARD.decode(base64).ok().filter(|bytes| !bytes.is_empty())
}

/// Writes the SHA-256 of the certificate's bytes into `cert_digest`, whatever was there.
pub(crate) fn fill_digest(entity: &mut Object, _: &mut Violations) {
    let Some(bytes) = entity.get("cert").and_then(Value::as_str).and_then(|cert| block(cert, CERTIFICATE)) else {
        return;
    };
    let digest = Sha256::digest(&bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    entity.insert("cert_digest".to_owned(), Value::String(digest));
}
