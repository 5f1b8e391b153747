//! Secrets from the service manager: systemd puts each credential as a file into `$CREDENTIALS_DIRECTORY`
//! (systemd.exec(5), `LoadCredential=`), readable by this service alone.

use std::path::PathBuf;

/// The directory, if the service manager gave one.
pub fn directory() -> Option<PathBuf> {
    std::env::var_os("CREDENTIALS_DIRECTORY").filter(|path| !path.is_empty()).map(PathBuf::from)
}
