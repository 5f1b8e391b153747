//! What the journals add to a copy of the content: the commits that follow on it, read back from frames and spill files.
//!
//! Their bases witness how far that copy must have come. `load.rs` asks for it of the copy that it opens, `salvage.rs` for
//! single frames.

use std::path::Path;

use crate::frame::{Content, Frame};
use crate::journal::{Found, Pair};
use crate::pending::Pending;
use crate::seal::Root;
use crate::sled_thread::Frozen;
use crate::{Change, OpenError, spill, tree};

/// What the journals add to the checkpoint.
pub(crate) struct Recovered {
    pub(crate) frozen: Option<Frozen>,
    pub(crate) recent: Pending,
    pub(crate) seq: u64,
    pub(crate) meta: Option<Vec<u8>>,
}

/// Finds the commits that follow on the checkpoint. The journals' bases witness how far that must have come.
pub(crate) fn pending(gen_dir: &Path, generation: u64, pair: &Pair, root: &Root) -> Result<Recovered, OpenError> {
    let Pair { older_base, older, newer } = pair;
    let mut recovered = Recovered { frozen: None, recent: Pending::default(), seq: root.seq, meta: root.meta.clone() };
    if root.seq < newer.base {
        let older = match older {
            _ if root.seq < *older_base => {
                return Err(OpenError::corrupt(
                    tree::path(gen_dir),
                    format!("the checkpoint is of commit {}, it had come to {older_base}", root.seq),
                ));
            }
            Ok(older) => older,
            Err(OpenError::Corrupt { file, what }) => return Err(OpenError::corrupt(file, what)),
            // Frames that were read are whole or damaged.
            Err(error) => return Err(OpenError::corrupt(gen_dir, error.to_string())),
        };
        let mut frozen = Pending::default();
        // A frame beyond the newer one's base is of a commit that failed: its caller was told so.
        replay(gen_dir, generation, older, newer.base, &mut recovered, &mut frozen)?;
        if recovered.seq != newer.base {
            return Err(OpenError::corrupt(&older.path, "the end of a journal is gone that the next follows on"));
        }
        let (seq, meta) = (recovered.seq, recovered.meta.clone());
        recovered.frozen = Some(Frozen { base: root.seq, seq, meta, changes: frozen });
    }
    let mut recent = Pending::default();
    replay(gen_dir, generation, newer, u64::MAX, &mut recovered, &mut recent)?;
    recovered.recent = recent;
    Ok(recovered)
}

fn replay(
    gen_dir: &Path,
    generation: u64,
    journal: &Found,
    up_to: u64,
    recovered: &mut Recovered,
    into: &mut Pending,
) -> Result<(), OpenError> {
    let start = recovered.seq;
    for frame in journal.frames.iter().filter(|frame| frame.seq > start && frame.seq <= up_to) {
        if frame.prev != recovered.seq {
            return Err(OpenError::corrupt(&journal.path, "a journal that does not follow on the checkpoint"));
        }
        into.add(changes(gen_dir, generation, frame)?);
        recovered.seq = frame.seq;
        recovered.meta = Some(frame.meta.clone());
    }
    Ok(())
}

pub(crate) fn changes(gen_dir: &Path, generation: u64, frame: &Frame) -> Result<Vec<Change>, OpenError> {
    match &frame.content {
        Content::Here(changes) => Ok(changes.clone()),
        Content::Spilled { len, hash } => spill::read(gen_dir, generation, frame.seq, *len, *hash),
    }
}
