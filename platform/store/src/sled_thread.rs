//! The thread on which sled loads and makes checkpoints, and what is asked of it.
//!
//! A panic there ends nothing but the job, and a hang is noticed by whoever waits with a deadline; the journal carries
//! on meanwhile. sled is open only during a job. It is one thread for all of them because an allocator that keeps a
//! heap per thread keeps what sled freed: one such heap is enough.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError, channel, sync_channel};
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

type Job = Box<dyn FnOnce() + Send>;

/// The thread.
#[derive(Debug)]
pub(crate) struct Worker {
    /// At most one job waits: the store asks for the next when it has had the answer to the last.
    jobs: Option<Sender<Job>>,
    thread: JoinHandle<()>,
}

impl Worker {
    pub(crate) fn start() -> io::Result<Worker> {
        let (sender, jobs) = channel::<Job>();
        let work = move || {
            for job in jobs {
                // Whoever waits sees its channel closed.
                let _ = catch_unwind(AssertUnwindSafe(job));
            }
        };
        let thread = Builder::new().name(NAME.into()).spawn(work)?;
        Ok(Worker { jobs: Some(sender), thread })
    }

    pub(crate) fn post(&self, job: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let posted = self.jobs.as_ref().is_some_and(|jobs| jobs.send(Box::new(job)).is_ok());
        if posted { Ok(()) } else { Err(io::Error::other("the thread for sled is gone")) }
    }
}

impl Drop for Worker {
    /// Waits until sled is closed, unless it hangs.
    fn drop(&mut self) {
        self.jobs = None;
        let patience = Instant::now() + END_PATIENCE;
        while !self.thread.is_finished() && Instant::now() < patience {
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
}

/// What a checkpoint brought sled and the archive to.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) root: Root,
    pub(crate) archive: Arc<Archive>,
    /// Bytes of sled's files.
    pub(crate) sled_bytes: u64,
}

/// What became of a checkpoint.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is still under way.
    Running,
    /// It is durable.
    Done(Box<Made>),
    /// It failed; the content of sled is that of before or after, and the same checkpoint may be tried again.
    Failed(TreeError),
}

impl Checkpoint {
    pub(crate) fn start(
        worker: &Worker,
        home: Home,
        frozen: Arc<Frozen>,
        archive: Option<Arc<Archive>>,
    ) -> io::Result<Checkpoint> {
        let (sender, result) = sync_channel(1);
        let work = move || {
            // Nobody listening means that the store is gone, and with it all interest.
            let _ = sender.send(checkpoint(&home, &frozen, archive));
        };
        worker.post(work)?;
        Ok(Checkpoint { result })
    }

    /// Looks without waiting.
    pub(crate) fn poll(&self) -> Outcome {
        match self.result.try_recv() {
            Ok(Ok(made)) => Outcome::Done(Box::new(made)),
            Ok(Err(error)) => Outcome::Failed(error),
            Err(TryRecvError::Empty) => Outcome::Running,
            Err(TryRecvError::Disconnected) => Outcome::Failed(TreeError::corrupt("the checkpoint panicked")),
        }
    }

    /// Waits for the end, up to the deadline.
    pub(crate) fn wait(&self) -> Outcome {
        match self.result.recv_timeout(DEADLINE) {
            Ok(Ok(made)) => Outcome::Done(Box::new(made)),
            Ok(Err(error)) => Outcome::Failed(error),
            Err(RecvTimeoutError::Timeout) => Outcome::Running,
            Err(RecvTimeoutError::Disconnected) => Outcome::Failed(TreeError::corrupt("the checkpoint panicked")),
        }
    }
}

fn checkpoint(home: &Home, frozen: &Frozen, archive: Option<Arc<Archive>>) -> Result<Made, TreeError> {
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
    let archive = match archive {
        // Likewise.
        Some(archive) if archive.seq() == root.seq => archive,
        Some(archive) if archive.seq() == frozen.base => match archive.with(&frozen.changes, &root) {
            Err(TreeError::Corrupt(what)) => rebuilt(home, &what)?,
            archive => Arc::new(archive?),
        },
        Some(_) => rebuilt(home, "it is not of the same commit")?,
        None => rebuilt(home, "there is none")?,
    };
    Ok(Made { root, archive, sled_bytes: size(&tree::path(&home.dir)) })
}

fn rebuilt(home: &Home, why: &str) -> Result<Arc<Archive>, TreeError> {
    tracing::warn!(why, "store: the archive is written anew from sled");
    let mut made = archive_from_sled(home);
    if made.as_ref().is_err_and(TreeError::is_disk_full) {
        // What is in the way is known to be of no use.
        archive::remove_all(&home.dir);
        made = archive_from_sled(home);
    }
    made.map(Arc::new)
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
    pub(crate) fn start(worker: &Worker, generation_dir: &Path, generation: u64) -> Result<(Load, Root), TreeError> {
        let dir = generation_dir.to_path_buf();
        let (sender, messages) = sync_channel(PIECES_MAX);
        let work = move || {
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
            Err(TreeError::corrupt(match error {
                RecvTimeoutError::Timeout => "sled does not answer",
                RecvTimeoutError::Disconnected => "the thread that reads sled panicked",
            }))
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
