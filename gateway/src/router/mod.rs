//! Which route a request belongs to: Kong's `traditional_compatible` rules on an index whose lookup cost does not
//! depend on how many routes exist, and whose change costs what the changed route costs.
//!
//! The one idea: a route becomes one *entry* per host and path, filed by host (a hash map of buckets) and below that
//! by path (`radix`: a tree of bytes, with edges that take any one segment). A regular expression is filed under its
//! literals and whole segments, as far as it has them (`pattern`). A lookup walks only where the host and the path lead
//! and keeps the entry with the highest rank (`rank`) whose criteria (`route`, `criteria`) the request (`query`) meets.
//! All parts are persistent: a clone is O(1) and shares everything.
//!
//! Neighbours: `snapshot` keeps a [`Router`] per configuration and changes it by delta; `proxy` asks it once per
//! request and builds the upstream path from [`Match::matched`]. Whether the protocol suits the route (426, redirect) is
//! decided there and not here, as in Kong.

mod criteria;
mod entries;
mod host;
mod index;
mod pattern;
mod query;
mod radix;
mod rank;
mod regexes;
mod route;
mod short;
mod template;
#[cfg(test)]
mod tests;

pub use index::Router;
pub use query::{Captures, Group, Match, Query};
pub use regexes::{REGEX_BYTES_MAX, REGEXES_HELD_MAX};
pub use route::{CompiledRoute, Protocols, RouteError};
