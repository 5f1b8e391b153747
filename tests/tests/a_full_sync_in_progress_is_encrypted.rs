//! What has come of a full sync lies beside the store until it is whole, and holds every key and secret. Where stores are
//! encrypted it is so too, goes on where it was after a restart, and nothing of it outlasts the mode or a wipe.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tests::generate::{Config, Shape};
use tests::lab::Setup;
use tests::pair::{Pair, follower, head, load};
use tests::relay::Relay;
use tests::terminal::run;
use tests::wait;

const MODE: &str = "declarative_config_encryption_mode";
/// More than half a megabyte when it is compressed.
const ENTITIES: usize = 1_800;
/// Bytes per second of the link, so that the middle of the transfer is not missed.
const RATE: u64 = 500_000;
/// How much is on disk when the program is killed, at least: several pieces.
const KEPT_MIN: u64 = 300_000;
/// What a zstd frame begins with (RFC 8878).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

fn large() -> Pair {
    let mut pair = Pair::start();
    let config = Config { shape: Shape::of(ENTITIES), seed: 1, origin: pair.origin.address() };
    load(&pair.lab, &mut pair.cp, &config.declarative());
    pair
}

/// A data plane that was killed in the middle of a full sync.
fn cut_short(pair: &mut Pair, name: &str, mode: &str) -> Setup {
    let link = Relay::to(pair.cp.address("cluster")).at_rate(RATE);
    let mut dp = follower(&pair.lab, name, &link).with_text(MODE, mode).start();
    let dir = pair.lab.path().join(name);
    wait::until("the middle of the full sync", || {
        let kept = fs::metadata(incoming(&dir).pop()?).ok()?.len();
        (kept > KEPT_MIN).then_some(())
    });
    link.freeze();
    assert_eq!(dp.sync_status()["version"], 0, "it is in the middle");
    let setup = dp.kill();
    setup.with_text("cluster_control_plane", pair.link.address())
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.path()),
        }
    }
    found
}

fn incoming(dir: &Path) -> Vec<PathBuf> {
    let is_one = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("incoming-"));
    files(dir).into_iter().filter(is_one).collect()
}

/// The files that hold a compressed frame's beginning, or one of these pieces.
fn with_any_of(dir: &Path, pieces: &[&[u8]]) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        let magic = [&ZSTD_MAGIC[..]];
        pieces.iter().chain(&magic).any(|piece| bytes.windows(piece.len()).any(|window| window == *piece))
    };
    files(dir).into_iter().filter(holds).collect()
}

fn wipe(setup: &Setup) {
    let file = setup.write();
    let _ = run("edge-gateway", [OsStr::new("store"), OsStr::new("wipe"), OsStr::new("-c"), file.as_os_str()]).well();
}

#[test]
fn nothing_of_it_is_on_disk_in_the_clear_and_a_restart_goes_on_with_it() {
    let mut pair = large();
    let plain = cut_short(&mut pair, "plain", "off");
    let sealed = cut_short(&mut pair, "sealed", "aes-256-gcm");

    // The blob is made once for all: what the plain one kept is what the other may not show.
    let kept = incoming(plain.dir());
    assert_eq!(fs::metadata(&kept[0]).unwrap().permissions().mode() & 0o777, 0o600);
    let blob = fs::read(&kept[0]).unwrap();
    let pieces = [&blob[..32], &blob[70_000..70_032], &blob[200_000..200_032]];
    assert_eq!(with_any_of(plain.dir(), &pieces), kept, "this test sees what lies in the clear");
    assert_eq!(with_any_of(sealed.dir(), &pieces), Vec::<PathBuf>::new());

    let (node, version) = (sealed.dir().to_owned(), head(&mut pair.cp));
    let mut dp = sealed.start();
    dp.serves_version(version);
    let log = dp.log();
    let begun = log.lines().find(|line| line.contains("full sync") && line.contains("held="));
    assert!(begun.is_some_and(|line| !line.contains("held=0")), "it went on where it was: {log}");
    assert_eq!(incoming(&node), Vec::<PathBuf>::new(), "it goes when it is whole");
}

#[test]
fn it_outlasts_neither_the_mode_that_it_was_kept_in_nor_a_wipe() {
    let mut pair = large();
    let plain = cut_short(&mut pair, "plain", "off");
    pair.link.down();
    let mut dp = plain.with_text(MODE, "chacha20-poly1305").start();
    let _ = dp.address("status");
    wait::until("the plain file to go", || incoming(&pair.lab.path().join("plain")).is_empty().then_some(()));
    let _ = dp.kill();

    pair.link.up();
    for (name, mode) in [("wiped", "off"), ("wiped-sealed", "aes-256-gcm")] {
        let setup = cut_short(&mut pair, name, mode);
        assert_eq!(incoming(setup.dir()).len(), 1);
        wipe(&setup);
        assert_eq!(incoming(setup.dir()), Vec::<PathBuf>::new(), "{mode}");
    }
}
