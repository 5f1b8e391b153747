//! Which nodes get anything: Kong's version rules (its core and plugin checks for hybrid mode), applied to our own
//! version numbers, and the same rule for kinds of entities.

use crate::message::{Hello, PluginVersion};
use std::fmt;

/// What the control plane says of a node, by Kong's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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
    /// Kong's name for missing WebAssembly filters; not used so far.
    FilterSetIncompatible,
    /// Ours: there are entities of a kind that the node does not know. Nothing is sent.
    KindSetIncompatible,
}

impl SyncStatus {
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
    /// Another major version, or one that cannot be read.
    #[error("data plane version {dp} is incompatible with control plane version {cp} ({accepted} are accepted)")]
    CoreMajor {
        /// Of the node.
        dp: String,
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
    #[error("configured entities of kind {kind} are unknown to data plane")]
    KindMissing {
        /// The kind's code.
        kind: u8,
    },
}

impl Incompatible {
    /// The status to show.
    #[must_use]
    pub fn status(&self) -> SyncStatus {
        match self {
            Self::CoreMajor { .. } | Self::CoreNewer { .. } => SyncStatus::KongVersionIncompatible,
            Self::PluginMissing { .. } => SyncStatus::PluginSetIncompatible,
            Self::PluginVersion { .. } => SyncStatus::PluginVersionIncompatible,
            Self::KindMissing { .. } => SyncStatus::KindSetIncompatible,
        }
    }
}

/// What the configuration needs of a node: computed once per version of the configuration, not per node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InUse {
    /// Codes of the kinds of which there are entities.
    pub kinds: Vec<u8>,
    /// Plugins that are configured, with the control plane's versions (`None`: that of its software).
    pub plugins: Vec<PluginVersion>,
}

/// Whether a node may connect at all. Kong: majors equal, the data plane's minor not above the control plane's, patch
/// and everything after it ignored, an unreadable version refused.
///
/// # Errors
/// Why not.
pub fn core(cp: &str, dp: &str) -> Result<(), Incompatible> {
    let major = |(cp, dp, accepted): (&str, &str, String)| Incompatible::CoreMajor {
        dp: dp.to_owned(),
        cp: cp.to_owned(),
        accepted,
    };
    let Some((cp_major, cp_minor)) = parse(cp) else { return Err(major((cp, dp, "none".to_owned()))) };
    match parse(dp) {
        Some((dp_major, dp_minor)) if dp_major == cp_major => {
            if dp_minor <= cp_minor {
                Ok(())
            } else {
                Err(Incompatible::CoreNewer { dp: dp.to_owned(), cp: cp.to_owned() })
            }
        }
        _ => Err(major((cp, dp, format!("{cp_major}.x.y")))),
    }
}

/// Whether a node that may connect may be sent a configuration. Kong: every configured plugin is present, majors equal,
/// the data plane's minor not above the control plane's; a plugin without a version on either end passes.
///
/// # Errors
/// Why not: the first plugin or kind.
pub fn content(cp: &str, in_use: &InUse, node: &Hello) -> Result<(), Incompatible> {
    for kind in &in_use.kinds {
        if !node.kinds.iter().any(|known| known.kind == *kind) {
            return Err(Incompatible::KindMissing { kind: *kind });
        }
    }
    in_use.plugins.iter().try_for_each(|plugin| self::plugin(cp, plugin, node))
}

fn plugin(cp: &str, plugin: &PluginVersion, node: &Hello) -> Result<(), Incompatible> {
    let ours = plugin.version.as_deref().unwrap_or(cp);
    let name = &plugin.name;
    let Some(theirs) = node.plugin_version(name) else {
        return Err(Incompatible::PluginMissing { name: name.clone(), version: ours.to_owned() });
    };
    match (parse(ours), parse(theirs)) {
        (Some((ours_major, ours_minor)), Some((major, minor))) if major != ours_major || minor > ours_minor => {
            Err(Incompatible::PluginVersion { name: name.clone(), dp: theirs.to_owned(), cp: ours.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Both checks at once, as a status: what the Admin API shows of a node.
#[must_use]
pub fn status(cp: &str, in_use: &InUse, node: &Hello) -> SyncStatus {
    core(cp, &node.software)
        .and_then(|()| content(cp, in_use, node))
        .map_or_else(|reason| reason.status(), |()| SyncStatus::Normal)
}

/// Major and minor of `major.minor…`.
fn parse(version: &str) -> Option<(u64, u64)> {
    let (major, rest) = version.split_once('.')?;
    let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
