//! The keys that verify tokens: a shared secret, or a public key out of a PEM block.
//!
//! ring verifies; it wants the bare key, so the few DER layers of a `PUBLIC KEY` block (RFC 5280 §4.1,
//! SubjectPublicKeyInfo) are taken off here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::kinds::jwt_secrets::JwtAlgorithm;
use ring::hmac;
use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};

/// DER of the object identifiers that name what kind of key a block holds.
const OID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const OID_EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const OID_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const OID_P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const OID_ED25519: &[u8] = &[0x2b, 0x65, 0x70];

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// Why a credential cannot verify anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The algorithm is in the schema, but not in this build.
    #[error("algorithm '{}' is not available in this build", .0.as_str())]
    Unavailable(JwtAlgorithm),
    /// The algorithm needs a field that is not set.
    #[error("algorithm '{}' needs '{field}'", .algorithm.as_str())]
    Missing {
        /// The algorithm.
        algorithm: JwtAlgorithm,
        /// The field of the credential.
        field: &'static str,
    },
    /// The PEM block is damaged, or holds another kind of key.
    #[error("'rsa_public_key' is not a public key for algorithm '{}'", .0.as_str())]
    PublicKey(JwtAlgorithm),
}

fn hmac_of(algorithm: JwtAlgorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        JwtAlgorithm::Hs256 => Some(hmac::HMAC_SHA256),
        JwtAlgorithm::Hs384 => Some(hmac::HMAC_SHA384),
        JwtAlgorithm::Hs512 => Some(hmac::HMAC_SHA512),
        _ => None,
    }
}

fn verification_of(algorithm: JwtAlgorithm) -> Option<&'static dyn VerificationAlgorithm> {
    match algorithm {
        JwtAlgorithm::Rs256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
        JwtAlgorithm::Rs384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
        JwtAlgorithm::Rs512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
        JwtAlgorithm::Ps256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
        JwtAlgorithm::Ps384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
        JwtAlgorithm::Ps512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
        JwtAlgorithm::Es256 => Some(&signature::ECDSA_P256_SHA256_FIXED),
        JwtAlgorithm::Es384 => Some(&signature::ECDSA_P384_SHA384_FIXED),
        JwtAlgorithm::EdDsa => Some(&signature::ED25519),
        // ring has no curve P-521.
        JwtAlgorithm::Es512 | JwtAlgorithm::Hs256 | JwtAlgorithm::Hs384 | JwtAlgorithm::Hs512 => None,
    }
}

/// What verifies the tokens of one credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyKey {
    algorithm: JwtAlgorithm,
    /// The secret, or the bare public key.
    bytes: Box<[u8]>,
}

impl VerifyKey {
    /// The key of a credential with these fields.
    ///
    /// # Errors
    /// When the algorithm is not available, its field is unset, or the public key is not one for it.
    pub fn parse(algorithm: JwtAlgorithm, secret: Option<&str>, public_key: Option<&str>) -> Result<Self, KeyError> {
        let missing = |field| KeyError::Missing { algorithm, field };
        let bytes = if hmac_of(algorithm).is_some() {
            secret.ok_or_else(|| missing("secret"))?.as_bytes().into()
        } else {
            verification_of(algorithm).ok_or(KeyError::Unavailable(algorithm))?;
            let pem = public_key.ok_or_else(|| missing("rsa_public_key"))?;
            public_key_bytes(algorithm, pem).ok_or(KeyError::PublicKey(algorithm))?
        };
        Ok(Self { algorithm, bytes })
    }

    /// The algorithm that tokens must use.
    #[must_use]
    pub fn algorithm(&self) -> JwtAlgorithm {
        self.algorithm
    }

    /// Whether the key is a shared secret.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        hmac_of(self.algorithm).is_some()
    }

    /// The key with its secret decoded from base64 (`secret_is_base64`); `None` when it is not base64.
    #[must_use]
    pub fn decoded(&self) -> Option<Self> {
        let text = std::str::from_utf8(&self.bytes).ok()?;
        let bytes = super::token::decode_base64(text)?.into();
        Some(Self { algorithm: self.algorithm, bytes })
    }

    /// Whether `signature` is this key's over `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        if let Some(algorithm) = hmac_of(self.algorithm) {
            return hmac::verify(&hmac::Key::new(algorithm, &self.bytes), message, signature).is_ok();
        }
        let Some(algorithm) = verification_of(self.algorithm) else { return false };
        UnparsedPublicKey::new(algorithm, &self.bytes).verify(message, signature).is_ok()
    }
}

/// The bare key in a PEM block, if it is one for `algorithm`.
fn public_key_bytes(algorithm: JwtAlgorithm, pem: &str) -> Option<Box<[u8]>> {
    let (label, der) = pem_block(pem)?;
    let (oid, curve): (&[u8], Option<&[u8]>) = match algorithm {
        JwtAlgorithm::Es256 => (OID_EC, Some(OID_P256)),
        JwtAlgorithm::Es384 => (OID_EC, Some(OID_P384)),
        JwtAlgorithm::EdDsa => (OID_ED25519, None),
        _ => (OID_RSA, None),
    };
    if label == "RSA PUBLIC KEY" && oid == OID_RSA {
        return Some(der.into());
    }
    if label != "PUBLIC KEY" {
        return None;
    }
    let (info, _) = element(&der, SEQUENCE)?;
    let (identifier, rest) = element(info, SEQUENCE)?;
    let (kind, parameters) = element(identifier, OBJECT_IDENTIFIER)?;
    let same_curve =
        curve.is_none_or(|curve| element(parameters, OBJECT_IDENTIFIER).is_some_and(|(oid, _)| oid == curve));
    let (bits, _) = element(rest, BIT_STRING)?;
    // The first byte of a bit string says how many bits of the last one are unused: none in any key.
    let (&unused, key) = bits.split_first()?;
    (kind == oid && same_curve && unused == 0).then(|| key.into())
}

/// The label and content of the first PEM block (RFC 7468).
fn pem_block(pem: &str) -> Option<(&str, Vec<u8>)> {
    let (_, after) = pem.split_once("-----BEGIN ")?;
    let (label, after) = after.split_once("-----")?;
    let (text, _) = after.split_once("-----END ")?;
    let text: String = text.split_ascii_whitespace().collect();
    Some((label, STANDARD.decode(text).ok()?))
}

/// The content of the DER element with this tag at the start, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, der) = der.split_first()?;
    let (&first, der) = der.split_first()?;
    let (length, der) = match first {
        short @ 0..=0x7f => (usize::from(short), der),
        0x81 => der.split_first().map(|(&length, rest)| (usize::from(length), rest))?,
        0x82 => der.split_first_chunk::<2>().map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest))?,
        _ => return None,
    };
    (found == tag).then(|| der.split_at_checked(length))?
}
