//! The data plane's end of a session. It says what the node has, takes deltas one at a time and full syncs by grants,
//! hands over what is complete, and tells the control plane what became of it. The caller owns the connection, the
//! store and the clock; times are milliseconds of any clock that only goes forward.
//!
//! ```text
//! connected ─▶ Greeting ─WELCOME─▶ Idle ─DELTA─▶ Receiving ─last frame─▶ Staged ─applied/rejected─▶ Idle
//!                                   └─FULL_BEGIN─▶ Full ─FULL_END─▶ Staged ─applied/rejected─▶ Idle
//! ```
//!
//! A step that overtook the full sync is staged as soon as that is applied.
//!
//! A task that holds a session (`started` is an instant, times are milliseconds since then):
//!
//! ```text
//! let mut actions = session.connected(have, status, now());
//! loop {
//!     let mut queue = VecDeque::from(actions);
//!     while let Some(action) = queue.pop_front() { match action {
//!         Send(bytes)                      => write_all(bytes) within a deadline,
//!         Welcomed(_) | Head(_)            => status,
//!         Stage(delta)                     => match apply(delta).await {              // compile, commit, swap
//!             Ok(durable) => { if durable { queue.extend(session.durable(delta.to, now())) }
//!                              queue.extend(session.applied(delta.to, now())) }
//!             Err(why)    => queue.extend(session.rejected(why, now())),
//!             or, if the base of a patch is not there, queue.extend(session.base_missing(whose, now())),
//!         },
//!         FullBegin { epoch, begin }       => if too much would go { queue.extend(session.held(shrink, now())) }
//!                                             else if begin.is_blob() { queue.extend(session.full_open(bytes held of it, now())) }
//!                                             else { full = Some(open the other generation); queue.extend(session.full_open(0, now())) },
//!         FullBytes { offset, bytes }      => append to what is held; queue.extend(session.full_processed(length, now())),
//!         FullChunk { entities, bytes }    => if full is open { write; queue.extend(session.full_processed(bytes, now())) }
//!                                             on failure: drop full; queue.extend(session.rejected(why, now())),
//!         FullComplete { epoch, begin }    => if begin.is_blob() { open the other generation; unpack what is held into it;
//!                                             if that fails, queue.extend(session.full_damaged(why, now())) }
//!                                             if full is open { as Stage, with begin.version and begin.root },
//!         Close(why)                       => return why,
//!     } }
//!     actions = select! {
//!         bytes = read()                   => session.received(&bytes, now()),
//!         () = sleep_until(session.timer())=> session.tick(now()),
//!         _ = stop                         => session.bye(ByeReason::Shutdown, "", now()),
//!     };
//! }
//! ```
//!
//! Three rules for the caller. Do the actions in order. Finish (apply or reject) what was staged before `connected` is
//! called again. After [`Action::Close`], or when the connection breaks, drop a full sync that is not complete (but not
//! what is held of a blob: tell [`Session::holds`]), and wait with growing, jittered patience before the next connection.

mod action;
mod full;
mod greeting;
mod heartbeat;
mod outcome;
mod overtake;
mod probe;
mod reconcile;

use crate::delta::{Assembler, Delta};
use crate::error::ProtocolError;
use crate::frame::Decoder;
use crate::full::Receiver;
use crate::limits::{GREETING_MS_MAX, clip};
use crate::message::{Bye, ByeReason, Have, Message, Partial, Type};
use crate::planes::PlaneNodes;

use overtake::Kept;
use probe::Probe;
use reconcile::Telling;

pub use action::{Action, Closed, Identity, Rejection};

enum State {
    Closed,
    Greeting { until: u64 },
    Live(Live),
}

struct Live {
    epoch: u64,
    term: u32,
    incremental: bool,
    heartbeat_ms: u64,
    /// The heartbeat that HELLO or a PING last asked for.
    asked_s: Option<u32>,
    work: Work,
    /// A full sync that was rejected before its end; what still comes of it is skipped.
    skipped: Option<u64>,
    /// Whether WANT was sent, so that a delta may end where it starts.
    wanted: bool,
}

enum Work {
    Idle,
    Receiving(Assembler),
    /// A full sync, and the step that overtook it last.
    Full(Box<Receiver>, Option<Kept>),
    Reconcile(Box<Telling>),
    Staged {
        version: u64,
        root: u64,
        full: bool,
        durable: bool,
        /// What follows on a full sync.
        next: Option<Kept>,
    },
}

/// The data plane's end.
pub struct Session {
    identity: Identity,
    state: State,
    decoder: Decoder,
    have: Have,
    /// The term of the last epoch that the node was in.
    term: u32,
    /// What the control plane said of all of them, if that was not asked for yet.
    planes: Option<Vec<PlaneNodes>>,
    /// The beginning of a blob that the caller holds.
    partial: Option<Partial>,
    /// When bytes last came.
    heard: u64,
    /// When bytes were last sent.
    sent: u64,
    /// When a PING was sent that is not answered.
    ping: Option<u64>,
    /// For how long nothing had come or gone when the last PING was sent.
    idle: u64,
    /// Which PINGs the caller waits for.
    probe: Probe,
    /// Full syncs refused in a row, over all connections.
    refusals: u32,
    /// Not before this time is another full sync let in: one that is refused over and over must not fill the link.
    full_from: u64,
}

impl Session {
    /// A session that is not connected.
    ///
    /// # Errors
    /// A text or list of the identity is over its limit: a matter of this node's settings.
    pub fn new(identity: Identity) -> Result<Self, ProtocolError> {
        let session = Self {
            identity,
            state: State::Closed,
            decoder: Decoder::new(),
            have: Have::default(),
            term: 0,
            planes: None,
            partial: None,
            heard: 0,
            sent: 0,
            ping: None,
            idle: 0,
            probe: Probe::default(),
            refusals: 0,
            full_from: 0,
        };
        session.hello(0).check()?;
        Ok(session)
    }

    /// What the node has, as far as this session knows.
    #[must_use]
    pub fn have(&self) -> Have {
        self.have
    }

    /// Whether a version was handed over and neither applied nor rejected.
    #[must_use]
    pub fn is_staged(&self) -> bool {
        matches!(&self.state, State::Live(Live { work: Work::Staged { .. }, .. }))
    }

    /// Whether a session is up and nothing is under way, so that it could end without loss.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(&self.state, State::Live(Live { work: Work::Idle, .. }))
    }

    /// Another session of the same node, not connected, for a second connection while this one lives.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self {
            identity: self.identity.clone(),
            state: State::Closed,
            decoder: Decoder::new(),
            have: self.have,
            partial: self.partial,
            planes: None,
            ..*self
        }
    }

    /// A connection was made. `status` holds the bits of [`Hello::status`]. Forgets an earlier connection, but not how
    /// long to let a full sync wait, so `now` is of one clock for all connections of a session.
    pub fn connected(&mut self, have: Have, status: u32, now: u64) -> Vec<Action> {
        self.have = Have { durable: have.durable.min(have.applied), ..have };
        self.decoder = Decoder::new();
        self.state = State::Greeting { until: now.saturating_add(GREETING_MS_MAX) };
        (self.heard, self.sent, self.ping, self.idle) = (now, now, None, 0);
        self.probe.connected();
        vec![Action::Send(Message::Hello(self.hello(status)).encode())]
    }

    /// What is held of a blob, for the next [`Session::connected`].
    pub fn holds(&mut self, partial: Option<Partial>) {
        self.partial = partial;
    }

    /// The term of the last epoch that the node was in, for the next [`Session::connected`]: that of [`Have::epoch`], or
    /// what is remembered of it where there is nothing else left. Sessions learn by themselves of later ones.
    pub fn of_term(&mut self, term: u32) {
        self.term = term;
    }

    /// Bytes came.
    pub fn received(&mut self, mut bytes: &[u8], now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        (self.heard, self.ping) = (now, None);
        while !matches!(self.state, State::Closed) {
            match self.decoder.next(&mut bytes) {
                Ok(Some(frame)) => {
                    let handled = Message::decode(frame).and_then(|message| match message {
                        Some(message) => self.message(message, now, &mut out),
                        None => Ok(()),
                    });
                    if let Err(error) = handled {
                        self.fail(error, now, &mut out);
                    }
                }
                Ok(None) => break,
                Err(error) => self.fail(error, now, &mut out),
            }
        }
        out
    }

    /// How many nodes the control planes serve, if that was heard since the last call. For a follower; a node has no use
    /// for it.
    pub fn planes(&mut self) -> Option<Vec<PlaneNodes>> {
        self.planes.take()
    }

    /// Tells the writer how many nodes this follower serves, and those that follow it. Nothing, before WELCOME.
    pub fn tell_planes(&mut self, planes: Vec<PlaneNodes>, now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        if matches!(self.state, State::Live(_)) {
            self.send(&Message::Planes(planes), now, &mut out);
        }
        out
    }

    /// Ends the session.
    pub fn bye(&mut self, reason: ByeReason, message: &str, now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        self.close(reason, message, Closed::Shutdown, now, &mut out);
        out
    }

    fn message(&mut self, message: Message, now: u64, out: &mut Vec<Action>) -> Result<(), ProtocolError> {
        if let Message::Bye(bye) = message {
            self.state = State::Closed;
            out.push(Action::Close(Closed::Bye(bye)));
            return Ok(());
        }
        let State::Live(live) = &mut self.state else { return self.greeted(message, now, out) };
        match message {
            Message::Pong(pong) => self.pong(pong, now, out),
            Message::Planes(planes) => self.planes = Some(planes),
            Message::Delta(payload, more) => self.delta(&payload, more, out)?,
            Message::FullBegin(begin) => {
                self.full_begin(begin, out)?;
                self.grant(now, out);
            }
            Message::FullData(data) if live.skipped != Some(data.transfer) => {
                self.full_data(&data, out)?;
                self.grant(now, out);
            }
            Message::FullEnd(end) if live.skipped != Some(end.transfer) => self.full_end(end, out)?,
            Message::Overtake(overtake) if live.skipped != Some(overtake.transfer) => self.overtake(overtake)?,
            Message::FullData(_) | Message::FullEnd(_) | Message::Overtake(_) => {}
            Message::SymbolsGet(get) => self.symbols_get(get, out)?,
            Message::ParityGet(get) => self.parity_get(get, out)?,
            Message::Reconciled(payload, more) => self.reconciled(Type::Reconciled, &payload, more, out)?,
            Message::Mended(payload, more) => self.reconciled(Type::Mended, &payload, more, out)?,
            other => return Err(ProtocolError::Unexpected { message: other.kind(), state: live.work.name() }),
        }
        Ok(())
    }

    fn delta(&mut self, payload: &[u8], more: bool, out: &mut Vec<Action>) -> Result<(), ProtocolError> {
        let State::Live(live) = &mut self.state else { return Ok(()) };
        if !live.incremental {
            return Err(ProtocolError::IncrementalOff);
        }
        if live.epoch != self.have.epoch {
            return Err(ProtocolError::EpochMismatch { ours: self.have.epoch, theirs: live.epoch });
        }
        let mut assembler = match std::mem::replace(&mut live.work, Work::Idle) {
            Work::Idle => Assembler::default(),
            Work::Receiving(assembler) => assembler,
            work => return Err(ProtocolError::Unexpected { message: Type::Delta, state: work.name() }),
        };
        let Some(delta) = assembler.push(payload, more)? else {
            live.work = Work::Receiving(assembler);
            return Ok(());
        };
        let Delta { from, to, .. } = delta;
        let asked = live.wanted;
        self.check_step(&delta)?;
        if from != self.have.applied {
            return Err(ProtocolError::BaseMismatch { from, at: self.have.applied });
        }
        if to == from && !asked {
            return Err(ProtocolError::NotWanted { at: to });
        }
        self.stage(delta, out);
        Ok(())
    }

    /// Hands a step over.
    fn stage(&mut self, delta: Delta, out: &mut Vec<Action>) {
        let State::Live(live) = &mut self.state else { return };
        live.work = Work::Staged { version: delta.to, root: delta.root, full: false, durable: false, next: None };
        out.push(Action::Stage(delta));
    }

    fn send(&mut self, message: &Message, now: u64, out: &mut Vec<Action>) {
        self.sent = now;
        out.push(Action::Send(message.encode()));
    }

    fn fail(&mut self, error: ProtocolError, now: u64, out: &mut Vec<Action>) {
        self.close(ByeReason::Protocol, &error.to_string(), Closed::Protocol(error), now, out);
    }

    fn close(&mut self, reason: ByeReason, message: &str, closed: Closed, now: u64, out: &mut Vec<Action>) {
        if matches!(self.state, State::Closed) {
            return;
        }
        let message = clip(message.to_owned());
        self.send(&Message::Bye(Bye::new(reason, message)), now, out);
        self.state = State::Closed;
        out.push(Action::Close(closed));
    }
}

impl Work {
    fn name(&self) -> &'static str {
        match self {
            Self::Idle => "while idle",
            Self::Receiving(_) => "inside a delta",
            Self::Full(..) => "during a full sync",
            Self::Reconcile(_) => "during a reconcile",
            Self::Staged { .. } => "while a version is unapplied",
        }
    }
}
