//! Every target of crate `fuzz` in one program: `EDGE_FUZZ_TARGET` names the one that gets the inputs. See `../run`.
#![no_main]

use fuzz::Target;
use std::sync::LazyLock;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("EDGE_FUZZ_TARGET").unwrap_or_default();
    fuzz::find(&name).unwrap_or_else(|| {
        let names: Vec<_> = fuzz::ALL.iter().map(|target| target.name).collect();
        eprintln!("EDGE_FUZZ_TARGET is {name:?} and has to be one of {}", names.join(" "));
        std::process::exit(64)
    })
});

libfuzzer_sys::fuzz_target!(init: { LazyLock::force(&TARGET); }, |bytes: &[u8]| (TARGET.run)(bytes));
