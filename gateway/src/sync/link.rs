//! One connection to a control plane, from TCP to the last frame: the thin task around `wire`'s pure session.
//!
//! It reads bytes into the session, does the actions that come out in their order, and wakes the session at its timer.
//! While a delta is compiled and committed nothing is read, which is all the flow control that deltas need.

use super::apply::{Applier, Full, Refused};
use super::choice::Index;
use super::dial::Stream;
use super::lookout::Lookout;
use super::patches;
use super::reconcile;
use super::staging::Staging;
use super::status::Reporter;
use super::trial::{self, Greeted, Verdict};
use super::tunnel::TunnelError;
use crate::snapshot::Reason;
use model::{Id, Record};
use pki::LinkFailure;
use pki::link::WRITE_MAX;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};
use wire::dp::{Action, Closed, Rejection, Session};
use wire::full::{BlobError, Unpack, blob};
use wire::message::{FullBegin, Have, Mode, NackCode, Pong};
use wire::reconcile::Step;
use wire::resolve::Unready;
use wire::shrink::Shrink;
use wire::{ByeReason, Delta, Hello};

/// How many entities of a full sync are unpacked before others on this thread have their turn.
const ENTITIES_PER_TURN: usize = 64;
/// How much is read at once.
pub(super) const READ_BYTES: usize = 16 * 1024;

/// Why there is no connection, or no longer one.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It was not to be had, or broke.
    #[error(transparent)]
    Link(#[from] LinkFailure),
    /// There is no way through the proxy.
    #[error(transparent)]
    Proxy(#[from] TunnelError),
    /// The session came to an end.
    #[error(transparent)]
    Closed(#[from] Closed),
}

impl LinkError {
    /// How long the control plane asked to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        if let Self::Closed(closed) = self { closed.retry_after() } else { Duration::ZERO }
    }
}

/// How a link ended.
pub enum End {
    /// There is no connection any more.
    Over(LinkError),
    /// Another control plane, which has greeted already, is to be preferred.
    Switched(Index, Box<Greeted>),
}

/// One session on an established connection.
pub struct Link<'a> {
    stream: Stream,
    lookout: Lookout<'a>,
    session: &'a mut Session,
    applier: &'a mut Applier,
    staging: &'a mut Staging,
    reporter: &'a Reporter,
    full: Option<Full>,
    /// The version of the blob that is coming.
    offered: u64,
    epoch: u64,
    term: u32,
    started: Instant,
}

impl<'a> Link<'a> {
    /// Takes over a connection. `started` is the zero of the session's clock.
    pub fn new(
        stream: Stream,
        lookout: Lookout<'a>,
        session: &'a mut Session,
        applier: &'a mut Applier,
        staging: &'a mut Staging,
        reporter: &'a Reporter,
        started: Instant,
    ) -> Self {
        Self {
            stream,
            lookout,
            session,
            applier,
            staging,
            reporter,
            full: None,
            offered: 0,
            epoch: 0,
            term: 0,
            started,
        }
    }

    /// Holds the session until it ends, or another one is better. `greeted` is what a greeting that took place already left
    /// to be done.
    pub async fn run(mut self, greeted: Option<Vec<Action>>, stop: &mut watch::Receiver<bool>) -> End {
        let error = match self.converse(greeted, stop).await {
            Ok((plane, greeted)) => return End::Switched(plane, greeted),
            Err(error) => error,
        };
        self.lookout.ended(&error, self.session.pinged_after());
        End::Over(error)
    }

    async fn converse(
        &mut self,
        greeted: Option<Vec<Action>>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(Index, Box<Greeted>), LinkError> {
        let mut bytes = vec![0; READ_BYTES];
        let mut actions = match greeted {
            Some(actions) => actions,
            None => {
                let (have, status) = self.hello();
                self.session.holds(self.staging.partial());
                self.session.of_term(self.applier.snapshot().term);
                self.session.connected(have, status, self.now())
            }
        };
        loop {
            self.perform(actions).await?;
            let timer = self.session.timer().map(|at| self.started + Duration::from_millis(at));
            let retry = self.applier.retry_at();
            let idle = self.session.is_idle();
            actions = tokio::select! {
                read = self.stream.read(&mut bytes) => match read {
                    Ok(0) => return Err(LinkFailure::Eof.into()),
                    Ok(count) => {
                        self.reporter.update(|link| link.bytes_in += count as u64);
                        self.session.received(&bytes[..count], self.now())
                    }
                    Err(error) => return Err(LinkFailure::lost(error).into()),
                },
                () = wake(timer) => self.session.tick(self.now()),
                () = wake(retry) => self.retry().await,
                (plane, stream) = self.lookout.found(idle) => match self.try_out(plane, stream).await {
                    Some(greeted) => {
                        let goodbye = self.session.bye(ByeReason::Shutdown, "", self.now());
                        let _ = self.perform(goodbye).await;
                        return Ok((plane, greeted));
                    }
                    None => Vec::new(),
                },
                _ = stop.wait_for(|stop| *stop) => self.session.bye(ByeReason::Shutdown, "", self.now()),
            };
        }
    }

    /// Greets another control plane on a second connection. Nothing is lost: it says what this node has, this session is
    /// idle and is not read meanwhile.
    async fn try_out(&mut self, plane: Index, stream: Stream) -> Option<Box<Greeted>> {
        if !self.session.is_idle() {
            return None;
        }
        let mut beside = self.session.beside();
        beside.holds(self.staging.partial());
        match trial::greet(stream, beside, self.hello(), (self.epoch, self.term), self.started).await {
            Ok(Verdict::Better(greeted)) => Some(greeted),
            Ok(Verdict::NoBetter { mode }) => {
                tracing::info!(mode, "another control plane was tried and is no better");
                None
            }
            Err(error) => {
                self.lookout.failed(plane, &error);
                None
            }
        }
    }

    fn hello(&self) -> (Have, u32) {
        let snapshot = self.applier.snapshot();
        let mut status = 0;
        if self.applier.trouble().is_some() {
            status |= Hello::STORE_NOT_DURABLE;
        }
        if self.applier.needs_full() {
            return (Have::default(), status | Hello::STORE_DAMAGED);
        }
        if self.applier.has_lost() {
            status |= Hello::STORE_DAMAGED;
        }
        if snapshot.epoch == 0 && !snapshot.catalog().is_empty() {
            status |= Hello::FROM_FILE;
        }
        let have = Have {
            epoch: snapshot.epoch,
            applied: snapshot.version,
            durable: self.applier.durable(snapshot.epoch),
            root: snapshot.catalog().digest(),
            count: snapshot.catalog().len() as u64,
        };
        (have, status)
    }

    /// Does what the session wants done, and what comes of that, in order.
    async fn perform(&mut self, actions: Vec<Action>) -> Result<(), LinkError> {
        let mut queue = VecDeque::from(actions);
        while let Some(action) = queue.pop_front() {
            match action {
                Action::Send(bytes) => self.send(&bytes).await?,
                Action::Welcomed(welcome) => {
                    self.lookout.welcomed(&welcome);
                    (self.epoch, self.term) = (welcome.epoch, welcome.term);
                    self.applier.of_term(welcome.term);
                    if matches!(welcome.mode, Mode::Same | Mode::Tail) {
                        self.staging.discard();
                    }
                    let (mode, heartbeat_s) = (welcome.mode.name(), self.session.heartbeat_s());
                    tracing::info!(
                        mode,
                        head = welcome.head,
                        incremental = welcome.incremental,
                        heartbeat_s,
                        "control plane connected"
                    );
                    self.reporter.update(|link| {
                        (link.connected, link.mode, link.incremental) = (true, Some(mode), welcome.incremental);
                        (link.head, link.last_error, link.heartbeat_s) = (welcome.head, None, heartbeat_s);
                    });
                }
                Action::Head(pong) => self.answered(pong),
                Action::Stage(delta) => queue.extend(self.stage(delta).await),
                Action::FullBegin { epoch, begin } => queue.extend(self.begin(epoch, begin).await),
                Action::FullChunk { entities, bytes } => queue.extend(self.chunk(entities, bytes).await),
                Action::FullBytes { bytes, .. } => queue.extend(self.keep(&bytes).await),
                Action::FullComplete { epoch, begin } if begin.is_blob() => {
                    queue.extend(self.unpack(epoch, begin).await);
                }
                Action::FullComplete { begin, .. } => queue.extend(self.complete(begin).await),
                Action::Symbols { seed, from, until } => {
                    let symbols = reconcile::symbols(&self.applier.snapshot(), seed, from, until).await;
                    queue.extend(self.session.symbols(seed, from, &symbols, self.now()));
                }
                Action::Parity(get) => {
                    let parity = reconcile::parity(self.applier, &get).await;
                    queue.extend(self.session.parity(parity, self.now()));
                }
                Action::Reconciled { epoch, step } => queue.extend(self.reconciled(epoch, step).await),
                Action::Close(closed) => {
                    let _ = timeout(WRITE_MAX, self.stream.shutdown()).await;
                    return Err(closed.into());
                }
            }
        }
        Ok(())
    }

    /// A PING was answered.
    fn answered(&mut self, pong: Pong) {
        if let Some(heartbeat_s) = self.lookout.survived(self.session.pinged_after()) {
            self.session.adapt(heartbeat_s);
        }
        self.lookout.heard(pong.head, self.session.have().applied);
        let heartbeat_s = pong.heartbeat_s.unwrap_or_else(|| self.session.heartbeat_s());
        self.reporter.update(|link| (link.head, link.heartbeat_s) = (pong.head, heartbeat_s));
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        let writing = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        timeout(WRITE_MAX, writing).await.map_err(|_| LinkFailure::Timeout(WRITE_MAX))?.map_err(LinkFailure::lost)?;
        self.reporter.update(|link| link.bytes_out += bytes.len() as u64);
        Ok(())
    }

    async fn stage(&mut self, delta: Delta) -> Vec<Action> {
        let Delta { to, root, ops, .. } = delta;
        match patches::changes(self.applier, ops).await {
            Err(Unready::Unknown(unknown)) => self.reject(to, unknown_kind(unknown)),
            Err(Unready::Missing(entities)) => self.missing(to, &entities),
            Ok(changes) => match self.applier.delta(self.epoch, to, root, changes).await {
                Ok(()) => self.applied(to, Mode::Tail),
                Err(refused) => self.reject(to, rejection(&refused)),
            },
        }
    }

    async fn reconciled(&mut self, epoch: u64, step: Step) -> Vec<Action> {
        let Step { version, root, confirmed, .. } = step;
        let changes = match reconcile::changes(self.applier, step).await {
            Ok(changes) => changes,
            Err(Unready::Unknown(unknown)) => return self.reject(version, unknown_kind(unknown)),
            Err(Unready::Missing(entities)) => return self.missing(version, &entities),
        };
        tracing::info!(version, changes = changes.changes.len(), gone = changes.gone, "reconciled");
        match self.applier.reconcile((epoch, self.term), version, root, changes, confirmed).await {
            Ok(()) => {
                self.staging.discard();
                self.applied(version, Mode::Reconcile)
            }
            Err(Refused::Shrink(shrink)) => self.hold(version, shrink),
            Err(refused) => self.reject(version, rejection(&refused)),
        }
    }

    /// A full sync is to be had: takes it, and what is here of it already, unless it would take too much away.
    async fn begin(&mut self, epoch: u64, begin: FullBegin) -> Vec<Action> {
        if let Err(shrink) = self.applier.admits(begin.count, begin.confirmed) {
            return self.hold(begin.version, shrink);
        }
        if !begin.is_blob() {
            self.full = Some(self.applier.full(epoch, begin.version).await.confirmed(begin.confirmed));
            return self.session.full_open(0, self.now());
        }
        let held = self.staging.begin(&begin);
        self.offered = begin.version;
        tracing::info!(version = begin.version, bytes = begin.bytes, held, "full sync");
        self.session.full_open(held, self.now())
    }

    async fn chunk(&mut self, entities: Vec<wire::delta::Entity>, bytes: u64) -> Vec<Action> {
        // Of a full sync that was rejected while these were on their way.
        let Some(mut full) = self.full.take() else { return Vec::new() };
        for entity in entities {
            let record: Record = match entity.into_record() {
                Ok(record) => record,
                Err(unknown) => return self.reject(full.version(), unknown_kind(unknown)),
            };
            if let Err(refused) = full.put(&record).await {
                return self.reject(full.version(), rejection(&refused));
            }
        }
        self.full = Some(full);
        self.session.full_processed(bytes, self.now())
    }

    async fn keep(&mut self, bytes: &[u8]) -> Vec<Action> {
        match self.staging.push(bytes).await {
            Ok(()) => {
                self.lookout.useful();
                self.session.full_processed(bytes.len() as u64, self.now())
            }
            Err(no_room) => {
                let message = no_room.to_string();
                let rejection = Rejection { code: NackCode::Resources, entity: None, path: String::new(), message };
                self.reject(self.offered, rejection)
            }
        }
    }

    /// All of a blob is here: takes it apart into another generation.
    async fn unpack(&mut self, epoch: u64, begin: FullBegin) -> Vec<Action> {
        let full = self.applier.full(epoch, begin.version).await.confirmed(begin.confirmed);
        match fill(full, self.staging, begin).await {
            Ok(full) => {
                self.full = Some(full);
                self.complete(begin).await
            }
            Err(Unfit::Refused(rejection)) => {
                self.staging.discard();
                self.reject(begin.version, rejection)
            }
            Err(Unfit::Damaged(error)) => {
                self.staging.discard();
                self.session.full_damaged(error, self.now())
            }
        }
    }

    /// A blob that is held back stays: it is what will be confirmed.
    async fn complete(&mut self, begin: FullBegin) -> Vec<Action> {
        let FullBegin { version, root, .. } = begin;
        let Some(full) = self.full.take() else { return Vec::new() };
        let finished = self.applier.finish(full, root).await;
        if let Err(Refused::Shrink(shrink)) = finished {
            return self.hold(version, shrink);
        }
        self.staging.discard();
        match finished {
            Ok(()) => self.applied(version, Mode::Full),
            Err(refused) => self.reject(version, rejection(&refused)),
        }
    }

    /// Tells the session what became of a staged version, which came by `mode`: durable first, so that one ack says both.
    fn applied(&mut self, version: u64, mode: Mode) -> Vec<Action> {
        let now = self.now();
        self.lookout.useful();
        self.lookout.heard(version, version);
        let durable = self.applier.durable(self.epoch);
        self.applier.tell(self.reporter);
        self.reporter.update(|link| {
            link.last_nack = None;
            (link.head, link.mode) = (link.head.max(version), Some(mode.name()));
        });
        let mut actions = if durable == version { self.session.durable(version, now) } else { Vec::new() };
        actions.extend(self.session.applied(version, now));
        actions
    }

    fn missing(&mut self, version: u64, entities: &[(u8, Id)]) -> Vec<Action> {
        tracing::info!(version, missing = entities.len(), "patches of what is not here; asking for all of it");
        self.session.base_missing(entities, self.now())
    }

    fn reject(&mut self, version: u64, rejection: Rejection) -> Vec<Action> {
        let Rejection { code, path, message, .. } = &rejection;
        tracing::warn!(version, code = code.name(), %path, %message, "version refused; the one before serves on");
        let told = rejection.clone();
        self.reporter.update(|link| link.last_nack = Some((version, told)));
        self.session.rejected(rejection, self.now())
    }

    fn hold(&mut self, version: u64, shrink: Shrink) -> Vec<Action> {
        tracing::warn!(version, %shrink, "version held back until \"cp-lite node confirm\"; the one before serves on");
        let (path, message) = (String::new(), format!("held back: {shrink}"));
        let told = Rejection { code: NackCode::Shrink, entity: None, path, message };
        self.reporter.update(|link| link.last_nack = Some((version, told)));
        self.session.held(shrink, self.now())
    }

    async fn retry(&mut self) -> Vec<Action> {
        let before = self.applier.snapshot();
        self.applier.retry().await;
        self.applier.tell(self.reporter);
        if !Arc::ptr_eq(&before, &self.applier.snapshot()) {
            // The next hello tells what is here now.
            return self.session.bye(ByeReason::Shutdown, "the store was opened", self.now());
        }
        let durable = self.applier.durable(self.epoch);
        if self.applier.needs_full() {
            // The next hello asks for it; what is served goes on being served meanwhile.
            return self.session.bye(ByeReason::Shutdown, "the store needs a full sync", self.now());
        }
        self.session.durable(durable, self.now())
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Why a blob is not served.
enum Unfit {
    /// What it holds cannot be served by this build.
    Refused(Rejection),
    /// It is not what it was announced to be.
    Damaged(BlobError),
}

/// Takes a blob apart twice: first into the store, then into what is served. What the store needs for a moment is free
/// again by then; side by side, the two leave gaps of 2.4 MiB at 30,000 entities between what stays.
async fn fill(mut full: Full, staging: &Staging, begin: FullBegin) -> Result<Full, Unfit> {
    let unreadable = |_: io::Error| Unfit::Damaged(BlobError::Digest);
    if blob::digest(staging.read().map_err(unreadable)?).map_err(unreadable)? != begin.transfer {
        return Err(Unfit::Damaged(BlobError::Digest));
    }
    for compiles in [false, true] {
        let mut entities = Unpack::new(begin, staging.read().map_err(unreadable)?).map_err(Unfit::Damaged)?;
        let mut since_pause = 0;
        while let Some(entity) = entities.next().map_err(Unfit::Damaged)? {
            let record = entity.into_record().map_err(|unknown| Unfit::Refused(unknown_kind(unknown)))?;
            if compiles {
                full.compile(&record).map_err(|refused| Unfit::Refused(rejection(&refused)))?;
            } else {
                full.keep(&record).await;
            }
            since_pause += 1;
            if since_pause == ENTITIES_PER_TURN {
                since_pause = 0;
                tokio::task::yield_now().await;
            }
        }
    }
    Ok(full)
}

fn rejection(refused: &Refused) -> Rejection {
    match refused {
        Refused::Rejected(rejected) => Rejection {
            code: code(rejected.reason),
            entity: refused.entity(),
            path: rejected.path.clone(),
            message: rejected.message.clone(),
        },
        Refused::Root { .. } | Refused::Shrink(_) => {
            let code = if matches!(refused, Refused::Root { .. }) { NackCode::Root } else { NackCode::Shrink };
            Rejection { code, entity: None, path: String::new(), message: refused.to_string() }
        }
    }
}

fn code(reason: Reason) -> NackCode {
    match reason {
        Reason::UnknownPlugin => NackCode::UnknownPlugin,
        Reason::Invalid => NackCode::Invalid,
        Reason::Dangling => NackCode::Dangling,
        Reason::Duplicate => NackCode::Duplicate,
        Reason::Compile => NackCode::Compile,
        Reason::Internal => NackCode::Internal,
    }
}

fn unknown_kind(unknown: wire::delta::UnknownKind) -> Rejection {
    Rejection {
        code: NackCode::UnknownKind,
        entity: Some((unknown.kind, unknown.id)),
        path: String::new(),
        message: unknown.to_string(),
    }
}

pub(super) async fn wake(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
