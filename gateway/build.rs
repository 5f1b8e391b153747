//! How the data plane's program is laid out. What a start runs lies together (`start.ld`), and relocations are packed: of
//! a program that is position-independent they are 190 KiB otherwise. Any linker of the GNU sort takes both, an old one
//! with a warning; packed relocations want glibc 2.36 or newer, or musl, where the program runs.

use std::env::var;

fn main() {
    println!("cargo:rerun-if-changed=start.ld");
    let is = |name: &str, value: &str| var(name).is_ok_and(|found| found == value);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("PROFILE", "release") {
        let dir = var("CARGO_MANIFEST_DIR").unwrap_or_default();
        println!("cargo:rustc-link-arg-bins=-Wl,-T,{dir}/start.ld");
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
