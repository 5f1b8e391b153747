//! The last good content of a store whose journals, or whose every newer copy, fail their checks: an older one, whole.
//!
//! There are up to two to choose from: what sled holds, and the archive up to the first run that fails; on either the frames
//! that follow, as long as they are whole. The one that leads furthest is taken. It loses acknowledged commits, so it is
//! for those only who can have them again: a data plane, whose control plane sees at hello that it has fallen behind. What
//! was lost is set aside, and the loss is reported. What cannot be read now is not lost: that is an error of the disk's.

use std::path::Path;

use crate::archive::Archive;
use crate::build::Builder;
use crate::cipher::Cipher;
use crate::frame::Frame;
use crate::heal::generation_from_archive;
use crate::journal;
use crate::layout::{self, generation_dir};
use crate::pending::{Overlay, Pending};
use crate::quarantine;
use crate::replay::changes;
use crate::report::{Report, Reports};
use crate::run::Home;
use crate::seal::Root;
use crate::sled_thread::{Load, Worker};
use crate::tree::TreeError;
use crate::{CommitError, Key, OpenError, Options};

/// A content that may be whole.
struct Candidate {
    /// The archive; none for sled.
    archive: Option<Archive>,
    /// What the journals add, and what it is then.
    changes: Pending,
    seq: u64,
    meta: Option<Vec<u8>>,
}

/// Writes the next generation of the best that is left, and sets the one in use aside. `None` where nothing is whole.
pub(crate) fn last_good(
    dir: &Path,
    generation: u64,
    options: &Options,
    worker: &mut Worker,
    why: &OpenError,
    reports: &Reports,
) -> Result<Option<u64>, OpenError> {
    let gen_dir = generation_dir(dir, generation);
    let cipher = match Cipher::load(&gen_dir, &options.encryption) {
        Ok(cipher) => cipher,
        Err(error) if error.is_corrupt() => return Ok(None),
        Err(error) => return Err(error),
    };
    let frames = journal::salvage(&gen_dir, generation)?;
    let candidate = |root: &Root, archive| candidate(&gen_dir, generation, &frames, root, archive);
    let archive = Archive::whole_part(&Home::new(&gen_dir, generation, &cipher));
    let archive = archive.map_err(|e| OpenError::io(&gen_dir, e))?;
    let archive = archive.map(|archive| candidate(&archive.root().clone(), Some(archive))).transpose()?;
    // Opened once to see how far it leads, and again if that is further.
    let sled = match Load::start(worker, &gen_dir, generation) {
        Ok((_, root)) => Some(candidate(&root, None)?),
        Err(TreeError::Corrupt(_)) => None,
        Err(TreeError::Io(error)) => return Err(OpenError::io(&gen_dir, error)),
    };
    let mut candidates: Vec<Candidate> = archive.into_iter().chain(sled).collect();
    candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.seq));
    let next = generation + 1;
    for candidate in candidates {
        let seq = candidate.seq;
        match candidate.build(dir, generation, cipher.clone(), worker) {
            Ok(()) => {}
            Err(CommitError::Corrupt(what)) => {
                tracing::warn!(what, seq, "store: a copy that looked whole is not");
                continue;
            }
            Err(error) => return Err(OpenError::of_writing(dir, error)),
        }
        let switched = layout::set_current(dir, next).and_then(|()| quarantine::set_generation_aside(dir, &gen_dir));
        switched.map_err(|e| OpenError::io(dir, e))?;
        let text = format!("{why}; what was good up to commit {seq} is kept, later commits may be lost");
        tracing::error!(text, "store: damaged");
        reports.set(Report { text, lost: true });
        return Ok(Some(next));
    }
    Ok(None)
}

/// A copy with the frames that follow on it, one on the other.
fn candidate(
    gen_dir: &Path,
    generation: u64,
    frames: &[Frame],
    root: &Root,
    archive: Option<Archive>,
) -> Result<Candidate, OpenError> {
    let mut candidate = Candidate { archive, changes: Pending::default(), seq: root.seq, meta: root.meta.clone() };
    for frame in frames {
        if frame.prev != candidate.seq || frame.seq <= candidate.seq {
            continue;
        }
        match changes(gen_dir, generation, frame) {
            Ok(changes) => {
                candidate.changes.add(changes);
                (candidate.seq, candidate.meta) = (frame.seq, Some(frame.meta.clone()));
            }
            Err(error) if error.is_corrupt() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(candidate)
}

impl Candidate {
    /// Writes it as the next generation. Whether it is whole shows at the end.
    fn build(self, dir: &Path, generation: u64, cipher: Cipher, worker: &mut Worker) -> Result<(), CommitError> {
        let Candidate { archive, changes, seq, meta } = self;
        if let Some(archive) = archive {
            return generation_from_archive(dir, generation + 1, cipher, &archive, &changes, (seq, meta)).map(drop);
        }
        let gen_dir = generation_dir(dir, generation);
        let failed = |error: TreeError| error.into_commit(&gen_dir);
        let (load, _) = Load::start(worker, &gen_dir, generation).map_err(failed)?;
        let mut builder = Builder::start(dir, generation + 1, cipher)?;
        let mut overlay = Overlay::new(&changes);
        let mut put = |key: Key, value: &[u8]| builder.put_sealed(&key, value);
        while let Some(piece) = load.next().map_err(failed)? {
            for (key, value) in piece.iter() {
                overlay.record(key, value, &mut put)?;
            }
        }
        overlay.end(&mut put)?;
        builder.finish(seq, meta).map(drop)
    }
}
