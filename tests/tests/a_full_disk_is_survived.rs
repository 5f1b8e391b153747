//! A disk that is full means "serving, applying, not durable", for as long as it lasts and no longer.

use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::pair::{Pair, follower, head};
use tests::wait;

/// A small file system of its own; unmounted with the value.
struct Disk(PathBuf);

impl Disk {
    /// None where nothing may be mounted.
    fn mount(path: PathBuf, megabytes: u32) -> Option<Self> {
        std::fs::create_dir_all(&path).expect("the lab is writable");
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(path))
    }

    fn fill(&self) {
        // Larger than the disk: the write ends where the disk does.
        let _ = std::fs::write(self.0.join("fill"), vec![0; 64 << 20]);
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("fill")).expect("it was filled");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn big_consumer(index: usize) -> serde_json::Value {
    let tags: Vec<String> = (0..60).map(|tag| format!("{tag:02}-{}", format!("{index:04}").repeat(250))).collect();
    json!({ "username": format!("user-{index}"), "tags": tags })
}

#[test]
fn a_full_disk_costs_durability_only_and_only_for_as_long_as_it_is_full() {
    let mut pair = Pair::start();
    let Some(disk) = Disk::mount(pair.lab.path().join("disk"), 24) else {
        assert!(std::env::var_os("CI").is_none(), "mounting a tmpfs needs root");
        return eprintln!("skipped: mounting a tmpfs needs root");
    };
    pair.dp = follower(&pair.lab, "small", &pair.link)
        .with_text("prefix", Path::new(&disk.0).join("state").display())
        .start();
    pair.route(&json!({ "name": "echo" }), &json!({ "name": "first", "paths": ["/first"] }));
    pair.settle();
    disk.fill();
    // More than any backlog holds, so that only a full sync makes the store right again.
    for index in 0..60 {
        pair.cp.admin_ok("POST", "/consumers", &big_consumer(index));
    }
    pair.cp.admin_ok("PATCH", "/routes/first", &json!({ "paths": ["/second"] }));
    pair.settle();
    assert_eq!(pair.dp.get("/second", &[]).status, 200, "a full disk does not stop changes");
    let status = pair.dp.sync_status();
    assert_eq!(status["store"]["state"], "not durable", "{status}");
    assert!(status["store"]["error"].as_str().is_some_and(|error| error.contains("space")), "{status}");

    disk.free();
    let version = head(&mut pair.cp);
    wait::until("the served version to be durable again", || {
        (pair.dp.sync_status()["durable_version"].as_u64()? >= version).then_some(())
    });
    assert_eq!(pair.dp.sync_status()["store"]["state"], "ok");
    let setup = pair.dp.kill();
    pair.link.down();
    pair.dp = setup.start();
    pair.dp.is_ready();
    assert_eq!(pair.dp.get("/second", &[]).status, 200);
    assert_eq!(pair.dp.sync_status()["version"], version);
    let _ = pair.dp.kill();
}
