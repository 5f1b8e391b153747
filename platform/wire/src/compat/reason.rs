//! What is said of a node: its status by Kong's names, and why it gets nothing in Kong's words.

use model::{Id, Kind};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What the control plane says of a node, by Kong's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncStatus {
    /// Not known yet.
    #[default]
    Unknown,
    /// The node gets everything.
    Normal,
    /// The software versions do not go together: the node is refused.
    KongVersionIncompatible,
    /// A configured plugin is missing: nothing is sent.
    PluginSetIncompatible,
    /// A configured plugin has another version: nothing is sent.
    PluginVersionIncompatible,
    /// Kong's name for missing WebAssembly filters. There are none in this control plane, so that no node lacks one.
    FilterSetIncompatible,
    /// Ours: there are entities of a kind that the node does not know. Nothing is sent.
    KindSetIncompatible,
    /// Ours: there are entities with a field that the node does not know and must not overlook. Nothing is sent.
    KindVersionIncompatible,
}

impl SyncStatus {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Unknown,
        Self::Normal,
        Self::KongVersionIncompatible,
        Self::PluginSetIncompatible,
        Self::PluginVersionIncompatible,
        Self::FilterSetIncompatible,
        Self::KindSetIncompatible,
        Self::KindVersionIncompatible,
    ];

    /// The name in the Admin API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Normal => "normal",
            Self::KongVersionIncompatible => "kong_version_incompatible",
            Self::PluginSetIncompatible => "plugin_set_incompatible",
            Self::PluginVersionIncompatible => "plugin_version_incompatible",
            Self::FilterSetIncompatible => "filter_set_incompatible",
            Self::KindSetIncompatible => "kind_set_incompatible",
            Self::KindVersionIncompatible => "kind_version_incompatible",
        }
    }
}

impl fmt::Display for SyncStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a node gets nothing. The texts are built as Kong's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Incompatible {
    /// Another major version.
    #[error("data plane version {dp} is incompatible with control plane version {cp} ({accepted} are accepted)")]
    CoreMajor {
        /// Of the node.
        dp: String,
        /// Of the control plane.
        cp: String,
        /// For example `1.x.y`.
        accepted: String,
    },
    /// A version that cannot be read.
    #[error("data plane version is incompatible with control plane version {cp} ({accepted} are accepted)")]
    CoreUnreadable {
        /// Of the control plane.
        cp: String,
        /// For example `1.x.y`.
        accepted: String,
    },
    /// The node is newer than the control plane.
    #[error("data plane version {dp} is incompatible with older control plane version {cp}")]
    CoreNewer {
        /// Of the node.
        dp: String,
        /// Of the control plane.
        cp: String,
    },
    /// A configured plugin is not on the node.
    #[error("configured {name} plugin {version} is missing from data plane")]
    PluginMissing {
        /// The plugin.
        name: String,
        /// Its version on the control plane.
        version: String,
    },
    /// A configured plugin is on the node in another major, or a newer, version.
    #[error("configured data plane {name} plugin version {dp} is different to control plane plugin version {cp}")]
    PluginVersion {
        /// The plugin.
        name: String,
        /// Its version on the node.
        dp: String,
        /// Its version on the control plane.
        cp: String,
    },
    /// There are entities of a kind that the node does not know.
    #[error("configured {} are unknown to data plane", collection(*kind))]
    KindMissing {
        /// The kind's code.
        kind: u8,
    },
    /// There are entities with a field that came after the node's version of the kind, and that must not be overlooked.
    #[error(
        "configured {} contain '{field}', which data plane does not know and must not overlook: {entity} does{}",
        kind.def().name,
        others(*entities)
    )]
    FieldUnknown {
        /// The kind.
        kind: Kind,
        /// The field.
        field: &'static str,
        /// One entity that uses it.
        entity: Id,
        /// How many do.
        entities: usize,
    },
}

impl Incompatible {
    /// The status to show.
    #[must_use]
    pub fn status(&self) -> SyncStatus {
        match self {
            Self::CoreMajor { .. } | Self::CoreUnreadable { .. } | Self::CoreNewer { .. } => {
                SyncStatus::KongVersionIncompatible
            }
            Self::PluginMissing { .. } => SyncStatus::PluginSetIncompatible,
            Self::PluginVersion { .. } => SyncStatus::PluginVersionIncompatible,
            Self::KindMissing { .. } => SyncStatus::KindSetIncompatible,
            Self::FieldUnknown { .. } => SyncStatus::KindVersionIncompatible,
        }
    }
}

/// Kong's name of the collection, or the code of a kind that this build does not know either.
fn collection(kind: u8) -> String {
    Kind::from_code(kind).map_or_else(|| format!("entities of kind {kind}"), |kind| kind.def().name.to_owned())
}

fn others(entities: usize) -> String {
    match entities {
        0 | 1 => String::new(),
        2 => ", and 1 other".to_owned(),
        more => format!(", and {} others", more - 1),
    }
}

/// What is worth a line in the log of a node that connects, though it gets everything. Kong's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Remark {
    /// The node is of an earlier minor version.
    #[error("data plane minor version {dp} is different to control plane minor version {cp}")]
    CoreMinor {
        /// Of the node.
        dp: String,
        /// Of the control plane.
        cp: String,
    },
    /// A plugin that nobody has configured is not on the node.
    #[error("{name} plugin {version} is missing from data plane")]
    PluginMissing {
        /// The plugin.
        name: String,
        /// Its version on the control plane.
        version: String,
    },
    /// A plugin that nobody has configured, or nobody minds, is on the node in another version.
    #[error("data plane {name} plugin version {dp} is different to control plane plugin version {cp}")]
    PluginVersion {
        /// The plugin.
        name: String,
        /// Its version on the node.
        dp: String,
        /// Its version on the control plane.
        cp: String,
        /// Whether the majors differ.
        major: bool,
    },
}

impl Remark {
    /// Whether it is a warning (Kong: what would be refused if it were configured), not just information.
    #[must_use]
    pub fn warns(&self) -> bool {
        match self {
            Self::CoreMinor { .. } => false,
            Self::PluginMissing { .. } => true,
            Self::PluginVersion { major, .. } => *major,
        }
    }
}
