//! See crate `fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| (fuzz::find("store_peek").expect("it is in the list").run)(bytes));
