//! What a node is sent, and when: decided anew whenever nothing is in flight and the head or the node has changed. The
//! order of the cases is that of `PROTOCOL.md`, section 6.

use super::overtake::Overtaking;
use super::{Action, Closed, Report, Session, Source, State, Work};
use crate::compat::{self, SyncStatus, UnknownKinds, Verdict};
use crate::delta::{Builder, Encoded, Entity, Form, Op};
use crate::full::{Offer, Sender, Wanted};
use crate::message::{ByeReason, CODEC_DICTIONARY, CODEC_ZSTD, Hello, Message, Mode};
use crate::pack::Plain;
use std::sync::Arc;

impl Session {
    /// How the session would go on if the node of [`Action::Joined`] were admitted now.
    #[must_use]
    pub fn prospect(&self, source: &dyn Source) -> Mode {
        self.mode(source)
    }

    /// What is to be done now, into mode, status and reason of the report.
    pub(super) fn decide(&mut self, source: &dyn Source) {
        let judge = |node: &Arc<Hello>| compat::judge(&self.config.software, source.in_use(), node);
        let Verdict { withheld, ignored } = self.node.as_ref().map(judge).unwrap_or_default();
        let (mode, status, reason) = match withheld.first() {
            Some(reason) => (Mode::Withheld, reason.status(), reason.to_string()),
            None => (self.mode(source), SyncStatus::Normal, String::new()),
        };
        self.dirty |= mode != self.report.mode || withheld != self.report.withheld || ignored != self.report.ignored;
        (self.report.withheld, self.report.ignored) = (withheld, ignored);
        (self.report.mode, self.report.status, self.report.reason) = (mode, status, reason);
    }

    pub(super) fn mode(&self, source: &dyn Source) -> Mode {
        let Report { epoch, applied, incremental, .. } = self.report;
        let everything = if self.may_reconcile() { Mode::Reconcile } else { Mode::Full };
        if epoch != source.epoch() || self.diverged {
            return everything;
        }
        match applied.cmp(&source.head()) {
            std::cmp::Ordering::Greater => Mode::Behind,
            std::cmp::Ordering::Equal if self.root == source.root() => Mode::Same,
            std::cmp::Ordering::Less if incremental && applied >= source.floor() => Mode::Tail,
            std::cmp::Ordering::Equal | std::cmp::Ordering::Less => everything,
        }
    }

    /// Sends what there is to be sent, if nothing is unacknowledged, or what may overtake it, and the report if it changed.
    pub(super) fn pump(&mut self, source: &dyn Source, out: &mut Vec<Action>) {
        if matches!(self.state, State::Live) {
            if source.epoch() != self.epoch {
                self.close(ByeReason::Epoch, "", Closed::Epoch, out);
                return;
            }
            if matches!(self.work, Work::Idle) {
                self.go_on(source, out);
            }
            self.overtake(source, out);
        }
        // Before `admit` there is nothing to say; refusing and closing report for themselves.
        if matches!(self.state, State::Live) && std::mem::take(&mut self.dirty) {
            out.push(Action::Report(self.report.clone()));
        }
    }

    pub(super) fn go_on(&mut self, source: &dyn Source, out: &mut Vec<Action>) {
        self.decide(source);
        if self.patience.barred(self.now) == Some(source.head()) || self.patience.until(self.now).is_some() {
            return;
        }
        if self.hold.as_mut().is_some_and(|hold| hold.lasts(source)) {
            return;
        }
        match self.report.mode {
            Mode::Tail => match self.step(source) {
                Some(step) => self.send_delta(&step, out),
                None => self.send_full(source, out),
            },
            // A node that may still say that this version is durable would seem to acknowledge a step that ends there.
            Mode::Same if !self.wanted.is_empty() && self.report.durable == self.report.applied => {
                match self.step(source).filter(|_| self.report.incremental) {
                    Some(step) => self.send_delta(&step, out),
                    None => self.send_full(source, out),
                }
            }
            Mode::Full => self.send_full(source, out),
            Mode::Reconcile => self.reconcile(source, out),
            Mode::Same | Mode::Behind | Mode::Withheld | Mode::Refuse { .. } | Mode::Other(_) => {}
        }
    }

    /// The step to head, with what the node wanted in it.
    pub(super) fn step(&mut self, source: &dyn Source) -> Option<Arc<Encoded>> {
        let (from, head, form) = (self.report.applied, source.head(), self.form());
        let step = if from == head {
            Arc::new(Builder::new(head, head, source.root()).finish()?)
        } else {
            source.delta(from, form)?
        };
        if self.wanted.is_empty() {
            return Some(step);
        }
        let extra = self.wanted.drain(..).map(|(kind, id)| match source.record(kind, id) {
            Some(record) => Op::Put(Entity::from(&record)),
            None => Op::Delete { kind, id },
        });
        let packer = if form.packed { source.packer() } else { &Plain };
        step.with(extra, packer).map(Arc::new)
    }

    /// How a step may be written for this node now.
    pub(super) fn form(&self) -> Form {
        let packed = self.node.as_ref().is_some_and(|node| node.takes(CODEC_DICTIONARY));
        let unknown = self.node.as_ref().map(|node| UnknownKinds::of(node)).unwrap_or_default();
        Form { patches: self.patching.is_on(), packed, unknown }
    }

    pub(super) fn send_delta(&mut self, step: &Encoded, out: &mut Vec<Action>) {
        self.work = Work::Delta { to: step.to(), root: step.root(), confirmed: 0, patched: step.patches() > 0 };
        self.in_flight(step.to());
        self.send_bytes(step.frames(), out);
    }

    pub(super) fn send_full(&mut self, source: &dyn Source, out: &mut Vec<Action>) {
        let blobs = self.node.as_ref().is_some_and(|node| node.takes(CODEC_ZSTD));
        let offer = if blobs { source.blob(self.wanted_blob(source)) } else { Offer::Entities };
        let mut sender = match offer {
            Offer::Blob(blob) => Sender::blob(blob),
            Offer::Entities => Sender::entities(self.epoch, source.full()),
            Offer::Later => return,
        };
        let begin = sender.confirm(self.confirmed);
        self.wanted.clear();
        self.work = Work::Full(Box::new(sender), Overtaking::default());
        self.report.mode = Mode::Full;
        self.in_flight(begin.version);
        self.send(&Message::FullBegin(begin), out);
    }

    /// A node never goes back, gains nothing from the version that it has unless its content is wrong, and does not get
    /// again what it refused, or holds back without a confirmation.
    pub(super) fn wanted_blob(&self, source: &dyn Source) -> Wanted {
        let applied = if self.report.epoch == self.epoch { self.report.applied } else { 0 };
        let same_is_of_use = self.report.epoch != self.epoch || self.diverged || applied >= source.head();
        let useful = if same_is_of_use { applied } else { applied + 1 };
        let held_back = self.hold.as_ref().map(|hold| hold.held.version);
        let acceptable = self.patience.barred(self.now).max(held_back).map_or(0, |refused| refused + 1);
        let held = self.node.as_ref().and_then(|node| node.partial).map(|partial| partial.transfer);
        Wanted { oldest: useful.max(acceptable), held }
    }

    pub(super) fn in_flight(&mut self, version: u64) {
        self.report.in_flight = Some(version);
        self.dirty = true;
    }
}
