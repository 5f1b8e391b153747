//! What differs in an entity that both ends of a reconcile have: restores the body that the node has from the one that is
//! here and some parity of it, so that a patch can be sent in place of the whole.
//!
//! First little is asked of each body, then more of those that differ in more. Only a body whose hash was among those that
//! the symbols brought is taken for the node's. Whatever else comes of it is sent whole, as it would have been: that its
//! body is another one costs bytes and nothing else.

use crate::error::ProtocolError;
use crate::limits::{MENDS_MAX, PARITY_NAMES_MAX};
use crate::message::{Parity, ParityGet};
use crate::parity::{self, Told};
use crate::patch::{self, IdPrefix};
use crate::reconcile::{Mend, Mended, Sketch, digest};
use model::{Id, Kind, Record};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// How many sums of a body are asked for: with the first, three pairs of bytes may differ, which is a number and a time.
const ROUNDS: [usize; 3] = [6, 16, 32];
/// A body with fewer bytes is sent whole: there is little to save.
const BODY_BYTES_MIN: usize = 32;
/// The most bytes of bodies that are sent as patches in one step: the node has to hold them all.
const MENDED_BYTES_MAX: usize = 2 * 1024 * 1024;
/// How long is sought in one session for where bytes came in or went out, in tries of about a microsecond.
const WORK_MAX: usize = 1 << 17;

/// The bodies of one difference, while they are restored. Holds a hundred bytes or two for each.
pub(super) struct Mending {
    sketch: Arc<Sketch>,
    differing: Vec<u64>,
    /// Hashes of what the node has and this end does not, or not so.
    theirs: HashSet<u64>,
    round: usize,
    /// Bodies that more is to be asked of.
    open: Vec<Open>,
    /// Bodies that an answer is awaited of, as they were asked for.
    asked: VecDeque<Vec<Open>>,
    work: usize,
    mended: Mended,
}

/// A body that is not restored yet.
struct Open {
    hash: u64,
    kind: Kind,
    id: Id,
    prefix: IdPrefix,
    told: Told,
}

impl Mending {
    /// Of these entities, which only one of both ends has.
    pub(super) fn new(sketch: Arc<Sketch>, differing: Vec<u64>) -> Self {
        let theirs: HashSet<u64> = differing.iter().copied().filter(|hash| sketch.find(*hash).is_none()).collect();
        let mut bytes = 0;
        let mut open: Vec<Open> = Vec::new();
        for hash in differing.iter().filter(|hash| !theirs.contains(hash)) {
            let Some(record) = sketch.find(*hash).and_then(|(kind, id)| sketch.content().record(kind, id)) else {
                continue;
            };
            bytes += record.body.len();
            if open.len() == MENDS_MAX || bytes > MENDED_BYTES_MAX || theirs.is_empty() {
                break;
            }
            let Record { kind, id, tag, body, .. } = record;
            let of_use = (BODY_BYTES_MIN..=parity::BODY_BYTES_MAX).contains(&body.len());
            // The node is not told of the tag, but makes it of the body.
            if of_use && Record::tag_of(kind, id, &body) == tag {
                let told = Told { length: 0, sums: Vec::new() };
                open.push(Open { hash: *hash, kind, id, prefix: sketch.content().prefix(kind.code(), id), told });
            }
        }
        let (asked, mended) = (VecDeque::new(), Mended::default());
        Self { sketch, differing, theirs, round: 0, open, asked, work: WORK_MAX, mended }
    }

    /// What to ask for now; nothing when all is restored that can be.
    pub(super) fn ask(&mut self) -> Vec<ParityGet> {
        let Some((from, until)) = self.span().filter(|_| self.asked.is_empty()) else { return Vec::new() };
        self.open.sort_unstable_by_key(Open::order);
        let (seed, mut gets) = (self.sketch.seed(), Vec::new());
        while !self.open.is_empty() {
            let part: Vec<Open> = self.open.drain(..self.open.len().min(PARITY_NAMES_MAX)).collect();
            let names = part.iter().map(|open| (open.kind.code(), open.prefix)).collect();
            gets.push(ParityGet { seed, from, until, names });
            self.asked.push_back(part);
        }
        gets
    }

    /// The sums of this round.
    fn span(&self) -> Option<(usize, usize)> {
        let from = self.round.checked_sub(1).and_then(|before| ROUNDS.get(before)).copied().unwrap_or(0);
        ROUNDS.get(self.round).map(|until| (from, *until))
    }

    /// Takes an answer. Whether that was the last one of a round.
    pub(super) fn answer(&mut self, parity: Parity) -> Result<bool, ProtocolError> {
        let asked = self.asked.pop_front().ok_or(ProtocolError::ParityUnasked)?;
        let span = Some((parity.from, parity.until));
        if parity.seed != self.sketch.seed() || span != self.span() || parity.bodies.len() != asked.len() {
            return Err(ProtocolError::ParityUnasked);
        }
        for (mut open, told) in asked.into_iter().zip(parity.bodies) {
            let Some(told) = told else { continue };
            if parity.from > 0 && told.length != open.told.length {
                return Err(ProtocolError::ParityUnasked);
            }
            open.told.length = told.length;
            open.told.sums.extend(told.sums);
            let open = self.restore(open);
            self.open.extend(open);
        }
        if self.asked.is_empty() {
            self.round += 1;
        }
        Ok(self.asked.is_empty())
    }

    /// Tries to restore a body. Gives it back if more might help.
    fn restore(&mut self, open: Open) -> Option<Open> {
        let Open { hash, kind, id, prefix, told: Told { length, ref sums } } = open;
        let Record { version, body, .. } = self.sketch.content().record(kind.code(), id)?;
        let length = length as usize;
        if length.abs_diff(body.len()) > body.len() / 2 {
            return None;
        }
        // Where bytes came in or went out, others changed too: the time of the change.
        if length != body.len() && self.round == 0 {
            return Some(open);
        }
        let seed = self.sketch.seed();
        let hash_of = |base: &[u8]| digest(seed, kind.code(), id, Record::tag_of(kind, id, base));
        let is_theirs = |base: &[u8]| self.theirs.contains(&hash_of(base));
        let Some(base) = parity::restore(&body, length, sums, &mut self.work, is_theirs) else { return Some(open) };
        let hunks = patch::make(&base, &body, body.len())?;
        let theirs = hash_of(&base);
        self.theirs.remove(&theirs);
        self.mended.known.extend([hash, theirs]);
        self.mended.mends.push(Mend { kind: kind.code(), prefix, version, hunks: hunks.into() });
        None
    }

    /// What it was of, and what came of it.
    pub(super) fn finish(mut self) -> (Arc<Sketch>, Vec<u64>, Mended) {
        self.mended.mends.sort_unstable_by_key(|mend| (mend.kind, mend.prefix.bytes().len(), mend.prefix.range()));
        (self.sketch, self.differing, self.mended)
    }
}

impl Open {
    /// So that names of one kind and length are side by side.
    fn order(&self) -> (u8, usize, Id) {
        (self.kind.code(), self.prefix.bytes().len(), self.id)
    }
}
