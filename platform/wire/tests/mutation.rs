//! Whatever bytes come, each end answers with a protocol error or goes on; it never panics and never holds more than
//! its limits. Valid streams are cut at every byte and damaged at random.

mod lab;

use lab::{Rng, hello_bytes, source, tail_stream};
use model::{Id, Kind};
use std::sync::Arc;
use wire::delta::{Assembler, Builder, Op};
use wire::limits::{BODY_BYTES_MAX, DELTA_BYTES_MAX, PAYLOAD_BYTES_MAX};
use wire::message::{FullBegin, Have, Hello, Message, Mode, Type, Welcome};
use wire::patch::{BaseDiffers, IdPrefix};
use wire::{ProtocolError, cp, dp, frame};

fn data_plane() -> dp::Session {
    let mut session = dp::Session::new(dp::Identity::new(Id(1), "h".into(), "0.1.0".into())).unwrap();
    let have = Have { epoch: lab::EPOCH, applied: 1, durable: 1, root: 0, count: 0 };
    session.connected(have, 0, 0);
    session
}

fn control_plane() -> cp::Session {
    cp::Session::new(Arc::new(cp::Config::new(Id(2), "0.1.0".into())), 0)
}

/// Feeds bytes one by one, as each may be the one that something has to be done for; applies whatever is staged, and says
/// how the session closed.
fn feed_dp(bytes: &[u8]) -> Option<dp::Closed> {
    let mut session = data_plane();
    for byte in bytes {
        let mut actions = session.received(&[*byte], 0);
        while !actions.is_empty() {
            for action in std::mem::take(&mut actions) {
                match action {
                    dp::Action::Stage(delta) => actions.extend(session.applied(delta.to, 0)),
                    dp::Action::FullBegin { .. } => actions.extend(session.full_open(0, 0)),
                    dp::Action::FullBytes { bytes, .. } => {
                        actions.extend(session.full_processed(bytes.len() as u64, 0));
                    }
                    dp::Action::FullChunk { bytes, .. } => actions.extend(session.full_processed(bytes, 0)),
                    dp::Action::FullComplete { begin, .. } => actions.extend(session.applied(begin.version, 0)),
                    dp::Action::Close(closed) => return Some(closed),
                    _ => {}
                }
            }
        }
    }
    None
}

fn feed_cp(bytes: &[u8]) -> Option<cp::Closed> {
    let source = source();
    let mut session = control_plane();
    let mut actions = session.received(bytes, 0, &source);
    while !actions.is_empty() {
        for action in std::mem::take(&mut actions) {
            match action {
                cp::Action::Joined(_) => actions.extend(session.admit(&source)),
                cp::Action::Close(closed) => return Some(closed),
                _ => {}
            }
        }
        actions.extend(session.drained());
    }
    None
}

#[test]
fn every_truncation_of_a_valid_stream_just_waits_for_more() {
    let stream = tail_stream();
    for end in 0..=stream.len() {
        assert_eq!(feed_dp(&stream[..end]), None, "cut at {end}");
    }
    let hello = hello_bytes();
    for end in 0..=hello.len() {
        assert_eq!(feed_cp(&hello[..end]), None, "cut at {end}");
    }
}

#[test]
fn random_damage_never_panics_either_end() {
    let (stream, hello) = (tail_stream(), hello_bytes());
    let mut refused = 0;
    for seed in 0..20_000 {
        let mut rng = Rng::new(seed);
        let mut damaged = if seed % 2 == 0 { stream.clone() } else { hello.clone() };
        for _ in 0..=rng.below(3) {
            let at = rng.below(damaged.len() as u64) as usize;
            match rng.below(4) {
                0 => damaged[at] ^= 1 << rng.below(8),
                1 => damaged[at] = rng.below(256) as u8,
                2 => drop(damaged.remove(at)),
                _ => damaged.insert(at, rng.below(256) as u8),
            }
        }
        let closed = if seed % 2 == 0 { feed_dp(&damaged).is_some() } else { feed_cp(&damaged).is_some() };
        refused += u32::from(closed);
    }
    assert!(refused > 5_000, "only {refused} of 20,000 damaged streams were noticed");
}

#[test]
fn random_bytes_never_panic_either_end() {
    for seed in 0..20_000 {
        let mut rng = Rng::new(seed);
        let noise: Vec<u8> = (0..rng.below(64)).map(|_| rng.below(256) as u8).collect();
        feed_dp(&noise);
        feed_cp(&noise);
        // Well-formed frames with a payload of noise reach further.
        let mut framed = hello_bytes();
        let length = noise.len() as u8 + 1;
        framed.extend_from_slice(&[length, rng.below(16) as u8]);
        framed.extend_from_slice(&noise);
        feed_cp(&framed);
        let mut framed = welcome(Mode::Tail);
        framed.extend_from_slice(&[length, rng.below(16) as u8]);
        framed.extend_from_slice(&noise);
        feed_dp(&framed);
    }
}

fn welcome(mode: Mode) -> Vec<u8> {
    let welcome = Welcome {
        term: 0,
        proto: 1,
        cluster: Id(2),
        epoch: lab::EPOCH,
        head: 2,
        root: 0,
        heartbeat_s: 0,
        incremental: true,
        mode,
        message: String::new(),
    };
    Message::Welcome(welcome).encode().to_vec()
}

/// What a data plane says to these messages after WELCOME{TAIL}.
fn dp_error(payloads: &[(Type, &[u8])]) -> Option<ProtocolError> {
    let mut session = data_plane();
    session.received(&welcome(Mode::Tail), 0);
    payloads.iter().find_map(|(kind, payload)| {
        let mut bytes = Vec::new();
        frame::encode(*kind, payload, &mut bytes);
        session.received(&bytes, 0).into_iter().find_map(|action| match action {
            dp::Action::Close(dp::Closed::Protocol(error)) => Some(error),
            dp::Action::FullBegin { .. } => {
                session.full_open(0, 0);
                None
            }
            _ => None,
        })
    })
}

fn delta(from: u8, span: u8, ops: &[u8]) -> Vec<u8> {
    [&[from, span, 0, 0, 0, 0, 0, 0, 0, 0], ops].concat()
}

/// The start of a put, up to its tag, and after it.
fn put(rest: &[u8]) -> Vec<u8> {
    let mut op = vec![0, 2];
    op.extend_from_slice(&[7; 16]);
    op.extend_from_slice(rest);
    op
}

#[test]
fn each_way_to_break_a_delta_has_its_own_error() {
    let one = |payload: Vec<u8>| dp_error(&[(Type::Delta, &payload)]);
    assert_eq!(one(delta(1, 1, &[])), None);
    assert_eq!(one(delta(0, 2, &[])), Some(ProtocolError::BaseMismatch { from: 0, at: 1 }));
    assert_eq!(one(delta(1, 0, &[])), Some(ProtocolError::NotWanted { at: 1 }));
    assert_eq!(one(delta(1, 1, &[9])), Some(ProtocolError::OpUnknown { code: 9 }));
    assert_eq!(one(vec![1, 1, 0]), Some(ProtocolError::Malformed { message: Type::Delta }));
    assert_eq!(one(delta(1, 1, &[1, 2, 3])), Some(ProtocolError::Malformed { message: Type::Delta }));
    let newer_than_step = put(&[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(one(delta(1, 1, &newer_than_step)), Some(ProtocolError::VersionRange { message: Type::Delta }));
    let codec = put(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0]);
    assert_eq!(one(delta(1, 1, &codec)), Some(ProtocolError::CodecUnknown { code: 5 }));
    let long = put(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x81, 0x80, 0x10]);
    let length = BODY_BYTES_MAX as u64 + 1;
    assert_eq!(one(delta(1, 1, &long)), Some(ProtocolError::BodyTooLong { length }));
    let two = dp_error(&[(Type::Delta, &delta(1, 1, &[])), (Type::Delta, &delta(2, 1, &[]))]);
    let state = "while a version is unapplied";
    assert_eq!(two, Some(ProtocolError::Unexpected { message: Type::Delta, state }));
}

#[test]
fn each_way_to_break_a_patch_has_its_own_error() {
    let taking = |ops: &[u8], features: u64| {
        let identity = dp::Identity { features, ..dp::Identity::new(Id(1), "h".into(), "0.1.0".into()) };
        let mut session = dp::Session::new(identity).unwrap();
        session.connected(Have { epoch: lab::EPOCH, applied: 1, durable: 1, root: 0, count: 0 }, 0, 0);
        let mut bytes = welcome(Mode::Tail);
        frame::encode(Type::Delta, &delta(1, 1, ops), &mut bytes);
        session.received(&bytes, 0).into_iter().find_map(|action| match action {
            dp::Action::Close(dp::Closed::Protocol(error)) => Some(error),
            _ => None,
        })
    };
    let one = |ops: &[u8]| taking(ops, Hello::PATCHES);
    let malformed = Some(ProtocolError::Malformed { message: Type::Delta });
    let tagged = |start: &[u8], rest: &[u8]| [start, &[0; 8], rest].concat();
    let good = tagged(&[2, 2, 1, 7, 0], &[3, 0, 2, b'x']);
    assert_eq!(one(&good), None);
    assert_eq!(taking(&good, 0), Some(ProtocolError::OpUnknown { code: 2 }));
    // An id of no bytes, of more than there are; an age beyond the step.
    assert_eq!(one(&tagged(&[2, 2, 0, 0], &[3, 0, 2, b'x'])), malformed);
    assert_eq!(one(&tagged(&[2, 2, 17, 0], &[3, 0, 2, b'x'])), malformed);
    let newer = Some(ProtocolError::VersionRange { message: Type::Delta });
    assert_eq!(one(&tagged(&[2, 2, 1, 7, 3], &[3, 0, 2, b'x'])), newer);
    // Hunks that are cut off, do nothing, or are longer than any body.
    assert_eq!(one(&tagged(&[2, 2, 1, 7, 0], &[3, 0, 4, b'x'])), malformed);
    assert_eq!(one(&tagged(&[2, 2, 1, 7, 0], &[2, 5, 0])), malformed);
    assert_eq!(one(&tagged(&[2, 2, 1, 7, 0], &[4, 0, 2, b'x'])), malformed);
    let length = BODY_BYTES_MAX as u64 + 1;
    assert_eq!(one(&tagged(&[2, 2, 1, 7, 0], &[0x81, 0x80, 0x10])), Some(ProtocolError::BodyTooLong { length }));
    let many = good.repeat(wire::limits::DELTA_PATCHES_MAX + 1);
    assert_eq!(one(&many), Some(ProtocolError::DeltaTooManyPatches));
    assert_eq!(one(&many[good.len()..]), None);
}

#[test]
fn a_damaged_patch_is_refused_or_leads_to_what_was_meant_or_is_noticed() {
    let (mut refused, mut noticed, mut meant) = (0, 0, 0);
    for seed in 0..20_000 {
        let mut rng = Rng::new(seed);
        let old: Vec<u8> = (0..40 + rng.below(200)).map(|_| rng.below(256) as u8).collect();
        let mut new = old.clone();
        for _ in 0..=rng.below(3) {
            let at = rng.below(new.len() as u64) as usize;
            new[at] ^= 1 + rng.below(255) as u8;
        }
        let mut builder = Builder::new(1, 2, 0);
        builder.patch(&lab::record(Kind::Route, Id(7), 2, &new), IdPrefix::of(Id(7), 16), &old);
        let mut payload = builder.finish().unwrap().frames()[2..].to_vec();
        let at = 10 + rng.below(payload.len() as u64 - 10) as usize;
        payload[at] ^= 1 << rng.below(8);
        match Assembler::default().push(&payload, false) {
            Err(_) => refused += 1,
            Ok(delta) => match delta.unwrap().ops.first() {
                Some(Op::Patch(patch)) => match patch.apply(Id(7), &old) {
                    Err(BaseDiffers) => noticed += 1,
                    Ok(entity) => {
                        // What says which entity it is, or how old, is the root's and the frame's business.
                        assert_eq!(*entity.body, *new);
                        meant += 1;
                    }
                },
                _ => refused += 1,
            },
        }
    }
    println!("{refused} refused, {noticed} noticed by the tag, {meant} as meant");
    assert!(refused > 1_000 && noticed > 1_000 && meant > 1_000);
}

#[test]
fn a_delta_over_its_limits_is_refused_before_it_is_held() {
    let mut op = put(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x80, 0x10]);
    op.resize(op.len() + BODY_BYTES_MAX, 0);
    let long = delta(1, 1, &op.repeat(DELTA_BYTES_MAX / BODY_BYTES_MAX));
    assert_eq!(dp_error(&[(Type::Delta, &long)]), Some(ProtocolError::DeltaTooLong));
    let deletes = [1].repeat(18).repeat(wire::limits::DELTA_OPS_MAX + 1);
    assert_eq!(dp_error(&[(Type::Delta, &delta(1, 1, &deletes))]), Some(ProtocolError::DeltaTooManyOps));
}

#[test]
fn each_way_to_break_a_full_sync_has_its_own_error() {
    let begin = FullBegin { transfer: 9, version: 2, root: 1, count: 1, codec: 0, plain: 0, bytes: 0, confirmed: 0 };
    let begin = Message::FullBegin(begin).encode()[2..].to_vec();
    let full = |rest: &[(Type, &[u8])]| dp_error(&[&[(Type::FullBegin, begin.as_slice())], rest].concat());
    let data = |transfer: u8, offset: u8, bytes: &[u8]| [&[transfer, 0, 0, 0, 0, 0, 0, 0, offset], bytes].concat();
    let end = |bytes: u8| [9, 0, 0, 0, 0, 0, 0, 0, bytes, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(full(&[]), None);
    assert_eq!(full(&[(Type::FullData, &data(8, 0, b"x"))]), Some(ProtocolError::TransferUnknown { transfer: 8 }));
    let gap = full(&[(Type::FullData, &data(9, 1, b"x"))]);
    assert_eq!(gap, Some(ProtocolError::FullOffset { expected: 0, got: 1 }));
    let cut = full(&[(Type::FullData, &data(9, 0, b"x")), (Type::FullEnd, &end(1))]);
    assert_eq!(cut, Some(ProtocolError::FullTruncated { expected: 1, got: 1 }));
    assert_eq!(full(&[(Type::FullEnd, &end(0))]), Some(ProtocolError::FullDigest));
    let state = "during a full sync";
    let unexpected = Some(ProtocolError::Unexpected { message: Type::Delta, state });
    assert_eq!(full(&[(Type::Delta, &delta(1, 1, &[]))]), unexpected);
    // Deletions count as nothing until processed, so more than the window of them is beyond the grant.
    let mut pieces = Vec::new();
    let mut offset = 0u64;
    while offset <= wire::limits::FULL_WINDOW_BYTES {
        let mut entity = put(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x70]);
        entity.remove(0);
        entity.resize(entity.len() + 0x3800, 0);
        let mut piece = 9u64.to_le_bytes().to_vec();
        piece.extend(postcard::to_allocvec(&offset).unwrap());
        offset += entity.len() as u64;
        piece.extend(entity);
        pieces.push(piece);
    }
    let pieces: Vec<_> = pieces.iter().map(|piece| (Type::FullData, piece.as_slice())).collect();
    assert_eq!(full(&pieces), Some(ProtocolError::FullWindow));
}

#[test]
fn a_full_sync_with_another_count_or_root_than_announced_is_refused() {
    let stream = &put(&[0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0])[1..];
    let digest = xxhash_rust::xxh3::xxh3_64(stream);
    let end = [&[9, 0, 0, 0, 0, 0, 0, 0, stream.len() as u8], digest.to_le_bytes().as_slice()].concat();
    let data = [&[9, 0, 0, 0, 0, 0, 0, 0, 0], stream].concat();
    let full = |root: u64, count: u64| {
        let begin = Message::FullBegin(FullBegin {
            transfer: 9,
            version: 2,
            root,
            count,
            codec: 0,
            plain: 0,
            bytes: 0,
            confirmed: 0,
        })
        .encode();
        dp_error(&[(Type::FullBegin, &begin[2..]), (Type::FullData, &data), (Type::FullEnd, &end)])
    };
    assert_eq!(full(5, 1), None);
    assert_eq!(full(6, 1), Some(ProtocolError::FullRoot));
    assert_eq!(full(5, 2), Some(ProtocolError::FullCount { expected: 2, got: 1 }));
}

#[test]
fn messages_of_the_other_direction_or_out_of_order_are_refused() {
    let unexpected = |bytes: &[u8]| match feed_cp(bytes) {
        Some(cp::Closed::Protocol(error)) => Some(error),
        _ => None,
    };
    let before = "before WELCOME";
    let ack = [3, 4, 1, 0];
    assert_eq!(unexpected(&ack), Some(ProtocolError::Unexpected { message: Type::Ack, state: before }));
    let after = |bytes: &[u8]| unexpected(&[&hello_bytes(), bytes].concat());
    assert_eq!(after(&hello_bytes()), Some(ProtocolError::Unexpected { message: Type::Hello, state: before }));
    assert_eq!(dp_error(&[(Type::Ack, &[1, 0])]), {
        Some(ProtocolError::Unexpected { message: Type::Ack, state: "while idle" })
    });
    assert_eq!(frame_error(&[0xff, 0xff]), Some(ProtocolError::LengthMalformed));
    assert_eq!(frame_error(&[0]), Some(ProtocolError::FrameEmpty));
}

fn frame_error(bytes: &[u8]) -> Option<ProtocolError> {
    match feed_dp(bytes) {
        Some(dp::Closed::Protocol(error)) => Some(error),
        _ => None,
    }
}

#[test]
fn a_control_plane_refuses_acks_and_nacks_of_what_it_did_not_send() {
    let live = |message: &[u8]| {
        let source = source();
        let mut session = control_plane();
        session.received(&hello_bytes(), 0, &source);
        session.admit(&source);
        session.received(message, 0, &source).into_iter().find_map(|action| match action {
            cp::Action::Close(cp::Closed::Protocol(error)) => Some(error),
            _ => None,
        })
    };
    assert_eq!(live(&[3, 4, 99, 0]), Some(ProtocolError::AckUnsent { applied: 99 }));
    assert_eq!(live(&[3, 4, 1, 5]), Some(ProtocolError::VersionRange { message: Type::Ack }));
    let nack = [7, 5, 99, 3, 0, 0, 0, 0];
    assert_eq!(live(&nack), Some(ProtocolError::NackUnsent { version: 99 }));
}

#[test]
fn the_longest_body_travels_in_a_delta() {
    const { assert!(BODY_BYTES_MAX > 16 * PAYLOAD_BYTES_MAX) };
    let mut op = put(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x80, 0x10]);
    op.resize(op.len() + BODY_BYTES_MAX, 0);
    assert_eq!(dp_error(&[(Type::Delta, &delta(1, 1, &op))]), None);
}
