//! What a simulated fleet is made of: control planes that write or follow, and what holds on to one of them.

pub(crate) mod checks;
pub(crate) mod client;
pub(crate) mod links;
pub(crate) mod nodes;
pub(crate) mod operators;
pub(crate) mod peace;
pub(crate) mod plane;
pub(crate) mod word;
pub(crate) mod world;

/// A mistake that the simulation has to find, to show that it would find others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// None.
    Sound,
    /// A node says of what it could not write that it is durable.
    AcksBeforeDurable,
    /// A node does not remember the term that it was in.
    ForgetsTerm,
    /// A restored database is of no term, as a new one.
    RestoresWithoutTerm,
    /// A follower counts a deletion as of the start of the step that brought it.
    BuriesTooLow,
    /// A follower keeps the version of what stays when it reconciles into another epoch.
    KeepsForeignVersions,
    /// A writer shows a commit before it is durable.
    ShowsBeforeDurable,
    /// A follower takes nodes of another database over without a word of its writer.
    TrustsSilence,
}
