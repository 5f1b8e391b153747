//! Bundles: golden bytes, what is refused and why, and the data plane's compressor against the decoder of full syncs.

use model::{Id, Kind, Record};
use std::io::{self, Read, Write};
use wire::bundle::{BundleError, FIXED_BYTES, Head, Header, Lengths, Signature, Writer, pack};
use wire::full::Unpack;
use wire::limits::{BLOB_BYTES_MAX, PLAIN_BYTES_MAX};

fn header() -> Header {
    Header {
        cluster: Id(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff),
        epoch: 0x0102_0304_0506_0708,
        term: 1,
        version: 300,
        root: 0xff,
        count: 2,
        audience: 0,
        codec: 2,
        plain: 300,
        bytes: 128,
        sha256: [0xab; 32],
        writer: Writer::ControlPlane,
        software: "cp-lite 0.1.0".into(),
        made_s: 1_700_000_000,
    }
}

fn signature() -> Signature {
    Signature { scheme: 0x0503, certificates: vec![vec![1, 2, 3], vec![4]], bytes: vec![9; 5] }
}

fn head() -> Vec<u8> {
    Head::encode(&header(), &signature(), None).unwrap()
}

#[test]
fn a_head_is_as_documented() {
    let hex: String = head().iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = "\
        4547 62756e646c65 01000000 5e000000 0f000000 85000000 \
        00112233445566778899aabbccddeeff 0807060504030201 01 ac02 ff00000000000000 02 00 02 ac02 8001 \
        abababababababababababababababababababababababababababababababab 01 \
        0d63702d6c69746520302e312e30 80e2cfaa06 \
        830a 02 03 010203 01 04 05 0909090909";
    assert_eq!(hex, expected.replace(' ', ""));
    let read = Head::read(&head()).unwrap();
    assert_eq!((&read.header, &read.signature, &read.signed), (&header(), &signature(), &header().signed()));
}

#[test]
fn a_blob_may_begin_later_and_nothing_but_zeros_lies_before_it() {
    let mut bytes = Head::encode(&header(), &signature(), Some(512)).unwrap();
    assert_eq!(bytes.len(), 512);
    let lengths = Lengths::read(bytes.first_chunk::<FIXED_BYTES>().unwrap()).unwrap();
    assert_eq!(lengths.blob_at, 512);
    assert_eq!(Head::read(&bytes).unwrap().signed, header().signed(), "the same is signed wherever the blob begins");
    bytes[400] = 1;
    assert_eq!(Head::read(&bytes), Err(BundleError::Padding));
    assert_eq!(Head::encode(&header(), &signature(), Some(40)), Err(BundleError::TooLong));
}

#[test]
fn what_later_versions_append_is_ignored_and_signed_all_the_same() {
    let plain = head();
    let mut bytes = plain[..12].to_vec();
    bytes.extend_from_slice(&0x5f_u32.to_le_bytes());
    bytes.extend_from_slice(&0x10_u32.to_le_bytes());
    bytes.extend_from_slice(&0x87_u32.to_le_bytes());
    bytes.extend_from_slice(&plain[24..24 + 0x5e]);
    bytes.push(77);
    bytes.extend_from_slice(&plain[24 + 0x5e..]);
    bytes.push(78);
    let read = Head::read(&bytes).unwrap();
    assert_eq!((read.header, read.signature), (header(), signature()));
    assert_eq!(read.signed.last(), Some(&77));
}

#[test]
fn no_cut_is_a_head_and_no_flipped_bit_leaves_what_is_signed_as_it_was() {
    let bytes = head();
    for len in 0..bytes.len() {
        assert!(Head::read(&bytes[..len]).is_err(), "cut at {len}");
    }
    let whole = Head::read(&bytes).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let Ok(read) = Head::read(&bad) else { continue };
        assert!(read.signed != whole.signed || read.signature != whole.signature, "bit {bit}");
    }
}

#[test]
fn what_a_reader_cannot_use_is_told_apart() {
    let refused = |header: Header| Head::read(&Head::encode(&header, &signature(), None).unwrap()).unwrap_err();
    assert_eq!(refused(Header { codec: 9, ..header() }), BundleError::Codec(9));
    assert_eq!(refused(Header { audience: 3, ..header() }), BundleError::Audience(3));
    for over in [
        Header { bytes: BLOB_BYTES_MAX + 1, ..header() },
        Header { plain: PLAIN_BYTES_MAX + 1, ..header() },
        Header { count: 1 << 40, ..header() },
    ] {
        assert_eq!(refused(over), BundleError::Limits);
    }
    let mut newer = head();
    newer[8] = 2;
    assert_eq!(Head::read(&newer), Err(BundleError::NewerFormat(2)));
    assert_eq!(Head::read(b"{\"_format_version\": \"3.0\", \"services\": []}"), Err(BundleError::NotABundle));
    let unsigned = Signature { certificates: Vec::new(), ..signature() };
    assert_eq!(Head::read(&Head::encode(&header(), &unsigned, None).unwrap()), Err(BundleError::Signature));
    let endless = Signature { bytes: vec![0; 30_000], ..signature() };
    assert_eq!(Head::encode(&header(), &endless, None), Err(BundleError::TooLong));
}

/// Bodies of all lengths and kinds of content: zeros, text, and what cannot be compressed.
fn records(count: u128) -> Vec<Record> {
    let mut noise = 1_u64;
    let mut random = || {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (noise >> 33) as u8
    };
    let record = |n: u128| {
        let length = (n as usize * 37) % 3_000 + if n.is_multiple_of(97) { 200_000 } else { 0 };
        let body: Vec<u8> = match n % 3 {
            0 => vec![0; length],
            1 => b"a service and a route to it ".iter().copied().cycle().take(length).collect(),
            _ => (0..length).map(|_| random()).collect(),
        };
        Record { kind: Kind::Service, id: Id(n), version: n as u64, tag: n as u64 * 3, body: body.into() }
    };
    (0..count).map(record).collect()
}

#[test]
fn what_a_data_plane_packs_is_what_the_decoder_of_full_syncs_unpacks() {
    for count in [0, 1, 2, 1_000] {
        let records = records(count);
        let mut plain = Vec::new();
        records.iter().for_each(|record| pack::push(5_000, record, &mut plain));
        let mut blob = Vec::new();
        pack::pack(plain.as_slice(), &mut blob).unwrap();
        let root = records.iter().fold(0_u64, |sum, record| sum.wrapping_add(record.tag));
        let (count, plain, bytes) = (records.len() as u64, plain.len() as u64, blob.len() as u64);
        let header = Header { version: 5_000, count, root, plain, bytes, ..header() };
        let mut unpack = Unpack::new(header.begin(), blob.as_slice()).unwrap();
        for record in records {
            assert_eq!(unpack.next().unwrap().unwrap().into_record().unwrap(), record);
        }
        assert_eq!(unpack.next(), Ok(None));
    }
}

/// Fails after so many bytes.
struct Failing(usize);

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(self.0);
        self.0 -= count;
        if count == 0 { Err(io::Error::other("the source")) } else { Ok(count) }
    }
}

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(self.0);
        self.0 -= count;
        if count == 0 { Err(io::Error::other("the drain")) } else { Ok(count) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_error_on_either_side_of_the_compressor_comes_out_of_it() {
    for bytes in [0, 10, 200_000] {
        assert_eq!(pack::pack(Failing(bytes), Vec::new()).unwrap_err().to_string(), "the source");
    }
    for bytes in [0, 10] {
        assert_eq!(pack::pack(&[7; 300_000][..], Failing(bytes)).unwrap_err().to_string(), "the drain");
    }
}
