//! Encryption at rest: values and metas are sealed before anything below sees them, so that journals, spill files and
//! sled hold only what is sealed. Each content (each generation that did not come of a compaction) has a random data key
//! of its own, which lies beside it, wrapped by a key that is derived from the caller's secret.
//!
//! What is not hidden: keys, kinds, lengths, how often something changes. Whoever can write to the directory can put
//! back an older state of it, but nothing that was not sealed with the data key under the same key.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use ring::aead::{AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};

use crate::layout::{self, read_small, write_whole};
use crate::seal::{Purpose, hasher, key_bytes};
use crate::{CommitError, Key, OpenError};

/// The file in a generation that holds its wrapped data key; a generation without it is not encrypted.
const FILE: &str = "key";
const MAGIC: [u8; 8] = *b"EGkey1\n\0";
const SALT_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const HASH_BYTES: usize = 8;
/// Length of the file up to the wrapped key: magic, mode, salt.
const HEAD_BYTES: usize = MAGIC.len() + 1 + SALT_BYTES;
const FILE_BYTES: usize = HEAD_BYTES + NONCE_LEN + KEY_BYTES + TAG_BYTES + HASH_BYTES;
/// What the derived key is for (RFC 5869: `info`).
const INFO: &[u8] = b"edge-store key 1";
/// How much longer sealed bytes are.
pub const SEALED_EXTRA_BYTES: usize = NONCE_LEN + TAG_BYTES;

/// Whether and how the content is encrypted. The names are those of Kong's `declarative_config_encryption_mode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// Not.
    #[default]
    Off,
    /// AES-256 in Galois/Counter Mode.
    Aes256Gcm,
    /// ChaCha20 with Poly1305 (RFC 8439), faster where the processor has no AES.
    Chacha20Poly1305,
}

impl Mode {
    /// The names, in the order of the variants.
    pub const NAMES: [&str; 3] = ["off", "aes-256-gcm", "chacha20-poly1305"];

    /// The mode with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Mode> {
        [Mode::Off, Mode::Aes256Gcm, Mode::Chacha20Poly1305].into_iter().find(|mode| mode.name() == name)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let [off, aes, chacha] = Self::NAMES;
        match self {
            Mode::Off => off,
            Mode::Aes256Gcm => aes,
            Mode::Chacha20Poly1305 => chacha,
        }
    }

    fn algorithm(self) -> Option<&'static Algorithm> {
        match self {
            Mode::Off => None,
            Mode::Aes256Gcm => Some(&AES_256_GCM),
            Mode::Chacha20Poly1305 => Some(&CHACHA20_POLY1305),
        }
    }

    fn from_code(code: u8) -> Option<Mode> {
        [Mode::Aes256Gcm, Mode::Chacha20Poly1305].into_iter().find(|mode| *mode as u8 == code)
    }
}

/// What the wrapping key is derived from, such as a private key. Any bytes, as long as nobody can guess them.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Takes the bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Secret {
        Secret(bytes.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// How the content is to be encrypted. A store that is encrypted otherwise is written anew when it is opened.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Encryption {
    /// Whether and how.
    pub mode: Mode,
    /// Needed unless the mode is [`Mode::Off`], and to open what was encrypted before.
    pub secret: Option<Secret>,
}

/// Seals and opens the values of one content; does nothing where that is not encrypted.
#[derive(Clone)]
pub(crate) struct Cipher {
    mode: Mode,
    key: Option<Arc<LessSafeKey>>,
    /// The bytes of the file with the wrapped key.
    file: Arc<[u8]>,
}

/// What sealed bytes are of; they open as nothing else.
#[derive(Clone, Copy)]
pub(crate) enum What<'a> {
    Record(&'a Key),
    Meta,
}

impl What<'_> {
    fn aad(self) -> Aad<[u8; 19]> {
        let mut aad = [0; 19];
        if let What::Record(key) = self {
            aad[0] = 1;
            aad[1..].copy_from_slice(&key_bytes(key));
        }
        Aad::from(aad)
    }
}

impl Cipher {
    /// A cipher that leaves everything as it is.
    pub(crate) fn none() -> Cipher {
        Cipher { mode: Mode::Off, key: None, file: Arc::default() }
    }

    /// A cipher with a new data key. `None` where a secret is needed and missing.
    pub(crate) fn new(encryption: &Encryption) -> Result<Option<Cipher>, CommitError> {
        let Some(algorithm) = encryption.mode.algorithm() else { return Ok(Some(Cipher::none())) };
        let Some(secret) = &encryption.secret else { return Ok(None) };
        let mut file = Vec::with_capacity(FILE_BYTES);
        file.extend_from_slice(&MAGIC);
        file.push(encryption.mode as u8);
        file.extend_from_slice(&random::<SALT_BYTES>()?);
        let data_key = random::<KEY_BYTES>()?;
        let sealed = wrapping_key(algorithm, secret, &file).and_then(|key| seal(&key, Aad::from(&file), &data_key));
        file.extend_from_slice(&sealed.ok_or(CommitError::Encryption)?);
        file.extend_from_slice(&hash(&file));
        let key = UnboundKey::new(algorithm, &data_key).map_err(|_| CommitError::Encryption)?;
        Ok(Some(Cipher { mode: encryption.mode, key: Some(Arc::new(LessSafeKey::new(key))), file: file.into() }))
    }

    /// The cipher of a generation that exists.
    pub(crate) fn load(gen_dir: &Path, secret: Option<&Secret>) -> Result<Cipher, OpenError> {
        let path = gen_dir.join(FILE);
        let file = read_small(&path, || OpenError::corrupt(&path, "not a key of ours"))?;
        match (file, layout::says_encrypted(gen_dir)?) {
            (None, false) => Ok(Cipher::none()),
            (None, true) => Err(OpenError::corrupt(path, "the key of an encrypted generation is missing")),
            (Some(_), false) => Err(OpenError::corrupt(path, "a key in a generation that is not encrypted")),
            (Some(file), true) => Cipher::unwrap(&path, file, secret),
        }
    }

    fn unwrap(path: &Path, file: Vec<u8>, secret: Option<&Secret>) -> Result<Cipher, OpenError> {
        let bad = || OpenError::corrupt(path, "a key that fails its hash");
        let (body, found) = file.split_last_chunk::<HASH_BYTES>().ok_or_else(bad)?;
        let (head, wrapped) = body.split_at_checked(HEAD_BYTES).ok_or_else(bad)?;
        if file.len() != FILE_BYTES || *found != hash(body) || !head.starts_with(&MAGIC) {
            return Err(bad());
        }
        let mode = head.get(MAGIC.len()).copied().and_then(Mode::from_code).ok_or_else(bad)?;
        let algorithm = mode.algorithm().ok_or_else(bad)?;
        let secret = secret.ok_or_else(|| OpenError::NoKey(path.into()))?;
        let data_key = wrapping_key(algorithm, secret, head).and_then(|key| open(&key, Aad::from(head), wrapped));
        let data_key = data_key.ok_or_else(|| OpenError::WrongKey(path.into()))?;
        let key = UnboundKey::new(algorithm, &data_key).map_err(|_| bad())?;
        Ok(Cipher { mode, key: Some(Arc::new(LessSafeKey::new(key))), file: file.into() })
    }

    /// Writes the wrapped key into a generation that is being built.
    pub(crate) fn store(&self, gen_dir: &Path) -> std::io::Result<()> {
        if self.key.is_some() { write_whole(gen_dir, FILE, &self.file) } else { Ok(()) }
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// The bytes as they are kept.
    pub(crate) fn seal(&self, what: What<'_>, plain: Arc<[u8]>) -> Result<Arc<[u8]>, CommitError> {
        let Some(key) = &self.key else { return Ok(plain) };
        seal(key, what.aad(), &plain).map(Into::into).ok_or(CommitError::Encryption)
    }

    /// The bytes as they were given; `None` if they were not sealed with this key for this purpose.
    pub(crate) fn open(&self, what: What<'_>, kept: Arc<[u8]>) -> Option<Arc<[u8]>> {
        let Some(key) = &self.key else { return Some(kept) };
        open(key, what.aad(), &kept).map(Into::into)
    }

    /// As [`Cipher::open`], without a copy where nothing is encrypted.
    pub(crate) fn with_open<T>(&self, what: What<'_>, kept: &[u8], take: impl FnOnce(&[u8]) -> T) -> Option<T> {
        match &self.key {
            None => Some(take(kept)),
            Some(key) => open(key, what.aad(), kept).map(|plain| take(&plain)),
        }
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cipher({})", self.mode.name())
    }
}

/// Whether a generation has a key, and so is encrypted.
pub(crate) fn has_key(gen_dir: &Path) -> bool {
    gen_dir.join(FILE).exists()
}

fn hash(body: &[u8]) -> [u8; HASH_BYTES] {
    let mut hasher = hasher(Purpose::Key, 0, 0);
    hasher.update(body);
    hasher.digest().to_le_bytes()
}

fn random<const N: usize>() -> Result<[u8; N], CommitError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| CommitError::Encryption)?;
    Ok(bytes)
}

/// The key that wraps the data key, by HKDF with SHA-256 (RFC 5869); the salt ends the head of the file.
fn wrapping_key(algorithm: &'static Algorithm, secret: &Secret, head: &[u8]) -> Option<LessSafeKey> {
    let (_, salt) = head.split_last_chunk::<SALT_BYTES>()?;
    let derived = Salt::new(HKDF_SHA256, salt).extract(&secret.0);
    let key = derived.expand(&[INFO], algorithm).ok()?;
    Some(LessSafeKey::new(UnboundKey::from(key)))
}

/// Nonce, ciphertext, tag. The nonce is random: 96 bits are enough for the 2^32 values that one data key may seal.
fn seal<A: AsRef<[u8]>>(key: &LessSafeKey, aad: Aad<A>, plain: &[u8]) -> Option<Vec<u8>> {
    let nonce = random::<NONCE_LEN>().ok()?;
    let mut sealed = Vec::with_capacity(SEALED_EXTRA_BYTES + plain.len());
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plain);
    let text = sealed.get_mut(NONCE_LEN..)?;
    let tag = key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, text).ok()?;
    sealed.extend_from_slice(tag.as_ref());
    Some(sealed)
}

fn open<A: AsRef<[u8]>>(key: &LessSafeKey, aad: Aad<A>, sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut text = text.to_vec();
    let plain = key.open_in_place(Nonce::assume_unique_for_key(*nonce), aad, &mut text).ok()?.len();
    text.truncate(plain);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encryption(mode: Mode, secret: &[u8]) -> Encryption {
        Encryption { mode, secret: Some(Secret::new(secret)) }
    }

    #[test]
    fn what_is_sealed_opens_under_its_own_name_only_and_no_flipped_bit_passes() {
        let (one, other) = ([1; 16], [2; 16]);
        let key = |id| Key { table: 0, kind: 1, id };
        for mode in [Mode::Aes256Gcm, Mode::Chacha20Poly1305] {
            let cipher = Cipher::new(&encryption(mode, b"secret")).unwrap().unwrap();
            let sealed = cipher.seal(What::Record(&key(one)), Arc::from(*b"value")).unwrap();
            assert_eq!(sealed.len(), 5 + SEALED_EXTRA_BYTES);
            assert_eq!(cipher.open(What::Record(&key(one)), sealed.clone()).as_deref(), Some(&b"value"[..]));
            assert_eq!(cipher.open(What::Record(&key(other)), sealed.clone()), None);
            assert_eq!(cipher.open(What::Meta, sealed.clone()), None);
            for bit in 0..sealed.len() * 8 {
                let mut bad = sealed.to_vec();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(cipher.open(What::Record(&key(one)), bad.into()), None, "bit {bit}");
            }
        }
    }

    #[test]
    fn names_are_kongs() {
        assert_eq!(Mode::NAMES.map(|name| Mode::parse(name).unwrap().name()), Mode::NAMES);
        assert_eq!(Mode::parse("on"), None);
    }
}
