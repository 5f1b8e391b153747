//! Encryption at rest: values and metas are sealed before anything below sees them, so that journals, spill files and
//! sled hold only what is sealed. Each content (each generation that did not come of a compaction) has a random data key
//! of its own, which lies beside it, wrapped by a key that is derived from the caller's secret. While that secret is being
//! replaced, the data key is wrapped twice, by the former one and by the one that follows, so that either opens it; what is
//! sealed is never written anew for that.
//!
//! What is not hidden: keys, kinds, lengths, how often something changes. Whoever can write to the directory can put
//! back an older state of it, but nothing that was not sealed with the data key under the same key.

mod envelope;

pub use envelope::Envelope;

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
/// The same data key wrapped by a second secret, while there are two.
const SECOND: &str = "key2";
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
/// Length of a nonce.
pub(crate) const NONCE_BYTES: usize = NONCE_LEN;
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
    /// The secret before this one, as long as it may be needed: a content that only it opens is re-wrapped for `secret`
    /// when the store is opened, and goes on opening with either until this is `None`.
    pub former: Option<Secret>,
}

impl Encryption {
    /// The secrets by which a data key is to be wrapped, in the order of their files. The former one keeps the first file:
    /// a program that knows of one file only opens it with the secret that it knows.
    fn secrets(&self) -> Vec<&Secret> {
        let former = self.former.as_ref().filter(|former| Some(*former) != self.secret.as_ref());
        let Some(secret) = &self.secret else { return former.into_iter().collect() };
        former.into_iter().chain([secret]).collect()
    }
}

/// Seals and opens the values of one content; does nothing where that is not encrypted.
#[derive(Clone)]
pub(crate) struct Cipher {
    mode: Mode,
    key: Option<Arc<LessSafeKey>>,
    /// The wrapped keys: the bytes of `key` and, while there are two secrets, of `key2`.
    wraps: Arc<[Vec<u8>]>,
}

/// A data key as it was found.
struct Unwrapped {
    mode: Mode,
    algorithm: &'static Algorithm,
    data_key: Vec<u8>,
}

/// What sealed bytes are of; they open as nothing else.
#[derive(Clone, Copy)]
pub(crate) enum What<'a> {
    Record(&'a Key),
    Meta,
    /// A chunk of the archive's run up to commit `to`.
    Chunk {
        to: u64,
        offset: u64,
    },
}

impl What<'_> {
    fn aad(self) -> Aad<[u8; 19]> {
        let mut aad = [0; 19];
        match self {
            What::Record(key) => {
                aad[0] = 1;
                aad[1..].copy_from_slice(&key_bytes(key));
            }
            What::Meta => {}
            What::Chunk { to, offset } => {
                aad[0] = 2;
                aad[1..9].copy_from_slice(&to.to_le_bytes());
                aad[9..17].copy_from_slice(&offset.to_le_bytes());
            }
        }
        Aad::from(aad)
    }
}

impl Cipher {
    /// A cipher that leaves everything as it is.
    pub(crate) fn none() -> Cipher {
        Cipher { mode: Mode::Off, key: None, wraps: Arc::default() }
    }

    /// A cipher with a new data key. `None` where a secret is needed and missing.
    pub(crate) fn new(encryption: &Encryption) -> Result<Option<Cipher>, CommitError> {
        let mode = encryption.mode;
        let Some(algorithm) = mode.algorithm() else { return Ok(Some(Cipher::none())) };
        if encryption.secret.is_none() {
            return Ok(None);
        }
        let data_key = random::<KEY_BYTES>()?;
        let wraps = wraps(encryption, mode, algorithm, &data_key)?;
        let key = UnboundKey::new(algorithm, &data_key).map_err(|_| CommitError::Encryption)?;
        Ok(Some(Cipher { mode, key: Some(Arc::new(LessSafeKey::new(key))), wraps: wraps.into() }))
    }

    /// A cipher with this data key, which is in no file.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn with_key(mode: Mode, data_key: &[u8; KEY_BYTES]) -> Option<Cipher> {
        let key = LessSafeKey::new(UnboundKey::new(mode.algorithm()?, data_key).ok()?);
        Some(Cipher { mode, key: Some(Arc::new(key)), wraps: Arc::default() })
    }

    /// The cipher of a generation that exists. Before it returns, the data key is wrapped on disk as `encryption` wants
    /// it, where the disk takes that; where not, the wraps that there are stay.
    pub(crate) fn load(gen_dir: &Path, encryption: &Encryption) -> Result<Cipher, OpenError> {
        let path = gen_dir.join(FILE);
        let read = |name| {
            let path = gen_dir.join(name);
            read_small(&path, || OpenError::corrupt(&path, "not a key of ours"))
        };
        let files = [read(FILE)?, read(SECOND)?];
        match (files.iter().any(Option::is_some), layout::says_encrypted(gen_dir)?) {
            (false, false) => return Ok(Cipher::none()),
            (false, true) => return Err(OpenError::corrupt(path, "the key of an encrypted generation is missing")),
            (true, false) => return Err(OpenError::corrupt(path, "a key in a generation that is not encrypted")),
            (true, true) => {}
        }
        let Unwrapped { mode, algorithm, data_key } = found(&path, &files, encryption)?;
        let key = UnboundKey::new(algorithm, &data_key).map_err(|_| OpenError::corrupt(&path, "a key of no use"))?;
        let wraps = settle(gen_dir, &files, encryption, &Unwrapped { mode, algorithm, data_key });
        Ok(Cipher { mode, key: Some(Arc::new(LessSafeKey::new(key))), wraps: wraps.into() })
    }

    /// Writes the wrapped key into a generation that is being built.
    pub(crate) fn store(&self, gen_dir: &Path) -> std::io::Result<()> {
        self.wraps.iter().zip([FILE, SECOND]).try_for_each(|(wrap, name)| write_whole(gen_dir, name, wrap))
    }

    /// Whether the wrapped keys in a generation are still those that were written there.
    pub(crate) fn is_stored(&self, gen_dir: &Path) -> bool {
        let is_same =
            |(wrap, name): (&Vec<u8>, &str)| std::fs::read(gen_dir.join(name)).is_ok_and(|read| read == *wrap);
        self.wraps.iter().zip([FILE, SECOND]).all(is_same)
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

    /// The nonce of a sealed value, and the value in it.
    pub(crate) fn take_apart(&self, key: &Key, sealed: &[u8]) -> Option<([u8; NONCE_BYTES], Vec<u8>)> {
        let plain = open(self.key.as_deref()?, What::Record(key).aad(), sealed)?;
        Some((*sealed.first_chunk()?, plain))
    }

    /// What [`Cipher::take_apart`] took apart: the same bytes again, so that no nonce is used for anything else.
    pub(crate) fn put_together(&self, key: &Key, nonce: &[u8; NONCE_BYTES], plain: &[u8]) -> Option<Vec<u8>> {
        seal_with(self.key.as_deref()?, What::Record(key).aad(), nonce, plain)
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

/// The data key, from whichever file opens with whichever secret.
fn found(path: &Path, files: &[Option<Vec<u8>>; 2], encryption: &Encryption) -> Result<Unwrapped, OpenError> {
    let secrets = encryption.secrets();
    let whole: Vec<_> = files.iter().flatten().filter_map(|file| parts(file)).collect();
    if whole.is_empty() {
        return Err(OpenError::corrupt(path, "a key that fails its hash"));
    }
    if secrets.is_empty() {
        return Err(OpenError::NoKey(path.into()));
    }
    let mut pairs = whole.iter().flat_map(|parts| secrets.iter().map(move |secret| (parts, secret)));
    let opened = pairs.find_map(|((mode, head, wrapped), secret)| {
        let (mode, algorithm) = (*mode, mode.algorithm()?);
        let data_key = unwrap(algorithm, secret, head, wrapped)?;
        Some(Unwrapped { mode, algorithm, data_key })
    });
    opened.ok_or_else(|| OpenError::WrongKey(path.into()))
}

/// Brings the wraps on disk to what `encryption` wants, one file at a time, so that at every moment one of them opens
/// with a secret that is set; returns them.
fn settle(
    gen_dir: &Path,
    files: &[Option<Vec<u8>>; 2],
    encryption: &Encryption,
    Unwrapped { mode, algorithm, data_key }: &Unwrapped,
) -> Vec<Vec<u8>> {
    let is_good = |file: &Vec<u8>, secret: &Secret| {
        let same = parts(file).filter(|(found, ..)| found == mode);
        let opened = same.and_then(|(_, head, wrapped)| unwrap(algorithm, secret, head, wrapped));
        opened.is_some_and(|opened| opened == *data_key)
    };
    let (mut wanted, mut done) = (Vec::new(), Ok(()));
    for (secret, file) in encryption.secrets().into_iter().zip(files) {
        wanted.push(match file {
            Some(file) if is_good(file, secret) => file.clone(),
            _ => match wrap(*mode, algorithm, secret, data_key) {
                Ok(wrap) => wrap,
                Err(error) => {
                    tracing::error!(%error, "store: its key stays as it is");
                    return files.iter().flatten().cloned().collect();
                }
            },
        });
    }
    // The second file first: it holds the secret that is to stay.
    for (name, (wanted, file)) in [FILE, SECOND].into_iter().zip(wanted.iter().zip(files)).rev() {
        if file.as_ref() != Some(wanted) {
            tracing::info!(file = name, "store: its key is wrapped anew");
            done = done.and_then(|()| write_whole(gen_dir, name, wanted));
        }
    }
    if wanted.len() < 2 && files[1].is_some() {
        done = done.and_then(|()| layout::remove(&gen_dir.join(SECOND))).and_then(|()| layout::sync_dir(gen_dir));
    }
    if let Err(error) = done {
        tracing::error!(%error, "store: its key cannot be wrapped anew on this disk; the former secret is still needed");
    }
    wanted
}

/// Mode, head and wrapped key of a key file; `None` if it is not one.
fn parts(file: &[u8]) -> Option<(Mode, &[u8], &[u8])> {
    let (body, found) = file.split_last_chunk::<HASH_BYTES>()?;
    let (head, wrapped) = body.split_at_checked(HEAD_BYTES)?;
    let sound = file.len() == FILE_BYTES && *found == hash(body) && head.starts_with(&MAGIC);
    let mode = head.get(MAGIC.len()).copied().and_then(Mode::from_code)?;
    sound.then_some((mode, head, wrapped))
}

/// What is in a key file with this body and a right hash: its mode, and whether the secret opens it.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_key_file(body: &[u8], secret: &[u8]) -> Option<(Mode, bool)> {
    let file = [body, &hash(body)].concat();
    let (mode, ..) = parts(&file)?;
    let encryption = Encryption { mode, secret: Some(Secret::new(secret)), former: None };
    let opened = found(Path::new(FILE), &[Some(file), None], &encryption);
    Some((mode, opened.is_ok_and(|opened| opened.data_key.len() == KEY_BYTES && opened.mode == mode)))
}

/// The body of a key file that a secret opens.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_key_file_seed(mode: Mode, secret: &[u8]) -> Option<Vec<u8>> {
    let file = wrap(mode, mode.algorithm()?, &Secret::new(secret), &[7; KEY_BYTES]).ok()?;
    Some(file[..file.len() - HASH_BYTES].to_vec())
}

/// The bytes of a key file for each secret.
fn wraps(
    encryption: &Encryption,
    mode: Mode,
    algorithm: &'static Algorithm,
    data_key: &[u8],
) -> Result<Vec<Vec<u8>>, CommitError> {
    encryption.secrets().into_iter().map(|secret| wrap(mode, algorithm, secret, data_key)).collect()
}

fn wrap(mode: Mode, algorithm: &'static Algorithm, secret: &Secret, data_key: &[u8]) -> Result<Vec<u8>, CommitError> {
    let mut file = Vec::with_capacity(FILE_BYTES);
    file.extend_from_slice(&MAGIC);
    file.push(mode as u8);
    file.extend_from_slice(&random::<SALT_BYTES>()?);
    let sealed = wrapping_key(algorithm, secret, &file).and_then(|key| seal(&key, Aad::from(&file), data_key));
    file.extend_from_slice(&sealed.ok_or(CommitError::Encryption)?);
    file.extend_from_slice(&hash(&file));
    Ok(file)
}

fn unwrap(algorithm: &'static Algorithm, secret: &Secret, head: &[u8], wrapped: &[u8]) -> Option<Vec<u8>> {
    open(&wrapping_key(algorithm, secret, head)?, Aad::from(head), wrapped)
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
    seal_with(key, aad, &random::<NONCE_LEN>().ok()?, plain)
}

fn seal_with<A: AsRef<[u8]>>(key: &LessSafeKey, aad: Aad<A>, nonce: &[u8; NONCE_LEN], plain: &[u8]) -> Option<Vec<u8>> {
    let mut sealed = Vec::with_capacity(SEALED_EXTRA_BYTES + plain.len());
    sealed.extend_from_slice(nonce);
    sealed.extend_from_slice(plain);
    let text = sealed.get_mut(NONCE_LEN..)?;
    let tag = key.seal_in_place_separate_tag(Nonce::assume_unique_for_key(*nonce), aad, text).ok()?;
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
        Encryption { mode, secret: Some(Secret::new(secret)), former: None }
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
