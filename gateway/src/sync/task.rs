//! The loop over connections: the control plane that the chooser names, when it says so, for ever.

use super::apply::Applier;
use super::choice::{Chooser, Index, Outcome};
use super::dial::{self, Dialer, Stream};
use super::heartbeat::{Heartbeat, Wish};
use super::link::{self, End, Link, LinkError};
use super::lookout::{Lookout, random, show};
use super::staging::Staging;
use super::status::Reporter;
use super::tunnel::ProxyServer;
use pki::ClusterClient;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use wire::dp::{Identity, Session};
use wire::{Hello, ProtocolError};

/// Where to sync from, and as whom.
pub struct Settings {
    /// `cluster_control_plane`: `host:port` each. Not empty.
    pub control_planes: Vec<String>,
    /// `proxy_server`, where `cluster_use_proxy` is on.
    pub proxy: Option<ProxyServer>,
    /// `cluster_heartbeat`
    pub heartbeat: Wish,
    /// Our certificate, and whom to trust.
    pub client: ClusterClient,
    /// What hello says of this node.
    pub identity: Identity,
    /// What came of a full sync, in an earlier life too.
    pub staging: Staging,
}

/// Holds the link to the control plane until `stop`.
///
/// # Errors
/// The identity breaks the protocol's limits: a matter of this node's settings, known before the first connection.
pub async fn run(
    settings: Settings,
    applier: Applier,
    reporter: Reporter,
    stop: watch::Receiver<bool>,
) -> Result<(), ProtocolError> {
    let mut identity = settings.identity;
    let heartbeat = Heartbeat::new(settings.heartbeat);
    identity.heartbeat_s = heartbeat.seconds();
    identity.features |= Hello::MOVED;
    if applier.has_store() {
        identity.features |= Hello::PATCHES | Hello::PARITY;
    }
    let chooser = Chooser::new(identity.node, &settings.control_planes);
    let dialer = Dialer::new(&settings.client, settings.control_planes.len(), settings.proxy);
    let session = Session::new(identity)?;
    let (staging, started) = (settings.staging, Instant::now());
    Task { applier, session, staging, chooser, heartbeat, reporter, stop, started }.run(&dialer).await;
    Ok(())
}

/// Where there is no control plane: tries to open or to write a store that is in trouble, until it is in none any more or
/// only a full sync would help.
pub async fn recover(mut applier: Applier, reporter: Reporter, mut stop: watch::Receiver<bool>) {
    while applier.trouble().is_some()
        && let Some(retry) = applier.retry_at()
    {
        tokio::select! {
            () = link::wake(Some(retry)) => applier.retry().await,
            _ = stop.wait_for(|stop| *stop) => return,
        }
        applier.tell(&reporter);
    }
}

struct Task {
    applier: Applier,
    session: Session,
    staging: Staging,
    chooser: Chooser,
    heartbeat: Heartbeat,
    reporter: Reporter,
    stop: watch::Receiver<bool>,
    started: Instant,
}

impl Task {
    async fn run(mut self, dialer: &Dialer) {
        // The control plane of the last session, if it went silent.
        let mut silent: Option<Index> = None;
        while let Some(attempt) = self.chooser.next(self.now()) {
            show(&self.chooser, &self.reporter, self.started, None);
            if self.wait(attempt.at).await {
                return;
            }
            let address = self.chooser.address(attempt.plane).to_owned();
            self.reporter.update(|link| link.control_plane = Some(address.clone()));
            let connected = tokio::select! {
                connected = dialer.connect(attempt.plane, &address) => connected,
                _ = self.stop.wait_for(|stop| *stop) => return,
            };
            if let Some(plane) = silent.take() {
                self.heartbeat.judge(connected.is_ok() && plane == attempt.plane);
                self.session.adapt(self.heartbeat.seconds());
            }
            let (plane, error) = match connected {
                Ok(stream) => self.hold(attempt.plane, stream, dialer).await,
                Err(error) => {
                    let outcome = Outcome::Unreached { retry_after: error.retry_after() };
                    self.chooser.ended(attempt.plane, outcome, self.now(), random());
                    (attempt.plane, error)
                }
            };
            if *self.stop.borrow() {
                return;
            }
            if matches!(error, LinkError::Closed(wire::dp::Closed::Silent)) {
                silent = Some(plane);
            }
            self.report(plane, &error);
        }
    }

    /// One session, and those that it was left for, until there is no connection. Says with which control plane that was.
    async fn hold(&mut self, mut plane: Index, mut stream: Stream, dialer: &Dialer) -> (Index, LinkError) {
        let mut greeted = None;
        loop {
            let resumed = dial::is_resumed(&stream);
            let address = self.chooser.address(plane).to_owned();
            self.reporter.update(|link| {
                (link.control_plane, link.resumed) = (Some(address), resumed);
                link.bytes_before = (link.bytes_in, link.bytes_out);
            });
            let course = (&mut self.chooser, &mut self.heartbeat);
            let lookout = Lookout::new(plane, course, dialer, &self.reporter, self.started);
            let (session, applier, staging) = (&mut self.session, &mut self.applier, &mut self.staging);
            let link = Link::new(stream, lookout, session, applier, staging, &self.reporter, self.started);
            match link.run(greeted, &mut self.stop).await {
                End::Over(error) => return (plane, error),
                End::Switched(to, better) => {
                    tracing::info!(control_plane = self.chooser.address(to), "returned to a better control plane");
                    (plane, stream, self.session) = (to, better.stream, better.session);
                    greeted = Some(better.actions);
                }
            }
        }
    }

    fn report(&self, plane: Index, error: &LinkError) {
        let (address, message) = (self.chooser.address(plane), error.to_string());
        // The same failure again and again is one fact, not one log line per attempt.
        let known = self.reporter.link().planes.into_iter().find(|plane| plane.address == address);
        if known.and_then(|plane| plane.last_error).as_ref() != Some(&message) {
            tracing::warn!(control_plane = address, error = %message, "no control plane; serving what is here");
        }
        show(&self.chooser, &self.reporter, self.started, Some((plane, Some(message.clone()))));
        self.reporter.update(|link| {
            (link.connected, link.mode, link.last_error) = (false, None, Some(message));
            link.heartbeat_s = 0;
        });
    }

    /// Waits before the next attempt, trying meanwhile to store what could not be stored. Says whether to stop.
    async fn wait(&mut self, until: u64) -> bool {
        let end = tokio::time::Instant::from_std(self.started + Duration::from_millis(until));
        loop {
            let retry = self.applier.retry_at();
            tokio::select! {
                () = tokio::time::sleep_until(end) => return false,
                () = link::wake(retry) => {
                    self.applier.retry().await;
                    self.applier.tell(&self.reporter);
                }
                _ = self.stop.wait_for(|stop| *stop) => return true,
            }
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
