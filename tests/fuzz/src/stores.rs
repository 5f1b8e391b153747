//! What a store reads from its files, behind the hashes: see `store::fuzzing`.

use crate::plant;
use std::cell::OnceCell;
use store::fuzzing;
use tempfile::TempDir;

thread_local! {
    static DIR: OnceCell<TempDir> = const { OnceCell::new() };
}

pub(crate) fn frame(input: &[u8]) {
    plant(fuzzing::frame(input) == Some(2), "store_frame");
}

pub(crate) fn record(input: &[u8]) {
    plant(fuzzing::record(input).is_some_and(|meta| meta.starts_with(b"n")), "store_record");
}

/// In memory where the system has a place for files there: a fuzzer writes thousands a second.
pub(crate) fn run(input: &[u8]) {
    let make = || tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a place for a file");
    let records = DIR.with(|dir| fuzzing::run(dir.get_or_init(make).path(), input));
    plant(records == Some(2), "store_run");
}

pub(crate) fn frame_seeds() -> Vec<Vec<u8>> {
    let [frames, _, _] = fuzzing::seeds();
    frames
}

pub(crate) fn record_seeds() -> Vec<Vec<u8>> {
    let [_, records, _] = fuzzing::seeds();
    records
}

pub(crate) fn run_seeds() -> Vec<Vec<u8>> {
    let [_, _, runs] = fuzzing::seeds();
    runs
}
