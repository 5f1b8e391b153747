//! The last good content of a store whose journals, or whose every newer copy, fail their checks: an older one, whole.
//!
//! It loses acknowledged commits, so it is for those only who can have them again: a data plane, whose control plane sees
//! at hello that it has fallen behind. What was lost is set aside, and the loss is reported.

use std::path::Path;

use crate::cipher::Cipher;
use crate::heal::generation_from_archive;
use crate::journal;
use crate::layout::{self, generation_dir};
use crate::load::{changes, whole_archive};
use crate::pending::Pending;
use crate::quarantine;
use crate::report::{Report, Reports};
use crate::{CommitError, OpenError, Options};

/// Writes the next generation of the archive and of those frames that follow on it, and sets the one in use aside. `None`
/// where the archive fails too.
pub(crate) fn last_good(
    dir: &Path,
    generation: u64,
    options: &Options,
    why: &OpenError,
    reports: &Reports,
) -> Result<Option<u64>, OpenError> {
    let gen_dir = generation_dir(dir, generation);
    let Ok(cipher) = Cipher::load(&gen_dir, &options.encryption) else { return Ok(None) };
    let Ok(Some(archive)) = whole_archive(&gen_dir, generation, true) else { return Ok(None) };
    let (mut seq, mut meta) = (archive.seq(), archive.root().meta.clone());
    let mut pending = Pending::default();
    for frame in journal::salvage(&gen_dir, generation) {
        if frame.prev == seq
            && frame.seq > seq
            && let Ok(changes) = changes(&gen_dir, generation, &frame)
        {
            pending.add(changes);
            (seq, meta) = (frame.seq, Some(frame.meta));
        }
    }
    let next = generation + 1;
    let built = generation_from_archive(dir, next, cipher, &archive, &pending, (seq, meta));
    match built {
        Ok(_) => {}
        Err(CommitError::Corrupt(_)) => return Ok(None),
        Err(error) => return Err(OpenError::of_writing(dir, error)),
    }
    let switched = layout::set_current(dir, next).and_then(|()| quarantine::set_generation_aside(dir, &gen_dir));
    switched.map_err(|e| OpenError::io(dir, e))?;
    let text = format!("{why}; what was good up to commit {seq} is kept, later commits may be lost");
    tracing::error!(text, "store: damaged");
    reports.set(Report { text, lost: true });
    Ok(Some(next))
}
