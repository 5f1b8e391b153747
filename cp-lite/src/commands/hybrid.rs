//! `cp-lite hybrid gen_cert`: makes the certificate that a control plane and its data planes share, as Kong's command
//! of that name does.

use os::{Exit, ExitError};
use pki::issue::{CLUSTER_DAYS_DEFAULT, CLUSTER_DAYS_MAX};
use std::path::Path;

/// Anyone may see the certificate.
const CERT_MODE: u32 = 0o644;
/// Whoever holds the key belongs to the cluster.
const KEY_MODE: u32 = 0o600;

/// What to make.
pub struct GenCert<'a> {
    /// Where the certificate goes.
    pub cert: &'a Path,
    /// Where the key goes.
    pub key: &'a Path,
    /// How many days it lasts.
    pub days: u32,
}

impl GenCert<'_> {
    /// Takes operands and `--days` as they were typed.
    ///
    /// # Errors
    /// When only one of both paths is given, or the days are no such number.
    pub fn parse<'a>(operands: &'a [String], days: Option<&str>) -> Result<GenCert<'a>, ExitError> {
        let (cert, key) = match operands {
            [] => ("cluster.crt", "cluster.key"),
            [cert, key] => (cert.as_str(), key.as_str()),
            _ => return Err(ExitError::usage("give both paths, CERT and KEY, or none")),
        };
        let days = match days.map(str::parse) {
            None => CLUSTER_DAYS_DEFAULT,
            Some(Ok(days)) if (1..=CLUSTER_DAYS_MAX).contains(&days) => days,
            Some(_) => return Err(ExitError::usage(format!("DAYS must be a number from 1 to {CLUSTER_DAYS_MAX}"))),
        };
        Ok(GenCert { cert: Path::new(cert), key: Path::new(key), days })
    }

    /// Writes both files, durably and only where there are none yet; `now` is in seconds since 1970. Answers what to
    /// tell.
    ///
    /// # Errors
    /// When a file is there already (74), or cannot be written (74, 77). None is left behind then.
    pub fn run(&self, now: u64) -> Result<String, ExitError> {
        for path in [self.cert, self.key] {
            if path.symlink_metadata().is_ok() {
                return Err(ExitError::new(Exit::Io, format!("{} exists; it is not overwritten", path.display())));
            }
        }
        let pair = pki::issue::gen_cert(self.days, now).map_err(|error| ExitError::internal(error.to_string()))?;
        let failed = |path: &Path, error: &std::io::Error| ExitError::from_io(path.display(), error);
        os::file::create(self.key, pair.key_pem.as_bytes(), KEY_MODE).map_err(|error| failed(self.key, &error))?;
        if let Err(error) = os::file::create(self.cert, pair.cert_pem.as_bytes(), CERT_MODE) {
            // A key without its certificate is of no use, and would stand in the way of the next attempt.
            let _ = std::fs::remove_file(self.key);
            return Err(failed(self.cert, &error));
        }
        Ok(format!(
            "Wrote {} and {}, valid for {} days. All nodes of the cluster need both; keep the key secret.\n",
            self.cert.display(),
            self.key.display(),
            self.days
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const NOW: u64 = 1_800_000_000;

    #[test]
    fn writes_a_pair_that_a_cluster_can_use_with_kongs_modes() {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = (dir.path().join("a.crt"), dir.path().join("a.key"));
        GenCert { cert: &cert, key: &key, days: 30 }.run(NOW).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&cert), mode(&key)), (0o644, 0o600));
        let identity = pki::ClusterIdentity::load(cert.to_str().unwrap(), key.to_str().unwrap()).unwrap();
        assert_eq!(identity.validity().not_after, NOW as i64 + 30 * 86_400);
    }

    #[test]
    fn overwrites_nothing_and_leaves_no_half() {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = (dir.path().join("a.crt"), dir.path().join("a.key"));
        std::fs::write(&key, "precious").unwrap();
        let error = GenCert { cert: &cert, key: &key, days: 30 }.run(NOW).unwrap_err();
        assert_eq!(error.exit, Exit::Io);
        assert_eq!(error.message, format!("{} exists; it is not overwritten", key.display()));
        assert_eq!(std::fs::read(&key).unwrap(), b"precious");
        assert!(!cert.exists());

        let (nowhere, key) = (dir.path().join("no/such/a.crt"), dir.path().join("b.key"));
        GenCert { cert: &nowhere, key: &key, days: 30 }.run(NOW).unwrap_err();
        assert!(!key.exists());
    }

    #[test]
    fn defaults_are_kongs_and_nonsense_is_refused() {
        let default = GenCert::parse(&[], None).unwrap();
        assert_eq!(
            (default.cert, default.key, default.days),
            (Path::new("cluster.crt"), Path::new("cluster.key"), 1095)
        );
        assert!(GenCert::parse(&["a".to_owned()], None).is_err());
        for days in ["0", "-1", "soon", "36501"] {
            assert!(GenCert::parse(&[], Some(days)).is_err(), "{days}");
        }
    }
}
