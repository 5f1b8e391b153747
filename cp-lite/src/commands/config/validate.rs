//! `config validate`: whether a file could be applied, without a control plane.

use super::{counted, load, print};
use model::declarative::Declared;
use model::kind;
use os::exit::ExitError;
use std::io::Write;
use std::path::Path;

/// Prints every mistake of a declarative file as `FILE:line:column: …`, or what it holds.
///
/// # Errors
/// The file has mistakes (78) or cannot be read.
pub fn validate(file: &Path, out: &mut dyn Write) -> Result<(), ExitError> {
    let declared = load(file, out)?;
    print(out, format_args!("ok: {}\n", contents(&declared)))
}

/// `6 services, 14 routes, 3 plugins`.
fn contents(declared: &Declared) -> String {
    let mut counts = Vec::new();
    for def in kind::ALL {
        let count = declared.entities.iter().filter(|entity| entity.kind == def.kind).count();
        if count > 0 {
            counts.push(counted(count, def.name.trim_end_matches('s')));
        }
    }
    if counts.is_empty() { "no entities".to_owned() } else { counts.join(", ") }
}
