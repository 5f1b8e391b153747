//! The commands of `cp-lite`, each a function from its arguments to what it prints.

pub mod config;
pub mod hybrid;
pub mod node;
pub mod quickstart;
