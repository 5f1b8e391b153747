use std::path::Path;

use settings::Sources;

use super::*;

fn read(text: &str) -> (Settings, Option<Config>) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gateway.toml");
    std::fs::write(&file, text).unwrap();
    let mut settings = Sources {
        keys: keys::KEYS,
        prefix: "EDGE_GATEWAY",
        file,
        file_required: true,
        credentials: None,
        environment: Vec::new(),
        flags: Vec::new(),
    }
    .read();
    let config = Config::read(&mut settings);
    (settings, config)
}

fn mistakes(text: &str) -> String {
    let (settings, config) = read(text);
    let told = settings.finish().unwrap_err().to_string();
    assert!(config.is_none(), "{told}");
    // The file lies in a directory with a random name.
    let lines = told.lines().map(|line| line.split_once("gateway.toml:").map_or(line, |(_, rest)| rest));
    lines.collect::<Vec<_>>().join("\n")
}

/// What is noted, whether or not what is read goes without it.
fn noted(text: &str) -> String {
    let told = read(text).0.finish().unwrap_err().to_string();
    told.split_once("gateway.toml:").map_or(told.clone(), |(_, rest)| rest.to_owned())
}

/// A certificate and its key as files.
fn pair(dir: &Path, name: &str) -> (String, String) {
    let pair = pki::issue::gen_cert(10, 1_800_000_000).unwrap();
    let (cert, key) = (dir.join(format!("{name}.crt")), dir.join(format!("{name}.key")));
    std::fs::write(&cert, pair.cert_pem).unwrap();
    std::fs::write(&key, pair.key_pem).unwrap();
    (cert.display().to_string(), key.display().to_string())
}

#[test]
fn an_empty_file_is_kongs_defaults() {
    let (settings, config) = read("");
    settings.finish().unwrap();
    let config = config.unwrap();
    assert_eq!(config.prefix, Path::new("/var/lib/edge-gateway"));
    let listen = |address: &str, ssl| Listen { address: address.parse().unwrap(), ssl };
    assert_eq!(config.proxy_listen, [listen("0.0.0.0:8000", false), listen("0.0.0.0:8443", true)]);
    assert_eq!(config.status_listen, ["127.0.0.1:8007".parse().unwrap()]);
    assert!(config.cluster.is_none());
    assert_eq!(config.access_log, AccessLog::Off);
    assert!(config.workers >= 1);
    let (read, default) = (config.proxy, proxy::Settings::default());
    assert_eq!(
        format!("{:?}", proxy::Settings { trusted_certificates: None, ..read }),
        format!("{default:?}"),
        "the table and the proxy disagree on a default"
    );
}

#[test]
fn a_control_plane_comes_with_a_certificate_and_labels() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = pair(dir.path(), "cluster");
    let (settings, config) = read(&format!(
        "cluster_control_plane = 'cp.test:8005'\ncluster_cert = '{cert}'\ncluster_cert_key = '{key}'\n\
         cluster_dp_labels = ['site:north', 'rack:7.b']\nincremental_sync = 'off'\n"
    ));
    settings.finish().unwrap();
    let cluster = config.unwrap().cluster.unwrap();
    assert_eq!(cluster.control_planes, ["cp.test:8005"]);
    assert_eq!(cluster.labels, [("site".to_owned(), "north".to_owned()), ("rack".to_owned(), "7.b".to_owned())]);
    assert!(!cluster.incremental);
    assert_eq!(cluster.identity.common_name(), Some("kong_clustering"));
}

#[test]
fn a_proxy_is_used_where_that_is_asked_for_and_checked_in_any_case() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = pair(dir.path(), "cluster");
    let cluster = |more: &str| {
        let text =
            format!("cluster_control_plane = 'cp:8005'\ncluster_cert = '{cert}'\ncluster_cert_key = '{key}'\n{more}");
        read(&text).1.unwrap().cluster.unwrap()
    };
    let server = "proxy_server = 'http://me:secret@proxy:3128'\n";
    let used = cluster(&format!("{server}cluster_use_proxy = 'on'\n")).proxy.unwrap();
    assert_eq!(used.address(), "proxy:3128");
    assert!(cluster(server).proxy.is_none(), "Kong: proxy_server alone does nothing");
    assert_eq!(noted("cluster_use_proxy = 'on'"), "1:1: cluster_use_proxy: needs proxy_server");
    let told = noted("proxy_server = 'https://me:secret@proxy:3128'");
    assert!(told.starts_with("1:1: proxy_server: https is not supported") && !told.contains("secret"), "{told}");
    let (settings, _) = read(server);
    assert!(!settings.show().to_string().contains("secret"));
}

#[test]
fn the_heartbeat_is_found_out_or_set() {
    assert_eq!(noted("cluster_heartbeat = '4'").matches("cluster_heartbeat").count(), 1);
    for text in ["cluster_heartbeat = 3600", "cluster_heartbeat = 'off'", "cluster_heartbeat = 'auto'"] {
        assert!(read(text).1.is_some(), "{text}");
    }
    let list: Vec<_> = (0..17).map(|n| format!("'cp{n}:8005'")).collect();
    let told = noted(&format!("cluster_control_plane = [{}]", list.join(", ")));
    assert!(told.contains("more than 16 control planes"), "{told}");
}

#[test]
fn every_mistake_is_told_at_once() {
    assert_eq!(
        mistakes(
            "proxy_listen = '0.0.0.0:8000 http2'\nstatus_listen = 'localhost'\n\
             cluster_control_plane = ['cp', 'b:8005']\ncluster_dp_labels = 'a:b, -:c'\ncluster_cert = '/nowhere/a.crt'\n\
             trusted_ips = '10.0.0.0/33'\nreal_ip_header = 'a b'\nheaders = ['Vai']\nheaders_upstream = 'x'\n\
             nginx_worker_processes = '0'\nlua_ssl_trusted_certificate = ['/nowhere/ca.crt']\n"
        ),
        "\
1:1: proxy_listen: \"http2\" after 0.0.0.0:8000 is not supported; only \"ssl\" is
2:1: status_listen: \"localhost\" is not ADDRESS:PORT, such as 0.0.0.0:8000 or [::]:8000
3:1: cluster_control_plane: \"cp\" is not HOST:PORT, such as cp.example.com:8005
4:1: cluster_dp_labels: \"-:c\" is not KEY:VALUE with 1 to 63 letters, digits, \"-\", \"_\" and \".\" each, a letter \
or digit at both ends
5:1: cluster_cert: /nowhere/a.crt: No such file or directory (os error 2)
6:1: trusted_ips: \"10.0.0.0/33\" is not an address or a network such as 10.0.0.0/8
7:1: real_ip_header: \"a b\" is not the name of a header
8:1: headers: unknown word \"Vai\"
9:1: headers_upstream: unknown word \"x\"
10:1: nginx_worker_processes: \"0\" is neither auto nor a number from 1 to 256
11:1: lua_ssl_trusted_certificate: /nowhere/ca.crt: No such file or directory (os error 2)"
    );
}

#[test]
fn a_control_plane_without_or_with_a_foreign_key_is_a_mistake() {
    assert_eq!(
        mistakes("cluster_control_plane = 'cp:8005'"),
        "\
cluster_cert: must be set where cluster_control_plane is; \"cp-lite hybrid gen_cert\" makes one
cluster_cert_key: must be set where cluster_control_plane is; \"cp-lite hybrid gen_cert\" makes one"
    );
    let dir = tempfile::tempdir().unwrap();
    let ((cert, _), (_, key)) = (pair(dir.path(), "ours"), pair(dir.path(), "other"));
    let told =
        mistakes(&format!("cluster_control_plane = 'cp:1'\ncluster_cert = '{cert}'\ncluster_cert_key = '{key}'\n"));
    assert_eq!(told, format!("2:1: cluster_cert: {key} is not the private key of the certificate in {cert}"));
}

#[test]
fn a_relative_access_log_lies_below_prefix() {
    let log = |text: &str| read(&format!("prefix = '/data'\nproxy_access_log = '{text}'\n")).1.unwrap().access_log;
    assert_eq!(log("logs/access.log"), AccessLog::File("/data/logs/access.log".into()));
    assert_eq!(log("/var/log/a"), AccessLog::File("/var/log/a".into()));
    assert_eq!(log("/dev/stdout"), AccessLog::Stdout);
}

#[test]
fn the_store_is_encrypted_with_what_is_derived_from_the_cluster_key() {
    assert_eq!(
        mistakes("declarative_config_encryption_mode = 'aes-256-gcm'"),
        "1:1: declarative_config_encryption_mode: needs cluster_cert_key or declarative_config_encryption_key, of which \
         the key of the store is derived"
    );
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = pair(dir.path(), "cluster");
    let text = format!("cluster_cert = '{cert}'\ncluster_cert_key = '{key}'\n");
    let plain = read(&text).1.unwrap().encryption;
    assert!(plain.mode == store::Mode::Off && plain.secret.is_some(), "what was encrypted before can be read");
    let text = format!("{text}declarative_config_encryption_mode = 'chacha20-poly1305'\n");
    let encryption = read(&text).1.unwrap().encryption;
    assert_eq!((encryption.mode, &encryption.secret), (store::Mode::Chacha20Poly1305, &plain.secret));

    // A secret of its own, and the one before.
    let own = dir.path().join("own");
    std::fs::write(&own, [1; 32]).unwrap();
    let text = format!(
        "{text}declarative_config_encryption_key = '{}'\ndeclarative_config_encryption_key_former = '{key}'\n",
        own.display()
    );
    let encryption = read(&text).1.unwrap().encryption;
    assert_eq!((encryption.secret, encryption.former), (Some(store::Secret::new(&[1; 32])), plain.secret));
    assert!(mistakes("declarative_config_encryption_key = '/nowhere/key'").contains("No such file"));
}
