//! Both ends of a session, fed with what the other end might say: no panic, no message after goodbye, no more than one
//! goodbye.

use crate::plant;
use crate::wire::{Whole, framed, hello, messages, packed, records, unframed};
use model::{Id, Record};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wire::compat::InUse;
use wire::cp::Source;
use wire::delta::{Builder, Form};
use wire::full::Wanted;
use wire::message::{Have, Mode};
use wire::patch::IdPrefix;
use wire::reconcile::{Content, Sketch, Sketching};
use wire::{Blob, Cursor, Encoded, NackCode, Offer, cp, dp};

const EPOCH: u64 = 77;
/// What a node at version 1 of [`Few`] has.
const AT_ONE: Have = Have { epoch: EPOCH, applied: 1, durable: 1, root: 0, count: 0 };
/// What a node may have: the version before, nothing, something of another epoch, and so much of it that a reconcile pays.
const HAVES: [Have; 4] = [
    AT_ONE,
    Have { epoch: 0, applied: 0, durable: 0, root: 0, count: 0 },
    Have { epoch: EPOCH + 1, count: 1, root: 5, ..AT_ONE },
    Have { epoch: EPOCH + 1, count: 8, root: 5, ..AT_ONE },
];
/// The most actions that follow from one input; more would be a loop.
const ACTIONS_MAX: usize = 1 << 18;

/// Where the head of [`Few`] goes while a full sync is on its way.
const MOVED: u64 = 6;

/// A version that nodes refuse, as all that are odd.
const REFUSED: u64 = 3;

/// A control plane with three entities at version 2, or [`REFUSED`], and none before; they are the same at any later version.
struct Few {
    in_use: InUse,
    blob: bool,
    /// Whether something is committed during a full sync, which overtakes it.
    moves: bool,
    head: AtomicU64,
}

impl Few {
    /// Without a blob (1); one to which something is committed meanwhile (4); with a version that is refused (8).
    fn of(which: u8) -> Self {
        let head = if which & 8 == 0 { 2 } else { REFUSED };
        Self { in_use: InUse::default(), blob: which & 1 == 0, moves: which & 4 != 0, head: AtomicU64::new(head) }
    }

    /// What follows from a commit, if it is time for one.
    fn commit(&self, session: &mut cp::Session) -> Vec<cp::Action> {
        if !self.moves || session.report().mode != Mode::Full {
            return Vec::new();
        }
        self.head.store(MOVED, Ordering::Relaxed);
        session.head_changed(self)
    }
}

/// What a sketch is of.
struct Records;

impl Content for Records {
    fn record(&self, kind: u8, id: Id) -> Option<Record> {
        records().into_iter().find(|record| (record.kind.code(), record.id) == (kind, id))
    }
}

impl Source for Few {
    fn epoch(&self) -> u64 {
        EPOCH
    }
    fn head(&self) -> u64 {
        self.head.load(Ordering::Relaxed)
    }
    fn floor(&self) -> u64 {
        1
    }
    fn root(&self) -> u64 {
        records().iter().fold(0, |sum, record| sum.wrapping_add(record.tag))
    }
    fn in_use(&self) -> &InUse {
        &self.in_use
    }
    fn delta(&self, from: u64, _form: Form) -> Option<Arc<Encoded>> {
        let mut builder = Builder::new(from, self.head(), self.root());
        for record in records() {
            builder.put(&record);
        }
        builder.finish().map(Arc::new)
    }
    fn record(&self, kind: u8, id: Id) -> Option<Record> {
        records().into_iter().find(|record| (record.kind.code(), record.id) == (kind, id))
    }
    fn full(&self) -> Box<dyn Cursor> {
        Box::new(Whole { version: self.head(), records: records().into_iter() })
    }
    fn sketch(&self, _oldest: u64) -> Sketching {
        let entities = records().into_iter().map(|record| (record.kind.code(), record.id, record.tag));
        Sketching::Ready(Arc::new(Sketch::new(9, self.head(), self.root(), entities, Arc::new(Records))))
    }
    fn blob(&self, _wanted: Wanted) -> Offer {
        let (written, bytes) = packed(self.head(), records());
        match Blob::new(written, bytes.into()) {
            Some(blob) if self.blob => Offer::Blob(blob),
            _ => Offer::Entities,
        }
    }
}

/// What a node has that reconciles: all of them otherwise.
fn held() -> Vec<Record> {
    let otherwise = |mut record: Record| {
        let mut body = record.body.to_vec();
        body.iter_mut().skip(20).take(1).for_each(|byte| *byte ^= 1);
        record.tag = Record::tag_of(record.kind, record.id, &body) ^ u64::from(body.is_empty());
        record.body = body.into();
        record
    };
    records().into_iter().map(otherwise).collect()
}

fn data_plane_with(have: Have, out: &mut Vec<dp::Action>) -> dp::Session {
    let mut identity = dp::Identity::new(Id(1), "edge".into(), "0.1.0".into());
    identity.features = u64::MAX;
    let mut session = dp::Session::new(identity).expect("within the limits");
    out.extend(session.connected(have, 0, 0));
    session
}

/// What a data plane does with what its session asks for; refuses odd versions.
fn serve(session: &mut dp::Session, actions: &mut VecDeque<dp::Action>, now: u64) -> Vec<u8> {
    let (mut sent, mut closed) = (Vec::new(), false);
    for _ in 0..ACTIONS_MAX {
        let Some(action) = actions.pop_front() else { return sent };
        assert!(!closed, "{action:?} after the end");
        let judge = |session: &mut dp::Session, version: u64| {
            if version % 2 == 1 {
                let (code, path, message) = (NackCode::Invalid, String::new(), "odd".to_owned());
                return session.rejected(dp::Rejection { code, entity: None, path, message }, now);
            }
            let mut out = session.durable(version, now);
            out.extend(session.applied(version, now));
            out
        };
        match action {
            dp::Action::Send(bytes) => sent.extend_from_slice(&bytes),
            dp::Action::Stage(delta) => {
                plant(delta.to % 4 == 0, "data_plane");
                actions.extend(judge(session, delta.to));
            }
            dp::Action::FullBegin { .. } => actions.extend(session.full_open(0, now)),
            dp::Action::FullBytes { bytes, .. } => actions.extend(session.full_processed(bytes.len() as u64, now)),
            dp::Action::FullChunk { bytes, .. } => actions.extend(session.full_processed(bytes, now)),
            dp::Action::FullComplete { begin, .. } => actions.extend(judge(session, begin.version)),
            dp::Action::Symbols { seed, from, until } => {
                let mut encoder = wire::reconcile::Encoder::new(seed, from, until);
                held().iter().for_each(|it| encoder.add(it.kind.code(), it.id, it.tag));
                actions.extend(session.symbols(seed, from, &encoder.finish(), now));
            }
            dp::Action::Parity(get) => {
                let held = held();
                let base = |(kind, prefix): &(u8, IdPrefix)| {
                    held.iter().find(|it| it.kind.code() == *kind && prefix.is_of(it.id))
                };
                let told = get.names.iter().map(|name| get.of(&base(name)?.body)).collect();
                actions.extend(session.parity(get.answer(told), now));
            }
            dp::Action::Reconciled { step, .. } => actions.extend(judge(session, step.version)),
            dp::Action::Close(_) => closed = true,
            dp::Action::Welcomed(_) | dp::Action::Head(_) => {}
        }
    }
    panic!("a data plane's session goes round in circles");
}

fn answer(session: &mut cp::Session, source: &Few, actions: &mut VecDeque<cp::Action>, welcomed: &mut bool) -> Vec<u8> {
    let (mut sent, mut closed) = (Vec::new(), false);
    for _ in 0..ACTIONS_MAX {
        let Some(action) = actions.pop_front() else {
            actions.extend(session.drained());
            if actions.is_empty() {
                return sent;
            }
            continue;
        };
        assert!(!closed, "{action:?} after the end");
        match action {
            cp::Action::Send(bytes) => sent.extend_from_slice(&bytes),
            cp::Action::Joined(_) => {
                *welcomed = true;
                actions.extend(session.admit(source));
            }
            cp::Action::Asked => actions.extend(session.pong(source)),
            cp::Action::Report(report) => {
                assert!(report.durable <= report.applied || report.mode != Mode::Same, "{report:?}");
            }
            cp::Action::Close(_) => closed = true,
        }
    }
    panic!("a control plane's session goes round in circles");
}

/// Two bytes choose the pieces in which the rest comes and what the node has; the rest is frames, see [`framed`].
pub(crate) fn data_plane(bytes: &[u8]) {
    let Some(([piece, has], frames)) = bytes.split_first_chunk::<2>() else { return };
    let stream = framed(frames);
    let mut rest = &stream[..];
    let mut actions = Vec::new();
    let have = HAVES[usize::from(*has) % HAVES.len()];
    let mut session = data_plane_with(have, &mut actions);
    let mut actions = VecDeque::from(actions);
    serve(&mut session, &mut actions, 0);
    let mut now = 0;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(rest.len().min(1 + usize::from(*piece) * 8));
        now += 10;
        actions.extend(session.received(head, now));
        serve(&mut session, &mut actions, now);
        rest = tail;
    }
    actions.extend(session.tick(now + 1_000_000));
    serve(&mut session, &mut actions, now + 1_000_000);
}

/// Two bytes choose the pieces in which the rest comes and which control plane it is; one that relays (2), too.
pub(crate) fn control_plane(bytes: &[u8]) {
    let Some(([piece, which], frames)) = bytes.split_first_chunk::<2>() else { return };
    let stream = framed(frames);
    let mut rest = &stream[..];
    let source = Few::of(*which);
    let mut session = cp::Session::new(Arc::new(cp::Config::new(Id(2), "0.1.0".into())), 0);
    if which & 2 != 0 {
        session.relays();
    }
    let (mut actions, mut welcomed, mut now) = (VecDeque::new(), false, 0);
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(rest.len().min(1 + usize::from(*piece) * 8));
        now += 10;
        actions.extend(session.received(head, now, &source));
        answer(&mut session, &source, &mut actions, &mut welcomed);
        actions.extend(source.commit(&mut session));
        answer(&mut session, &source, &mut actions, &mut welcomed);
        rest = tail;
    }
    let nack = session.report().nack.as_ref();
    plant(welcomed && nack.is_some_and(|nack| nack.code == NackCode::Internal), "control_plane");
    actions.extend(session.tick(now + 1_000_000, &source));
    answer(&mut session, &source, &mut actions, &mut welcomed);
}

/// What the two ends say to each other: bytes of the control plane, bytes of the node.
fn conversation(have: Have, source: &Few) -> (Vec<u8>, Vec<u8>) {
    let mut out = Vec::new();
    let mut node = data_plane_with(have, &mut out);
    let mut control = cp::Session::new(Arc::new(cp::Config::new(Id(2), "0.1.0".into())), 0);
    let (mut down, mut up, mut welcomed) = (Vec::new(), Vec::new(), false);
    let mut said = serve(&mut node, &mut out.into(), 0);
    while !said.is_empty() {
        up.extend_from_slice(&said);
        let mut actions = VecDeque::from(control.received(&said, 0, source));
        let mut answered = answer(&mut control, source, &mut actions, &mut welcomed);
        actions.extend(source.commit(&mut control));
        answered.extend(answer(&mut control, source, &mut actions, &mut welcomed));
        down.extend_from_slice(&answered);
        let mut actions = VecDeque::from(node.received(&answered, 0));
        said = serve(&mut node, &mut actions, 0);
    }
    (down, up)
}

/// Whole conversations of nodes with control planes: the number of [`HAVES`], which control plane ([`Few::of`]), what that
/// said, what the node said.
fn conversations() -> Vec<(u8, u8, Vec<u8>, Vec<u8>)> {
    let of = |(has, which): (u8, u8)| {
        let (down, up) = conversation(HAVES[usize::from(has)], &Few::of(which));
        (has, which, down, up)
    };
    [(0, 0), (1, 0), (1, 1), (1, 4), (2, 0), (3, 0), (0, 8), (1, 8)].into_iter().map(of).collect()
}

/// All at once, and byte by byte: then each end has answered one frame before the next one comes, as it did there.
fn led(second: u8, bytes: &[u8]) -> [Vec<u8>; 2] {
    [255, 0].map(|piece| [vec![piece, second], unframed(bytes)].concat())
}

/// A conversation that goes on with each of the messages there are.
fn goes_on(second: u8, said: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let next = move |message: &wire::message::Message| [said, &message.encode()].concat();
    messages().into_iter().map(move |message| led(second, &next(&message))[1].clone())
}

pub(crate) fn data_plane_seeds() -> Vec<Vec<u8>> {
    let conversations = conversations();
    let whole = conversations.iter().flat_map(|(has, _, down, _)| led(*has, down));
    whole.chain(conversations.iter().flat_map(|(has, _, down, _)| goes_on(*has, down))).collect()
}

pub(crate) fn control_plane_seeds() -> Vec<Vec<u8>> {
    let other = wire::message::Message::Hello(hello(AT_ONE)).encode().to_vec();
    let conversations = conversations();
    let whole = conversations.iter().flat_map(|(_, which, _, up)| led(*which, up)).chain(led(0, &other));
    whole.chain(conversations.iter().flat_map(|(_, which, _, up)| goes_on(*which, up))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::message::Type;

    fn types(stream: &[u8]) -> Vec<u8> {
        let (frames, mut kinds) = (unframed(stream), Vec::new());
        let mut rest = frames.as_slice();
        while let [kind, low, high, payload @ ..] = rest {
            kinds.push(*kind);
            rest = &payload[usize::from(u16::from_le_bytes([*low, *high]))..];
        }
        kinds
    }

    #[test]
    fn the_seeds_have_every_way_that_content_goes() {
        let down: Vec<u8> = conversations().iter().flat_map(|(_, _, down, _)| types(down)).collect();
        for way in [Type::Delta, Type::FullData, Type::Overtake, Type::SymbolsGet, Type::ParityGet, Type::Mended] {
            assert!(down.contains(&(way as u8)), "{way:?} in none of them");
        }
        let up: Vec<u8> = conversations().iter().flat_map(|(_, _, _, up)| types(up)).collect();
        for answer in [Type::Ack, Type::Nack, Type::FullGet, Type::Symbols, Type::Parity] {
            assert!(up.contains(&(answer as u8)), "{answer:?} in none of them");
        }
    }
}
