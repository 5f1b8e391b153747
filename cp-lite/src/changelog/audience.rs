//! Who may see an entity. A record is (kind, id, version, tag, *audience*): which nodes may see it is settled when it is
//! committed, not when it is sent, so that sending costs no look at anything but the class.

/// A class of nodes that see the same entities. A node's view is everything of the classes it belongs to, and the root of
/// a view the sum of their roots. There is one class so far; labels will bring more. Two bytes in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Audience(u16);

impl Audience {
    /// Every node.
    pub const ALL: Self = Self(0);

    /// As the store keeps it.
    pub(super) fn to_le_bytes(self) -> [u8; 2] {
        self.0.to_le_bytes()
    }

    /// A class that this version knows. What another version restricted to some nodes must not go to all of them, so
    /// that an unknown class is an error and no default.
    pub(super) fn known(bytes: [u8; 2]) -> Result<Self, u16> {
        match u16::from_le_bytes(bytes) {
            0 => Ok(Self::ALL),
            other => Err(other),
        }
    }
}
