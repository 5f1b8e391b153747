//! The one directory that a quickstart works in and leaves behind: certificates, settings, state and logs.
//!
//! A marker says that a directory is a quickstart's; anything else that is not empty is left alone. A lock on the
//! marker keeps a second quickstart out while one runs.

use super::ports::Addresses;
use crate::commands::hybrid::GenCert;
use os::{Exit, ExitError};
use pki::ClusterIdentity;
use pki::issue::CLUSTER_DAYS_DEFAULT;
use serde_json::Value;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// Where a quickstart works unless told otherwise.
pub(super) const DEFAULT: &str = "quickstart";

const MARKER: &str = ".cp-lite-quickstart";
const MARKER_TEXT: &str = "cp-lite quickstart made this directory. It can be deleted whenever none runs in it.\n";
/// A certificate that ends sooner than this many seconds from now is made anew.
const CERTIFICATE_LEFT_MIN_S: i64 = 86_400;
/// The certificates' key is nobody else's business, and neither is the rest.
const FILE_MODE: u32 = 0o600;

/// A directory that is ours while this value lives.
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Makes it, or takes one of an earlier quickstart.
    ///
    /// # Errors
    /// It is or holds something else (64), another quickstart runs in it (69), or the operating system refuses (74, 77).
    pub(super) fn open(path: &Path) -> Result<Directory, ExitError> {
        let failed = |error: io::Error| ExitError::from_io(path.display(), &error);
        if path.exists() && !path.is_dir() {
            return Err(ExitError::usage(format!("{} is not a directory", path.display())));
        }
        fs::create_dir_all(path).map_err(failed)?;
        // Settings name paths in full, so that the daemons can be started from anywhere.
        let path = path.canonicalize().map_err(failed)?;
        let marker = path.join(MARKER);
        if !marker.exists() && fs::read_dir(&path).map_err(failed)?.next().is_some() {
            return Err(ExitError::usage(format!(
                "{} is not empty, and no quickstart made it; name another directory",
                path.display()
            )));
        }
        let lock = File::options().create(true).append(true).open(&marker).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("another quickstart runs in {}", path.display());
                return Err(ExitError::new(Exit::Unavailable, message));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        fs::write(&marker, MARKER_TEXT).map_err(failed)?;
        Ok(Directory { path, _lock: lock })
    }

    /// Where it is, in full.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes cluster certificates, unless there are some that will do.
    pub(super) fn certificates(&self, now_s: u64) -> Result<(), ExitError> {
        let (cert, key) = (self.file("cluster.crt"), self.file("cluster.key"));
        if self.certificates_last(&cert, &key, now_s) {
            return Ok(());
        }
        for path in [&cert, &key] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(ExitError::from_io(path.display(), &error));
                }
                _ => {}
            }
        }
        GenCert { cert: &cert, key: &key, days: CLUSTER_DAYS_DEFAULT }.run(now_s).map(drop)
    }

    fn certificates_last(&self, cert: &Path, key: &Path, now_s: u64) -> bool {
        let (Some(cert), Some(key)) = (cert.to_str(), key.to_str()) else { return false };
        let now = i64::try_from(now_s).unwrap_or(i64::MAX);
        ClusterIdentity::load(cert, key)
            .is_ok_and(|identity| identity.validity().not_after > now.saturating_add(CERTIFICATE_LEFT_MIN_S))
    }

    /// Writes both settings files.
    pub(super) fn settings(&self, addresses: &Addresses) -> Result<(), ExitError> {
        self.write("cp-lite.toml", &control_plane(&self.path, addresses)?)?;
        self.write("edge-gateway.toml", &data_plane(&self.path, addresses)?)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), ExitError> {
        let path = self.file(name);
        os::file::replace(&path, text.as_bytes(), FILE_MODE).map_err(|error| ExitError::from_io(path.display(), &error))
    }
}

fn control_plane(dir: &Path, addresses: &Addresses) -> Result<String, ExitError> {
    toml(
        dir,
        "cp-lite",
        &[("admin_listen", addresses.admin.to_string()), ("cluster_listen", addresses.cluster.to_string())],
    )
}

fn data_plane(dir: &Path, addresses: &Addresses) -> Result<String, ExitError> {
    toml(
        dir,
        "edge-gateway",
        &[
            ("proxy_listen", addresses.proxy.to_string()),
            ("status_listen", addresses.status.to_string()),
            ("cluster_control_plane", addresses.cluster.to_string()),
            ("allow_debug_header", "on".to_owned()),
        ],
    )
}

/// A settings file: what both programs have in common, and these.
fn toml(dir: &Path, program: &str, settings: &[(&str, String)]) -> Result<String, ExitError> {
    let mut text = format!(
        "# cp-lite quickstart writes this file whenever it starts. Settings to keep go into {program}.toml.d/*.toml.\n"
    );
    let files = [("prefix", program), ("cluster_cert", "cluster.crt"), ("cluster_cert_key", "cluster.key")];
    for (key, name) in files {
        let path = dir.join(name);
        let path = path.to_str().ok_or_else(|| {
            ExitError::usage(format!("{}: the name is not UTF-8; name another directory", dir.display()))
        })?;
        text.push_str(&line(key, path));
    }
    for (key, value) in settings {
        text.push_str(&line(key, value));
    }
    Ok(text)
}

/// A text of JSON is one of TOML.
fn line(key: &str, value: &str) -> String {
    format!("{key} = {}\n", Value::from(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, keys::KEYS};
    use settings::Sources;

    const NOW: u64 = 1_800_000_000;

    fn refused(path: &Path) -> ExitError {
        Directory::open(path).err().unwrap()
    }

    #[test]
    fn works_in_a_new_an_empty_and_an_earlier_directory_and_in_no_other() {
        let dir = tempfile::tempdir().unwrap();
        Directory::open(dir.path()).unwrap();
        Directory::open(dir.path()).unwrap();
        Directory::open(&dir.path().join("a/b")).unwrap();

        let other = dir.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("thesis.tex"), "").unwrap();
        let error = refused(&other);
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.message.contains("not empty"), "{error}");
        assert_eq!(fs::read_dir(&other).unwrap().count(), 1);
        assert_eq!(refused(&other.join("thesis.tex")).exit, Exit::Usage);
    }

    #[test]
    fn one_quickstart_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = Directory::open(dir.path()).unwrap();
        assert_eq!(refused(dir.path()).exit, Exit::Unavailable);
        drop(first);
        Directory::open(dir.path()).unwrap();
    }

    #[test]
    fn certificates_are_kept_until_they_are_of_no_use() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(dir.path()).unwrap();
        let key = || fs::read(directory.file("cluster.key")).unwrap();
        directory.certificates(NOW).unwrap();
        let first = key();
        directory.certificates(NOW + 1).unwrap();
        assert_eq!(key(), first);

        let ended = NOW + u64::from(CLUSTER_DAYS_DEFAULT) * 86_400;
        directory.certificates(ended).unwrap();
        let second = key();
        assert_ne!(second, first);

        fs::write(directory.file("cluster.crt"), "rubbish").unwrap();
        directory.certificates(ended).unwrap();
        assert_ne!(key(), second);
    }

    #[test]
    fn the_control_plane_takes_its_settings_whatever_the_directory_is_called() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::open(&dir.path().join("a \"quoted\" \\ näme")).unwrap();
        directory.certificates(NOW).unwrap();
        let address = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let addresses = Addresses { proxy: address(1), admin: address(2), cluster: address(3), status: address(4) };
        directory.settings(&addresses).unwrap();
        let file = directory.file("cp-lite.toml");
        let mut settings = Sources {
            keys: KEYS,
            prefix: "CP_LITE",
            file,
            file_required: true,
            credentials: None,
            environment: Vec::new(),
            flags: Vec::new(),
        }
        .read();
        let config = Config::read(&mut settings);
        settings.finish().unwrap();
        let config = config.unwrap();
        assert_eq!(config.prefix, directory.file("cp-lite"));
        assert_eq!((config.admin_listen, config.cluster_listen), (vec![address(2)], vec![address(3)]));
    }
}
