//! What a store reads from its files, behind the hashes: see `store::fuzzing`.

use crate::plant;
use std::cell::OnceCell;
use std::path::Path;
use store::Mode;
use store::fuzzing::{self, Small};
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

pub(crate) fn run(input: &[u8]) {
    plant(in_dir(|dir| fuzzing::run(dir, input)) == Some(2), "store_run");
}

pub(crate) fn sealed(input: &[u8]) {
    plant(in_dir(|dir| fuzzing::sealed_run(dir, input)) == Some(2), "store_sealed");
}

pub(crate) fn journals(input: &[u8]) {
    plant(in_dir(|dir| fuzzing::journals(dir, input)) == Some(3), "store_journal");
}

/// Records that are all sound, but not those that the root counts.
pub(crate) fn peek(input: &[u8]) {
    let wrong = in_dir(|dir| fuzzing::peek(dir, input)).err();
    plant(wrong.is_some_and(|wrong| wrong.contains("not those of the root")), "store_peek");
}

pub(crate) fn small(input: &[u8]) {
    let small = in_dir(|dir| fuzzing::small(dir, input));
    plant(small == Some(Small::Key(Mode::Chacha20Poly1305, false)), "store_small");
}

/// In memory where the system has a place for files there: a fuzzer writes thousands a second.
fn in_dir<T>(run: impl FnOnce(&Path) -> T) -> T {
    let make = || tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a place for a file");
    DIR.with(|dir| run(dir.get_or_init(make).path()))
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

pub(crate) fn sealed_seeds() -> Vec<Vec<u8>> {
    fuzzing::sealed_run_seeds()
}

pub(crate) fn journals_seeds() -> Vec<Vec<u8>> {
    fuzzing::journals_seeds()
}

pub(crate) fn peek_seeds() -> Vec<Vec<u8>> {
    let dir = tempfile::tempdir().expect("a place for a store");
    fuzzing::peek_seeds(dir.path())
}

pub(crate) fn small_seeds() -> Vec<Vec<u8>> {
    fuzzing::small_seeds()
}
