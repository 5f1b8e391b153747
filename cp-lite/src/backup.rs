//! The file of a backup: all entities of one version, for a database to be made of them.
//!
//! FORMAT.md, "Backups", describes every byte. It is not encrypted, whatever the store is. [`Pieces`] writes it from a
//! view, a little at a time; [`read`] takes nothing that is not whole.
//!
//! Epoch and term are there for whoever restores it: the new database takes the place of that one, and of none that was
//! promoted since. See [`wire::succession`].

use crate::changelog::View;
use bytes::Bytes;
use model::kind::ALL;
use model::record::BODY_BYTES_MAX;
use model::{Id, Kind, Record};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 8] = b"EGbackup";
const FORMAT: u32 = 2;
/// That of the first release, without what was appended to the header.
const FORMAT_WITHOUT_TERM: u32 = 1;
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
    /// What it says of itself is not what was written.
    #[error("it is damaged: its header is not what it was")]
    Header,
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
        bytes.extend_from_slice(&self.view.term.to_le_bytes());
        let check = xxh3_64(&bytes);
        bytes.extend_from_slice(&check.to_le_bytes());
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
    /// The term of that epoch; 0 in what the first release wrote.
    pub term: u32,
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
    if format != FORMAT && format != FORMAT_WITHOUT_TERM {
        return Err(BackupError::Format(format));
    }
    let [epoch, version, digest] = [take(&mut rest)?, take(&mut rest)?, take(&mut rest)?].map(u64::from_le_bytes);
    let count = u32::from_le_bytes(take(&mut rest)?);
    let term = if format == FORMAT { checked_term(bytes, &mut rest)? } else { 0 };
    let (mut records, mut sum) = (Vec::new(), 0_u64);
    for _ in 0..count {
        let record = entity(&mut rest)?;
        sum = sum.wrapping_add(record.tag);
        records.push(record);
    }
    match (rest.is_empty(), sum == digest) {
        (false, _) => Err(BackupError::Length),
        (true, false) => Err(BackupError::Digest),
        (true, true) => Ok((records, Origin { epoch, term, version })),
    }
}

/// The term, once the header up to it is known to be what was written.
fn checked_term(bytes: &[u8], rest: &mut &[u8]) -> Result<u32, BackupError> {
    let term = u32::from_le_bytes(take(rest)?);
    let header = bytes.get(..bytes.len() - rest.len()).unwrap_or_default();
    let check = u64::from_le_bytes(take(rest)?);
    if xxh3_64(header) == check { Ok(term) } else { Err(BackupError::Header) }
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
        assert_eq!(origin, Origin { epoch: view.epoch, term: view.term, version: view.version });
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
        assert!(read(&bytes).is_ok());
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&bad).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(read(&bytes[..len]).is_err(), "cut at {len}");
        }
        assert_eq!(read(b"{}"), Err(BackupError::NotABackup));
        let mut later = bytes;
        later[MAGIC.len()] = 3;
        assert_eq!(read(&later), Err(BackupError::Format(3)));
    }

    #[test]
    fn the_bytes_of_a_backup_are_as_they_were_released() {
        let id = Id(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10);
        let id_bytes: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        let (service, body) = (Service { id, host: "h".into(), ..Service::default() }, b"body");
        let tag = Record::tag_of(Kind::Service, id, body).to_le_bytes();
        let mut file =
            [&b"EGbackup\x02\0\0\0"[..], &[7, 0, 0, 0, 0, 0, 0, 1], &[9, 0, 0, 0, 0, 0, 0, 0], &tag].concat();
        file.extend_from_slice(&[1, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(file.len(), 44);
        file.extend_from_slice(&xxh3_64(&file).to_le_bytes());
        file.extend_from_slice(&[&[1][..], &id_bytes, &tag, &[4, 0, 0, 0], body].concat());
        let origin = Origin { epoch: 0x0100_0000_0000_0007, term: 3, version: 9 };
        let record = Record { kind: Kind::Service, id, version: 0, tag: u64::from_le_bytes(tag), body: (*body).into() };
        assert_eq!(read(&file), Ok((vec![record], origin)));

        // And those that are written.
        let changelog = memory().open(TOMBSTONES_MAX);
        let body: Arc<[u8]> = service.encode().unwrap().into();
        let record = Record { kind: Kind::Service, id, version: 0, tag: 0, body: body.clone() };
        let commit = changelog.commit(Transaction { changes: vec![Change::Put(record)], preconditions: Vec::new() });
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(commit).unwrap();
        let view = changelog.view();
        let tag = Record::tag_of(Kind::Service, id, &body).to_le_bytes();
        let mut expected = [&b"EGbackup\x02\0\0\0"[..], &view.epoch.to_le_bytes(), &1_u64.to_le_bytes(), &tag].concat();
        expected.extend_from_slice(&[&[1, 0, 0, 0][..], &view.term.to_le_bytes()].concat());
        expected.extend_from_slice(&xxh3_64(&expected).to_le_bytes());
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        expected.extend_from_slice(&[&[1][..], &id_bytes, &tag, &length, &body].concat());
        assert_eq!(Pieces::of(view).collect::<Vec<_>>().concat(), expected);
    }

    #[test]
    fn a_backup_of_the_first_release_is_of_term_0() {
        let view = view();
        let mut bytes = Pieces::of(view.clone()).collect::<Vec<_>>().concat();
        let end = MAGIC.len() + 4 + 3 * 8 + 4;
        bytes.drain(end..end + 12);
        bytes[MAGIC.len()] = 1;
        let (records, origin) = read(&bytes).unwrap();
        assert_eq!((records.len(), origin.term, origin.epoch), (300, 0, view.epoch));
    }
}
