//! x
pub mod router;
pub mod access_log;
pub mod balancer;
pub mod dns;
pub mod listen;
pub mod plugins;
pub mod proxy;
pub mod snapshot;
