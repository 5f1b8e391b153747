//! A control plane's end of a reconcile: asks for the node's symbols while they come, takes the difference apart, and
//! sends the one step that makes up for it. What does not work out ends as a full sync.

use super::mending::Mending;
use super::{Action, Session, Source, Work};
use crate::error::ProtocolError;
use crate::limits::RECONCILE_COUNT_MIN;
use crate::message::{CODEC_ZSTD, Hello, Message, Parity, Symbols, SymbolsGet};
use crate::reconcile::{Decoder, Mended, Sketch, Sketching};
use std::sync::Arc;

/// How many symbols are asked for first.
const SYMBOLS_FIRST: usize = 32;
/// How many symbols it takes for twenty entities that differ.
const SYMBOLS_FOR_20: usize = 27;
/// One in how many is asked for where it took a few more.
const FEW_MORE_ONE_IN: usize = 16;

/// A reconcile under way.
pub(super) struct Finding {
    sketch: Arc<Sketch>,
    decoder: Decoder,
    granted: u64,
    /// What differs is known; in what it does is being found out.
    mending: Option<Mending>,
}

impl Finding {
    fn new(sketch: Arc<Sketch>) -> Self {
        Self { decoder: Decoder::new(sketch.seed()), sketch, granted: 0, mending: None }
    }

    /// What to ask for now: twice as many as are here, until these say how many it will take; then that many, and after that a
    /// few more each time. So a slow link carries little in vain, and a long one is not waited for at every step.
    fn ask(&mut self) -> Option<SymbolsGet> {
        let here = self.decoder.len();
        let enough = self.decoder.estimate().map_or(usize::MAX, |differing| differing * SYMBOLS_FOR_20 / 20);
        let until = enough.clamp(here + here / FEW_MORE_ONE_IN + 1, (here * 2).max(SYMBOLS_FIRST));
        let until = until.min(self.sketch.symbols().len()) as u64;
        if until <= self.granted {
            return None;
        }
        self.granted = until;
        Some(SymbolsGet { seed: self.sketch.seed(), until })
    }
}

impl Session {
    /// Whether digests are worth a try where otherwise everything would be sent.
    pub(super) fn may_reconcile(&self) -> bool {
        let able = |node: &Arc<Hello>| {
            node.has(Hello::RECONCILE) && node.have.count >= RECONCILE_COUNT_MIN && node.partial.is_none()
        };
        self.report.incremental && !self.whole && self.report.epoch != 0 && self.node.as_ref().is_some_and(able)
    }

    /// Starts, as soon as there is a sketch; or sends everything if too much differs for sure.
    pub(super) fn reconcile(&mut self, source: &dyn Source, out: &mut Vec<Action>) {
        match source.sketch(self.wanted_blob(source).oldest) {
            Sketching::Later => {}
            Sketching::Ready(sketch) if self.is_near(&sketch) => {
                let mut finding = Finding::new(sketch);
                let get = finding.ask();
                self.wanted.clear();
                self.in_flight(finding.sketch.version());
                self.work = Work::Reconcile(Box::new(finding));
                out.extend(get.map(|get| self.sent(&Message::SymbolsGet(get))));
            }
            Sketching::Ready(_) | Sketching::Never => self.send_full(source, out),
        }
    }

    fn is_near(&self, sketch: &Sketch) -> bool {
        let theirs = self.node.as_ref().map_or(0, |node| node.have.count);
        sketch.count().abs_diff(theirs) <= sketch.symbols().len() as u64
    }

    /// Symbols came.
    pub(super) fn symbols(&mut self, symbols: &Symbols, out: &mut Vec<Action>) -> Result<(), ProtocolError> {
        let Work::Reconcile(finding) = &mut self.work else { return Ok(()) };
        if symbols.seed != finding.sketch.seed() || finding.mending.is_some() {
            return Ok(());
        }
        let (here, count) = (finding.decoder.len(), symbols.symbols.len());
        if symbols.first != here as u64 || (here + count) as u64 > finding.granted {
            return Err(ProtocolError::SymbolsRange { first: symbols.first, expected: here as u64 });
        }
        let ours = finding.sketch.symbols().get(here..here + count).unwrap_or_default();
        match finding.decoder.push(&symbols.symbols, ours) {
            Ok(None) if finding.decoder.len() < finding.sketch.symbols().len() => {
                let get = finding.ask();
                out.extend(get.map(|get| self.sent(&Message::SymbolsGet(get))));
            }
            Ok(Some(found)) => self.found(found, out),
            // More differs than is worth it, or somebody's hashes failed.
            Ok(None) | Err(_) => self.give_up(),
        }
        Ok(())
    }

    /// Goes on with what differs: with patches where the node can say enough of what it has.
    fn found(&mut self, found: Vec<u64>, out: &mut Vec<Action>) {
        let able = self.patching.is_on() && self.node.as_ref().is_some_and(|node| node.has(Hello::PARITY));
        let Work::Reconcile(finding) = &mut self.work else { return };
        let sketch = Arc::clone(&finding.sketch);
        if able {
            finding.mending = Some(Mending::new(sketch, found));
            self.mend(out);
        } else {
            self.make_up(&sketch, &found, Mended::default(), out);
        }
    }

    /// Sums of bodies came.
    pub(super) fn parity(&mut self, parity: Parity, out: &mut Vec<Action>) -> Result<(), ProtocolError> {
        let Work::Reconcile(finding) = &mut self.work else { return Err(ProtocolError::ParityUnasked) };
        let mending = finding.mending.as_mut().ok_or(ProtocolError::ParityUnasked)?;
        if mending.answer(parity)? {
            self.mend(out);
        }
        Ok(())
    }

    /// Asks for what more would help, or sends the step.
    fn mend(&mut self, out: &mut Vec<Action>) {
        let Work::Reconcile(finding) = &mut self.work else { return };
        let gets = finding.mending.as_mut().map(Mending::ask).unwrap_or_default();
        if !gets.is_empty() {
            gets.into_iter().for_each(|get| out.push(self.sent(&Message::ParityGet(get))));
        } else if let Some(mending) = finding.mending.take() {
            let (sketch, differing, mended) = mending.finish();
            self.make_up(&sketch, &differing, mended, out);
        }
    }

    /// Sends the step that makes up for what differs.
    fn make_up(&mut self, sketch: &Sketch, differing: &[u64], mended: Mended, out: &mut Vec<Action>) {
        let packed = self.node.as_ref().is_some_and(|node| node.takes(CODEC_ZSTD));
        let patched = mended.is_any();
        match sketch.step(self.root, self.confirmed, packed, differing, mended) {
            None => self.give_up(),
            Some(frames) => {
                let (to, root, confirmed) = (sketch.version(), sketch.root(), self.confirmed);
                self.work = Work::Delta { to, root, confirmed, patched };
                self.send_bytes(frames, out);
            }
        }
    }

    /// What comes next is a full sync.
    fn give_up(&mut self) {
        self.whole = true;
        self.work = Work::Idle;
        self.report.in_flight = None;
    }

    fn sent(&mut self, message: &Message) -> Action {
        let bytes = message.encode();
        self.report.bytes_out += bytes.len() as u64;
        Action::Send(bytes)
    }
}
