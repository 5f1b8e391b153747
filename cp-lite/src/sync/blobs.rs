//! Full syncs as compressed blobs: made once for all nodes that need one, on a thread of their own, and kept for those
//! whose link is cut on the way.
//!
//! One is made when a node needs it and none of those at hand will do; while it is being made, and while the head moves
//! on, nodes wait or take an older one and the step from there. `source` asks; sessions wait for [`Blobs::ready`]. Where
//! they are kept is [`super::shelf`]'s.

use super::shelf::{self, Kept, Shelf};
use super::sketches::Sketches;
use super::source::Everything;
use crate::changelog::View;
use bytes::Bytes;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use tokio::sync::watch;
use wire::full::Wanted;
use wire::full::blob::{self, Written};
use wire::limits::BLOB_WINDOW_LOG_MAX;
use wire::message::FullBegin;
use wire::reconcile::Sketching;
use wire::{Blob, Offer};
use zstd::zstd_safe::CParameter;

/// How many blobs are kept; those offered last stay.
const BLOBS_MAX: usize = 3;
/// How many bytes of blobs are kept in memory while nobody sends them, beside the newest one.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// How hard to compress. At 30,000 entities (26.7 MB plain): 9 takes 0.6 s for 11.95 MB, 12 takes 0.9 s for 11.55 MB, 15 takes
/// 3.4 s for 11.22 MB, 16 takes 6.3 s for 10.97 MB, and beyond there is nothing to gain within the window.
const LEVEL: i32 = 15;
/// How many positions of the window the compressor finds by their content (each takes 4 bytes; at this level a tree of
/// them, 8 more): as many as there are. On its own, this level prepares for a window of 8 MiB, which takes 64 MiB.
const POSITIONS_LOG: u32 = BLOB_WINDOW_LOG_MAX;
/// A blob of which more than one in so many entities has changed since is not offered any longer: what it saves, the
/// step after it would cost.
const STALE_ONE_IN: usize = 5;
/// So many changes since are always few.
const FEW: usize = 64;

/// The blobs at hand.
pub(super) struct Blobs {
    shelf: Shelf,
    state: Mutex<State>,
    sketches: Arc<Sketches>,
    made: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// The one that was offered last is last.
    kept: VecDeque<Kept>,
    /// A thread makes one, or fetches one.
    making: bool,
    /// Of these epoch and version there is no blob.
    impossible: Option<(u64, u64)>,
}

/// What is at hand for a node.
enum Found {
    Blob(Blob),
    /// It has to be fetched.
    Asleep(FullBegin, Arc<File>),
}

impl Blobs {
    /// None yet; while nobody sends them they rest in files of this directory, if there is one.
    pub(super) fn new(dir: Option<PathBuf>) -> Arc<Self> {
        let made = watch::Sender::new(0);
        Arc::new(Self { shelf: Shelf(dir), state: Mutex::default(), sketches: Sketches::new(made.clone()), made })
    }

    /// Changes whenever there is another blob or sketch.
    pub(super) fn ready(&self) -> watch::Receiver<u64> {
        self.made.subscribe()
    }

    /// What there is for a node that reconciles.
    pub(super) fn sketch(&self, view: &Arc<View>, oldest: u64) -> Sketching {
        self.sketches.offer(view, oldest)
    }

    /// What there is for a node; starts to fetch it, or to make a blob of `view` if nothing will do.
    pub(super) fn offer(self: &Arc<Self>, view: &Arc<View>, wanted: Wanted) -> Offer {
        let mut state = self.lock();
        let asleep = match state.take(view, wanted) {
            Some(Found::Blob(blob)) => return Offer::Blob(blob),
            Some(Found::Asleep(begin, file)) => Some((begin, file)),
            None => None,
        };
        if asleep.is_none() && state.impossible == Some((view.epoch, view.version)) {
            return Offer::Entities;
        }
        if !state.making {
            let (blobs, view) = (self.clone(), view.clone());
            let work = move || match asleep {
                Some((begin, file)) => blobs.fetch(begin, &file),
                None => blobs.make(&view),
            };
            if let Err(error) = thread::Builder::new().name("full-sync".to_owned()).spawn(work) {
                tracing::warn!(%error, "no thread to compress a full sync");
                return Offer::Entities;
            }
            state.making = true;
        }
        Offer::Later
    }

    fn make(&self, view: &Arc<View>) {
        let made = self.shelf.make(view);
        let mut state = self.lock();
        match made {
            Ok(Some(kept)) => state.keep(kept),
            Ok(None) => state.impossible = Some((view.epoch, view.version)),
            Err(error) => {
                tracing::warn!(%error, "a full sync is sent uncompressed");
                state.impossible = Some((view.epoch, view.version));
            }
        }
        self.done(state);
    }

    fn fetch(&self, begin: FullBegin, file: &File) {
        let fetched = shelf::fetch(file, begin);
        let mut state = self.lock();
        match fetched {
            Ok(bytes) => state.fetched(begin, bytes),
            Err(error) => {
                tracing::warn!(%error, "a full sync cannot be read again; another one is made");
                state.kept.retain(|kept| kept.begin != begin);
            }
        }
        self.done(state);
    }

    fn done(&self, mut state: MutexGuard<'_, State>) {
        state.making = false;
        drop(state);
        self.made.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The blob that the node has the beginning of, else the newest that is not stale.
    fn take(&mut self, view: &View, wanted: Wanted) -> Option<Found> {
        let usable = |kept: &Kept| {
            let version = kept.begin.version;
            kept.epoch == view.epoch && (wanted.oldest.max(view.floor)..=view.version).contains(&version)
        };
        let held = |kept: &Kept| wanted.held == Some(kept.begin.transfer);
        let newest = |(_, kept): &(usize, &Kept)| (held(kept), kept.begin.version);
        let (at, kept) = self.kept.iter().enumerate().filter(|(_, kept)| usable(kept)).max_by_key(newest)?;
        if !held(kept) && is_stale(view, kept.begin.version) {
            return None;
        }
        let mut kept = self.kept.remove(at)?;
        let found = match kept.blob() {
            Some(blob) => Some(Found::Blob(blob)),
            None => kept.file().map(|file| Found::Asleep(kept.begin, file)),
        };
        self.kept.push_back(kept);
        found
    }

    fn keep(&mut self, kept: Kept) {
        self.kept.push_back(kept);
        let bytes = |kept: &VecDeque<Kept>| kept.iter().map(Kept::bytes_at_rest).sum::<usize>();
        while self.kept.len() > BLOBS_MAX || (self.kept.len() > 1 && bytes(&self.kept) > BYTES_MAX) {
            self.kept.pop_front();
        }
    }

    fn fetched(&mut self, begin: FullBegin, bytes: Vec<u8>) {
        if let Some(kept) = self.kept.iter_mut().find(|kept| kept.begin == begin) {
            kept.fetched(bytes);
        }
    }
}

pub(super) fn is_stale(view: &View, version: u64) -> bool {
    let few = (view.catalog.len() / STALE_ONE_IN).max(FEW);
    view.since(version).map_or(true, |touched| touched.take(few + 1).count() > few)
}

/// The blob of everything in a view. `None`: it would be larger than a blob may be.
///
/// # Errors
/// The compressor has no memory, or there is too much to compress.
pub fn compress(view: &Arc<View>) -> io::Result<Option<Blob>> {
    let (written, mut bytes) = write(view, Vec::new())?;
    bytes.shrink_to_fit();
    Ok(Blob::new(written, Bytes::from(bytes)))
}

/// Writes the bytes of that blob.
pub(super) fn write<W: Write>(view: &Arc<View>, out: W) -> io::Result<(Written, W)> {
    let mut encoder = zstd::Encoder::new(out, LEVEL)?;
    encoder.window_log(BLOB_WINDOW_LOG_MAX)?;
    encoder.set_parameter(CParameter::HashLog(POSITIONS_LOG))?;
    encoder.set_parameter(CParameter::ChainLog(POSITIONS_LOG + 1))?;
    encoder.include_checksum(false)?;
    let written = blob::write(&mut Everything::of(view.clone()), &mut encoder)?;
    Ok((written, encoder.finish()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changelog::{Changelog, TOMBSTONES_MAX, Transaction, memory};
    use model::kinds::services::Service;
    use model::{Change, Id, Kind, Record};

    const WANTED: Wanted = Wanted { oldest: 0, held: None };

    fn view() -> Arc<View> {
        let service = Service { id: Id(7), name: Some("s".into()), host: "h".into(), ..Service::default() };
        let body = service.encode().unwrap().into();
        let record = Record { kind: Kind::Service, id: Id(7), version: 0, tag: 0, body };
        let changelog = memory().open(TOMBSTONES_MAX);
        let commit = changelog.commit(Transaction { changes: vec![Change::Put(record)], preconditions: Vec::new() });
        runtime().block_on(commit).unwrap();
        changelog.view()
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    /// What a node gets, and whether it had to wait for it.
    fn offered(blobs: &Arc<Blobs>, view: &Arc<View>) -> (Blob, bool) {
        let (mut made, mut waited) = (blobs.ready(), false);
        loop {
            made.mark_unchanged();
            match blobs.offer(view, WANTED) {
                Offer::Blob(blob) => return (blob, waited),
                Offer::Later => runtime().block_on(made.changed()).unwrap(),
                Offer::Entities => panic!("it can be compressed"),
            }
            waited = true;
        }
    }

    fn in_memory(blobs: &Blobs) -> bool {
        blobs.lock().kept.iter_mut().any(|kept| kept.blob().is_some())
    }

    #[test]
    fn a_full_sync_is_in_memory_while_somebody_sends_it_and_comes_back_as_it_was() {
        let (dir, view) = (tempfile::tempdir().unwrap(), view());
        let blobs = Blobs::new(Some(dir.path().to_owned()));
        let (first, _) = offered(&blobs, &view);
        let (second, waited) = offered(&blobs, &view);
        assert!(!waited && second == first, "all who send it share it");
        let whole = first.clone();
        drop(first);
        assert!(in_memory(&blobs));
        let bytes = whole.bytes().to_vec();
        drop((second, whole));
        assert!(!in_memory(&blobs));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing would be left of it after a crash");
        let (again, waited) = offered(&blobs, &view);
        assert!(waited && again.bytes() == &bytes[..]);
        assert_eq!(again.begin(), compress(&view).unwrap().unwrap().begin());
    }

    #[test]
    fn without_a_place_for_files_it_stays_in_memory() {
        let view = view();
        for dir in [None, Some("/proc/no-such-place".into())] {
            let blobs = Blobs::new(dir);
            drop(offered(&blobs, &view));
            assert!(in_memory(&blobs) && !offered(&blobs, &view).1);
        }
    }

    #[test]
    fn a_file_that_has_changed_is_not_sent_and_another_one_is_made() {
        use std::os::unix::fs::FileExt;
        let (dir, view) = (tempfile::tempdir().unwrap(), view());
        let blobs = Blobs::new(Some(dir.path().to_owned()));
        let (blob, _) = offered(&blobs, &view);
        let bytes = blob.bytes().to_vec();
        drop(blob);
        let file = blobs.lock().kept[0].file().unwrap();
        file.write_all_at(&[!bytes[0]], 0).unwrap();
        assert_eq!(offered(&blobs, &view).0.bytes(), &bytes[..]);
    }
}
