//! The writer whose system calls are recorded: everything that a store does to its directory, in one run of it.
//!
//! Commits, checkpoints and runs of the archive, spill files, replacements and compactions come by themselves. Every so
//! many commits the store is closed and something happens to it before it is opened again: its secret is replaced, its
//! encryption changed, one of its two copies rots. What it says on standard output is in the record too, in its exact
//! place among the writes and syncs: the settings in force, which commit is begun, which is acknowledged.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use store::{Change, Mode, Options, Store};

use crate::workload::{Workload, busy, encryption, mode};

/// Every so many commits something happens.
const EVENT_EVERY: u64 = 31;
/// Every so many commits the writer waits for a compaction: a burst of commits would overtake each.
const REST_EVERY: u64 = 13;
/// For how long.
const REST: Duration = Duration::from_millis(60);
const LOOK: Duration = Duration::from_millis(2);

/// What happens to a store that is closed.
#[derive(Clone, Copy)]
enum Event {
    Nothing,
    /// sled is gone: it is made anew from the archive.
    LoseSled,
    /// sled's file holds something else.
    SpoilSled,
    /// The archive is gone: it is made anew from sled.
    LoseArchive,
    /// One bit of each run is another.
    SpoilArchive,
    LoseCurrent,
    LoseMarker,
    /// The content is written anew, encrypted otherwise.
    OtherMode,
    OwnMode,
    /// A new secret, with the former one still named.
    NewSecret,
    /// It is not named any more.
    ForgetFormer,
}

const EVENTS: [Event; 13] = [
    Event::Nothing,
    Event::LoseSled,
    Event::NewSecret,
    Event::LoseArchive,
    Event::OtherMode,
    Event::ForgetFormer,
    Event::SpoilSled,
    Event::NewSecret,
    Event::LoseCurrent,
    Event::ForgetFormer,
    Event::OwnMode,
    Event::SpoilArchive,
    Event::LoseMarker,
];

/// How the store is to be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Settings {
    mode: Mode,
    secret: u64,
    former: Option<u64>,
}

impl Settings {
    fn first() -> Settings {
        Settings { mode: mode(), secret: 0, former: None }
    }

    fn text(self) -> String {
        let former = self.former.map_or_else(|| "-".into(), |former| former.to_string());
        format!("{} {} {former}", self.mode.name(), self.secret)
    }

    fn say(self) {
        println!("open {}", self.text());
    }

    /// What follows on `open` in a line of the writer's.
    pub(crate) fn parse(text: &str) -> Option<Settings> {
        let mut words = text.split(' ');
        let (mode, secret, former) = (words.next()?, words.next()?, words.next()?);
        Some(Settings { mode: Mode::parse(mode)?, secret: secret.parse().ok()?, former: former.parse().ok() })
    }

    /// The options that these are.
    pub(crate) fn options(self) -> Options {
        busy(encryption(self.mode, self.secret, self.former))
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::OtherMode if self.mode == Mode::Aes256Gcm => self.mode = Mode::Off,
            Event::OtherMode => self.mode = Mode::Aes256Gcm,
            Event::OwnMode => self.mode = mode(),
            Event::NewSecret => (self.secret, self.former) = (self.secret + 1, Some(self.secret)),
            Event::ForgetFormer => self.former = None,
            _ => {}
        }
    }
}

/// What a writer had promised at some moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promise {
    /// The stream of commits.
    pub(crate) workload: Workload,
    /// The last commit acknowledged.
    pub(crate) acked: u64,
    /// The last one begun.
    pub(crate) begun: u64,
    /// How the store is to be opened.
    pub(crate) settings: Settings,
}

impl Promise {
    /// In words.
    pub(crate) fn text(self) -> String {
        format!("{} {} {} {}", self.workload.salt, self.acked, self.begun, self.settings.text())
    }

    /// What [`Promise::text`] says.
    pub(crate) fn parse(text: &str) -> Option<Promise> {
        let mut words = text.trim().splitn(4, ' ');
        let mut number = || words.next()?.parse().ok();
        let (workload, acked, begun) = (Workload { salt: number()? }, number()?, number()?);
        Some(Promise { workload, acked, begun, settings: Settings::parse(words.next()?)? })
    }
}

/// Makes `commits` commits in a new store in `dir`, and says on standard output what and when.
pub(crate) fn work(dir: &Path, commits: u64, workload: Workload) -> Result<(), Box<dyn Error>> {
    let settings = Settings::first();
    println!("salt {}", workload.salt);
    settings.say();
    carry_on(dir, workload, settings, commits)
}

/// The same in what a cut left, of which a [`Promise`] says what must be there.
pub(crate) fn resume(dir: &Path, promise: Promise, commits: u64) -> Result<(), Box<dyn Error>> {
    println!("salt {}", promise.workload.salt);
    promise.settings.say();
    println!("begin {}", promise.begun);
    println!("ack {}", promise.acked);
    carry_on(dir, promise.workload, promise.settings, commits)
}

fn carry_on(dir: &Path, workload: Workload, mut settings: Settings, commits: u64) -> Result<(), Box<dyn Error>> {
    let open = |settings: Settings| {
        let options = Options { checkpoint_commits: 12, compaction_floor: 0, ..settings.options() };
        Store::open(dir, options, &mut |_, _| {})
    };
    let (mut store, meta) = open(settings)?;
    let before = meta.map_or(Ok(0), |meta| meta.as_slice().try_into().map(u64::from_le_bytes))?;
    // What was found stays, acknowledged or not.
    println!("ack {before}");
    for number in before + 1..=before + commits {
        if number.is_multiple_of(EVENT_EVERY) {
            let event = EVENTS[(number / EVENT_EVERY + workload.salt) as usize % EVENTS.len()];
            drop(store);
            damage(dir, event)?;
            settings.happen(event);
            settings.say();
            store = open(settings)?.0;
        }
        println!("begin {number}");
        let meta = number.to_le_bytes();
        if workload.is_replacement(number) {
            let mut replacement = store.replace()?;
            for Change { key, value } in workload.changes(number) {
                replacement.put(key, &value.unwrap_or_default())?;
            }
            replacement.finish(&meta)?;
            println!("saw replacement");
        } else {
            store.commit(&meta, workload.changes(number))?;
        }
        println!("ack {number}");
        if number.is_multiple_of(REST_EVERY) {
            rest(&mut store);
        }
    }
    Ok(())
}

/// Lets a compaction or a healing come to its end, if there is one.
fn rest(store: &mut Store) {
    let (generation, healed, until) = (store.info().generation, store.reports().last(), Instant::now() + REST);
    while Instant::now() < until {
        if store.info().generation != generation {
            println!("saw {}", if store.reports().last() == healed { "compaction" } else { "healing" });
            return;
        }
        std::thread::sleep(LOOK);
    }
}

/// Does to a closed store what the event is, after everything in it has come to rest on the medium: what rots has been
/// lying there.
fn damage(dir: &Path, event: Event) -> Result<(), Box<dyn Error>> {
    let generation = generation(dir)?;
    match event {
        Event::Nothing | Event::OtherMode | Event::OwnMode | Event::NewSecret | Event::ForgetFormer => return Ok(()),
        _ => settle(dir)?,
    }
    match event {
        Event::LoseSled => fs::remove_dir_all(generation.join("sled"))?,
        Event::SpoilSled => fs::write(generation.join("sled/db"), b"nothing of ours")?,
        Event::LoseArchive => runs(&generation)?.iter().try_for_each(fs::remove_file)?,
        Event::SpoilArchive => runs(&generation)?.iter().try_for_each(|path| flip(path))?,
        Event::LoseCurrent => fs::remove_file(dir.join("CURRENT"))?,
        Event::LoseMarker => fs::remove_file(generation.join("provisioned"))?,
        _ => {}
    }
    println!("saw damage");
    Ok(())
}

fn flip(path: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let at = file.metadata()?.len() / 2;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&[byte[0] ^ 4], at)
}

fn settle(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { settle(&path)? } else { File::open(path)?.sync_all()? }
    }
    File::open(dir)?.sync_all()
}

fn named(dir: &Path, prefix: &str) -> std::io::Result<Vec<PathBuf>> {
    let paths: Result<Vec<PathBuf>, _> = fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path())).collect();
    let has_prefix = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
    Ok(paths?.into_iter().filter(has_prefix).collect())
}

/// The one generation of a closed store.
fn generation(dir: &Path) -> Result<PathBuf, Box<dyn Error>> {
    named(dir, "gen-")?.pop().ok_or_else(|| "the store has no generation".into())
}

fn runs(generation: &Path) -> std::io::Result<Vec<PathBuf>> {
    named(generation, "run-")
}
