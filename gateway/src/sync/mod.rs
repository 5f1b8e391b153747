//! The data plane's end of the link to its control plane: connect, hold a session, apply what comes, and when the link
//! is gone, try again for ever while the last committed configuration serves on.
//!
//! [`choice`] says which control plane and when; [`dial`] connects, through a proxy if there is one ([`tunnel`]); [`link`]
//! is one connection from HELLO to the last frame, [`heartbeat`] how long it may be silent; [`lookout`] and [`trial`] look
//! at other control planes meanwhile; [`patches`] makes whole what travels in part, [`apply`] turns deltas into snapshots,
//! [`staging`] keeps what came of a full sync, [`reconcile`] finds what differs; [`task`] is the loop over connections, [`status`] what others may know of
//! it. The protocol itself is the `wire` crate's; nothing here sees a request.

pub mod apply;
pub mod choice;
pub mod dial;
pub mod heartbeat;
pub mod link;
pub mod lookout;
pub mod patches;
pub mod reconcile;
pub mod staging;
pub mod status;
pub mod task;
pub mod trial;
pub mod tunnel;
