//! Looks whether another control plane would be better, without leaving the one there is: greets on a second connection,
//! and takes it over only if the greeting says that nothing is lost by it.
//!
//! A control plane that lags, that refuses, or that is of another epoch than the present one is left as it was found: a
//! node never goes back. The one exception is an epoch that has replaced the present one.

use super::dial::Stream;
use super::link::{LinkError, READ_BYTES};
use pki::LinkFailure;
use pki::link::WRITE_MAX;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use wire::dp::{Action, Session};
use wire::message::{Have, Mode};
use wire::succession::replaces;
use wire::{ByeReason, Welcome};

/// The longest that a greeting may take. The first connection is not read meanwhile.
pub const GREETING_MAX: Duration = Duration::from_secs(10);

/// A second connection whose control plane has answered.
pub struct Greeted {
    /// The connection.
    pub stream: Stream,
    /// The session on it.
    pub session: Session,
    /// What is to be done first, [`Action::Welcomed`] among it.
    pub actions: Vec<Action>,
}

/// What a greeting led to.
pub enum Verdict {
    /// It would be better.
    Better(Box<Greeted>),
    /// It is up, and no better; `mode` says how it would have gone on.
    NoBetter {
        /// The name of the mode.
        mode: &'static str,
    },
}

/// Greets as `session`, which is not connected, and decides. `present` is epoch and term of the control plane there is,
/// `started` the zero of the session's clock.
///
/// # Errors
/// The connection broke, or the control plane refused.
pub async fn greet(
    stream: Stream,
    session: Session,
    have: (Have, u32),
    present: (u64, u32),
    started: Instant,
) -> Result<Verdict, LinkError> {
    let greeting = exchange(stream, session, have, started);
    let mut greeted = timeout(GREETING_MAX, greeting).await.map_err(|_| LinkFailure::Timeout(GREETING_MAX))??;
    let welcome = greeted.actions.iter().find_map(|action| match action {
        Action::Welcomed(welcome) => Some(welcome),
        _ => None,
    });
    match welcome {
        Some(welcome) if is_better(welcome, present) => Ok(Verdict::Better(Box::new(greeted))),
        other => {
            let mode = other.map_or("none", |welcome| welcome.mode.name());
            for action in greeted.session.bye(ByeReason::Shutdown, "", now(started)) {
                if let Action::Send(bytes) = action {
                    let _ = timeout(WRITE_MAX, greeted.stream.write_all(&bytes)).await;
                }
            }
            let _ = timeout(WRITE_MAX, greeted.stream.shutdown()).await;
            Ok(Verdict::NoBetter { mode })
        }
    }
}

fn is_better(welcome: &Welcome, (epoch, term): (u64, u32)) -> bool {
    match welcome.mode {
        Mode::Same | Mode::Tail => welcome.epoch == epoch,
        Mode::Full | Mode::Reconcile => replaces((welcome.term, welcome.epoch), (term, epoch)),
        _ => false,
    }
}

async fn exchange(
    mut stream: Stream,
    mut session: Session,
    (have, status): (Have, u32),
    started: Instant,
) -> Result<Greeted, LinkError> {
    let mut bytes = vec![0; READ_BYTES];
    for action in session.connected(have, status, now(started)) {
        if let Action::Send(hello) = action {
            stream.write_all(&hello).await.map_err(LinkFailure::lost)?;
        }
    }
    stream.flush().await.map_err(LinkFailure::lost)?;
    loop {
        let count = stream.read(&mut bytes).await.map_err(LinkFailure::lost)?;
        if count == 0 {
            return Err(LinkFailure::Eof.into());
        }
        let actions = session.received(&bytes[..count], now(started));
        if let Some(closed) = actions.iter().find_map(|action| match action {
            Action::Close(closed) => Some(closed.clone()),
            _ => None,
        }) {
            return Err(closed.into());
        }
        if !actions.is_empty() {
            return Ok(Greeted { stream, session, actions });
        }
    }
}

fn now(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Id;

    #[test]
    fn only_what_is_as_far_in_the_same_epoch_or_replaces_it_is_better() {
        let welcome = |epoch, term, mode| Welcome {
            proto: 1,
            cluster: Id(1),
            epoch,
            head: 1,
            root: 1,
            heartbeat_s: 0,
            incremental: true,
            mode,
            message: String::new(),
            term,
        };
        assert!(is_better(&welcome(7, 2, Mode::Same), (7, 2)));
        assert!(is_better(&welcome(7, 2, Mode::Tail), (7, 2)));
        for mode in [Mode::Behind, Mode::Withheld, Mode::Full, Mode::Reconcile, Mode::Other(7)] {
            assert!(!is_better(&welcome(7, 2, mode), (7, 2)), "{}", mode.name());
        }
        assert!(!is_better(&welcome(6, 2, Mode::Full), (7, 2)), "no other epoch is entered by looking around");
        assert!(!is_better(&welcome(8, 0, Mode::Full), (7, 0)), "nor where nothing says which one counts");
        assert!(is_better(&welcome(8, 3, Mode::Reconcile), (7, 2)));
        assert!(is_better(&welcome(9, 3, Mode::Full), (7, 3)), "as all choose between two of one term");
        assert!(is_better(&welcome(8, 3, Mode::Full), (7, 2)), "unless it has replaced the present one");
    }
}
