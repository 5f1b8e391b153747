//! The writer's word: whether the writer that this control plane follows is there now, and of the same database. Sessions ask
//! ([`Planes::hears_writer`], [`Planes::ask`]), the link to the writer answers; nobody waits longer than [`ANSWER_MAX`].

use super::Planes;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::timeout;

/// The longest that a session waits for the writer's word: less than a node waits for its WELCOME.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Questions are numbered; an answer to one is an answer to all before it.
#[derive(Debug)]
pub(super) struct Word {
    asked: watch::Sender<u64>,
    answered: watch::Sender<u64>,
}

impl Default for Word {
    fn default() -> Self {
        Self { asked: watch::Sender::new(0), answered: watch::Sender::new(0) }
    }
}

impl Planes {
    /// Whether a session with a writer is up that is of this epoch. One of another epoch has more to say than was taken
    /// over yet, or was held back.
    #[must_use]
    pub fn follows_in(&self, epoch: u64) -> bool {
        let (upstream, attached) = self.upstream();
        attached && upstream.epoch == epoch
    }

    /// Whether the writer was there, and of this epoch, at some moment after this call: the word of a writer that has been
    /// silent since is not taken for that.
    pub async fn hears_writer(&self, epoch: u64) -> bool {
        self.hears_writer_within(ANSWER_MAX, epoch).await
    }

    async fn hears_writer_within(&self, most: Duration, epoch: u64) -> bool {
        let mut attached = self.attached();
        if !self.follows_in(epoch) {
            return false;
        }
        let mut answers = self.answers();
        let question = self.ask();
        let answered = async {
            tokio::select! {
                answer = answers.wait_for(|answered| *answered >= question) => answer.is_ok(),
                _ = attached.wait_for(|attached| !attached) => false,
            }
        };
        timeout(most, answered).await.unwrap_or(false) && self.follows_in(epoch)
    }

    /// Asks the writer, and says by which number its answer will be known.
    pub fn ask(&self) -> u64 {
        let mut number = 0;
        self.word.asked.send_modify(|asked| {
            *asked += 1;
            number = *asked;
        });
        number
    }

    /// Tells of questions: for the link to the writer.
    #[must_use]
    pub fn questions(&self) -> watch::Receiver<u64> {
        self.word.asked.subscribe()
    }

    /// The writer has answered this question, and all before it.
    pub fn answer(&self, question: u64) {
        self.word.answered.send_if_modified(|answered| {
            let later = question > *answered;
            *answered = question.max(*answered);
            later
        });
    }

    /// Tells of answers.
    #[must_use]
    pub fn answers(&self) -> watch::Receiver<u64> {
        self.word.answered.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn poll(future: std::pin::Pin<&mut impl Future<Output = bool>>) -> Poll<bool> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[tokio::test]
    async fn only_a_word_that_was_given_after_the_question_counts() {
        let planes = Planes::new(vec!["a:1".to_owned()]);
        assert!(!planes.hears_writer(7).await, "there is no writer");
        planes.update(|upstream| upstream.epoch = 7);
        planes.attach(true);
        assert!(!planes.hears_writer(8).await, "the writer is of another database");

        let earlier = planes.ask();
        let mut waits = pin!(planes.hears_writer(7));
        assert_eq!(poll(waits.as_mut()), Poll::Pending);
        planes.answer(earlier);
        assert_eq!(poll(waits.as_mut()), Poll::Pending, "that answer was to an earlier question");
        planes.answer(*planes.questions().borrow());
        assert_eq!(poll(waits.as_mut()), Poll::Ready(true));

        let mut waits = pin!(planes.hears_writer(7));
        assert_eq!(poll(waits.as_mut()), Poll::Pending);
        planes.attach(false);
        assert_eq!(poll(waits.as_mut()), Poll::Ready(false), "the link broke before it answered");
        planes.attach(true);
        assert!(!planes.hears_writer_within(Duration::ZERO, 7).await, "a link that has gone dead says nothing");
    }
}
