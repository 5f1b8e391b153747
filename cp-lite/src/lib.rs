//! The control plane: takes configuration through Kong's Admin API, gives each change a version, and keeps every data
//! plane up to date.
//!
//! [`admin`] writes through the [`changelog`], which wakes the sync sessions; [`fleet`] is what is known of the nodes.

pub mod admin;
pub mod changelog;
pub mod commands;
pub mod fleet;
pub mod sync;
