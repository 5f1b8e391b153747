//! The file of a backup: all entities of one version, for a database to be made of them.
//!
//! It is `EGbackup`, then u32 format (1), u64 epoch, u64 version, u64 digest (the wrapping sum of all tags), u32 count, then
//! per entity u8 kind, 16 bytes id, u64 tag, u32 length, the body (numbers little-endian). It is not encrypted, whatever the
//! store is. [`Pieces`] writes it from a view, a little at a time; [`read`] takes nothing that is not whole.

use crate::changelog::View;
use bytes::Bytes;
use model::kind::ALL;
use model::record::BODY_BYTES_MAX;
use model::{Id, Kind, Record};
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"EGbackup";
const FORMAT: u32 = 1;
/// How large a piece grows before the next one begins.
const PIECE_BYTES: usize = 64 * 1024;

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

/// The bytes of a backup of a view, in pieces that are made when they are asked for. The view does not change meanwhile,
/// whatever is committed.
pub struct Pieces {
    view: Arc<View>,
    begun: bool,
    kind: usize,
    after: Option<Id>,
}

impl Pieces {
    /// Starts at the first byte.
    #[must_use]
    pub fn of(view: Arc<View>) -> Self {
        Self { view, begun: false, kind: 0, after: None }
    }

    fn header(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        for number in [self.view.epoch, self.view.version, self.view.catalog.digest()] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&u32::try_from(self.view.catalog.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes
    }
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut bytes = if self.begun { Vec::new() } else { self.header() };
        self.begun = true;
        while let Some(def) = ALL.get(self.kind) {
            for (id, entry) in self.view.catalog.iter(def.kind, self.after) {
                let body = entry.body.as_deref().unwrap_or_default();
                bytes.push(def.kind.code());
                bytes.extend_from_slice(&id.to_bytes());
                bytes.extend_from_slice(&entry.tag.to_le_bytes());
                bytes.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
                bytes.extend_from_slice(body);
                if bytes.len() >= PIECE_BYTES {
                    self.after = Some(id);
                    return Some(bytes.into());
                }
            }
            (self.kind, self.after) = (self.kind + 1, None);
        }
        (!bytes.is_empty()).then(|| bytes.into())
    }
}

/// What a backup says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The epoch of the database.
    pub epoch: u64,
    /// Its version.
    pub version: u64,
}

/// The entities of a backup, each as it was, and which state of which database they were.
///
/// # Errors
/// What is wrong with the bytes.
pub fn read(bytes: &[u8]) -> Result<(Vec<Record>, Origin), BackupError> {
    let mut rest = bytes.strip_prefix(MAGIC).ok_or(BackupError::NotABackup)?;
    let format = u32::from_le_bytes(take(&mut rest)?);
    if format != FORMAT {
        return Err(BackupError::Format(format));
    }
    let [epoch, version, digest] = [take(&mut rest)?, take(&mut rest)?, take(&mut rest)?].map(u64::from_le_bytes);
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
        (true, true) => Ok((records, Origin { epoch, version })),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changelog::{Changelog, TOMBSTONES_MAX, Transaction, memory};
    use model::Change;
    use model::kinds::services::Service;

    /// Enough for several pieces.
    fn view() -> Arc<View> {
        let changelog = memory().open(TOMBSTONES_MAX);
        let service =
            |n: u128| Service { id: Id(n), name: Some(format!("{n:0500}")), host: "h".into(), ..Service::default() };
        let record = |n: u128| {
            let body = service(n).encode().unwrap().into();
            Change::Put(Record { kind: Kind::Service, id: Id(n), version: 0, tag: 0, body })
        };
        let changes = (1..=300).map(record).collect();
        let committed = changelog.commit(Transaction { changes, preconditions: Vec::new() });
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(committed).unwrap();
        changelog.view()
    }

    #[test]
    fn pieces_are_small_and_together_every_entity() {
        let view = view();
        let pieces: Vec<Bytes> = Pieces::of(view.clone()).collect();
        assert!(pieces.len() > 2 && pieces.iter().all(|piece| piece.len() < PIECE_BYTES + 2_000));
        let (records, origin) = read(&pieces.concat()).unwrap();
        assert_eq!(origin, Origin { epoch: view.epoch, version: view.version });
        let kept: Vec<_> = view.records().map(|record| Record { version: 0, ..record }).collect();
        assert_eq!(records, kept);
    }

    #[test]
    fn no_damage_to_a_backup_is_taken_for_a_configuration() {
        let changelog = memory().open(TOMBSTONES_MAX);
        let service = Service { id: Id(7), name: Some("s".into()), host: "h".into(), ..Service::default() };
        let body = service.encode().unwrap().into();
        let record = Record { kind: Kind::Service, id: Id(7), version: 0, tag: 0, body };
        let commit = changelog.commit(Transaction { changes: vec![Change::Put(record)], preconditions: Vec::new() });
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(commit).unwrap();
        let bytes = Pieces::of(changelog.view()).collect::<Vec<_>>().concat();
        let (whole, _) = read(&bytes).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // Epoch and version are there to be told.
            let told = (MAGIC.len() + 4..MAGIC.len() + 20).contains(&(bit / 8));
            assert_eq!(read(&bad).ok().map(|(records, _)| records), told.then(|| whole.clone()), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(read(&bytes[..len]).is_err(), "cut at {len}");
        }
        assert_eq!(read(b"{}"), Err(BackupError::NotABackup));
    }
}
