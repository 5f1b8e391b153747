//! `cp-lite quickstart`: a control plane, a data plane and an upstream on this machine, with everything in one
//! directory, for a person to try or for a script to be shown.
//!
//! [`directory`] is the place, [`ports`] where everything listens, [`daemon`] a child process on its [`leash`], [`echo`]
//! the upstream, [`sample`] the configuration; [`stage`] has them all running. Then [`guide`] tells a person what to
//! try, or [`tour`] tries it. [`voice`] is how all of them speak.

mod client;
mod daemon;
mod directory;
mod echo;
mod guide;
pub mod leash;
mod ports;
mod sample;
mod stage;
mod tour;
mod voice;

use super::config::block_on;
use daemon::Daemon;
use directory::Directory;
use os::signals::{Signal, Signals};
use os::{Exit, ExitError};
use stage::{Programs, Stage};
use std::io::IsTerminal;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::signal::unix::{SignalKind, signal};
use voice::Voice;

/// Runs a quickstart in `path`, or where it works by default: until Ctrl-C, or, with `once` and where standard output
/// is no terminal, until the tour is over.
///
/// # Errors
/// The directory will not do (64, 69, 74, 77), there is no data plane to start (69), a daemon does not start or the
/// tour saw what must not be (1).
pub fn run(path: Option<&Path>, once: bool) -> Result<String, ExitError> {
    let directory = Directory::open(path.unwrap_or(Path::new(directory::DEFAULT)))?;
    let programs = Programs::find(&directory)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    directory.certificates(now)?;
    let once = once || !std::io::stdout().is_terminal();
    block_on(play(&directory, &programs, once, Voice::for_stdout()))?;
    Ok(String::new())
}

async fn play(directory: &Directory, programs: &Programs, once: bool, voice: Voice) -> Result<(), ExitError> {
    // From here on a signal is an event: nobody ends this process before it has ended its children.
    let mut signals = Signals::listen().map_err(|error| ExitError::from_io("signals", &error))?;
    voice.heading(&format!("Quickstart in {}", directory.path().display()));
    let mut stage = tokio::select! {
        stage = Stage::set(directory, programs, voice) => stage?,
        signal = signals.next() => return Err(interrupted(signal)),
    };
    let outcome = if once {
        tokio::select! {
            toured = tour::take(&mut stage, voice) => toured,
            signal = signals.next() => Err(interrupted(signal)),
        }
    } else {
        guide::tell(&stage, programs, directory, voice);
        watch(&mut stage, programs, &mut signals, voice).await
    };
    stage.strike().await;
    if outcome.is_ok() {
        voice.say(&format!("\n{}", if once { "All as promised." } else { "Ended." }));
    }
    outcome
}

/// Waits for Ctrl-C, and tells when a daemon ends before that.
async fn watch(stage: &mut Stage, programs: &Programs, signals: &mut Signals, voice: Voice) -> Result<(), ExitError> {
    let ended = signal(SignalKind::child()).map_err(|error| ExitError::from_io("signals", &error));
    let mut ended = ended?;
    let (mut control_plane_told, mut data_plane_told) = (false, false);
    loop {
        if tell_end(&mut stage.control_plane, &mut control_plane_told, voice) {
            let advice = [format!("curl -i http://{}/hello", stage.addresses.proxy), guide::start_again(programs)];
            voice.command("The data plane serves on; see, and start the control plane again:", &advice);
        }
        if tell_end(&mut stage.data_plane, &mut data_plane_told, voice) {
            voice.say(&stage.data_plane.tail());
        }
        tokio::select! {
            _ = signals.next() => return Ok(()),
            _ = ended.recv() => {}
        }
    }
}

/// Tells once that a daemon has ended, and whether that was now.
fn tell_end(daemon: &mut Daemon, told: &mut bool, voice: Voice) -> bool {
    match daemon.ended() {
        Some(status) if !*told => {
            *told = true;
            voice.say(&format!("\nThe {} ended: {status}.", daemon.program().name));
            true
        }
        _ => false,
    }
}

fn interrupted(signal: Signal) -> ExitError {
    let name = match signal {
        Signal::Terminate => "SIGTERM",
        Signal::Interrupt => "SIGINT",
        Signal::Hangup => "SIGHUP",
    };
    ExitError::new(Exit::Failed, format!("ended by {name}"))
}
