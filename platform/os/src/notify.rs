//! The service manager's wishes (sd_notify(3)): it wants to hear when we are ready, when we stop, and, if it set a
//! watchdog, that we are alive. Without one, nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;

/// Serving has begun; a unit of `Type=notify` counts as started now.
pub fn ready() {
    send(&[NotifyState::Ready]);
}

/// Stopping has begun.
pub fn stopping() {
    send(&[NotifyState::Stopping]);
}

/// One line that `systemctl status` shows.
pub fn status(line: &str) {
    send(&[NotifyState::Status(line)]);
}

/// We are alive. To be sent by the task whose hanging would be worth a restart, every [`watchdog_interval`].
pub fn alive() {
    send(&[NotifyState::Watchdog]);
}

/// How often to say [`alive`]: half of what the service manager waits (its own advice), if it waits at all.
pub fn watchdog_interval() -> Option<Duration> {
    let mut microseconds = 0;
    sd_notify::watchdog_enabled(false, &mut microseconds).then(|| Duration::from_micros(microseconds / 2))
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(false, state) {
        tracing::warn!(%error, "the service manager does not listen");
    }
}
