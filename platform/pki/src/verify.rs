//! The verifiers that TLS calls during a handshake, and the chain check that they share.
//!
//! Whatever a verifier thinks of a certificate, the peer must prove that it holds the key: the signature checks
//! below are the provider's own and are never skipped.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use crate::failure::Refusal;
use crate::{Authorities, Digest, Validity, der, provider};

/// The signature checks of a handshake, the same for every verifier.
macro_rules! real_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, cert, signature, &algorithms())
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, cert, signature, &algorithms())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            algorithms().supported_schemes()
        }
    };
}

fn algorithms() -> WebPkiSupportedAlgorithms {
    provider().signature_verification_algorithms
}

/// Takes any client certificate, or none. Who it was is asked after the handshake.
#[derive(Debug)]
pub(crate) struct AnyClient;

impl ClientCertVerifier for AnyClient {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    real_signatures!();
}

/// Takes exactly one server certificate, whatever its dates and names say: a device whose clock battery is empty
/// must still reach its control plane, and the certificate is the same file on both ends.
#[derive(Debug)]
pub(crate) struct PinnedServer(pub(crate) Digest);

impl ServerCertVerifier for PinnedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        check_pin(self.0, end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    real_signatures!();
}

/// Takes a server certificate that one of the authorities issued for the name that was called.
#[derive(Debug)]
pub(crate) struct IssuedServer {
    pub(crate) authorities: Arc<Authorities>,
    pub(crate) depth_max: u32,
}

impl ServerCertVerifier for IssuedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        check_chain(&self.authorities, end_entity, intermediates, now, KeyUsage::server_auth(), self.depth_max)?;
        check_name(end_entity, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    real_signatures!();
}

/// Takes any server certificate (Kong: `tls_verify = false`).
#[derive(Debug)]
pub(crate) struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    real_signatures!();
}

/// `shared` mode: byte for byte the cluster certificate.
pub(crate) fn check_pin(ours: Digest, certificate: &[u8]) -> Result<(), Refusal> {
    let theirs = Digest::of(certificate);
    // Both digests are of public certificates: there is nothing for a timing to give away.
    if theirs == ours { Ok(()) } else { Err(Refusal::NotTheClusterCertificate { ours, theirs }) }
}

/// `pki` mode and origins: issued by one of the authorities, valid now, for this use, over at most `depth_max`
/// intermediate certificates.
pub(crate) fn check_chain(
    authorities: &Authorities,
    end_entity: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    now: UnixTime,
    usage: KeyUsage,
    depth_max: u32,
) -> Result<(), Refusal> {
    if authorities.holds(end_entity) {
        return check_dates(end_entity, now);
    }
    let parsed = EndEntityCert::try_from(end_entity).map_err(|error| refusal(&error, end_entity, depth_max))?;
    let within_depth = |path: &webpki::VerifiedPath<'_>| match u32::try_from(path.intermediate_certificates().count()) {
        Ok(depth) if depth <= depth_max => Ok(()),
        _ => Err(webpki::Error::MaximumPathDepthExceeded),
    };
    parsed
        .verify_for_usage(algorithms().all, &authorities.anchors, intermediates, now, usage, None, Some(&within_depth))
        .map(|_| ())
        .map_err(|error| refusal(&error, end_entity, depth_max))
}

fn check_dates(certificate: &[u8], now: UnixTime) -> Result<(), Refusal> {
    let unusable = || Refusal::Unusable { why: "not an X.509 certificate".to_owned() };
    let Validity { not_before, not_after } = der::facts(certificate).ok_or_else(unusable)?.validity;
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < not_before {
        return Err(Refusal::NotYetValid { not_before });
    }
    if now > not_after { Err(Refusal::Expired { not_after }) } else { Ok(()) }
}

pub(crate) fn check_name(end_entity: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Refusal> {
    let parsed = EndEntityCert::try_from(end_entity).map_err(|error| refusal(&error, end_entity, 0))?;
    parsed.verify_is_valid_for_subject_name(name).map_err(|_| Refusal::WrongName { name: name.to_str().into_owned() })
}

/// The verifier's error as one of ours. Dates are read anew: the verifier's error may be about an intermediate.
fn refusal(error: &webpki::Error, end_entity: &[u8], depth_max: u32) -> Refusal {
    use webpki::Error as E;
    match error {
        E::UnknownIssuer => Refusal::UnknownIssuer { theirs: Digest::of(end_entity) },
        E::CertExpired { not_after, .. } => Refusal::Expired { not_after: seconds(*not_after) },
        E::CertNotValidYet { not_before, .. } => Refusal::NotYetValid { not_before: seconds(*not_before) },
        E::MaximumPathDepthExceeded => Refusal::ChainTooDeep { max: depth_max },
        E::CaUsedAsEndEntity => Refusal::AnAuthority,
        E::RequiredEkuNotFoundContext(_) => Refusal::WrongUse,
        other => Refusal::Unusable { why: other.to_string() },
    }
}

fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
