//! What operators give as a certificate or a key: a path, PEM text, or base64 of PEM text (Kong: `cluster_cert` and
//! its relatives take all three). Reading it is the only place where this crate touches a disk.

use std::io::{self, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The largest certificate or key file that is read. A chain of ten RSA-4096 certificates is 20 KiB.
pub const MATERIAL_BYTES_MAX: u64 = 1024 * 1024;

/// The fewest bytes of a secret that is no private key: 128 bits, if they are random.
pub const SECRET_BYTES_MIN: usize = 16;

/// A certificate or key that cannot be used. `origin` is the file, or says in which form the text was given inline.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The operating system would not let us read it.
    #[error("{origin}: {error}")]
    Unreadable {
        /// The file.
        origin: String,
        /// What the operating system said.
        error: io::Error,
    },
    /// Larger than [`MATERIAL_BYTES_MAX`].
    #[error("{origin}: larger than {MATERIAL_BYTES_MAX} bytes, not a certificate or key")]
    TooLarge {
        /// The file.
        origin: String,
    },
    /// PEM without a `CERTIFICATE` section.
    #[error("{origin}: no certificate in it (expected a PEM section \"BEGIN CERTIFICATE\")")]
    NoCertificate {
        /// The file or form.
        origin: String,
    },
    /// PEM without a private key section that we know.
    #[error("{origin}: no private key in it (expected a PEM section \"BEGIN PRIVATE KEY\")")]
    NoKey {
        /// The file or form.
        origin: String,
    },
    /// The key is protected by a passphrase.
    #[error("{origin}: the private key is encrypted; only plain keys can be used")]
    EncryptedKey {
        /// The file or form.
        origin: String,
    },
    /// A section that is there but broken, or of a kind that the cryptography lacks.
    #[error("{origin}: {why}")]
    Malformed {
        /// The file or form.
        origin: String,
        /// What is wrong with it.
        why: String,
    },
    /// The key belongs to another certificate.
    #[error("{key} is not the private key of the certificate in {certificate}")]
    KeyMismatch {
        /// Where the certificate came from.
        certificate: String,
        /// Where the key came from.
        key: String,
    },
    /// A name that can be no server's.
    #[error("\"{name}\" is not a host name or an IP address")]
    BadName {
        /// The name.
        name: String,
    },
    /// None of the places where distributions keep the system's CA certificates has any.
    #[error("no CA certificates found on this system (looked in {looked_in}); set a CA file")]
    NoSystemAuthorities {
        /// The files that were tried.
        looked_in: String,
    },
    /// The operating system gave no randomness, or the TLS library refused its own defaults.
    #[error("cryptography: {0}")]
    Crypto(String),
}

/// How every section of PEM begins.
const PEM_BEGIN: &[u8] = b"-----BEGIN ";

/// PEM text and the words in which to complain about it.
#[derive(Clone)]
pub struct Material {
    origin: String,
    pem: Vec<u8>,
}

impl Material {
    /// Takes PEM text, base64 of PEM text, or else the path of a file with PEM text in it.
    pub fn load(value: &str) -> Result<Material, PkiError> {
        if let Some(inline) = Material::inline(value) {
            return Ok(inline);
        }
        let unreadable = |error| PkiError::Unreadable { origin: value.to_owned(), error };
        let mut pem = Vec::new();
        let file = std::fs::File::open(value).map_err(unreadable)?;
        file.take(MATERIAL_BYTES_MAX + 1).read_to_end(&mut pem).map_err(unreadable)?;
        if pem.len() as u64 > MATERIAL_BYTES_MAX {
            return Err(PkiError::TooLarge { origin: value.to_owned() });
        }
        Ok(Material { origin: value.to_owned(), pem })
    }

    /// PEM text that has no place of its own, such as an entity's field; `origin` names it in errors.
    pub fn text(origin: impl Into<String>, pem: &str) -> Material {
        Material { origin: origin.into(), pem: pem.as_bytes().to_vec() }
    }

    fn inline(value: &str) -> Option<Material> {
        if value.contains("-----BEGIN ") {
            return Some(Material::text("PEM text in the settings", value));
        }
        let packed: String = value.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let pem = STANDARD.decode(packed).ok()?;
        let is_pem = pem.windows(PEM_BEGIN.len()).any(|window| window == PEM_BEGIN);
        is_pem.then(|| Material { origin: "base64 text in the settings".to_owned(), pem })
    }

    /// Where it came from, for messages.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// All certificates in it, in their order: the end entity first, then its chain.
    pub fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, PkiError> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&self.pem)
            .collect::<Result<_, _>>()
            .map_err(|error| self.malformed(format!("broken PEM: {error}")))?;
        if certificates.is_empty() {
            return Err(PkiError::NoCertificate { origin: self.origin.clone() });
        }
        Ok(certificates)
    }

    /// The first private key in it (PKCS#8, PKCS#1 or SEC1).
    pub fn private_key(&self) -> Result<PrivateKeyDer<'static>, PkiError> {
        match PrivateKeyDer::pem_slice_iter(&self.pem).next() {
            Some(Ok(key)) => Ok(key),
            Some(Err(error)) => Err(self.malformed(format!("broken PEM: {error}"))),
            None if self.is_encrypted() => Err(PkiError::EncryptedKey { origin: self.origin.clone() }),
            None => Err(PkiError::NoKey { origin: self.origin.clone() }),
        }
    }

    /// What other keys are derived from: the private key in it, in DER, so that its PEM form does not matter; of what is
    /// not PEM, all bytes as they are, a line break at the end included.
    pub fn secret(&self) -> Result<Vec<u8>, PkiError> {
        if self.pem.windows(PEM_BEGIN.len()).any(|window| window == PEM_BEGIN) {
            return self.private_key().map(|key| key.secret_der().to_vec());
        }
        if self.pem.len() < SECRET_BYTES_MIN {
            return Err(self.malformed(format!("shorter than {SECRET_BYTES_MIN} bytes, which is no secret")));
        }
        Ok(self.pem.clone())
    }

    pub(crate) fn malformed(&self, why: impl Into<String>) -> PkiError {
        PkiError::Malformed { origin: self.origin.clone(), why: why.into() }
    }

    fn is_encrypted(&self) -> bool {
        String::from_utf8_lossy(&self.pem).contains("BEGIN ENCRYPTED PRIVATE KEY")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issue;

    #[test]
    fn takes_a_path_pem_text_and_base64_of_it_alike() {
        let pair = issue::gen_cert(1, 1_700_000_000).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cluster.crt");
        std::fs::write(&path, &pair.cert_pem).unwrap();

        let from_file = Material::load(path.to_str().unwrap()).unwrap().certificates().unwrap();
        let from_text = Material::load(&pair.cert_pem).unwrap().certificates().unwrap();
        let from_base64 = Material::load(&STANDARD.encode(&pair.cert_pem)).unwrap().certificates().unwrap();

        assert_eq!(from_file, from_text);
        assert_eq!(from_file, from_base64);
    }

    #[test]
    fn says_which_file_and_what_is_wrong_with_it() {
        let pair = issue::gen_cert(1, 1_700_000_000).unwrap();
        let missing = Material::load("/nowhere/cluster.crt").err().unwrap().to_string();
        assert!(missing.starts_with("/nowhere/cluster.crt: No such file"), "{missing}");

        let key = Material::text("a.crt", &pair.key_pem);
        assert_eq!(
            key.certificates().unwrap_err().to_string(),
            "a.crt: no certificate in it (expected a PEM section \"BEGIN CERTIFICATE\")"
        );
        let cert = Material::text("a.key", &pair.cert_pem);
        assert!(matches!(cert.private_key(), Err(PkiError::NoKey { .. })));
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n".to_owned();
        assert!(matches!(Material::text("a.key", &encrypted).private_key(), Err(PkiError::EncryptedKey { .. })));
    }

    #[test]
    fn a_secret_is_a_private_key_in_whatever_form_or_else_bytes_enough() {
        let pair = issue::gen_cert(1, 1_700_000_000).unwrap();
        let key = Material::load(&pair.key_pem).unwrap();
        assert_eq!(key.secret().unwrap(), key.private_key().unwrap().secret_der());
        assert_eq!(Material::load(&STANDARD.encode(&pair.key_pem)).unwrap().secret().unwrap(), key.secret().unwrap());
        let certificate = Material::load(&pair.cert_pem).unwrap();
        assert!(matches!(certificate.secret(), Err(PkiError::NoKey { .. })), "everybody knows a certificate");

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credential");
        for (bytes, secret) in [(&b"0123456789abcdef\n"[..], true), (b"0123456789abcde", false)] {
            std::fs::write(&path, bytes).unwrap();
            let found = Material::load(path.to_str().unwrap()).unwrap().secret();
            assert_eq!(found.ok(), secret.then(|| bytes.to_vec()));
        }
    }

    #[test]
    fn refuses_a_file_beyond_the_limit_without_reading_it_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.img");
        std::fs::File::create(&path).unwrap().set_len(MATERIAL_BYTES_MAX + 1).unwrap();
        assert!(matches!(Material::load(path.to_str().unwrap()), Err(PkiError::TooLarge { .. })));
    }
}
