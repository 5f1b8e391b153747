//! Signatures with the cluster key over things that travel without a connection, such as a snapshot bundle, and what such
//! a signature proves. The signature is made and checked as in a handshake, by the same schemes (RFC 8446, 4.2.3); what
//! is signed must begin in a way that no handshake's signature input does.
//!
//! In `shared` mode every node holds the same key: a signature proves that *some* member of the cluster made it, and no
//! more. In `pki` mode it proves whose certificate made it, and the certificate what that may be.

use std::time::Duration;

use rustls::SignatureScheme;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use crate::cluster::DEPTH_MAX;
use crate::material::PkiError;
use crate::verify::{check_chain, check_name, check_pin};
use crate::{ClusterIdentity, Mtls, Refusal, der, provider};

/// The schemes by which cluster keys sign, most wanted first: ECDSA, Ed25519, RSA (as PSS).
const SCHEMES: [SignatureScheme; 7] = [
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP521_SHA512,
    SignatureScheme::ED25519,
    SignatureScheme::RSA_PSS_SHA256,
    SignatureScheme::RSA_PSS_SHA384,
    SignatureScheme::RSA_PSS_SHA512,
];

/// A signature with the certificates that it is checked by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signed {
    /// The scheme's number in TLS 1.3.
    pub scheme: u16,
    /// The signer's certificate, then its chain, in DER.
    pub certificates: Vec<Vec<u8>>,
    /// The signature.
    pub bytes: Vec<u8>,
}

/// As what somebody signs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// A control plane: it listens for data planes, so its certificate is a server's, with the name that they call.
    ControlPlane,
    /// A data plane: its certificate is a client's.
    DataPlane,
}

/// What a good signature proves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proof {
    /// Some member of the cluster made it: all of them share the key.
    Membership,
    /// Whoever holds the certificate with this common name made it.
    Certificate(Option<String>),
}

/// Why a signature proves nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SignatureError {
    /// There is no certificate with it.
    #[error("there is no certificate with it")]
    NoCertificate,
    /// Its certificate is not one of ours.
    #[error("its certificate is not to be trusted: {0}")]
    Refused(Refusal),
    /// A scheme that we do not know.
    #[error("it is of a scheme that this program does not know ({0:#06x})")]
    Scheme(u16),
    /// It was made by another key, or over other bytes.
    #[error("it does not fit: this was changed, or another key signed it")]
    Wrong,
    /// Any certificate of a public authority would do, and nothing says whose it should be.
    #[error(
        "nothing says whose certificate it should be: set cluster_ca_cert, cluster_server_name or cluster_control_plane"
    )]
    NoNames,
}

/// Whose signatures count.
#[derive(Clone, Debug)]
pub struct Verifier {
    /// Our own certificate, which in `shared` mode is everybody's.
    pub identity: ClusterIdentity,
    /// How we trust.
    pub mtls: Mtls,
    /// Whether the authorities are the cluster's own (`cluster_ca_cert`), and not the operating system's.
    pub own_authorities: bool,
    /// The names that a control plane may have: `cluster_server_name`, or the hosts of `cluster_control_plane`.
    pub names: Vec<String>,
}

impl ClusterIdentity {
    /// Signs a message with the cluster key.
    pub fn sign(&self, message: &[u8]) -> Result<Signed, PkiError> {
        let failed = |why: &str| PkiError::Crypto(format!("the cluster key cannot sign: {why}"));
        let key = self.certified_key();
        let signer = key.key.choose_scheme(&SCHEMES).ok_or_else(|| failed("no scheme that we know"))?;
        let bytes = signer.sign(message).map_err(|error| failed(&error.to_string()))?;
        let certificates = key.cert.iter().map(|certificate| certificate.as_ref().to_vec()).collect();
        Ok(Signed { scheme: u16::from(signer.scheme()), certificates, bytes })
    }
}

impl Verifier {
    /// Checks that somebody of our cluster signed this message as `role`. `now` is in seconds since the Unix epoch and
    /// counts in `pki` mode.
    ///
    /// # Errors
    /// What is wrong; nothing of the message is to be believed then.
    pub fn verify(&self, message: &[u8], signed: &Signed, role: Role, now: u64) -> Result<Proof, SignatureError> {
        let chain: Vec<_> = signed.certificates.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
        let (certificate, intermediates) = chain.split_first().ok_or(SignatureError::NoCertificate)?;
        let proof = self.trust(certificate, intermediates, role, now)?;
        check(message, signed, certificate)?;
        Ok(proof)
    }

    fn trust(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        role: Role,
        now: u64,
    ) -> Result<Proof, SignatureError> {
        let Mtls::Pki(authorities) = &self.mtls else {
            check_pin(self.identity.digest(), certificate).map_err(SignatureError::Refused)?;
            return Ok(Proof::Membership);
        };
        let usage = match role {
            Role::ControlPlane => KeyUsage::server_auth(),
            Role::DataPlane => KeyUsage::client_auth(),
        };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        check_chain(authorities, certificate, intermediates, now, usage, DEPTH_MAX).map_err(SignatureError::Refused)?;
        if role == Role::ControlPlane && !self.names.is_empty() {
            self.check_names(certificate)?;
        } else if !self.own_authorities {
            return Err(SignatureError::NoNames);
        }
        Ok(Proof::Certificate(der::facts(certificate).and_then(|facts| facts.common_name)))
    }

    fn check_names(&self, certificate: &CertificateDer<'_>) -> Result<(), SignatureError> {
        let mut refusal = None;
        for name in &self.names {
            let Ok(name) = rustls_pki_types::ServerName::try_from(name.as_str()) else { continue };
            match check_name(certificate, &name) {
                Ok(()) => return Ok(()),
                Err(error) => refusal = Some(error),
            }
        }
        Err(refusal.map_or(SignatureError::NoNames, SignatureError::Refused))
    }
}

fn check(message: &[u8], signed: &Signed, certificate: &CertificateDer<'_>) -> Result<(), SignatureError> {
    let unusable = |error: webpki::Error| SignatureError::Refused(Refusal::Unusable { why: error.to_string() });
    let parsed = EndEntityCert::try_from(certificate).map_err(unusable)?;
    let known = provider().signature_verification_algorithms.mapping;
    let scheme = SignatureScheme::from(signed.scheme);
    let fit = SCHEMES.contains(&scheme).then(|| known.iter().find(|(found, _)| *found == scheme)).flatten();
    let (_, algorithms) = fit.ok_or(SignatureError::Scheme(signed.scheme))?;
    let fits = |algorithm: &&dyn rustls_pki_types::SignatureVerificationAlgorithm| {
        parsed.verify_signature(*algorithm, message, &signed.bytes).is_ok()
    };
    if algorithms.iter().any(fits) { Ok(()) } else { Err(SignatureError::Wrong) }
}

/// SHA-256 of bytes that come in pieces.
#[derive(Clone)]
pub struct Sha256(ring::digest::Context);

impl Default for Sha256 {
    fn default() -> Self {
        Sha256(ring::digest::Context::new(&ring::digest::SHA256))
    }
}

impl Sha256 {
    /// Adds a piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all pieces.
    pub fn finish(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.finish().as_ref());
        bytes
    }
}
