//! Frames and what they carry: messages, deltas, blobs.

use crate::plant;
use model::{Id, Kind, Record};
use wire::PlaneNodes;
use wire::delta::{Assembler, Builder, Op};
use wire::frame::{Decoder, Frame};
use wire::full::{Unpack, Written};
use wire::limits::PAYLOAD_BYTES_MAX;
use wire::message::{
    Ack, Bye, CODEC_DICTIONARY, CODEC_ZSTD, FullBegin, FullData, FullEnd, FullGet, Have, Hello, KindVersion, Message,
    Mode, Overtake,
};
use wire::message::{Parity, ParityGet, Symbols, SymbolsGet};
use wire::message::{Partial, Ping, PluginVersion, Pong, RefuseReason, Want, Welcome};
use wire::pack::{DICTIONARY, MAGIC, Pack};
use wire::parity::Told;
use wire::patch::IdPrefix;
use wire::reconcile::Symbol;
use wire::{ByeReason, Cursor, Nack, NackCode, ProtocolError};

/// The most frames or entities that are taken from one input.
const ITEMS_MAX: usize = 1 << 16;

/// The bytes of a stream of frames. An input is pieces of a type byte, two bytes of length and a payload, where too long a
/// length means all the rest: so that an edit of a payload is not stopped by a frame's length that does not fit any more.
pub(crate) fn framed(mut input: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    while let Some(([kind, low, high], rest)) = input.split_first_chunk::<3>() {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len()).min(PAYLOAD_BYTES_MAX);
        let (payload, rest) = rest.split_at(length);
        let whole = length + 1;
        match u8::try_from(whole) {
            Ok(whole @ ..0x80) => stream.push(whole),
            _ => stream.extend([whole as u8 | 0x80, (whole >> 7) as u8]),
        }
        stream.push(*kind);
        stream.extend_from_slice(payload);
        input = rest;
    }
    stream
}

/// The input of which [`framed`] makes this stream.
pub(crate) fn unframed(mut stream: &[u8]) -> Vec<u8> {
    let mut input = Vec::new();
    while let Some((first, rest)) = stream.split_first() {
        let (length, rest) = match rest.split_first() {
            Some((second, rest)) if *first >= 0x80 => (usize::from(*first & 0x7f) | usize::from(*second) << 7, rest),
            _ => (usize::from(*first), rest),
        };
        let (frame, rest) = rest.split_at(length.min(rest.len()));
        let Some((kind, payload)) = frame.split_first() else { break };
        input.push(*kind);
        input.extend((payload.len() as u16).to_le_bytes());
        input.extend_from_slice(payload);
        stream = rest;
    }
    input
}

/// Raw bytes as a stream of frames: in how many pieces they come makes no difference.
pub(crate) fn frame(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else { return };
    let whole = frames(std::iter::once(bytes));
    assert_eq!(frames(bytes.chunks(1 + usize::from(*piece))), whole);
    plant(whole.len() == 5 && whole.iter().all(Result::is_ok), "frame");
}

/// The frames of these pieces, up to the first that is none.
fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Result<Frame, ProtocolError>> {
    let (mut decoder, mut found) = (Decoder::new(), Vec::new());
    for mut piece in pieces {
        while let Some(frame) = decoder.next(&mut piece).transpose() {
            let broken = frame.is_err();
            found.push(frame);
            if broken {
                return found;
            }
        }
    }
    found
}

pub(crate) fn frame_seeds() -> Vec<Vec<u8>> {
    let lead = |messages: &[Vec<u8>]| [vec![3], messages.concat()].concat();
    let messages: Vec<Vec<u8>> = messages().iter().map(|message| message.encode().to_vec()).collect();
    // The one length that fits two bytes and no frame.
    let too_long = lead(&[vec![0xff, 0x7f, 1]]);
    messages.chunks(3).map(lead).chain([too_long]).collect()
}

/// Messages: one that decodes encodes to bytes that decode to the same message.
pub(crate) fn message(input: &[u8]) {
    let stream = framed(input);
    let (mut decoder, mut bytes) = (Decoder::new(), &stream[..]);
    for _ in 0..ITEMS_MAX {
        let Ok(Some(frame)) = decoder.next(&mut bytes) else { return };
        let Ok(Some(message)) = Message::decode(frame) else { continue };
        // A piece of a step is encoded by the builder of the whole, which is another target.
        if matches!(message, Message::Delta(..) | Message::Reconciled(..) | Message::Mended(..)) {
            continue;
        }
        let encoded = message.encode();
        let again = Decoder::new().next(&mut &encoded[..]).expect("a frame of ours").expect("a whole frame");
        assert_eq!(Message::decode(again).expect("a message of ours").as_ref(), Some(&message));
        let odd = |nack: &Nack| nack.entity.is_none() && nack.kept > nack.version;
        plant(matches!(&message, Message::Nack(nack) if odd(nack)), "message");
    }
}

/// One message of each type.
pub(crate) fn messages() -> Vec<Message> {
    let begin = FullBegin {
        transfer: 7,
        version: 300,
        root: 1 << 60,
        count: 2,
        codec: 2,
        plain: 1000,
        bytes: 500,
        confirmed: 1,
    };
    vec![
        Message::Hello(hello(Have { epoch: 77, applied: 300, durable: 299, root: 0xff, count: 2 })),
        Message::Welcome(Welcome {
            proto: 1,
            cluster: Id(2),
            term: 3,
            epoch: 77,
            head: 301,
            root: 5,
            heartbeat_s: 300,
            incremental: true,
            mode: Mode::Tail,
            message: String::new(),
        }),
        Message::Welcome(Welcome {
            proto: 1,
            cluster: Id(2),
            term: 3,
            epoch: 0,
            head: 0,
            root: 0,
            heartbeat_s: 0,
            incremental: false,
            mode: Mode::Refuse { why: RefuseReason::Busy, retry_after_s: 60 },
            message: "busy".into(),
        }),
        Message::Ack(Ack { applied: 301, durable: 300 }),
        Message::Nack(Nack {
            version: 301,
            code: NackCode::Root,
            entity: Some((2, Id(3))),
            path: "paths".into(),
            message: "no".into(),
            kept: 300,
            shrink: Some(wire::shrink::Shrink { gone: 8, of: 9, allowed: 4 }),
        }),
        Message::Ping(Ping { heartbeat_s: None }),
        Message::Ping(Ping { heartbeat_s: Some(600) }),
        Message::Pong(Pong::new(301, 9)),
        Message::Pong(Pong { heartbeat_s: Some(600), ..Pong::new(301, 9) }),
        Message::Want(Want { entities: vec![(1, Id(1)), (2, Id(3))] }),
        Message::Symbols(Symbols { seed: 9, first: 8, symbols: vec![Symbol::default(); 3] }),
        Message::SymbolsGet(SymbolsGet { seed: 9, until: 64 }),
        Message::ParityGet(ParityGet {
            seed: 9,
            from: 0,
            until: 6,
            names: vec![(1, IdPrefix::of(Id(1 << 100), 2)), (1, IdPrefix::of(Id(2), 16)), (2, IdPrefix::of(Id(3), 16))],
        }),
        Message::Parity(Parity {
            seed: 9,
            from: 6,
            until: 8,
            bodies: vec![None, Some(Told { length: 300, sums: vec![1, 0x0203] }), None],
        }),
        Message::Planes(vec![PlaneNodes { address: "cp:8005".into(), nodes: 300 }]),
        Message::FullBegin(begin),
        Message::FullGet(FullGet { transfer: 7, offset: 0, until: 61_440 }),
        Message::FullData(FullData { transfer: 7, offset: 0, bytes: vec![1, 2, 3].into() }),
        Message::FullEnd(FullEnd { transfer: 7, bytes: 500, digest: 9 }),
        Message::Overtake(Overtake { transfer: 7, delta: vec![1, 1, 0].into() }),
        Message::Bye(Bye { retry_after_s: 5, ..Bye::new(ByeReason::Busy, "later".into()) }),
        Message::Bye(Bye { to: "cp:8005".into(), ..Bye::new(ByeReason::Moved, String::new()) }),
    ]
}

/// HELLO of a node that has this.
pub(crate) fn hello(have: Have) -> Hello {
    Hello {
        proto_min: 1,
        proto_max: 1,
        node: Id(1),
        hostname: "edge".into(),
        software: "0.1.0".into(),
        kinds: model::kind::ALL
            .iter()
            .map(|def| KindVersion { kind: def.kind.code(), body: def.body_version })
            .collect(),
        plugins: vec![PluginVersion { name: "jwt".into(), version: Some("0.1.0".into()) }],
        labels: vec![("site".into(), "a".into())],
        have,
        incremental: true,
        codecs: vec![0, 2],
        heartbeat_s: 300,
        status: 0,
        partial: Some(Partial { transfer: 7, offset: 100 }),
        features: 127,
        term: 3,
    }
}

pub(crate) fn message_seeds() -> Vec<Vec<u8>> {
    messages().iter().map(|message| unframed(&message.encode())).collect()
}

/// Records that steps and blobs of seeds consist of.
pub(crate) fn records() -> Vec<Record> {
    let record = |kind: Kind, id: u128, version: u64, body: &[u8]| {
        let tag = Record::tag_of(kind, Id(id), body);
        Record { kind, id: Id(id), version, tag, body: body.into() }
    };
    vec![
        record(Kind::Service, 1, 2, b"a body of some length, a body of some length"),
        record(Kind::Service, 2, 1, b""),
        record(Kind::Route, 3, 2, &[7; 300]),
    ]
}

/// A step in one or more frames: each operation encodes to what decodes to the same operation.
pub(crate) fn delta(input: &[u8]) {
    let stream = framed(input);
    let mut bytes = &stream[..];
    let mut decoder = Decoder::new();
    let mut assembler = Assembler::default();
    for _ in 0..ITEMS_MAX {
        let Ok(Some(frame)) = decoder.next(&mut bytes) else { return };
        let Ok(Some(Message::Delta(payload, more))) = Message::decode(frame) else { continue };
        match assembler.push(&payload, more) {
            Err(_) => assembler = Assembler::default(),
            Ok(None) => {}
            Ok(Some(delta)) => {
                let mut builder = Builder::new(delta.from, delta.to, delta.root);
                for op in &delta.ops {
                    builder.op(op);
                }
                // One that came in frames of another's making may be over the limit in ours.
                let Some(encoded) = builder.finish() else { continue };
                assert_eq!(assembled(&encoded.frames()), Some(delta.clone()));
                let empty = |op: &Op| matches!(op, Op::Put(entity) if entity.body.is_empty());
                let last = delta.ops.last().is_some_and(|op| matches!(op, Op::Delete { .. }));
                plant(last && delta.ops.first().is_some_and(empty), "delta");
            }
        }
    }
}

fn assembled(mut frames: &[u8]) -> Option<wire::Delta> {
    let (mut decoder, mut assembler) = (Decoder::new(), Assembler::default());
    while let Some(frame) = decoder.next(&mut frames).expect("frames of ours") {
        let Some(Message::Delta(payload, more)) = Message::decode(frame).expect("a message of ours") else {
            return None;
        };
        if let Some(delta) = assembler.push(&payload, more).expect("a step of ours") {
            return Some(delta);
        }
    }
    None
}

pub(crate) fn delta_seeds() -> Vec<Vec<u8>> {
    let mut small = Builder::new(1, 2, 9);
    small.put(&records()[0]).delete(Kind::Route, Id(4)).put(&records()[1]);
    let mut large = Builder::new(7, 300, 9);
    let long = Record { body: vec![3; 20_000].into(), ..records().remove(2) };
    large.put(&Record { version: 299, ..long });
    // A patch of each kind of hunk, one after the other in a body and of bodies of other lengths.
    let mut patched = Builder::new(7, 300, 9);
    for (n, record) in records().iter().enumerate() {
        let mut base = record.body.to_vec();
        base.extend_from_slice(&[7; 40]);
        base.iter_mut().step_by(9 + n).for_each(|byte| *byte ^= 1);
        base.drain(..n.min(base.len()));
        patched.patch(record, IdPrefix::of(record.id, 2 + 7 * n), &base);
    }
    let mut many = Builder::new(7, 300, 9);
    for id in 0..40u128 {
        many.put(&Record { id: Id(id), ..records().swap_remove((id % 3) as usize) });
    }
    let plain = [&small, &large, &patched].map(|builder| builder.clone().finish());
    let packed = [small, patched, many].map(|builder| builder.finish_packed(&Zstd));
    plain.into_iter().chain(packed).flatten().map(|step| unframed(&step.frames())).collect()
}

/// Packs short steps with the dictionary and long ones without.
struct Zstd;

impl Pack for Zstd {
    fn pack(&self, plain: &[u8]) -> Option<(u8, Vec<u8>)> {
        let (codec, dictionary) =
            if plain.len() < 4096 { (CODEC_DICTIONARY, DICTIONARY) } else { (CODEC_ZSTD, &[][..]) };
        let mut compressor = zstd::bulk::Compressor::with_dictionary(1, dictionary).ok()?;
        compressor.include_dictid(false).ok()?;
        Some((codec, compressor.compress(plain).ok()?.split_off(MAGIC.len())))
    }
}

/// A compressed stream of entities, announced generously: unpacking ends, within its bounds.
pub(crate) fn blob(bytes: &[u8]) {
    let Some((count, bytes)) = bytes.split_first() else { return };
    let begin = FullBegin {
        transfer: 0,
        version: 300,
        root: 0,
        count: u64::from(*count),
        codec: CODEC_ZSTD,
        plain: 1 << 20,
        bytes: bytes.len() as u64,
        confirmed: 0,
    };
    let Ok(mut unpack) = Unpack::new(begin, bytes) else { return };
    for _ in 0..=u16::from(*count) {
        match unpack.next() {
            Ok(Some(entity)) => plant(entity.body.first() == Some(&b'b'), "blob"),
            Ok(None) | Err(_) => return,
        }
    }
    panic!("more entities than announced");
}

/// A stream of whole records.
pub(crate) struct Whole {
    pub(crate) version: u64,
    pub(crate) records: std::vec::IntoIter<Record>,
}

impl Cursor for Whole {
    fn version(&self) -> u64 {
        self.version
    }
    fn root(&self) -> u64 {
        self.records.as_slice().iter().fold(0, |sum, record| sum.wrapping_add(record.tag))
    }
    fn count(&self) -> u64 {
        self.records.as_slice().len() as u64
    }
    fn next(&mut self) -> Option<Record> {
        self.records.next()
    }
}

/// A blob of these records: what was written, and the compressed bytes.
pub(crate) fn packed(version: u64, records: Vec<Record>) -> (Written, Vec<u8>) {
    let mut plain = Vec::new();
    let mut whole = Whole { version, records: records.into_iter() };
    let written = wire::full::blob::write(&mut whole, &mut plain).expect("a vector takes it");
    let level = ruzstd::encoding::CompressionLevel::Fastest;
    (written, ruzstd::encoding::compress_to_vec(plain.as_slice(), level))
}

pub(crate) fn blob_seeds() -> Vec<Vec<u8>> {
    let many = (0..200u128).map(|id| Record { id: Id(id), ..records().swap_remove((id % 3) as usize) });
    let of = |records: Vec<Record>| {
        let count = u8::try_from(records.len()).unwrap_or(u8::MAX);
        std::iter::once(count).chain(packed(300, records).1).collect()
    };
    vec![of(records()), of(many.collect()), of(Vec::new())]
}
