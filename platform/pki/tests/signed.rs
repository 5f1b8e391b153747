//! Signatures over what travels as a file: every sort of cluster key signs, and no other key, byte or certificate passes.

use std::sync::Arc;

use pki::issue;
use pki::{Authorities, ClusterIdentity, Mtls, Proof, Refusal, Role, Sha256, SignatureError, Verifier};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, date_time_ymd,
};

const NOW: u64 = 1_800_000_000;
const MESSAGE: &[u8] = b"EGbundle and what follows";

fn shared(identity: &ClusterIdentity) -> Verifier {
    Verifier { identity: identity.clone(), mtls: Mtls::Shared, own_authorities: false, names: Vec::new() }
}

fn self_signed(key: &KeyPair) -> ClusterIdentity {
    let cert = CertificateParams::new(["kong_clustering".to_owned()]).unwrap().self_signed(key).unwrap();
    ClusterIdentity::load(&cert.pem(), &key.serialize_pem()).unwrap()
}

fn identity() -> ClusterIdentity {
    let pair = issue::gen_cert(1095, NOW).unwrap();
    ClusterIdentity::load(&pair.cert_pem, &pair.key_pem).unwrap()
}

#[test]
fn every_sort_of_cluster_key_signs_and_no_changed_byte_passes() {
    // Ring makes no RSA keys; this one signs nothing but this test's certificate.
    let rsa = KeyPair::from_pem(include_str!("data/rsa.key")).unwrap();
    let make = |algorithm| KeyPair::generate_for(algorithm).unwrap();
    let keys = [make(&PKCS_ECDSA_P256_SHA256), make(&PKCS_ECDSA_P384_SHA384), make(&PKCS_ED25519), rsa];
    for (key, scheme) in keys.iter().zip([0x0403, 0x0503, 0x0807, 0x0806]) {
        let identity = self_signed(key);
        let signed = identity.sign(MESSAGE).unwrap();
        assert_eq!(signed.scheme, scheme);
        let verifier = shared(&identity);
        let verify = |message: &[u8], signed: &_| verifier.verify(message, signed, Role::ControlPlane, NOW);
        assert_eq!(verify(MESSAGE, &signed), Ok(Proof::Membership));
        for at in 0..MESSAGE.len() {
            let mut changed = MESSAGE.to_vec();
            changed[at] ^= 1;
            assert_eq!(verify(&changed, &signed), Err(SignatureError::Wrong), "{scheme:x} byte {at}");
        }
        for at in 0..signed.bytes.len() {
            let mut changed = signed.clone();
            changed.bytes[at] ^= 1;
            assert_eq!(verify(MESSAGE, &changed), Err(SignatureError::Wrong), "{scheme:x} byte {at}");
        }
    }
}

#[test]
fn in_shared_mode_only_the_cluster_certificate_counts_and_its_dates_do_not() {
    let (ours, theirs) = (identity(), identity());
    let verifier = shared(&ours);
    let foreign = theirs.sign(MESSAGE).unwrap();
    let refusal = Refusal::NotTheClusterCertificate { ours: ours.digest(), theirs: theirs.digest() };
    let verify = |signed: &_, now| verifier.verify(MESSAGE, signed, Role::DataPlane, now);
    assert_eq!(verify(&foreign, NOW), Err(SignatureError::Refused(refusal)));
    // Somebody who has seen our certificate, but has another key.
    let posing = pki::Signed { certificates: ours.sign(MESSAGE).unwrap().certificates, ..foreign };
    assert_eq!(verify(&posing, NOW), Err(SignatureError::Wrong));
    let ours = ours.sign(MESSAGE).unwrap();
    assert_eq!(verify(&ours, 0), Ok(Proof::Membership), "a clock that is not set");
    let bare = pki::Signed { certificates: Vec::new(), ..ours.clone() };
    assert_eq!(verify(&bare, NOW), Err(SignatureError::NoCertificate));
    let unknown = pki::Signed { scheme: 0x0201, ..ours };
    assert_eq!(verify(&unknown, NOW), Err(SignatureError::Scheme(0x0201)));
}

struct Ca(CertifiedIssuer<'static, KeyPair>);

impl Ca {
    fn new(name: &str) -> Ca {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ca(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> ClusterIdentity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2030, 1, 1));
        let cert = params.signed_by(&key, &self.0).unwrap();
        ClusterIdentity::load(&cert.pem(), &key.serialize_pem()).unwrap()
    }
}

#[test]
fn in_pki_mode_a_signature_proves_whose_certificate_made_it_and_what_that_may_be() {
    let (ours, other) = (Ca::new("ours"), Ca::new("other"));
    let cp = ours.issue("cp.test", ExtendedKeyUsagePurpose::ServerAuth);
    let dp = ours.issue("dp.test", ExtendedKeyUsagePurpose::ClientAuth);
    let authorities = Arc::new(Authorities::from_pems([ours.0.pem().as_str()]).unwrap());
    let verifier = Verifier {
        identity: dp.clone(),
        mtls: Mtls::Pki(authorities),
        own_authorities: true,
        names: vec!["cp.test".to_owned()],
    };
    let verify =
        |identity: &ClusterIdentity, role, now| verifier.verify(MESSAGE, &identity.sign(MESSAGE).unwrap(), role, now);
    let proof = |name: &str| Ok(Proof::Certificate(Some(name.to_owned())));
    assert_eq!(verify(&cp, Role::ControlPlane, NOW), proof("cp.test"));
    assert_eq!(verify(&dp, Role::DataPlane, NOW), proof("dp.test"));
    let refused = |result| matches!(result, Err(SignatureError::Refused(_)));
    let posing = verify(&dp, Role::ControlPlane, NOW);
    assert_eq!(
        posing,
        Err(SignatureError::Refused(Refusal::WrongUse)),
        "a data plane does not pass for a control plane"
    );
    assert!(refused(verify(&other.issue("cp.test", ExtendedKeyUsagePurpose::ServerAuth), Role::ControlPlane, NOW)));
    let elsewhere = ours.issue("web.test", ExtendedKeyUsagePurpose::ServerAuth);
    let wrong_name = Refusal::WrongName { name: "cp.test".to_owned() };
    assert_eq!(verify(&elsewhere, Role::ControlPlane, NOW), Err(SignatureError::Refused(wrong_name)));
    assert!(matches!(
        verify(&cp, Role::ControlPlane, 4_000_000_000),
        Err(SignatureError::Refused(Refusal::Expired { .. }))
    ));

    // Where the operating system's authorities are trusted, anybody's certificate would do.
    let open = Verifier { own_authorities: false, names: Vec::new(), ..verifier.clone() };
    for (identity, role) in [(&cp, Role::ControlPlane), (&dp, Role::DataPlane)] {
        let signed = identity.sign(MESSAGE).unwrap();
        assert_eq!(open.verify(MESSAGE, &signed, role, NOW), Err(SignatureError::NoNames));
    }
}

#[test]
fn a_hash_of_pieces_is_the_hash_of_the_whole() {
    let mut hash = Sha256::default();
    [&b"a"[..], b"", b"bc"].into_iter().for_each(|piece| hash.update(piece));
    assert_eq!(hash.finish(), pki::Digest::of(b"abc").0);
}
