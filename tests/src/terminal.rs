//! The programs as somebody at a terminal runs them: words in, an exit code and text out.

use crate::lab::{Daemon, Setup, program};
use std::ffi::OsStr;
use std::process::{Command, Output};

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// What it printed, and then what it complained of.
    pub said: String,
}

impl Told {
    /// What it said.
    ///
    /// # Panics
    /// When it did not end well.
    #[track_caller]
    pub fn well(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.said);
        self.said
    }

    /// Looks whether it was refused with this code and for this reason.
    ///
    /// # Panics
    /// When it was not.
    #[track_caller]
    pub fn is_refused(&self, code: i32, why: &str) {
        assert_eq!(self.code, Some(code), "{}", self.said);
        assert!(self.said.contains(why), "{why:?} in: {}", self.said);
    }
}

impl From<Output> for Told {
    fn from(output: Output) -> Self {
        let said = [output.stdout, output.stderr].concat();
        Self { code: output.status.code(), said: String::from_utf8_lossy(&said).into_owned() }
    }
}

/// Runs `cp-lite` or `edge-gateway`.
///
/// # Panics
/// When it is not built.
#[must_use]
pub fn run<W: AsRef<OsStr>>(name: &str, words: impl IntoIterator<Item = W>) -> Told {
    let output = Command::new(program(name)).args(words).output();
    output.unwrap_or_else(|error| panic!("{name}: {error}; is it built?")).into()
}

/// Runs `cp-lite` against a control plane that runs.
#[must_use]
pub fn ask<W: AsRef<OsStr>>(cp: &mut Daemon, words: impl IntoIterator<Item = W>) -> Told {
    let url = format!("http://{}", cp.address("admin"));
    let words = words.into_iter().map(|word| word.as_ref().to_owned());
    run("cp-lite", words.chain(["--admin-url".into(), url.into()]))
}

/// Runs a program with the settings of one that is stopped.
#[must_use]
pub fn on<W: AsRef<OsStr>>(stopped: &Setup, words: impl IntoIterator<Item = W>) -> Told {
    let words = words.into_iter().map(|word| word.as_ref().to_owned());
    run(stopped.program(), words.chain(["-c".into(), stopped.write().into()]))
}
