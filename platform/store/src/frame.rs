//! The bytes of one commit: a frame in a journal, and for a commit too large for that, a spill file it points to.
//!
//! A frame begins on a sector, so that writing it never rewrites a sector that an earlier commit was promised on. Its
//! hash is keyed with generation, serial and offset: what an earlier use of the file left behind never validates.

use std::sync::Arc;

use crate::seal::{Purpose, hasher, take, take_number, take_u32, take_u64};
use crate::{Change, Key, META_BYTES_MAX, VALUE_BYTES_MAX};

/// What a frame is aligned to: the smallest unit that a disk writes whole.
pub(crate) const SECTOR: usize = 512;
/// Length of a frame before its payload.
const HEAD_BYTES: usize = 40;
const MAGIC: [u8; 4] = *b"EGf1";
const FLAG_SPILLED: u32 = 1;
/// Bytes of a change without its value: table, kind, id, length.
const CHANGE_BYTES: usize = 1 + 1 + 16 + 4;

/// Where a frame lies; part of its hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) generation: u64,
    pub(crate) serial: u64,
    pub(crate) offset: u64,
}

/// What a frame says: the commit `seq` that follows on `prev`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Frame {
    pub(crate) prev: u64,
    pub(crate) seq: u64,
    pub(crate) meta: Vec<u8>,
    pub(crate) content: Content,
}

/// Where the changes of a commit are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Content {
    Here(Vec<Change>),
    Spilled { len: u64, hash: u64 },
}

/// How many bytes changes take once encoded.
pub(crate) fn encoded_len(changes: &[Change]) -> u64 {
    let values = changes.iter().filter_map(|change| change.value.as_ref());
    let values: u64 = values.map(|value| value.len() as u64).sum();
    4 + (changes.len() * CHANGE_BYTES) as u64 + values
}

/// How many bytes a frame with so much content takes in a journal.
pub(crate) fn frame_len(meta: usize, content: u64) -> u64 {
    (HEAD_BYTES as u64 + meta as u64 + content).next_multiple_of(SECTOR as u64)
}

/// Length of the content of a frame that points to a spill file.
pub(crate) const SPILLED_BYTES: u64 = 16;

/// Encodes changes: a count, then each with its length plus one, or zero for a deletion.
pub(crate) fn encode_changes(changes: &[Change], out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(changes.len()).unwrap_or(u32::MAX).to_le_bytes());
    for change in changes {
        out.push(change.key.table);
        out.push(change.key.kind);
        out.extend_from_slice(&change.key.id);
        let len = change.value.as_ref().map_or(0, |value| value.len() as u64 + 1);
        out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(change.value.as_deref().unwrap_or_default());
    }
}

/// Decodes changes; `None` unless the bytes are exactly that.
pub(crate) fn decode_changes(mut bytes: &[u8]) -> Option<Vec<Change>> {
    let count = take_u32(&mut bytes)? as usize;
    if count > bytes.len() / CHANGE_BYTES {
        return None;
    }
    let mut changes = Vec::with_capacity(count);
    for _ in 0..count {
        let [table, kind, id @ ..]: &[u8; 18] = take(&mut bytes, 18)?.try_into().ok()?;
        let key = Key { table: *table, kind: *kind, id: *id };
        let value = match take_u32(&mut bytes)? as usize {
            0 => None,
            len if len - 1 > VALUE_BYTES_MAX => return None,
            len => Some(Arc::from(take(&mut bytes, len - 1)?)),
        };
        changes.push(Change { key, value });
    }
    bytes.is_empty().then_some(changes)
}

fn frame_hash(place: Place, head: &[u8], payload: &[u8]) -> u64 {
    let mut hasher = hasher(Purpose::Frame, place.generation, place.serial);
    hasher.update(&place.offset.to_le_bytes());
    hasher.update(head);
    hasher.update(payload);
    hasher.digest()
}

/// The bytes of a frame with this payload, whatever it is, and a right hash.
#[cfg(feature = "fuzzing")]
pub(crate) fn sealed(place: Place, meta_len: u32, flags: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&[0; 16]);
    bytes.extend_from_slice(&meta_len.to_le_bytes());
    bytes.extend_from_slice(&flags.to_le_bytes());
    let hash = frame_hash(place, &bytes, payload);
    bytes.extend_from_slice(&hash.to_le_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

impl Frame {
    /// How many changes are in the frame itself.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn changes(&self) -> usize {
        if let Content::Here(changes) = &self.content { changes.len() } else { 0 }
    }

    /// The bytes of the frame, padded with zeros to whole sectors.
    pub(crate) fn encode(&self, place: Place) -> Vec<u8> {
        let mut payload = self.meta.clone();
        let flags = match &self.content {
            Content::Here(changes) => {
                encode_changes(changes, &mut payload);
                0
            }
            Content::Spilled { len, hash } => {
                payload.extend_from_slice(&len.to_le_bytes());
                payload.extend_from_slice(&hash.to_le_bytes());
                FLAG_SPILLED
            }
        };
        let mut head = Vec::with_capacity(HEAD_BYTES - 8);
        head.extend_from_slice(&MAGIC);
        head.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        head.extend_from_slice(&self.prev.to_le_bytes());
        head.extend_from_slice(&self.seq.to_le_bytes());
        head.extend_from_slice(&u32::try_from(self.meta.len()).unwrap_or(u32::MAX).to_le_bytes());
        head.extend_from_slice(&flags.to_le_bytes());
        let hash = frame_hash(place, &head, &payload);
        head.extend_from_slice(&hash.to_le_bytes());
        head.extend_from_slice(&payload);
        head.resize(head.len().next_multiple_of(SECTOR), 0);
        head
    }

    /// Reads the frame that begins at the start of `bytes`, and says how many bytes it takes; `None` if none does.
    pub(crate) fn decode(place: Place, bytes: &[u8]) -> Option<(Frame, usize)> {
        let (head, mut rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let mut fields = head.as_slice();
        if take(&mut fields, 4)? != MAGIC {
            return None;
        }
        let len = take_u32(&mut fields)? as usize;
        let (prev, seq) = (take_number(&mut fields)?, take_number(&mut fields)?);
        let (meta_len, flags) = (take_u32(&mut fields)? as usize, take_u32(&mut fields)?);
        let hash = take_u64(&mut fields)?;
        let payload = take(&mut rest, len)?;
        if frame_hash(place, head.get(..HEAD_BYTES - 8)?, payload) != hash || meta_len > META_BYTES_MAX {
            return None;
        }
        let (meta, mut content) = payload.split_at_checked(meta_len)?;
        let content = match flags {
            0 => Content::Here(decode_changes(content)?),
            FLAG_SPILLED => Content::Spilled { len: take_u64(&mut content)?, hash: take_u64(&mut content)? },
            _ => return None,
        };
        let frame = Frame { prev, seq, meta: meta.to_vec(), content };
        Some((frame, (HEAD_BYTES + len).next_multiple_of(SECTOR)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { generation: 3, serial: 9, offset: 8192 };

    fn changes() -> Vec<Change> {
        let key = Key { table: 1, kind: 2, id: [7; 16] };
        let put = |value: &[u8]| Change { key, value: Some(Arc::from(value)) };
        vec![put(b"value"), put(b""), Change { key, value: None }]
    }

    fn frame() -> Frame {
        Frame { prev: 4, seq: 5, meta: b"meta".to_vec(), content: Content::Here(changes()) }
    }

    #[test]
    fn a_frame_comes_back_at_its_own_place_only() {
        let bytes = frame().encode(PLACE);
        assert_eq!(bytes.len() as u64, frame_len(4, encoded_len(&changes())));
        assert_eq!(Frame::decode(PLACE, &bytes), Some((frame(), bytes.len())));
        for place in
            [Place { generation: 4, ..PLACE }, Place { serial: 10, ..PLACE }, Place { offset: 8192 + 512, ..PLACE }]
        {
            assert_eq!(Frame::decode(place, &bytes), None);
        }
    }

    #[test]
    fn no_flipped_bit_and_no_cut_frame_passes() {
        let bytes = frame().encode(PLACE);
        let used = HEAD_BYTES + 4 + usize::try_from(encoded_len(&changes())).unwrap();
        for bit in 0..used * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frame::decode(PLACE, &bad), None, "bit {bit}");
        }
        for len in 0..used {
            assert_eq!(Frame::decode(PLACE, &bytes[..len]), None, "length {len}");
        }
    }

    #[test]
    fn a_spilled_frame_comes_back() {
        let frame = Frame { content: Content::Spilled { len: 1 << 21, hash: 77 }, ..frame() };
        let bytes = frame.encode(PLACE);
        assert_eq!(bytes.len() as u64, frame_len(4, SPILLED_BYTES));
        assert_eq!(Frame::decode(PLACE, &bytes), Some((frame, bytes.len())));
    }

    #[test]
    fn a_count_that_promises_more_than_there_is_allocates_nothing() {
        assert_eq!(decode_changes(&u32::MAX.to_le_bytes()), None);
        let mut bytes = Vec::new();
        encode_changes(&changes(), &mut bytes);
        for len in 0..bytes.len() {
            assert_eq!(decode_changes(&bytes[..len]), None);
        }
    }
}
