//! `cp-lite config`: declarative files, offline and against a running control plane.
//!
//! [`validate`] and [`convert`] need no control plane; [`dump`], [`export`], [`diff`] and [`apply`] talk to its Admin API through
//! [`admin_client`]. What differs between a file and a control plane is found by [`plan`] and shown by [`changes`].
//! [`kong_conf`] turns Kong's settings into ours. Every command prints to a sink that it is given and ends with
//! nothing or an [`ExitError`].

pub(super) mod admin_client;
mod apply;
mod changes;
mod convert;
mod diff;
mod dump;
mod export;
mod kong_conf;
#[cfg(test)]
mod online_tests;
mod plan;
#[cfg(test)]
mod tests;
mod validate;

pub use apply::{Apply, apply};
pub use convert::{Convert, convert};
pub use diff::{Diff, diff};
pub use dump::{Dump, dump};
pub use export::export;
pub use kong_conf::GATEWAY_KEYS;
pub use validate::validate;

use crate::admin::X509;
use model::Id;
use model::declarative::{Declared, FILE_BYTES_MAX, Format, Layout, Mistake, read};
use model::schema::CheckCx;
use os::exit::{Exit, ExitError};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// The Admin API that `dump`, `diff` and `apply` talk to unless told otherwise.
pub const ADMIN_URL_DEFAULT: &str = "http://127.0.0.1:8001";

/// The name that means standard input.
const STDIN: &str = "-";

/// Permissions of files that are written: they hold keys.
const FILE_MODE: u32 = 0o600;

/// Reads a declarative file. Its mistakes are printed, each with the file's name, line and column.
fn load(file: &Path, out: &mut dyn Write) -> Result<Declared, ExitError> {
    let text = read_text(file)?;
    let format = Format::of_name(&file.to_string_lossy());
    match read_declared(&text, format) {
        Ok(declared) => Ok(declared),
        Err(mistakes) => {
            for mistake in &mistakes {
                print(out, format_args!("{}:{mistake}\n", file.display()))?;
            }
            let count = counted(mistakes.len(), "mistake");
            Err(ExitError::config(format!("{}: {count}", file.display())))
        }
    }
}

fn read_declared(text: &str, format: Option<Format>) -> Result<Declared, Vec<Mistake>> {
    let new_id = Id::random;
    read(
        text,
        format,
        &CheckCx { now_ms: now_ms(), new_id: &new_id, certificates: Some(&X509), keeps_updated_at: true },
    )
}

/// The whole text of a file, or of standard input for `-`.
fn read_text(file: &Path) -> Result<String, ExitError> {
    let bytes_max = FILE_BYTES_MAX as u64;
    let failed = |error: io::Error| ExitError::from_io(file.display(), &error);
    let bytes = if file.as_os_str() == STDIN {
        let mut bytes = Vec::new();
        io::stdin().take(bytes_max + 1).read_to_end(&mut bytes).map_err(failed)?;
        bytes
    } else {
        os::file::read_bounded(file, bytes_max).map_err(failed)?
    };
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        ExitError::config(format!("{}: not UTF-8 text (byte {at})", file.display()))
    })
}

/// Writes to a file, or to the sink where there is none.
fn deliver(text: &str, to: Option<&Path>, out: &mut dyn Write) -> Result<(), ExitError> {
    match to {
        Some(path) => os::file::replace(path, text.as_bytes(), FILE_MODE)
            .map_err(|error| ExitError::from_io(path.display(), &error)),
        None => print(out, format_args!("{text}")),
    }
}

/// Prints; a sink that is closed or full ends the command.
fn print(out: &mut dyn Write, text: std::fmt::Arguments<'_>) -> Result<(), ExitError> {
    out.write_fmt(text).map_err(|error| ExitError::from_io("standard output", &error))
}

/// The format of an output: as asked for, as its name ends, or `otherwise`.
fn output_format(asked: Option<Format>, output: Option<&Path>, otherwise: Format) -> Format {
    asked.or_else(|| Format::of_name(&output?.to_string_lossy())).unwrap_or(otherwise)
}

fn layout(flat: bool) -> Layout {
    if flat { Layout::Flat } else { Layout::Nested }
}

/// `1 mistake`, `2 mistakes`.
fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// Runs a command's conversation with the Admin API on a runtime of its own.
pub(super) fn block_on<T>(conversation: impl Future<Output = Result<T, ExitError>>) -> Result<T, ExitError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| ExitError::from_io("runtime", &error))?.block_on(conversation)
}

/// The answer is no: a difference, a refusal.
fn failed(message: impl Into<String>) -> ExitError {
    ExitError::new(Exit::Failed, message)
}
