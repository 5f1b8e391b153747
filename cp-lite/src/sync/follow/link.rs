//! One connection to a writer: the thin task around `wire`'s pure session of a node.
//!
//! While a step is taken over nothing is read, which is all the flow control that steps need.

use super::take::{Taken, Taker};
use crate::changelog::FollowError;
use crate::planes::Planes;
use pki::link::{CONNECT_MAX, HANDSHAKE_MAX, WRITE_MAX};
use pki::{ClusterClient, LinkFailure};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wire::ByeReason;
use wire::dp::{Action, Closed, Session};
use wire::message::{FullBegin, Mode, Welcome};

/// The longest that a goodbye may take.
const BYE_MAX: Duration = Duration::from_secs(1);
/// How much is read at once.
const READ_BYTES: usize = 32 * 1024;

/// Why there is no connection, or no longer one.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error(transparent)]
    Link(#[from] LinkFailure),
    #[error(transparent)]
    Closed(#[from] Closed),
    /// What came could not be made durable: it is asked for again on another connection.
    #[error(transparent)]
    Store(FollowError),
}

impl End {
    /// How long the writer asked to be left alone.
    pub(super) fn retry_after(&self) -> Duration {
        if let Self::Closed(closed) = self { closed.retry_after() } else { Duration::ZERO }
    }
}

/// Connects to `host:port` and makes sure that it is a control plane of our cluster.
pub(super) async fn connect(address: &str, client: &ClusterClient) -> Result<TlsStream<TcpStream>, LinkFailure> {
    let name = client.server_name_at(address)?;
    let connecting = timeout(CONNECT_MAX, TcpStream::connect(address)).await;
    let stream = connecting.map_err(|_| LinkFailure::Timeout(CONNECT_MAX))?.map_err(LinkFailure::Connect)?;
    stream.set_nodelay(true).map_err(LinkFailure::Connect)?;
    let handshake = timeout(HANDSHAKE_MAX, TlsConnector::from(client.config().clone()).connect(name, stream)).await;
    let handshake = handshake.map_err(|_| LinkFailure::Timeout(HANDSHAKE_MAX))?;
    handshake.map_err(|error| LinkFailure::handshake(&error))
}

/// One session on an established connection.
pub(super) struct Link<'a> {
    stream: TlsStream<TcpStream>,
    session: &'a mut Session,
    taker: &'a mut Taker,
    planes: &'a Planes,
    greeted: bool,
    started: Instant,
}

impl<'a> Link<'a> {
    /// Takes over a connection. `started` is the zero of the session's clock.
    pub(super) fn new(
        stream: TlsStream<TcpStream>,
        session: &'a mut Session,
        taker: &'a mut Taker,
        planes: &'a Planes,
        started: Instant,
    ) -> Self {
        Self { stream, session, taker, planes, greeted: false, started }
    }

    /// Whether the writer welcomed this control plane.
    pub(super) fn greeted(&self) -> bool {
        self.greeted
    }

    /// Holds the session until it ends.
    pub(super) async fn run(&mut self) -> End {
        let mut bytes = vec![0; READ_BYTES];
        let (have, term) = self.taker.have();
        self.session.of_term(term);
        self.session.holds(self.taker.partial());
        self.planes.update(|upstream| (upstream.bytes_in, upstream.bytes_out) = (0, 0));
        let mut actions = self.session.connected(have, 0, self.now());
        let mut counts = self.planes.upward();
        // Said once in any case.
        counts.mark_changed();
        let mut questions = self.planes.questions();
        loop {
            if let Err(end) = self.perform(actions).await {
                return end;
            }
            let timer = self.session.timer().map(|at| self.started + Duration::from_millis(at));
            actions = tokio::select! {
                read = self.stream.read(&mut bytes) => match read {
                    Ok(0) => return LinkFailure::Eof.into(),
                    Ok(count) => {
                        self.planes.update(|upstream| upstream.bytes_in += count as u64);
                        let actions = self.session.received(bytes.get(..count).unwrap_or_default(), self.now());
                        if let Some(nodes) = self.session.planes() {
                            self.planes.told_from_above(nodes);
                        }
                        self.planes.answer(self.session.answered());
                        actions
                    }
                    Err(error) => return LinkFailure::lost(error).into(),
                },
                () = wake(timer) => self.session.tick(self.now()),
                Ok(()) = counts.changed(), if self.greeted => {
                    let counts = counts.borrow_and_update().clone();
                    self.session.tell_planes(counts, self.now())
                }
                Ok(()) = questions.changed(), if self.greeted => {
                    let question = *questions.borrow_and_update();
                    self.session.ask(question, self.now())
                }
            };
        }
    }

    /// Ends the session from this end, for whatever reason; a moment is all it may take.
    pub(super) async fn bye(&mut self) {
        let actions = self.session.bye(ByeReason::Shutdown, "", self.now());
        let _ = timeout(BYE_MAX, self.perform(actions)).await;
    }

    async fn perform(&mut self, actions: Vec<Action>) -> Result<(), End> {
        let mut queue = VecDeque::from(actions);
        while let Some(action) = queue.pop_front() {
            match action {
                Action::Send(bytes) => self.send(&bytes).await?,
                Action::Welcomed(welcome) => self.welcomed(&welcome),
                Action::Head(pong) => self.planes.update(|upstream| upstream.head = pong.head),
                Action::Stage(delta) => {
                    let taken = self.taker.delta(delta).await;
                    queue.extend(self.told(taken, Mode::Tail)?);
                }
                Action::FullBegin { begin, .. } => queue.extend(self.begin(&begin)?),
                Action::FullChunk { entities, bytes } => match self.taker.entities(entities) {
                    Ok(()) => queue.extend(self.session.full_processed(bytes, self.now())),
                    Err(rejection) => queue.extend(self.session.rejected(rejection, self.now())),
                },
                Action::FullBytes { bytes, .. } => {
                    self.taker.keep(&bytes);
                    queue.extend(self.session.full_processed(bytes.len() as u64, self.now()));
                }
                Action::FullComplete { begin, .. } => {
                    let taken = self.taker.complete(begin).await;
                    queue.extend(self.told(taken, Mode::Full)?);
                }
                Action::Symbols { seed, from, until } => {
                    let symbols = self.taker.symbols(seed, from, until);
                    queue.extend(self.session.symbols(seed, from, &symbols, self.now()));
                }
                Action::Parity(get) => {
                    let parity = self.taker.parity(&get);
                    queue.extend(self.session.parity(parity, self.now()));
                }
                Action::Reconciled { step, .. } => {
                    tracing::info!(
                        version = step.version,
                        puts = step.puts.len(),
                        patches = step.mends.len(),
                        gone = step.gone.len(),
                        "reconciled"
                    );
                    let taken = self.taker.reconciled(step).await;
                    queue.extend(self.told(taken, Mode::Reconcile)?);
                }
                Action::Close(closed) => {
                    let _ = timeout(BYE_MAX, self.stream.shutdown()).await;
                    return Err(closed.into());
                }
            }
        }
        Ok(())
    }

    fn welcomed(&mut self, welcome: &Welcome) {
        self.greeted = true;
        self.taker.welcomed(welcome);
        let mode = welcome.mode.name();
        self.planes.update(|upstream| {
            (upstream.epoch, upstream.head) = (welcome.epoch, welcome.head);
            (upstream.mode, upstream.last_error) = (Some(mode), None);
        });
        self.planes.attach(true);
        tracing::info!(mode, head = welcome.head, "following");
    }

    /// A full sync is to be had: takes it, unless it would take too much away.
    fn begin(&mut self, begin: &FullBegin) -> Result<Vec<Action>, End> {
        if let Err(shrink) = self.taker.admits(begin) {
            return self.told(Taken::Held(shrink), Mode::Full);
        }
        let held = if begin.is_blob() {
            let held = self.taker.begin_blob(begin);
            tracing::info!(version = begin.version, bytes = begin.bytes, held, "full sync");
            held
        } else {
            self.taker.begin(begin);
            0
        };
        Ok(self.session.full_open(held, self.now()))
    }

    /// Tells the session what became of a step, which came by `mode`.
    fn told(&mut self, taken: Taken, mode: Mode) -> Result<Vec<Action>, End> {
        let now = self.now();
        match taken {
            Taken::Durable(version) => {
                self.planes.update(|upstream| {
                    let head = upstream.head.max(version);
                    (upstream.head, upstream.mode, upstream.last_error) = (head, Some(mode.name()), None);
                });
                let mut actions = self.session.durable(version, now);
                actions.extend(self.session.applied(version, now));
                Ok(actions)
            }
            Taken::Rejected(rejection) => {
                tracing::warn!(message = %rejection.message, "a step of the writer was refused");
                self.planes.update(|upstream| upstream.last_error = Some(rejection.message.clone()));
                Ok(self.session.rejected(rejection, now))
            }
            Taken::Held(shrink) => {
                tracing::warn!(%shrink, "held back until \"cp-lite node confirm\" there; serving what is here");
                self.planes.update(|upstream| upstream.last_error = Some(format!("held back: {shrink}")));
                Ok(self.session.held(shrink, now))
            }
            Taken::Missing(entities) => {
                tracing::info!(missing = entities.len(), "patches of what is not here; asking for all of it");
                Ok(self.session.base_missing(&entities, now))
            }
            Taken::Damaged(error) => Ok(self.session.full_damaged(error, now)),
            Taken::Failed(error) => Err(End::Store(error)),
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), End> {
        let writing = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        let written = timeout(WRITE_MAX, writing).await.map_err(|_| LinkFailure::Timeout(WRITE_MAX))?;
        written.map_err(LinkFailure::lost)?;
        self.planes.update(|upstream| upstream.bytes_out += bytes.len() as u64);
        Ok(())
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

async fn wake(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
