//! Who may write: one control plane of a cluster does, others follow it. The role is kept with the content, so that no
//! setting that went missing turns a follower into a second writer of the same epoch.

/// What this control plane may do with its content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It takes changes.
    #[default]
    Writer,
    /// It takes over what a writer has, and nothing else.
    Follower,
}

impl Role {
    /// Its name, as people and the Admin API know it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Follower => "follower",
        }
    }
}

/// The longest list of control planes that is remembered of a promotion, in bytes; of a longer one, the beginning.
pub(super) const OVER_BYTES_MAX: usize = 1024;

/// What a database says of itself when it is opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// The role at the last write.
    pub(super) role: Role,
    /// Which writers the settings named when this control plane was promoted; empty if it never was.
    pub(super) over: String,
}

/// Why the role is not what a look at the settings would suggest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surprise {
    /// The settings name the writers over which this control plane was promoted: it is the writer still.
    Promoted,
    /// It was a writer so far, and follows now because the settings say so.
    Demoted,
    /// It has followed and the settings name no writer any more: it takes no changes until it is promoted.
    Orphaned,
}

/// The role at a start. `writers` is what the settings name, empty if nothing; `is_empty` says that nothing was ever
/// written or taken over here.
pub(super) fn at_start(kept: &Standing, writers: &str, is_empty: bool) -> (Role, Option<Surprise>) {
    let writers = clipped(writers);
    match (kept.role, writers) {
        (_, "") if is_empty => (Role::Writer, None),
        (_, _) if is_empty => (Role::Follower, None),
        (Role::Writer, "") => (Role::Writer, None),
        (Role::Writer, writers) if writers == kept.over => (Role::Writer, Some(Surprise::Promoted)),
        (Role::Writer, _) => (Role::Follower, Some(Surprise::Demoted)),
        (Role::Follower, "") => (Role::Follower, Some(Surprise::Orphaned)),
        (Role::Follower, _) => (Role::Follower, None),
    }
}

/// A list of writers as it is kept.
pub(super) fn clipped(writers: &str) -> &str {
    let end = (0..=OVER_BYTES_MAX.min(writers.len())).rev().find(|end| writers.is_char_boundary(*end));
    writers.get(..end.unwrap_or_default()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(role: Role, over: &str) -> Standing {
        Standing { role, over: over.to_owned() }
    }

    #[test]
    fn settings_decide_but_never_make_a_writer_of_a_follower() {
        let new = Standing::default();
        assert_eq!(at_start(&new, "", true), (Role::Writer, None));
        assert_eq!(at_start(&new, "a:1", true), (Role::Follower, None));
        let writer = standing(Role::Writer, "");
        assert_eq!(at_start(&writer, "", false), (Role::Writer, None));
        assert_eq!(at_start(&writer, "b:1", false), (Role::Follower, Some(Surprise::Demoted)));
        let follower = standing(Role::Follower, "");
        assert_eq!(at_start(&follower, "a:1", false), (Role::Follower, None));
        assert_eq!(at_start(&follower, "", false), (Role::Follower, Some(Surprise::Orphaned)));
    }

    #[test]
    fn whoever_was_promoted_stays_the_writer_until_the_settings_change() {
        let promoted = standing(Role::Writer, "a:1, c:1");
        assert_eq!(at_start(&promoted, "a:1, c:1", false), (Role::Writer, Some(Surprise::Promoted)));
        assert_eq!(at_start(&promoted, "", false), (Role::Writer, None));
        assert_eq!(at_start(&promoted, "c:1", false), (Role::Follower, Some(Surprise::Demoted)));
    }

    #[test]
    fn a_long_list_is_the_same_list_after_a_restart() {
        let long = "é".repeat(OVER_BYTES_MAX);
        let promoted = standing(Role::Writer, clipped(&long));
        assert_eq!(at_start(&promoted, &long, false), (Role::Writer, Some(Surprise::Promoted)));
    }
}
