//! A body as a patch of an older one: what a small change of a known entity travels as.
//!
//! A patch is a list of hunks, read along the old body: `varint copy | varint head | [varint skip] | bytes`. `copy`
//! bytes stay; `head / 2` bytes follow in the patch and come next; as many bytes of the old body are passed over, or
//! `skip` if `head` is odd. What is left of the old body after the last hunk stays. Reading goes forward only, in both, so
//! that the result is never longer than both together, whatever the patch says.
//!
//! Whether the base was the right one shows in the result: an entity's tag is a hash of its body, and a result that does
//! not have it is thrown away. `delta` carries patches; which entities get one is decided by the control plane.

use crate::delta::Entity;
use crate::limits::BODY_BYTES_MAX;
use crate::read::{Reader, Short, push_varint};
use model::{Id, Kind, Record};
use std::ops::Range;

/// Two changes with no more than so many equal bytes between them are one hunk: another would cost as much.
const GAP_BYTES: usize = 2;
/// Old and new body count as going on together where so many bytes are equal.
const ANCHOR_BYTES: usize = 4;
/// How many places in the old body are looked at for one place in the new one.
const CANDIDATES_MAX: usize = 8;
/// The end of a chain of places with the same hash.
const NOWHERE: u32 = u32::MAX;

/// An entity that is to be as a patch of what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// The kind's code.
    pub kind: u8,
    /// Which entity: the only one of its kind whose id begins so.
    pub prefix: IdPrefix,
    /// The commit that last changed it.
    pub version: u64,
    /// Canonical content hash of the result.
    pub tag: u64,
    /// What [`make`] made; well-formed.
    pub(crate) hunks: Box<[u8]>,
}

/// The base of a patch is not here, or is not what the sender took for it. The answer is
/// [`crate::dp::Session::base_missing`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is not the one that the patch was made for")]
pub struct BaseDiffers;

impl Patch {
    /// The entity with this id after the patch, given its body before it.
    ///
    /// # Errors
    /// The result is not what the patch was to lead to: body or id are others.
    pub fn apply(&self, id: Id, base: &[u8]) -> Result<Entity, BaseDiffers> {
        let body = apply(base, &self.hunks).map_err(|_| BaseDiffers)?;
        let kind = Kind::from_code(self.kind).ok_or(BaseDiffers)?;
        if Record::tag_of(kind, id, &body) != self.tag {
            return Err(BaseDiffers);
        }
        Ok(Entity { kind: self.kind, id, version: self.version, tag: self.tag, body: body.into() })
    }
}

/// The first bytes of an id, as many as tell it from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdPrefix {
    bytes: [u8; 16],
    length: u8,
}

impl IdPrefix {
    /// The first `length` bytes of an id, from 1 to all 16.
    #[must_use]
    pub fn of(id: Id, length: usize) -> Self {
        let length = length.clamp(1, 16);
        let mut bytes = id.to_bytes();
        bytes[length..].fill(0);
        Self { bytes, length: length as u8 }
    }

    /// The lowest and the highest id that begin so.
    #[must_use]
    pub fn range(&self) -> (Id, Id) {
        let mut high = self.bytes;
        high[usize::from(self.length)..].fill(0xff);
        (Id::from_bytes(self.bytes), Id::from_bytes(high))
    }

    /// Whether an id begins so.
    #[must_use]
    pub fn is_of(&self, id: Id) -> bool {
        let (low, high) = self.range();
        (low..=high).contains(&id)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// Takes `u8 length | bytes`.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Short> {
        let length = reader.byte()?;
        Self::take(length, reader)
    }

    /// Takes so many bytes.
    pub(crate) fn take(length: u8, reader: &mut Reader<'_>) -> Result<Self, Short> {
        if !(1..=16).contains(&length) {
            return Err(Short::Malformed);
        }
        let mut bytes = [0; 16];
        bytes[..usize::from(length)].copy_from_slice(reader.bytes(usize::from(length))?);
        Ok(Self { bytes, length })
    }
}

/// Why a patch leads to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// It is cut off, has a number that is none, or a hunk that does nothing.
    #[error("malformed patch")]
    Malformed,
    /// It reads beyond the end of the old body, so that is another one than it was made for.
    #[error("patch of a longer body")]
    Beyond,
    /// The result would be longer than [`BODY_BYTES_MAX`].
    #[error("patch to a body over the limit")]
    TooLong,
}

/// One hunk: so many bytes stay, so many of the old body go, and these come.
struct Hunk<'a> {
    copy: usize,
    skip: usize,
    insert: &'a [u8],
}

/// The hunks that make `new` of `old`, if they take fewer than `below` bytes. Takes time in proportion to both bodies.
#[must_use]
pub fn make(old: &[u8], new: &[u8], below: usize) -> Option<Vec<u8>> {
    let shifted = write(&resynchronised(old, new), below);
    if old.len() != new.len() {
        return shifted;
    }
    let bound = shifted.as_ref().map_or(below, Vec::len);
    write(&in_place(old, new), bound).or(shifted)
}

/// The body that hunks make of `old`.
///
/// # Errors
/// See [`PatchError`]; nothing larger than the longest body was held then.
pub fn apply(old: &[u8], hunks: &[u8]) -> Result<Vec<u8>, PatchError> {
    let mut new = Vec::new();
    let mut rest = old;
    let mut push = |bytes: &[u8]| {
        if new.len() + bytes.len() > BODY_BYTES_MAX {
            return Err(PatchError::TooLong);
        }
        new.extend_from_slice(bytes);
        Ok(())
    };
    for hunk in read(hunks) {
        let Hunk { copy, skip, insert } = hunk.map_err(|_| PatchError::Malformed)?;
        let (copied, after) = rest.split_at_checked(copy).ok_or(PatchError::Beyond)?;
        push(copied)?;
        push(insert)?;
        rest = after.get(skip..).ok_or(PatchError::Beyond)?;
    }
    push(rest)?;
    Ok(new)
}

/// Whether these are hunks at all, whatever they belong to.
pub(crate) fn is_well_formed(hunks: &[u8]) -> bool {
    read(hunks).all(|hunk| hunk.is_ok())
}

/// One hunk after the other; ends after the first that is malformed.
fn read(hunks: &[u8]) -> impl Iterator<Item = Result<Hunk<'_>, Short>> {
    let mut rest = hunks;
    std::iter::from_fn(move || {
        let mut reader = Reader::new(std::mem::take(&mut rest));
        if reader.rest.is_empty() {
            return None;
        }
        let hunk = read_one(&mut reader);
        if hunk.is_ok() {
            rest = reader.rest;
        }
        Some(hunk)
    })
}

fn read_one<'a>(reader: &mut Reader<'a>) -> Result<Hunk<'a>, Short> {
    let mut number = || reader.varint().and_then(|number| usize::try_from(number).map_err(|_| Short::Malformed));
    let copy = number()?;
    let head = number()?;
    let insert = head / 2;
    let skip = if head % 2 == 1 { number()? } else { insert };
    if insert == 0 && skip == 0 {
        return Err(Short::Malformed);
    }
    Ok(Hunk { copy, skip, insert: reader.bytes(insert)? })
}

fn write(hunks: &[Hunk<'_>], below: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for hunk in hunks {
        push_varint(hunk.copy as u64, &mut out);
        let differs = hunk.skip != hunk.insert.len();
        push_varint(hunk.insert.len() as u64 * 2 + u64::from(differs), &mut out);
        if differs {
            push_varint(hunk.skip as u64, &mut out);
        }
        out.extend_from_slice(hunk.insert);
        if out.len() >= below {
            return None;
        }
    }
    (out.len() < below).then_some(out)
}

/// Bodies of one length: byte against byte. What fixed fields and short numbers need.
fn in_place<'a>(old: &[u8], new: &'a [u8]) -> Vec<Hunk<'a>> {
    let mut hunks: Vec<Range<usize>> = Vec::new();
    for (at, _) in old.iter().zip(new).enumerate().filter(|(_, (old, new))| old != new) {
        match hunks.last_mut() {
            Some(last) if at - last.end <= GAP_BYTES => last.end = at + 1,
            _ => hunks.push(at..at + 1),
        }
    }
    let mut at = 0;
    let hunk = |Range { start, end }| {
        let copy = start - std::mem::replace(&mut at, end);
        Hunk { copy, skip: end - start, insert: &new[start..end] }
    };
    hunks.into_iter().map(hunk).collect()
}

/// Bodies of any length: where they part, the nearest place where both go on alike.
fn resynchronised<'a>(old: &[u8], new: &'a [u8]) -> Vec<Hunk<'a>> {
    let head = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[head..], &new[head..]);
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[..old.len() - tail], &new[..new.len() - tail]);
    let mut hunks = Vec::new();
    let mut anchors = Anchors::of(old);
    let (mut from, mut to, mut copy) = (0, 0, head);
    while from < old.len() || to < new.len() {
        let (next_from, next_to) = anchors.next(old, from, new, to).unwrap_or((old.len(), new.len()));
        hunks.push(Hunk { copy, skip: next_from - from, insert: &new[to..next_to] });
        (from, to) = (next_from, next_to);
        copy = old[from..].iter().zip(&new[to..]).take_while(|(old, new)| old == new).count();
        (from, to) = (from + copy, to + copy);
    }
    hunks
}

/// Where in an old body which bytes are: chains of places whose next [`ANCHOR_BYTES`] have the same hash, ascending.
struct Anchors {
    first: Vec<u32>,
    next: Vec<u32>,
    bits: u32,
}

impl Anchors {
    fn of(old: &[u8]) -> Self {
        let places = (old.len() + 1).saturating_sub(ANCHOR_BYTES);
        let bits = places.next_power_of_two().ilog2().max(4);
        let mut anchors = Self { first: vec![NOWHERE; 1 << bits], next: vec![NOWHERE; places], bits };
        for place in (0..places).rev() {
            let bucket = anchors.bucket(&old[place..]);
            anchors.next[place] = std::mem::replace(&mut anchors.first[bucket], place as u32);
        }
        anchors
    }

    fn bucket(&self, bytes: &[u8]) -> usize {
        let word = bytes.first_chunk::<ANCHOR_BYTES>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        (word.wrapping_mul(0x9e37_79b1) >> (32 - self.bits)) as usize
    }

    /// The places from which both go on alike that pass over the fewest bytes, beyond `from` and `to`. `from` never goes
    /// back between calls.
    fn next(&mut self, old: &[u8], from: usize, new: &[u8], to: usize) -> Option<(usize, usize)> {
        let mut best: Option<(usize, usize)> = None;
        let cost = |(at, place): (usize, usize)| (place - from) + (at - to);
        for at in to..(new.len() + 1).saturating_sub(ANCHOR_BYTES) {
            if best.is_some_and(|best| at - to >= cost(best)) {
                break;
            }
            if let Some(place) = self.find(old, from, &new[at..])
                && best.is_none_or(|best| cost((at, place)) < cost(best))
            {
                best = Some((at, place));
            }
        }
        best.map(|(at, place)| (place, at))
    }

    /// The first place in `old`, not before `from`, that goes on as `bytes` do.
    fn find(&mut self, old: &[u8], from: usize, bytes: &[u8]) -> Option<usize> {
        let bucket = self.bucket(bytes);
        while self.first[bucket] != NOWHERE && (self.first[bucket] as usize) < from {
            self.first[bucket] = self.next[self.first[bucket] as usize];
        }
        let mut place = self.first[bucket];
        for _ in 0..CANDIDATES_MAX {
            if place == NOWHERE {
                return None;
            }
            if old[place as usize..][..ANCHOR_BYTES] == bytes[..ANCHOR_BYTES] {
                return Some(place as usize);
            }
            place = self.next[place as usize];
        }
        None
    }
}

#[cfg(test)]
mod tests;
