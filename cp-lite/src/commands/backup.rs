//! `cp-lite backup FILE` and `cp-lite restore FILE`: the whole configuration of a control plane in one file, and a new
//! database made of such a file. A control plane that runs is asked for it through its Admin API and goes on taking
//! changes meanwhile: the file holds one version, as it was. A restored database begins a new epoch, so that data planes
//! never mistake its versions for those that they know, of a term that takes the place of the one it was taken from.

use super::config::admin_client::AdminClient;
use super::config::block_on;
use crate::backup::{Origin, Pieces, read};
use crate::changelog::{Changelog, CommitError, Local, OpenError, Transaction};
use crate::config::Config;
use model::{Change, Record};
use os::file::Replacement;
use os::{Exit, ExitError};
use std::fmt::Display;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// The largest backup that is read, in bytes: more than one transaction takes.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Keys are in it: for nobody but its owner.
const FILE_MODE: u32 = 0o600;

/// Writes what the control plane holds to a file, durably, and reads it back before the file takes its name. One that is
/// stopped is read from its store; one that runs is asked at `admin_url`.
///
/// # Errors
/// When neither can be done, or the file cannot be written.
pub fn backup(config: &Config, file: &Path, admin_url: &str) -> Result<String, ExitError> {
    if !config.store_dir().is_dir() {
        return Err(ExitError::new(Exit::Io, format!("{}: there is no store yet", config.store_dir().display())));
    }
    match Local::open(&config.store_dir(), config.command_store_options()) {
        Ok((local, _)) => write(file, |out| {
            let mut pieces = Pieces::of(local.view());
            pieces
                .try_for_each(|piece| out.write_all(&piece))
                .map_err(|error| ExitError::from_io(file.display(), &error))
        }),
        Err(OpenError::Store(store::OpenError::Locked(_))) => online(file, admin_url),
        Err(error) => Err(crate::app::unopened(&error)),
    }
}

/// As [`backup`], of whatever control plane runs at `admin_url`.
///
/// # Errors
/// When it cannot be reached, or the file cannot be written.
pub fn online(file: &Path, admin_url: &str) -> Result<String, ExitError> {
    let client = AdminClient::new(admin_url)?;
    write(file, |out| block_on(client.download("/config/backup", FILE_BYTES_MAX, out)))
}

fn write(file: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<(), ExitError>) -> Result<String, ExitError> {
    let io = |error: io::Error| ExitError::from_io(file.display(), &error);
    let mut replacement = Replacement::begin(file, FILE_MODE).map_err(io)?;
    fill(replacement.file())?;
    let mut bytes = Vec::new();
    replacement.file().rewind().and_then(|()| replacement.file().read_to_end(&mut bytes)).map_err(io)?;
    let (records, Origin { epoch, version, .. }) = read(&bytes).map_err(|error| failed(file.display(), error))?;
    replacement.finish().map_err(io)?;
    Ok(format!(
        "{}: {} entities, version {version} of epoch {epoch:016x}, {} bytes. It holds keys and secrets in the clear.\n",
        file.display(),
        records.len(),
        bytes.len(),
    ))
}

/// Makes a new database of a backup, where there is none yet. It takes the place of the one that the backup was made of.
///
/// # Errors
/// When the file is no backup, there is a database that holds something, or the settings name a writer: the restored
/// database would not be the writer, and whoever is would refuse it.
pub fn restore(config: &Config, file: &Path) -> Result<String, ExitError> {
    if let Some(writer) = config.writers.first() {
        let why =
            format!("names {writer} as the writer, and what is restored is the writer itself; take that line away");
        return Err(failed("cluster_control_plane", why));
    }
    let bytes = os::file::read_bounded(file, FILE_BYTES_MAX);
    let bytes = bytes.map_err(|error| ExitError::from_io(file.display(), &error))?;
    let (records, origin) = read(&bytes).map_err(|error| failed(file.display(), error))?;
    let local = open(config)?;
    if local.view().version > 0 {
        let why = "holds a configuration already; move that directory away first";
        return Err(failed(config.store_dir().display(), why));
    }
    let count = records.len();
    restored(&local, records, origin).map_err(|error| failed(file.display(), error))?;
    let view = local.view();
    Ok(format!(
        "{}: {count} entities restored, as epoch {:016x} of term {}, in the place of epoch {:016x} of term {}.\n\
         Data planes that have been with a later one refuse it; \"cp-lite promote\" makes it the latest.\n",
        file.display(),
        view.epoch,
        view.term,
        origin.epoch,
        origin.term,
    ))
}

fn open(config: &Config) -> Result<Local, ExitError> {
    let opened = Local::open(&config.store_dir(), config.command_store_options());
    opened.map(|(local, _)| local).map_err(|error| match error {
        OpenError::Store(store::OpenError::Locked(_)) => {
            ExitError::new(Exit::Unavailable, "the control plane is running; stop it first")
        }
        error => crate::app::unopened(&error),
    })
}

fn failed(subject: impl Display, error: impl Display) -> ExitError {
    ExitError::new(Exit::Failed, format!("{subject}: {error}"))
}

/// Puts the entities into an empty database, in one transaction, which checks them as any other. Term and epoch come
/// first: cut off in between, there is an empty database, into which it can be restored again.
fn restored(local: &Local, records: Vec<Record>, origin: Origin) -> Result<(), Box<dyn std::error::Error>> {
    let changes = records.into_iter().map(Change::Put).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(async {
        local.succeed((origin.term, origin.epoch)).await?;
        let committed: Result<_, CommitError> = local.commit(Transaction { changes, preconditions: Vec::new() }).await;
        committed
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changelog::View;
    use model::body::ForeignKey;
    use model::kinds::{consumers::Consumer, keyauth_credentials::KeyauthCredential, services::Service};
    use model::{Id, Kind};
    use wire::succession::{promoted, replaces};

    fn open(dir: &Path) -> Local {
        Local::open(dir, store::Options::default()).unwrap().0
    }

    fn record(kind: Kind, id: u128, body: Vec<u8>) -> Record {
        Record { kind, id: Id(id), version: 0, tag: 0, body: body.into() }
    }

    fn filled(dir: &Path) -> Local {
        let consumer = ForeignKey { id: Id(1) };
        let named = |n: u128| Service { id: Id(n), name: Some(n.to_string()), host: "h".into(), ..Service::default() };
        let mut records = vec![
            record(Kind::Consumer, 1, Consumer { id: Id(1), ..Consumer::default() }.encode().unwrap()),
            record(
                Kind::KeyauthCredential,
                2,
                KeyauthCredential { id: Id(2), consumer, key: "k".into(), ..Default::default() }.encode().unwrap(),
            ),
        ];
        records.extend((10..40).map(|n| record(Kind::Service, n, named(n).encode().unwrap())));
        let local = open(dir);
        restored(&local, records, Origin { epoch: 7, term: 0, version: 1 }).unwrap();
        local
    }

    #[test]
    fn what_is_restored_is_what_was_backed_up_in_a_new_epoch() {
        let dir = tempfile::tempdir().unwrap();
        let before = filled(&dir.path().join("one")).view();
        let local = open(&dir.path().join("two"));
        let written = Pieces::of(before.clone()).collect::<Vec<_>>().concat();
        let (records, origin) = read(&written).unwrap();
        restored(&local, records, origin).unwrap();
        drop(local);
        let after = open(&dir.path().join("two")).view();
        assert_eq!((after.catalog.len(), after.catalog.digest()), (32, before.catalog.digest()));
        let numbers = |view: &View| (view.term, view.epoch);
        assert!(replaces(numbers(&after), numbers(&before)) && replaces(numbers(&before), (0, 7)));
        assert!(replaces((promoted(before.term, 0), 1), numbers(&after)), "a promotion since the backup counts");
        assert_eq!(after.catalog.find(Kind::KeyauthCredential, "key", "k"), Some(Id(2)));
    }
}
