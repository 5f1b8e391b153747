//! Golden bytes of every message: what was released once must be read and written the same for ever.

use bytes::Bytes;
use model::{Id, Kind, Record};
use wire::PlaneNodes;
use wire::delta::{Assembler, Builder, Op};
use wire::frame::Decoder;
use wire::message::*;
use wire::patch::IdPrefix;
use wire::shrink::Shrink;
use wire::*;

const NODE: Id = Id(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The message has these bytes, and these bytes are the message.
#[track_caller]
fn golden(message: &Message, expected: &str) {
    let expected = unhex(expected);
    assert_eq!(hex(&message.encode()), hex(&expected));
    let mut rest = expected.as_slice();
    let frame = Decoder::new().next(&mut rest).unwrap().unwrap();
    assert_eq!(Message::decode(frame).unwrap().as_ref(), Some(message));
    assert!(rest.is_empty());
}

/// What these bytes, with no more of them, are.
fn read(bytes: &str) -> Message {
    let frame = Decoder::new().next(&mut unhex(bytes).as_slice()).unwrap().unwrap();
    Message::decode(frame).unwrap().unwrap()
}

fn hello() -> Hello {
    Hello {
        proto_min: 1,
        proto_max: 1,
        node: NODE,
        hostname: "edge-7".into(),
        software: "0.1.0".into(),
        kinds: vec![KindVersion { kind: 1, body: 1 }, KindVersion { kind: 2, body: 300 }],
        plugins: vec![
            PluginVersion { name: "jwt".into(), version: None },
            PluginVersion { name: "own".into(), version: Some("2.0".into()) },
        ],
        labels: vec![("site".into(), "a".into())],
        have: Have { epoch: 0x0102_0304_0506_0708, applied: 300, durable: 299, root: 0xff, count: 2 },
        incremental: true,
        codecs: vec![0],
        heartbeat_s: 300,
        status: 1,
        partial: None,
        features: 0,
        term: 0,
    }
}

#[test]
fn hello_is_as_documented() {
    golden(
        &Message::Hello(hello()),
        "5b 01 01 01 00112233445566778899aabbccddeeff 06 656467652d37 05 302e312e30 \
         02 01 01 02 ac02 02 03 6a7774 00 03 6f776e 01 03 322e30 01 04 73697465 01 61 \
         0807060504030201 ac02 ab02 ff00000000000000 02 01 01 00 ac02 01 00 00 00",
    );
    let partial = Some(Partial { transfer: 0x0102_0304_0506_0708, offset: 300 });
    golden(
        &Message::Hello(Hello { codecs: vec![0, 2], partial, features: 257, term: 300, ..hello() }),
        "68 01 01 01 00112233445566778899aabbccddeeff 06 656467652d37 05 302e312e30 \
         02 01 01 02 ac02 02 03 6a7774 00 03 6f776e 01 03 322e30 01 04 73697465 01 61 \
         0807060504030201 ac02 ab02 ff00000000000000 02 01 02 00 02 ac02 01 01 0807060504030201 ac02 8102 ac02",
    );
}

#[test]
fn the_first_releases_said_less_and_are_understood() {
    let first = "58 01 01 01 00112233445566778899aabbccddeeff 06 656467652d37 05 302e312e30 \
         02 01 01 02 ac02 02 03 6a7774 00 03 6f776e 01 03 322e30 01 04 73697465 01 61 \
         0807060504030201 ac02 ab02 ff00000000000000 02 01 01 00 ac02 01";
    assert_eq!(read(first), Message::Hello(hello()));
    let second = first.replace("58 01", "59 01") + "00";
    assert_eq!(read(&second), Message::Hello(hello()));
    let begin = FullBegin { transfer: 1, version: 300, root: 2, count: 3, codec: 0, plain: 0, bytes: 0, confirmed: 0 };
    assert_eq!(read("15 09 0100000000000000 ac02 0200000000000000 03 00"), Message::FullBegin(begin));
    let bye = Bye { retry_after_s: 3, ..Bye::new(ByeReason::Silent, "x".into()) };
    assert_eq!(read("05 0d 02 03 01 78"), Message::Bye(bye));
}

#[test]
fn welcome_is_as_documented_in_each_mode() {
    let mut welcome = Welcome {
        proto: 1,
        cluster: NODE,
        epoch: 9,
        head: 300,
        root: 7,
        heartbeat_s: 60,
        incremental: false,
        mode: Mode::Same,
        message: "m".into(),
        term: 2,
    };
    let modes = [
        (Mode::Same, "00 00 00"),
        (Mode::Tail, "01 00 00"),
        (Mode::Full, "02 00 00"),
        (Mode::Behind, "03 00 00"),
        (Mode::Withheld, "04 00 00"),
        (Mode::Refuse { why: RefuseReason::Busy, retry_after_s: 5 }, "05 03 05"),
        (Mode::Refuse { why: RefuseReason::Other(77), retry_after_s: 0 }, "05 4d 00"),
        (Mode::Reconcile, "06 00 00"),
        (Mode::Other(7), "07 00 00"),
    ];
    for (mode, bytes) in modes {
        welcome.mode = mode;
        golden(
            &Message::Welcome(welcome.clone()),
            &format!(
                "2c 02 01 00112233445566778899aabbccddeeff 0900000000000000 ac02 0700000000000000 3c 00 {bytes} 01 6d 02"
            ),
        );
    }
}

#[test]
fn small_messages_are_as_documented() {
    golden(&Message::Ack(Ack { applied: 300, durable: 300 }), "04 04 ac02 00");
    golden(&Message::Ack(Ack { applied: 300, durable: 100 }), "05 04 ac02 c801");
    golden(&Message::Ping(Ping::default()), "01 06");
    let planes = vec![PlaneNodes { address: "b:8005".into(), nodes: 300 }];
    golden(&Message::Planes(planes), "0b 90 01 06 623a38303035 ac02");
    golden(&Message::Planes(Vec::new()), "02 90 00");
    golden(&Message::Ping(Ping { heartbeat_s: Some(300) }), "04 06 01 ac02");
    golden(&Message::Pong(Pong::new(1, 2)), "0a 07 01 0200000000000000");
    let heartbeat_s = Some(300);
    golden(&Message::Pong(Pong { heartbeat_s, ..Pong::new(1, 2) }), "0d 07 01 0200000000000000 01 ac02");
    golden(&Message::Want(Want { entities: vec![(2, NODE)] }), "13 08 01 02 00112233445566778899aabbccddeeff");
    golden(&Message::Bye(Bye { retry_after_s: 3, ..Bye::new(ByeReason::Silent, "x".into()) }), "06 0d 02 03 01 78 00");
    golden(
        &Message::Bye(Bye { to: "b:8005".into(), ..Bye::new(ByeReason::Moved, String::new()) }),
        "0b 0d 08 00 00 06 623a38303035",
    );
}

#[test]
fn nack_is_as_documented() {
    let nack = Nack {
        version: 300,
        code: NackCode::UnknownPlugin,
        entity: Some((4, NODE)),
        path: "name".into(),
        message: "no".into(),
        kept: 299,
        shrink: None,
    };
    golden(
        &Message::Nack(nack.clone()),
        "21 05 ac02 02 01 04 00112233445566778899aabbccddeeff 04 6e616d65 02 6e6f ab02 00",
    );
    let nack = Nack { entity: None, code: NackCode::Other(200), ..nack };
    golden(&Message::Nack(nack.clone()), "10 05 ac02 c8 00 04 6e616d65 02 6e6f ab02 00");
    assert_eq!(read("0f 05 ac02 c8 00 04 6e616d65 02 6e6f ab02"), Message::Nack(nack.clone()), "of the first release");
    let shrink = Some(Shrink { gone: 400, of: 500, allowed: 250 });
    golden(
        &Message::Nack(Nack { code: NackCode::Shrink, shrink, ..nack }),
        "16 05 ac02 0a 00 04 6e616d65 02 6e6f ab02 01 9003 f403 fa01",
    );
}

#[test]
fn full_sync_messages_are_as_documented() {
    golden(
        &Message::FullBegin(FullBegin {
            transfer: 1,
            version: 300,
            root: 2,
            count: 3,
            codec: 0,
            plain: 0,
            bytes: 0,
            confirmed: 0,
        }),
        "18 09 0100000000000000 ac02 0200000000000000 03 00 00 00 00",
    );
    golden(
        &Message::FullBegin(FullBegin {
            transfer: 1,
            version: 300,
            root: 2,
            count: 3,
            codec: 2,
            plain: 301,
            bytes: 127,
            confirmed: 400,
        }),
        "1a 09 0100000000000000 ac02 0200000000000000 03 02 ad02 7f 9003",
    );
    let begin =
        FullBegin { transfer: 1, version: 300, root: 2, count: 3, codec: 2, plain: 301, bytes: 127, confirmed: 0 };
    assert_eq!(
        read("18 09 0100000000000000 ac02 0200000000000000 03 02 ad02 7f"),
        Message::FullBegin(begin),
        "of the first release with blobs"
    );
    golden(&Message::FullGet(FullGet { transfer: 1, offset: 0, until: 300 }), "0c 0a 0100000000000000 00 ac02");
    golden(
        &Message::FullData(FullData { transfer: 1, offset: 300, bytes: Bytes::from_static(b"abc") }),
        "0e 0b 0100000000000000 ac02 616263",
    );
    golden(
        &Message::FullEnd(FullEnd { transfer: 1, bytes: 303, digest: 2 }),
        "13 0c 0100000000000000 af02 0200000000000000",
    );
}

#[test]
fn what_overtakes_a_full_sync_is_as_documented() {
    let mut builder = Builder::new(300, 301, 0xbb);
    builder.delete(Kind::Service, NODE);
    let frames = builder.finish().unwrap().frames();
    let step = Decoder::new().next(&mut frames.as_ref()).unwrap().unwrap().payload;
    golden(
        &Message::Overtake(Overtake { transfer: 1, delta: step }),
        "26 12 0100000000000000 ac02 01 bb00000000000000 01 01 00112233445566778899aabbccddeeff",
    );
}

#[test]
fn delta_is_as_documented() {
    let record = Record { kind: Kind::Route, id: NODE, version: 299, tag: 0xaa, body: b"body".as_slice().into() };
    let mut builder = Builder::new(298, 300, 0xbb);
    builder.put(&record).delete(Kind::Service, NODE);
    let encoded = builder.finish().unwrap();
    let bytes = unhex(
        "3f 03 aa02 02 bb00000000000000 \
         00 02 00112233445566778899aabbccddeeff 01 aa00000000000000 00 04 626f6479 \
         01 01 00112233445566778899aabbccddeeff",
    );
    assert_eq!(hex(&encoded.frames()), hex(&bytes));
    let mut rest = bytes.as_slice();
    let frame = Decoder::new().next(&mut rest).unwrap().unwrap();
    let delta = Assembler::default().push(&frame.payload, frame.more).unwrap().unwrap();
    assert_eq!((delta.from, delta.to, delta.root), (298, 300, 0xbb));
    assert_eq!(delta.ops, [Op::Put(Entity::from(&record)), Op::Delete { kind: Kind::Service.code(), id: NODE },]);
}

#[test]
fn a_patch_is_as_documented() {
    let (old, new) = (b"a body of some length, before", b"a body of some length, after.");
    let tag = Record::tag_of(Kind::Route, NODE, new);
    let record = Record { kind: Kind::Route, id: NODE, version: 299, tag, body: new.as_slice().into() };
    let mut builder = Builder::new(298, 300, 0xbb);
    builder.patch(&record, IdPrefix::of(NODE, 3), old);
    let encoded = builder.finish().unwrap();
    assert_eq!(encoded.patches(), 1);
    let bytes = unhex(
        "24 03 aa02 02 bb00000000000000 \
         02 02 03 001122 01 f11449bff9c5ba98 08 17 0c 6166746572 2e",
    );
    assert_eq!(hex(&encoded.frames()), hex(&bytes));
    let frame = Decoder::new().next(&mut bytes.as_slice()).unwrap().unwrap();
    let delta = Assembler::default().push(&frame.payload, frame.more).unwrap().unwrap();
    let [Op::Patch(patch)] = &delta.ops[..] else { panic!("{:?}", delta.ops) };
    assert!(patch.prefix.is_of(NODE));
    assert_eq!(patch.apply(NODE, old), Ok(Entity::from(&record)));
}

#[test]
fn what_no_patch_makes_shorter_or_no_tag_can_check_travels_whole() {
    let record = |tag| Record {
        kind: Kind::Route,
        id: NODE,
        version: 300,
        tag,
        body: b"entirely new, and long".as_slice().into(),
    };
    let good = record(Record::tag_of(Kind::Route, NODE, b"entirely new, and long"));
    let op = |record: &Record, base: &[u8]| {
        let mut builder = Builder::new(298, 300, 0xbb);
        builder.patch(record, IdPrefix::of(NODE, 16), base);
        let frames = builder.finish().unwrap().frames();
        let frame = Decoder::new().next(&mut frames.as_ref()).unwrap().unwrap();
        Assembler::default().push(&frame.payload, false).unwrap().unwrap().ops.remove(0)
    };
    assert!(matches!(op(&good, b"entirely new, and lang"), Op::Patch(_)));
    assert_eq!(op(&good, b""), Op::Put(Entity::from(&good)));
    let other_tag = record(7);
    assert_eq!(op(&other_tag, b"entirely new, and lang"), Op::Put(Entity::from(&other_tag)));
}

#[test]
fn fields_appended_by_a_later_version_are_ignored() {
    let later = [Message::Hello(hello()).encode().as_ref(), b"later"].concat();
    let mut bytes = Vec::from([later[0] + 5]);
    bytes.extend_from_slice(&later[1..]);
    let frame = Decoder::new().next(&mut bytes.as_slice()).unwrap().unwrap();
    assert_eq!(Message::decode(frame).unwrap(), Some(Message::Hello(hello())));
}

#[test]
fn unknown_types_are_skipped_only_where_they_say_so() {
    let frame = |code: u8| Decoder::new().next(&mut [2, code, 0].as_slice()).unwrap().unwrap();
    assert_eq!(Message::decode(frame(0x80 | 40)), Ok(None));
    assert_eq!(Message::decode(frame(40)), Err(ProtocolError::TypeUnknown { code: 40 }));
    assert_eq!(Message::decode(frame(0x40 | 4)), Err(ProtocolError::NotSplittable { message: Type::Ack }));
}

#[test]
fn texts_and_lists_over_their_limits_are_refused() {
    let refused = |message: Message, field| {
        let bytes = message.encode();
        let frame = Decoder::new().next(&mut bytes.as_ref()).unwrap().unwrap();
        assert_eq!(Message::decode(frame), Err(ProtocolError::FieldTooLong { field }));
    };
    refused(Message::Hello(Hello { hostname: "h".repeat(256), ..hello() }), "hostname");
    refused(Message::Hello(Hello { labels: vec![(String::new(), String::new()); 33], ..hello() }), "labels");
    refused(Message::Bye(Bye::new(ByeReason::Busy, "x".repeat(201))), "message");
    refused(Message::Bye(Bye { to: "h".repeat(256), ..Bye::new(ByeReason::Moved, String::new()) }), "to");
    refused(Message::Want(Want { entities: vec![(1, NODE); 257] }), "wanted entities");
}
