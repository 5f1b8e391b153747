//! The lab: real control planes, data planes, origins and links in one temporary directory, and data to feed them with.
//!
//! A test says what it starts and what it expects; everything here listens on ephemeral loopback ports and ends with
//! the value that holds it, so that tests run side by side. Nothing here sleeps where an event can be awaited:
//! [`wait::until`] polls what only polling can tell and gives up with a message.

pub mod allocated;
pub mod authority;
pub mod broken;
pub mod connect_proxy;
pub mod counted;
pub mod crowd;
pub mod device;
pub mod disk;
pub mod fake_cp;
pub mod generate;
pub mod http;
pub mod lab;
pub mod listener;
pub mod metrics;
pub mod node;
pub mod origin;
pub mod pair;
pub mod planes;
pub mod relay;
pub mod released;
pub mod shape;
pub mod tap;
pub mod terminal;
pub mod wait;
