//! Opens a store: which generation counts, which commits are pending, and whether all of it is right.
//!
//! Nothing is repaired on the way: what is whole is used, what a power cut can leave behind is swept up, and anything
//! else is an error that names the file.

use std::path::Path;
use std::sync::{Arc, Weak};

use crate::build::Builder;
use crate::cipher::{Cipher, What};
use crate::frame::{Content, Frame};
use crate::journal::{self, Found, Journal, Pair};
use crate::layout::{self, generation_dir, remove};
use crate::pending::Pending;
use crate::seal::Root;
use crate::sled_thread::{Frozen, Load, Worker};
use crate::spill;
use crate::tree::{self, TreeError};
use crate::{Change, CommitError, Key, Mode, OpenError, Options, Store, quarantine};

/// The number of the first generation.
const FIRST_GENERATION: u64 = 1;

impl Store {
    /// Opens the store in `dir`, and creates it if there is none. Calls `load` for every record, in the order of the
    /// keys, and returns the meta of the last commit (`None` if there never was one).
    ///
    /// Every record is verified before `load` sees it; whether none is missing or out of date shows only at the end.
    /// So after an error, **whatever `load` was given must be discarded**. sled is closed again when this returns.
    ///
    /// # Errors
    /// See [`OpenError`]; [`OpenError::is_corrupt`] is the case for [`crate::quarantine`].
    pub fn open(
        dir: &Path,
        options: Options,
        load: &mut dyn FnMut(Key, &[u8]),
    ) -> Result<(Store, Option<Vec<u8>>), OpenError> {
        let lock = layout::lock(dir)?;
        quarantine::finish(dir).map_err(|e| OpenError::io(dir, e))?;
        let generation = generation_in_use(dir, &options)?;
        remove_other_generations(dir, generation)?;
        let gen_dir = generation_dir(dir, generation);
        let cipher = Cipher::load(&gen_dir, &options.encryption)?;
        let pair = journal::read(&gen_dir, generation)?;
        let worker = Worker::start().map_err(|e| OpenError::io(dir, e))?;
        let (sled, root) = start_load(&worker, dir, &gen_dir, generation)?;
        let Recovered { frozen, recent, seq, meta } = pending(&gen_dir, generation, &pair, &root)?;
        let overlay = frozen.as_ref().map(|frozen| frozen.changes.clone()).unwrap_or_default().with(&recent);
        let said = opened_meta(&gen_dir, &cipher, meta.as_deref())?;
        let mut anew = start_anew(dir, generation, &options, &cipher)?;
        let mut sealed_wrong = None;
        merge(&gen_dir, &sled, &overlay, &mut |key, kept| {
            let taken = cipher.with_open(What::Record(&key), kept, |value| {
                load(key, value);
                anew = anew.take().and_then(|builder| carried(builder, &key, value));
            });
            if taken.is_none() {
                sealed_wrong = Some(key);
            }
        })?;
        if let Some(key) = sealed_wrong {
            return Err(OpenError::corrupt(gen_dir, format!("the record {:02x?} does not open with its key", key.id)));
        }
        drop(sled);
        let mut journal = Journal::open(&gen_dir, generation, &pair.newer).map_err(|e| OpenError::io(&gen_dir, e))?;
        if seq > pair.newer.last() {
            // sled has everything and more: this journal's end is gone, so it cannot be continued.
            journal = journal.next(&gen_dir, seq).map_err(|e| OpenError::io(&gen_dir, e))?;
        }
        spill::remove_up_to(&gen_dir, root.seq);
        layout::keep_reserve(dir);
        let mut store = Store {
            dir: dir.into(),
            options,
            generation,
            journal,
            seq,
            meta,
            said: said.clone(),
            cipher,
            recent,
            frozen: frozen.map(Arc::new),
            worker,
            compaction: None,
            builder: Weak::new(),
            checkpoint: None,
            root,
            failure: None,
            turning: false,
            unsure: false,
            _lock: lock,
        };
        if let Some(builder) = anew {
            let mode = builder.cipher().mode();
            match store.take_over(builder, said.clone()) {
                Ok(()) => tracing::info!(mode = mode.name(), "store: written anew in another encryption"),
                Err(error) => stays(&error),
            }
        }
        Ok((store, said))
    }
}

/// Begins to write the content anew where it is to be encrypted otherwise than it is.
fn start_anew(dir: &Path, generation: u64, options: &Options, is: &Cipher) -> Result<Option<Builder>, OpenError> {
    if is.mode() == options.encryption.mode {
        return Ok(None);
    }
    let begun = Cipher::new(&options.encryption)
        .and_then(|cipher| cipher.map(|cipher| Builder::start(dir, generation + 1, cipher)).transpose());
    match begun {
        Ok(Some(builder)) => Ok(Some(builder)),
        Ok(None) => Err(OpenError::NoKey(dir.into())),
        Err(error) => {
            stays(&error);
            Ok(None)
        }
    }
}

/// Adds a record to the content written anew, or gives that up.
fn carried(mut builder: Builder, key: &Key, value: &[u8]) -> Option<Builder> {
    builder.put(key, value).inspect_err(stays).is_ok().then_some(builder)
}

fn stays(error: &CommitError) {
    tracing::error!(%error, "store: it cannot be encrypted as it is set; the next start tries again");
}

fn opened_meta(gen_dir: &Path, cipher: &Cipher, kept: Option<&[u8]>) -> Result<Option<Vec<u8>>, OpenError> {
    let open = |kept| cipher.with_open(What::Meta, kept, <[u8]>::to_vec);
    let wrong = || OpenError::corrupt(gen_dir, "the meta does not open with its key");
    kept.map(|kept| open(kept).ok_or_else(wrong)).transpose()
}

/// The generation that `CURRENT` names; the first one, made now, where there is no store yet.
fn generation_in_use(dir: &Path, options: &Options) -> Result<u64, OpenError> {
    if let Some(generation) = layout::current(dir)? {
        let gen_dir = generation_dir(dir, generation);
        if layout::is_provisioned(&gen_dir, generation)? {
            // A process killed right after a switch leaves it to us to make that last.
            layout::sync_dir(dir).map_err(|e| OpenError::io(dir, e))?;
            return Ok(generation);
        }
        return Err(OpenError::corrupt(gen_dir, "the generation in use is missing or unfinished"));
    }
    for generation in layout::generations(dir).map_err(|e| OpenError::io(dir, e))? {
        // A power cut between the first marker and CURRENT leaves an empty store; anything more has lost its CURRENT.
        let gen_dir = generation_dir(dir, generation);
        let finished = layout::is_provisioned(&gen_dir, generation)?;
        if finished && !(generation == FIRST_GENERATION && is_virgin(&gen_dir, generation)?) {
            return Err(OpenError::corrupt(dir.join("CURRENT"), "it is missing although there is a generation"));
        }
    }
    if options.encryption.mode != Mode::Off && options.encryption.secret.is_none() {
        return Err(OpenError::NoKey(dir.into()));
    }
    let create = || {
        let cipher = Cipher::new(&options.encryption)?.ok_or(CommitError::Encryption)?;
        Builder::start(dir, FIRST_GENERATION, cipher)?.finish(0, None)?;
        layout::set_current(dir, FIRST_GENERATION).map_err(|e| CommitError::io(dir, e))
    };
    create().map_err(|error| match error {
        CommitError::DiskFull => OpenError::DiskFull(dir.into()),
        CommitError::ReadOnly => OpenError::ReadOnly(dir.into()),
        CommitError::Io { file, error } => OpenError::io(file, error),
        other => OpenError::corrupt(dir, other.to_string()),
    })?;
    Ok(FIRST_GENERATION)
}

fn is_virgin(gen_dir: &Path, generation: u64) -> Result<bool, OpenError> {
    let pair = journal::read(gen_dir, generation)?;
    Ok(pair.newer.base == 0 && pair.newer.frames.is_empty())
}

fn remove_other_generations(dir: &Path, in_use: u64) -> Result<(), OpenError> {
    for generation in layout::generations(dir).map_err(|e| OpenError::io(dir, e))? {
        if generation != in_use {
            let path = generation_dir(dir, generation);
            remove(&path).map_err(|e| OpenError::io(path, e))?;
        }
    }
    Ok(())
}

/// Starts reading sled; on a full disk, with the space that was set aside for this.
fn start_load(worker: &Worker, dir: &Path, gen_dir: &Path, generation: u64) -> Result<(Load, Root), OpenError> {
    let mut started = Load::start(worker, gen_dir, generation);
    if started.as_ref().is_err_and(TreeError::is_disk_full) && layout::release_reserve(dir) {
        started = Load::start(worker, gen_dir, generation);
    }
    started.map_err(|e| open_error(gen_dir, e))
}

fn open_error(gen_dir: &Path, error: TreeError) -> OpenError {
    let file = tree::path(gen_dir);
    match error {
        TreeError::Corrupt(what) => OpenError::corrupt(file, what),
        TreeError::Io(error) => OpenError::io(file, error),
    }
}

/// What the journals add to the checkpoint.
struct Recovered {
    frozen: Option<Frozen>,
    recent: Pending,
    seq: u64,
    meta: Option<Vec<u8>>,
}

/// Finds the commits that follow on the checkpoint. The journals' bases witness how far that must have come.
fn pending(gen_dir: &Path, generation: u64, pair: &Pair, root: &Root) -> Result<Recovered, OpenError> {
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
            Err(error) => return Err(OpenError::corrupt(gen_dir, error.to_string())),
        };
        let mut frozen = Pending::default();
        // A frame beyond the newer one's base is of a commit that failed: its caller was told so.
        replay(gen_dir, generation, older, newer.base, &mut recovered, &mut frozen)?;
        if recovered.seq != newer.base {
            return Err(OpenError::corrupt(&older.path, "the end of a journal is gone that the next follows on"));
        }
        let (seq, meta) = (recovered.seq, recovered.meta.clone());
        recovered.frozen = Some(Frozen { seq, meta, changes: frozen });
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

fn changes(gen_dir: &Path, generation: u64, frame: &Frame) -> Result<Vec<Change>, OpenError> {
    match &frame.content {
        Content::Here(changes) => Ok(changes.clone()),
        Content::Spilled { len, hash } => spill::read(gen_dir, generation, frame.seq, *len, *hash),
    }
}

/// Hands over what sled holds with the pending changes on top, both in the order of the keys.
fn merge(gen_dir: &Path, sled: &Load, overlay: &Pending, load: &mut dyn FnMut(Key, &[u8])) -> Result<(), OpenError> {
    let mut overlay = overlay.iter().peekable();
    while let Some(piece) = sled.next().map_err(|e| open_error(gen_dir, e))? {
        for (key, value) in piece.iter() {
            while let Some((changed, new)) = overlay.next_if(|(changed, _)| **changed < key) {
                give(*changed, new, load);
            }
            match overlay.next_if(|(changed, _)| **changed == key) {
                Some((_, new)) => give(key, new, load),
                None => load(key, value),
            }
        }
    }
    for (changed, new) in overlay {
        give(*changed, new, load);
    }
    Ok(())
}

fn give(key: Key, value: Option<&[u8]>, load: &mut dyn FnMut(Key, &[u8])) {
    if let Some(value) = value {
        load(key, value);
    }
}
