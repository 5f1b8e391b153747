//! The control plane: takes configuration through Kong's Admin API, gives each change a version, and keeps every data
//! plane up to date.
//!
//! [`cli`] is the command line, [`config`] the settings, [`app`] puts the parts together.
//! [`admin`] writes through the [`changelog`], which wakes the sync sessions; [`fleet`] is what is known of the nodes, [`planes`]
//! of other control planes, [`backup`] the file that a database can be made of again.

pub mod admin;
pub mod app;
pub mod backup;
pub mod changelog;
pub mod cli;
pub mod commands;
pub mod config;
pub mod expiry;
pub mod fleet;
pub mod planes;
pub mod sync;
