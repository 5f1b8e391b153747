//! `cp-lite`: the control plane.

use std::process::ExitCode;

fn main() -> ExitCode {
    cp_lite::cli::main()
}
