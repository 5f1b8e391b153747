//! The data plane's end of the link to its control plane: connect, hold a session, apply what comes, and when the link
//! is gone, try again for ever while the last committed configuration serves on.
//!
//! [`apply`] turns deltas into snapshots, [`link`] is one connection from TCP to the last
//! frame, [`staging`] keeps what came of a full sync, [`task`] is the loop over connections, [`status`] what others may know of it. The protocol itself is the
//! `wire` crate's; nothing here sees a request.

pub mod apply;
pub mod choice;
pub mod link;
pub mod staging;
pub mod status;
pub mod task;
