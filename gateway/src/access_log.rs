//! The access log: one line per request in nginx's *combined* form, with the request's id at the end as Kong has it.
//!
//! Workers only put lines into a bounded queue; a thread of its own writes them. When the sink is slower than the
//! requests, lines are counted and left out rather than requests held up.

use crate::proxy::outcome::Outcome;
use http::HeaderValue;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// The most lines that wait to be written.
const LINES_MAX: usize = 8_192;
/// How long a line may wait in the buffer.
const FLUSH_AFTER: Duration = Duration::from_secs(1);

/// A handle for writing lines. Dropping the last one waits until everything is written.
#[derive(Debug, Clone)]
pub struct AccessLog(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    /// `None` only while it is dropped.
    lines: Option<SyncSender<String>>,
    dropped: AtomicU64,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.lines = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl AccessLog {
    /// Opens the sink that `proxy_access_log` names: a path (appended to), or `off`, which gives none.
    ///
    /// # Errors
    /// When the file cannot be opened or the thread not be started.
    pub fn open(setting: &str) -> io::Result<Option<Self>> {
        if setting == "off" {
            return Ok(None);
        }
        let file = OpenOptions::new().append(true).create(true).open(Path::new(setting))?;
        Self::to(file).map(Some)
    }

    /// Writes to any sink.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn to(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, queue) = sync_channel(LINES_MAX);
        let writer = std::thread::Builder::new().name("access-log".into()).spawn(move || drain(&queue, sink))?;
        Ok(Self(Arc::new(Queue { lines: Some(lines), dropped: AtomicU64::new(0), writer: Some(writer) })))
    }

    /// Queues the line of a request.
    pub fn write(&self, outcome: &Outcome) {
        let queued = self.0.lines.as_ref().is_some_and(|lines| lines.try_send(line(outcome)).is_ok());
        if !queued {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many lines were left out because the sink was too slow or broken.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }
}

fn drain(queue: &Receiver<String>, sink: impl Write) {
    let mut sink = BufWriter::new(sink);
    let mut dirty = false;
    loop {
        let written = match queue.recv_timeout(FLUSH_AFTER) {
            Ok(line) => {
                dirty = true;
                sink.write_all(line.as_bytes())
            }
            Err(RecvTimeoutError::Timeout) if dirty => {
                dirty = false;
                sink.flush()
            }
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => {
                let _ = sink.flush();
                return;
            }
        };
        // A sink that fails (a full disk) loses these lines; the next ones may fit again.
        if let Err(error) = written {
            tracing::debug!(%error, "access log");
        }
    }
}

/// One line: address, user, time, request line, status, body bytes, referer, user agent, request id.
fn line(outcome: &Outcome) -> String {
    let user = outcome.consumer.as_ref().and_then(|consumer| consumer.username.as_deref()).unwrap_or("-");
    let target = outcome.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut line = String::with_capacity(256);
    // Writing into a string cannot fail.
    let _ = write!(line, "{} - {} [{}] ", outcome.client_ip, escaped(user.as_bytes()), local_time(outcome.arrived));
    let _ = write!(line, "\"{} {} {:?}\" ", outcome.method, escaped(target.as_bytes()), outcome.version);
    let _ = write!(line, "{} {} ", outcome.status.as_u16(), outcome.body_bytes);
    let _ = write!(line, "\"{}\" \"{}\" ", header(outcome.referer.as_ref()), header(outcome.user_agent.as_ref()));
    let _ = writeln!(line, "kong_request_id: \"{}\"", outcome.request_id);
    line
}

fn header(value: Option<&HeaderValue>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| escaped(value.as_bytes()))
}

/// Quotes, backslashes and everything that is not printable ASCII as `\xHH`, so that no client can forge a line.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        if matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\' {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "\\x{byte:02X}");
        }
    }
    text
}

/// Time since 1970 as `20/Nov/2026:13:09:30 +0000`.
fn local_time(since_1970: Duration) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = since_1970.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let name = MONTHS.get(month - 1).copied().unwrap_or("-");
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{day:02}/{name}/{year}:{hour:02}:{minute:02}:{second:02} +0000")
}

/// Year, month (1 to 12) and day of the Gregorian calendar. Counts in years that begin in March, so that the leap day
/// is the last one.
fn civil(days_since_1970: u64) -> (u64, usize, u64) {
    const DAYS_0000_TO_1970: u64 = 719_468;
    const DAYS_PER_ERA: u64 = 146_097;
    let days = days_since_1970 + DAYS_0000_TO_1970;
    let (era, day) = (days / DAYS_PER_ERA, days % DAYS_PER_ERA);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    (year, usize::try_from(month).unwrap_or(1), day_of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_gregorian() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(local_time(Duration::from_secs(1_795_180_170)), "20/Nov/2026:13:09:30 +0000");
    }

    #[test]
    fn a_client_cannot_forge_a_line() {
        assert_eq!(escaped(b"a\"\n\\\xff"), "a\\x22\\x0A\\x5C\\xFF");
    }
}
