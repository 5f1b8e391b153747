//! PLANES: how many nodes each control plane of a cluster serves. A follower tells its writer, the writer tells all of
//! them, and each decides by itself whom to send away; nodes never see it.

use crate::error::ProtocolError;
use crate::limits::{ADDRESS_BYTES_MAX, PLANES_MAX};
use crate::message::bound;
use serde::{Deserialize, Serialize};

/// How many nodes one control plane serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaneNodes {
    /// Its address as the settings of nodes name it, `host:port`; at most [`ADDRESS_BYTES_MAX`] bytes.
    pub address: String,
    /// How many nodes it serves.
    pub nodes: u32,
}

/// Whether a list is within the limits.
pub(crate) fn check(planes: &[PlaneNodes]) -> Result<(), ProtocolError> {
    bound("control planes", planes.len(), PLANES_MAX)?;
    planes.iter().try_for_each(|plane| bound("address", plane.address.len(), ADDRESS_BYTES_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_addresses_have_bounds_and_fit_one_frame() {
        let plane = |bytes| PlaneNodes { address: "h".repeat(bytes), nodes: u32::MAX };
        let longest = vec![plane(ADDRESS_BYTES_MAX); PLANES_MAX];
        assert_eq!(check(&longest), Ok(()));
        assert!(crate::message::put(&longest).len() < crate::limits::PAYLOAD_BYTES_MAX);
        assert!(check(&vec![plane(1); PLANES_MAX + 1]).is_err());
        assert!(check(&[plane(ADDRESS_BYTES_MAX + 1)]).is_err());
    }
}
