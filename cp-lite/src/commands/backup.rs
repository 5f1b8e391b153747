//! `cp-lite backup FILE` and `cp-lite restore FILE`: the whole configuration of a control plane that is stopped, in one
//! file, and a new database made of such a file. A restored database begins a new epoch, so that data planes never
//! mistake its versions for those that they know.
//!
//! The file is `EGbackup`, then u32 format (1), u64 epoch, u64 version, u64 digest (the wrapping sum of all tags), u32
//! count, then per entity u8 kind, 16 bytes id, u64 tag, u32 length, the body (numbers little-endian). It is not
//! encrypted, whatever the store is.

use crate::changelog::{Changelog, CommitError, Local, OpenError, Transaction, View};
use crate::config::Config;
use model::kind::ALL;
use model::record::BODY_BYTES_MAX;
use model::{Change, Id, Kind, Record};
use os::{Exit, ExitError};
use std::fmt::Display;
use std::path::Path;

const MAGIC: &[u8; 8] = b"EGbackup";
const FORMAT: u32 = 1;
/// The largest backup that is read, in bytes: more than one transaction takes.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Keys are in it: for nobody but its owner.
const FILE_MODE: u32 = 0o600;

/// Why a file is no backup that can be restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupError {
    /// It does not begin as one.
    #[error("not a backup")]
    NotABackup,
    /// A newer program wrote it.
    #[error("a backup of format {0}; this program reads format {FORMAT}")]
    Format(u32),
    /// It ends too early, or goes on after its end.
    #[error("its length is not what it says")]
    Length,
    /// An entity is of a kind that this program does not have.
    #[error("it holds entities of kind {0}, unknown to this version")]
    Kind(u8),
    /// An entity is not what it was.
    #[error("it is damaged: {0} {1} is not what it was")]
    Damaged(&'static str, Id),
    /// Entities are missing or foreign.
    #[error("it is damaged: the digest of its entities is not what it says")]
    Digest,
}

/// Writes what the stopped control plane holds to a file.
///
/// # Errors
/// When the control plane runs, its store cannot be read, or the file cannot be written.
pub fn backup(config: &Config, file: &Path) -> Result<String, ExitError> {
    if !config.store_dir().is_dir() {
        return Err(ExitError::new(Exit::Io, format!("{}: there is no store yet", config.store_dir().display())));
    }
    let view = open(config)?.view();
    let bytes = written(&view);
    os::file::replace(file, &bytes, FILE_MODE).map_err(|error| ExitError::from_io(file.display(), &error))?;
    Ok(format!(
        "{}: {} entities, version {} of epoch {:016x}, {} bytes. It holds keys and secrets in the clear.\n",
        file.display(),
        view.catalog.len(),
        view.version,
        view.epoch,
        bytes.len(),
    ))
}

/// Makes a new database of a backup, where there is none yet.
///
/// # Errors
/// When the file is no backup, or there is a database that holds something.
pub fn restore(config: &Config, file: &Path) -> Result<String, ExitError> {
    let bytes = os::file::read_bounded(file, FILE_BYTES_MAX);
    let bytes = bytes.map_err(|error| ExitError::from_io(file.display(), &error))?;
    let records = read(&bytes).map_err(|error| failed(file.display(), error))?;
    let local = open(config)?;
    if local.view().version > 0 {
        let why = "holds a configuration already; move that directory away first";
        return Err(failed(config.store_dir().display(), why));
    }
    let count = records.len();
    restored(&local, records).map_err(|error| failed(file.display(), error))?;
    Ok(format!("{}: {count} entities restored, as epoch {:016x}.\n", file.display(), local.view().epoch))
}

fn open(config: &Config) -> Result<Local, ExitError> {
    let opened = Local::open(&config.store_dir(), config.store_options());
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

/// The bytes of a backup of this view.
fn written(view: &View) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    for number in [view.epoch, view.version, view.catalog.digest()] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    bytes.extend_from_slice(&u32::try_from(view.catalog.len()).unwrap_or(u32::MAX).to_le_bytes());
    for def in ALL {
        for (id, entry) in view.catalog.iter(def.kind, None) {
            let body = entry.body.as_deref().unwrap_or_default();
            bytes.push(def.kind.code());
            bytes.extend_from_slice(&id.to_bytes());
            bytes.extend_from_slice(&entry.tag.to_le_bytes());
            bytes.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend_from_slice(body);
        }
    }
    bytes
}

/// The entities of a backup, each as it was.
fn read(bytes: &[u8]) -> Result<Vec<Record>, BackupError> {
    let mut rest = bytes.strip_prefix(MAGIC).ok_or(BackupError::NotABackup)?;
    let format = u32::from_le_bytes(take(&mut rest)?);
    if format != FORMAT {
        return Err(BackupError::Format(format));
    }
    let [_epoch, _version, digest] = [take(&mut rest)?, take(&mut rest)?, take(&mut rest)?].map(u64::from_le_bytes);
    let count = u32::from_le_bytes(take(&mut rest)?);
    let (mut records, mut sum) = (Vec::new(), 0_u64);
    for _ in 0..count {
        let record = entity(&mut rest)?;
        sum = sum.wrapping_add(record.tag);
        records.push(record);
    }
    match (rest.is_empty(), sum == digest) {
        (false, _) => Err(BackupError::Length),
        (true, false) => Err(BackupError::Digest),
        (true, true) => Ok(records),
    }
}

fn entity(rest: &mut &[u8]) -> Result<Record, BackupError> {
    let [code] = take(rest)?;
    let id = Id::from_bytes(take(rest)?);
    let tag = u64::from_le_bytes(take(rest)?);
    let len = usize::try_from(u32::from_le_bytes(take(rest)?)).unwrap_or(usize::MAX);
    let kind = Kind::from_code(code).ok_or(BackupError::Kind(code))?;
    let (body, after) = rest.split_at_checked(len).filter(|_| len <= BODY_BYTES_MAX).ok_or(BackupError::Length)?;
    *rest = after;
    if Record::tag_of(kind, id, body) != tag {
        return Err(BackupError::Damaged(kind.def().name, id));
    }
    Ok(Record { kind, id, version: 0, tag, body: body.into() })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], BackupError> {
    let (taken, after) = rest.split_first_chunk().ok_or(BackupError::Length)?;
    *rest = after;
    Ok(*taken)
}

/// Puts the entities into an empty database, in one transaction, which checks them as any other.
fn restored(local: &Local, records: Vec<Record>) -> Result<(), Box<dyn std::error::Error>> {
    let changes = records.into_iter().map(Change::Put).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let committed: Result<_, CommitError> =
        runtime.block_on(local.commit(Transaction { changes, preconditions: Vec::new() }));
    committed?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::body::ForeignKey;
    use model::kinds::{consumers::Consumer, keyauth_credentials::KeyauthCredential, services::Service};

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
        restored(&local, records).unwrap();
        local
    }

    #[test]
    fn what_is_restored_is_what_was_backed_up_in_a_new_epoch() {
        let dir = tempfile::tempdir().unwrap();
        let before = filled(&dir.path().join("one")).view();
        let local = open(&dir.path().join("two"));
        restored(&local, read(&written(&before)).unwrap()).unwrap();
        drop(local);
        let after = open(&dir.path().join("two")).view();
        assert_eq!((after.catalog.len(), after.catalog.digest()), (32, before.catalog.digest()));
        assert_ne!(after.epoch, before.epoch);
        assert_eq!(after.catalog.find(Kind::KeyauthCredential, "key", "k"), Some(Id(2)));
    }

    #[test]
    fn no_damage_to_a_backup_is_taken_for_a_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = written(&filled(dir.path()).view());
        let whole = read(&bytes).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // Epoch and version are there to be told.
            let told = (MAGIC.len() + 4..MAGIC.len() + 20).contains(&(bit / 8));
            assert_eq!(read(&bad).ok(), told.then(|| whole.clone()), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(read(&bytes[..len]).is_err(), "cut at {len}");
        }
        assert_eq!(read(b"{}"), Err(BackupError::NotABackup));
    }
}
