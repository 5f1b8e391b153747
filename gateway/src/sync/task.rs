//! The loop over connections: one control plane after the other, for ever, with growing and jittered pauses.

use super::apply::Applier;
use super::link::{self, Link, LinkError};
use super::staging::Staging;
use super::status::Reporter;
use model::Id;
use pki::ClusterClient;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use wire::ProtocolError;
use wire::backoff::Backoff;
use wire::dp::{Identity, Session};

/// Where to sync from, and as whom.
pub struct Settings {
    /// `cluster_control_plane`: `host:port`, tried in turn. Not empty.
    pub control_planes: Vec<String>,
    /// Our certificate, and whom to trust.
    pub client: ClusterClient,
    /// What hello says of this node.
    pub identity: Identity,
    /// Where what came of a full sync survives a restart; in memory if nowhere.
    pub staging: Option<PathBuf>,
}

/// Holds the link to the control plane until `stop`.
///
/// # Errors
/// The identity breaks the protocol's limits: a matter of this node's settings, known before the first connection.
pub async fn run(
    settings: Settings,
    mut applier: Applier,
    reporter: Reporter,
    mut stop: watch::Receiver<bool>,
) -> Result<(), ProtocolError> {
    let mut session = Session::new(settings.identity)?;
    let mut staging = Staging::open(settings.staging);
    let mut backoff = Backoff::default();
    let started = Instant::now();
    for address in settings.control_planes.iter().cycle() {
        let mut greeted = false;
        reporter.update(|link| link.control_plane = Some(address.clone()));
        let connected = tokio::select! {
            connected = link::connect(address, &settings.client) => connected,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let error = match connected {
            Err(error) => error,
            Ok(stream) => {
                let link = Link::new(stream, &mut session, &mut applier, &mut staging, &reporter, started);
                link.run(&mut stop, &mut greeted).await
            }
        };
        if *stop.borrow() {
            break;
        }
        if greeted {
            backoff.reset();
        }
        report(&reporter, address, &error);
        let pause = backoff.next(Id::random().0 as u64).max(error.retry_after());
        if wait(pause, &mut applier, &mut stop).await {
            break;
        }
    }
    Ok(())
}

fn report(reporter: &Reporter, address: &str, error: &LinkError) {
    let message = error.to_string();
    // The same failure again and again is one fact, not one log line per attempt.
    if reporter.link().last_error.as_ref() != Some(&message) {
        tracing::warn!(control_plane = address, error = %message, "no control plane; serving what is here");
    }
    reporter.update(|link| (link.connected, link.mode, link.last_error) = (false, None, Some(message)));
}

/// Waits before the next attempt, trying meanwhile to store what could not be stored. Says whether to stop.
async fn wait(pause: Duration, applier: &mut Applier, stop: &mut watch::Receiver<bool>) -> bool {
    let end = tokio::time::Instant::now() + pause;
    loop {
        let retry = applier.retry_at();
        tokio::select! {
            () = tokio::time::sleep_until(end) => return false,
            () = link::wake(retry) => applier.retry().await,
            _ = stop.wait_for(|stop| *stop) => return true,
        }
    }
}
