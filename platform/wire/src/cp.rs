//! The control plane's end of a session with one node. It decides from the node's HELLO how to go on, sends a step as
//! soon as the node has no other one unacknowledged (so that changes coalesce behind a slow node, and only there; small
//! ones overtake a full sync), and
//! keeps what is to be known of the node in a [`Report`].
//!
//! ```text
//! new ─HELLO─▶ Joined ─admit─▶ Idle ─behind head─▶ Delta | Full ─ACK/NACK─▶ Idle
//!                     └refuse─▶ Closed
//! ```
//!
//! A task that holds a session (`started` is an instant, times are milliseconds since then; `view()` is the newest view):
//!
//! ```text
//! loop {
//!     let actions = select! {                                                  // in this order
//!         _ = stop                             => session.bye(ByeReason::Shutdown, ""),
//!         bytes = read(), if unsent is small   => session.received(&bytes, now(), &*view()),
//!         _ = head.changed()                   => session.head_changed(&*view()),
//!         () = sleep_until(session.timer())    => session.tick(now(), &*view()),
//!         () = ready(), if unsent is empty and drained() may have more => session.drained(),
//!     };
//!     let mut queue = VecDeque::from(actions);
//!     while let Some(action) = queue.pop_front() { match action {
//!         Send(bytes)   => unsent.push(bytes), or write_all(bytes) within a deadline,
//!         Joined(hello) => queue.extend(if may(hello) { session.admit(&*view()) } else { session.refuse(why, seconds, text) }),
//!         Report(report)=> fleet table,
//!         Asked         => (after relays() only) ask the own writer; once it has answered: session.pong(&*view()),
//!         Close(why)    => flush, close, return why,
//!     } }
//! }
//! ```
//!
//! `drained` may have more after any other call, until it answers with nothing.
//!
//! What is sent comes from a [`Source`]: one view of the configuration, passed as an argument each time. A session holds
//! no configuration; beside a full sync (a chunk of it at a time) it holds a few hundred bytes.

mod action;
mod answer;
mod decide;
mod greeting;
mod hold;
mod mending;
mod overtake;
mod patching;
mod patience;
mod reconcile;
mod relay;

use crate::compat::SyncStatus;
use crate::error::ProtocolError;
use crate::frame::Decoder;
use crate::full::Sender;
use crate::limits::{ADDRESS_BYTES_MAX, ANSWER_MS_MAX, GREETING_MS_MAX, SUPERSEDED_RETRY_S, clip};
use crate::message::{Bye, ByeReason, Hello, Message, Mode};
use crate::planes::PlaneNodes;
use bytes::Bytes;
use model::Id;
use patching::Patching;
use patience::Patience;
use std::sync::Arc;

use hold::Hold;
use overtake::Overtaking;
use reconcile::Finding;
use relay::Owed;

pub use action::{Action, Closed, Config, Report, Source};
pub use hold::Held;

enum State {
    Closed,
    Greeting {
        until: u64,
    },
    /// HELLO came; the caller has to admit or refuse.
    Joined,
    Live,
}

enum Work {
    Idle,
    /// A step: a delta, or what a reconcile found.
    Delta {
        to: u64,
        root: u64,
        confirmed: u64,
        patched: bool,
    },
    /// A full sync, and what has overtaken it.
    Full(Box<Sender>, Overtaking),
    Reconcile(Box<Finding>),
}

/// The control plane's end.
pub struct Session {
    config: Arc<Config>,
    state: State,
    decoder: Decoder,
    node: Option<Arc<Hello>>,
    /// The epoch that WELCOME named.
    epoch: u64,
    heartbeat_ms: u64,
    /// When bytes last came.
    heard: u64,
    work: Work,
    /// The root digest of the node at its version.
    root: u64,
    /// What the node holds back until somebody confirms it.
    hold: Option<Hold>,
    /// How many of the node's entities may go, as somebody has confirmed.
    confirmed: u64,
    /// Digests did not help: what comes next is everything.
    whole: bool,
    /// The node's content is not what its version says.
    diverged: bool,
    wanted: Vec<(u8, Id)>,
    patching: Patching,
    patience: Patience,
    owed: Owed,
    /// The time, as of the last call that said it.
    now: u64,
    /// What a follower said of its nodes, if that was not asked for yet.
    planes: Option<Vec<PlaneNodes>>,
    report: Report,
    /// Whether the report has changed since it was last given out.
    dirty: bool,
}

impl Session {
    /// A connection was accepted.
    #[must_use]
    pub fn new(config: Arc<Config>, now: u64) -> Self {
        let report = Report {
            epoch: 0,
            applied: 0,
            durable: 0,
            in_flight: None,
            status: SyncStatus::Unknown,
            reason: String::new(),
            withheld: Vec::new(),
            ignored: Vec::new(),
            mode: Mode::Withheld,
            incremental: config.incremental,
            nack: None,
            held: None,
            bytes_in: 0,
            bytes_out: 0,
        };
        Self {
            config,
            state: State::Greeting { until: now.saturating_add(GREETING_MS_MAX) },
            decoder: Decoder::new(),
            node: None,
            epoch: 0,
            heartbeat_ms: 0,
            heard: now,
            work: Work::Idle,
            root: 0,
            hold: None,
            confirmed: 0,
            whole: false,
            diverged: false,
            wanted: Vec::new(),
            patching: Patching::default(),
            patience: Patience::default(),
            owed: Owed::default(),
            now,
            planes: None,
            report,
            dirty: false,
        }
    }

    /// What is known of the node, with the byte counters of this moment.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Bytes came.
    pub fn received(&mut self, mut bytes: &[u8], now: u64, source: &dyn Source) -> Vec<Action> {
        let mut out = Vec::new();
        (self.heard, self.now) = (now, now);
        self.report.bytes_in += bytes.len() as u64;
        while !matches!(self.state, State::Closed) {
            match self.decoder.next(&mut bytes) {
                Ok(Some(frame)) => {
                    let handled = Message::decode(frame).and_then(|message| match message {
                        Some(message) => self.message(message, source, &mut out),
                        None => Ok(()),
                    });
                    if let Err(error) = handled {
                        self.fail(error, &mut out);
                    }
                }
                Ok(None) => break,
                Err(error) => self.fail(error, &mut out),
            }
        }
        self.pump(source, &mut out);
        out
    }

    /// Somebody has confirmed that so many of the node's entities may go: what it holds back is sent again, and is taken
    /// unless more than that would go by now. Before [`Session::admit`] it is for what that sends.
    pub fn confirm(&mut self, gone: u64, source: &dyn Source) -> Vec<Action> {
        let mut out = Vec::new();
        self.confirmed = self.confirmed.max(gone);
        self.hold.take_if(|hold| hold.held.shrink.gone <= gone);
        self.pump(source, &mut out);
        out
    }

    /// There is another view than at the last call.
    pub fn head_changed(&mut self, source: &dyn Source) -> Vec<Action> {
        let mut out = Vec::new();
        self.pump(source, &mut out);
        out
    }

    /// Everything that was to be sent has been written: the next piece of a full sync, if one is to be had. Call it
    /// again whenever its bytes are written. This is what keeps heartbeats and small messages ahead of bulk.
    pub fn drained(&mut self) -> Vec<Action> {
        let mut out = Vec::new();
        if let (State::Live, Work::Full(sender, _)) = (&self.state, &mut self.work)
            && let Some(bytes) = sender.next()
        {
            self.send_bytes(bytes, &mut out);
        }
        out
    }

    /// When [`Session::tick`] is to be called next, if nothing else happens before.
    #[must_use]
    pub fn timer(&self) -> Option<u64> {
        match &self.state {
            State::Closed | State::Joined => None,
            State::Greeting { until } => Some(*until),
            State::Live => self.silent_at().into_iter().chain(self.patience.timer(self.now)).min(),
        }
    }

    /// When a node that says nothing counts as gone.
    fn silent_at(&self) -> Option<u64> {
        match &self.state {
            State::Closed | State::Joined => None,
            State::Greeting { until } => Some(*until),
            State::Live => {
                let silence = self.heartbeat_ms.saturating_add(2 * ANSWER_MS_MAX);
                (self.heartbeat_ms > 0).then(|| self.heard.saturating_add(silence))
            }
        }
    }

    /// Time has passed. May be called at any time; does something only when [`Session::timer`] is over.
    pub fn tick(&mut self, now: u64, source: &dyn Source) -> Vec<Action> {
        let mut out = Vec::new();
        self.now = now;
        if self.silent_at().is_some_and(|at| now >= at) {
            self.close(ByeReason::Silent, "", Closed::Silent, &mut out);
        } else {
            self.pump(source, &mut out);
        }
        out
    }

    /// Whether the node is a control plane that follows this one.
    #[must_use]
    pub fn is_follower(&self) -> bool {
        self.node.as_ref().is_some_and(|node| node.has(Hello::FOLLOWER))
    }

    /// How many nodes a follower serves, and those that follow it, if that was heard since the last call.
    pub fn planes(&mut self) -> Option<Vec<PlaneNodes>> {
        self.planes.take()
    }

    /// Tells a follower how many nodes the control planes serve. Nothing, for a node.
    pub fn tell_planes(&mut self, planes: Vec<PlaneNodes>) -> Vec<Action> {
        let mut out = Vec::new();
        if matches!(self.state, State::Live) && self.is_follower() {
            self.send(&Message::Planes(planes), &mut out);
        }
        out
    }

    /// Sends the node to another control plane, at `to` as the settings of nodes name it, and ends the session. Nothing
    /// happens where that would do harm: to a node without [`Hello::MOVED`], while a version is in flight, with an address
    /// of more than [`ADDRESS_BYTES_MAX`] bytes.
    pub fn move_to(&mut self, to: &str) -> Vec<Action> {
        let mut out = Vec::new();
        let goes = self.node.as_ref().is_some_and(|node| node.has(Hello::MOVED));
        let idle = matches!((&self.state, &self.work), (State::Live, Work::Idle));
        if goes && idle && to.len() <= ADDRESS_BYTES_MAX {
            let bye = Bye { to: to.to_owned(), ..Bye::new(ByeReason::Moved, String::new()) };
            self.close_with(bye, Closed::Moved { to: to.to_owned() }, &mut out);
        }
        out
    }

    /// Ends the session.
    pub fn bye(&mut self, reason: ByeReason, message: &str) -> Vec<Action> {
        let mut out = Vec::new();
        self.close(reason, message, Closed::Shutdown, &mut out);
        out
    }

    /// Another connection of the same node has taken the place of this one. Two nodes that share an id, of a copied image,
    /// find out so, and do not send each other away without a pause.
    pub fn superseded(&mut self) -> Vec<Action> {
        let mut out = Vec::new();
        let message = "another connection with the id of this node has taken its place".to_owned();
        let bye = Bye { retry_after_s: SUPERSEDED_RETRY_S, ..Bye::new(ByeReason::Superseded, message) };
        self.close_with(bye, Closed::Superseded, &mut out);
        out
    }

    fn message(&mut self, message: Message, source: &dyn Source, out: &mut Vec<Action>) -> Result<(), ProtocolError> {
        self.dirty = true;
        match (&self.state, message) {
            (_, Message::Bye(bye)) => {
                self.state = State::Closed;
                out.push(Action::Report(self.report.clone()));
                out.push(Action::Close(Closed::Bye(bye)));
            }
            (State::Greeting { .. }, Message::Hello(hello)) => self.hello(hello, out),
            (State::Live, Message::Ack(ack)) => self.ack(ack)?,
            (State::Live, Message::Nack(nack)) => self.nack(nack)?,
            (State::Live, Message::Ping(ping)) => self.ping(ping, source, out)?,
            (State::Live, Message::Want(want)) => self.want(want),
            (State::Live, Message::Planes(planes)) => self.planes = self.is_follower().then_some(planes),
            (State::Live, Message::FullGet(get)) => self.full_get(get)?,
            (State::Live, Message::Symbols(symbols)) => self.symbols(&symbols, out)?,
            (State::Live, Message::Parity(parity)) => self.parity(parity, out)?,
            (State::Live, other) => {
                return Err(ProtocolError::Unexpected { message: other.kind(), state: "after WELCOME" });
            }
            (_, other) => return Err(ProtocolError::Unexpected { message: other.kind(), state: "before WELCOME" }),
        }
        Ok(())
    }

    fn send(&mut self, message: &Message, out: &mut Vec<Action>) {
        self.send_bytes(message.encode(), out);
    }

    fn send_bytes(&mut self, bytes: Bytes, out: &mut Vec<Action>) {
        self.report.bytes_out += bytes.len() as u64;
        out.push(Action::Send(bytes));
    }

    fn fail(&mut self, error: ProtocolError, out: &mut Vec<Action>) {
        self.close(ByeReason::Protocol, &error.to_string(), Closed::Protocol(error), out);
    }

    fn close(&mut self, reason: ByeReason, message: &str, closed: Closed, out: &mut Vec<Action>) {
        self.close_with(Bye::new(reason, clip(message.to_owned())), closed, out);
    }

    fn close_with(&mut self, bye: Bye, closed: Closed, out: &mut Vec<Action>) {
        if matches!(self.state, State::Closed) {
            return;
        }
        self.send(&Message::Bye(bye), out);
        self.state = State::Closed;
        self.work = Work::Idle;
        self.report.in_flight = None;
        if self.node.is_some() {
            out.push(Action::Report(self.report.clone()));
        }
        out.push(Action::Close(closed));
    }
}
