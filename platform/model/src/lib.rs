//! What a configuration *is*: entities and their ids, Kong's JSON for them, defaults, checks, references,
//! and declarative files. No I/O and no runtime: both programs, the wire and the tests stand on this crate.
//!
//! From the bottom up: [`id`] names an entity, [`trie`] is the persistent map that everything is kept in,
//! [`body`] turns a typed entity into append-only postcard bytes, [`schema`] turns Kong's JSON into its canonical
//! form or a list of violations, [`kind`] is the list of entity kinds (one file each below [`kinds`]),
//! [`plugins`] is the list of plugin configurations, [`record`] is what travels and is stored,
//! [`catalog`] is a whole configuration with its indexes, [`declarative`] reads and writes files. [`few`] is a
//! list for what is mostly single, [`meter`] counts what a change looks at.

pub mod body;
pub mod catalog;
pub mod declarative;
pub mod few;
pub mod id;
pub mod kind;
pub mod kinds;
pub mod meter;
pub mod plugins;
pub mod record;
pub mod schema;
pub mod trie;

pub use catalog::Catalog;
pub use id::Id;
pub use kind::Kind;
pub use record::{Change, Head, Record};
