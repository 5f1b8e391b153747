//! What nodes reconcile against: the symbols of everything at one version, made once for all of them, on a thread of its
//! own. One is kept; it costs 32 bytes an entity.

use super::blobs::is_stale;
use super::source::telling;
use crate::changelog::{Audience, View};
use model::{Id, Kind, Record};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use tokio::sync::watch;
use wire::limits::BLOB_WINDOW_LOG_MAX;
use wire::patch::IdPrefix;
use wire::reconcile::{Content, Sketch, Sketching};

/// How hard to compress a step: it is small and made for one node.
const LEVEL: i32 = 12;

/// The sketch at hand.
pub(super) struct Sketches {
    state: Mutex<State>,
    made: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    kept: Option<(u64, Arc<Sketch>)>,
    making: bool,
}

impl Sketches {
    /// None yet. `made` changes whenever there is another one.
    pub(super) fn new(made: watch::Sender<u64>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), made })
    }

    /// The one at hand, if it is recent enough; else starts to make one of `view`.
    pub(super) fn offer(self: &Arc<Self>, view: &Arc<View>, oldest: u64) -> Sketching {
        let mut state = self.lock();
        let usable = |(epoch, sketch): &&(u64, Arc<Sketch>)| {
            let version = sketch.version();
            let current = *epoch == view.epoch && (oldest.max(view.floor)..=view.version).contains(&version);
            current && !is_stale(view, version)
        };
        if let Some((_, sketch)) = state.kept.as_ref().filter(usable) {
            return Sketching::Ready(sketch.clone());
        }
        if oldest > view.version {
            return Sketching::Never;
        }
        if !state.making {
            let (sketches, view) = (self.clone(), view.clone());
            let made = thread::Builder::new().name("reconcile".to_owned()).spawn(move || sketches.make(view));
            if let Err(error) = made {
                tracing::warn!(%error, "no thread to reconcile; a full sync is sent");
                return Sketching::Never;
            }
            state.making = true;
        }
        Sketching::Later
    }

    fn make(&self, view: Arc<View>) {
        let (epoch, version, root) = (view.epoch, view.version, view.root(Audience::ALL));
        let entities = model::kind::ALL
            .iter()
            .flat_map(|def| view.catalog.iter(def.kind, None).map(|(id, entry)| (Kind::code(def.kind), id, entry.tag)));
        let seed = Id::random().0 as u64;
        let sketch = Sketch::new(seed, version, root, entities, Arc::new(At(view.clone())));
        let mut state = self.lock();
        (state.kept, state.making) = (Some((epoch, Arc::new(sketch))), false);
        drop(state);
        self.made.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The view that a sketch is of.
struct At(Arc<View>);

impl Content for At {
    fn record(&self, kind: u8, id: Id) -> Option<Record> {
        self.0.catalog.record(Kind::from_code(kind)?, id)
    }

    fn prefix(&self, kind: u8, id: Id) -> IdPrefix {
        let Some(kind) = Kind::from_code(kind) else { return IdPrefix::of(id, 16) };
        // A node that has others which begin so says that it has none.
        telling(&self.0, kind, id, |_, _| true)
    }

    fn pack(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut compressor = zstd::bulk::Compressor::new(LEVEL).ok()?;
        compressor.window_log(BLOB_WINDOW_LOG_MAX).ok()?;
        compressor.compress(plain).ok()
    }
}
