//! A data plane's end of a reconcile: it sends as many symbols as the control plane asks for, and takes the step that
//! comes of them.

use super::{Action, Live, Session, State, Work};
use crate::error::ProtocolError;
use crate::limits::{PARITY_ASKED_MAX, SYMBOLS_FRAME_MAX, SYMBOLS_MAX};
use crate::message::{Hello, Message, Parity, ParityGet, Symbols, SymbolsGet, Type};
use crate::reconcile::{Parts, Symbol};

/// A reconcile under way.
#[derive(Default)]
pub(super) struct Telling {
    seed: u64,
    /// Symbols that were asked for.
    asked: u64,
    /// Bodies that parity was asked of, each time that it was.
    bodies: usize,
    /// What has come of the step.
    step: Parts,
}

impl Telling {
    /// Whether no step has begun, so that a full sync may come in its place.
    pub(super) fn is_open(&self) -> bool {
        self.step.is_empty()
    }
}

impl Session {
    /// The symbols of [`Action::Symbols`], from `first` on. What nobody asks for any longer is not sent.
    pub fn symbols(&mut self, seed: u64, first: u64, symbols: &[Symbol], now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        let State::Live(Live { work: Work::Reconcile(telling), .. }) = &self.state else { return out };
        if telling.seed != seed {
            return out;
        }
        let mut first = first;
        for part in symbols.chunks(SYMBOLS_FRAME_MAX) {
            self.send(&Message::Symbols(Symbols { seed, first, symbols: part.to_vec() }), now, &mut out);
            first += part.len() as u64;
        }
        out
    }

    pub(super) fn symbols_get(&mut self, get: SymbolsGet, out: &mut Vec<Action>) -> Result<(), ProtocolError> {
        let State::Live(live) = &mut self.state else { return Ok(()) };
        if !live.incremental {
            return Err(ProtocolError::IncrementalOff);
        }
        if self.identity.features & Hello::RECONCILE == 0 {
            return Err(ProtocolError::Unexpected { message: Type::SymbolsGet, state: "by a node without reconcile" });
        }
        if matches!(live.work, Work::Idle) {
            live.work = Work::Reconcile(Box::new(Telling { seed: get.seed, ..Telling::default() }));
        }
        let Work::Reconcile(telling) = &mut live.work else {
            return Err(ProtocolError::Unexpected { message: Type::SymbolsGet, state: live.work.name() });
        };
        if telling.seed != get.seed || get.until < telling.asked || get.until > SYMBOLS_MAX as u64 {
            return Err(ProtocolError::SymbolsRange { first: get.until, expected: telling.asked });
        }
        let from = std::mem::replace(&mut telling.asked, get.until);
        out.push(Action::Symbols { seed: get.seed, from, until: get.until });
        Ok(())
    }

    /// The sums of [`Action::Parity`], of each body in its order. What nobody waits for any longer is not sent.
    pub fn parity(&mut self, parity: Parity, now: u64) -> Vec<Action> {
        let mut out = Vec::new();
        let State::Live(Live { work: Work::Reconcile(telling), .. }) = &self.state else { return out };
        if telling.seed == parity.seed {
            self.send(&Message::Parity(parity), now, &mut out);
        }
        out
    }

    pub(super) fn parity_get(&mut self, get: ParityGet, out: &mut Vec<Action>) -> Result<(), ProtocolError> {
        let State::Live(live) = &mut self.state else { return Ok(()) };
        let Work::Reconcile(telling) = &mut live.work else {
            return Err(ProtocolError::Unexpected { message: Type::ParityGet, state: live.work.name() });
        };
        if self.identity.features & Hello::PARITY == 0 || !telling.is_open() {
            return Err(ProtocolError::Unexpected { message: Type::ParityGet, state: "by a node that gives none" });
        }
        telling.bodies += get.names.len();
        if telling.seed != get.seed {
            return Err(ProtocolError::ParityUnasked);
        }
        if telling.bodies > PARITY_ASKED_MAX {
            return Err(ProtocolError::ParityTooMany);
        }
        out.push(Action::Parity(get));
        Ok(())
    }

    /// A part of a RECONCILED or MENDED.
    pub(super) fn reconciled(
        &mut self,
        kind: Type,
        payload: &[u8],
        more: bool,
        out: &mut Vec<Action>,
    ) -> Result<(), ProtocolError> {
        let base = self.have.root;
        let State::Live(live) = &mut self.state else { return Ok(()) };
        let Work::Reconcile(telling) = &mut live.work else {
            return Err(ProtocolError::Unexpected { message: kind, state: live.work.name() });
        };
        let Some(step) = telling.step.push(kind, payload, more)? else { return Ok(()) };
        if !step.mends.is_empty() && self.identity.features & Hello::PARITY == 0 {
            return Err(ProtocolError::Unexpected { message: kind, state: "by a node that gives no parity" });
        }
        if step.seed != telling.seed || step.base != base {
            return Err(ProtocolError::ReconcileBase { base: step.base, at: base });
        }
        live.work = Work::Staged { version: step.version, root: step.root, full: true, durable: false, next: None };
        out.push(Action::Reconciled { epoch: live.epoch, step });
        Ok(())
    }
}
