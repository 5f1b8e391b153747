//! A snapshot bundle: the blob of a full sync in a file, with what WELCOME and FULL_BEGIN would say of it, signed by a member
//! of the cluster. It is for a node that has no control plane to ask: from a USB stick, in an image, from another node.
//! `BUNDLE.md` beside this crate is the normative text.
//!
//! Here are the bytes of its head, and the compressor for those who have no other ([`pack`]). Who reads files, hashes
//! and verifies is above; the blob is taken apart by [`crate::full::Unpack`], as one that came over the network.

pub mod pack;

use crate::limits::{BLOB_BYTES_MAX, PLAIN_BYTES_MAX, clip};
use crate::message::{CODEC_ZSTD, FullBegin, open_byte};
use model::Id;
use postcard::fixint::le;
use serde::{Deserialize, Serialize};
use std::io::{self, Read};

/// How a bundle begins.
pub const MAGIC: [u8; 8] = *b"EGbundle";
/// The format that is written; a reader refuses a higher one.
pub const FORMAT: u32 = 1;
/// The first bytes of a bundle, which say how long the rest of the head is.
pub const FIXED_BYTES: usize = 24;
/// The most bytes of a header.
pub const HEADER_BYTES_MAX: usize = 1024;
/// The most bytes of a signature with its certificates.
pub const SIGNATURE_BYTES_MAX: usize = 24 * 1024;
/// The most bytes before the blob.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;
/// The most certificates of a signer's chain.
pub const CERTIFICATES_MAX: usize = 8;
/// The class of entities that every node sees; there is no other yet.
pub const AUDIENCE_ALL: u16 = 0;

/// What of the fixed bytes is signed, before the header: magic, format, length of the header.
const SIGNED_BYTES: usize = 16;

open_byte! {
    /// What a bundle was made by.
    Writer {
        /// A control plane.
        ControlPlane = 1,
        /// A data plane, of what it held.
        DataPlane = 2,
    }
}

/// What a bundle says of its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The cluster that it is for, as in WELCOME.
    pub cluster: Id,
    /// The epoch of `version`.
    #[serde(with = "le")]
    pub epoch: u64,
    /// The term of that epoch.
    pub term: u32,
    /// The version of the content.
    pub version: u64,
    /// The root digest at that version.
    #[serde(with = "le")]
    pub root: u64,
    /// How many entities there are.
    pub count: u64,
    /// The class of nodes that may have it.
    pub audience: u16,
    /// The codec of the blob.
    pub codec: u8,
    /// The length of its entities, encoded and not compressed.
    pub plain: u64,
    /// The length of the blob.
    pub bytes: u64,
    /// The SHA-256 of the blob.
    pub sha256: [u8; 32],
    /// What made it.
    pub writer: Writer,
    /// Name and version of the software that made it.
    pub software: String,
    /// When, in seconds since 1970 by the maker's clock; for people only. 0: not known.
    pub made_s: u64,
}

/// Who vouches for a header, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The scheme, as TLS 1.3 numbers them (RFC 8446, 4.2.3).
    pub scheme: u16,
    /// The signer's certificate in DER, then those that lead to its issuer.
    pub certificates: Vec<Vec<u8>>,
    /// The signature.
    pub bytes: Vec<u8>,
}

/// Everything before the blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// What the content is.
    pub header: Header,
    /// Who says so.
    pub signature: Signature,
    /// The bytes that are signed.
    pub signed: Vec<u8>,
}

/// How long the parts of a head are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lengths {
    header: usize,
    signature: usize,
    /// Where the blob begins.
    pub blob_at: usize,
}

/// Why bytes are no bundle for this program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// It does not begin as one.
    #[error("not a snapshot bundle")]
    NotABundle,
    /// A newer program wrote it.
    #[error("a snapshot bundle of format {0}; this program reads format {FORMAT}")]
    NewerFormat(u32),
    /// The head is longer than it may be, or its parts do not fit into it.
    #[error("it is damaged: its head has impossible lengths")]
    Lengths,
    /// The header is not what it says to be.
    #[error("it is damaged: malformed header")]
    Header,
    /// The signature is not what it says to be.
    #[error("it is damaged: malformed signature")]
    Signature,
    /// There are bytes where none belong.
    #[error("it is damaged: there is something between signature and content")]
    Padding,
    /// The content is larger than any may be.
    #[error("its content is larger than a bundle's may be, or too small for its entities")]
    Limits,
    /// The content is compressed in a way that this program does not know.
    #[error("its content is encoded in a way that this program does not know (codec {0})")]
    Codec(u8),
    /// The content is for some nodes only, and this program cannot tell whether for this one.
    #[error("it is for nodes of class {0}, of which this program does not know")]
    Audience(u16),
    /// A certificate chain or a signature that is too long to be written.
    #[error("the signer's certificates are longer than {SIGNATURE_BYTES_MAX} bytes, or more than {CERTIFICATES_MAX}")]
    TooLong,
}

impl Header {
    /// What FULL_BEGIN would say of the blob.
    #[must_use]
    pub fn begin(&self) -> FullBegin {
        let Self { version, root, count, codec, plain, bytes, .. } = *self;
        FullBegin { transfer: 0, version, root, count, codec, plain, bytes, confirmed: 0 }
    }

    /// The bytes to sign: the beginning of the file as far as it does not depend on the signature, and the header.
    #[must_use]
    pub fn signed(&self) -> Vec<u8> {
        let header = self.encode();
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&length(header.len()).to_le_bytes());
        bytes.extend_from_slice(&header);
        bytes
    }

    fn encode(&self) -> Vec<u8> {
        // Numbers and a short text into a vector: that cannot fail.
        postcard::to_allocvec(&Self { software: clip(self.software.clone()), ..self.clone() }).unwrap_or_default()
    }

    fn decode(bytes: &[u8]) -> Result<Self, BundleError> {
        // Fields that later versions append are ignored.
        let (mut header, _later): (Self, _) = postcard::take_from_bytes(bytes).map_err(|_| BundleError::Header)?;
        header.software = clip(header.software);
        if header.codec != CODEC_ZSTD {
            return Err(BundleError::Codec(header.codec));
        }
        if header.audience != AUDIENCE_ALL {
            return Err(BundleError::Audience(header.audience));
        }
        let sound = crate::full::blob::is_sound(&header.begin());
        if !sound || header.bytes > BLOB_BYTES_MAX || header.plain > PLAIN_BYTES_MAX {
            return Err(BundleError::Limits);
        }
        Ok(header)
    }
}

impl Head {
    /// The bytes of a head, so long that the blob can begin at `blob_at`; right after it where that is `None`.
    ///
    /// # Errors
    /// [`BundleError::TooLong`]: the signature does not fit.
    pub fn encode(header: &Header, signature: &Signature, blob_at: Option<usize>) -> Result<Vec<u8>, BundleError> {
        let (signed, signature_bytes) = (header.signed(), signature.encode());
        let header_bytes = signed.get(SIGNED_BYTES..).unwrap_or_default();
        let end = FIXED_BYTES + header_bytes.len() + signature_bytes.len();
        let blob_at = blob_at.unwrap_or(end);
        let fits = signature_bytes.len() <= SIGNATURE_BYTES_MAX && end <= blob_at && blob_at <= HEAD_BYTES_MAX;
        if signature.certificates.len() > CERTIFICATES_MAX || !fits {
            return Err(BundleError::TooLong);
        }
        let mut bytes = signed.get(..SIGNED_BYTES).unwrap_or_default().to_vec();
        bytes.extend_from_slice(&length(signature_bytes.len()).to_le_bytes());
        bytes.extend_from_slice(&length(blob_at).to_le_bytes());
        bytes.extend_from_slice(header_bytes);
        bytes.extend_from_slice(&signature_bytes);
        bytes.resize(blob_at, 0);
        Ok(bytes)
    }

    /// Reads a head: all bytes before the blob, as [`Lengths`] says.
    ///
    /// # Errors
    /// What is wrong with it. The signature is not verified here.
    pub fn read(bytes: &[u8]) -> Result<Self, BundleError> {
        let fixed = bytes.first_chunk().ok_or(BundleError::Lengths)?;
        let lengths = Lengths::read(fixed)?;
        let rest = bytes.get(FIXED_BYTES..lengths.blob_at).ok_or(BundleError::Lengths)?;
        let (header_bytes, rest) = rest.split_at_checked(lengths.header).ok_or(BundleError::Lengths)?;
        let (signature, padding) = rest.split_at_checked(lengths.signature).ok_or(BundleError::Lengths)?;
        if bytes.len() != lengths.blob_at || padding.iter().any(|byte| *byte != 0) {
            return Err(BundleError::Padding);
        }
        let header = Header::decode(header_bytes)?;
        let signature = Signature::decode(signature)?;
        let mut signed = fixed.get(..SIGNED_BYTES).unwrap_or_default().to_vec();
        signed.extend_from_slice(header_bytes);
        Ok(Self { header, signature, signed })
    }
}

/// Why no head could be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// What comes is no bundle, or one that this program cannot use.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// It ends inside its head.
    #[error("it is damaged: it ends inside its head")]
    Truncated,
    /// It cannot be read.
    #[error(transparent)]
    Io(io::Error),
}

/// Reads the head of a bundle and leaves `from` where the blob begins. Takes at most [`HEAD_BYTES_MAX`] bytes.
///
/// # Errors
/// See [`ReadError`]. The signature is not verified here.
pub fn read_head(from: &mut impl Read) -> Result<Head, ReadError> {
    let mut fixed = [0; FIXED_BYTES];
    let mut got = 0;
    while let Some(space) = fixed.get_mut(got..).filter(|space| !space.is_empty()) {
        match from.read(space) {
            Ok(0) => break,
            Ok(count) => got += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ReadError::Io(error)),
        }
    }
    if !fixed.get(..got).unwrap_or_default().starts_with(MAGIC.get(..got.min(MAGIC.len())).unwrap_or_default())
        || got == 0
    {
        return Err(BundleError::NotABundle.into());
    }
    if got < FIXED_BYTES {
        return Err(ReadError::Truncated);
    }
    let mut bytes = fixed.to_vec();
    bytes.resize(Lengths::read(&fixed)?.blob_at, 0);
    let rest = bytes.get_mut(FIXED_BYTES..).unwrap_or_default();
    from.read_exact(rest).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ReadError::Truncated,
        _ => ReadError::Io(error),
    })?;
    Ok(Head::read(&bytes)?)
}

impl Signature {
    fn encode(&self) -> Vec<u8> {
        postcard::to_allocvec(self).unwrap_or_default()
    }

    fn decode(bytes: &[u8]) -> Result<Self, BundleError> {
        let (signature, _later): (Self, _) = postcard::take_from_bytes(bytes).map_err(|_| BundleError::Signature)?;
        let some = (1..=CERTIFICATES_MAX).contains(&signature.certificates.len());
        if some { Ok(signature) } else { Err(BundleError::Signature) }
    }
}

impl Lengths {
    /// Reads how a bundle begins.
    ///
    /// # Errors
    /// It is no bundle, or one that this program does not know; see [`BundleError`].
    pub fn read(fixed: &[u8; FIXED_BYTES]) -> Result<Self, BundleError> {
        let rest = fixed.strip_prefix(&MAGIC).ok_or(BundleError::NotABundle)?;
        let mut numbers = rest.chunks_exact(4).filter_map(|bytes| bytes.try_into().ok().map(u32::from_le_bytes));
        let mut number = || numbers.next().ok_or(BundleError::Lengths);
        let format = number()?;
        if format != FORMAT {
            return Err(BundleError::NewerFormat(format));
        }
        let mut length = || usize::try_from(number()?).map_err(|_| BundleError::Lengths);
        let (header, signature, blob_at) = (length()?, length()?, length()?);
        let within = header <= HEADER_BYTES_MAX && signature <= SIGNATURE_BYTES_MAX && blob_at <= HEAD_BYTES_MAX;
        if !within || FIXED_BYTES + header + signature > blob_at {
            return Err(BundleError::Lengths);
        }
        Ok(Self { header, signature, blob_at })
    }
}

/// A length that is within its limit, as it is written.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
