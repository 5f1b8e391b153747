//! Waiting for what happens in another process.

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up: generous, since the machine is shared and nothing is judged by it.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// Asks every few milliseconds until there is an answer.
///
/// # Panics
/// When there is none within [`PATIENCE`].
pub fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, ask)
}

/// The same with a limit of one's own.
///
/// # Panics
/// When there is no answer within `limit`.
pub fn within<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < limit, "gave up after {limit:?} waiting for: {what}");
        std::thread::park_timeout(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
