//! The data plane: proxies traffic from the last configuration it was given, keeps that through restarts, and follows a
//! control plane while there is one.
//!
//! A request goes through [`listen`], [`router`], [`plugins`], [`balancer`] and [`proxy`], from one [`snapshot`] to its
//! end. Configuration comes from [`sync`], [`declarative`] or a [`bundle`] and is kept by [`state`] ([`opening`] finds it again). [`app`] puts all of it together;
//! [`cli`] and [`config`] are what an operator sees of it, [`status`] and [`access_log`] what a fleet sees.

pub mod access_log;
pub mod app;
pub mod balancer;
pub mod bundle;
pub mod cli;
pub mod config;
pub mod counters;
pub mod declarative;
pub mod dns;
pub mod listen;
pub mod opening;
pub mod plugins;
pub mod proxy;
pub mod router;
pub mod snapshot;
pub mod state;
pub mod status;
pub mod sync;
