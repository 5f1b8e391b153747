//! What the writer sends, on its way into the changelog: deltas as they come, full syncs gathered in memory until they
//! are whole. What is gathered of a blob outlives a connection, so that a cut does not start it over.

use super::patches;
use super::reconcile;
use crate::changelog::{Changelog, FollowError, Step, Tail, View, Whole};
use model::{Id, Record, catalog::Conflict};
use std::sync::Arc;
use wire::dp::Rejection;
use wire::full::{BlobError, Unpack, blob};
use wire::message::{FullBegin, Have, Mode, NackCode, Parity, ParityGet, Partial, Welcome};
use wire::reconcile::Symbol;
use wire::resolve::Unready;
use wire::shrink::{Limit, Shrink};
use wire::{Delta, Entity};

/// Takes over what a writer sends.
pub(super) struct Taker {
    changelog: Arc<dyn Changelog>,
    limit: Limit,
    /// Of the writer that is connected.
    epoch: u64,
    term: u32,
    /// The beginning of a blob: its name, and the bytes so far. At most [`wire::limits::BLOB_BYTES_MAX`].
    held: Option<(u64, Vec<u8>)>,
    /// A full sync that comes entity by entity.
    whole: Option<Whole>,
}

/// What became of a step.
pub(super) enum Taken {
    /// It is here to stay.
    Durable(u64),
    /// It cannot be taken over, whatever is done about it here.
    Rejected(Rejection),
    /// It would take more away than goes without a confirmation.
    Held(Shrink),
    /// Patches are of what is not here: of these entities, or, if there are none, of nobody knows which.
    Missing(Vec<(u8, Id)>),
    /// The blob is not what it was announced to be.
    Damaged(BlobError),
    /// It could not be made durable, and is to be asked for again.
    Failed(FollowError),
}

impl Taker {
    pub(super) fn new(changelog: Arc<dyn Changelog>, limit: Limit) -> Self {
        Self { changelog, limit, epoch: 0, term: 0, held: None, whole: None }
    }

    /// What is here, and of which term.
    pub(super) fn have(&mut self) -> (Have, u32) {
        self.whole = None;
        let View { epoch, term, version, catalog, .. } = &*self.changelog.view();
        if *epoch == 0 {
            return (Have::default(), *term);
        }
        let (root, count) = (catalog.digest(), catalog.len() as u64);
        (Have { epoch: *epoch, applied: *version, durable: *version, root, count }, *term)
    }

    /// What is here of a blob.
    pub(super) fn partial(&self) -> Option<Partial> {
        self.held.as_ref().map(|(transfer, bytes)| Partial { transfer: *transfer, offset: bytes.len() as u64 })
    }

    pub(super) fn welcomed(&mut self, welcome: &Welcome) {
        (self.epoch, self.term) = (welcome.epoch, welcome.term);
        if matches!(welcome.mode, Mode::Same | Mode::Tail) {
            self.held = None;
        }
    }

    pub(super) async fn delta(&mut self, delta: Delta) -> Taken {
        let Delta { from, to, root, ops } = delta;
        match patches::changes(&self.changelog.view(), ops) {
            Err(Unready::Unknown(unknown)) => Taken::Rejected(unknown_kind(&unknown)),
            Err(Unready::Missing(entities)) => Taken::Missing(entities),
            Ok(changes) => self.step(Step::Tail(Tail { epoch: self.epoch, from, to, root, changes }), to).await,
        }
    }

    /// The symbols of what is here, from `from` to before `until`.
    pub(super) fn symbols(&self, seed: u64, from: u64, until: u64) -> Vec<Symbol> {
        reconcile::symbols(&self.changelog.view(), seed, from, until)
    }

    /// The sums that are asked for of bodies that are here.
    pub(super) fn parity(&self, get: &ParityGet) -> Parity {
        reconcile::parity(&self.changelog.view(), get)
    }

    /// What digests found out that is to change; it may lead into another epoch.
    pub(super) async fn reconciled(&mut self, step: wire::reconcile::Step) -> Taken {
        let wire::reconcile::Step { seed, version, root, confirmed, gone, puts, mends, .. } = step;
        let view = self.changelog.view();
        let Ok(mended) = reconcile::mended(&view, &mends) else { return Taken::Missing(Vec::new()) };
        let puts: Result<Vec<Record>, _> = puts.into_iter().chain(mended).map(Entity::into_record).collect();
        let puts = match puts {
            Ok(puts) => puts,
            Err(unknown) => return Taken::Rejected(unknown_kind(&unknown)),
        };
        let mut whole = Whole::new(self.epoch, self.term, version);
        let gathered = reconcile::gather(&view, &mut whole, seed, gone, &puts);
        match gathered.and_then(|()| whole.finish(root)) {
            Ok(step) => self.anew(step, version, confirmed).await,
            Err(refused) => Taken::Rejected(rejection(&refused)),
        }
    }

    /// Whether a full sync may begin.
    ///
    /// # Errors
    /// Its count alone proves that it would take too much away.
    pub(super) fn admits(&self, begin: &FullBegin) -> Result<(), Shrink> {
        self.limit.by_count(self.changelog.view().catalog.len() as u64, begin.count, begin.confirmed)
    }

    /// A blob is about to come; says how much of it is here already. Any other one is forgotten.
    pub(super) fn begin_blob(&mut self, begin: &FullBegin) -> u64 {
        let fits =
            |(transfer, bytes): &(u64, Vec<u8>)| *transfer == begin.transfer && bytes.len() as u64 <= begin.bytes;
        let (_, bytes) = self.held.take_if(|held| fits(held)).unwrap_or_default();
        let held = bytes.len() as u64;
        self.held = Some((begin.transfer, bytes));
        held
    }

    pub(super) fn keep(&mut self, bytes: &[u8]) {
        if let Some((_, held)) = &mut self.held {
            held.extend_from_slice(bytes);
        }
    }

    /// A full sync is about to come entity by entity.
    pub(super) fn begin(&mut self, begin: &FullBegin) {
        self.held = None;
        self.whole = Some(Whole::new(self.epoch, self.term, begin.version));
    }

    pub(super) fn entities(&mut self, entities: Vec<Entity>) -> Result<(), Rejection> {
        // Those of a full sync that was rejected while they were on their way go nowhere.
        let Some(whole) = &mut self.whole else { return Ok(()) };
        let put = entities.into_iter().try_for_each(|entity| put(whole, entity));
        if put.is_err() {
            self.whole = None;
        }
        put
    }

    /// All of a full sync is here.
    pub(super) async fn complete(&mut self, begin: FullBegin) -> Taken {
        let whole = if begin.is_blob() {
            let bytes = self.held.as_ref().map_or(&[][..], |(_, bytes)| bytes);
            match unpack(bytes, begin, Whole::new(self.epoch, self.term, begin.version)) {
                Ok(whole) => whole,
                Err(taken) => {
                    self.held = None;
                    return taken;
                }
            }
        } else {
            let Some(whole) = self.whole.take() else { return Taken::Damaged(BlobError::Content) };
            whole
        };
        match whole.finish(begin.root) {
            Ok(step) => self.anew(step, begin.version, begin.confirmed).await,
            Err(refused) => {
                self.held = None;
                Taken::Rejected(rejection(&refused))
            }
        }
    }

    /// A whole content in the place of the one here, of which so many entities may go as somebody has confirmed. A blob that
    /// is held back stays: it is what will be confirmed.
    async fn anew(&mut self, step: Step, version: u64, confirmed: u64) -> Taken {
        let view = self.changelog.view();
        if let Err(shrink) = self.limit.judge(view.catalog.len() as u64, step.gone(&view), confirmed) {
            return Taken::Held(shrink);
        }
        self.held = None;
        self.step(step, version).await
    }

    async fn step(&mut self, step: Step, version: u64) -> Taken {
        match self.changelog.follow(step).await {
            Ok(()) => Taken::Durable(version),
            Err(refused @ (FollowError::Refused(_) | FollowError::Root { .. })) => Taken::Rejected(rejection(&refused)),
            Err(failed) => Taken::Failed(failed),
        }
    }
}

fn put(whole: &mut Whole, entity: Entity) -> Result<(), Rejection> {
    let record = entity.into_record().map_err(|unknown| unknown_kind(&unknown))?;
    whole.put(&record).map_err(|refused| rejection(&refused))
}

fn unpack(bytes: &[u8], begin: FullBegin, mut whole: Whole) -> Result<Whole, Taken> {
    if blob::digest(bytes).ok() != Some(begin.transfer) {
        return Err(Taken::Damaged(BlobError::Digest));
    }
    let mut entities = Unpack::new(begin, bytes).map_err(Taken::Damaged)?;
    while let Some(entity) = entities.next().map_err(Taken::Damaged)? {
        put(&mut whole, entity).map_err(Taken::Rejected)?;
    }
    Ok(whole)
}

fn rejection(refused: &FollowError) -> Rejection {
    let (code, entity) = match refused {
        FollowError::Root { .. } => (NackCode::Root, None),
        FollowError::Refused(conflicts) => match conflicts.first() {
            Some(Conflict::Duplicate { kind, id, .. }) => (NackCode::Duplicate, Some((kind.code(), *id))),
            Some(Conflict::Dangling { kind, id, .. } | Conflict::StillReferenced { kind, id, .. }) => {
                (NackCode::Dangling, Some((kind.code(), *id)))
            }
            Some(Conflict::Body { kind, id, .. }) => (NackCode::Invalid, Some((kind.code(), *id))),
            None => (NackCode::Internal, None),
        },
        _ => (NackCode::Internal, None),
    };
    Rejection { code, entity, path: String::new(), message: refused.to_string() }
}

fn unknown_kind(unknown: &wire::delta::UnknownKind) -> Rejection {
    let entity: Option<(u8, Id)> = Some((unknown.kind, unknown.id));
    Rejection { code: NackCode::UnknownKind, entity, path: String::new(), message: unknown.to_string() }
}
