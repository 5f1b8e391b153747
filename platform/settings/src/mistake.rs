//! Where a value came from, and what is wrong with it.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A settings file; line and column (in characters) count from 1, and are absent for the file as a whole.
    File {
        /// The file.
        path: PathBuf,
        /// Line and column.
        at: Option<(usize, usize)>,
    },
    /// A credential's file.
    Credential(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A flag of the command line, with its dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, at: Some((line, column)) } => write!(f, "{}:{line}:{column}", path.display()),
            Origin::File { path, at: None } => write!(f, "{}", path.display()),
            Origin::Credential(path) => write!(f, "credential {}", path.display()),
            Origin::Environment(name) => write!(f, "environment {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    /// Where.
    pub origin: Origin,
    /// What, for people; it names the key.
    pub message: String,
    /// Why a file could not be read, if that is it.
    pub unreadable: Option<io::ErrorKind>,
}

impl Mistake {
    /// People read files from top to bottom, then think of where else something was said.
    pub(crate) fn order(&self) -> impl Ord + use<> {
        match &self.origin {
            Origin::File { path, at } => (0, Some((path.clone(), *at))),
            Origin::Credential(_) => (1, None),
            Origin::Environment(_) => (2, None),
            Origin::Flag(_) => (3, None),
            Origin::Default => (4, None),
        }
    }

    pub(crate) fn new(origin: Origin, message: impl Into<String>) -> Mistake {
        Mistake { origin, message: message.into(), unreadable: None }
    }

    pub(crate) fn unreadable(path: PathBuf, error: &io::Error) -> Mistake {
        let origin = Origin::File { path, at: None };
        Mistake { origin, message: error.to_string(), unreadable: Some(error.kind()) }
    }
}

/// `file:line:column: message`; a mistake about what nobody said has no place.
impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Default => f.write_str(&self.message),
            place => write!(f, "{place}: {}", self.message),
        }
    }
}

/// All that is wrong, one line each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistakes(pub Vec<Mistake>);

impl Mistakes {
    /// Whether the operating system forbade reading something.
    pub fn permission_denied(&self) -> bool {
        self.0.iter().any(|mistake| mistake.unreadable == Some(io::ErrorKind::PermissionDenied))
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for mistake in &self.0 {
            if !std::mem::take(&mut first) {
                f.write_str("\n")?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}
