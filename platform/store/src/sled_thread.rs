//! The thread on which sled loads and makes checkpoints, and what is asked of it.
//!
//! A panic there ends nothing but the job, and a hang is noticed by whoever waits with a deadline: then the thread is
//! abandoned and another one takes the next job, [`ABANDONED_MAX`] times at most as long as they hang; the journal carries
//! on meanwhile. sled is open only during a job. It is one thread for all of them because an allocator that keeps a
//! heap per thread keeps what sled freed: one such heap is enough.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crate::Key;
use crate::archive::{self, Archive};
use crate::heal::archive_from_sled;
use crate::layout::size;
use crate::pending::Pending;
use crate::run::Home;
use crate::seal::Root;
use crate::tree::{self, Scan, Tree, TreeError};

/// How long a checkpoint, or one piece of a load or of a compaction, may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// A piece of a load ends at so many bytes.
const PIECE_BYTES: usize = 32 * 1024;
/// How many pieces may wait to be taken.
const PIECES_MAX: usize = 2;
/// How long the end of the thread is waited for, and how often looked at.
const END_PATIENCE: Duration = Duration::from_secs(5);
const END_POLL: Duration = Duration::from_millis(1);
const NAME: &str = "store-sled";
/// So many threads may hang, each with what sled holds in memory, before sled is left alone.
pub(crate) const ABANDONED_MAX: usize = 2;

/// What is to be done; it is told whether its thread has been given up, for those who work long.
type Job = Box<dyn FnOnce(&AtomicBool) + Send>;

/// The thread.
#[derive(Debug, Default)]
pub(crate) struct Worker {
    at_work: Option<AtWork>,
    /// Threads that hang. What they hold in memory and in files stays as long as they do.
    abandoned: Vec<JoinHandle<()>>,
}

/// A thread that takes jobs.
#[derive(Debug)]
struct AtWork {
    /// At most two jobs wait: a piece of looking through the store, and what the store asks for after the last answer.
    jobs: Sender<Job>,
    thread: JoinHandle<()>,
    given_up: Arc<AtomicBool>,
}

impl AtWork {
    fn start() -> io::Result<AtWork> {
        let (sender, jobs) = channel::<Job>();
        let given_up = Arc::<AtomicBool>::default();
        let flag = Arc::clone(&given_up);
        let work = move || {
            for job in jobs {
                if flag.load(Ordering::Relaxed) {
                    return;
                }
                // Whoever waits sees its channel closed.
                let _ = catch_unwind(AssertUnwindSafe(|| job(&flag)));
            }
        };
        let thread = Builder::new().name(NAME.into()).spawn(work)?;
        Ok(AtWork { jobs: sender, thread, given_up })
    }
}

impl Worker {
    pub(crate) fn start() -> io::Result<Worker> {
        Ok(Worker { at_work: Some(AtWork::start()?), abandoned: Vec::new() })
    }

    /// Has a job done, by a new thread where the one before was given up.
    pub(crate) fn post(&mut self, job: impl FnOnce(&AtomicBool) + Send + 'static) -> io::Result<()> {
        let at_work = match self.at_work.take() {
            Some(at_work) => at_work,
            None => {
                if self.is_exhausted() {
                    return Err(io::Error::other(format!("{ABANDONED_MAX} threads of sled's hang")));
                }
                AtWork::start()?
            }
        };
        let posted = at_work.jobs.send(Box::new(job));
        self.at_work = Some(at_work);
        posted.map_err(|_| io::Error::other("the thread for sled is gone"))
    }

    /// Gives up a thread that hangs. Should it go on after all it does no further job, and nobody hears of the last.
    pub(crate) fn abandon(&mut self) {
        let Some(AtWork { thread, given_up, .. }) = self.at_work.take() else { return };
        given_up.store(true, Ordering::Relaxed);
        self.abandoned.push(thread);
    }

    /// Whether so many threads hang that no other is begun.
    pub(crate) fn is_exhausted(&mut self) -> bool {
        self.abandoned.retain(|thread| !thread.is_finished());
        self.at_work.is_none() && self.abandoned.len() >= ABANDONED_MAX
    }
}

impl Drop for Worker {
    /// Waits until sled is closed, unless it hangs.
    fn drop(&mut self) {
        let Some(AtWork { jobs, thread, .. }) = self.at_work.take() else { return };
        drop(jobs);
        let patience = Instant::now() + END_PATIENCE;
        while !thread.is_finished() && Instant::now() < patience {
            std::thread::sleep(END_POLL);
        }
    }
}

/// A checkpoint to be made: the state after commit `seq` is that after commit `base`, with `changes` on top.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) base: u64,
    pub(crate) seq: u64,
    pub(crate) meta: Option<Vec<u8>>,
    pub(crate) changes: Pending,
}

/// A checkpoint under way.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    result: Receiver<Result<Made, TreeError>>,
    until: Instant,
    /// Whether it writes the archive anew.
    pub(crate) anew: bool,
}

/// Why a checkpoint is to write the archive anew.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Anew {
    /// What is wrong with it; none where there just is none.
    pub(crate) why: Option<String>,
    /// It could not be read, and may be whole.
    pub(crate) is_unread: bool,
}

impl Anew {
    pub(crate) fn because(error: &TreeError) -> Anew {
        Anew { why: Some(error.to_string()), is_unread: matches!(error, TreeError::Io(_)) }
    }
}

/// What a checkpoint brought sled and the archive to.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) root: Root,
    pub(crate) archive: Arc<Archive>,
    /// Bytes of sled's files.
    pub(crate) sled_bytes: u64,
    /// Why the archive was written anew, if something was wrong with it.
    pub(crate) mended: Option<String>,
}

/// What became of a checkpoint.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is still under way.
    Running,
    /// It is, but it had to be over by now.
    Hung,
    /// It is durable.
    Done(Box<Made>),
    /// It failed; the content of sled is that of before or after, and the same checkpoint may be tried again.
    Failed(TreeError),
}

impl Checkpoint {
    /// Starts one that must be over after `patience`. Without an archive, that is written anew.
    pub(crate) fn start(
        worker: &mut Worker,
        home: Home,
        frozen: Arc<Frozen>,
        archive: Result<Arc<Archive>, Anew>,
        patience: Duration,
    ) -> io::Result<Checkpoint> {
        let (sender, result) = sync_channel(1);
        let anew = archive.is_err();
        let work = move |given_up: &AtomicBool| {
            // Nobody listening means that the store is gone, and with it all interest.
            let _ = sender.send(checkpoint(&home, &frozen, archive, given_up));
        };
        worker.post(work)?;
        Ok(Checkpoint { result, until: Instant::now() + patience, anew })
    }

    /// Looks without waiting.
    pub(crate) fn poll(&self) -> Outcome {
        self.wait_for(Duration::ZERO)
    }

    /// Waits for the end, up to the deadline, but no longer than that.
    pub(crate) fn wait(&self, patience: Duration) -> Outcome {
        self.wait_for(self.until.saturating_duration_since(Instant::now()).min(patience))
    }

    fn wait_for(&self, time: Duration) -> Outcome {
        match self.result.recv_timeout(time) {
            Ok(Ok(made)) => Outcome::Done(Box::new(made)),
            Ok(Err(error)) => Outcome::Failed(error),
            Err(RecvTimeoutError::Timeout) if Instant::now() >= self.until => Outcome::Hung,
            Err(RecvTimeoutError::Timeout) => Outcome::Running,
            Err(RecvTimeoutError::Disconnected) => Outcome::Failed(TreeError::corrupt("the checkpoint panicked")),
        }
    }
}

fn checkpoint(
    home: &Home,
    frozen: &Frozen,
    archive: Result<Arc<Archive>, Anew>,
    given_up: &AtomicBool,
) -> Result<Made, TreeError> {
    let tree = Tree::open(&home.dir, home.generation)?;
    let mut root = tree.root()?;
    if root.seq < frozen.base || root.seq > frozen.seq {
        let (found, base) = (root.seq, frozen.base);
        return Err(TreeError::corrupt(format!("the checkpoint is of commit {found}, it had come to {base}")));
    }
    if root.seq < frozen.seq {
        root.seq = frozen.seq;
        root.meta.clone_from(&frozen.meta);
        tree.checkpoint(&mut root, frozen.changes.iter())?;
    } else {
        // An attempt before this one got through although it could not say so.
        tree.persist()?;
    }
    tree.close()?;
    if given_up.load(Ordering::Relaxed) {
        return Err(io::Error::from(io::ErrorKind::TimedOut).into());
    }
    let (archive, mended) = match archive {
        // As above.
        Ok(archive) if archive.seq() == root.seq => (archive, None),
        Ok(archive) if archive.seq() == frozen.base => match archive.with(&frozen.changes, &root) {
            Err(error) if error.is_damage() => rebuilt(home, Anew::because(&error))?,
            archive => (Arc::new(archive?), None),
        },
        Ok(_) => rebuilt(home, Anew::default())?,
        Err(anew) => rebuilt(home, anew)?,
    };
    Ok(Made { root, archive, sled_bytes: size(&tree::path(&home.dir)), mended })
}

/// The archive written anew, and why that was necessary.
fn rebuilt(home: &Home, Anew { why, is_unread }: Anew) -> Result<(Arc<Archive>, Option<String>), TreeError> {
    tracing::warn!(why, "store: the archive is written anew from sled");
    let mut made = archive_from_sled(home);
    if made.as_ref().is_err_and(TreeError::is_disk_full) && !is_unread {
        // What is in the way is known to be of no use.
        archive::remove_all(&home.dir);
        made = archive_from_sled(home);
    }
    Ok((Arc::new(made?), why))
}

/// Some records in order, their values one after the other in `bytes`.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    bytes: Vec<u8>,
    records: Vec<(Key, usize)>,
}

impl Piece {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &[u8])> {
        self.records.iter().scan(0, |start, (key, end)| {
            let value = self.bytes.get(*start..*end).unwrap_or_default();
            *start = *end;
            Some((*key, value))
        })
    }
}

enum Message {
    Root(Root),
    Piece(Piece),
    Done,
}

/// The content of sled, read record by record, each verified, with a verdict over all at the end.
pub(crate) struct Load {
    messages: Receiver<Result<Message, TreeError>>,
}

impl Load {
    /// Opens sled and reads the root.
    pub(crate) fn start(
        worker: &mut Worker,
        generation_dir: &Path,
        generation: u64,
    ) -> Result<(Load, Root), TreeError> {
        let dir = generation_dir.to_path_buf();
        let (sender, messages) = sync_channel(PIECES_MAX);
        let work = move |_: &AtomicBool| {
            let end = read(&dir, generation, &sender);
            let _ = sender.send(end.map(|()| Message::Done));
        };
        worker.post(work)?;
        let load = Load { messages };
        match load.receive()? {
            Message::Root(root) => Ok((load, root)),
            Message::Piece(_) | Message::Done => Err(TreeError::corrupt("no root came first")),
        }
    }

    /// The next records; `None` after the last, when everything was found right and sled is closed.
    pub(crate) fn next(&self) -> Result<Option<Piece>, TreeError> {
        match self.receive()? {
            Message::Piece(piece) => Ok(Some(piece)),
            Message::Root(_) => Err(TreeError::corrupt("a second root came")),
            Message::Done => Ok(None),
        }
    }

    fn receive(&self) -> Result<Message, TreeError> {
        self.messages.recv_timeout(DEADLINE).unwrap_or_else(|error| {
            Err(match error {
                // That says nothing of the content.
                RecvTimeoutError::Timeout => io::Error::new(io::ErrorKind::TimedOut, "sled does not answer").into(),
                RecvTimeoutError::Disconnected => TreeError::corrupt("the thread that reads sled panicked"),
            })
        })
    }
}

fn read(dir: &Path, generation: u64, sender: &SyncSender<Result<Message, TreeError>>) -> Result<(), TreeError> {
    let tree = Tree::open(dir, generation)?;
    let root = tree.root()?;
    tree.settle()?;
    let mut scan = Scan::new();
    if sender.send(Ok(Message::Root(root.clone()))).is_err() {
        return Ok(());
    }
    let mut piece = Piece::default();
    while let Some(key) = scan.next(&tree, &mut piece.bytes)? {
        piece.records.push((key, piece.bytes.len()));
        if piece.bytes.len() >= PIECE_BYTES && sender.send(Ok(Message::Piece(std::mem::take(&mut piece)))).is_err() {
            return Ok(());
        }
    }
    scan.finish(&root)?;
    tree.close()?;
    let _ = sender.send(Ok(Message::Piece(piece)));
    Ok(())
}
