//! Which nodes get anything: Kong's version rules (its core and plugin checks for hybrid mode), applied to our own
//! version numbers, and the same rule for kinds of entities.

use crate::message::{Hello, PluginVersion};
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Have, KindVersion};
    use model::Id;

    fn node(software: &str, plugins: &[(&str, Option<&str>)]) -> Hello {
        let plugin = |(name, version): &(&str, Option<&str>)| PluginVersion {
            name: (*name).to_owned(),
            version: version.map(str::to_owned),
        };
        Hello {
            proto_min: 1,
            proto_max: 1,
            node: Id(1),
            hostname: String::new(),
            software: software.to_owned(),
            kinds: vec![KindVersion { kind: 1, body: 1 }],
            plugins: plugins.iter().map(plugin).collect(),
            labels: Vec::new(),
            have: Have::default(),
            incremental: true,
            codecs: vec![0],
            heartbeat_s: 0,
            status: 0,
            partial: None,
            features: 0,
            term: 0,
        }
    }

    fn using(kinds: &[u8], plugins: &[(&str, Option<&str>)]) -> InUse {
        InUse { kinds: kinds.to_vec(), plugins: node("", plugins).plugins }
    }

    #[test]
    fn a_node_may_be_older_in_minor_and_differ_in_patch_but_never_newer_or_of_another_major() {
        let core = |cp, dp| core(cp, dp).map_err(|reason| reason.to_string());
        assert_eq!(core("1.4.2", "1.4.9"), Ok(()));
        assert_eq!(core("1.4.2", "1.0.0-rc1"), Ok(()));
        assert_eq!(core("1.4.0.3", "1.4"), Ok(()));
        let newer = "data plane version 1.5.0 is incompatible with older control plane version 1.4.2";
        assert_eq!(core("1.4.2", "1.5.0"), Err(newer.to_owned()));
        let major = |dp| {
            Err(format!(
                "data plane version {dp} is incompatible with control plane version 1.4.2 (1.x.y are accepted)"
            ))
        };
        for dp in ["2.4.2", "0.4.2", "nonsense", "", "1", "1.x"] {
            assert_eq!(core("1.4.2", dp), major(dp), "{dp}");
        }
    }

    #[test]
    fn only_configured_plugins_matter_and_their_versions_follow_the_same_rule() {
        let status =
            |configured, has: &[(&str, Option<&str>)]| status("1.4.0", &using(&[], configured), &node("1.2.0", has));
        assert_eq!(status(&[], &[]), SyncStatus::Normal);
        assert_eq!(status(&[("jwt", None)], &[("jwt", None)]), SyncStatus::Normal);
        assert_eq!(status(&[], &[("jwt", Some("9.0.0"))]), SyncStatus::Normal);
        assert_eq!(status(&[("jwt", None)], &[("acl", None)]), SyncStatus::PluginSetIncompatible);
        assert_eq!(status(&[("jwt", None)], &[("jwt", Some("2.0.0"))]), SyncStatus::PluginVersionIncompatible);
        assert_eq!(status(&[("jwt", None)], &[("jwt", Some("1.5.0"))]), SyncStatus::PluginVersionIncompatible);
        assert_eq!(status(&[("own", Some("3.2"))], &[("own", Some("3.1"))]), SyncStatus::Normal);
        assert_eq!(status(&[("own", Some("unversioned"))], &[("own", Some("3.1"))]), SyncStatus::Normal);
    }

    #[test]
    fn kinds_matter_once_there_are_entities_of_them() {
        let node = node("1.4.0", &[]);
        assert_eq!(status("1.4.0", &using(&[1], &[]), &node), SyncStatus::Normal);
        assert_eq!(status("1.4.0", &using(&[1, 9], &[]), &node), SyncStatus::KindSetIncompatible);
        assert_eq!(status("1.3.0", &using(&[], &[]), &node), SyncStatus::KongVersionIncompatible);
    }

    #[test]
    fn missing_plugins_are_told_as_kong_tells_them() {
        let reason = content("1.4.0", &using(&[], &[("jwt", None)]), &node("1.4.0", &[])).unwrap_err();
        assert_eq!(reason.to_string(), "configured jwt plugin 1.4.0 is missing from data plane");
    }
}
