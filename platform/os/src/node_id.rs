//! The name by which a fleet knows this machine: a random UUID, made once and kept in the state directory.

use std::io;
use std::path::{Path, PathBuf};

use crate::file;

/// The file's name below the state directory.
pub const FILE_NAME: &str = "node.id";
const BYTES_MAX: u64 = 128;
/// The kernel's generator of random (version 4) UUIDs: random(4).
const KERNEL_UUID: &str = "/proc/sys/kernel/random/uuid";

/// The id could neither be read nor be made.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
pub struct NodeIdError {
    /// The file in question.
    pub path: PathBuf,
    /// What the operating system said.
    pub error: io::Error,
}

/// The id that this state directory holds; a new one, written durably before it is used, where there is none yet or
/// where the file is damaged. An id that changed is a new node to the control plane; a program that does not start
/// is worse: where the disk neither gives nor takes one, there is one for this run only.
pub fn load_or_create(state_dir: &Path) -> Result<u128, NodeIdError> {
    let path = state_dir.join(FILE_NAME);
    match file::read_bounded(&path, BYTES_MAX) {
        Ok(bytes) => match parse(&bytes) {
            Some(id) => return Ok(id),
            None => tracing::warn!(file = %path.display(), "the node id is damaged; this node gets a new one"),
        },
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::FileTooLarge) => {}
        // What is there may be readable again one day: it stays.
        Err(error) if file::is_of_the_disk(&error) => return for_this_run(&path, &error),
        Err(error) => return Err(NodeIdError { path, error }),
    }
    let (fresh, id) = fresh()?;
    match file::replace(&path, &fresh, 0o644) {
        Err(error) if file::is_of_the_disk(&error) => for_this_run(&path, &error),
        done => done.map(|()| id).map_err(|error| NodeIdError { path, error }),
    }
}

/// An id that is kept nowhere, for the disk forbids it.
pub fn for_this_run(path: &Path, error: &io::Error) -> Result<u128, NodeIdError> {
    tracing::warn!(file = %path.display(), %error, "this node's id can neither be read nor written; it has one for this run only");
    Ok(fresh()?.1)
}

fn fresh() -> Result<(Vec<u8>, u128), NodeIdError> {
    let kernel = |error| NodeIdError { path: KERNEL_UUID.into(), error };
    let fresh = file::read_bounded(KERNEL_UUID.as_ref(), BYTES_MAX).map_err(kernel)?;
    let id = parse(&fresh).ok_or_else(|| kernel(io::ErrorKind::InvalidData.into()))?;
    Ok((fresh, id))
}

/// A hyphenated UUID, as the file and the kernel have it.
fn parse(text: &[u8]) -> Option<u128> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    if lengths != [8, 4, 4, 4, 12] || !text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(&groups.concat(), 16).ok().filter(|id| *id != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_the_same_over_restarts_and_differs_between_nodes() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = load_or_create(a.path()).unwrap();
        assert_eq!(load_or_create(a.path()).unwrap(), first);
        assert_ne!(load_or_create(b.path()).unwrap(), first);
    }

    #[test]
    fn a_damaged_file_gets_a_new_id_that_stays() {
        let dir = tempfile::tempdir().unwrap();
        for damage in [&b""[..], b"not an id", b"\xff\xff", b"00000000-0000-0000-0000-000000000000", &[b'a'; 4096]] {
            std::fs::write(dir.path().join(FILE_NAME), damage).unwrap();
            let id = load_or_create(dir.path()).unwrap();
            assert_eq!(load_or_create(dir.path()).unwrap(), id);
        }
    }

    #[test]
    fn a_missing_state_directory_is_named() {
        let error = load_or_create(Path::new("/nowhere")).unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/node.id: "), "{error}");
    }
}
