//! The control plane's side of a reconcile that is the same for all nodes: its own row of symbols at one version, and the
//! step that makes up for what was found. Making it costs a walk over everything; once made it costs a session what
//! differs.

use super::{Encoder, Mend, Step, Symbol, digest, mend};
use crate::delta::push_entity;
use crate::limits::{DELTA_BYTES_MAX, DELTA_OPS_MAX, SYMBOLS_MAX, SYMBOLS_MIN};
use crate::patch::IdPrefix;
use bytes::Bytes;
use model::{Id, Record};
use std::collections::HashSet;
use std::sync::Arc;

/// What a sketch is of.
pub trait Content: Send + Sync {
    /// One entity as it is at the sketch's version.
    fn record(&self, kind: u8, id: Id) -> Option<Record>;
    /// What tells an entity from all others of its kind.
    fn prefix(&self, _kind: u8, id: Id) -> IdPrefix {
        IdPrefix::of(id, 16)
    }
    /// `plain` as one zstd frame with a window of at most 2^[`crate::limits::BLOB_WINDOW_LOG_MAX`] bytes, if this end
    /// compresses.
    fn pack(&self, _plain: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// What a control plane has for a node that reconciles.
pub enum Sketching {
    /// This one.
    Ready(Arc<Sketch>),
    /// One that is being made. The session is told of it with `head_changed`.
    Later,
    /// None: a full sync.
    Never,
}

/// A control plane's set at one version, as symbols.
pub struct Sketch {
    seed: u64,
    version: u64,
    root: u64,
    symbols: Vec<Symbol>,
    /// By hash.
    keys: Vec<(u64, u8, Id)>,
    content: Arc<dyn Content>,
}

impl Sketch {
    /// Sums up all entities (kind, id, tag) at a version, under a seed that is random and has not been told to anybody.
    #[must_use]
    pub fn new(
        seed: u64,
        version: u64,
        root: u64,
        entities: impl Iterator<Item = (u8, Id, u64)>,
        content: Arc<dyn Content>,
    ) -> Self {
        let mut keys: Vec<_> = entities.map(|(kind, id, tag)| (digest(seed, kind, id, tag), kind, id)).collect();
        keys.sort_unstable();
        let mut encoder = Encoder::new(seed, 0, Self::symbols_for(keys.len()) as u64);
        keys.iter().for_each(|(hash, ..)| encoder.add_digest(*hash));
        Self { seed, version, root, symbols: encoder.finish(), keys, content }
    }

    /// How many symbols are worth sending for so many entities: half of them, which at twelve bytes is a few hundredths of
    /// what a full sync costs.
    fn symbols_for(entities: usize) -> usize {
        (entities / 2).clamp(SYMBOLS_MIN, SYMBOLS_MAX)
    }

    /// The version it is of.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The root digest there.
    #[must_use]
    pub fn root(&self) -> u64 {
        self.root
    }

    /// The seed of its hashes.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How many entities there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.keys.len() as u64
    }

    /// Its row, as far as it goes.
    #[must_use]
    pub fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }

    /// What it is of.
    pub(crate) fn content(&self) -> &dyn Content {
        &*self.content
    }

    /// The entity of this set with that hash.
    pub(crate) fn find(&self, hash: u64) -> Option<(u8, Id)> {
        let at = self.keys.binary_search_by_key(&hash, |(hash, ..)| *hash).ok()?;
        self.keys.get(at).map(|(_, kind, id)| (*kind, *id))
    }

    /// The step from a content with root `base` that differs in these entities to that of this sketch, as frames. `None`: it
    /// is over the limits, or somebody's hashes failed.
    #[must_use]
    pub fn step(&self, base: u64, confirmed: u64, packed: bool, differing: &[u64], mended: Mended) -> Option<Bytes> {
        let Mended { mends, known } = mended;
        let (mut gone, mut plain) = (Vec::new(), Vec::new());
        if !mends.is_empty() {
            mend::push(&mends, self.version, &mut plain);
        }
        for hash in differing.iter().filter(|hash| !known.contains(hash)) {
            match self.find(*hash) {
                None => gone.push(*hash),
                Some((kind, id)) => {
                    let Record { version, tag, body, .. } = self.content.record(kind, id)?;
                    push_entity(self.version, kind, id, version, tag, &body, &mut plain);
                }
            }
            if plain.len() > DELTA_BYTES_MAX {
                return None;
            }
        }
        if differing.len() > DELTA_OPS_MAX {
            return None;
        }
        let packed = if packed { self.content.pack(&plain) } else { None };
        let Self { seed, version, root, .. } = *self;
        let puts = Vec::new();
        Step { seed, base, version, root, confirmed, gone, puts, mends }.encode(&plain, packed.as_deref())
    }
}

/// What of a difference goes as patches.
#[derive(Debug, Default)]
pub struct Mended {
    pub(crate) mends: Vec<Mend>,
    /// The hashes of these entities, both as they are and as they are to be.
    pub(crate) known: HashSet<u64>,
}

impl Mended {
    /// Whether anything does.
    pub(crate) fn is_any(&self) -> bool {
        !self.mends.is_empty()
    }
}
