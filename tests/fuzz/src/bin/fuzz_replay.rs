//! Feeds a fuzz target with the inputs that lie in directories: `fuzz_replay TARGET DIR...`, and with `EDGE_FUZZ_ROUNDS`
//! inputs of the seeded mutator. Built with coverage instrumentation it tells what they reach; see `../run coverage`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let target = arguments.next().and_then(|name| fuzz::find(name.to_str()?));
    let Some(target) = target else {
        eprintln!("usage: fuzz_replay TARGET DIR...");
        std::process::exit(64);
    };
    for dir in arguments {
        replay(target, dir.as_ref())?;
    }
    let rounds = std::env::var("EDGE_FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse::<u64>().ok()).unwrap_or(0);
    let (seeds, mut rng) = ((target.seeds)(), fuzz::Rng::new(1));
    (0..rounds).for_each(|_| (target.run)(&fuzz::mutate(&seeds, &mut rng)));
    Ok(())
}

fn replay(target: &fuzz::Target, dir: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        (target.run)(&std::fs::read(entry?.path())?);
    }
    Ok(())
}
