//! `edge-gateway store …`: looks at the store of a gateway that is stopped.

use std::io;
use std::path::PathBuf;

use os::{Exit, ExitError};
use store::OpenError;

use crate::config::Config;
use crate::state::{self, Meta, Opened, Source};

/// What the store holds, one fact per line.
pub(super) fn info(config: &Config) -> Result<String, ExitError> {
    let Opened { mut store, content, unserved } = open(config)?;
    let info = store.info();
    let serves = match (&content, &unserved) {
        (Some((snapshot, meta)), _) => describe(meta, snapshot.catalog().len()),
        (None, Some(unserved)) => unserved.to_string(),
        (None, None) => "nothing yet".to_owned(),
    };
    Ok(format!(
        "directory      {}\ncontent        {serves}\ngeneration     {}\ncommits        {}\nnot in sled    {}\n\
         journal bytes  {}\narchive bytes  {}\nbytes on disk  {}\nencryption     {}\n",
        config.store_dir().display(),
        info.generation,
        info.seq,
        info.pending,
        info.journal_bytes,
        info.archive_bytes,
        info.disk_bytes,
        info.encryption.name(),
    ))
}

/// Opening reads every record and checks its seal, and compiling proves that it can be served; then the copy that opening
/// did not need is read as well.
pub(super) fn verify(config: &Config) -> Result<String, ExitError> {
    let mut opened = open(config)?;
    opened.store.verify().map_err(|error| ExitError::new(Exit::Failed, error.to_string()))?;
    match opened {
        Opened { unserved: Some(unserved), .. } => Err(ExitError::new(Exit::Failed, unserved.to_string())),
        Opened { content: Some((snapshot, meta)), .. } => {
            Ok(format!("good: {}\n", describe(&meta, snapshot.catalog().len())))
        }
        Opened { content: None, .. } => Ok("good: nothing yet\n".to_owned()),
    }
}

/// Empties the store.
pub(super) fn wipe(config: &Config) -> Result<String, ExitError> {
    let dir = existing(config)?;
    store::wipe(&dir).map_err(|error| refused(&error))?;
    Ok(format!("{} is empty.\n", dir.display()))
}

/// The error of a store that cannot be opened, with the exit code that fits.
pub(crate) fn refused(error: &OpenError) -> ExitError {
    let exit = match error {
        OpenError::Permission(_) => Exit::Permission,
        OpenError::Locked(_) => Exit::Unavailable,
        OpenError::NoKey(_) | OpenError::WrongKey(_) => Exit::Config,
        _ => Exit::Io,
    };
    ExitError::new(exit, error.to_string())
}

fn open(config: &Config) -> Result<Opened, ExitError> {
    state::open(&existing(config)?, config.store_options()).map_err(|error| refused(&error))
}

/// Opening would make one; a question must not.
fn existing(config: &Config) -> Result<PathBuf, ExitError> {
    let dir = config.store_dir();
    match dir.metadata() {
        Ok(_) => Ok(dir),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(ExitError::new(Exit::Io, format!("{}: there is no store yet", dir.display())))
        }
        Err(error) => Err(ExitError::from_io(dir.display(), &error)),
    }
}

fn describe(meta: &Meta, entities: usize) -> String {
    let source = match meta.source {
        Source::ControlPlane => "a control plane",
        Source::File { .. } => "a declarative file",
    };
    format!("version {} of epoch {:016x}, {entities} entities, from {source}", meta.version, meta.epoch)
}
