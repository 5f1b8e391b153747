//! The order in which routes that match the same request win: Kong's 64-bit priority, then the larger id.
//! (Kong: `get_priority` and `split_routes_and_services_by_path` in kong/router/transform.lua.)

use super::route::PATH_BYTES_MAX;
use model::Id;

/// Shift of the number of kinds of criteria (3 bits).
const KINDS_SHIFT: u32 = 61;
/// Set when hosts are given and none of them has a wildcard.
const PLAIN_HOSTS: u64 = 1 << 60;
/// Shift of the number of header names (8 bits).
const HEADERS_SHIFT: u32 = 52;
/// Most header names that count.
const HEADERS_MAX: usize = 255;
/// Set when the path is a regular expression.
const REGEX: u64 = 1 << 51;
/// Shift of `regex_priority` (32 bits).
const REGEX_PRIORITY_SHIFT: u32 = 19;
/// The bits of a prefix's length.
const LENGTH_MASK: u64 = (1 << REGEX_PRIORITY_SHIFT) - 1;
const _: () = assert!(PATH_BYTES_MAX as u64 <= LENGTH_MASK);
/// The namespace in which Kong derives the ids of the parts of a split route.
const SPLIT_NAMESPACE: Id = Id(0x7f145bf9_0dce_4f91_98eb_debbce4b9f6b);

/// What of the priority is the same for all paths of a route.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Weight {
    /// Kinds of criteria present: sources, destinations, methods, hosts, headers, snis, paths.
    pub(super) kinds: u64,
    /// Whether hosts are given and none has a wildcard.
    pub(super) plain_hosts: bool,
    /// Number of header names.
    pub(super) headers: usize,
}

impl Weight {
    /// The upper bits of the priority.
    pub(super) fn bits(self) -> u64 {
        let plain = if self.plain_hosts { PLAIN_HOSTS } else { 0 };
        (self.kinds.min(7) << KINDS_SHIFT) | plain | ((self.headers.min(HEADERS_MAX) as u64) << HEADERS_SHIFT)
    }
}

/// The lower bits for a regular expression. A negative `regex_priority` sorts as its low 32 bits would, as in Kong,
/// where the number is shifted as it is.
pub(super) fn regex_bits(regex_priority: i64) -> u64 {
    REGEX | (u64::from(regex_priority as u32) << REGEX_PRIORITY_SHIFT)
}

/// The lower bits for a prefix of `length` bytes.
pub(super) fn prefix_bits(length: usize) -> u64 {
    length as u64 & LENGTH_MASK
}

/// The id of part `number` (from 1) of a route that is split because its paths differ in rank.
pub(super) fn split_id(route: Id, number: usize) -> Id {
    Id::derived(SPLIT_NAMESPACE, &format!("{route}#{number}"))
}

/// The place of an entry among all entries: the greater wins. Of several paths of one route with the same priority the
/// first counts, then the first host, so both are kept inverted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    priority: u64,
    /// The id in two halves, so that an entry aligns to eight bytes.
    id: [u64; 2],
    path: u32,
    host: u32,
}

/// Stands for "no path" or "no host to check".
pub(super) const NONE: u32 = u32::MAX;

impl Rank {
    pub(super) fn new(priority: u64, id: Id, path: u32, host: u32) -> Self {
        Self { priority, id: [(id.0 >> 64) as u64, id.0 as u64], path: !path, host: !host }
    }

    /// The length of the prefix; `None` for a regular expression. No path is so long that bits of it would be missing.
    pub(super) fn prefix_length(self) -> Option<usize> {
        (self.priority & REGEX == 0).then_some((self.priority & LENGTH_MASK) as usize)
    }

    /// Index of the path in its route, or [`NONE`].
    pub(super) fn path(self) -> u32 {
        !self.path
    }

    /// Index of the host in its route, or [`NONE`].
    pub(super) fn host(self) -> u32 {
        !self.host
    }
}
