//! Frames: `varint length | u8 type | payload`. The decoder holds at most one frame and allocates it only once its
//! length is known to be within the limit.

use crate::error::ProtocolError;
use crate::limits::{FRAME_BYTES_MAX, PAYLOAD_BYTES_MAX, PREFIX_BYTES_MAX};
use crate::message::Type;
use bytes::Bytes;

/// In the type byte: another frame of the same message follows. Clear on the last one, which is the END.
pub const MORE: u8 = 0x40;

/// In the type byte: a receiver that does not know the type skips the frame. Clear: it is a protocol error.
pub const IGNORABLE: u8 = 0x80;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Type without the [`MORE`] bit.
    pub code: u8,
    /// Whether another frame of the same message follows.
    pub more: bool,
    /// What follows the type.
    pub payload: Bytes,
}

/// Cuts a stream of bytes into frames. Holds at most [`FRAME_BYTES_MAX`] bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    prefix: Vec<u8>,
    length: usize,
    body: Vec<u8>,
}

impl Decoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes from the front of `input` what the next frame needs. `None`: all of `input` was taken, and more is needed.
    ///
    /// # Errors
    /// A length that is malformed, zero or over the limit. The stream cannot be read on after that.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, ProtocolError> {
        while self.length == 0 {
            let Some((&byte, rest)) = input.split_first() else { return Ok(None) };
            *input = rest;
            self.push_prefix(byte)?;
        }
        let take = input.len().min(self.length - self.body.len());
        let (taken, rest) = input.split_at(take);
        self.body.extend_from_slice(taken);
        *input = rest;
        if self.body.len() < self.length {
            return Ok(None);
        }
        self.length = 0;
        let mut payload = Bytes::from(std::mem::take(&mut self.body));
        let kind = payload.split_to(1);
        let kind = kind.first().copied().unwrap_or_default();
        Ok(Some(Frame { code: kind & !MORE, more: kind & MORE != 0, payload }))
    }

    fn push_prefix(&mut self, byte: u8) -> Result<(), ProtocolError> {
        self.prefix.push(byte);
        if byte & 0x80 != 0 {
            return if self.prefix.len() < PREFIX_BYTES_MAX { Ok(()) } else { Err(ProtocolError::LengthMalformed) };
        }
        if byte == 0 && self.prefix.len() > 1 {
            return Err(ProtocolError::LengthMalformed);
        }
        let length = self.prefix.iter().rev().fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
        match length {
            0 => return Err(ProtocolError::FrameEmpty),
            length if length + self.prefix.len() > FRAME_BYTES_MAX => {
                return Err(ProtocolError::FrameTooLong { length });
            }
            _ => self.length = length,
        }
        self.prefix.clear();
        self.body.reserve_exact(length);
        Ok(())
    }
}

/// Appends a message to `out`, over as many frames as its payload needs.
pub fn encode(kind: Type, payload: &[u8], out: &mut Vec<u8>) {
    let frames = payload.len().div_ceil(PAYLOAD_BYTES_MAX).max(1);
    out.reserve(payload.len() + frames * (PREFIX_BYTES_MAX + 1));
    let mut rest = payload;
    loop {
        let (part, after) = rest.split_at(rest.len().min(PAYLOAD_BYTES_MAX));
        push_frame(kind as u8 | if after.is_empty() { 0 } else { MORE }, part, out);
        rest = after;
        if rest.is_empty() {
            return;
        }
    }
}

/// One frame with this type byte. `payload` is at most [`PAYLOAD_BYTES_MAX`] bytes.
fn push_frame(code: u8, payload: &[u8], out: &mut Vec<u8>) {
    let length = payload.len() + 1;
    if length < 0x80 {
        out.push(length as u8);
    } else {
        out.extend_from_slice(&[(length & 0x7f) as u8 | 0x80, (length >> 7) as u8]);
    }
    out.push(code);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(mut input: &[u8]) -> Result<Vec<Frame>, ProtocolError> {
        let mut decoder = Decoder::new();
        let mut frames = Vec::new();
        while let Some(frame) = decoder.next(&mut input)? {
            frames.push(frame);
        }
        Ok(frames)
    }

    #[test]
    fn reads_what_it_wrote_whatever_the_cuts() {
        let mut bytes = Vec::new();
        let big = vec![7; 40_000];
        encode(Type::Ping, &[], &mut bytes);
        encode(Type::Delta, &big, &mut bytes);
        encode(Type::Ack, &[1, 2], &mut bytes);
        let whole = frames(&bytes).unwrap();
        assert_eq!(
            whole.iter().map(|f| (f.code, f.more)).collect::<Vec<_>>(),
            [
                (Type::Ping as u8, false),
                (Type::Delta as u8, true),
                (Type::Delta as u8, true),
                (Type::Delta as u8, false),
                (Type::Ack as u8, false),
            ]
        );
        for step in [1, 2, 3, 1000, 16_383] {
            let mut decoder = Decoder::new();
            let mut got = Vec::new();
            for mut part in bytes.chunks(step) {
                while let Some(frame) = decoder.next(&mut part).unwrap() {
                    got.push(frame);
                }
            }
            assert_eq!(got, whole);
        }
    }

    #[test]
    fn the_longest_frame_is_exactly_the_limit() {
        let mut bytes = Vec::new();
        encode(Type::Delta, &vec![0; PAYLOAD_BYTES_MAX], &mut bytes);
        assert_eq!(bytes.len(), FRAME_BYTES_MAX);
        assert_eq!(frames(&bytes).unwrap().len(), 1);
        assert_eq!(frames(&[0xff, 0x7f]), Err(ProtocolError::FrameTooLong { length: 16_383 }));
    }

    #[test]
    fn refuses_lengths_that_are_empty_overlong_or_padded() {
        assert_eq!(frames(&[0]), Err(ProtocolError::FrameEmpty));
        assert_eq!(frames(&[0x80, 0x80]), Err(ProtocolError::LengthMalformed));
        assert_eq!(frames(&[0x81, 0x00]), Err(ProtocolError::LengthMalformed));
    }
}
