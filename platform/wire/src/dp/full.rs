//! A full sync coming in: let in by the caller, paid out by grants, checked, handed over.

use super::{Action, Live, Session, State, Work};
use crate::error::ProtocolError;
use crate::full::{BlobError, Piece, Receiver};
use crate::message::{FullBegin, FullData, FullEnd, Message, Type};

impl Session {
    /// The caller takes the full sync of [`Action::FullBegin`], and holds so many bytes of its blob (0 where it is none): it
    /// starts there.
    pub fn full_open(&mut self, offset: u64, now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        if let State::Live(Live { work: Work::Full(receiver, _), .. }) = &mut self.state {
            receiver.open(offset);
        }
        self.grant(now, &mut out);
        out
    }

    /// The caller is done with so many bytes of [`Action::FullChunk`].
    pub fn full_processed(&mut self, bytes: u64, now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        if let State::Live(Live { work: Work::Full(receiver, _), .. }) = &mut self.state {
            receiver.processed(bytes);
        }
        self.grant(now, &mut out);
        out
    }

    /// The blob of [`Action::FullComplete`] is not what it was announced to be; what is held of it is of no use. Ends the
    /// session: the next one starts over.
    pub fn full_damaged(&mut self, error: BlobError, now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        self.fail(error.into(), now, &mut out);
        out
    }

    /// When a full sync that is waiting may start.
    pub(super) fn full_timer(&self, live: &Live) -> Option<u64> {
        match &live.work {
            Work::Full(receiver, _) if !receiver.started() => Some(self.full_from),
            _ => None,
        }
    }

    pub(super) fn full_begin(&mut self, begin: FullBegin, out: &mut Vec<Action>) -> Result<(), ProtocolError> {
        let State::Live(live) = &mut self.state else { return Ok(()) };
        let free = match &live.work {
            Work::Idle => true,
            // Too much differs: everything comes in its place.
            Work::Reconcile(telling) => telling.is_open(),
            _ => false,
        };
        if !free {
            return Err(ProtocolError::Unexpected { message: Type::FullBegin, state: live.work.name() });
        }
        if !self.identity.codecs.contains(&begin.codec) {
            return Err(ProtocolError::CodecUnknown { code: begin.codec });
        }
        live.work = Work::Full(Box::new(Receiver::new(begin, self.identity.full_window)?), None);
        live.skipped = None;
        if begin.confirmed > 0 {
            // Somebody is waiting for it.
            self.full_from = 0;
        }
        out.push(Action::FullBegin { epoch: live.epoch, begin });
        Ok(())
    }

    pub(super) fn full_data(&mut self, data: &FullData, out: &mut Vec<Action>) -> Result<(), ProtocolError> {
        let receiver = self.receiver(data.transfer)?;
        match receiver.push(data)? {
            Piece::Blob(offset, bytes) => out.push(Action::FullBytes { offset, bytes }),
            Piece::Entities(entities, _) if entities.is_empty() => {}
            Piece::Entities(entities, bytes) => out.push(Action::FullChunk { entities, bytes }),
        }
        Ok(())
    }

    pub(super) fn full_end(&mut self, end: FullEnd, out: &mut Vec<Action>) -> Result<(), ProtocolError> {
        let receiver = self.receiver(end.transfer)?;
        receiver.end(end)?;
        let begin = receiver.begin();
        if let State::Live(live) = &mut self.state {
            let FullBegin { version, root, .. } = begin;
            let next = match std::mem::replace(&mut live.work, Work::Idle) {
                Work::Full(_, next) => next,
                _ => None,
            };
            live.work = Work::Staged { version, root, full: true, durable: false, next };
            out.push(Action::FullComplete { epoch: live.epoch, begin });
        }
        Ok(())
    }

    pub(super) fn receiver(&mut self, transfer: u64) -> Result<&mut Receiver, ProtocolError> {
        match &mut self.state {
            State::Live(Live { work: Work::Full(receiver, _), .. }) if receiver.begin().transfer == transfer => {
                Ok(receiver)
            }
            _ => Err(ProtocolError::TransferUnknown { transfer }),
        }
    }

    pub(super) fn grant(&mut self, now: u64, out: &mut Vec<Action>) {
        let State::Live(Live { work: Work::Full(receiver, _), .. }) = &mut self.state else { return };
        if !receiver.started() && now < self.full_from {
            return;
        }
        if let Some(get) = receiver.grant() {
            self.send(&Message::FullGet(get), now, out);
        }
    }
}
