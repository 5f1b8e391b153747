//! Opens a store: which generation counts, which copy of its content is good, which commits are pending.
//!
//! The archive is read first: it needs no sled, no writing, and a fraction of the memory. Where it is missing, damaged or
//! behind, sled is read, and the archive written anew on the way. What a power cut can leave behind is swept up; what is
//! whole is used; and where no copy is whole, that is an error that names the file.

use std::path::Path;
use std::sync::{Arc, Weak};

use crate::archive::{self, Archive};
use crate::build::Builder;
use crate::cipher::{Cipher, What};
use crate::generation;
use crate::journal::{self, Journal, Pair};
use crate::layout::{self, Lock, generation_dir};
use crate::pending::{Overlay, Pending};
use crate::replay::{Recovered, pending};
use crate::report::{Meter, Progress, Report, Reports};
use crate::run::{Home, Span, Writer};
use crate::salvage;
use crate::scrub::Scrub;
use crate::seal::Root;
use crate::sled_thread::{DEADLINE, Load, Worker};
use crate::spill;
use crate::tree::{self, TreeError};
use crate::{CommitError, Key, OpenError, Options, Store, quarantine};

impl Store {
    /// Opens the store in `dir`, and creates it if there is none. Calls `load` for every record, in the order of the
    /// keys, and returns the meta of the last commit (`None` if there never was one).
    ///
    /// Every record is verified before `load` sees it; whether none is missing or out of date shows only at the end.
    /// So after an error, **whatever `load` was given must be discarded**.
    ///
    /// On a read-only file system a store opens as far as its archive and journals are whole, nothing is written, and
    /// commits fail with [`CommitError::ReadOnly`] until they can be written.
    ///
    /// # Errors
    /// See [`OpenError`]; [`OpenError::is_corrupt`] is the case for [`crate::quarantine`].
    pub fn open(
        dir: &Path,
        options: Options,
        load: &mut dyn FnMut(Key, &[u8]),
    ) -> Result<(Store, Option<Vec<u8>>), OpenError> {
        let lock = layout::lock(dir)?;
        let writable = !lock.is_read_only();
        if writable {
            quarantine::finish(dir).map_err(|e| OpenError::io(dir, e))?;
        }
        let reports = options.reports.clone();
        let mut generation = generation::in_use(dir, &options, writable, &reports)?;
        let mut worker = Worker::start().map_err(|e| OpenError::io(dir, e))?;
        let mut found = find(dir, generation, &options, writable, &mut worker);
        if let Err(error) = &found
            && error.is_corrupt()
            && writable
            && options.salvage
            && let Some(next) = salvage::last_good(dir, generation, &options, &mut worker, error, &reports)?
        {
            generation = next;
            found = find(dir, generation, &options, writable, &mut worker);
        }
        let found = found?;
        if writable {
            generation::remove_others(dir, generation)?;
        }
        Opening { dir, generation, lock, options, worker, reports }.finish(found, load)
    }
}

/// Where the content is read from.
enum Source {
    Archive(Archive),
    /// And what is wrong with the archive, unless there is none or it is only behind.
    Sled(Load, Option<String>),
}

/// What was found of a generation: a copy of the content, and what the journals add to it.
struct Whole {
    cipher: Cipher,
    pair: Pair,
    source: Source,
    root: Root,
    recovered: Recovered,
    meter: Meter,
}

fn find(
    dir: &Path,
    generation: u64,
    options: &Options,
    writable: bool,
    worker: &mut Worker,
) -> Result<Whole, OpenError> {
    let gen_dir = generation_dir(dir, generation);
    let cipher = Cipher::load(&gen_dir, &options.encryption)?;
    let pair = journal::read(&gen_dir, generation)?;
    let home = Home::new(&gen_dir, generation, &cipher);
    let with_archive = |archive: Archive| {
        let root = archive.root().clone();
        let recovered = pending(&gen_dir, generation, &pair, &root)?;
        Ok::<_, OpenError>((archive, root, recovered))
    };
    let unusable = match whole_archive(&home, writable, &options.progress) {
        Ok(Some((archive, meter))) => match with_archive(archive) {
            Ok((archive, root, recovered)) => {
                return Ok(Whole { cipher, pair, source: Source::Archive(archive), root, recovered, meter });
            }
            Err(error) => {
                // It may be behind, as an earlier release leaves it, which knows nothing of archives.
                tracing::warn!(%error, "store: the archive cannot be used");
                (!error.is_corrupt()).then_some(error)
            }
        },
        Ok(None) => {
            tracing::info!("store: there is no archive yet");
            None
        }
        Err(error) => {
            tracing::warn!(%error, "store: the archive cannot be used");
            Some(error)
        }
    };
    if !writable {
        // sled writes when it opens.
        return Err(OpenError::ReadOnly(dir.into()));
    }
    let from_sled = start_load(worker, dir, &gen_dir, generation)
        .and_then(|(sled, root)| Ok((pending(&gen_dir, generation, &pair, &root)?, sled, root)));
    match (from_sled, unusable) {
        (Ok((recovered, sled, root)), unusable) => {
            let source = Source::Sled(sled, unusable.map(|error| error.to_string()));
            let meter = Meter::new(&options.progress, root.records);
            Ok(Whole { cipher, pair, source, root, recovered, meter })
        }
        // What could not be read may be whole all the same: without the other copy that is no reason to give it up.
        (Err(error), Some(unread)) if error.is_corrupt() && !unread.is_corrupt() => Err(unread),
        (Err(error), _) => Err(error),
    }
}

/// The archive, every chunk of it verified by its hash; none if there is none.
fn whole_archive(home: &Home, writable: bool, progress: &Progress) -> Result<Option<(Archive, Meter)>, OpenError> {
    let gen_dir = &home.dir;
    let wrong = |error: TreeError| match error {
        TreeError::Corrupt(what) => OpenError::corrupt(gen_dir, what),
        TreeError::Io(error) => OpenError::io(gen_dir, error),
    };
    let Some(archive) = Archive::open(home).map_err(wrong)? else { return Ok(None) };
    let (mut meter, all) = (Meter::new(progress, archive.root().records), archive.bytes());
    archive.verify(&mut |read| meter.hashed(read, all)).map_err(wrong)?;
    if writable {
        // A process killed between a rename and the sync of it leaves that to us.
        let settled = archive.settle().and_then(|()| layout::sync_dir(gen_dir));
        settled.map_err(|e| OpenError::io(gen_dir, e))?;
    }
    Ok(Some((archive, meter)))
}

/// An opening that has found what to load.
struct Opening<'a> {
    dir: &'a Path,
    generation: u64,
    lock: Lock,
    options: Options,
    worker: Worker,
    reports: Reports,
}

impl Opening<'_> {
    fn finish(self, found: Whole, load: &mut dyn FnMut(Key, &[u8])) -> Result<(Store, Option<Vec<u8>>), OpenError> {
        let Opening { dir, generation, lock, options, worker, reports } = self;
        let Whole { cipher, pair, source, root, recovered, mut meter } = found;
        let Recovered { frozen, recent, seq, meta } = recovered;
        let (gen_dir, writable) = (generation_dir(dir, generation), !lock.is_read_only());
        let overlay = frozen.as_ref().map(|frozen| frozen.changes.clone()).unwrap_or_default().with(&recent);
        let said = opened_meta(&gen_dir, &cipher, meta.as_deref())?;
        let mut anew = if writable { start_anew(dir, generation, &options, &cipher)? } else { None };
        let mut sealed_wrong = None;
        let home = Home::new(&gen_dir, generation, &cipher);
        let (archive, mended) = read(&home, source, &root, &overlay, &mut |key, kept| {
            meter.record();
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
        let journal = Journal::open(&gen_dir, generation, &pair.newer, writable);
        let mut journal = journal.map_err(|e| OpenError::io(&gen_dir, e))?;
        if seq > pair.newer.last() && writable {
            // The checkpoint has everything and more: this journal's end is gone, so it cannot be continued.
            journal = journal.next(&gen_dir, seq).map_err(|e| OpenError::io(&gen_dir, e))?;
        }
        if let Some(text) = mended {
            tracing::warn!(text, "store: healed");
            reports.set(Report { text, lost: false });
        }
        if writable {
            archive.iter().for_each(Archive::sweep);
            spill::remove_up_to(&gen_dir, root.seq);
            layout::keep_reserve(dir);
        }
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
            patience: DEADLINE,
            compaction: None,
            scrub: Scrub::default(),
            mending: None,
            healing: None,
            anew: None,
            stuck: false,
            left_out: 0,
            builder: Weak::new(),
            checkpoint: None,
            root,
            archive: archive.map(Arc::new),
            failure: None,
            turning: false,
            unsure: false,
            read_only: !writable,
            reports,
            lock,
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

/// Hands over the content with the pending changes on top, in the order of the keys, and returns the archive: the one it
/// was read from, or one written anew from sled on the way, and then what was wrong with the one before.
fn read(
    home: &Home,
    source: Source,
    root: &Root,
    overlay: &Pending,
    load: &mut dyn FnMut(Key, &[u8]),
) -> Result<(Option<Archive>, Option<String>), OpenError> {
    let gen_dir = &home.dir;
    let mut overlay = Overlay::new(overlay);
    let mut take = |key: Key, value: &[u8]| {
        load(key, value);
        Ok::<(), TreeError>(())
    };
    let archive = match source {
        Source::Archive(archive) => {
            let walked = archive.walk(&mut |key, value| overlay.record(key, value, &mut take));
            walked.map(|()| (Some(archive), None))
        }
        Source::Sled(sled, damage) => {
            let mut writer = Writer::create(home, Span { from: 0, to: root.seq });
            let mut walk = || {
                while let Some(piece) = sled.next()? {
                    for (key, value) in piece.iter() {
                        overlay.record(key, value, &mut take)?;
                        if let Ok(run) = &mut writer
                            && let Err(error) = run.put(&key, Some(value))
                        {
                            writer = Err(error);
                        }
                    }
                }
                Ok(())
            };
            let walked: Result<(), TreeError> = walk();
            walked.map(|()| {
                let aside = if damage.is_some() { archive::set_bad_aside(home) } else { Vec::new() };
                let written = writer.and_then(|run| run.finish(root));
                let mended = damage.map(|what| archive_mended(&what, &aside, written.is_ok()));
                let archive = written.inspect_err(|error| {
                    tracing::warn!(%error, "store: no archive can be written now; the next checkpoint tries again");
                });
                (archive.ok().map(|base| Archive::new(home, base)), mended)
            })
        }
    };
    let archive = archive.map_err(|e| open_error(gen_dir, e))?;
    overlay.end(&mut take).map_err(|e| open_error(gen_dir, e))?;
    Ok(archive)
}

/// What to report of an archive that could not be used.
fn archive_mended(what: &str, aside: &[String], is_written: bool) -> String {
    let mut text = format!("the archive could not be used ({what})");
    if !aside.is_empty() {
        text = format!("{text}, {} set aside", aside.join(" and "));
    }
    let done = if is_written { "it was made anew from sled" } else { "the next checkpoint makes it anew from sled" };
    format!("{text}; {done}; nothing was lost")
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

/// Starts reading sled; on a full disk, with the space that was set aside for this.
fn start_load(worker: &mut Worker, dir: &Path, gen_dir: &Path, generation: u64) -> Result<(Load, Root), OpenError> {
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
