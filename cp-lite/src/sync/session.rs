//! One node's connection: the thin task around `wire`'s pure session.
//!
//! It reads bytes into the session, writes what comes out, and wakes it when the head moves or its timer is over. A
//! node that reads nothing fills its own socket and then holds up this task and nothing else, for as long as a write
//! may take; the next commit is found whenever the task gets to it, merged with those before.

use super::crowd::{Order, Place};
use super::listener::{Cluster, now_s, plain};
use super::source::Published;
use super::told;
use crate::changelog::Role;
use crate::fleet::{HeldBack, Introduction, Kept, Lost, Node, Refusal, SessionId, SyncMode};
use crate::planes::{Connection, Follower, Unwelcome};
use model::Id;
use pki::Peer;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};
use tokio_rustls::server::TlsStream;
use wire::cp::{Action, Closed, Report, Session, Source as _};
use wire::message::{Mode, RefuseReason};
use wire::succession::unordered;
use wire::{ByeReason, Hello};

/// The longest that a write may be stuck before the node counts as gone.
const WRITE_MAX: Duration = Duration::from_secs(60);
/// How long a refused node is asked to stay away, in seconds.
const REFUSED_RETRY_S: u32 = 60;
/// The least and the most that whoever comes too early is asked to wait, in seconds.
const EARLY_RETRY_S: (u32, u32) = (2, 6);
/// How much is read at once.
const READ_BYTES: usize = 4 * 1024;

/// Holds a session with whoever is on `stream` until it ends.
pub(super) async fn run(
    cluster: &Cluster,
    stream: TlsStream<TcpStream>,
    from: SocketAddr,
    peer: Peer,
    mut stop: watch::Receiver<bool>,
) {
    let session = Session::new(cluster.config.clone(), 0);
    let told = told::Told::default();
    let mut task = Task {
        cluster,
        stream,
        from,
        peer,
        session,
        who: None,
        asking: None,
        transfer: false,
        transferring: false,
        started: Instant::now(),
        told,
        questions: VecDeque::new(),
    };
    let why = task.hold(&mut stop).await;
    tracing::info!(peer = %from, node = %task.name(), reason = %why, "node disconnected");
    task.forget().await;
}

struct Task<'a> {
    cluster: &'a Cluster,
    stream: TlsStream<TcpStream>,
    from: SocketAddr,
    peer: Peer,
    session: Session,
    who: Option<Who>,
    /// A control plane that would follow, until it is let in.
    asking: Option<(Id, Follower)>,
    /// Whether it occupies a place of those that are sent everything.
    transfer: bool,
    /// Whether that has begun.
    transferring: bool,
    started: Instant,
    told: told::Told,
    /// What this control plane's own writer is asked because a follower has sent PING, the oldest first; as many as the
    /// session takes.
    questions: VecDeque<u64>,
}

/// Who was let in.
enum Who {
    Node(Id, SessionId, String, Place),
    Follower(Id, Connection, String),
}

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Closed(#[from] Closed),
    #[error("connection lost: {0}")]
    Lost(#[from] std::io::Error),
    #[error("the node closed the connection")]
    Eof,
    #[error("the node reads nothing")]
    Stuck,
}

impl Task<'_> {
    async fn hold(&mut self, stop: &mut watch::Receiver<bool>) -> End {
        let mut head = self.cluster.sources.changelog().watch();
        let mut blobs = self.cluster.sources.blobs();
        let mut attached = self.cluster.planes.attached();
        let mut confirmations = self.cluster.fleet.confirmations();
        let mut confirmed = self.cluster.planes.confirmations();
        let mut counts = self.cluster.planes.downward();
        let mut answers = self.cluster.planes.answers();
        let mut bytes = vec![0; READ_BYTES];
        // Whether the session may have more of a full sync to send.
        let mut bulk = false;
        loop {
            let timer = self.session.timer().map(|at| self.started + Duration::from_millis(at));
            let (actions, source) = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => (self.session.bye(ByeReason::Shutdown, ""), None),
                read = self.stream.read(&mut bytes) => match read {
                    Ok(0) => return End::Eof,
                    Ok(count) => {
                        let (now, source) = (self.now(), self.source());
                        let actions = self.session.received(&bytes[..count], now, &*source);
                        if let (Some(Who::Follower(id, connection, _)), Some(nodes)) = (&self.who, self.session.planes()) {
                            self.cluster.planes.told(*id, *connection, nodes);
                        }
                        (actions, Some(source))
                    }
                    Err(error) => return error.into(),
                },
                changed = head.changed() => {
                    if changed.is_err() {
                        return Closed::Shutdown.into();
                    }
                    let source = self.source();
                    (self.session.head_changed(&*source), Some(source))
                }
                Ok(()) = blobs.changed() => {
                    let source = self.source();
                    (self.session.head_changed(&*source), Some(source))
                }
                Ok(()) = attached.changed() => {
                    if !self.is_without_writer() {
                        continue;
                    }
                    (self.session.bye(ByeReason::Busy, "this control plane has lost its own writer"), None)
                }
                Ok(()) = confirmations.changed() => {
                    let source = self.source();
                    (self.confirm(&source), Some(source))
                }
                Ok(()) = confirmed.changed(), if matches!(self.who, Some(Who::Follower(..))) => {
                    let source = self.source();
                    (self.confirm(&source), Some(source))
                }
                Ok(()) = counts.changed(), if matches!(self.who, Some(Who::Follower(..))) => {
                    let counts = counts.borrow_and_update().clone();
                    (self.session.tell_planes(counts), None)
                }
                () = answered(&mut answers, self.questions.front()) => {
                    self.questions.pop_front();
                    let source = self.source();
                    (self.session.pong(&*source), Some(source))
                }
                order = ordered(self.who.as_ref()) => (self.obey(order), None),
                () = wake(timer) => {
                    let (now, source) = (self.now(), self.source());
                    (self.session.tick(now, &*source), Some(source))
                }
                () = std::future::ready(()), if bulk => {
                    let actions = self.session.drained();
                    bulk = !actions.is_empty();
                    if !bulk {
                        continue;
                    }
                    (actions, None)
                }
            };
            bulk = true;
            if let Err(end) = self.perform(actions, source).await {
                return end;
            }
        }
    }

    fn obey(&mut self, order: Order) -> Vec<Action> {
        match order {
            Order::Move(order) => {
                let actions = self.session.move_to(&order.to);
                order.done(!actions.is_empty());
                actions
            }
            Order::End => {
                tracing::warn!(peer = %self.from, node = %self.name(), "another connection of the node takes the place of this one");
                self.session.superseded()
            }
        }
    }

    async fn perform(&mut self, actions: Vec<Action>, source: Option<Arc<Published>>) -> Result<(), End> {
        let mut queue = VecDeque::from(actions);
        while let Some(action) = queue.pop_front() {
            match action {
                Action::Send(bytes) => {
                    let writing = async {
                        self.stream.write_all(&bytes).await?;
                        self.stream.flush().await
                    };
                    timeout(WRITE_MAX, writing).await.map_err(|_| End::Stuck)??;
                }
                Action::Joined(hello) => {
                    let source = source.clone().unwrap_or_else(|| self.source());
                    queue.extend(match self.takes_over(&hello, source).await {
                        Some(source) => self.join(&hello, &source),
                        None => self.refuse_stranger(&hello),
                    });
                }
                Action::Asked => {
                    let question = self.cluster.planes.ask();
                    self.questions.push_back(question);
                }
                Action::Report(report) => self.report(&report),
                Action::Close(closed) => {
                    if let (Closed::Refused { message, .. }, Some((id, follower))) = (&closed, self.asking.take()) {
                        self.cluster.planes.turn_away(id, follower, message.clone(), now());
                    }
                    let _ = timeout(WRITE_MAX, self.stream.shutdown()).await;
                    return Err(closed.into());
                }
            }
        }
        Ok(())
    }

    /// Whether a node may be taken from the database that it is in to that of this control plane, and by which view. Where
    /// nothing says which of the two counts, a follower asks its writer first: one that lags behind, because it has not
    /// heard yet that its writer's database is gone, must take nobody back.
    async fn takes_over(&self, hello: &Hello, source: Arc<Published>) -> Option<Arc<Published>> {
        let strange = |source: &Published| {
            let (view, have) = (source.view(), hello.have);
            let known = have.epoch != 0 && view.epoch != 0;
            view.role == Role::Follower && known && unordered((hello.term, have.epoch), (view.term, view.epoch))
        };
        if !strange(&source) || !matches!(self.peer, Peer::Member(_)) {
            return Some(source);
        }
        let heard = self.cluster.planes.hears_writer(source.epoch()).await;
        let newest = self.source();
        ((heard && newest.epoch() == source.epoch()) || !strange(&newest)).then_some(newest)
    }

    fn refuse_stranger(&mut self, hello: &Hello) -> Vec<Action> {
        let why = "the node was with another database, and this control plane cannot ask its writer which one counts";
        tracing::info!(peer = %self.from, node = %hello.node, epoch = hello.have.epoch, "node has to come back later: {why}");
        self.session.refuse(RefuseReason::Busy, soon(), why)
    }

    /// Decides whether a node that said who it is may stay.
    fn join(&mut self, hello: &Hello, source: &Published) -> Vec<Action> {
        let refusal = match &self.peer {
            Peer::Member(_) => None,
            Peer::Anonymous => Some("no client certificate was shown".to_owned()),
            Peer::Stranger { refusal, .. } => Some(format!("the client certificate was refused: {refusal}")),
        };
        if let Some(why) = refusal {
            tracing::warn!(peer = %self.from, node = %hello.node, reason = %why, "node refused");
            return self.session.refuse(RefuseReason::Forbidden, REFUSED_RETRY_S, &why);
        }
        self.cluster.planes.heard_of((hello.term, hello.have.epoch), source.view().term);
        if source.view().epoch == 0 {
            let why = "this control plane follows another one and has not heard from it yet";
            return self.session.refuse(RefuseReason::Busy, soon(), why);
        }
        if hello.has(Hello::FOLLOWER) {
            return self.join_follower(hello, source);
        }
        if let Err(actions) = self.take_place(hello.node, source) {
            return actions;
        }
        let mode =
            if hello.incremental && self.cluster.config.incremental { SyncMode::Incremental } else { SyncMode::Full };
        let introduction = Introduction {
            hostname: hello.hostname.clone(),
            ip: plain(self.from).to_string(),
            version: hello.software.clone(),
            labels: hello.labels.iter().cloned().collect(),
            certificate_expires_at: self.certificate_end(),
            mode,
            epoch: hello.have.epoch,
            durable: hello.have.durable,
            store: hello.status,
        };
        match self.cluster.fleet.connect(hello.node, introduction, now()) {
            Err(full) => self.session.refuse(RefuseReason::Busy, REFUSED_RETRY_S, &full.to_string()),
            Ok(session) => {
                let (version, incremental) = (hello.have.applied, mode == SyncMode::Incremental);
                tracing::info!(peer = %self.from, node = %hello.node, hostname = %hello.hostname, version, incremental, "node connected");
                self.tell_store(hello.node, &hello.hostname);
                let place = self.cluster.crowd.join(hello.node, hello.has(Hello::MOVED));
                self.who = Some(Who::Node(hello.node, session, hello.hostname.clone(), place));
                self.told.connected(&self.cluster.config.software, hello, plain(self.from), source.in_use());
                let mut actions = self.confirm(source);
                actions.extend(self.session.admit(source));
                actions
            }
        }
    }

    /// Takes a place among the nodes, and among those that are sent everything if need be; or says what to answer.
    fn take_place(&mut self, node: Id, source: &Published) -> Result<(), Vec<Action>> {
        let everything = self.session.prospect(source) == Mode::Full;
        let mut admission = self.cluster.admission.borrow_mut();
        match admission.admit(self.cluster.crowd.others(node), everything) {
            Ok(()) => {
                self.transfer = everything;
                Ok(())
            }
            Err(busy) => {
                let retry = admission.retry_after_s(self.cluster.since_start(), Id::random().0 as u64);
                tracing::info!(peer = %self.from, retry, reason = %busy, "node has to come back later");
                Err(self.session.refuse(RefuseReason::Busy, retry, &busy.to_string()))
            }
        }
    }

    /// Says in the log what is wrong with a node's store; its row says it too.
    fn tell_store(&self, id: Id, hostname: &str) {
        let Some(Kept { not_durable, damaged, lost, .. }) = self.cluster.fleet.get(id).map(|node| node.store) else {
            return;
        };
        if let Some(Lost { durable_version, found_version, .. }) = lost.filter(|lost| lost.at + 1 >= now()) {
            tracing::warn!(node = %id, hostname, durable_version, found_version, "the node came back with less than it had made durable; it is sent again");
        }
        if damaged {
            tracing::warn!(node = %id, hostname, "the node's store lost something; it is sent again");
        }
        if not_durable {
            tracing::warn!(node = %id, hostname, "the node's store cannot be written; what it applies is not durable");
        }
    }

    fn give_up_transfer(&mut self) {
        if std::mem::take(&mut self.transfer) {
            self.cluster.admission.borrow_mut().transferred();
        }
    }

    fn join_follower(&mut self, hello: &Hello, source: &Published) -> Vec<Action> {
        let follower = Follower {
            hostname: hello.hostname.clone(),
            ip: plain(self.from).to_string(),
            software: hello.software.clone(),
            epoch: hello.have.epoch,
            version: hello.have.durable,
            ..Follower::default()
        };
        self.asking = Some((hello.node, follower.clone()));
        let follows = source.view().role == Role::Follower;
        if follows && !self.cluster.planes.follows_in(source.epoch()) {
            return self.session.refuse(RefuseReason::Busy, soon(), &Unwelcome::Unattached.to_string());
        }
        match self.cluster.planes.connect(hello.node, follower, self.cluster.id, follows) {
            Err(unwelcome) => self.session.refuse(RefuseReason::Busy, soon(), &unwelcome.to_string()),
            Ok(connection) => {
                tracing::info!(peer = %self.from, node = %hello.node, hostname = %hello.hostname, version = hello.have.applied, "follower connected");
                self.who = Some(Who::Follower(hello.node, connection, hello.hostname.clone()));
                self.told.connected(&self.cluster.config.software, hello, plain(self.from), source.in_use());
                if follows {
                    // Its PING is a question to the writer: see `Asked`.
                    self.session.relays();
                }
                let mut actions = self.confirm(source);
                actions.extend(self.session.admit(source));
                actions.extend(self.session.tell_planes(self.cluster.planes.all()));
                actions
            }
        }
    }

    /// Whether this session is with a follower, to whom this control plane has nothing to say while it has lost its own
    /// writer: otherwise two that lost the same one could end up following each other. Nor while that writer is of another
    /// database, which is not taken over yet.
    fn is_without_writer(&self) -> bool {
        let view = self.cluster.sources.changelog().view();
        let is_follower = matches!(self.who, Some(Who::Follower(..)));
        is_follower && view.role == Role::Follower && !self.cluster.planes.follows_in(view.epoch)
    }

    /// Tells the session what somebody has confirmed of this node.
    fn confirm(&mut self, source: &Published) -> Vec<Action> {
        let gone = match &self.who {
            Some(Who::Node(id, ..)) => self.cluster.fleet.confirmed(*id, source.epoch()),
            Some(Who::Follower(id, ..)) => self.cluster.planes.confirmed_of(*id, source.epoch()),
            None => None,
        };
        gone.map_or_else(Vec::new, |gone| self.session.confirm(gone, source))
    }

    fn certificate_end(&self) -> Option<i64> {
        if let Peer::Member(member) = &self.peer { Some(member.not_after) } else { None }
    }

    fn report(&mut self, report: &Report) {
        let writer = self.cluster.sources.changelog().view().role == Role::Writer;
        self.told.report(report, writer);
        // Over is what has begun: a blob that is still being made is waited for.
        self.transferring |= self.transfer && report.in_flight.is_some();
        if report.mode != Mode::Full || (self.transferring && report.in_flight.is_none()) {
            self.give_up_transfer();
        }
        let (id, session) = match &self.who {
            Some(Who::Node(id, session, ..)) => (id, session),
            Some(Who::Follower(id, connection, _)) => {
                return self.cluster.planes.report(*id, *connection, |row| show_follower(row, report));
            }
            None => return,
        };
        self.cluster.fleet.update(*id, *session, now(), |node| show(node, report));
    }

    async fn forget(&mut self) {
        self.give_up_transfer();
        let (id, session) = match self.who.take() {
            Some(Who::Node(id, session, ..)) => (id, session),
            Some(Who::Follower(id, connection, _)) => return self.cluster.planes.disconnect(id, connection),
            None => return,
        };
        let (bytes_in, bytes_out) = (self.session.report().bytes_in, self.session.report().bytes_out);
        self.cluster.fleet.update(id, session, now(), |node| (node.bytes_in, node.bytes_out) = (bytes_in, bytes_out));
        if let Some(row) = self.cluster.fleet.disconnect(id, session) {
            // A row that could not be kept is made again when the node comes back.
            let _ = self.cluster.sources.changelog().note(id, Some(row.encode())).await;
        }
    }

    fn source(&self) -> Arc<Published> {
        self.cluster.sources.newest()
    }

    fn name(&self) -> String {
        match &self.who {
            Some(Who::Node(id, _, hostname, _) | Who::Follower(id, _, hostname)) => format!("{hostname} ({id})"),
            None => "unknown".to_owned(),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn show(node: &mut Node, report: &Report) {
    (node.epoch, node.applied, node.durable) = (report.epoch, report.applied, report.durable);
    (node.bytes_in, node.bytes_out) = (report.bytes_in, report.bytes_out);
    node.sync_status = report.status;
    (node.withheld, node.ignored) = told::rows(report);
    node.holds(report.held);
    node.last_error = Refusal::told(report, now(), node.last_error.as_ref());
}

fn show_follower(row: &mut Follower, report: &Report) {
    (row.epoch, row.version, row.held) = (report.epoch, report.durable, report.held.map(HeldBack::from));
    (row.bytes_in, row.bytes_out) = (report.bytes_in, report.bytes_out);
    row.withheld = told::rows(report).0;
    row.last_error = Refusal::told(report, now(), row.last_error.as_ref());
}

/// A while in seconds, so that those who are sent away together do not come back together.
fn soon() -> u32 {
    let (least, most) = EARLY_RETRY_S;
    least + Id::random().0 as u32 % (most - least + 1)
}

fn now() -> i64 {
    i64::try_from(now_s()).unwrap_or(i64::MAX)
}

/// Waits until a node's session is to do something.
async fn ordered(who: Option<&Who>) -> Order {
    match who {
        Some(Who::Node(_, _, _, place)) => place.ordered().await,
        _ => std::future::pending().await,
    }
}

/// Waits until the writer has answered a question, if there is one.
async fn answered(answers: &mut watch::Receiver<u64>, question: Option<&u64>) {
    if let Some(question) = question
        && answers.wait_for(|answered| answered >= question).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

async fn wake(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
