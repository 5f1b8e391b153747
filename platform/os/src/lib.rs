//! What the operating system gives to both programs: exit codes, logs, signals, the service manager, files that are
//! whole or absent, and the machine's own facts. Only this crate names `nix`.
//!
//! Each module is one favour of the system and knows no other, but for [`node_id`], which keeps its file with
//! [`file`]. Where the system lacks something (no systemd, no `/proc`) the answer says so and nobody fails over it.

pub mod credentials;
pub mod exit;
pub mod file;
pub mod host;
pub mod log;
pub mod malloc;
pub mod node_id;
pub mod notify;
pub mod process;
pub mod signals;
pub mod tcp;

pub use exit::{Exit, ExitError};
