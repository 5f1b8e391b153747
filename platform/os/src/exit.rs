//! How a program ends: the exit codes of `sysexits.h`, and the error that carries one up to `main`, the only place
//! that prints and exits.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// An exit code. Numbers above 1 are those of `sysexits.h`, which service managers and scripts know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    /// It did what was asked, and the answer is no (a check, a comparison, a tour).
    Failed = 1,
    /// The command line was wrong.
    Usage = 64,
    /// Something that is needed is not there: a port in use, a control plane that does not answer.
    Unavailable = 69,
    /// A mistake of ours.
    Internal = 70,
    /// Reading or writing failed.
    Io = 74,
    /// The operating system forbade it.
    Permission = 77,
    /// The settings are wrong.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a program ends early, and with which code. The message is for people, may have several lines, and ends
/// without a line break.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExitError {
    /// The code.
    pub exit: Exit,
    /// The reason.
    pub message: String,
}

impl ExitError {
    /// An error with this code.
    pub fn new(exit: Exit, message: impl Into<String>) -> ExitError {
        ExitError { exit, message: message.into() }
    }

    /// The settings are wrong: 78.
    pub fn config(message: impl Into<String>) -> ExitError {
        ExitError::new(Exit::Config, message)
    }

    /// The command line was wrong: 64.
    pub fn usage(message: impl Into<String>) -> ExitError {
        ExitError::new(Exit::Usage, message)
    }

    /// A mistake of ours: 70.
    pub fn internal(message: impl Into<String>) -> ExitError {
        ExitError::new(Exit::Internal, message)
    }

    /// What the operating system refused, with the code that fits its reason: 77 where it forbade, 69 for a port or
    /// an address that cannot be had, 74 for the rest. `what` names the thing: a path, an address.
    pub fn from_io(what: impl fmt::Display, error: &io::Error) -> ExitError {
        let exit = match error.kind() {
            io::ErrorKind::PermissionDenied => Exit::Permission,
            io::ErrorKind::AddrInUse
            | io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::TimedOut => Exit::Unavailable,
            _ => Exit::Io,
        };
        ExitError::new(exit, format!("{what}: {error}"))
    }
}

impl fmt::Display for ExitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ExitError {}

/// Prints on standard output. A reader that went away (`| head`) is not our trouble.
pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Ends `main`: what a command has to say goes to standard output, or the error to standard error. Mistakes in
/// settings begin with their place, for editors to jump to; other errors begin with the program's name.
pub fn finish(program: &str, outcome: Result<String, ExitError>) -> ExitCode {
    match outcome {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(ExitError { exit, message }) => {
            let prefix = if exit == Exit::Config { String::new() } else { format!("{program}: ") };
            if !message.is_empty() {
                let _ = writeln!(io::stderr(), "{prefix}{message}");
            }
            exit.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operating_systems_reason_picks_the_code() {
        let code = |kind| ExitError::from_io("127.0.0.1:80", &io::Error::from(kind)).exit as u8;
        assert_eq!(code(io::ErrorKind::PermissionDenied), 77);
        assert_eq!(code(io::ErrorKind::AddrInUse), 69);
        assert_eq!(code(io::ErrorKind::NotFound), 74);
        assert_eq!(
            ExitError::from_io("/x", &io::Error::from(io::ErrorKind::NotFound)).to_string(),
            "/x: entity not found"
        );
    }
}
