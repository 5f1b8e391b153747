//! The typed settings of this control plane. [`keys`] is the table that they are read by; what comes out of here needs
//! no further check: addresses are addresses, and certificates and keys are read and belong together.

pub mod keys;

use crate::admin::check_listen;
use pki::{ClusterClient, ClusterIdentity, Material, Mtls};
use serde_json::{Map, Value};
use settings::{Settings, listen};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Everything that `cp-lite run` needs to know.
pub struct Config {
    /// `prefix`
    pub prefix: PathBuf,
    /// `admin_listen`; loopback addresses only.
    pub admin_listen: Vec<SocketAddr>,
    /// `cluster_listen`
    pub cluster_listen: Vec<SocketAddr>,
    /// Who we are to data planes: `cluster_cert` with its key.
    pub identity: ClusterIdentity,
    /// `cluster_mtls`, and whom it trusts.
    pub mtls: Mtls,
    /// `cluster_control_plane`: whom to follow; empty for a writer.
    pub writers: Vec<String>,
    /// The calling end of the link to them.
    pub client: ClusterClient,
    /// `cluster_advertise`; empty if unset.
    pub address: String,
    /// `cluster_max_data_planes` and `cluster_max_full_syncs`.
    pub bounds: (usize, usize),
    /// `cluster_shrink_limit`
    pub shrink_limit: wire::shrink::Limit,
    /// `cluster_data_plane_purge_delay`, in seconds.
    pub purge_delay_s: u64,
    /// `incremental_sync`
    pub incremental: bool,
    /// `declarative_config_encryption_mode`, and what the store's key is derived from.
    pub encryption: store::Encryption,
    /// `log_level`
    pub log_level: os::log::Level,
    /// All settings that are no secrets, as the Admin API shows them.
    pub shown: Map<String, Value>,
}

impl Config {
    /// Takes the typed settings. `None` if something is wrong, which is then noted in `settings`.
    pub fn read(settings: &mut Settings) -> Option<Config> {
        let prefix = settings.text("prefix").map(PathBuf::from);
        let admin_listen = settings.parsed_whole("admin_listen", admin_addresses);
        let cluster_listen = settings.parsed_whole("cluster_listen", listen::addresses);
        let identity = identity(settings);
        let encryption = encryption(settings);
        let mode = settings.text("cluster_mtls").unwrap_or_default();
        let mtls = Mtls::load(mode, settings.text("cluster_ca_cert"));
        let mtls = settings.noted("cluster_ca_cert", mtls);
        let writers = settings.parsed_list("cluster_control_plane", host_and_port);
        let address = match settings.text("cluster_advertise") {
            None => Some(String::new()),
            Some(_) => settings.parsed("cluster_advertise", host_and_port),
        };
        if let (Some(writers), Some(address)) = (&writers, &address)
            && !writers.is_empty()
            && writers.iter().all(|writer| writer == address)
        {
            settings.mistake("cluster_control_plane", "names nobody but this control plane itself (cluster_advertise)");
        }
        let client = identity.as_ref().zip(mtls.clone()).map(|(identity, mtls)| {
            ClusterClient::new(identity, mtls, settings.text("cluster_server_name")).map_err(|error| error.to_string())
        });
        let client = client.and_then(|client| settings.noted("cluster_server_name", client));
        let log_level = settings.parsed("log_level", |name| os::log::Level::parse(name).ok_or_else(String::new));
        let number = |name| usize::try_from(settings.number(name)).ok();
        Some(Config {
            prefix: prefix?,
            admin_listen: admin_listen?,
            cluster_listen: cluster_listen?,
            identity: identity?,
            mtls: mtls?,
            writers: writers?,
            client: client?,
            address: address?,
            bounds: (number("cluster_max_data_planes")?, number("cluster_max_full_syncs")?),
            shrink_limit: wire::shrink::Limit::percent(settings.number("cluster_shrink_limit")),
            purge_delay_s: settings.number("cluster_data_plane_purge_delay"),
            incremental: settings.flag("incremental_sync"),
            encryption: encryption?,
            log_level: log_level?,
            shown: shown(settings),
        })
    }
}

impl Config {
    /// Where the database is.
    pub fn store_dir(&self) -> PathBuf {
        self.prefix.join("store")
    }

    /// How the daemon is to open it: its log and the service manager hear how far that has come.
    pub fn store_options(&self) -> store::Options {
        self.store_options_heard_by(|records, of| {
            tracing::info!(records, of, "reading the store");
            os::notify::status(&format!("reading the store: {records} of {of} records"));
        })
    }

    /// How a command is to open it: whoever sits before it hears.
    pub fn command_store_options(&self) -> store::Options {
        self.store_options_heard_by(|records, of| {
            // Nobody reading it is no reason to end.
            let _ = writeln!(std::io::stderr(), "reading the store: {records} of {of} records");
        })
    }

    fn store_options_heard_by(&self, tell: impl Fn(u64, u64) + Send + Sync + 'static) -> store::Options {
        let progress = store::Progress::new(tell);
        store::Options { encryption: self.encryption.clone(), progress, ..store::Options::default() }
    }
}

fn identity(settings: &mut Settings) -> Option<ClusterIdentity> {
    let material = |text: &str| Material::load(text).map_err(|error| error.to_string());
    let cert = settings.parsed("cluster_cert", material);
    let key = settings.parsed("cluster_cert_key", material);
    for name in ["cluster_cert", "cluster_cert_key"] {
        if settings.text(name).is_none() {
            settings.mistake(name, "must be set; \"cp-lite hybrid gen_cert\" makes one");
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
    // A cluster key that is missing or cannot be read is reported as such.
    let key = settings.text("cluster_cert_key").and_then(|text| Material::load(text).ok()?.private_key().ok());
    let secret = secret.or_else(|| Some(store::Secret::new(key?.secret_der())));
    Some(store::Encryption { mode, secret, former })
}

/// The secret that a setting names, if it is set. The outer `None`: it cannot be read, which is then noted.
fn secret(settings: &mut Settings, name: &str) -> Option<Option<store::Secret>> {
    let Some(text) = settings.text(name) else { return Some(None) };
    let read = Material::load(text).and_then(|material| material.secret());
    settings.noted(name, read).map(|bytes| Some(store::Secret::new(&bytes)))
}

/// A control plane as one names it, `HOST:PORT`.
fn host_and_port(text: &str) -> Result<String, String> {
    let valid = text.rsplit_once(':').is_some_and(|(host, port)| {
        let bare = !host.contains(':') || (host.starts_with('[') && host.ends_with(']'));
        !host.is_empty() && bare && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if valid { Ok(text.to_owned()) } else { Err(format!("\"{text}\" is not HOST:PORT, such as cp.example.com:8005")) }
}

fn shown(settings: &Settings) -> Map<String, Value> {
    let public = settings.iter().filter(|(key, _)| !key.secret);
    public.map(|(key, value)| (key.name.to_owned(), value.map_or(Value::Null, json))).collect()
}

fn json(value: &settings::Value) -> Value {
    match value {
        settings::Value::Text(text) => Value::from(text.as_str()),
        settings::Value::Flag(flag) => Value::from(*flag),
        settings::Value::Number(number) => Value::from(*number),
        settings::Value::List(list) => Value::from(list.as_slice()),
    }
}

fn admin_addresses(items: &[String]) -> Result<Vec<SocketAddr>, String> {
    let addresses = listen::addresses(items)?;
    for address in &addresses {
        check_listen(*address).map_err(|_| {
            format!("{address} can be reached from other machines, and the Admin API has no access control yet; use 127.0.0.1")
        })?;
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use settings::Sources;

    fn read(text: &str) -> (Settings, Option<Config>) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cp-lite.toml");
        std::fs::write(&file, text).unwrap();
        let mut settings = Sources {
            keys: keys::KEYS,
            prefix: "CP_LITE",
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
        let told = read(text).0.finish().unwrap_err().to_string();
        // The file lies in a directory with a random name.
        let lines = told.lines().map(|line| line.split_once("cp-lite.toml:").map_or(line, |(_, rest)| rest));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Settings with a certificate, and these.
    fn with_certificate(text: &str) -> String {
        let pair = pki::issue::gen_cert(10, 1_800_000_000).unwrap();
        format!("{text}\ncluster_cert = '''{}'''\ncluster_cert_key = '''{}'''\n", pair.cert_pem, pair.key_pem)
    }

    #[test]
    fn defaults_are_kongs() {
        let (settings, config) = read(&with_certificate(""));
        settings.finish().unwrap();
        let config = config.unwrap();
        assert_eq!(config.admin_listen, ["127.0.0.1:8001".parse().unwrap()]);
        assert_eq!(config.cluster_listen, ["0.0.0.0:8005".parse().unwrap()]);
        assert_eq!(config.purge_delay_s, crate::fleet::PURGE_DELAY_DEFAULT_S);
        assert_eq!(config.identity.common_name(), Some("kong_clustering"));
        assert!(config.incremental);
    }

    #[test]
    fn the_admin_api_shows_settings_and_no_secrets() {
        let shown = read(&with_certificate("admin_listen = 'off'")).1.unwrap().shown;
        assert_eq!(shown["admin_listen"], serde_json::json!(["off"]));
        assert_eq!(shown["incremental_sync"], serde_json::json!(true));
        assert_eq!(shown["cluster_ca_cert"], Value::Null);
        assert!(!Value::Object(shown).to_string().contains("PRIVATE"));
    }

    #[test]
    fn an_admin_api_for_other_machines_is_refused() {
        assert_eq!(
            mistakes(&with_certificate("admin_listen = ['127.0.0.1:8001', '0.0.0.0:8001']")),
            "1:1: admin_listen: 0.0.0.0:8001 can be reached from other machines, and the Admin API has no access \
             control yet; use 127.0.0.1"
        );
    }

    #[test]
    fn a_follower_names_its_writers_and_not_only_itself() {
        let text = "cluster_control_plane = ['cp-1:8005', '[::1]:8005']\ncluster_advertise = 'cp-2:8005'";
        let config = read(&with_certificate(text)).1.unwrap();
        assert_eq!((config.writers.len(), config.address.as_str()), (2, "cp-2:8005"));
        assert!(read(&with_certificate("")).1.unwrap().writers.is_empty());
        assert_eq!(
            mistakes(&with_certificate("cluster_control_plane = ['cp', '::1:8005']\ncluster_advertise = 'cp-2'")),
            "\
1:1: cluster_control_plane: \"cp\" is not HOST:PORT, such as cp.example.com:8005
2:1: cluster_advertise: \"cp-2\" is not HOST:PORT, such as cp.example.com:8005"
        );
        assert_eq!(
            mistakes(&with_certificate("cluster_control_plane = 'cp-2:8005'\ncluster_advertise = 'cp-2:8005'")),
            "1:1: cluster_control_plane: names nobody but this control plane itself (cluster_advertise)"
        );
    }

    #[test]
    fn a_control_plane_needs_a_certificate() {
        assert_eq!(
            mistakes("cluster_data_plane_purge_delay = 59"),
            "\
1:34: cluster_data_plane_purge_delay: expected a whole number from 60 to 315360000, not 59
cluster_cert: must be set; \"cp-lite hybrid gen_cert\" makes one
cluster_cert_key: must be set; \"cp-lite hybrid gen_cert\" makes one"
        );
    }
}
