//! Real handshakes, in memory: who gets in, who does not, and what either end is told.

use std::sync::Arc;

use pki::cluster::{ALPN_HTTP, ALPN_SYNC};
use pki::issue::{self, Pair};
use pki::{
    Authorities, ClusterClient, ClusterIdentity, ClusterServer, Material, Mtls, Peer, Refusal, TlsFailure, UpstreamTls,
    certified_key, proxy_server, upstream_client,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::{ClientConfig, ClientConnection, Connection, HandshakeKind, ServerConfig, ServerConnection};

const NOW: u64 = 1_800_000_000;

fn pair() -> Pair {
    issue::gen_cert(1095, NOW).unwrap()
}

fn identity(pair: &Pair) -> ClusterIdentity {
    ClusterIdentity::load(&pair.cert_pem, &pair.key_pem).unwrap()
}

/// Carries bytes both ways until neither end has more to say or one has failed.
fn converse(client: &mut Connection, server: &mut Connection) -> Result<(), Failed> {
    for _ in 0..20 {
        let to_server = carry(client, server).map_err(Failed::Server);
        let to_client = carry(server, client).map_err(Failed::Client);
        // Whoever fails first is the reason; its alert reaches the other end all the same.
        to_server.and(to_client)?;
        if !client.wants_write() && !server.wants_write() {
            return Ok(());
        }
    }
    panic!("the handshake does not end");
}

fn carry(from: &mut Connection, to: &mut Connection) -> Result<(), rustls::Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut bytes = bytes.as_slice();
    while !bytes.is_empty() {
        to.read_tls(&mut bytes).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

#[derive(Debug)]
enum Failed {
    Client(rustls::Error),
    Server(rustls::Error),
}

fn connect(
    client: &Arc<ClientConfig>,
    name: pki::ServerName<'static>,
    server: &Arc<ServerConfig>,
) -> (ClientConnection, ServerConnection, Result<(), Failed>) {
    let mut client = Connection::Client(ClientConnection::new(client.clone(), name).unwrap());
    let mut server = Connection::Server(ServerConnection::new(server.clone()).unwrap());
    let outcome = converse(&mut client, &mut server);
    match (client, server) {
        (Connection::Client(client), Connection::Server(server)) => (client, server, outcome),
        _ => unreachable!(),
    }
}

/// One handshake of the cluster link: what the server thinks of the client, or how it failed.
fn cluster(client: &ClusterClient, server: &ClusterServer) -> Result<Peer, Failed> {
    let (_, accepted, outcome) = connect(client.config(), client.server_name("cp.test").unwrap(), server.config());
    outcome.map(|()| server.peer(&accepted, NOW))
}

#[test]
fn nodes_that_share_the_certificate_meet_on_the_sync_protocol() {
    let shared = identity(&pair());
    let server = ClusterServer::new(&shared, Mtls::Shared).unwrap();
    let client = ClusterClient::new(&shared, Mtls::Shared, None).unwrap();
    let (called, accepted, outcome) =
        connect(client.config(), client.server_name("192.0.2.1").unwrap(), server.config());
    outcome.unwrap();
    assert_eq!(called.alpn_protocol(), Some(ALPN_SYNC));
    assert_eq!(accepted.server_name(), Some("kong_clustering"));
    let Peer::Member(member) = server.peer(&accepted, NOW) else { panic!("not a member") };
    assert_eq!(member.digest, shared.digest());
    assert_eq!(member.common_name.as_deref(), Some("kong_clustering"));
    assert_eq!(member.not_after, shared.validity().not_after);
}

#[test]
fn a_node_refuses_a_control_plane_with_another_certificate_and_says_so_on_both_ends() {
    let (ours, theirs) = (identity(&pair()), identity(&pair()));
    let server = ClusterServer::new(&theirs, Mtls::Shared).unwrap();
    let client = ClusterClient::new(&ours, Mtls::Shared, None).unwrap();

    let mut called =
        Connection::Client(ClientConnection::new(client.config().clone(), client.server_name("x").unwrap()).unwrap());
    let mut accepted = Connection::Server(ServerConnection::new(server.config().clone()).unwrap());
    let Err(Failed::Client(error)) = converse(&mut called, &mut accepted) else { panic!("the node agreed") };
    assert_eq!(
        TlsFailure::from_tls(&error),
        TlsFailure::WeRefused(Refusal::NotTheClusterCertificate { ours: ours.digest(), theirs: theirs.digest() })
    );
    let at_server = carry(&mut called, &mut accepted).unwrap_err();
    assert!(matches!(TlsFailure::from_tls(&at_server), TlsFailure::TheyRefused(_)), "{at_server}");
}

/// A caller that trusts anyone and shows `key`, if any.
fn foreign_client(key: Option<&Pair>) -> Arc<ClientConfig> {
    let client_certificate = key.map(|pair| certified_key(&pair.cert_pem, &pair.key_pem).unwrap());
    upstream_client(&UpstreamTls { verify: None, verify_depth: 1, client_certificate }, &[ALPN_SYNC]).unwrap()
}

#[test]
fn a_stranger_completes_the_handshake_and_is_known_as_one() {
    let ours = identity(&pair());
    let stranger = pair();
    let server = ClusterServer::new(&ours, Mtls::Shared).unwrap();
    let (_, accepted, outcome) =
        connect(&foreign_client(Some(&stranger)), "kong_clustering".try_into().unwrap(), server.config());
    outcome.unwrap();
    let theirs = identity(&stranger).digest();
    assert_eq!(
        server.peer(&accepted, NOW),
        Peer::Stranger { digest: theirs, refusal: Refusal::NotTheClusterCertificate { ours: ours.digest(), theirs } }
    );
}

#[test]
fn a_caller_without_a_certificate_is_anonymous() {
    let server = ClusterServer::new(&identity(&pair()), Mtls::Shared).unwrap();
    let (_, accepted, outcome) = connect(&foreign_client(None), "cp.test".try_into().unwrap(), server.config());
    outcome.unwrap();
    assert_eq!(server.peer(&accepted, NOW), Peer::Anonymous);
}

#[test]
fn the_public_certificate_without_its_key_opens_nothing() {
    // A thief holds the certificate, which is public, and some key of the same kind.
    let ours = pair();
    let thief = pair();
    let chain = Material::text("x", &ours.cert_pem).certificates().unwrap();
    let key = Material::text("x", &thief.key_pem).private_key().unwrap();
    let signer = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    let stolen = Arc::new(pki::CertifiedKey::new(chain, signer));

    let server = ClusterServer::new(&identity(&ours), Mtls::Shared).unwrap();
    let caller = upstream_client(
        &UpstreamTls { verify: None, verify_depth: 1, client_certificate: Some(stolen.clone()) },
        &[ALPN_SYNC],
    )
    .unwrap();
    let (_, _, outcome) = connect(&caller, "kong_clustering".try_into().unwrap(), server.config());
    assert!(matches!(outcome, Err(Failed::Server(rustls::Error::InvalidCertificate(_)))), "{outcome:?}");

    let fake_server = proxy_server(move |_| Some(stolen.clone()), &[ALPN_SYNC]).unwrap();
    let client = ClusterClient::new(&identity(&ours), Mtls::Shared, None).unwrap();
    let (_, _, outcome) = connect(client.config(), client.server_name("x").unwrap(), &fake_server);
    assert!(matches!(outcome, Err(Failed::Client(rustls::Error::InvalidCertificate(_)))), "{outcome:?}");
}

#[test]
fn an_expired_shared_certificate_still_connects_and_its_end_is_told() {
    let old = identity(&issue::gen_cert(1, NOW - 10 * 86_400).unwrap());
    let server = ClusterServer::new(&old, Mtls::Shared).unwrap();
    let client = ClusterClient::new(&old, Mtls::Shared, None).unwrap();
    let Peer::Member(member) = cluster(&client, &server).unwrap() else { panic!("not a member") };
    assert!(member.not_after < NOW as i64);
}

#[test]
fn a_reconnect_resumes_the_session_and_is_judged_anew() {
    let shared = identity(&pair());
    let server = ClusterServer::new(&shared, Mtls::Shared).unwrap();
    let client = ClusterClient::new(&shared, Mtls::Shared, None).unwrap();
    let name = client.server_name("x").unwrap();
    let (first, _, outcome) = connect(client.config(), name.clone(), server.config());
    outcome.unwrap();
    assert_eq!(first.handshake_kind(), Some(HandshakeKind::Full));
    let (second, accepted, outcome) = connect(client.config(), name, server.config());
    outcome.unwrap();
    assert_eq!(second.handshake_kind(), Some(HandshakeKind::Resumed));
    assert!(matches!(server.peer(&accepted, NOW), Peer::Member(_)));
}

#[test]
fn garbage_is_not_tls_on_either_end() {
    let shared = identity(&pair());
    let server = ClusterServer::new(&shared, Mtls::Shared).unwrap();
    let mut accepted = ServerConnection::new(server.config().clone()).unwrap();
    accepted.read_tls(&mut b"GET / HTTP/1.1\r\nHost: cp\r\n\r\n".as_slice()).unwrap();
    let error = accepted.process_new_packets().unwrap_err();
    assert_eq!(TlsFailure::from_tls(&error), TlsFailure::NotTls);

    let client = ClusterClient::new(&shared, Mtls::Shared, None).unwrap();
    let mut called = ClientConnection::new(client.config().clone(), client.server_name("x").unwrap()).unwrap();
    called.read_tls(&mut b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice()).unwrap();
    let error = called.process_new_packets().unwrap_err();
    let wrapped = std::io::Error::new(std::io::ErrorKind::InvalidData, error);
    assert_eq!(TlsFailure::from_io(&wrapped).to_string(), "the peer does not speak TLS on this port");
}

#[test]
fn ends_without_a_common_protocol_say_so() {
    let shared = identity(&pair());
    let client = ClusterClient::new(&shared, Mtls::Shared, None).unwrap();
    let key = shared.certified_key().clone();
    let http_only = proxy_server(move |_| Some(key.clone()), &[ALPN_HTTP]).unwrap();
    let (_, _, outcome) = connect(client.config(), client.server_name("x").unwrap(), &http_only);
    let Err(Failed::Server(error)) = outcome else { panic!("{outcome:?}") };
    assert_eq!(TlsFailure::from_tls(&error), TlsFailure::NoCommonProtocol);
}

/// A certificate authority and what it issues.
struct Ca {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Ca {
    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    fn root(name: &str) -> Ca {
        Ca { issuer: CertifiedIssuer::self_signed(Ca::params(name), KeyPair::generate().unwrap()).unwrap() }
    }

    fn intermediate(&self, name: &str) -> Ca {
        let key = KeyPair::generate().unwrap();
        Ca { issuer: CertifiedIssuer::signed_by(Ca::params(name), key, &self.issuer).unwrap() }
    }

    fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for a host, valid until the end of `last_year`, with `chain` appended.
    fn issue(&self, host: &str, last_year: i32, chain: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, host);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(last_year, 12, 31);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Pair { cert_pem: format!("{}{chain}", cert.pem()), key_pem: key.serialize_pem() }
    }

    fn trusted(&self) -> Arc<Authorities> {
        Arc::new(Authorities::from_pems([self.pem().as_str()]).unwrap())
    }
}

#[test]
fn pki_mode_takes_what_the_authority_issued_and_knows_it_by_name() {
    let ca = Ca::root("fleet");
    let cp = identity(&ca.issue("cp.test", 2090, ""));
    let node = identity(&ca.issue("node-7", 2090, ""));
    let server = ClusterServer::new(&cp, Mtls::Pki(ca.trusted())).unwrap();
    let client = ClusterClient::new(&node, Mtls::Pki(ca.trusted()), None).unwrap();
    let Peer::Member(member) = cluster(&client, &server).unwrap() else { panic!("not a member") };
    assert_eq!(member.common_name.as_deref(), Some("node-7"));
    assert_eq!(member.digest, node.digest());
}

#[test]
fn pki_mode_refuses_foreign_and_expired_nodes_after_the_handshake() {
    let (ca, other) = (Ca::root("fleet"), Ca::root("other"));
    let cp = identity(&ca.issue("cp.test", 2090, ""));
    let server = ClusterServer::new(&cp, Mtls::Pki(ca.trusted())).unwrap();
    let refusal = |pair: &Pair| {
        let client = ClusterClient::new(&identity(pair), Mtls::Pki(ca.trusted()), None).unwrap();
        match cluster(&client, &server).unwrap() {
            Peer::Stranger { refusal, .. } => refusal,
            peer => panic!("{peer:?}"),
        }
    };
    let foreign = other.issue("node-7", 2090, "");
    assert_eq!(refusal(&foreign), Refusal::UnknownIssuer { theirs: identity(&foreign).digest() });
    assert!(matches!(refusal(&ca.issue("node-7", 2002, "")), Refusal::Expired { .. }));
}

#[test]
fn pki_mode_refuses_a_control_plane_of_another_name_or_authority() {
    let (ca, other) = (Ca::root("fleet"), Ca::root("other"));
    let node = identity(&ca.issue("node-7", 2090, ""));
    let refusal = |pair: &Pair, server_name: Option<&str>| {
        let server = ClusterServer::new(&identity(pair), Mtls::Pki(ca.trusted())).unwrap();
        let client = ClusterClient::new(&node, Mtls::Pki(ca.trusted()), server_name).unwrap();
        match cluster(&client, &server) {
            Err(Failed::Client(error)) => Some(TlsFailure::from_tls(&error)),
            _ => None,
        }
    };
    assert_eq!(refusal(&ca.issue("cp.test", 2090, ""), None), None);
    assert_eq!(refusal(&ca.issue("elsewhere.test", 2090, ""), Some("elsewhere.test")), None);
    assert_eq!(
        refusal(&ca.issue("elsewhere.test", 2090, ""), None),
        Some(TlsFailure::WeRefused(Refusal::WrongName { name: "cp.test".to_owned() }))
    );
    assert!(matches!(
        refusal(&other.issue("cp.test", 2090, ""), None),
        Some(TlsFailure::WeRefused(Refusal::UnknownIssuer { .. }))
    ));
    assert!(matches!(
        refusal(&ca.issue("cp.test", 2002, ""), None),
        Some(TlsFailure::WeRefused(Refusal::Expired { .. }))
    ));
}

/// One handshake with an origin that shows `origin`.
fn upstream(tls: &UpstreamTls, origin: &Pair, name: &'static str) -> Result<(), TlsFailure> {
    let key = certified_key(&origin.cert_pem, &origin.key_pem).unwrap();
    let server = proxy_server(move |_| Some(key.clone()), &[ALPN_HTTP]).unwrap();
    let client = upstream_client(tls, &[ALPN_HTTP]).unwrap();
    match connect(&client, name.try_into().unwrap(), &server).2 {
        Ok(()) => Ok(()),
        Err(Failed::Client(error)) => Err(TlsFailure::from_tls(&error)),
        Err(Failed::Server(error)) => panic!("{error}"),
    }
}

#[test]
fn an_origin_is_verified_only_where_the_service_says_so() {
    let ca = Ca::root("origins");
    let trusting = UpstreamTls { verify: None, verify_depth: 1, client_certificate: None };
    let strict = UpstreamTls { verify: Some(ca.trusted()), verify_depth: 1, client_certificate: None };
    let good = ca.issue("origin.test", 2090, "");
    let foreign = Ca::root("other").issue("origin.test", 2090, "");
    upstream(&trusting, &foreign, "origin.test").unwrap();
    upstream(&strict, &good, "origin.test").unwrap();
    assert!(matches!(
        upstream(&strict, &foreign, "origin.test"),
        Err(TlsFailure::WeRefused(Refusal::UnknownIssuer { .. }))
    ));
    assert!(matches!(upstream(&strict, &good, "other.test"), Err(TlsFailure::WeRefused(Refusal::WrongName { .. }))));
}

#[test]
fn a_chain_may_be_as_deep_as_tls_verify_depth_and_no_deeper() {
    let root = Ca::root("origins");
    let middle = root.intermediate("middle");
    let leaf = middle.intermediate("leaf");
    let origin = leaf.issue("origin.test", 2090, &format!("{}{}", leaf.pem(), middle.pem()));
    let depth = |verify_depth| {
        let tls = UpstreamTls { verify: Some(root.trusted()), verify_depth, client_certificate: None };
        upstream(&tls, &origin, "origin.test")
    };
    assert_eq!(depth(2), Ok(()));
    assert_eq!(depth(1), Err(TlsFailure::WeRefused(Refusal::ChainTooDeep { max: 1 })));
}

#[test]
fn an_origin_whose_very_certificate_is_trusted_is_taken() {
    let origin = Ca::root("fleet").issue("origin.test", 2090, "");
    let trusted = Arc::new(Authorities::from_pems([origin.cert_pem.as_str()]).unwrap());
    let strict = UpstreamTls { verify: Some(trusted), verify_depth: 0, client_certificate: None };
    upstream(&strict, &origin, "origin.test").unwrap();
    assert!(upstream(&strict, &origin, "other.test").is_err());
}

#[test]
fn a_client_gets_the_certificate_of_the_name_it_asks_for() {
    let ca = Ca::root("public");
    let shop = ca.issue("shop.test", 2090, "");
    let key = certified_key(&shop.cert_pem, &shop.key_pem).unwrap();
    let fallback = issue::fallback(NOW).unwrap();
    let server = proxy_server(
        move |name| Some(if name == Some("shop.test") { key.clone() } else { fallback.clone() }),
        &[ALPN_HTTP],
    )
    .unwrap();
    let shown = |name: &'static str| {
        let client = upstream_client(&UpstreamTls { verify: None, verify_depth: 1, client_certificate: None }, &[]);
        let (called, _, outcome) = connect(&client.unwrap(), name.try_into().unwrap(), &server);
        outcome.unwrap();
        let der = called.peer_certificates().unwrap()[0].to_vec();
        pki::Digest::of(&der)
    };
    assert_eq!(shown("SHOP.test"), identity(&shop).digest());
    assert_ne!(shown("blog.test"), identity(&shop).digest());
    assert_ne!(shown("192.0.2.1"), identity(&shop).digest());
}
