//! Which generation of a store is the one in use, and the making of the first one.
//!
//! `CURRENT` and the generation's marker say the same thing in two places, so the loss of one is made good from the other.

use std::path::Path;

use crate::build::Builder;
use crate::cipher::Cipher;
use crate::layout::{self, generation_dir, remove};
use crate::report::{Report, Reports};
use crate::{CommitError, Mode, OpenError, Options, journal, tree};

/// The number of the first generation.
const FIRST: u64 = 1;

/// The generation that `CURRENT` names; the first one, made now, where there is no store yet.
pub(crate) fn in_use(dir: &Path, options: &Options, writable: bool, reports: &Reports) -> Result<u64, OpenError> {
    match layout::current(dir) {
        Ok(Some(pointer)) => {
            let gen_dir = generation_dir(dir, pointer.number);
            match layout::is_provisioned(&gen_dir, pointer.number) {
                Ok(true) => {}
                Err(error) if !error.is_corrupt() => return Err(error),
                // CURRENT names only what has its marker, so the marker was lost; whether the rest is whole shows later.
                Ok(false) | Err(_) if writable && is_dir(&gen_dir)? => {
                    layout::set_marker(&gen_dir, pointer).map_err(|e| OpenError::io(&gen_dir, e))?;
                    repaired(reports, "the marker of the generation in use");
                }
                Ok(false) | Err(_) => {
                    return Err(OpenError::corrupt(gen_dir, "the generation in use is missing or unfinished"));
                }
            }
            if writable {
                // A process killed right after a switch leaves it to us to make that last.
                layout::sync_dir(dir).map_err(|e| OpenError::io(dir, e))?;
            }
            return Ok(pointer.number);
        }
        Ok(None) if is_virgin(dir)? => {}
        Err(error) if !error.is_corrupt() => return Err(error),
        lost => {
            let finished = finished(dir)?;
            let ([only], true) = (finished.as_slice(), writable) else {
                lost?;
                return Err(OpenError::corrupt(dir.join("CURRENT"), "it is missing although there is a generation"));
            };
            layout::set_current(dir, *only).map_err(|e| OpenError::io(dir, e))?;
            repaired(reports, "CURRENT");
            return Ok(*only);
        }
    }
    if !writable {
        return Err(OpenError::ReadOnly(dir.into()));
    }
    create(dir, options)
}

fn repaired(reports: &Reports, what: &str) {
    let text = format!("{what} was missing or damaged and was written anew; nothing was lost");
    tracing::warn!(text, "store: healed");
    reports.set(Report { text, lost: false });
}

/// The generations that have their marker.
fn finished(dir: &Path) -> Result<Vec<u64>, OpenError> {
    let mut finished = Vec::new();
    for generation in layout::generations(dir).map_err(|e| OpenError::io(dir, e))? {
        match layout::is_provisioned(&generation_dir(dir, generation), generation) {
            Ok(true) => finished.push(generation),
            Ok(false) => {}
            Err(error) if error.is_corrupt() => {}
            // One whose marker cannot be read now may be the one that counts; all others will be removed.
            Err(error) => return Err(error),
        }
    }
    Ok(finished)
}

fn is_dir(path: &Path) -> Result<bool, OpenError> {
    let found = tree::is_there(path).map_err(|e| OpenError::io(path, e))?;
    Ok(found.is_some_and(|found| found.is_dir()))
}

/// Whether there never was anything here. A power cut between the first marker and CURRENT leaves an empty generation.
fn is_virgin(dir: &Path) -> Result<bool, OpenError> {
    for generation in layout::generations(dir).map_err(|e| OpenError::io(dir, e))? {
        let gen_dir = generation_dir(dir, generation);
        if !layout::is_provisioned(&gen_dir, generation)? {
            continue;
        }
        let pair = journal::read(&gen_dir, generation)?;
        if generation != FIRST || pair.newer.base != 0 || !pair.newer.frames.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn create(dir: &Path, options: &Options) -> Result<u64, OpenError> {
    if options.encryption.mode != Mode::Off && options.encryption.secret.is_none() {
        return Err(OpenError::NoKey(dir.into()));
    }
    let create = || {
        let cipher = Cipher::new(&options.encryption)?.ok_or(CommitError::Encryption)?;
        Builder::start(dir, FIRST, cipher)?.finish(0, None)?;
        layout::set_current(dir, FIRST).map_err(|e| CommitError::io(dir, e))
    };
    create().map_err(|error| OpenError::of_writing(dir, error))?;
    Ok(FIRST)
}

/// Removes all generations but the one in use: remains of a cut.
pub(crate) fn remove_others(dir: &Path, in_use: u64) -> Result<(), OpenError> {
    for generation in layout::generations(dir).map_err(|e| OpenError::io(dir, e))? {
        if generation != in_use {
            let path = generation_dir(dir, generation);
            remove(&path).map_err(|e| OpenError::io(path, e))?;
        }
    }
    Ok(())
}
