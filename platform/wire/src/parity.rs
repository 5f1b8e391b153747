//! Parity of bodies: what tells one end how the other's body differs from its own, where neither knows what the other has
//! and both know that it is nearly the same.
//!
//! A body is read as a word of a Reed–Solomon code over GF(2^16) ([`field`]), its bytes in pairs. The end that is asked
//! sends a few sums over all of them ([`of`]); the other one takes its own body for that word with errors in it, and finds
//! the errors ([`restore`]): *n* of them from 2*n* sums, wherever they are and however long the body is. So a changed
//! number costs some bytes, where hashes of blocks cost some for every block. Sums go on where earlier ones ended: who got
//! too few asks for more. What was restored is believed only where a hash of it was known before.
//!
//! [`crate::reconcile`] finds which bodies differ; `cp::mending` restores those of the node, and sends it patches.

mod field;
mod message;
mod restore;

use field::{Times, power};

pub use message::{Parity, ParityGet, Told};
pub(crate) use message::{push_names, read_names};
pub use restore::restore;

/// The longest body that has parity, in bytes.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// The sums of a body from number `from` to before `until`; nothing for one that is longer than [`BODY_BYTES_MAX`].
///
/// Sum *j* is that of *y_i* · 2^(*i*·*j*) over all pairs of bytes *y_i*, least significant first, the last one filled up
/// with 0. It takes time in proportion to body and sums.
#[must_use]
pub fn of(body: &[u8], from: usize, until: usize) -> Option<Told> {
    if body.len() > BODY_BYTES_MAX {
        return None;
    }
    let sums = (from..until).map(|number| {
        let root = Times::by(power(number));
        pairs(body).rev().fold(0, |sum, pair| root.of(sum) ^ pair)
    });
    Some(Told { length: body.len() as u32, sums: sums.collect() })
}

/// The bytes in pairs.
fn pairs(body: &[u8]) -> impl DoubleEndedIterator<Item = u16> + '_ {
    let pair = |pair: &[u8]| match *pair {
        [low, high] => u16::from_le_bytes([low, high]),
        [low] => u16::from(low),
        _ => 0,
    };
    body.chunks(2).map(pair)
}

#[cfg(test)]
mod tests;
