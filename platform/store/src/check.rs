//! One pass over both copies of a content, piece by piece: every chunk of the archive and every record in it, then every
//! record in sled's files, and whether all of them are those of the root. Reads, and does nothing else.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::Key;
use crate::archive::{Archive, Walk};
use crate::peek::Peek;
use crate::run::Home;
use crate::seal::Root;
use crate::tree::TreeError;

/// A record of the archive counts so much beside its value, so that many small ones make a piece, too.
const RECORD_BYTES: u64 = 22;

/// How much is read at most before it is looked whether to end.
const LOOK_BYTES: u64 = 64 * 1024;

/// One of the two copies of a content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Copy {
    Archive,
    Sled,
}

/// A pass under way. What it has open is of the files as they were when it began: it ends when they change.
pub(crate) struct Check {
    home: Home,
    /// The commit that the archive must be of.
    seq: u64,
    stage: Stage,
    /// The root of the archive, once that was found good.
    archive: Option<Root>,
}

enum Stage {
    Begin,
    Archive(Walk),
    Sled(Option<Peek>),
}

/// What a piece of a pass came to.
pub(crate) enum Stepped {
    /// There is more to read.
    More(Box<Check>),
    /// Both copies are whole.
    Good,
    /// This one is not.
    Bad(Copy, TreeError),
    /// It was told to end, or something else than the content kept it from reading.
    Ended(Option<TreeError>),
}

impl std::fmt::Debug for Stepped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::More(_) => f.write_str("More"),
            Self::Good => f.write_str("Good"),
            Self::Bad(copy, what) => write!(f, "Bad({copy:?}, {what})"),
            Self::Ended(error) => write!(f, "Ended({error:?})"),
        }
    }
}

impl Check {
    /// Begins with a generation whose archive is of commit `seq`.
    pub(crate) fn new(home: Home, seq: u64) -> Check {
        Check { home, seq, stage: Stage::Begin, archive: None }
    }

    /// Reads on for about so many bytes, or until it is told to end.
    pub(crate) fn step(mut self, bytes: u64, given_up: &AtomicBool) -> Stepped {
        let mut left = bytes;
        while left > 0 {
            if given_up.load(Ordering::Relaxed) {
                return Stepped::Ended(None);
            }
            let copy = if matches!(self.stage, Stage::Sled(_)) { Copy::Sled } else { Copy::Archive };
            match self.next(left.min(LOOK_BYTES)) {
                Ok(Some(read)) => left = left.saturating_sub(read),
                Ok(None) => return Stepped::Good,
                Err(error) if error.is_damage() => return Stepped::Bad(copy, error),
                Err(error) => return Stepped::Ended(Some(error)),
            }
        }
        Stepped::More(Box::new(self))
    }

    /// Reads a little, and says how much that was; `None` after the end.
    fn next(&mut self, bytes: u64) -> Result<Option<u64>, TreeError> {
        match &mut self.stage {
            Stage::Begin => {
                // By its files' names, as the next start will: an open descriptor may be of a file that is gone.
                let archive = Archive::open(&self.home)?.filter(|found| found.seq() == self.seq);
                let archive = archive.ok_or_else(|| TreeError::corrupt("a run of the archive is missing"))?;
                self.archive = Some(archive.root().clone());
                self.stage = Stage::Archive(archive.begin_walk()?);
                Ok(Some(bytes))
            }
            Stage::Archive(walk) => {
                let mut read = RECORD_BYTES;
                let more = walk.next::<TreeError>(&mut |_: Key, value| {
                    read += value.len() as u64;
                    Ok(())
                })?;
                if !more {
                    self.stage = Stage::Sled(None);
                }
                Ok(Some(read))
            }
            Stage::Sled(none @ None) => {
                *none = Some(Peek::open(&self.home.dir, self.home.generation)?);
                Ok(Some(bytes))
            }
            Stage::Sled(Some(peek)) => match (peek.step(bytes)?, &self.archive) {
                (None, _) => Ok(Some(bytes)),
                (Some(root), Some(archive)) if root.seq < archive.seq => {
                    let what = format!("it is of commit {}, the archive of {}", root.seq, archive.seq);
                    Err(TreeError::corrupt(what))
                }
                (Some(root), Some(archive)) if root.seq == archive.seq && root != *archive => {
                    Err(TreeError::corrupt("it does not hold what the archive holds"))
                }
                (Some(_), _) => Ok(None),
            },
        }
    }
}
