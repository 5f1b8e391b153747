//! A small step that overtook the full sync which is coming in: kept as it came, at most one, until that is applied, and
//! handed over right behind it. What ends the full sync in any other way ends the step with it.

use super::{Live, Session, State, Work};
use crate::delta::{Assembler, Delta, PATCH};
use crate::error::ProtocolError;
use crate::message::{Hello, Overtake, Type};
use bytes::Bytes;

/// The step, in no more memory than the frame that it came in.
pub(super) struct Kept(Bytes);

impl Kept {
    pub(super) fn read(&self) -> Result<Delta, ProtocolError> {
        let malformed = ProtocolError::Malformed { message: Type::Overtake };
        Assembler::default().push(&self.0, false)?.ok_or(malformed)
    }
}

impl Session {
    /// A step from the version of the full sync under way.
    pub(super) fn overtake(&mut self, overtake: Overtake) -> Result<(), ProtocolError> {
        if self.identity.features & Hello::OVERTAKE == 0 {
            return Err(ProtocolError::Unexpected { message: Type::Overtake, state: "by a node that keeps none" });
        }
        let at = self.receiver(overtake.transfer)?.begin().version;
        let kept = Kept(overtake.delta);
        let step = kept.read()?;
        self.check_step(&step)?;
        if step.from != at {
            return Err(ProtocolError::BaseMismatch { from: step.from, at });
        }
        if step.to == at {
            return Err(ProtocolError::NotWanted { at });
        }
        if let State::Live(Live { work: Work::Full(_, next), .. }) = &mut self.state {
            *next = Some(kept);
        }
        Ok(())
    }

    /// What holds for every delta, whenever it comes.
    pub(super) fn check_step(&self, step: &Delta) -> Result<(), ProtocolError> {
        let State::Live(live) = &self.state else { return Ok(()) };
        if !live.incremental {
            return Err(ProtocolError::IncrementalOff);
        }
        if step.patches() > 0 && self.identity.features & Hello::PATCHES == 0 {
            return Err(ProtocolError::OpUnknown { code: PATCH });
        }
        Ok(())
    }
}
