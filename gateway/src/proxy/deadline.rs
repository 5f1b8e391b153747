//! Deadlines that move with every byte without touching the timer wheel every time.
//!
//! A timer that is armed once fires at the earliest deadline it ever had; only then is the real one looked at and
//! the timer armed anew. On a busy connection that is once per timeout, not once per request.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::{Instant, Sleep, sleep_until};

/// A timer for a deadline that changes often.
#[derive(Debug, Default)]
pub(crate) struct Deadline {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Ready when `at` has passed; else the task is woken no later than that.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if at < sleep.deadline() {
            sleep.as_mut().reset(at);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if at <= Instant::now() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn follows_a_deadline_that_moves_both_ways() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let start = Instant::now();
            let mut deadline = Deadline::default();
            let mut at = start + Duration::from_secs(60);
            assert!(std::future::poll_fn(|cx| Poll::Ready(deadline.poll(cx, at))).await.is_pending());
            at = start + Duration::from_millis(5);
            std::future::poll_fn(|cx| deadline.poll(cx, at)).await;
            assert!(Instant::now() >= at);
            at = start + Duration::from_millis(10);
            std::future::poll_fn(|cx| deadline.poll(cx, at)).await;
            assert!(Instant::now() >= at);
        });
    }
}
