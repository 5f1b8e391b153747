//! Snapshot bundles as files (platform/wire/BUNDLE.md): how a data plane gets its configuration, or gives what it holds,
//! while there is no control plane to ask.
//!
//! Nothing of a file is decoded before its signature and its hash were found right, nothing of it counts before all of
//! it compiles, and it gets into the store by the same replacement of the whole content as a full sync. [`check`] reads,
//! [`take`] judges and takes, [`write`] exports. Files are read 16 KiB at a time.

pub mod take;
pub mod write;

use model::Id;
use pki::{Mtls, Proof, Role, Sha256, SignatureError, Verifier};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use wire::bundle::{BundleError, Head, Header, ReadError, Writer, read_head};

/// How much is read at once.
const PIECE_BYTES: usize = 16 * 1024;

/// A bundle whose signature and hash are right.
#[derive(Debug)]
pub struct Checked {
    file: File,
    blob_at: u64,
    /// What it holds.
    pub header: Header,
    /// What its signature proves.
    pub proof: Proof,
}

/// Why a file is not believed.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is no bundle, or none that this program can use.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Its writer is neither a control plane nor a data plane.
    #[error("it was made by something that this program does not know ({0})")]
    Writer(u8),
    /// It is shorter or longer than its head says.
    #[error("it is damaged: its length is not what it says")]
    Length,
    /// Its signature proves nothing.
    #[error("its signature does not count: {0}")]
    Signature(#[from] SignatureError),
    /// It was made in another cluster.
    #[error("it is of another cluster ({theirs}, this one is {ours})")]
    Cluster {
        /// This one.
        ours: Id,
        /// The bundle's.
        theirs: Id,
    },
    /// The content is not the one that was signed.
    #[error("it is damaged: its content is not what was signed")]
    Hash,
}

impl From<ReadError> for CheckError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Bundle(error) => Self::Bundle(error),
            ReadError::Truncated => Self::Length,
            ReadError::Io(error) => Self::Io(error),
        }
    }
}

/// Opens a bundle and checks who signed it and that it is whole. `now_s` is in seconds since 1970.
///
/// # Errors
/// What is wrong with it.
pub fn check(path: &Path, verifier: &Verifier, now_s: u64) -> Result<Checked, CheckError> {
    check_file(File::open(path)?, verifier, now_s)
}

fn check_file(mut file: File, verifier: &Verifier, now_s: u64) -> Result<Checked, CheckError> {
    file.rewind()?;
    let Head { header, signature, signed } = read_head(&mut file)?;
    let role = match header.writer {
        Writer::ControlPlane => Role::ControlPlane,
        Writer::DataPlane => Role::DataPlane,
        Writer::Other(code) => return Err(CheckError::Writer(code)),
    };
    let wire::bundle::Signature { scheme, certificates, bytes } = signature;
    let proof = verifier.verify(&signed, &pki::Signed { scheme, certificates, bytes }, role, now_s)?;
    if let Mtls::Shared = verifier.mtls {
        let (ours, theirs) = (Id::from_bytes(verifier.identity.cluster()), header.cluster);
        if ours != theirs {
            return Err(CheckError::Cluster { ours, theirs });
        }
    }
    let blob_at = file.stream_position()?;
    if file.metadata()?.len() != blob_at.saturating_add(header.bytes) {
        return Err(CheckError::Length);
    }
    let mut blob = Hashing { from: &file, hash: Sha256::default() };
    io::copy(&mut blob, &mut io::sink())?;
    if blob.hash.finish() != header.sha256 {
        return Err(CheckError::Hash);
    }
    Ok(Checked { file, blob_at, header, proof })
}

impl Checked {
    /// The blob from its beginning.
    fn blob(&mut self) -> io::Result<Hashing<io::Take<&File>>> {
        self.file.seek(SeekFrom::Start(self.blob_at))?;
        Ok(Hashing { from: (&self.file).take(self.header.bytes), hash: Sha256::default() })
    }
}

/// Hashes what is read through it, a piece at a time.
struct Hashing<R> {
    from: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let space = buffer.len().min(PIECE_BYTES);
        let count = self.from.read(buffer.get_mut(..space).unwrap_or_default())?;
        self.hash.update(buffer.get(..count).unwrap_or_default());
        Ok(count)
    }
}

/// Who made a bundle and what its signature proves, in words.
#[must_use]
pub fn vouched(header: &Header, proof: &Proof) -> String {
    let writer = if header.writer == Writer::DataPlane { "a data plane" } else { "a control plane" };
    let proof = match proof {
        Proof::Membership => {
            "The signature proves that a member of the cluster made it, and no more: in shared mode every \
                              node holds the key."
                .to_owned()
        }
        Proof::Certificate(Some(name)) => format!("The signature is that of the certificate of \"{name}\"."),
        Proof::Certificate(None) => "The signature is that of a certificate without a name.".to_owned(),
    };
    format!("It says that {writer} made it ({}). {proof}", header.software)
}
