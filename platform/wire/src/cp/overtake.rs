//! Small steps that overtake a running full sync: what is committed while it is on its way goes ahead of the rest of it,
//! so that the node is at the head as soon as the full sync is applied, without another round trip.
//!
//! Each one leads from the full sync's version to head and takes the place of the one before. They are sent before
//! FULL_END only, so that the node has the last of them when it begins to apply.

use super::{Action, Session, Source, Work};
use crate::compat;
use crate::delta::Encoded;
use crate::full::Sender;
use crate::limits::{OVERTAKE_BYTES_MAX, OVERTAKES_BYTES_MAX};
use crate::message::{Hello, Message, Overtake};
use bytes::Bytes;

/// What has overtaken one full sync.
#[derive(Default)]
pub(super) struct Overtaking {
    /// The last one, which the node goes on with.
    last: Option<Next>,
    /// Bytes of all of them.
    bytes: usize,
    /// A step was too large, and later ones would be larger.
    over: bool,
}

/// The step that follows a full sync without being sent again.
#[derive(Clone, Copy)]
pub(super) struct Next {
    pub(super) to: u64,
    pub(super) root: u64,
    pub(super) patched: bool,
}

impl Overtaking {
    /// What the node goes on with once it has applied the full sync.
    pub(super) fn next(&self) -> Option<Next> {
        self.last
    }

    /// Whether a step to `head` would bring the node anything, and may still be sent.
    fn is_due(&self, sender: &Sender, head: u64) -> bool {
        let at = self.last.map_or(sender.begin().version, |next| next.to);
        !self.over && !sender.ended() && at < head
    }

    /// The bytes of this step, if there is room for them. If not, there is none for any later step either.
    fn take(&mut self, step: &Encoded) -> Option<Bytes> {
        let fits = |delta: &Bytes| delta.len() <= OVERTAKE_BYTES_MAX && self.bytes + delta.len() <= OVERTAKES_BYTES_MAX;
        let delta = step.one_frame().filter(fits)?;
        self.bytes += delta.len();
        self.last = Some(Next { to: step.to(), root: step.root(), patched: step.patches() > 0 });
        Some(delta)
    }
}

impl Session {
    /// Sends the step from the full sync under way to head, if it is a small one and the node can keep it until then.
    pub(super) fn overtake(&mut self, source: &dyn Source, out: &mut Vec<Action>) {
        let Work::Full(sender, overtaking) = &self.work else { return };
        let Some(node) = self.node.as_ref().filter(|node| node.has(Hello::OVERTAKE)) else { return };
        let begin = sender.begin();
        let exact = self.report.incremental && begin.version >= source.floor();
        if !exact || !overtaking.is_due(sender, source.head()) {
            return;
        }
        if !compat::judge(&self.config.software, source.in_use(), node).withheld.is_empty() {
            return;
        }
        let form = self.form();
        let Work::Full(_, overtaking) = &mut self.work else { return };
        let step = source.delta(begin.version, form);
        match step.and_then(|step| overtaking.take(&step)) {
            Some(delta) => self.send(&Message::Overtake(Overtake { transfer: begin.transfer, delta }), out),
            None => overtaking.over = true,
        }
    }
}
