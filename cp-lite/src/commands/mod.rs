//! The commands of `cp-lite`, each a function from its arguments to what it prints.

pub mod backup;
pub mod config;
pub mod hybrid;
pub mod node;
pub mod promote;
pub mod quickstart;
