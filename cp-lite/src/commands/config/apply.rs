//! `config apply`: makes the control plane's configuration what a file says, in one transaction.

use super::admin_client::{AdminClient, Applied};
use super::plan::Plan;
use super::{block_on, changes, failed, load, print};
use model::declarative::Declared;
use os::exit::{Exit, ExitError};
use std::io::Write;
use std::path::Path;

/// How often a plan is made anew because somebody changed the configuration meanwhile.
const ATTEMPTS_MAX: usize = 5;

/// How many deletions are ordinary, whatever share of the whole they are.
const DELETIONS_FREE: usize = 10;

/// What to apply.
#[derive(Debug, Clone, Copy)]
pub struct Apply<'a> {
    /// The declarative file.
    pub file: &'a Path,
    /// Where the Admin API is.
    pub admin_url: &'a str,
    /// Whether more than half of what is there may be deleted.
    pub force: bool,
}

/// Applies the file, all of it or nothing, and prints what that changed.
///
/// # Errors
/// The file has mistakes (78), more than half would be deleted or the control plane refuses (1), or the Admin API
/// cannot be reached (69). Nothing was changed then, unless the answer got lost, which the message says.
pub fn apply(args: &Apply<'_>, out: &mut dyn Write) -> Result<(), ExitError> {
    let declared = load(args.file, out)?;
    let done = block_on(attempts(args, &declared))?;
    let Some((plan, version)) = done else {
        return print(out, format_args!("nothing to do\n"));
    };
    print(out, format_args!("{}applied as version {version}\n", changes::show(&plan)))
}

/// Plans and applies until the plan was made for the configuration that it is applied to.
async fn attempts(args: &Apply<'_>, declared: &Declared) -> Result<Option<(Plan, u64)>, ExitError> {
    let client = AdminClient::new(args.admin_url)?;
    for _ in 0..ATTEMPTS_MAX {
        let current = client.configuration().await?;
        let plan = Plan::new(declared, &current.entities)?;
        if plan.is_empty() {
            return Ok(None);
        }
        check_shrink(args, &plan, current.entities.len())?;
        if let Applied::Version(version) = client.apply(&plan, current.version).await? {
            return Ok(Some((plan, version)));
        }
    }
    Err(ExitError::new(Exit::Unavailable, "the configuration keeps changing; nothing was applied"))
}

/// An almost empty file is more often a mistake than a wish.
fn check_shrink(args: &Apply<'_>, plan: &Plan, existing: usize) -> Result<(), ExitError> {
    let deletions = plan.deletions();
    if args.force || deletions <= DELETIONS_FREE || deletions * 2 <= existing {
        return Ok(());
    }
    Err(failed(format!(
        "this would delete {deletions} of {existing} entities; nothing was applied (--force, if that is meant)"
    )))
}
