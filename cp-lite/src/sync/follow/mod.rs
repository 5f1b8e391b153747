//! A follower's side of the link to its writer: the same protocol that data planes speak, with the full view.
//!
//! This file is the loop over the writers that the settings name; [`link`] is one connection, [`take`] turns what comes
//! into steps of the changelog, patches ([`patches`]) and what differs by digests ([`reconcile`]) too. It ends when this control plane becomes the writer itself.

mod link;
mod patches;
mod reconcile;
mod take;

use crate::changelog::{Changelog, Role};
use crate::planes::Planes;
use link::{End, Link};
use model::Id;
use pki::ClusterClient;
use std::sync::Arc;
use std::time::Instant;
use take::Taker;
use tokio::sync::watch;
use wire::backoff::Backoff;
use wire::dp::{Identity, Session};
use wire::shrink::Limit;
use wire::{Hello, ProtocolError};

/// The heartbeat that a follower proposes, in seconds: it is to notice soon that its writer is gone.
const HEARTBEAT_S: u32 = 30;

/// Whom to follow, and as whom.
pub struct Settings {
    /// Our certificate, and whom to trust.
    pub client: ClusterClient,
    /// What hello says of this control plane.
    pub identity: Identity,
    /// What is taken over, and where it goes.
    pub changelog: Arc<dyn Changelog>,
    /// The writers, and where to tell how it goes.
    pub planes: Arc<Planes>,
    /// How much of what is here may be taken away without a confirmation.
    pub limit: Limit,
}

/// What hello says of a control plane that follows: everything that this build knows.
#[must_use]
pub fn identity(node: Id, hostname: String, incremental: bool) -> Identity {
    let mut identity = Identity::of_this_build(node, hostname, env!("CARGO_PKG_VERSION").to_owned());
    (identity.incremental, identity.heartbeat_s) = (incremental, HEARTBEAT_S);
    identity.features =
        Hello::FOLLOWER | Hello::PATCHES | Hello::RECONCILE | Hello::CONFIRM | Hello::OVERTAKE | Hello::PARITY;
    identity
}

/// Follows until `stop`, or until this control plane is promoted. After a session that came about the first writer of the
/// list is tried first; after a failure, the next one.
///
/// # Errors
/// The identity breaks the protocol's limits.
pub async fn run(settings: Settings, mut stop: watch::Receiver<bool>) -> Result<(), ProtocolError> {
    let Settings { client, identity, changelog, planes, limit } = settings;
    let mut session = Session::new(identity)?;
    let mut taker = Taker::new(changelog.clone(), limit);
    let mut backoff = Backoff::default();
    let mut head = changelog.watch();
    let started = Instant::now();
    let mut at = 0;
    loop {
        let Some(address) = planes.writers().get(at % planes.writers().len().max(1)) else { return Ok(()) };
        planes.update(|upstream| upstream.address = Some(address.clone()));
        let connected = tokio::select! {
            connected = link::connect(address, &client) => connected,
            () = over(&changelog, &mut head, &mut stop) => return Ok(()),
        };
        let (end, greeted) = match connected {
            Err(failure) => (End::from(failure), false),
            Ok(stream) => {
                let mut link = Link::new(stream, &mut session, &mut taker, &planes, started);
                let end = tokio::select! {
                    end = link.run() => end,
                    () = over(&changelog, &mut head, &mut stop) => {
                        link.bye().await;
                        planes.attach(false);
                        return Ok(());
                    }
                };
                (end, link.greeted())
            }
        };
        planes.attach(false);
        planes.told_from_above(Vec::new());
        report(&planes, address, &end);
        if greeted {
            backoff.reset();
        }
        at = if greeted { 0 } else { at + 1 };
        let pause = backoff.next(Id::random().0 as u64).max(end.retry_after());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = over(&changelog, &mut head, &mut stop) => return Ok(()),
        }
    }
}

/// Waits for the end of following.
async fn over(changelog: &Arc<dyn Changelog>, head: &mut watch::Receiver<u64>, stop: &mut watch::Receiver<bool>) {
    while changelog.view().role == Role::Follower {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            changed = head.changed() => if changed.is_err() { return },
        }
    }
}

fn report(planes: &Planes, address: &str, end: &End) {
    let message = end.to_string();
    // The same failure again and again is one fact, not one log line per attempt.
    if planes.upstream().0.last_error.as_ref() != Some(&message) {
        tracing::warn!(writer = address, error = %message, "not connected to the writer; serving what is here");
    }
    planes.update(|upstream| upstream.last_error = Some(message));
}
