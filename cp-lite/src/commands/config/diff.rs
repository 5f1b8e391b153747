//! `config diff`: what applying a file would do.

use super::admin_client::AdminClient;
use super::plan::Plan;
use super::{block_on, changes, failed, load, print};
use os::exit::ExitError;
use std::io::Write;
use std::path::Path;

/// What to compare with what.
#[derive(Debug, Clone, Copy)]
pub struct Diff<'a> {
    /// The declarative file.
    pub file: &'a Path,
    /// Where the Admin API is.
    pub admin_url: &'a str,
}

/// Prints what applying the file would create, update and delete, field by field.
///
/// # Errors
/// There is a difference (1), the file has mistakes (78), or the Admin API cannot be reached (69).
pub fn diff(args: &Diff<'_>, out: &mut dyn Write) -> Result<(), ExitError> {
    let declared = load(args.file, out)?;
    let current = block_on(async { AdminClient::new(args.admin_url)?.configuration().await })?;
    let plan = Plan::new(&declared, &current.entities)?;
    print(out, format_args!("{}", changes::show(&plan)))?;
    if plan.is_empty() {
        Ok(())
    } else {
        Err(failed(format!("{} is not what the control plane holds", args.file.display())))
    }
}
