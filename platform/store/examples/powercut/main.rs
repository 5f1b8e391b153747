//! Writers and checkers of the power-cut tests (`tests/powercut`).
//!
//! At block level: `powercut write DIR ACKS COMMITS` makes a stream of commits and appends a line to ACKS as soon as one is
//! durable; `powercut check DIR ACKED` opens what a power cut left, takes the number of the last commit from the meta, and
//! compares the whole content with what it computes for that number: nothing acknowledged may be lost, and nothing may be
//! half there.
//!
//! At the level of system calls: `powercut work TOP COMMITS SALT` is recorded by strace ([`trace`] says how) while it works in
//! TOP/store, and `powercut replay RECORD TOP SCRATCH STATES SEED` checks so many states in which a cut may have left that
//! directory ([`disk`] says which), a hundred in the time that a real disk takes for one. With `only N` it checks that state.
//! `powercut keep`, with the same arguments, writes them out below SCRATCH instead, and `powercut resume TOP PROMISE COMMITS`
//! recovers one of them and goes on, recorded again: `powercut replay ... before DIR` then cuts a recovery, which began
//! with what is in DIR.

mod disk;
mod replay;
mod script;
mod trace;
mod workload;

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use replay::Plan;
use script::Promise;
use store::{Change, Options, Store};
use workload::{Model, Workload, busy, encryption, key, mode};

/// Every so many commits the store is closed and opened.
const REOPEN_EVERY: u64 = 97;
/// What is written at block level.
const WORKLOAD: Workload = Workload { salt: 0 };

fn options() -> Options {
    busy(encryption(mode(), 0, None))
}

fn write(dir: &Path, acks: &str, commits: u64) -> Result<(), Box<dyn Error>> {
    let mut acks = OpenOptions::new().append(true).create(true).open(acks)?;
    let (mut store, _) = Store::open(dir, options(), &mut |_, _| {})?;
    for number in 1..=commits {
        let meta = number.to_le_bytes();
        if WORKLOAD.is_replacement(number) {
            let mut replacement = store.replace()?;
            for Change { key, value } in WORKLOAD.changes(number) {
                replacement.put(key, &value.unwrap_or_default())?;
            }
            replacement.finish(&meta)?;
        } else {
            store.commit(&meta, WORKLOAD.changes(number))?;
        }
        acks.write_all(b"ack\n")?;
        if number.is_multiple_of(REOPEN_EVERY) {
            drop(store);
            (store, _) = Store::open(dir, options(), &mut |_, _| {})?;
        }
    }
    Ok(())
}

fn check(dir: &Path, acked: u64) -> Result<(), Box<dyn Error>> {
    if acked == 0 && !dir.exists() {
        return Ok(());
    }
    let mut found = Model::new();
    let (mut store, meta) = Store::open(dir, options(), &mut |key, value| {
        found.insert(key, value.to_vec());
    })?;
    let number = match meta {
        None => 0,
        Some(meta) => u64::from_le_bytes(meta.as_slice().try_into()?),
    };
    if number < acked {
        return Err(format!("commit {acked} was acknowledged, the store is at {number}").into());
    }
    if found != WORKLOAD.model(number) {
        return Err(format!("the content is not that of commit {number}").into());
    }
    // What was recovered must go on working.
    store.commit(&u64::MAX.to_le_bytes(), vec![Change { key: key(1), value: Some(Arc::from(&b"after"[..])) }])?;
    drop(store);
    let (_, meta) = Store::open(dir, options(), &mut |_, _| {})?;
    if meta.as_deref() == Some(&u64::MAX.to_le_bytes()[..]) { Ok(()) } else { Err("it does not go on".into()) }
}

/// The arguments of `replay` and `keep`.
fn plan(args: &[&str]) -> Result<Plan, Box<dyn Error>> {
    let [record, top, scratch, states, seed, rest @ ..] = args else { return Err("too few arguments".into()) };
    let option = |name| rest.chunks(2).find_map(|pair| (pair.first() == Some(&name)).then(|| pair.get(1)).flatten());
    Ok(Plan {
        record: record.into(),
        top: top.into(),
        before: option("before").map(Into::into),
        scratch: scratch.into(),
        states: states.parse()?,
        seed: seed.parse()?,
        only: option("only").map(|only| only.parse()).transpose()?,
    })
}

fn run() -> Result<bool, Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let store_of = |top: &str| Path::new(top).join("store");
    match args.as_slice() {
        [_, "write", dir, acks, commits] => write(Path::new(dir), acks, commits.parse()?).map(|()| true),
        [_, "check", dir, acked] => check(Path::new(dir), acked.parse()?).map(|()| true),
        [_, "work", top, commits, salt] => {
            script::work(&store_of(top), commits.parse()?, Workload { salt: salt.parse()? }).map(|()| true)
        }
        [_, "resume", top, promise, commits] => {
            let promise = Promise::parse(&std::fs::read_to_string(promise)?).ok_or("not a promise")?;
            script::resume(&store_of(top), promise, commits.parse()?).map(|()| true)
        }
        [_, "replay", rest @ ..] => replay::replay(&plan(rest)?),
        [_, "keep", rest @ ..] => replay::keep(&plan(rest)?),
        _ => Err("powercut write | check | work | replay | keep | resume; see its source".into()),
    }
}

/// 1 is for what does not hold, 3 for what could not be tried.
fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("powercut: {error}");
            ExitCode::from(3)
        }
    }
}
