//! Full syncs as compressed blobs: made once for all nodes that need one, on a thread of their own, and kept for those
//! whose link is cut on the way.
//!
//! One is made when a node needs it and none of those at hand will do; while it is being made, and while the head moves
//! on, nodes wait or take an older one and the step from there. `source` asks; sessions wait for [`Blobs::ready`].

use super::sketches::Sketches;
use super::source::Everything;
use crate::changelog::View;
use bytes::Bytes;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use tokio::sync::watch;
use wire::full::{Wanted, blob};
use wire::limits::BLOB_WINDOW_LOG_MAX;
use wire::reconcile::Sketching;
use wire::{Blob, Offer};

/// How many blobs are kept; those offered last stay.
const BLOBS_MAX: usize = 3;
/// How many bytes of blobs are kept, beside the newest one.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// How hard to compress. At 30,000 entities (26.7 MB plain): 9 takes 0.6 s for 11.95 MB, 12 takes 0.9 s for 11.55 MB, 15 takes
/// 3.4 s for 11.22 MB, 16 takes 6.3 s for 10.97 MB, and beyond there is nothing to gain within the window.
const LEVEL: i32 = 15;
/// A blob of which more than one in so many entities has changed since is not offered any longer: what it saves, the
/// step after it would cost.
const STALE_ONE_IN: usize = 5;
/// So many changes since are always few.
const FEW: usize = 64;

/// The blobs at hand.
pub(super) struct Blobs {
    state: Mutex<State>,
    sketches: Arc<Sketches>,
    made: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    /// The one that was offered last is last.
    kept: VecDeque<Kept>,
    making: bool,
    /// Of these epoch and version there is no blob.
    impossible: Option<(u64, u64)>,
}

#[derive(Clone)]
struct Kept {
    epoch: u64,
    blob: Blob,
}

impl Blobs {
    pub(super) fn new() -> Arc<Self> {
        let made = watch::Sender::new(0);
        Arc::new(Self { state: Mutex::default(), sketches: Sketches::new(made.clone()), made })
    }

    /// Changes whenever there is another blob or sketch.
    pub(super) fn ready(&self) -> watch::Receiver<u64> {
        self.made.subscribe()
    }

    /// What there is for a node that reconciles.
    pub(super) fn sketch(&self, view: &Arc<View>, oldest: u64) -> Sketching {
        self.sketches.offer(view, oldest)
    }

    /// What there is for a node; starts to make a blob of `view` if nothing will do.
    pub(super) fn offer(self: &Arc<Self>, view: &Arc<View>, wanted: Wanted) -> Offer {
        let mut state = self.lock();
        if let Some(blob) = state.take(view, wanted) {
            return Offer::Blob(blob);
        }
        if state.impossible == Some((view.epoch, view.version)) {
            return Offer::Entities;
        }
        if !state.making {
            let (blobs, view) = (self.clone(), view.clone());
            let made = thread::Builder::new().name("full-sync".to_owned()).spawn(move || blobs.make(&view));
            if let Err(error) = made {
                tracing::warn!(%error, "no thread to compress a full sync");
                return Offer::Entities;
            }
            state.making = true;
        }
        Offer::Later
    }

    fn make(&self, view: &Arc<View>) {
        let made = compress(view);
        let mut state = self.lock();
        state.making = false;
        match made {
            Ok(Some(blob)) => state.keep(Kept { epoch: view.epoch, blob }),
            Ok(None) => state.impossible = Some((view.epoch, view.version)),
            Err(error) => {
                tracing::warn!(%error, "a full sync is sent uncompressed");
                state.impossible = Some((view.epoch, view.version));
            }
        }
        drop(state);
        self.made.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The blob that the node has the beginning of, else the newest that is not stale.
    fn take(&mut self, view: &View, wanted: Wanted) -> Option<Blob> {
        let usable = |kept: &Kept| {
            let version = kept.blob.begin().version;
            kept.epoch == view.epoch && (wanted.oldest.max(view.floor)..=view.version).contains(&version)
        };
        let held = |kept: &Kept| wanted.held == Some(kept.blob.begin().transfer);
        let newest = |(_, kept): &(usize, &Kept)| (held(kept), kept.blob.begin().version);
        let (at, kept) = self.kept.iter().enumerate().filter(|(_, kept)| usable(kept)).max_by_key(newest)?;
        if !held(kept) && is_stale(view, kept.blob.begin().version) {
            return None;
        }
        let kept = self.kept.remove(at)?;
        self.kept.push_back(kept.clone());
        Some(kept.blob)
    }

    fn keep(&mut self, kept: Kept) {
        self.kept.push_back(kept);
        let bytes = |kept: &VecDeque<Kept>| kept.iter().map(|kept| kept.blob.bytes().len()).sum::<usize>();
        while self.kept.len() > BLOBS_MAX || (self.kept.len() > 1 && bytes(&self.kept) > BYTES_MAX) {
            self.kept.pop_front();
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
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
    encoder.window_log(BLOB_WINDOW_LOG_MAX)?;
    encoder.include_checksum(false)?;
    let written = blob::write(&mut Everything::of(view.clone()), &mut encoder)?;
    let mut bytes = encoder.finish()?;
    bytes.shrink_to_fit();
    Ok(Blob::new(written, Bytes::from(bytes)))
}
