//! Where our own words go: the journal, if standard error is connected to it, else standard error as text.
//!
//! A reader that stalls must not stall the proxy. So text goes through a bounded queue to a thread of its own; what
//! does not fit is dropped and counted, and the count is told as soon as there is room. Lines have a greatest length.
//! Levels are Kong's names, which are those of syslog; see [`Level`].

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The longest line; the rest of it is cut.
pub const LINE_BYTES_MAX: usize = 8 * 1024;
/// How many lines may wait for a stalled reader.
pub const LINES_WAITING_MAX: usize = 512;
/// How long the end of the program waits for a stalled reader.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// How grave a line must be to be written: Kong's `log_level`.
///
/// The journal files our `error`, `warn`, `info`, `debug` and `trace` under syslog's err, warning, notice, info and
/// debug; so do these names: `notice`, the default, shows `info!` and graver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Level(LevelFilter);

impl Level {
    /// All names, gravest first.
    pub const NAMES: [&'static str; 8] = ["emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"];

    /// The level of this name.
    pub fn parse(name: &str) -> Option<Level> {
        Some(Level(match name {
            "emerg" | "alert" | "crit" | "error" => LevelFilter::ERROR,
            "warn" => LevelFilter::WARN,
            "notice" => LevelFilter::INFO,
            "info" => LevelFilter::DEBUG,
            "debug" => LevelFilter::TRACE,
            _ => return None,
        }))
    }
}

/// Keeps the log going; dropping it writes what is still waiting. `main` holds it to the end.
#[must_use = "dropping it ends the log"]
pub struct Log {
    queue: Option<Queue>,
    done: Option<Receiver<()>>,
}

/// Starts the log of this process. `name` is how the journal knows us. Without effect if there is one already.
pub fn init(name: &str, level: Level) -> io::Result<Log> {
    if stderr_is_journal()
        && let Ok(journal) = tracing_journald::layer()
    {
        let journal = journal.with_syslog_identifier(name.to_owned()).with_field_prefix(None);
        let _ = tracing_subscriber::registry().with(journal.with_filter(level.0)).try_init();
        return Ok(Log { queue: None, done: None });
    }
    let (queue, done) = Queue::start(io::stderr())?;
    let text = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(queue.clone());
    let _ = tracing_subscriber::registry().with(text.with_filter(level.0)).try_init();
    Ok(Log { queue: Some(queue), done: Some(done) })
}

/// systemd.exec(5): `JOURNAL_STREAM` holds the device and inode number of the stream that leads to the journal, for
/// programs to compare with what they have, since it outlives redirections.
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = nix::sys::stat::fstat(io::stderr()) else { return false };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

impl Drop for Log {
    fn drop(&mut self) {
        if let (Some(queue), Some(done)) = (self.queue.take(), self.done.take()) {
            let _ = queue.lines.try_send(Entry::End);
            let _ = done.recv_timeout(FLUSH_MAX);
        }
    }
}

enum Entry {
    Line(Vec<u8>),
    End,
}

/// The writing end, one clone per line in the making.
#[derive(Clone)]
struct Queue {
    lines: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

impl Queue {
    /// Starts the thread that writes to `sink`. The receiver tells when it has ended.
    fn start(sink: impl Write + Send + 'static) -> io::Result<(Queue, Receiver<()>)> {
        let (lines, waiting) = sync_channel(LINES_WAITING_MAX);
        let (ended, done) = sync_channel(1);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = dropped.clone();
        std::thread::Builder::new().name("log".to_owned()).spawn(move || {
            write_lines(sink, &waiting, &counter);
            let _ = ended.send(());
        })?;
        Ok((Queue { lines, dropped }, done))
    }

    fn push(&self, line: Vec<u8>) {
        if let Err(TrySendError::Full(_)) = self.lines.try_send(Entry::Line(line)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write_lines(mut sink: impl Write, waiting: &Receiver<Entry>, dropped: &AtomicU64) {
    // The timeout is for the count alone: it must come out even if no further line does.
    const TELL_DROPPED: Duration = Duration::from_secs(1);
    loop {
        let entry = waiting.recv_timeout(TELL_DROPPED);
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(sink, "{lost} lines of log were dropped: the reader was too slow");
        }
        match entry {
            Ok(Entry::Line(line)) => drop(sink.write_all(&line)),
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Entry::End) | Err(RecvTimeoutError::Disconnected) => return drop(sink.flush()),
        }
    }
}

/// One line in the making; it is queued when it is dropped.
struct Line {
    queue: Queue,
    bytes: Vec<u8>,
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = LINE_BYTES_MAX.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut line = std::mem::take(&mut self.bytes);
        if line.len() >= LINE_BYTES_MAX {
            line.truncate(LINE_BYTES_MAX - 1);
            line.push(b'\n');
        }
        self.queue.push(line);
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { queue: self.clone(), bytes: Vec::with_capacity(160) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    use super::*;

    /// A reader that stalls until it is let go.
    #[derive(Clone)]
    struct Sink {
        gate: Arc<Mutex<Receiver<()>>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.gate.lock().unwrap().recv();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stalled_reader_stalls_nobody_and_hears_how_much_it_missed() {
        let (open, gate) = channel();
        let sink = Sink { gate: Arc::new(Mutex::new(gate)), written: Arc::default() };
        let (queue, done) = Queue::start(sink.clone()).unwrap();
        for number in 0..LINES_WAITING_MAX * 3 {
            let mut line = queue.make_writer();
            writeln!(line, "line {number}").unwrap();
        }
        drop(open);
        drop(queue);
        done.recv().unwrap();
        let written = String::from_utf8(sink.written.lock().unwrap().clone()).unwrap();
        let kept = written.lines().filter(|line| line.starts_with("line ")).count();
        let lost: usize = written
            .lines()
            .filter_map(|line| line.strip_suffix(" lines of log were dropped: the reader was too slow"))
            .map(|count| count.parse::<usize>().unwrap())
            .sum();
        assert!(lost > 0);
        assert_eq!(kept + lost, LINES_WAITING_MAX * 3);
    }

    #[test]
    fn a_line_is_cut_at_its_greatest_length() {
        let sink = Sink { gate: Arc::new(Mutex::new(channel().1)), written: Arc::default() };
        let (queue, done) = Queue::start(sink.clone()).unwrap();
        let mut line = queue.make_writer();
        line.write_all(&vec![b'x'; LINE_BYTES_MAX * 2]).unwrap();
        line.write_all(b"\n").unwrap();
        drop(line);
        drop(queue);
        done.recv().unwrap();
        let written = sink.written.lock().unwrap();
        assert_eq!(written.len(), LINE_BYTES_MAX);
        assert!(written.ends_with(b"x\n"));
    }

    #[test]
    fn every_name_of_kong_is_a_level() {
        assert!(Level::NAMES.iter().all(|name| Level::parse(name).is_some()));
        assert_eq!(Level::parse("trace"), None);
        assert_eq!(Level::parse("notice"), Some(Level(LevelFilter::INFO)));
    }
}
