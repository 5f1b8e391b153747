//! The typed settings of this node. [`keys`] is the table that they are read by; what comes out of here needs no
//! further check: addresses are addresses, and certificates and keys are read and belong together.

pub mod keys;
mod membership;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;
use pki::{Authorities, ClusterClient, ClusterIdentity, Material, Mtls, Verifier};
use settings::{Settings, listen};
use wire::limits::LABELS_MAX;

use crate::proxy::settings as proxy;
use crate::sync::choice::PLANES_MAX;
use crate::sync::heartbeat::Wish;
use crate::sync::tunnel::ProxyServer;

pub use settings::listen::Listen;

/// Everything that `edge-gateway run` needs to know.
pub struct Config {
    /// `prefix`
    pub prefix: PathBuf,
    /// `proxy_listen`
    pub proxy_listen: Vec<Listen>,
    /// `status_listen`
    pub status_listen: Vec<SocketAddr>,
    /// The control planes and how to talk to them, if there are any.
    pub cluster: Option<Cluster>,
    /// `declarative_config`
    pub declarative_config: Option<PathBuf>,
    /// `snapshot_bundle`
    pub snapshot_bundle: Option<PathBuf>,
    /// Whose bundles are believed, and who signs ours; none without `cluster_cert`.
    pub membership: Option<Verifier>,
    /// `declarative_config_encryption_mode`, and what the store's key is derived from.
    pub encryption: store::Encryption,
    /// What concerns proxying alone.
    pub proxy: proxy::Settings,
    /// `nginx_worker_processes`, counted.
    pub workers: usize,
    /// `proxy_access_log`
    pub access_log: AccessLog,
    /// `log_level`
    pub log_level: os::log::Level,
}

/// The way to the control planes.
pub struct Cluster {
    /// `cluster_control_plane`; at least one, each `host:port`.
    pub control_planes: Vec<String>,
    /// `proxy_server`, where `cluster_use_proxy` is on.
    pub proxy: Option<ProxyServer>,
    /// `cluster_heartbeat`
    pub heartbeat: Wish,
    /// Who we are.
    pub identity: ClusterIdentity,
    /// Our end of TLS.
    pub client: ClusterClient,
    /// `cluster_dp_labels`
    pub labels: Vec<(String, String)>,
    /// `incremental_sync`
    pub incremental: bool,
    /// `cluster_shrink_limit`
    pub shrink_limit: wire::shrink::Limit,
}

/// Where requests are logged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// This file.
    File(PathBuf),
}

impl Config {
    /// Takes the typed settings. `None` if something is wrong, which is then noted in `settings`.
    pub fn read(settings: &mut Settings) -> Option<Config> {
        let prefix = settings.text("prefix").map(PathBuf::from);
        let proxy_listen = settings.parsed_whole("proxy_listen", listen::listeners);
        let status_listen = settings.parsed_whole("status_listen", listen::addresses);
        let cluster = Cluster::read(settings);
        let declarative_config = settings.text("declarative_config").map(PathBuf::from);
        let snapshot_bundle = settings.text("snapshot_bundle").map(PathBuf::from);
        let membership = membership::read(settings);
        if snapshot_bundle.is_some() && settings.text("cluster_cert").is_none() {
            settings.mistake(
                "snapshot_bundle",
                "needs cluster_cert and cluster_cert_key, which tell whose bundles to take",
            );
        }
        let encryption = encryption(settings);
        let proxy = read_proxy(settings);
        let workers = settings.parsed("nginx_worker_processes", workers);
        let access_log = settings.text("proxy_access_log").zip(prefix.as_deref()).map(access_log);
        let log_level = settings.parsed("log_level", |name| os::log::Level::parse(name).ok_or_else(String::new));
        Some(Config {
            prefix: prefix?,
            proxy_listen: proxy_listen?,
            status_listen: status_listen?,
            cluster: cluster?,
            declarative_config,
            snapshot_bundle,
            membership,
            encryption: encryption?,
            proxy: proxy?,
            workers: workers?,
            access_log: access_log?,
            log_level: log_level?,
        })
    }
}

impl Config {
    /// Where the store is.
    pub fn store_dir(&self) -> PathBuf {
        self.prefix.join("store")
    }

    /// How the store is to be opened.
    pub fn store_options(&self) -> store::Options {
        store::Options { encryption: self.encryption.clone(), ..store::Options::default() }
    }
}

impl Cluster {
    /// `Some(None)` where no control plane is set. What is set all the same is checked all the same.
    fn read(settings: &mut Settings) -> Option<Option<Cluster>> {
        let control_planes = settings.parsed_list("cluster_control_plane", host_and_port);
        if control_planes.as_ref().is_some_and(|planes| planes.len() > PLANES_MAX) {
            settings.mistake("cluster_control_plane", format!("more than {PLANES_MAX} control planes"));
        }
        let proxy = cluster_proxy(settings);
        let heartbeat = settings.parsed("cluster_heartbeat", Wish::parse);
        let labels = settings.parsed_list("cluster_dp_labels", label);
        if labels.as_ref().is_some_and(|labels| labels.len() > LABELS_MAX) {
            settings.mistake("cluster_dp_labels", format!("more than {LABELS_MAX} labels"));
        }
        let identity = identity(settings, control_planes.as_ref().is_some_and(|planes| !planes.is_empty()));
        let mode = settings.text("cluster_mtls").unwrap_or_default();
        let mtls = Mtls::load(mode, settings.text("cluster_ca_cert"));
        let mtls = settings.noted("cluster_ca_cert", mtls);
        if control_planes.as_ref().is_some_and(Vec::is_empty) {
            return Some(None);
        }
        let (identity, mtls) = (identity?, mtls?);
        let client = ClusterClient::new(&identity, mtls, settings.text("cluster_server_name"));
        let client = settings.noted("cluster_server_name", client);
        Some(Some(Cluster {
            control_planes: control_planes?,
            proxy: proxy?,
            heartbeat: heartbeat?,
            identity,
            client: client?,
            labels: labels?,
            incremental: settings.flag("incremental_sync"),
            shrink_limit: wire::shrink::Limit::percent(settings.number("cluster_shrink_limit")),
        }))
    }
}

/// Kong: `proxy_server` alone does nothing. What is set all the same is checked all the same.
fn cluster_proxy(settings: &mut Settings) -> Option<Option<ProxyServer>> {
    let used = settings.flag("cluster_use_proxy");
    if settings.text("proxy_server").is_none() {
        if used {
            settings.mistake("cluster_use_proxy", "needs proxy_server");
        }
        return (!used).then_some(None);
    }
    let server = settings.parsed("proxy_server", ProxyServer::parse)?;
    Some(used.then_some(server))
}

fn identity(settings: &mut Settings, required: bool) -> Option<ClusterIdentity> {
    let material = |text: &str| Material::load(text).map_err(|error| error.to_string());
    let cert = settings.parsed("cluster_cert", material);
    let key = settings.parsed("cluster_cert_key", material);
    for name in ["cluster_cert", "cluster_cert_key"] {
        if required && settings.text(name).is_none() {
            settings.mistake(name, "must be set where cluster_control_plane is; \"cp-lite hybrid gen_cert\" makes one");
        }
    }
    settings.noted("cluster_cert", ClusterIdentity::from_material(&cert?, &key?))
}

/// The secret is given without encryption too: what was encrypted before must be read.
fn encryption(settings: &mut Settings) -> Option<store::Encryption> {
    let mode = settings.parsed("declarative_config_encryption_mode", |name| {
        store::Mode::parse(name).ok_or_else(|| format!("\"{name}\" is not a mode"))
    })?;
    let secret = secret(settings, "declarative_config_encryption_key")?;
    let former = self::secret(settings, "declarative_config_encryption_key_former")?;
    let key = settings.text("cluster_cert_key").map(Material::load);
    if mode != store::Mode::Off && secret.is_none() && key.is_none() {
        let why =
            "needs cluster_cert_key or declarative_config_encryption_key, of which the key of the store is derived";
        settings.mistake("declarative_config_encryption_mode", why);
        return None;
    }
    // A cluster key that cannot be read is reported as such.
    let key = key.and_then(|key| key.ok()?.private_key().ok());
    let secret = secret.or_else(|| Some(store::Secret::new(key?.secret_der())));
    Some(store::Encryption { mode, secret, former })
}

/// The secret that a setting names, if it is set. The outer `None`: it cannot be read, which is then noted.
fn secret(settings: &mut Settings, name: &str) -> Option<Option<store::Secret>> {
    let Some(text) = settings.text(name) else { return Some(None) };
    let read = Material::load(text).and_then(|material| material.secret());
    settings.noted(name, read).map(|bytes| Some(store::Secret::new(&bytes)))
}

fn read_proxy(settings: &mut Settings) -> Option<proxy::Settings> {
    let trusted_ips = settings.parsed_list("trusted_ips", network);
    let real_ip_header = settings.parsed("real_ip_header", |text| {
        text.parse::<HeaderName>().map_err(|_| format!("\"{text}\" is not the name of a header"))
    });
    let headers = settings.parsed_whole("headers", |words| {
        let words = proxy::ResponseHeaders::parse(words.iter().map(String::as_str));
        words.map_err(|unknown| format!("unknown word \"{}\"", unknown.0))
    });
    let request_id_upstream = settings.parsed_whole("headers_upstream", headers_upstream);
    let trusted_certificates = trusted_certificates(settings);
    let number = |name| settings.number(name);
    Some(proxy::Settings {
        real_ip_recursive: settings.flag("real_ip_recursive"),
        allow_debug_header: settings.flag("allow_debug_header"),
        keepalive_pool_size: usize::try_from(number("upstream_keepalive_pool_size")).ok()?,
        keepalive_max_requests: u32::try_from(number("upstream_keepalive_max_requests")).ok()?,
        keepalive_idle_timeout: Duration::from_secs(number("upstream_keepalive_idle_timeout")),
        trusted_ips: trusted_ips?,
        real_ip_header: real_ip_header?,
        headers: headers?,
        request_id_upstream: request_id_upstream?,
        trusted_certificates: trusted_certificates?,
        ..proxy::Settings::default()
    })
}

/// A machine without CA certificates of its own is no mistake until a service asks for them.
fn trusted_certificates(settings: &mut Settings) -> Option<Option<Arc<Authorities>>> {
    let mut all = Authorities::none();
    let mut mistakes = Vec::new();
    for item in settings.list("lua_ssl_trusted_certificate") {
        let read = match item.as_str() {
            "system" => Ok(Authorities::system().unwrap_or_else(|_| Authorities::none())),
            path => Material::load(path).and_then(|material| Authorities::load(&material)),
        };
        match read {
            Ok(more) => all.merge(more),
            Err(error) => mistakes.push(error.to_string()),
        }
    }
    for why in &mistakes {
        settings.mistake("lua_ssl_trusted_certificate", why);
    }
    mistakes.is_empty().then(|| (!all.is_empty()).then(|| Arc::new(all)))
}

fn host_and_port(text: &str) -> Result<String, String> {
    let valid = text.rsplit_once(':').is_some_and(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        !host.is_empty() && (bracketed || !host.contains(':')) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if valid { Ok(text.to_owned()) } else { Err(format!("\"{text}\" is not HOST:PORT, such as cp.example.com:8005")) }
}

/// Kong: keys and values of 1 to 63 letters, digits, `-`, `_` and `.`, letters or digits at both ends.
fn label(text: &str) -> Result<(String, String), String> {
    const LENGTH_MAX: usize = 63;
    let good = |part: &str| {
        part.len() <= LENGTH_MAX
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            && part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    match text.split_once(':') {
        Some((key, value)) if good(key) && good(value) => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!(
            "\"{text}\" is not KEY:VALUE with 1 to {LENGTH_MAX} letters, digits, \"-\", \"_\" and \".\" each, \
             a letter or digit at both ends"
        )),
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    text.parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
        .map_err(|_| format!("\"{text}\" is not an address or a network such as 10.0.0.0/8"))
}

fn headers_upstream(words: &[String]) -> Result<bool, String> {
    let mut request_id = false;
    for word in words {
        match word.to_ascii_lowercase().as_str() {
            "off" => {}
            "x-kong-request-id" => request_id = true,
            _ => return Err(format!("unknown word \"{word}\"")),
        }
    }
    Ok(request_id)
}

fn workers(text: &str) -> Result<usize, String> {
    if text == "auto" {
        return Ok(std::thread::available_parallelism().map_or(1, usize::from));
    }
    match text.parse() {
        Ok(count) if (1..=keys::WORKERS_MAX).contains(&(count as u64)) => Ok(count),
        _ => Err(format!("\"{text}\" is neither auto nor a number from 1 to {}", keys::WORKERS_MAX)),
    }
}

/// Kong: a path that does not begin at the root begins at `prefix`.
fn access_log((text, prefix): (&str, &Path)) -> AccessLog {
    match text {
        "off" | "" => AccessLog::Off,
        "/dev/stdout" => AccessLog::Stdout,
        path => AccessLog::File(prefix.join(path)),
    }
}

#[cfg(test)]
mod tests;
