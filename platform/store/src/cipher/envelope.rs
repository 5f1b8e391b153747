//! Pieces of a file that lies beside a store for a while and holds what the store is about to have: sealed as its content
//! is, with a data key of the file's own, so that such a file outlasts the generations and needs no open store.

use std::path::Path;
use std::sync::Arc;

use ring::aead::{Aad, LessSafeKey, UnboundKey};

use super::{Encryption, FILE_BYTES, Unwrapped, found, open, random, seal, wrap};
use crate::CommitError;

/// What its pieces are sealed for, so that nothing else sealed passes for one.
const PURPOSE: u8 = 3;
/// Length of the additional data: purpose, name, number.
const AAD_BYTES: usize = 17;

/// Seals and opens the pieces of one file. Its head, which holds the wrapped data key, is kept at the file's beginning.
#[derive(Clone)]
pub struct Envelope {
    key: Arc<LessSafeKey>,
    head: Vec<u8>,
}

impl Envelope {
    /// Length of a head, in bytes.
    pub const HEAD_BYTES: usize = FILE_BYTES;

    /// A new one, wrapped by the secret that is set.
    ///
    /// # Errors
    /// [`CommitError::Encryption`]: nothing can be sealed, or the mode is [`super::Mode::Off`].
    pub fn new(encryption: &Encryption) -> Result<Self, CommitError> {
        let algorithm = encryption.mode.algorithm().ok_or(CommitError::Encryption)?;
        let secret = encryption.secret.as_ref().ok_or(CommitError::Encryption)?;
        let data_key = random::<{ super::KEY_BYTES }>()?;
        let head = wrap(encryption.mode, algorithm, secret, &data_key)?;
        let key = UnboundKey::new(algorithm, &data_key).map_err(|_| CommitError::Encryption)?;
        Ok(Self { key: Arc::new(LessSafeKey::new(key)), head })
    }

    /// The one that made this head; `None` if neither secret opens it, or it was made in another mode.
    #[must_use]
    pub fn of(head: &[u8], encryption: &Encryption) -> Option<Self> {
        let file = [Some(head.to_vec()), None];
        let Unwrapped { mode, algorithm, data_key } = found(Path::new(""), &file, encryption).ok()?;
        let key = UnboundKey::new(algorithm, &data_key).ok().filter(|_| mode == encryption.mode)?;
        Some(Self { key: Arc::new(LessSafeKey::new(key)), head: head.to_vec() })
    }

    /// The first [`Envelope::HEAD_BYTES`] of the file.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// A piece as it is kept, [`crate::SEALED_EXTRA_BYTES`] longer. It opens under the same name and number only.
    ///
    /// # Errors
    /// [`CommitError::Encryption`]
    pub fn seal(&self, name: u64, number: u64, plain: &[u8]) -> Result<Vec<u8>, CommitError> {
        seal(&self.key, Aad::from(aad(name, number)), plain).ok_or(CommitError::Encryption)
    }

    /// A piece as it was given; `None` if it is not that piece of this file.
    #[must_use]
    pub fn open(&self, name: u64, number: u64, kept: &[u8]) -> Option<Vec<u8>> {
        open(&self.key, Aad::from(aad(name, number)), kept)
    }
}

fn aad(name: u64, number: u64) -> [u8; AAD_BYTES] {
    let mut aad = [0; AAD_BYTES];
    aad[0] = PURPOSE;
    aad[1..9].copy_from_slice(&name.to_le_bytes());
    aad[9..].copy_from_slice(&number.to_le_bytes());
    aad
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mode, SEALED_EXTRA_BYTES, Secret};

    fn encryption(mode: Mode, secret: &[u8], former: Option<&[u8]>) -> Encryption {
        Encryption { mode, secret: Some(Secret::new(secret)), former: former.map(Secret::new) }
    }

    #[test]
    fn a_piece_opens_as_that_piece_only_with_either_secret_and_in_its_mode() {
        let first = encryption(Mode::Aes256Gcm, b"one", None);
        let envelope = Envelope::new(&first).unwrap();
        assert_eq!(envelope.head().len(), Envelope::HEAD_BYTES);
        let sealed = envelope.seal(7, 0, b"a piece").unwrap();
        assert_eq!(sealed.len(), 7 + SEALED_EXTRA_BYTES);
        for again in [first.clone(), encryption(Mode::Aes256Gcm, b"two", Some(b"one"))] {
            let again = Envelope::of(envelope.head(), &again).unwrap();
            assert_eq!(again.open(7, 0, &sealed).as_deref(), Some(&b"a piece"[..]));
            assert_eq!(again.open(7, 1, &sealed), None);
            assert_eq!(again.open(8, 0, &sealed), None);
        }
        for other in [encryption(Mode::Aes256Gcm, b"two", None), encryption(Mode::Chacha20Poly1305, b"one", None)] {
            assert!(Envelope::of(envelope.head(), &other).is_none());
        }
        assert_eq!(Envelope::new(&first).unwrap().open(7, 0, &sealed), None, "a file has a key of its own");
        assert!(Envelope::new(&Encryption::default()).is_err());
    }

    #[test]
    fn no_flipped_bit_of_a_head_passes() {
        let encryption = encryption(Mode::Chacha20Poly1305, b"one", None);
        let head = Envelope::new(&encryption).unwrap().head().to_vec();
        for bit in 0..head.len() * 8 {
            let mut bad = head.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Envelope::of(&bad, &encryption).is_none(), "bit {bit}");
        }
        assert!(Envelope::of(&head[1..], &encryption).is_none());
    }
}
