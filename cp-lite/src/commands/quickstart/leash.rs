//! How a child ends with its parent, even when the parent is killed and can end nobody any more.
//!
//! The kernel offers that to a process about itself, and it outlives an exec. So this program is started first, with
//! [`LEASH`], asks for it, and becomes the child. Where the kernel refuses, the child runs without it: then only a
//! quickstart that is killed with SIGKILL leaves it behind.

use os::ExitError;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// The first argument of such a start; behind it the parent's process id, the program and its arguments. Nothing that
/// people type.
const LEASH: &str = "--leash";

/// The command that starts `program` so. The thread that spawns it is the parent: it must last as long.
pub(super) fn command(this: &Path, program: &Path) -> Command {
    let mut command = Command::new(this);
    command.arg(LEASH).arg(std::process::id().to_string()).arg(program);
    command
}

/// Becomes another program, if these are the arguments for that. Answers with an error if that failed, and with
/// nothing where they are not.
pub fn taken(arguments: &[OsString]) -> Option<ExitError> {
    let [leash, parent, program, rest @ ..] = arguments else { return None };
    if leash != LEASH {
        return None;
    }
    let Some(parent) = parent.to_str().and_then(|parent| parent.parse().ok()) else {
        return Some(ExitError::usage("a process id must follow --leash"));
    };
    if let Ok(false) = os::process::end_with_parent(parent) {
        return Some(ExitError::internal("the program that started this one has ended"));
    }
    let error = Command::new(program).args(rest).exec();
    Some(ExitError::from_io(Path::new(program).display(), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_is_left_alone() {
        for line in ["", "--leash", "run --leash 1 true", "quickstart --once x"] {
            let arguments: Vec<OsString> = line.split(' ').map(Into::into).collect();
            assert!(taken(&arguments).is_none(), "{line}");
        }
    }
}
