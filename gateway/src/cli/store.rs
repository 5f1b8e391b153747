//! `edge-gateway store …`: looks at the store of a gateway that is stopped.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use os::{Exit, ExitError};
use pki::Verifier;
use store::{CommitError, OpenError, Store};

use crate::app::now_s;
use crate::bundle::take::{TakeError, Verdict, judge};
use crate::bundle::write::{WriteError, export as write};
use crate::bundle::{CheckError, check, vouched};
use crate::config::Config;
use crate::state::{self, Meta, Opened, Source};
use crate::sync::staging;

/// What the store holds, one fact per line.
pub(super) fn info(config: &Config) -> Result<String, ExitError> {
    let Opened { mut store, content, unserved } = open(config)?;
    let damages = damages(&store);
    let info = store.info();
    let serves = match (&content, &unserved) {
        (Some((snapshot, meta)), _) => describe(meta, snapshot.catalog().len()),
        (None, Some(unserved)) => unserved.to_string(),
        (None, None) => "nothing yet".to_owned(),
    };
    Ok(format!(
        "directory      {}\ncontent        {serves}\ngeneration     {}\ncommits        {}\nnot in sled    {}\n\
         journal bytes  {}\narchive bytes  {}\nbytes on disk  {}\nencryption     {}\n{}",
        config.store_dir().display(),
        info.generation,
        info.seq,
        info.pending,
        info.journal_bytes,
        info.archive_bytes,
        info.disk_bytes,
        info.encryption.name(),
        damages.iter().map(|text| format!("damage         {text}\n")).collect::<String>(),
    ))
}

/// Opening reads every record and checks its seal, and compiling proves that it can be served; then the copy that opening
/// did not need is read as well. Opening makes good what it finds damaged, too: that the store is good now is not to say that
/// it was, and the answer is no. The next time it is yes.
pub(super) fn verify(config: &Config) -> Result<String, ExitError> {
    let mut opened = open(config)?;
    let damages = damages(&opened.store);
    let no = |what: String| {
        let made_good = damages.iter().map(|text| format!("it was damaged: {text}\n"));
        Err(ExitError::new(Exit::Failed, format!("{}{what}", made_good.collect::<String>())))
    };
    match opened.store.verify() {
        Ok(()) => {}
        Err(CommitError::Corrupt(what)) => return no(format!("it is damaged: {what}")),
        Err(error) => return Err(ExitError::new(Exit::Io, error.to_string())),
    }
    let good = match (opened.content, opened.unserved) {
        (_, Some(unserved)) => return no(unserved.to_string()),
        (Some((snapshot, meta)), None) => describe(&meta, snapshot.catalog().len()),
        (None, None) => "nothing yet".to_owned(),
    };
    if damages.is_empty() { Ok(format!("good: {good}\n")) } else { no(format!("good again: {good}")) }
}

/// What was wrong with the store's files, and was made good when it was opened.
fn damages(store: &Store) -> Vec<String> {
    store.reports().all().into_iter().map(|report| report.text).collect()
}

/// Writes what the store holds as a signed bundle.
pub(super) fn export(config: &Config, file: &Path) -> Result<String, ExitError> {
    let (dir, signer) = (existing(config)?, membership(config)?);
    let header = write(&dir, &options(config), signer, file, now_s()).map_err(|error| match error {
        WriteError::Open(error) => refused(&error),
        WriteError::Io(error) => ExitError::from_io(file.display(), &error),
        error => ExitError::new(Exit::Failed, error.to_string()),
    })?;
    Ok(format!(
        "{}: version {} of epoch {:016x}, {} entities, {} bytes of them compressed, signed with the cluster key. It holds \
         keys and secrets in the clear.\n",
        file.display(),
        header.version,
        header.epoch,
        header.count,
        header.bytes,
    ))
}

/// Takes a signed bundle into the store. A store that fails its checks is set aside for it, as a start would.
pub(super) fn import(config: &Config, file: &Path, allow_rollback: bool) -> Result<String, ExitError> {
    let no = |error: &dyn std::fmt::Display| ExitError::new(Exit::Failed, format!("{}: {error}", file.display()));
    let io = |error: &io::Error| ExitError::from_io(file.display(), error);
    let mut checked = check(file, membership(config)?, now_s()).map_err(|error| match error {
        CheckError::Io(error) => io(&error),
        error => no(&error),
    })?;
    let header = &checked.header;
    let what = format!(
        "{}: version {} of epoch {:016x}, {} entities. {}\n",
        file.display(),
        header.version,
        header.epoch,
        header.count,
        vouched(header, &checked.proof),
    );
    let (mut store, damage) = for_import(config)?;
    let unknown = || no(&"the store holds what another version of this program wrote; --allow-rollback replaces it");
    let held = match store.meta().filter(|bytes| !bytes.is_empty()).map(Meta::from_bytes) {
        Some(None) if !allow_rollback => return Err(unknown()),
        held => held.flatten(),
    };
    match judge(held.as_ref(), header) {
        Verdict::Held => return Ok(format!("{what}The store holds just that already; nothing was changed.\n")),
        Verdict::Refuse(refusal) if !allow_rollback => {
            return Err(no(&format!("{refusal}; nothing was changed (--allow-rollback takes it all the same)")));
        }
        Verdict::Refuse(_) | Verdict::Take => {}
    }
    checked.take(&mut store).map_err(|error| match error {
        TakeError::Io(error) => io(&error),
        TakeError::Store(error) => ExitError::new(Exit::Io, format!("{}: {error}", config.store_dir().display())),
        error => no(&format!("{error}; nothing was changed")),
    })?;
    let damage = damage.map_or_else(String::new, |what| format!("The store was damaged: {what}.\n"));
    Ok(format!("{what}{damage}The store holds it now: the next start serves it.\n"))
}

fn membership(config: &Config) -> Result<&Verifier, ExitError> {
    let why = "cluster_cert: must be set with its key: they tell whose bundles to take, and sign those that are made";
    config.membership.as_ref().ok_or_else(|| ExitError::config(why))
}

/// The store, made where there is none, and what was wrong with the one before.
fn for_import(config: &Config) -> Result<(Store, Option<String>), ExitError> {
    let dir = &config.store_dir();
    std::fs::create_dir_all(&config.prefix).map_err(|error| ExitError::from_io(config.prefix.display(), &error))?;
    let open = || Store::open(dir, options(config), &mut |_, _| {}).map(|(store, _)| store);
    match open() {
        Ok(store) => {
            let damages = damages(&store);
            Ok((store, (!damages.is_empty()).then(|| damages.join("; "))))
        }
        Err(error) if error.is_corrupt() => {
            store::quarantine(dir).map_err(|error| refused(&error))?;
            let damage = format!("what was there before failed its checks ({error}) and is set aside");
            Ok((open().map_err(|error| refused(&error))?, Some(damage)))
        }
        Err(error) => Err(refused(&error)),
    }
}

/// Empties the store.
pub(super) fn wipe(config: &Config) -> Result<String, ExitError> {
    let dir = existing(config)?;
    store::wipe(&dir).map_err(|error| refused(&error))?;
    // What came of a full sync lies beside it.
    staging::remove_all(&config.prefix).map_err(|error| ExitError::from_io(config.prefix.display(), &error))?;
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
    let hint = if exit == Exit::Unavailable { ": stop the gateway first" } else { "" };
    ExitError::new(exit, format!("{error}{hint}"))
}

/// How far a long opening has come is told beside the answer.
fn options(config: &Config) -> store::Options {
    let progress = store::Progress::new(|records, of| {
        // Nobody reading it is no reason to end.
        let _ = writeln!(io::stderr(), "reading the store: {records} of {of} records");
    });
    store::Options { progress, ..config.store_options() }
}

fn open(config: &Config) -> Result<Opened, ExitError> {
    state::open(&existing(config)?, options(config)).map_err(|error| refused(&error))
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
