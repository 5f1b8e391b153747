//! Measures what the store costs: `measure DIR build|open|commit|get|scrub [N] [BYTES]`.
//!
//! Each step is a process of its own, so that its memory is its own: `build` replaces the content by N records of about
//! BYTES bytes, `open` loads them, `commit` makes N commits of one record of 300 bytes, `scrub` looks through all of it. Times
//! are of this machine; bytes and counts hold anywhere.
//!
//! What reaches the device under DIR is what anybody writes to it, so that it says something only where DIR is alone there,
//! on a loop device (as root), of which nothing may be left for the background to write:
//!
//! ```sh
//! truncate -s 1G disk.img && mkdir -p disk
//! mke2fs -q -t ext4 -E lazy_itable_init=0,lazy_journal_init=0 disk.img && mount -o loop disk.img disk
//! cargo run --release -p store --example measure -- disk/store build
//! cargo run --release -p store --example measure -- disk/store commit 20000
//! cargo run --release -p store --example measure -- disk/store scrub
//! umount disk
//! ```

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use store::{Change, Key, Options, Store};

fn key(n: u64) -> Key {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    Key { table: 0, kind: (n % 8) as u8, id }
}

/// A value that does not compress, of half to one and a half times the length.
fn value(n: u64, len: usize) -> Vec<u8> {
    let mut state = n.wrapping_add(1).wrapping_mul(0x2545_f491_4f6c_dd1d);
    let len = len / 2 + (state % len.max(1) as u64) as usize;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

/// What this process has given to the system to write.
fn written() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("wchar:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

/// What has reached the device that `dir` is on, whoever wrote it, and all that was pending; none where it is not one device.
fn on_device(dir: &Path) -> Option<u64> {
    let _ = Command::new("sync").arg("-f").arg(dir).status();
    let device = std::fs::metadata(dir).ok()?.dev();
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xf_ff00));
    let stat = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    Some(stat.split_whitespace().nth(6)?.parse::<u64>().ok()? * 512)
}

fn say(what: &str, started: Instant) {
    let (now, peak) = (status("VmRSS:"), status("VmHWM:"));
    println!("{what}: {:.1} ms, RSS {now} KiB, peak {peak} KiB", started.elapsed().as_secs_f64() * 1000.0);
}

fn open(dir: &Path) -> Result<(Store, u64, u64), Box<dyn std::error::Error>> {
    let (mut records, mut bytes) = (0, 0);
    let (store, _) = Store::open(dir, Options::default(), &mut |_, value| {
        records += 1;
        bytes += value.len() as u64;
    })?;
    Ok((store, records, bytes))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, dir, what, rest @ ..] = args.as_slice() else {
        return Err("measure DIR build|open|commit|get|scrub [N] [BYTES]".into());
    };
    let count: u64 = rest.first().map_or(Ok(30_000), |n| n.parse())?;
    let len: usize = rest.get(1).map_or(Ok(600), |n| n.parse())?;
    let dir = Path::new(dir);
    println!("start: RSS {} KiB", status("VmRSS:"));
    let started = Instant::now();
    let (mut store, records, bytes) = open(dir)?;
    say(&format!("open of {records} records, {bytes} bytes"), started);
    let device = on_device(dir);
    let started = Instant::now();
    match what.as_str() {
        "build" => {
            let mut replacement = store.replace()?;
            for n in 0..count {
                replacement.put(key(n), &value(n, len))?;
            }
            say("put", started);
            replacement.finish(b"meta")?;
            say("replace", started);
        }
        "commit" => {
            for n in 0..count {
                let change = Change { key: key(n * 7 % 30_000), value: Some(Arc::from(value(n, 300))) };
                store.commit(&n.to_le_bytes(), vec![change])?;
            }
            say(&format!("{count} commits"), started);
        }
        "get" => {
            for n in 0..count {
                store.get(key(n))?;
            }
            say(&format!("{count} reads"), started);
        }
        "scrub" => {
            let written = written();
            let mut now = Instant::now();
            while store.reports().passes().count == 0 {
                now = store.scrub(now).max(now);
                std::thread::yield_now();
            }
            say(&format!("a pass, {} bytes written, {:?}", self::written() - written, store.reports().last()), started);
        }
        _ => {}
    }
    if let (Some(before), Some(after)) = (device, on_device(dir)) {
        let bytes = after - before;
        println!("on the device: {bytes} bytes written, {} for each of {count}", bytes / count.max(1));
    }
    println!("{:?}", store.info());
    let started = Instant::now();
    drop(store);
    say("close", started);
    Ok(())
}
