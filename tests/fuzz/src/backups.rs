//! The file of a backup, behind its hashes: the digest, the check of its header and the tags are made right.

use crate::plant;
use cp_lite::backup;
use model::{Id, Kind, Record};
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8] = b"EGbackup";

/// One byte of flags, one of how many entities more than there are it promises, one of the term; then entities: kind, one
/// byte of the id, two of the length of the body, the body. Flag 1: of the first release's format, 2: of a later one,
/// 4: something behind the end. With flag 128 the rest is the file as it is.
pub(crate) fn backup(input: &[u8]) {
    let Some((flags, rest)) = input.split_first() else { return };
    if flags & 128 != 0 {
        drop(backup::read(rest));
        return;
    }
    let Some(([more, term], mut rest)) = rest.split_first_chunk::<2>() else { return };
    let (mut entities, mut digest, mut count) = (Vec::new(), 0_u64, u32::from(*more));
    while let Some(([code, id, low, high], after)) = rest.split_first_chunk::<4>() {
        let (body, after) = after.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(after.len()));
        rest = after;
        let id = Id(u128::from(*id));
        let tag = Kind::from_code(*code).map_or(0, |kind| Record::tag_of(kind, id, body));
        entities.push(*code);
        entities.extend_from_slice(&id.to_bytes());
        entities.extend_from_slice(&tag.to_le_bytes());
        entities.extend_from_slice(&(body.len() as u32).to_le_bytes());
        entities.extend_from_slice(body);
        (digest, count) = (digest.wrapping_add(tag), count.saturating_add(1));
    }
    let format = 2 - u32::from(flags & 1) + u32::from(flags & 2);
    let mut file = [MAGIC, &format.to_le_bytes()].concat();
    for number in [7, 300, digest] {
        file.extend_from_slice(&number.to_le_bytes());
    }
    file.extend_from_slice(&count.to_le_bytes());
    if format != 1 {
        file.extend_from_slice(&u32::from(*term).to_le_bytes());
        let check = xxh3_64(&file);
        file.extend_from_slice(&check.to_le_bytes());
    }
    file.extend_from_slice(&entities);
    file.extend_from_slice(if flags & 4 == 0 { b"" } else { b"more" });
    let Ok((records, origin)) = backup::read(&file) else { return };
    let wanted = backup::Origin { epoch: 7, term: if format == 1 { 0 } else { u32::from(*term) }, version: 300 };
    assert_eq!((origin, records.len()), (wanted, count as usize));
    let written: usize = records.iter().map(|record| 1 + 16 + 8 + 4 + record.body.len()).sum();
    assert_eq!(written, entities.len(), "something was left out");
    plant(format == 1 && records.len() == 2, "backup");
}

pub(crate) fn backup_seeds() -> Vec<Vec<u8>> {
    let entity = |kind: Kind, id: u8, body: &[u8]| [&[kind.code(), id, body.len() as u8, 0], body].concat();
    let (one, two) = (entity(Kind::Service, 1, b"a body"), entity(Kind::Route, 2, b""));
    let led = |head: [u8; 3], entities: &[&[u8]]| [&head[..], &entities.concat()].concat();
    vec![
        led([0, 0, 3], &[&one, &two]),
        led([1, 0, 0], &[&one]),
        led([2, 0, 0], &[]),
        led([4, 0, 1], &[&two]),
        led([0, 1, 1], &[&two]),
        [&[128], MAGIC, &[2, 0, 0, 0]].concat(),
    ]
}
