//! The head of a snapshot bundle, read from a stream.

use crate::plant;
use model::Id;
use wire::bundle::{Head, Header, Signature, Writer, read_head};

/// Whatever is read as a head encodes to what reads the same, and nothing else than its bytes is signed.
pub(crate) fn bundle(bytes: &[u8]) {
    let mut rest = bytes;
    let Ok(head) = read_head(&mut rest) else { return };
    let taken = bytes.len() - rest.len();
    assert!(head.signed.len() <= taken && bytes.starts_with(&head.signed[..16]), "what is signed is in the file");
    let encoded = Head::encode(&head.header, &head.signature, None).expect("what was read is within the limits");
    let again = Head::read(&encoded).expect("a head of ours");
    assert_eq!((&again.header, &again.signature), (&head.header, &head.signature));
    plant(head.header.writer == Writer::DataPlane && head.header.made_s == 0, "bundle");
}

pub(crate) fn bundle_seeds() -> Vec<Vec<u8>> {
    let header = |writer, made_s| Header {
        cluster: Id(7),
        epoch: 77,
        term: 1,
        version: 300,
        root: 0xff,
        count: 2,
        audience: 0,
        codec: 2,
        plain: 300,
        bytes: 4,
        sha256: [0xab; 32],
        writer,
        software: "cp-lite 0.1.0".into(),
        made_s,
    };
    let signature = Signature { scheme: 0x0503, certificates: vec![vec![1; 40], vec![2; 9]], bytes: vec![9; 70] };
    let of = |header: Header, blob_at| {
        let mut bytes = Head::encode(&header, &signature, blob_at).expect("it fits");
        bytes.extend_from_slice(b"blob");
        bytes
    };
    vec![of(header(Writer::ControlPlane, 1_700_000_000), None), of(header(Writer::DataPlane, 5), Some(512))]
}
