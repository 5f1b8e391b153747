//! Why a TLS connection did not come to be, in words that say which side refused and why.
//!
//! Our verifiers fail with a [`Refusal`]; the TLS library carries it inside its own error, and the I/O layer wraps
//! that once more. [`TlsFailure`] unpacks both, so that a data plane can show one clear sentence.

use std::io;

use rustls::{AlertDescription, CertificateError};

use crate::Digest;

/// What is wrong with a peer's certificate, from our point of view.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// `shared` mode: it is some other certificate than the one that the cluster shares.
    #[error("it is not the cluster certificate (ours has SHA-256 {ours}, theirs {theirs})")]
    NotTheClusterCertificate {
        /// The digest of our own.
        ours: Digest,
        /// The digest of what the peer showed.
        theirs: Digest,
    },
    /// No trusted authority issued it.
    #[error("no trusted authority issued it (SHA-256 {theirs})")]
    UnknownIssuer {
        /// The digest of what the peer showed.
        theirs: Digest,
    },
    /// It is past its last day.
    #[error("it expired at {not_after} (Unix time)")]
    Expired {
        /// Seconds since the Unix epoch.
        not_after: i64,
    },
    /// Its first day is yet to come, or our clock is behind.
    #[error("it is valid from {not_before} (Unix time), which by our clock is yet to come")]
    NotYetValid {
        /// Seconds since the Unix epoch.
        not_before: i64,
    },
    /// It belongs to another name than the one that was called.
    #[error("it is not for the name \"{name}\"")]
    WrongName {
        /// The name that was called.
        name: String,
    },
    /// More intermediate certificates than allowed.
    #[error("its chain has more than {max} intermediate certificates")]
    ChainTooDeep {
        /// How many are allowed.
        max: u32,
    },
    /// Its extended key usage is for something else: a client's, where a server was called, or the other way round.
    #[error(
        "it was issued for another use: control planes need one for servers, data planes and followers one for clients"
    )]
    WrongUse,
    /// It may issue certificates itself, as the one that a cluster shares may.
    #[error("it is an authority's own or a shared cluster certificate, where one that an authority issued is wanted")]
    AnAuthority,
    /// Not a certificate, or one that breaks the rules.
    #[error("it is unusable: {why}")]
    Unusable {
        /// What the verifier said.
        why: String,
    },
}

impl From<Refusal> for rustls::Error {
    fn from(refusal: Refusal) -> rustls::Error {
        let reason = rustls::OtherError(std::sync::Arc::new(refusal));
        rustls::Error::InvalidCertificate(CertificateError::Other(reason))
    }
}

/// Why a TLS connection failed, and whose doing it was.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TlsFailure {
    /// We did not like the peer's certificate.
    #[error("we refused the peer's certificate: {0}")]
    WeRefused(Refusal),
    /// The peer did not like ours.
    #[error("the peer refused our certificate (alert: {0})")]
    TheyRefused(String),
    /// What came back was not TLS: another service on that port, or plain HTTP.
    #[error("the peer does not speak TLS on this port")]
    NotTls,
    /// Both speak TLS but share no protocol inside it (ALPN).
    #[error("the peer speaks none of our protocols (ALPN)")]
    NoCommonProtocol,
    /// Both speak TLS but share no version or cipher suite.
    #[error("the peer and we share no TLS version or cipher suite: {0}")]
    NoCommonParameters(String),
    /// The connection broke below TLS.
    #[error("{0}")]
    Io(String),
    /// Anything else in which the peer broke the rules of TLS.
    #[error("TLS: {0}")]
    Broken(String),
}

impl TlsFailure {
    /// What an I/O error of a TLS stream means.
    pub fn from_io(error: &io::Error) -> TlsFailure {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => TlsFailure::from_tls(tls),
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                TlsFailure::Io("the peer closed the connection".to_owned())
            }
            None => TlsFailure::Io(error.to_string()),
        }
    }

    /// What an error of the TLS library means.
    pub fn from_tls(error: &rustls::Error) -> TlsFailure {
        use rustls::Error;
        match error {
            Error::InvalidCertificate(CertificateError::Other(other)) => match other.0.downcast_ref::<Refusal>() {
                Some(refusal) => TlsFailure::WeRefused(refusal.clone()),
                None => TlsFailure::Broken(error.to_string()),
            },
            Error::InvalidCertificate(why) => {
                TlsFailure::WeRefused(Refusal::Unusable { why: Error::from(why.clone()).to_string() })
            }
            Error::AlertReceived(alert) => from_alert(*alert),
            Error::InvalidMessage(_) => TlsFailure::NotTls,
            Error::NoApplicationProtocol => TlsFailure::NoCommonProtocol,
            Error::PeerIncompatible(why) => TlsFailure::NoCommonParameters(format!("{why:?}")),
            _ => TlsFailure::Broken(error.to_string()),
        }
    }
}

fn from_alert(alert: AlertDescription) -> TlsFailure {
    use AlertDescription as A;
    match alert {
        A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateRevoked
        | A::CertificateExpired
        | A::CertificateUnknown
        | A::UnknownCA
        | A::AccessDenied
        | A::CertificateRequired => TlsFailure::TheyRefused(format!("{alert:?}")),
        A::NoApplicationProtocol => TlsFailure::NoCommonProtocol,
        A::ProtocolVersion | A::HandshakeFailure => TlsFailure::NoCommonParameters(format!("alert {alert:?}")),
        _ => TlsFailure::Broken(format!("alert {alert:?} from the peer")),
    }
}
