//! Cuts the power of a recorded run again and again, in memory, and checks each state of the disk that may be left.
//!
//! A state is a function of the record, the seed and its number. The places of the cuts are those where something is at
//! stake: right after an acknowledgement, around a change of names, just before a sync ends, and anywhere else.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::BufReader;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use store::{Change, Key, Options, Store};

use crate::disk::{Disk, Medium};
use crate::script::{Promise, Settings};
use crate::trace::{Effect, Reader, TOP, Trace, What};
use crate::workload::{Random, Workload, digest, key};

/// So many failures are written out.
const FAILURES_SHOWN: usize = 20;
/// One state in so many is checked at length.
const AT_LENGTH: u64 = 8;
/// After so many checkpoints both copies of the content must be whole. Where sled was spoilt before the cut, it may open and
/// take one that it forgets; that shows at the next, which makes it anew.
const CHECKPOINTS: u32 = 2;
/// How often another place is looked for where nothing is at stake.
const LOOKS: u32 = 8;
/// So far around a change of names a cut may be.
const AROUND: u64 = 3;
/// Panics outside of sled. To the store, one of sled's is damage of its content, and good if nothing was lost by it.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// What is to be replayed and how.
pub(crate) struct Plan {
    /// What strace wrote.
    pub(crate) record: PathBuf,
    /// The directory that was recorded, as it was left in the end; the store is in its `store`.
    pub(crate) top: PathBuf,
    /// What that directory held when the record began; nothing if this is none.
    pub(crate) before: Option<PathBuf>,
    /// Where states may be written, best in memory.
    pub(crate) scratch: PathBuf,
    pub(crate) states: u64,
    pub(crate) seed: u64,
    /// This one alone.
    pub(crate) only: Option<u64>,
}

/// A state to be checked.
struct Cut {
    number: u64,
    step: usize,
    promise: Promise,
}

/// For every commit, what [`Workload::digests`] says of the content.
type Models = Vec<(u64, usize)>;

/// Checks the states and says what came of it; false if one of them failed.
pub(crate) fn replay(plan: &Plan) -> Result<bool, Box<dyn Error>> {
    let trace = read(plan)?;
    describe(&trace);
    let (cuts, lossy) = choose(&trace, &promises(&trace), plan);
    let last = cuts.iter().map(|cut| cut.promise).max_by_key(|promise| promise.begun);
    let Promise { workload, begun, .. } = last.ok_or("the writer never opened a store")?;
    let models = workload.digests(begun);
    panic::set_hook(Box::new(|info| {
        if !info.location().is_some_and(|place| place.file().contains("sled-")) {
            PANICS.fetch_add(1, Ordering::Relaxed);
            eprintln!("{info}");
        }
    }));
    let (started, failures) = (Instant::now(), Mutex::new(BTreeMap::new()));
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for job in 0..jobs {
            let (trace, models, cuts, failures) = (&trace, &models, &cuts, &failures);
            scope.spawn(move || {
                let dir = plan.scratch.join(format!("state-{job}"));
                let mut disk = Disk::new(trace);
                for cut in cuts.iter().skip(job).step_by(jobs) {
                    disk.go_to(cut.step);
                    if let Err(error) = check(&disk, cut, plan, &dir, models) {
                        failures.lock().expect("nothing panics with it").insert(cut.number, error.to_string());
                    }
                }
            });
        }
    });
    let _ = panic::take_hook();
    let failures = failures.into_inner()?;
    for (number, error) in failures.iter().take(FAILURES_SHOWN) {
        println!("seed {} state {number}: {error}", plan.seed);
    }
    let (all, passed) = (cuts.len(), cuts.len() - failures.len());
    let rate = all as f64 / started.elapsed().as_secs_f64();
    println!("{passed} of {all} states passed, {rate:.0} a second; in {lossy} of them something could be lost");
    let panics = PANICS.load(Ordering::Relaxed);
    if panics > 0 {
        println!("{panics} panics");
    }
    Ok(failures.is_empty() && panics == 0)
}

/// Writes the states out instead of checking them: each into a directory named by its number, in which `before` is the state
/// and `promise` says what was promised.
pub(crate) fn keep(plan: &Plan) -> Result<bool, Box<dyn Error>> {
    let trace = read(plan)?;
    let mut disk = Disk::new(&trace);
    for cut in choose(&trace, &promises(&trace), plan).0 {
        disk.go_to(cut.step);
        let dir = plan.scratch.join(cut.number.to_string());
        fs::create_dir_all(dir.join("before"))?;
        let (medium, mut random) = medium_of(plan.seed, cut.number);
        disk.cut(medium, &mut random).write_to(&dir.join("before"))?;
        fs::write(dir.join("promise"), cut.promise.text())?;
    }
    Ok(true)
}

fn read(plan: &Plan) -> Result<Trace, Box<dyn Error>> {
    let mut reader = Reader::new(plan.top.to_str().ok_or("a path that is no text")?);
    if let Some(before) = &plan.before {
        reader.before(TOP, before)?;
    }
    let trace = reader.read(BufReader::new(fs::File::open(&plan.record)?))?;
    same_in_the_end(&trace, &plan.top)?;
    Ok(trace)
}

/// That everything which was recorded, done again, gives what is really there shows that nothing was overlooked.
fn same_in_the_end(trace: &Trace, top: &Path) -> Result<(), Box<dyn Error>> {
    let mut disk = Disk::new(trace);
    disk.go_to(trace.steps.len());
    let differ = disk.cut(Medium::perfect(), &mut Random::new(0)).differences(top)?;
    match differ.first() {
        None => Ok(()),
        Some(first) => {
            Err(format!("the record does not lead to what is there: {} differ, {first} first", differ.len()).into())
        }
    }
}

/// What had been promised after each step; nothing before the store was first opened.
fn promises(trace: &Trace) -> Vec<Option<Promise>> {
    let (mut workload, mut now) = (Workload { salt: 0 }, None::<Promise>);
    let after = |step: &crate::trace::Step| {
        if let What::Said(text) = &step.what {
            let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
            match (word, &mut now) {
                ("salt", _) => workload.salt = rest.parse().unwrap_or(0),
                ("open", now) => {
                    if let Some(settings) = Settings::parse(rest) {
                        let (acked, begun) = now.map_or((0, 0), |now| (now.acked, now.begun));
                        *now = Some(Promise { workload, acked, begun, settings });
                    }
                }
                ("begin", Some(now)) => now.begun = rest.parse().unwrap_or(now.begun),
                ("ack", Some(now)) => now.acked = rest.parse().unwrap_or(now.acked),
                _ => {}
            }
        }
        now
    };
    trace.steps.iter().map(after).collect()
}

fn describe(trace: &Trace) {
    let mut tally: BTreeMap<String, u64> = BTreeMap::new();
    let mut bytes = 0;
    for step in &trace.steps {
        let what = match &step.what {
            What::Effect(Effect::Write { data, .. }) => {
                bytes += data.len();
                "writes".into()
            }
            What::Effect(Effect::Resize { .. }) => "resizes".into(),
            What::Effect(Effect::Name(_)) => "changes of names".into(),
            What::Sync { .. } => "syncs".into(),
            What::Said(text) => text.strip_prefix("saw ").or(text.split(' ').next()).unwrap_or_default().to_owned(),
        };
        *tally.entry(what).or_default() += 1;
    }
    let parts: Vec<String> = tally.iter().map(|(what, count)| format!("{count} {what}")).collect();
    println!("recorded: {}, {bytes} bytes", parts.join(", "));
}

/// The places of the cuts, in their order, and in how many of them something is at stake.
fn choose(trace: &Trace, promises: &[Option<Promise>], plan: &Plan) -> (Vec<Cut>, usize) {
    let mut disk = Disk::new(trace);
    let at_stake = |step| {
        disk.go_to(step);
        disk.at_stake()
    };
    let at_stake: Vec<usize> = (0..trace.steps.len()).map(at_stake).collect();
    let such = |is: &dyn Fn(&What) -> bool| -> Vec<usize> {
        (0..trace.steps.len()).filter(|step| is(&trace.steps[*step].what) && promises[*step].is_some()).collect()
    };
    let anywhere = such(&|_| true);
    let acks = such(&|what| matches!(what, What::Said(text) if text.starts_with("ack ")));
    let syncs = such(&|what| matches!(what, What::Sync { .. }));
    let names = such(&|what| matches!(what, What::Effect(Effect::Name(_))));
    let place = |random: &mut Random| match random.next(10) {
        0..3 if !acks.is_empty() => *random.pick(&acks),
        3..5 if !syncs.is_empty() => random.pick(&syncs).saturating_sub(1),
        5..8 if !names.is_empty() => {
            (*random.pick(&names) + random.next(2 * AROUND + 1) as usize).saturating_sub(AROUND as usize)
        }
        _ => *random.pick(&anywhere),
    };
    let choose_one = |number| {
        let mut random = random_of(plan.seed, number);
        for _ in 0..LOOKS {
            let step = place(&mut random);
            if let Some(Some(promise)) = promises.get(step)
                && at_stake[step] > 0
            {
                return Some(Cut { number, step, promise: *promise });
            }
        }
        let step = *anywhere.last()?;
        Some(Cut { number, step, promise: promises[step]? })
    };
    let numbers = (0..plan.states).filter(|number| plan.only.is_none_or(|only| only == *number));
    let mut cuts: Vec<Cut> = numbers.filter_map(choose_one).collect();
    cuts.sort_by_key(|cut| cut.step);
    let lossy = cuts.iter().filter(|cut| at_stake[cut.step] > 0).count();
    (cuts, lossy)
}

fn random_of(seed: u64, number: u64) -> Random {
    Random::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number))
}

fn medium_of(seed: u64, number: u64) -> (Medium, Random) {
    let mut random = Random::new(random_of(seed, number).next(u64::MAX));
    (Medium::any(&mut random), random)
}

/// Writes one state out and checks it.
fn check(disk: &Disk<'_>, cut: &Cut, plan: &Plan, dir: &Path, models: &Models) -> Result<(), Box<dyn Error>> {
    let (medium, mut random) = medium_of(plan.seed, cut.number);
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir)?;
    disk.cut(medium, &mut random).write_to(dir)?;
    let (store, at_length) = (dir.join("store"), cut.number.is_multiple_of(AT_LENGTH));
    let verdict = panic::catch_unwind(AssertUnwindSafe(|| verdict(&store, cut.promise, models, at_length)));
    let _ = fs::remove_dir_all(dir);
    let verdict = verdict.unwrap_or_else(|_| Err("it panics".into()));
    verdict.map_err(|error| {
        let Promise { acked, begun, .. } = cut.promise;
        format!(
            "{error} (cut after step {} of {}, commit {acked} acknowledged, {begun} begun, {medium:?})",
            cut.step,
            disk.steps()
        )
        .into()
    })
}

/// What was found in a store: the number of its last commit, and what [`Workload::digests`] would say of the content.
type Found = (Option<u64>, u64, usize);

fn open(dir: &Path, options: Options) -> Result<(Store, Found), Box<dyn Error>> {
    let (mut sum, mut count, mut before) = (0_u64, 0, None);
    let mut in_order = true;
    let (store, meta) = Store::open(dir, options, &mut |key: Key, value| {
        in_order &= before < Some(key);
        before = Some(key);
        sum = sum.wrapping_add(digest(&key, value));
        count += 1;
    })?;
    if !in_order {
        return Err("records came out of order or twice".into());
    }
    if let Some(report) = store.reports().last().filter(|report| report.lost) {
        return Err(format!("it says that it lost something: {}", report.text).into());
    }
    let number = meta.map(|meta| meta.as_slice().try_into().map(u64::from_le_bytes)).transpose()?;
    Ok((store, (number, sum, count)))
}

/// Opens what a cut left, as often as it takes to see that nothing is lost, nothing is mixed, and it goes on from there.
fn verdict(dir: &Path, promise: Promise, models: &Models, at_length: bool) -> Result<(), Box<dyn Error>> {
    let Promise { acked, begun, settings, .. } = promise;
    let (store, found) = open(dir, settings.options())?;
    let number = found.0.unwrap_or(0);
    if number < acked {
        return Err(format!("commit {acked} was acknowledged, the store is at {number}").into());
    }
    if number > begun {
        return Err(format!("the store is at {number}, nothing after {begun} was begun").into());
    }
    if models.get(usize::try_from(number)?) != Some(&(found.1, found.2)) {
        return Err(format!("the content is not that of commit {number}").into());
    }
    drop(store);
    let (mut store, again) = open(dir, settings.options())?;
    if again != found {
        return Err(format!("a second opening finds commit {:?}, the first found {number}", again.0).into());
    }
    let (meta, value) = (u64::MAX.to_le_bytes(), &b"after"[..]);
    let put = |n: u64| vec![Change { key: key(n), value: Some(Arc::from(value)) }];
    if at_length {
        drop(store);
        let mut whole = Ok(());
        for _ in 0..CHECKPOINTS {
            let mut store = open(dir, Options { checkpoint_commits: 1, ..settings.options() })?.0;
            for n in 2..6 {
                store.commit(&meta, put(n))?;
            }
            // Closing waits for the checkpoint, and for what it heals.
            drop(store);
            whole = open(dir, settings.options())?.0.verify();
            if whole.is_ok() {
                break;
            }
        }
        whole?;
        store = open(dir, settings.options())?.0;
    }
    store.commit(&meta, put(1))?;
    drop(store);
    let (mut store, (number, ..)) = open(dir, settings.options())?;
    if number != Some(u64::MAX) || store.get(key(1))?.as_deref() != Some(value) {
        return Err("it does not go on".into());
    }
    Ok(())
}
