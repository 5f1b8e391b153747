//! Writes valid inputs of every fuzz target below a directory: `fuzz_seeds DIR` makes `DIR/<target>/seed-<n>`.

use std::path::PathBuf;

fn main() -> std::io::Result<()> {
    let Some(dir) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: fuzz_seeds DIR");
        std::process::exit(64);
    };
    for target in fuzz::ALL {
        let dir = dir.join(target.name);
        std::fs::create_dir_all(&dir)?;
        for (n, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(dir.join(format!("seed-{n}")), seed)?;
        }
    }
    Ok(())
}
