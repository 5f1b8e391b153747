//! A cluster whose members have certificates of their own (`cluster_mtls = "pki"`), and the bundles that they sign.

use super::{DAYS, Out, admin, content, cp_lite, edge_gateway, follows};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use std::fs;
use std::time::Duration;
use tests::lab::{Lab, Setup};
use tests::pair::apply;

/// The name that the control plane's certificate has.
const CONTROL_PLANE: &str = "cp.frozen.example";
const NODE: &str = "node.frozen.example";

/// A bundle of each writer, the authority, and the certificate of a node that may read them.
pub(crate) fn bundles(out: &Out<'_>) {
    let lab = Lab::lasting(DAYS);
    let mut params = CertificateParams::new(Vec::new()).expect("a name");
    params.distinguished_name.push(DnType::CommonName, "frozen authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    lasting(&mut params);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
    out.write("pki-authority.crt", authority.pem().as_bytes());
    issue(&authority, CONTROL_PLANE, ExtendedKeyUsagePurpose::ServerAuth, &lab);
    issue(&authority, NODE, ExtendedKeyUsagePurpose::ClientAuth, &lab);
    let member = |setup: Setup, name: &str| {
        let file = |end: &str| lab.path().join(format!("{name}.{end}")).display().to_string();
        let setup = setup.with_text("cluster_mtls", "pki").with_text("cluster_server_name", CONTROL_PLANE);
        let setup = setup.with_text("cluster_ca_cert", out.0.join("pki-authority.crt").display());
        setup.with_text("cluster_cert", file("crt")).with_text("cluster_cert_key", file("key"))
    };
    let mut cp = member(lab.cp("cp"), CONTROL_PLANE).start();
    apply(&mut cp, &content::configuration(&lab));
    let dp = member(lab.dp("dp"), NODE).with_text("cluster_control_plane", cp.address("cluster"));
    let mut dp = dp.start();
    follows(&mut cp, &mut dp);
    out.made("cp-pki.bundle", |file| cp_lite(&["config", "export", file, "--admin-url", &admin(&mut cp)]));
    let settings = dp.stop().0.write();
    let settings = settings.to_str().expect("a name");
    out.made("dp-pki.bundle", |file| edge_gateway(&["store", "export", file, "-c", settings]));
    for end in ["crt", "key"] {
        fs::copy(lab.path().join(format!("{NODE}.{end}")), out.0.join(format!("pki-node.{end}"))).expect("writable");
    }
}

fn lasting(params: &mut CertificateParams) {
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = params.not_before + Duration::from_secs(u64::from(DAYS) * 86_400);
}

fn issue(by: &CertifiedIssuer<'_, KeyPair>, name: &str, usage: ExtendedKeyUsagePurpose, lab: &Lab) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![usage];
    lasting(&mut params);
    let certificate = params.signed_by(&key, by).expect("a certificate");
    fs::write(lab.path().join(format!("{name}.crt")), certificate.pem()).expect("the lab is writable");
    fs::write(lab.path().join(format!("{name}.key")), key.serialize_pem()).expect("the lab is writable");
}
