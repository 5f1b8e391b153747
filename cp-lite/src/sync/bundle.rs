//! Snapshot bundles of what the control plane has (platform/wire/BUNDLE.md): the blob that a node's full sync would be, with
//! a signed head. Blobs are those that sessions share, so that a bundle made while nodes sync costs a signature.

use super::Sources;
use super::blobs::Blobs;
use crate::changelog::View;
use bytes::Bytes;
use model::Id;
use pki::{ClusterIdentity, Sha256};
use std::sync::Arc;
use wire::bundle::{AUDIENCE_ALL, BundleError, Head, Header, Signature, Writer};
use wire::full::Wanted;
use wire::{Blob, Offer};

/// How many blobs may come and be outdated before this gives up.
const WAITS_MAX: usize = 16;

/// Makes bundles.
pub struct Bundles {
    sources: Arc<Sources>,
    identity: ClusterIdentity,
    cluster: Id,
}

/// A bundle in two pieces: what comes before the blob, and the blob.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// Signed.
    pub head: Bytes,
    /// As it travels in a full sync.
    pub blob: Bytes,
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleFailure {
    /// Nothing was ever configured.
    #[error("there is no configuration yet")]
    Nothing,
    /// The configuration is larger than a blob may be, or the machine is out of memory; the log says which.
    #[error("the configuration cannot be compressed into one bundle")]
    NoBlob,
    /// The key signs nothing.
    #[error(transparent)]
    Sign(#[from] pki::PkiError),
    /// The cluster certificate's chain is longer than a bundle's may be.
    #[error(transparent)]
    Head(#[from] BundleError),
}

impl Bundles {
    /// Signs as `identity`, for the cluster of this id.
    #[must_use]
    pub fn new(sources: Arc<Sources>, identity: ClusterIdentity, cluster: Id) -> Self {
        Self { sources, identity, cluster }
    }

    /// A bundle of the configuration as it is now, or as it is once it has been compressed. `now_s` is in seconds since
    /// 1970.
    ///
    /// # Errors
    /// See [`BundleFailure`].
    pub async fn make(&self, now_s: u64) -> Result<Bundle, BundleFailure> {
        let newest = self.sources.newest();
        let (view, blob) = blob(newest.view(), newest.blobs()).await?;
        let begin = blob.begin();
        let mut hash = Sha256::default();
        hash.update(blob.bytes());
        let header = Header {
            cluster: self.cluster,
            epoch: view.epoch,
            term: view.term,
            version: begin.version,
            root: begin.root,
            count: begin.count,
            audience: AUDIENCE_ALL,
            codec: begin.codec,
            plain: begin.plain,
            bytes: begin.bytes,
            sha256: hash.finish(),
            writer: Writer::ControlPlane,
            software: concat!("cp-lite ", env!("CARGO_PKG_VERSION")).to_owned(),
            made_s: now_s,
        };
        let pki::Signed { scheme, certificates, bytes } = self.identity.sign(&header.signed())?;
        let head = Head::encode(&header, &Signature { scheme, certificates, bytes }, None)?;
        Ok(Bundle { head: head.into(), blob: blob.bytes().clone() })
    }
}

/// The blob of this view, or of a later one if that is at hand.
async fn blob(view: &Arc<View>, blobs: &Arc<Blobs>) -> Result<(Arc<View>, Blob), BundleFailure> {
    if view.version == 0 {
        return Err(BundleFailure::Nothing);
    }
    let wanted = Wanted { oldest: view.version, held: None };
    let mut made = blobs.ready();
    for _ in 0..WAITS_MAX {
        made.mark_unchanged();
        match blobs.offer(view, wanted) {
            Offer::Blob(blob) => return Ok((view.clone(), blob)),
            Offer::Entities => return Err(BundleFailure::NoBlob),
            Offer::Later => {}
        }
        if made.changed().await.is_err() {
            break;
        }
    }
    Err(BundleFailure::NoBlob)
}
