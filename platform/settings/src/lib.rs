//! What a person tells a program: settings and the command line.
//!
//! Both are tables. A [`Key`] is one setting: its name (as in kong.conf wherever Kong has the idea), its type, its
//! default and its doc; a [`Command`] is one verb with its options. The same tables feed parsing, `check --show`,
//! help and the man pages, so none of them can drift from the others.
//!
//! Settings come in layers, each over the one before: defaults, the main file, its drop-ins (`<file>.d/*.toml` in
//! name order), credentials, the environment (`KONG_<KEY>`, then `<PROGRAM>_<KEY>`), flags. Every value remembers
//! where it came from, and every mistake in any layer is reported, at once, as `file:line:column: message`.
//!
//! [`mod@key`] says what a value may look like, [`layers`] gathers them from everywhere, [`mod@file`] reads one TOML
//! file, [`Settings`] is the merged result from which a program takes its typed configuration, [`flags`] is the
//! command line and [`help`] its description, [`both`] holds what the tables of both programs have in common, [`listen`] reads addresses to listen on, [`nearest`] guesses what was
//! meant.

pub mod both;
mod file;
pub mod flags;
pub mod help;
pub mod key;
pub mod layers;
pub mod listen;
mod mistake;
pub mod nearest;
mod settings;

pub use flags::{Command, Invocation, Opt, Program, UsageError};
pub use key::{Key, Kind, Value};
pub use layers::Sources;
pub use mistake::{Mistake, Mistakes, Origin};
pub use settings::Settings;
