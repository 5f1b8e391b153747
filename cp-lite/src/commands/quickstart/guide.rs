//! What to try, for the person who started a quickstart: commands to be copied as they stand.

use super::directory::Directory;
use super::sample::{CHANGED_PATH, KEY};
use super::stage::{Programs, Stage};
use super::voice::Voice;
use std::path::Path;

/// Tells it.
pub(super) fn tell(stage: &Stage, programs: &Programs, directory: &Directory, voice: Voice) {
    voice.heading("Try it");
    for (purpose, lines) in steps(stage, programs) {
        voice.command(purpose, &lines);
    }
    voice.say(&format!("\nSettings, state and logs are in {}. Ctrl-C ends everything.", directory.path().display()));
}

fn steps(stage: &Stage, programs: &Programs) -> Vec<(&'static str, Vec<String>)> {
    let addresses = &stage.addresses;
    let (proxy, admin, status) = (addresses.proxy, addresses.admin, addresses.status);
    let this = quoted(&programs.control_plane.this);
    vec![
        (
            "Call the sample API",
            vec![format!("curl -i http://{proxy}/hello"), format!("curl -i http://{proxy}/orders/42")],
        ),
        (
            "Give a route another path, and see it live",
            vec![
                format!("curl -i http://{proxy}{CHANGED_PATH}"),
                format!("curl -s -X PATCH http://{admin}/routes/hello -d 'paths[]=/hello' -d 'paths[]={CHANGED_PATH}'"),
                format!("curl -i http://{proxy}{CHANGED_PATH}"),
            ],
        ),
        (
            "Call the route that wants a key, without and with one",
            vec![
                format!("curl -i http://{proxy}/private"),
                format!("curl -i http://{proxy}/private -H 'apikey: {KEY}'"),
            ],
        ),
        (
            "Stop the control plane, and see the data plane serve on",
            vec![format!("kill {}", stage.control_plane.pid()), format!("curl -i http://{proxy}/hello")],
        ),
        ("Start it again; the data plane finds it within a minute", vec![start_again(programs)]),
        (
            "Look around",
            vec![
                format!("{this} node list --admin-url http://{admin}"),
                format!("curl -s http://{admin}/services"),
                format!("curl -s http://{status}/status/sync"),
            ],
        ),
    ]
}

/// The command that starts a control plane on the same settings.
pub(super) fn start_again(programs: &Programs) -> String {
    let program = &programs.control_plane;
    format!("{} run -c {}", quoted(&program.binary), quoted(&program.settings))
}

/// A path as a shell takes it, and short where it lies below the current directory.
fn quoted(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    as_typed(path, &here)
}

fn as_typed(path: &Path, here: &Path) -> String {
    // A name without a slash would be looked for in PATH.
    let path = match path.strip_prefix(here) {
        Ok(below) if below.components().count() == 1 => format!("./{}", below.display()),
        Ok(below) => below.display().to_string(),
        Err(_) => path.display().to_string(),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%".contains(c);
    if path.chars().all(plain) { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_any_path() {
        let typed = |path: &str| as_typed(Path::new(path), Path::new("/home/ann"));
        assert_eq!(typed("/usr/bin/cp-lite"), "/usr/bin/cp-lite");
        assert_eq!(typed("/home/ann/target/release/cp-lite"), "target/release/cp-lite");
        assert_eq!(typed("/home/ann/cp-lite"), "./cp-lite");
        assert_eq!(typed("/it's here"), r"'/it'\''s here'");
    }
}
