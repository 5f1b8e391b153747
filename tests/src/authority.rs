//! An authority that issues certificates to control planes and data planes, for `cluster_mtls = "pki"`.

use crate::lab::{Lab, Setup};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use std::fs;
use std::path::{Path, PathBuf};

/// What a certificate may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// To serve nodes, and to follow another control plane.
    ControlPlane,
    /// To be a client only.
    DataPlane,
}

/// The name that every control plane's certificate has beside its own, for `cluster_server_name`.
pub const SERVER_NAME: &str = "cp.test";

/// An authority; what it issues lies in the lab.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: PathBuf,
    /// Its own certificate.
    pub file: PathBuf,
}

impl Authority {
    /// Makes one.
    ///
    /// # Panics
    /// When the lab cannot be written.
    #[must_use]
    pub fn new(lab: &Lab, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are good names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
        let (issuer, dir) = (issuer.expect("a certificate"), lab.path().join(name));
        fs::create_dir_all(&dir).expect("the lab is writable");
        let file = dir.join("ca.crt");
        fs::write(&file, issuer.pem()).expect("the lab is writable");
        Self { issuer, dir, file }
    }

    /// The settings of a program with a certificate of its own, which trusts this authority.
    #[must_use]
    pub fn member(&self, setup: Setup, name: &str, what: For) -> Setup {
        let names = [name, SERVER_NAME];
        let setup = setup.with_text("cluster_mtls", "pki").with_text("cluster_server_name", SERVER_NAME);
        let setup = setup.with_text("cluster_ca_cert", self.file.display());
        self.certified(setup, if what == For::ControlPlane { &names } else { &names[..1] }, what)
    }

    /// The same settings with a certificate of this authority for these names, the first of which is its subject's;
    /// whomever they trust.
    ///
    /// # Panics
    /// When the lab cannot be written.
    #[must_use]
    pub fn certified(&self, setup: Setup, names: &[&str], what: For) -> Setup {
        let (cert, key) = self.issue(names, what);
        setup.with_text("cluster_cert", cert.display()).with_text("cluster_cert_key", key.display())
    }

    fn issue(&self, names: &[&str], what: For) -> (PathBuf, PathBuf) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let name = names.first().cloned().unwrap_or_default();
        let mut params = CertificateParams::new(names).expect("good names");
        params.distinguished_name.push(DnType::CommonName, &name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if what == For::ControlPlane {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        let write = |end: &str, pem: String| {
            let file: PathBuf = Path::new(&self.dir).join(format!("{name}.{end}"));
            fs::write(&file, pem).expect("the lab is writable");
            file
        };
        (write("crt", cert.pem()), write("key", key.serialize_pem()))
    }
}
