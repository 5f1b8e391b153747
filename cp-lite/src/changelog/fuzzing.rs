//! For fuzzers only (feature `fuzzing`): what the changelog reads from the records of its store. Each function panics if
//! what was read is not what its own writing gives back.

use super::record::{Loaded, Meta, load, node, put_deletion, put_entity};
use super::role::{Role, Standing};
use store::Key;

/// The meta of a commit. Returns its term and whether it is a follower's, if it is one.
#[must_use]
pub fn meta(bytes: &[u8]) -> Option<(u32, bool)> {
    let meta = Meta::decode(bytes).ok()?;
    assert_eq!(Meta::decode(&meta.encode()), Ok(meta.clone()));
    Some((meta.term, meta.standing.role == Role::Follower))
}

/// A record: table and kind, sixteen bytes of its id, then its value. Returns the table, if it is one.
#[must_use]
pub fn record(bytes: &[u8]) -> Option<u8> {
    let ([table, kind, id @ ..], value) = bytes.split_first_chunk::<18>()?;
    let loaded = load(Key { table: *table, kind: *kind, id: *id }, value).ok()?;
    let again = match loaded.clone() {
        Loaded::Entity(record) => put_entity(&record),
        Loaded::Deletion { kind, id, version } => put_deletion(kind, id, version),
        Loaded::Node { id, row } => node(id, Some(row)),
    };
    assert_eq!(load(again.key, again.value.as_deref().unwrap_or_default()), Ok(loaded));
    Some(*table)
}

/// Valid inputs of [`meta`] and of [`record`].
#[must_use]
pub fn seeds() -> [Vec<Vec<u8>>; 2] {
    let meta = |role, over: &str| Meta {
        epoch: 7,
        version: 300,
        floor: 2,
        term: 1,
        standing: Standing { role, over: over.to_owned() },
    };
    let mut metas = vec![meta(Role::Writer, "").encode(), meta(Role::Writer, "cp-1:8005").encode()];
    // As the first release wrote it.
    metas.push(metas[0][..25].to_vec());
    let head = |table: u8, kind: u8| [vec![table, kind], vec![5; 16]].concat();
    let numbers = [9_u64.to_le_bytes(), 10_u64.to_le_bytes()].concat();
    let entity = [head(1, 3), numbers.clone(), vec![0, 0], b"body".to_vec()].concat();
    let deletion = [head(2, 3), numbers[..8].to_vec(), vec![0, 0]].concat();
    [metas, vec![entity, deletion, [head(3, 0), b"{}".to_vec()].concat()]]
}
