//! Reconcile: the difference of two sets out of symbols, and the step that follows.

use crate::plant;
use crate::wire::{framed, records, unframed};
use wire::frame::Decoder as Frames;
use wire::message::{Message, Symbols};
use wire::reconcile::{Decoder, Encoder};

/// The most frames of one input.
const FRAMES_MAX: usize = 256;

/// Symbols of whoever, against those of a set of three: it comes to an end, and finds no more than there are symbols.
pub(crate) fn reconcile(input: &[u8]) {
    let stream = framed(input);
    let (mut frames, mut bytes, mut decoder) = (Frames::new(), &stream[..], None);
    for _ in 0..FRAMES_MAX {
        let Ok(Some(frame)) = frames.next(&mut bytes) else { return };
        let Ok(Some(Message::Symbols(Symbols { seed, symbols, .. }))) = Message::decode(frame) else { continue };
        // All under the seed of the first: the others are somebody's mistake, and no less to be survived.
        let (seed, decoder) = decoder.get_or_insert_with(|| (seed, Decoder::new(seed)));
        let first = decoder.len() as u64;
        match decoder.push(&symbols, &ours(*seed, first, first + symbols.len() as u64)) {
            Err(_) => return,
            Ok(Some(differing)) => {
                assert!(differing.len() <= decoder.len(), "more than there are symbols");
                plant(differing.len() == 2, "reconcile");
                return;
            }
            Ok(None) => {}
        }
    }
}

fn ours(seed: u64, from: u64, until: u64) -> Vec<wire::reconcile::Symbol> {
    let mut encoder = Encoder::new(seed, from, until);
    for record in records() {
        encoder.add(record.kind.code(), record.id, record.tag);
    }
    encoder.finish()
}

pub(crate) fn reconcile_seeds() -> Vec<Vec<u8>> {
    let of = |missing: usize, pieces: &[u64]| {
        let mut stream = Vec::new();
        let mut first = 0;
        for length in pieces {
            let mut encoder = Encoder::new(9, first, first + length);
            for record in records().iter().skip(missing) {
                encoder.add(record.kind.code(), record.id, record.tag);
            }
            stream.extend_from_slice(&Message::Symbols(Symbols { seed: 9, first, symbols: encoder.finish() }).encode());
            first += length;
        }
        unframed(&stream)
    };
    vec![of(0, &[8]), of(1, &[4, 4, 8]), of(3, &[2, 3, 20])]
}
