//! A store on a thread of its own: callers await, nobody blocks, and a store that panics or hangs takes nobody along.
//!
//! The mailbox is bounded and refuses rather than grows. A second, sleeping thread watches the deadline of what is
//! being done: when it passes, that request and all waiting ones are answered *abandoned*, and so is every later one.
//! While nobody asks for anything, the store is looked through (`scrub.rs`).
//! No runtime and no reactor is needed to await the answers.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::build;
use crate::{Change, CommitError, Info, Key, Reports, Store};

/// How many requests may wait.
const MAILBOX_MAX: usize = 64;

/// How long an operation may take before the thread is given up.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For a commit, a look-up or a batch of a replacement. A commit may have to wait for a checkpoint, which has 20 s, and
    /// for sled to be made anew, for which it waits as long again.
    pub step: Duration,
    /// For the end of a replacement.
    pub finish: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { step: Duration::from_secs(45), finish: Duration::from_secs(120) }
    }
}

/// A [`Store`] on a thread of its own. Cheap to clone; the store is closed when the last clone is gone.
#[derive(Clone, Debug)]
pub struct Thread {
    handle: Arc<Handle>,
    deadlines: Deadlines,
    reports: Reports,
}

/// A replacement under way on the store's thread. Dropping it leaves the old content.
#[derive(Debug)]
pub struct ThreadReplacement {
    thread: Thread,
    number: u64,
    finished: bool,
}

type Answer<T> = Result<T, CommitError>;

/// What the store's thread works on.
struct Desk {
    store: Store,
    /// The replacement being built, if any, and its number.
    replacement: Option<(u64, build::Builder)>,
    replacements: u64,
    /// When the store wants to be looked through further.
    scrub_at: Instant,
}

/// A request: does its work and returns how to tell the caller.
type Work = Box<dyn FnOnce(&mut Desk) -> Tell + Send>;
type Tell = Box<dyn FnOnce() + Send>;
/// Tells the caller that there will be no answer.
type Abandon = Box<dyn FnOnce(&str) + Send>;

struct Request {
    work: Work,
    abandon: Abandon,
    deadline: Duration,
}

#[derive(Default)]
struct Mailbox {
    waiting: VecDeque<Request>,
    /// What is being done: until when, and how to tell its caller if that passes.
    current: Option<(Instant, Abandon)>,
    /// The watch sleeps until some deadline and will look then; else it must be woken.
    watching: bool,
    closed: bool,
    abandoned: Option<String>,
}

#[derive(Default)]
struct Shared {
    mailbox: Mutex<Mailbox>,
    /// Wakes the store's thread: something waits, or the end has come.
    posted: Condvar,
    /// Wakes the watch: something is being done, or the end has come.
    begun: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Mailbox> {
        // No code of others runs under this lock, so a poisoned one is whole.
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the thread up and tells everybody.
    fn abandon(&self, why: &str) {
        let mut mailbox = self.lock();
        mailbox.abandoned.get_or_insert_with(|| why.to_owned());
        let current = mailbox.current.take().map(|(_, abandon)| abandon);
        let waiting = std::mem::take(&mut mailbox.waiting);
        drop(mailbox);
        self.posted.notify_all();
        self.begun.notify_all();
        for abandon in current.into_iter().chain(waiting.into_iter().map(|request| request.abandon)) {
            abandon(why);
        }
    }
}

/// Closes the mailbox when the last clone of the thread is gone.
struct Handle(Arc<Shared>);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("abandoned", &self.0.lock().abandoned).finish()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.posted.notify_all();
    }
}

impl Thread {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(store: Store, deadlines: Deadlines) -> io::Result<Thread> {
        let shared = Arc::new(Shared::default());
        let handle = Arc::new(Handle(Arc::clone(&shared)));
        let reports = store.reports();
        let watched = Arc::clone(&shared);
        Builder::new().name("store-watch".into()).spawn(move || watch(&watched))?;
        Builder::new().name("store".into()).spawn(move || serve(&shared, store, deadlines.step))?;
        Ok(Thread { handle, deadlines, reports })
    }

    /// See [`Store::commit`].
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn commit(&self, meta: Vec<u8>, changes: Vec<Change>) -> Result<(), CommitError> {
        self.ask(self.deadlines.step, move |desk| desk.store.commit(&meta, changes)).await
    }

    /// See [`Store::get`].
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn get(&self, key: Key) -> Result<Option<Arc<[u8]>>, CommitError> {
        self.ask(self.deadlines.step, move |desk| desk.store.get(key)).await
    }

    /// See [`Store::info`].
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn info(&self) -> Result<Info, CommitError> {
        self.ask(self.deadlines.step, |desk| Ok(desk.store.info())).await
    }

    /// See [`Store::retry_writing`].
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn retry_writing(&self) -> Result<(), CommitError> {
        self.ask(self.deadlines.step, |desk| desk.store.retry_writing()).await
    }

    /// What the store has to say of its files.
    pub fn reports(&self) -> &Reports {
        &self.reports
    }

    /// Why the thread was given up, if it was.
    pub fn abandoned(&self) -> Option<String> {
        self.handle.0.lock().abandoned.clone()
    }

    /// See [`Store::replace`]. Commits are possible while it is built, and gone when it is finished. There is one at a
    /// time: starting another ends the one before.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn replace(&self) -> Result<ThreadReplacement, CommitError> {
        let begin = |desk: &mut Desk| {
            desk.replacement = None;
            desk.replacements += 1;
            desk.replacement = Some((desk.replacements, desk.store.start_builder()?));
            Ok(desk.replacements)
        };
        let number = self.ask(self.deadlines.step, begin).await?;
        Ok(ThreadReplacement { thread: self.clone(), number, finished: false })
    }

    async fn ask<T: Send + 'static>(
        &self,
        deadline: Duration,
        work: impl FnOnce(&mut Desk) -> Answer<T> + Send + 'static,
    ) -> Answer<T> {
        let answer = self.post(deadline, work)?;
        answer.await.unwrap_or_else(|_| Err(CommitError::Abandoned("the store is closed".into())))
    }

    fn post<T: Send + 'static>(
        &self,
        deadline: Duration,
        work: impl FnOnce(&mut Desk) -> Answer<T> + Send + 'static,
    ) -> Answer<oneshot::Receiver<Answer<T>>> {
        let (sender, answer) = oneshot::channel();
        // Whoever comes first answers: the work when it is done, or the watch.
        let sender = Arc::new(Mutex::new(Some(sender)));
        let other = Arc::clone(&sender);
        let request = Request {
            work: Box::new(move |desk| {
                let answer = work(desk);
                Box::new(move || reply(&sender, answer))
            }),
            abandon: Box::new(move |why| reply(&other, Err(CommitError::Abandoned(why.to_owned())))),
            deadline,
        };
        let shared = &self.handle.0;
        let mut mailbox = shared.lock();
        if let Some(why) = &mailbox.abandoned {
            return Err(CommitError::Abandoned(why.clone()));
        }
        if mailbox.waiting.len() >= MAILBOX_MAX {
            return Err(CommitError::Busy);
        }
        mailbox.waiting.push_back(request);
        drop(mailbox);
        shared.posted.notify_one();
        Ok(answer)
    }
}

fn reply<T>(sender: &Mutex<Option<oneshot::Sender<Answer<T>>>>, answer: Answer<T>) {
    if let Some(sender) = sender.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // A caller that has gone away wants no answer.
        let _ = sender.send(answer);
    }
}

impl ThreadReplacement {
    /// Adds records. Not durable before [`ThreadReplacement::finish`].
    ///
    /// # Errors
    /// See [`CommitError`]. The replacement is of no use any more then.
    pub async fn put(&mut self, records: Vec<(Key, Arc<[u8]>)>) -> Result<(), CommitError> {
        let number = self.number;
        let put = move |desk: &mut Desk| {
            let builder = desk.builder(number)?;
            records.iter().try_for_each(|(key, value)| builder.put(key, value))
        };
        self.thread.ask(self.thread.deadlines.step, put).await
    }

    /// See [`crate::Replacement::finish`].
    ///
    /// # Errors
    /// See [`CommitError`]. The old content stays.
    pub async fn finish(mut self, meta: Vec<u8>) -> Result<(), CommitError> {
        self.finished = true;
        let number = self.number;
        let finish = move |desk: &mut Desk| {
            desk.builder(number)?;
            let Some((_, builder)) = desk.replacement.take() else { return Err(CommitError::Superseded) };
            desk.store.finish_builder(builder, &meta)
        };
        self.thread.ask(self.thread.deadlines.finish, finish).await
    }
}

impl Drop for ThreadReplacement {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let number = self.number;
        let end = move |desk: &mut Desk| {
            desk.replacement.take_if(|(current, _)| *current == number);
            Ok(())
        };
        // If the mailbox is full, the unfinished generation stays until the next replacement or open.
        let _ = self.thread.post(self.thread.deadlines.step, end);
    }
}

impl Desk {
    fn builder(&mut self, number: u64) -> Answer<&mut build::Builder> {
        match &mut self.replacement {
            Some((current, builder)) if *current == number => Ok(builder),
            _ => Err(CommitError::Superseded),
        }
    }
}

/// The store's thread.
fn serve(shared: &Shared, mut store: Store, step: Duration) {
    let scrub_at = store.scrub(Instant::now());
    let mut desk = Desk { store, replacement: None, replacements: 0, scrub_at };
    while let Some(work) = next(shared, desk.scrub_at, step) {
        let done = catch_unwind(AssertUnwindSafe(|| work(&mut desk)));
        match done {
            Ok(tell) => {
                let abandoned = {
                    let mut mailbox = shared.lock();
                    mailbox.current = None;
                    mailbox.abandoned.is_some()
                };
                tell();
                if abandoned {
                    return;
                }
            }
            Err(panic) => {
                shared.abandon(&format!("it panicked: {}", text(panic.as_ref())));
                // What a panic left behind is not worth another one.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(desk)));
                return;
            }
        }
    }
}

fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

/// A piece of looking through the store, for when nobody asks for anything.
fn scrub(step: Duration) -> Request {
    let work = |desk: &mut Desk| {
        desk.scrub_at = desk.store.scrub(Instant::now());
        Box::new(|| ()) as Tell
    };
    Request { work: Box::new(work), abandon: Box::new(|_| ()), deadline: step }
}

/// The next request, which at `scrub_at` comes from here; `None` when there will be no more.
fn next(shared: &Shared, scrub_at: Instant, step: Duration) -> Option<Work> {
    let mut mailbox = shared.lock();
    loop {
        if mailbox.abandoned.is_some() {
            return None;
        }
        let left = scrub_at.saturating_duration_since(Instant::now());
        let due = (left.is_zero() && !mailbox.closed).then(|| scrub(step));
        if let Some(request) = mailbox.waiting.pop_front().or(due) {
            mailbox.current = Some((Instant::now() + request.deadline, request.abandon));
            if !mailbox.watching {
                shared.begun.notify_one();
            }
            return Some(request.work);
        }
        if mailbox.closed {
            mailbox.abandoned = Some("the store is closed".into());
            shared.begun.notify_one();
            return None;
        }
        mailbox = shared.posted.wait_timeout(mailbox, left).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// The watch: sleeps until the deadline of what is being done.
fn watch(shared: &Shared) {
    let mut mailbox = shared.lock();
    loop {
        if mailbox.abandoned.is_some() {
            return;
        }
        let left = mailbox.current.as_ref().map(|(deadline, _)| deadline.saturating_duration_since(Instant::now()));
        mailbox.watching = left.is_some();
        mailbox = match left {
            None => shared.begun.wait(mailbox).unwrap_or_else(PoisonError::into_inner),
            Some(Duration::ZERO) => {
                drop(mailbox);
                shared.abandon("it missed its deadline");
                return;
            }
            Some(left) => shared.begun.wait_timeout(mailbox, left).unwrap_or_else(PoisonError::into_inner).0,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::{Context, Poll, Wake, Waker};

    use crate::{Change, Options};

    struct Unpark(std::thread::Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    /// Awaits on this thread, with no runtime at all.
    fn wait<T>(future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(output) => return output,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    fn key(n: u8) -> Key {
        Key { table: 0, kind: 0, id: [n; 16] }
    }

    fn start(dir: &std::path::Path, step: Duration) -> Thread {
        let (store, _) = Store::open(dir, Options::default(), &mut |_, _| {}).unwrap();
        Thread::start(store, Deadlines { step, finish: step }).unwrap()
    }

    fn count(dir: &std::path::Path) -> (usize, Option<Vec<u8>>) {
        let mut count = 0;
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            match Store::open(dir, Options::default(), &mut |_, _| count += 1) {
                Ok((_, meta)) => return (count, meta),
                // The last handle is gone, but its thread may still be closing the store.
                Err(crate::OpenError::Locked(_)) if Instant::now() < until => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn it_does_what_the_store_does() {
        let dir = tempfile::tempdir().unwrap();
        let thread = start(dir.path(), LONG);
        wait(async {
            let value: Arc<[u8]> = Arc::from(&b"value"[..]);
            let change = Change { key: key(1), value: Some(value.clone()) };
            thread.commit(b"one".to_vec(), vec![change]).await.unwrap();
            assert_eq!(thread.get(key(1)).await.unwrap(), Some(value.clone()));
            drop(thread.replace().await.unwrap());
            let mut replacement = thread.replace().await.unwrap();
            replacement.put(vec![(key(2), value.clone()), (key(3), value.clone())]).await.unwrap();
            replacement.finish(b"two".to_vec()).await.unwrap();
            let mut first = thread.replace().await.unwrap();
            let _second = thread.replace().await.unwrap();
            assert!(matches!(first.put(vec![(key(2), value)]).await, Err(CommitError::Superseded)));
            assert_eq!(thread.info().await.unwrap().records, 2);
        });
        drop(thread);
        assert_eq!(count(dir.path()), (2, Some(b"two".to_vec())));
    }

    #[test]
    fn a_panic_is_answered_and_everything_after_it_refused() {
        let dir = tempfile::tempdir().unwrap();
        let thread = start(dir.path(), LONG);
        let answer: Answer<()> = wait(thread.ask(LONG, |_| panic!("of the test")));
        assert!(matches!(answer, Err(CommitError::Abandoned(why)) if why.contains("of the test")));
        assert!(matches!(wait(thread.commit(vec![], vec![])), Err(CommitError::Abandoned(_))));
        assert!(thread.abandoned().is_some());
        // The store was closed with the thread, so another may take over.
        assert_eq!(count(dir.path()), (0, None));
    }

    #[test]
    fn a_hang_is_answered_at_the_deadline_for_all_who_wait() {
        let dir = tempfile::tempdir().unwrap();
        let thread = start(dir.path(), LONG);
        let (release, held) = mpsc::channel::<()>();
        let hang = move |_: &mut Desk| {
            let _ = held.recv();
            Ok(())
        };
        let hung = thread.post(Duration::from_millis(50), hang).unwrap();
        let waiting = thread.post(LONG, |desk| desk.store.commit(b"", vec![])).unwrap();
        assert!(matches!(wait(hung).unwrap(), Err(CommitError::Abandoned(_))));
        assert!(matches!(wait(waiting).unwrap(), Err(CommitError::Abandoned(_))));
        assert!(matches!(wait(thread.info()), Err(CommitError::Abandoned(_))));
        drop(release);
        drop(thread);
        assert_eq!(count(dir.path()), (0, None));
    }

    #[test]
    fn a_full_mailbox_refuses() {
        let dir = tempfile::tempdir().unwrap();
        let thread = start(dir.path(), LONG);
        let (release, held) = mpsc::channel::<()>();
        let (begun, begin) = mpsc::channel::<()>();
        let hold = move |_: &mut Desk| {
            let _ = begun.send(());
            let _ = held.recv();
            Ok(())
        };
        let first = thread.post(LONG, hold).unwrap();
        begin.recv().unwrap();
        let waiting: Vec<_> = (0..MAILBOX_MAX).map(|_| thread.post(LONG, |_| Ok(())).unwrap()).collect();
        assert!(matches!(thread.post(LONG, |_| Ok(())), Err(CommitError::Busy)));
        drop(release);
        wait(first).unwrap().unwrap();
        for answer in waiting {
            wait(answer).unwrap().unwrap();
        }
    }
}
