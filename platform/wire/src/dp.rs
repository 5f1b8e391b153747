//! The data plane's end of a session. It says what the node has, takes deltas one at a time and full syncs by grants,
//! hands over what is complete, and tells the control plane what became of it. The caller owns the connection, the
//! store and the clock; times are milliseconds of any clock that only goes forward.
//!
//! ```text
//! connected ─▶ Greeting ─WELCOME─▶ Idle ─DELTA─▶ Receiving ─last frame─▶ Staged ─applied/rejected─▶ Idle
//!                                   └─FULL_BEGIN─▶ Full ─FULL_END─▶ Staged ─applied/rejected─▶ Idle
//! ```
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
mod reconcile;

use crate::PROTO;
use crate::delta::{Assembler, Delta, PATCH};
use crate::error::ProtocolError;
use crate::frame::Decoder;
use crate::full::{BlobError, Piece, Receiver};
use crate::greeting::replaces;
use crate::limits::{ANSWER_MS_MAX, FULL_PAUSE_MS_MAX, FULL_PAUSE_MS_MIN, GREETING_MS_MAX, WANT_MAX, clip};
use crate::message::{
    Ack, Bye, ByeReason, FullBegin, FullData, FullEnd, Have, Hello, Message, Mode, Nack, NackCode, Partial, Ping, Pong,
    Type, Want,
};
use crate::planes::PlaneNodes;
use crate::shrink::Shrink;
use model::Id;

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
    Full(Box<Receiver>),
    Reconcile(Box<Telling>),
    Staged { version: u64, root: u64, full: bool, durable: bool },
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

    /// The heartbeat in force, in seconds; 0 for none, and while there is no session.
    #[must_use]
    pub fn heartbeat_s(&self) -> u32 {
        let State::Live(live) = &self.state else { return 0 };
        u32::try_from(live.heartbeat_ms / 1000).unwrap_or(u32::MAX)
    }

    /// For how long nothing had come or gone when the last PING of this connection was sent, in milliseconds.
    #[must_use]
    pub fn pinged_after(&self) -> u64 {
        self.idle
    }

    /// Would like another heartbeat, in seconds, above 0, for this connection and the next. A shorter one holds at once; a
    /// longer one is asked for with the next PING and holds once the control plane has agreed.
    pub fn adapt(&mut self, heartbeat_s: u32) {
        self.identity.heartbeat_s = heartbeat_s;
        if let State::Live(live) = &mut self.state
            && live.heartbeat_ms > 0
        {
            live.heartbeat_ms = live.heartbeat_ms.min(u64::from(heartbeat_s) * 1000);
        }
    }

    /// A connection was made. `status` holds the bits of [`Hello::status`]. Forgets an earlier connection, but not how
    /// long to let a full sync wait, so `now` is of one clock for all connections of a session.
    pub fn connected(&mut self, have: Have, status: u32, now: u64) -> Vec<Action> {
        self.have = Have { durable: have.durable.min(have.applied), ..have };
        self.decoder = Decoder::new();
        self.state = State::Greeting { until: now.saturating_add(GREETING_MS_MAX) };
        (self.heard, self.sent, self.ping, self.idle) = (now, now, None, 0);
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

    fn hello(&self, status: u32) -> Hello {
        let Identity {
            node,
            hostname,
            software,
            kinds,
            plugins,
            labels,
            incremental,
            heartbeat_s,
            codecs,
            features,
            ..
        } = self.identity.clone();
        Hello {
            proto_min: PROTO,
            proto_max: PROTO,
            node,
            hostname,
            software,
            kinds,
            plugins,
            labels,
            have: self.have,
            incremental,
            codecs,
            heartbeat_s,
            status,
            partial: self.partial,
            features,
            term: self.term,
        }
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

    /// The staged version is live. Any other version is not this session's business, and nothing happens.
    pub fn applied(&mut self, version: u64, now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        let State::Live(live) = &mut self.state else { return out };
        let Work::Staged { version: staged, root, full, durable } = live.work else { return out };
        if staged != version {
            return out;
        }
        live.work = Work::Idle;
        self.refusals = 0;
        let kept = if full && live.epoch != self.have.epoch { 0 } else { self.have.durable.min(version) };
        self.have.durable = if durable { version } else { kept };
        (self.have.epoch, self.have.applied, self.have.root) = (live.epoch, version, root);
        self.term = live.term;
        self.ack(now, &mut out);
        out
    }

    /// A version is on stable storage. Before [`Session::applied`] of the same version it costs no frame.
    pub fn durable(&mut self, version: u64, now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        let State::Live(live) = &mut self.state else { return out };
        match &mut live.work {
            Work::Staged { version: staged, durable, .. } if *staged == version => *durable = true,
            work => {
                let known = self.have.durable;
                self.have.durable = known.max(version.min(self.have.applied));
                // While something is staged, an ACK would look like one of that; the next one will say it.
                if self.have.durable > known && matches!(work, Work::Idle) {
                    self.ack(now, &mut out);
                }
            }
        }
        out
    }

    /// What is staged, or the full sync that is coming in, will not be applied; the node keeps what it has. Also when
    /// the root digest after the step is not [`Delta::root`]: then with [`crate::NackCode::Root`].
    pub fn rejected(&mut self, rejection: Rejection, now: u64) -> Vec<Action> {
        self.refused(rejection, None, now)
    }

    /// As [`Session::rejected`]: too much would go. The control plane sends it again when somebody has confirmed it.
    pub fn held(&mut self, shrink: Shrink, now: u64) -> Vec<Action> {
        let (path, message) = (String::new(), shrink.to_string());
        self.refused(Rejection { code: NackCode::Shrink, entity: None, path, message }, Some(shrink), now)
    }

    fn refused(&mut self, rejection: Rejection, shrink: Option<Shrink>, now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        let State::Live(live) = &mut self.state else { return out };
        let (version, cost) = match &live.work {
            Work::Staged { version, full, .. } => (*version, *full),
            Work::Full(receiver) => {
                live.skipped = Some(receiver.begin().transfer);
                (receiver.begin().version, receiver.started() || shrink.is_none())
            }
            Work::Idle | Work::Receiving(_) | Work::Reconcile(_) => return out,
        };
        if cost {
            let pause = FULL_PAUSE_MS_MIN.checked_shl(self.refusals.min(16)).unwrap_or(FULL_PAUSE_MS_MAX);
            self.full_from = now.saturating_add(pause.min(FULL_PAUSE_MS_MAX));
            self.refusals = self.refusals.saturating_add(1);
        }
        live.work = Work::Idle;
        let Rejection { code, entity, path, message } = rejection;
        let kept = self.have.applied;
        let nack = Nack { version, code, entity, path: clip(path), message: clip(message), kept, shrink };
        self.send(&Message::Nack(nack), now, &mut out);
        out
    }

    /// Patches of the staged step have a base that is not here, or another one here: gives the step back and asks for these
    /// entities whole; for all of the step, if they cannot be named.
    pub fn base_missing(&mut self, entities: &[(u8, Id)], now: u64) -> Vec<Action> {
        if !self.is_staged() {
            return Vec::new();
        }
        let mut out = self.want(entities, now);
        let entity = entities.first().copied();
        let (path, message) = (String::new(), String::new());
        out.extend(self.rejected(Rejection { code: NackCode::Base, entity, path, message }, now));
        out
    }

    /// The caller is done with so many bytes of [`Action::FullChunk`].
    pub fn full_processed(&mut self, bytes: u64, now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        if let State::Live(Live { work: Work::Full(receiver), .. }) = &mut self.state {
            receiver.processed(bytes);
        }
        self.grant(now, &mut out);
        out
    }

    /// The caller takes the full sync of [`Action::FullBegin`], and holds so many bytes of its blob (0 where it is none): it
    /// starts there.
    pub fn full_open(&mut self, offset: u64, now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        if let State::Live(Live { work: Work::Full(receiver), .. }) = &mut self.state {
            receiver.open(offset);
        }
        self.grant(now, &mut out);
        out
    }

    /// The blob of [`Action::FullComplete`] is not what it was announced to be; what is held of it is of no use. Ends the
    /// session: the next one starts over.
    pub fn full_damaged(&mut self, error: BlobError, now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        self.fail(error.into(), now, &mut out);
        out
    }

    /// Asks for entities to be sent whole, because what is held of them is damaged. They come with the next step.
    pub fn want(&mut self, entities: &[(u8, Id)], now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        let State::Live(live) = &mut self.state else { return out };
        live.wanted = true;
        for part in entities.chunks(WANT_MAX) {
            self.send(&Message::Want(Want { entities: part.to_vec() }), now, &mut out);
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

    /// When [`Session::tick`] is to be called next, if nothing else happens before.
    #[must_use]
    pub fn timer(&self) -> Option<u64> {
        match &self.state {
            State::Closed => None,
            State::Greeting { until } => Some(*until),
            State::Live(live) => self.full_timer(live).into_iter().chain(self.link_timer(live)).min(),
        }
    }

    /// When the answer to a PING is due, or else the next PING.
    fn link_timer(&self, live: &Live) -> Option<u64> {
        match self.ping {
            Some(at) => Some(at.saturating_add(ANSWER_MS_MAX)),
            None => (live.heartbeat_ms > 0).then(|| self.sent.saturating_add(live.heartbeat_ms)),
        }
    }

    /// When a full sync that is waiting may start.
    fn full_timer(&self, live: &Live) -> Option<u64> {
        match &live.work {
            Work::Full(receiver) if !receiver.started() => Some(self.full_from),
            _ => None,
        }
    }

    /// Time has passed. May be called at any time; does something only when [`Session::timer`] is over.
    pub fn tick(&mut self, now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        self.grant(now, &mut out);
        let over = match &self.state {
            State::Closed => None,
            State::Greeting { until } => Some(*until),
            State::Live(live) => self.link_timer(live),
        };
        if over.is_none_or(|at| now < at) {
            return out;
        }
        if matches!(self.state, State::Live(_)) && self.ping.is_none() {
            self.ping = Some(now);
            self.idle = now.saturating_sub(self.heard.max(self.sent));
            let ping = Message::Ping(Ping { heartbeat_s: self.ask() });
            self.send(&ping, now, &mut out);
        } else {
            self.close(ByeReason::Silent, "", Closed::Silent, now, &mut out);
        }
        out
    }

    /// The heartbeat to ask for, unless HELLO or a PING asked for it already.
    fn ask(&mut self) -> Option<u32> {
        let State::Live(live) = &mut self.state else { return None };
        let wanted = self.identity.heartbeat_s;
        (live.asked_s.replace(wanted) != Some(wanted)).then_some(wanted)
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
            Message::FullData(_) | Message::FullEnd(_) => {}
            Message::SymbolsGet(get) => self.symbols_get(get, out)?,
            Message::Reconciled(payload, more) => self.reconciled(&payload, more, out)?,
            other => return Err(ProtocolError::Unexpected { message: other.kind(), state: live.work.name() }),
        }
        Ok(())
    }

    fn greeted(&mut self, message: Message, now: u64, out: &mut Vec<Action>) -> Result<(), ProtocolError> {
        let Message::Welcome(welcome) = message else {
            return Err(ProtocolError::Unexpected { message: message.kind(), state: "before WELCOME" });
        };
        let (ours, theirs) = (self.have.epoch, welcome.epoch);
        match welcome.mode {
            Mode::Refuse { why, retry_after_s } => {
                let message = welcome.message;
                self.state = State::Closed;
                out.push(Action::Close(Closed::Refused { why, retry_after_s, message }));
                return Ok(());
            }
            Mode::Other(mode) => return Err(ProtocolError::ModeUnknown { mode }),
            Mode::Same | Mode::Tail | Mode::Behind if ours != theirs => {
                return Err(ProtocolError::EpochMismatch { ours, theirs });
            }
            Mode::Same | Mode::Tail | Mode::Behind | Mode::Full | Mode::Withheld | Mode::Reconcile => {}
        }
        if replaces((self.term, ours), (welcome.term, theirs)) {
            let closed = Closed::Replaced { term: welcome.term, ours: self.term };
            self.close(ByeReason::Replaced, &closed.to_string(), closed.clone(), now, out);
            return Ok(());
        }
        if welcome.proto != PROTO {
            return Err(ProtocolError::ProtoNotOffered { proto: welcome.proto });
        }
        self.sent = now;
        self.state = State::Live(Live {
            epoch: theirs,
            term: welcome.term,
            incremental: welcome.incremental && self.identity.incremental,
            heartbeat_ms: u64::from(welcome.heartbeat_s) * 1000,
            asked_s: Some(self.identity.heartbeat_s),
            work: Work::Idle,
            skipped: None,
            wanted: false,
        });
        out.push(Action::Welcomed(welcome));
        Ok(())
    }

    fn pong(&mut self, pong: Pong, now: u64, out: &mut Vec<Action>) {
        out.push(Action::Head(pong));
        let State::Live(live) = &mut self.state else { return };
        if let Some(in_force) = pong.heartbeat_s {
            live.heartbeat_ms = u64::from(in_force) * 1000;
        }
        let comparable = matches!(live.work, Work::Idle) && live.epoch == self.have.epoch;
        let version = self.have.applied;
        if comparable && pong.head == version && pong.root != self.have.root {
            self.close(ByeReason::Root, "", Closed::RootDiffers { version }, now, out);
        }
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
        let Delta { from, to, root, .. } = delta;
        if delta.patches() > 0 && self.identity.features & Hello::PATCHES == 0 {
            return Err(ProtocolError::OpUnknown { code: PATCH });
        }
        if from != self.have.applied {
            return Err(ProtocolError::BaseMismatch { from, at: self.have.applied });
        }
        if to == from && !live.wanted {
            return Err(ProtocolError::NotWanted { at: to });
        }
        live.work = Work::Staged { version: to, root, full: false, durable: false };
        out.push(Action::Stage(delta));
        Ok(())
    }

    fn full_begin(&mut self, begin: FullBegin, out: &mut Vec<Action>) -> Result<(), ProtocolError> {
        let State::Live(live) = &mut self.state else { return Ok(()) };
        let free = match &live.work {
            Work::Idle => true,
            // Too much differs: everything comes in its place.
            Work::Reconcile(telling) => telling.is_open(),
            _ => false,
        };
        if !free {
            return Err(ProtocolError::Unexpected { message: Type::FullBegin, state: live.work.name() });
        }
        if !self.identity.codecs.contains(&begin.codec) {
            return Err(ProtocolError::CodecUnknown { code: begin.codec });
        }
        live.work = Work::Full(Box::new(Receiver::new(begin, self.identity.full_window)?));
        live.skipped = None;
        if begin.confirmed > 0 {
            // Somebody is waiting for it.
            self.full_from = 0;
        }
        out.push(Action::FullBegin { epoch: live.epoch, begin });
        Ok(())
    }

    fn full_data(&mut self, data: &FullData, out: &mut Vec<Action>) -> Result<(), ProtocolError> {
        let receiver = self.receiver(data.transfer)?;
        match receiver.push(data)? {
            Piece::Blob(offset, bytes) => out.push(Action::FullBytes { offset, bytes }),
            Piece::Entities(entities, _) if entities.is_empty() => {}
            Piece::Entities(entities, bytes) => out.push(Action::FullChunk { entities, bytes }),
        }
        Ok(())
    }

    fn full_end(&mut self, end: FullEnd, out: &mut Vec<Action>) -> Result<(), ProtocolError> {
        let receiver = self.receiver(end.transfer)?;
        receiver.end(end)?;
        let begin = receiver.begin();
        if let State::Live(live) = &mut self.state {
            let FullBegin { version, root, .. } = begin;
            live.work = Work::Staged { version, root, full: true, durable: false };
            out.push(Action::FullComplete { epoch: live.epoch, begin });
        }
        Ok(())
    }

    fn receiver(&mut self, transfer: u64) -> Result<&mut Receiver, ProtocolError> {
        match &mut self.state {
            State::Live(Live { work: Work::Full(receiver), .. }) if receiver.begin().transfer == transfer => {
                Ok(receiver)
            }
            _ => Err(ProtocolError::TransferUnknown { transfer }),
        }
    }

    fn grant(&mut self, now: u64, out: &mut Vec<Action>) {
        let State::Live(Live { work: Work::Full(receiver), .. }) = &mut self.state else { return };
        if !receiver.started() && now < self.full_from {
            return;
        }
        if let Some(get) = receiver.grant() {
            self.send(&Message::FullGet(get), now, out);
        }
    }

    fn ack(&mut self, now: u64, out: &mut Vec<Action>) {
        let Have { applied, durable, .. } = self.have;
        self.send(&Message::Ack(Ack { applied, durable }), now, out);
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
            Self::Full(_) => "during a full sync",
            Self::Reconcile(_) => "during a reconcile",
            Self::Staged { .. } => "while a version is unapplied",
        }
    }
}
