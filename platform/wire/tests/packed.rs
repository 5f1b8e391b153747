//! Packed operations: the same step in fewer bytes, for nodes that said that they unpack it.

mod lab;

use lab::{EPOCH, Zstd};
use model::{Id, Kind, Record};
use std::sync::Arc;
use wire::delta::{Assembler, Builder, Op};
use wire::frame::Decoder;
use wire::limits::DELTA_BYTES_MAX;
use wire::message::{CODEC_DICTIONARY, CODEC_ZSTD, Type};
use wire::pack::{MAGIC, Pack, Plain};
use wire::{Delta, ProtocolError};

/// The operation's code.
const PACKED: u8 = 3;

fn route(n: u128) -> Record {
    let body: Arc<[u8]> = format!("\u{3}https\u{7}api.example.com\u{12}/orders/{n}/(?<id>[^/]+)$").into_bytes().into();
    let id = Id(0xabcd << 64 | n);
    Record { kind: Kind::Route, id, version: 9, tag: Record::tag_of(Kind::Route, id, &body), body }
}

fn step(routes: u128) -> Builder {
    let mut builder = Builder::new(8, 9, EPOCH);
    for n in 0..routes {
        builder.put(&route(n));
    }
    builder.delete(Kind::Service, Id(1));
    builder
}

/// What the other end makes of frames.
fn read(mut frames: &[u8]) -> Result<Delta, ProtocolError> {
    let (mut decoder, mut assembler) = (Decoder::new(), Assembler::default());
    while let Some(frame) = decoder.next(&mut frames)? {
        if let Some(delta) = assembler.push(&frame.payload, frame.more)? {
            return Ok(delta);
        }
    }
    panic!("the step does not end")
}

/// A step whose operations are these bytes.
fn raw(ops: &[u8]) -> Result<Delta, ProtocolError> {
    let mut frames = Vec::new();
    wire::frame::encode(Type::Delta, &[&[8, 1, 0, 0, 0, 0, 0, 0, 0, 0], ops].concat(), &mut frames);
    read(&frames)
}

/// Operations packed as announced: lengths of one, two or three bytes.
fn packed(ops: &[u8], plain: usize, frame: &[u8], codec: u8) -> Vec<u8> {
    let mut out = vec![PACKED, codec];
    for mut length in [plain, frame.len()] {
        while length >= 0x80 {
            out.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        out.push(length as u8);
    }
    [&out, frame, ops].concat()
}

#[test]
fn a_packed_step_is_smaller_and_says_the_same() {
    for routes in [2, 20, 900] {
        let plain = step(routes).finish().expect("within the limits");
        let packed = step(routes).finish_packed(&Zstd).expect("within the limits");
        assert!(packed.frames().len() * 4 < plain.frames().len() * 3, "{routes} routes: {}", packed.frames().len());
        assert_eq!(read(&packed.frames()), read(&plain.frames()));
        assert_eq!((packed.payload(), packed.patches()), (plain.payload(), plain.patches()));
    }
}

#[test]
fn what_packing_makes_no_smaller_goes_as_it_is() {
    struct Larger;
    impl Pack for Larger {
        fn pack(&self, plain: &[u8]) -> Option<(u8, Vec<u8>)> {
            Some((CODEC_ZSTD, [plain, plain].concat()))
        }
    }
    for packer in [&Larger as &dyn Pack, &Plain] {
        assert_eq!(
            step(9).finish_packed(packer).expect("within the limits").frames(),
            step(9).finish().unwrap().frames()
        );
    }
}

#[test]
fn each_way_to_break_packed_operations_has_its_own_error() {
    let malformed = Err(ProtocolError::Malformed { message: Type::Delta });
    let whole = step(3).finish().expect("within the limits");
    let ops = &whole.payload()[10..];
    let (codec, frame) = Zstd.pack(ops).expect("it can be packed");
    assert_eq!(raw(&packed(&[], ops.len(), &frame, codec)).expect("as announced").ops.len(), 4);
    assert_eq!(raw(&packed(&[], ops.len() - 1, &frame, codec)), malformed, "more than announced");
    assert_eq!(raw(&packed(&[], ops.len(), &frame[..frame.len() - 1], codec)), malformed, "cut off");
    assert_eq!(raw(&packed(ops, ops.len(), &frame, codec)), malformed, "others after them");
    assert_eq!(raw(&[&[1; 18], &packed(&[], ops.len(), &frame, codec)[..]].concat()), malformed, "others before them");
    assert_eq!(raw(&packed(&[], ops.len(), &frame, 7)), Err(ProtocolError::CodecUnknown { code: 7 }));
    let over = DELTA_BYTES_MAX + 1;
    assert_eq!(raw(&packed(&[], over, &frame, codec)), Err(ProtocolError::DeltaTooLong));
    let of = |ops: &[u8]| raw(&packed(&[], ops.len(), &Zstd.pack(ops).expect("it can be packed").1, codec));
    assert_eq!(of(&ops[..ops.len() - 1]), malformed, "an operation that ends with what is packed");
    let nested = packed(&[], ops.len(), &frame, codec);
    assert_eq!(of(&nested), Err(ProtocolError::OpUnknown { code: PACKED }));
    let bomb = zstd::bulk::compress(&vec![0; 1 << 24], 1).expect("there is memory").split_off(MAGIC.len());
    assert_eq!(raw(&packed(&[], DELTA_BYTES_MAX, &bomb, CODEC_ZSTD)), malformed, "a bomb");
}

#[test]
fn what_is_packed_counts_as_much_as_what_is_not() {
    let mut deletions = vec![1, 2];
    deletions.extend_from_slice(&[7; 16]);
    let many = deletions.repeat(16_385);
    let frame = Zstd.pack(&many).expect("it can be packed").1;
    assert_eq!(raw(&packed(&[], many.len(), &frame, CODEC_DICTIONARY)), Err(ProtocolError::DeltaTooManyOps));
}

/// Bytes that a control plane of this release may send: with the dictionary, and naming none.
#[test]
fn packed_bytes_are_read_as_ever() {
    let frame = hex(
        "20960502009382093dc920bab0dbcd9ca7e763a9d3ebae4f06e0d7f7f767876cbeda02029a155a8b13fece95473f08fcf0e08191dca142\
         5077f62c8e8ea8b8d2de371dad17",
    );
    let delta = raw(&packed(&[], 150, &frame, CODEC_DICTIONARY)).expect("what was sent once");
    assert_eq!(delta.ops, [Op::Put((&route(0)).into()), Op::Put((&route(1)).into())]);
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}
