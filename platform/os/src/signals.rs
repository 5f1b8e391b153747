//! Signals as values: what the operating system or a person asks of a running program.

use std::io;

use tokio::signal::unix::{Signal as Source, SignalKind, signal};

/// What was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// SIGTERM: finish and end.
    Terminate,
    /// SIGINT, Ctrl-C: end.
    Interrupt,
    /// SIGHUP: reload.
    Hangup,
}

/// The signals that reach this process from now on. Signals of one kind that come faster than they are taken count
/// as one. Needs a tokio runtime with I/O enabled.
pub struct Signals {
    terminate: Source,
    interrupt: Source,
    hangup: Source,
}

impl Signals {
    /// Takes over from the system's default, which is to end the process on the spot.
    pub fn listen() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one. Safe to drop in a `select!`.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.hangup.recv() => Signal::Hangup,
        }
    }

    /// Waits for one that means to end. A reload that is asked for meanwhile is passed over.
    pub async fn stop(&mut self) -> Signal {
        loop {
            match self.next().await {
                Signal::Hangup => {}
                stop => return stop,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal as Raw, raise};

    use super::*;

    #[tokio::test]
    async fn each_signal_arrives_as_itself_and_a_reload_does_not_stop() {
        let mut signals = Signals::listen().unwrap();
        raise(Raw::SIGTERM).unwrap();
        assert_eq!(signals.next().await, Signal::Terminate);
        raise(Raw::SIGHUP).unwrap();
        assert_eq!(signals.next().await, Signal::Hangup);
        raise(Raw::SIGHUP).unwrap();
        raise(Raw::SIGINT).unwrap();
        assert_eq!(signals.stop().await, Signal::Interrupt);
    }
}
