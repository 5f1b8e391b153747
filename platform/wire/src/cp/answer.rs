//! What a node says of what it was sent: that it is live, that it is refused, what of it is to come again, how much more of
//! a full sync may come.

use super::overtake::Next;
use super::{Hold, Session, Work};
use crate::error::ProtocolError;
use crate::limits::WANTED_MAX;
use crate::message::{Ack, FullGet, Nack, NackCode, Want};
use std::sync::Arc;

impl Session {
    pub(super) fn ack(&mut self, ack: Ack) -> Result<(), ProtocolError> {
        let applied = ack.applied;
        let done = match &self.work {
            Work::Delta { to, root, .. } => (*to == applied).then_some((*root, None)),
            Work::Full(sender, overtaking) if sender.ended() => {
                let begin = sender.begin();
                (begin.version == applied).then_some((begin.root, overtaking.next()))
            }
            Work::Idle | Work::Full(..) | Work::Reconcile(_) => None,
        };
        if let Some((root, next)) = done {
            // What has overtaken a full sync is what the node goes on with.
            self.work = match next {
                Some(Next { to, root, patched }) => Work::Delta { to, root, confirmed: 0, patched },
                None => Work::Idle,
            };
            self.root = root;
            (self.diverged, self.hold, self.confirmed) = (false, None, 0);
            self.patching.applied();
            self.patience.applied();
            self.whole = false;
            (self.report.epoch, self.report.applied) = (self.epoch, applied);
            (self.report.in_flight, self.report.nack, self.report.held) = (next.map(|next| next.to), None, None);
        } else if applied != self.report.applied {
            return Err(ProtocolError::AckUnsent { applied });
        }
        self.report.durable = ack.durable;
        Ok(())
    }

    pub(super) fn nack(&mut self, nack: Nack) -> Result<(), ProtocolError> {
        let (version, full, patched, confirmed) = match &self.work {
            Work::Idle | Work::Reconcile(_) => return Err(ProtocolError::NackUnsent { version: nack.version }),
            Work::Delta { to, patched, confirmed, .. } => (*to, false, *patched, *confirmed),
            Work::Full(sender, _) => (sender.begin().version, true, false, sender.begin().confirmed),
        };
        if nack.version != version {
            return Err(ProtocolError::NackUnsent { version: nack.version });
        }
        self.work = Work::Idle;
        self.report.in_flight = None;
        if nack.code == NackCode::Base && patched {
            self.patching.missed(!self.wanted.is_empty());
            return Ok(());
        }
        let hold = Hold::of(&nack, self.epoch);
        self.report.held = hold.as_ref().map(|hold| hold.held);
        let is_held = hold.is_some();
        // What was confirmed while it was on its way is sent again at once.
        let meanwhile = |gone: u64| confirmed < gone && gone <= self.confirmed;
        self.hold = hold.filter(|hold| !meanwhile(hold.held.shrink.gone));
        // A node that ends up with another root has another content than it says: a full sync heals that, once.
        if nack.code == NackCode::Root && !full {
            (self.diverged, self.whole) = (true, true);
        } else if !is_held {
            self.patience.refused(version, nack.code == NackCode::Resources, self.now);
            // The node itself lets full syncs wait.
            if !full {
                self.patience.pause(self.now);
            }
        }
        self.report.nack = Some(Arc::new(nack));
        Ok(())
    }

    pub(super) fn want(&mut self, want: Want) {
        if self.wanted.len() + want.entities.len() > WANTED_MAX {
            self.diverged = true;
            self.wanted.clear();
        } else {
            self.wanted.extend(want.entities);
        }
    }

    pub(super) fn full_get(&mut self, get: FullGet) -> Result<(), ProtocolError> {
        match &mut self.work {
            Work::Full(sender, _) if sender.begin().transfer == get.transfer => sender.grant(get),
            // Of a full sync that has ended or was refused meanwhile.
            _ => Ok(()),
        }
    }
}
