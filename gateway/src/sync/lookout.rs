//! What a link knows of the control planes beside its own: it tells the chooser how the session goes, and when the
//! chooser wants to look elsewhere it makes the connection there, while the session goes on.

use super::choice::{Chooser, Index, Outcome};
use super::dial::{Dialer, Stream};
use super::heartbeat::Heartbeat;
use super::link::LinkError;
use super::status::{Plane, Reporter};
use model::Id;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};
use tokio::time::sleep_until;
use wire::dp::Closed;
use wire::message::Mode;
use wire::{ByeReason, Welcome};

type Connecting<'a> = Pin<Box<dyn Future<Output = Result<Stream, LinkError>> + 'a>>;

/// The view from one link.
pub struct Lookout<'a> {
    /// The control plane of the link.
    plane: Index,
    chooser: &'a mut Chooser,
    heartbeat: &'a mut Heartbeat,
    dialer: &'a Dialer,
    reporter: &'a Reporter,
    started: Instant,
    trial: Option<(Index, Connecting<'a>)>,
    welcomed: bool,
    useful: bool,
}

impl<'a> Lookout<'a> {
    /// From a link to `plane`. `started` is the zero of the chooser's clock.
    pub fn new(
        plane: Index,
        (chooser, heartbeat): (&'a mut Chooser, &'a mut Heartbeat),
        dialer: &'a Dialer,
        reporter: &'a Reporter,
        started: Instant,
    ) -> Self {
        Self { plane, chooser, heartbeat, dialer, reporter, started, trial: None, welcomed: false, useful: false }
    }

    /// The control plane of the link answered.
    pub fn welcomed(&mut self, welcome: &Welcome) {
        self.welcomed = true;
        self.chooser.welcomed(self.plane, welcome.mode == Mode::Behind, self.now(), random());
        show(self.chooser, self.reporter, self.started, Some((self.plane, None)));
    }

    /// The control plane of the link is at `head`, this node at `applied`.
    pub fn heard(&mut self, head: u64, applied: u64) {
        if head >= applied {
            self.chooser.caught_up(self.now(), random());
        }
    }

    /// Something was received for good.
    pub fn useful(&mut self) {
        self.useful = true;
    }

    /// A PING after so many milliseconds of silence was answered. The heartbeat to ask for, if that is another one now.
    pub fn survived(&mut self, idle: u64) -> Option<u32> {
        self.heartbeat.survived(seconds(idle)).then(|| self.heartbeat.seconds())
    }

    /// The session ended. `idle` is the silence in milliseconds before the last PING.
    pub fn ended(&mut self, error: &LinkError, idle: u64) {
        if self.welcomed && matches!(error, LinkError::Closed(Closed::Silent)) {
            self.heartbeat.died(seconds(idle));
        }
        let retry_after = error.retry_after();
        let outcome = match error {
            LinkError::Closed(Closed::Bye(bye)) if bye.reason == ByeReason::Moved => {
                Outcome::Moved { to: bye.to.clone() }
            }
            _ if self.welcomed => Outcome::Lost { retry_after, useful: self.useful },
            _ => Outcome::Unreached { retry_after },
        };
        self.chooser.ended(self.plane, outcome, self.now(), random());
    }

    /// A connection to a control plane that may be better. `idle`: whether the session could end without loss. May be
    /// dropped and called again at any time.
    pub async fn found(&mut self, idle: bool) -> (Index, Stream) {
        loop {
            if let Some((plane, connecting)) = &mut self.trial {
                let (plane, connected) = (*plane, connecting.as_mut().await);
                self.trial = None;
                match connected {
                    Ok(stream) => return (plane, stream),
                    Err(error) => self.failed(plane, &error),
                }
            }
            let Some(at) = self.chooser.look_at() else { return std::future::pending().await };
            sleep_until((self.started + Duration::from_millis(at)).into()).await;
            if !idle {
                self.chooser.put_off(self.now(), random());
            } else if let Some(plane) = self.chooser.look(self.now(), random()) {
                let (dialer, address) = (self.dialer, self.chooser.address(plane).to_owned());
                self.trial = Some((plane, Box::pin(async move { dialer.connect(plane, &address).await })));
            }
        }
    }

    /// What was looked at cannot be had.
    pub fn failed(&mut self, plane: Index, error: &LinkError) {
        tracing::debug!(control_plane = self.chooser.address(plane), %error, "another control plane is not to be had");
        let outcome = Outcome::Unreached { retry_after: error.retry_after() };
        self.chooser.ended(plane, outcome, self.now(), random());
        show(self.chooser, self.reporter, self.started, Some((plane, Some(error.to_string()))));
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Lets everybody know how the control planes stand, and what the last attempt at one of them came to, or that it is up.
pub(super) fn show(chooser: &Chooser, reporter: &Reporter, started: Instant, news: Option<(Index, Option<String>)>) {
    let known = reporter.link().planes;
    let planes = chooser.ranked().into_iter().map(|(index, not_before)| {
        let address = chooser.address(index).to_owned();
        let retry_at = Some(started + Duration::from_millis(not_before)).filter(|at| *at > Instant::now());
        let last_error = match &news {
            Some((plane, error)) if *plane == index => error.clone(),
            _ => known.iter().find(|plane| plane.address == address).and_then(|plane| plane.last_error.clone()),
        };
        Plane { address, retry_at, last_error }
    });
    let planes = planes.collect();
    reporter.update(|link| link.planes = planes);
}

pub(super) fn random() -> u64 {
    Id::random().0 as u64
}

fn seconds(millis: u64) -> u32 {
    u32::try_from(millis / 1000).unwrap_or(u32::MAX)
}
