//! Which nodes get anything: Kong's version rules (its core and plugin checks for hybrid mode), applied to our own
//! version numbers, and the same for kinds of entities and the fields that later versions gave them.
//!
//! A node that is older and may have everything is sent bodies as they are: what it does not know is at their end, and it
//! overlooks that. Where overlooking would be wrong ([`model::kind::Appended::harmless`]) and the field is in use, nothing
//! is sent. What is in use is known once per version of the configuration, not per node.

mod reason;
#[cfg(test)]
mod tests;

pub use reason::{Incompatible, Remark, SyncStatus};

use crate::message::{Hello, PluginVersion};
use model::kind::{ALL, KINDS};
use model::{Id, Kind};

/// The most reasons that are told of one node.
pub const REASONS_MAX: usize = 8;

/// What the configuration needs of a node: computed once per version of the configuration, not per node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InUse {
    /// Codes of the kinds of which there are entities.
    pub kinds: Vec<u8>,
    /// Plugins that are configured, with the control plane's versions (`None`: that of its software).
    pub plugins: Vec<PluginVersion>,
    /// Fields that came after the first version of their kind and that entities use.
    pub fields: Vec<FieldInUse>,
}

/// A later field that entities use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldInUse {
    /// The kind.
    pub kind: Kind,
    /// The version of its body layout that brought the field.
    pub body: u16,
    /// The field.
    pub field: &'static str,
    /// Whether a node may overlook it.
    pub harmless: bool,
    /// One entity that uses it.
    pub entity: Id,
    /// How many do.
    pub entities: usize,
}

/// Kinds that this build knows and a node does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct UnknownKinds(u64);

/// A kind is a bit of a word.
const _: () = assert!(KINDS <= 64);

impl UnknownKinds {
    /// Those of a node.
    #[must_use]
    pub fn of(node: &Hello) -> Self {
        let unknown = ALL.iter().filter(|def| !node.kinds.iter().any(|known| known.kind == def.kind.code()));
        Self(unknown.fold(0, |kinds, def| kinds | 1 << def.kind.index()))
    }

    /// Whether it is one of them.
    #[must_use]
    pub fn contains(self, kind: Kind) -> bool {
        self.0 & (1 << kind.index()) != 0
    }
}

/// What is to be done with a node that may connect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Why nothing is sent, at most [`REASONS_MAX`] reasons; none: everything is sent.
    pub withheld: Vec<Incompatible>,
    /// Fields in use that the node overlooks, which does no harm.
    pub ignored: Vec<FieldInUse>,
}

/// Whether a node may connect at all. Kong: majors equal, the data plane's minor not above the control plane's, patch
/// and everything after it ignored, an unreadable version refused.
///
/// # Errors
/// Why not.
pub fn core(cp: &str, dp: &str) -> Result<(), Incompatible> {
    let (cp_name, dp_name) = (cp.to_owned(), dp.to_owned());
    let cp_version = parse(cp);
    let accepted = cp_version.map_or_else(|| "none".to_owned(), |(major, _)| format!("{major}.x.y"));
    match (cp_version, parse(dp)) {
        (Some((major, minor)), Some((dp_major, dp_minor))) if dp_major == major => {
            if dp_minor <= minor {
                Ok(())
            } else {
                Err(Incompatible::CoreNewer { dp: dp_name, cp: cp_name })
            }
        }
        (_, None) => Err(Incompatible::CoreUnreadable { cp: cp_name, accepted }),
        _ => Err(Incompatible::CoreMajor { dp: dp_name, cp: cp_name, accepted }),
    }
}

/// Whether a node that may connect may be sent a configuration. Kong: every configured plugin is present, majors equal,
/// the data plane's minor not above the control plane's; a plugin without a version on either end passes. Ours: it knows
/// every kind in use, and every field in use that it must not overlook.
#[must_use]
pub fn judge(cp: &str, in_use: &InUse, node: &Hello) -> Verdict {
    let body = |code: u8| node.kinds.iter().find(|known| known.kind == code).map(|known| known.body);
    let missing = in_use.kinds.iter().filter(|kind| body(**kind).is_none());
    let missing = missing.map(|kind| Incompatible::KindMissing { kind: *kind });
    let plugins = in_use.plugins.iter().filter_map(|plugin| self::plugin(cp, plugin, node).err());
    let unknown = || in_use.fields.iter().filter(|field| body(field.kind.code()).is_some_and(|has| has < field.body));
    let fields = unknown().filter(|field| !field.harmless).map(|field| Incompatible::FieldUnknown {
        kind: field.kind,
        field: field.field,
        entity: field.entity,
        entities: field.entities,
    });
    Verdict {
        withheld: missing.chain(plugins).chain(fields).take(REASONS_MAX).collect(),
        ignored: unknown().filter(|field| field.harmless).copied().collect(),
    }
}

/// The first reason of [`judge`].
///
/// # Errors
/// Why nothing may be sent.
pub fn content(cp: &str, in_use: &InUse, node: &Hello) -> Result<(), Incompatible> {
    judge(cp, in_use, node).withheld.into_iter().next().map_or(Ok(()), Err)
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

/// What is worth a line in the log when a node connects that is let in. `plugins` are all of the control plane's; those
/// that are configured and refused are left to [`judge`].
#[must_use]
pub fn remarks(cp: &str, plugins: &[PluginVersion], in_use: &InUse, node: &Hello) -> Vec<Remark> {
    let minor = |(_, minor)| minor;
    let differs = parse(cp).map(minor) != parse(&node.software).map(minor);
    let core = differs.then(|| Remark::CoreMinor { dp: node.software.clone(), cp: cp.to_owned() });
    let remark = |plugin: &PluginVersion| {
        let name = plugin.name.clone();
        let configured = in_use.plugins.iter().any(|used| used.name == name);
        if configured && self::plugin(cp, plugin, node).is_err() {
            return None;
        }
        let ours = plugin.version.as_deref().unwrap_or(cp);
        let Some(theirs) = node.plugin_version(&name) else {
            return Some(Remark::PluginMissing { name, version: ours.to_owned() });
        };
        let ((ours_major, ours_minor), (major, minor)) = (parse(ours)?, parse(theirs)?);
        let major = ours_major != major;
        let (dp, cp) = (theirs.to_owned(), ours.to_owned());
        (major || ours_minor != minor).then_some(Remark::PluginVersion { name, dp, cp, major })
    };
    core.into_iter().chain(plugins.iter().filter_map(remark)).collect()
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
