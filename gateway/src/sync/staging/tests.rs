use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use store::{Mode, Secret};
use wire::message::CODEC_ZSTD;

fn begin(transfer: u64) -> FullBegin {
    let bytes = 1 << 20;
    FullBegin { transfer, version: 1, root: 0, count: 0, codec: CODEC_ZSTD, plain: 1 << 21, bytes, confirmed: 0 }
}

fn encryption(mode: Mode, secret: &[u8]) -> Encryption {
    Encryption { mode, secret: Some(Secret::new(secret)), former: None }
}

fn open_as(dir: &Path, mode: Mode) -> Staging {
    Staging::open(dir.to_owned(), encryption(mode, b"secret"))
}

/// No two pieces of four bytes are the same.
fn pattern(count: usize) -> Vec<u8> {
    (0..count / 4 + 1).flat_map(|at| u32::try_from(at).unwrap().to_be_bytes()).take(count).collect()
}

fn all(staging: &Staging) -> Vec<u8> {
    let mut bytes = Vec::new();
    staging.read().unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

async fn push(staging: &mut Staging, bytes: &[u8]) {
    for part in bytes.chunks(9_999) {
        staging.push(part).await.unwrap();
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn shows(file: &Path, bytes: &[u8]) -> bool {
    let kept = fs::read(file).unwrap();
    let pieces = [0, 20_000, 60_000].map(|at| &bytes[at..at + 16]);
    kept.windows(16).any(|window| pieces.contains(&window))
}

#[tokio::test]
async fn a_restart_loses_less_than_two_pieces_and_a_new_connection_nothing() {
    for mode in [Mode::Off, Mode::Aes256Gcm, Mode::Chacha20Poly1305] {
        let dir = tempfile::tempdir().unwrap();
        let bytes = pattern(5 * SYNC_BYTES);
        let mut staging = open_as(dir.path(), mode);
        assert_eq!(staging.begin(&begin(7)), 0);
        push(&mut staging, &bytes[..300_000]).await;
        assert_eq!(staging.begin(&begin(7)), 300_000, "another connection");
        drop(staging);

        let mut staging = open_as(dir.path(), mode);
        let kept = staging.begin(&begin(7)) as usize;
        assert!(kept <= 300_000 && 300_000 - kept < 2 * SYNC_BYTES, "{kept}");
        assert_eq!(staging.partial(), Some(Partial { transfer: 7, offset: kept as u64 }));
        push(&mut staging, &bytes[kept..]).await;
        assert_eq!(all(&staging), bytes);
        staging.discard();
        assert_eq!((staging.partial(), files(dir.path()).len()), (None, 0));
    }
}

#[tokio::test]
async fn nothing_of_a_blob_is_on_disk_in_the_clear_where_the_store_is_encrypted() {
    let bytes = pattern(100_000);
    for mode in [Mode::Off, Mode::Aes256Gcm, Mode::Chacha20Poly1305] {
        let dir = tempfile::tempdir().unwrap();
        let mut staging = open_as(dir.path(), mode);
        staging.begin(&begin(7));
        push(&mut staging, &bytes).await;
        let found = files(dir.path());
        assert_eq!(found.len(), 1);
        assert_eq!(shows(&found[0], &bytes), mode == Mode::Off, "{mode:?}");
        assert_eq!(fs::metadata(&found[0]).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn what_an_earlier_mode_or_another_key_left_is_removed() {
    let bytes = pattern(200_000);
    for (before, after) in
        [(Mode::Off, Mode::Aes256Gcm), (Mode::Aes256Gcm, Mode::Off), (Mode::Aes256Gcm, Mode::Chacha20Poly1305)]
    {
        let dir = tempfile::tempdir().unwrap();
        let mut staging = open_as(dir.path(), before);
        staging.begin(&begin(7));
        push(&mut staging, &bytes).await;
        drop(staging);
        let staging = open_as(dir.path(), after);
        assert_eq!((staging.partial(), files(dir.path()).len()), (None, 0), "{before:?} {after:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    let mut staging = open_as(dir.path(), Mode::Aes256Gcm);
    staging.begin(&begin(7));
    push(&mut staging, &bytes).await;
    drop(staging);
    let staging = Staging::open(dir.path().to_owned(), encryption(Mode::Aes256Gcm, b"another"));
    assert_eq!((staging.partial(), files(dir.path()).len()), (None, 0));
}

#[tokio::test]
async fn a_flipped_bit_in_a_sealed_file_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut staging = open_as(dir.path(), Mode::Aes256Gcm);
    staging.begin(&begin(7));
    push(&mut staging, &pattern(200_000)).await;
    let file = &files(dir.path())[0];
    let mut bytes = fs::read(file).unwrap();
    bytes[100_000] ^= 1;
    fs::write(file, bytes).unwrap();
    assert_eq!(staging.read().unwrap().read_to_end(&mut Vec::new()).unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[tokio::test]
async fn a_wipe_leaves_nothing_of_either_mode() {
    let dir = tempfile::tempdir().unwrap();
    for mode in [Mode::Off, Mode::Aes256Gcm] {
        let mut staging = open_as(dir.path(), mode);
        staging.begin(&begin(7));
        push(&mut staging, &pattern(200_000)).await;
        fs::write(dir.path().join("node.id"), "not ours").unwrap();
        remove_all(dir.path()).unwrap();
        assert_eq!(files(dir.path()), [dir.path().join("node.id")]);
    }
}

#[tokio::test]
async fn another_blob_takes_the_place_of_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut staging = open_as(dir.path(), Mode::Off);
    staging.begin(&begin(7));
    push(&mut staging, &pattern(100_000)).await;
    assert_eq!(files(dir.path()).len(), 1);
    assert_eq!(staging.begin(&begin(8)), 0);
    push(&mut staging, &pattern(100_000)).await;
    assert_eq!(files(dir.path()).len(), 1);
    assert_eq!(all(&staging), pattern(100_000));
}

#[tokio::test]
async fn a_disk_that_takes_nothing_costs_memory_up_to_a_bound() {
    let dir = tempfile::tempdir().unwrap();
    let mut staging = open_as(&dir.path().join("missing"), Mode::Off);
    staging.begin(&begin(7));
    push(&mut staging, &pattern(200_000)).await;
    assert_eq!(all(&staging), pattern(200_000));
    let more = vec![0; MEMORY_BYTES_MAX];
    assert_eq!(staging.push(&more).await, Err(NoRoom));
    assert_eq!(staging.partial(), None);
}

#[tokio::test]
async fn a_disk_that_fails_on_the_way_loses_nothing() {
    for mode in [Mode::Off, Mode::Aes256Gcm] {
        let dir = tempfile::tempdir().unwrap();
        let bytes = pattern(4 * SYNC_BYTES);
        let mut staging = open_as(dir.path(), mode);
        staging.begin(&begin(7));
        push(&mut staging, &bytes[..100_000]).await;
        // Cannot be written to any longer, as a disk that went read-only.
        staging.held.as_mut().unwrap().part.as_mut().unwrap().fails_from_now_on();
        push(&mut staging, &bytes[100_000..]).await;
        assert_eq!(all(&staging), bytes);
        assert_eq!(files(dir.path()).len(), 0);
    }
}
