//! A daemon as a child process: started, waited for by what it logs, killed and stopped, and never left behind.
//!
//! Each has a process group of its own, so that Ctrl-C reaches the quickstart alone, which then ends them in order;
//! [`super::leash`] is for a quickstart that cannot do that any more.

use super::leash;
use os::{Exit, ExitError};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a daemon may take until it listens.
const START_MAX: Duration = Duration::from_secs(30);
/// How long it may take to end when asked to, before it is made to.
const STOP_MAX: Duration = Duration::from_secs(10);
/// How often a child and its log are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How much of a log's end is read.
const TAIL_BYTES_MAX: u64 = 64 * 1024;
/// How many lines of it are shown.
const TAIL_LINES_MAX: usize = 12;
/// Logs may name what is in the configuration.
const LOG_MODE: u32 = 0o600;

/// What begins the names of environment variables that are settings of either program.
const SETTINGS: [&str; 3] = ["KONG_", "CP_LITE_", "EDGE_GATEWAY_"];
/// What a service manager says to the process that it started, and to no other.
const SERVICE_MANAGER: [&str; 5] =
    ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM", "CREDENTIALS_DIRECTORY"];

/// What a daemon is, whether it runs or not.
#[derive(Debug, Clone)]
pub(super) struct Program {
    /// What people call it.
    pub(super) name: &'static str,
    /// This program, which puts it on its leash.
    pub(super) this: PathBuf,
    /// The program.
    pub(super) binary: PathBuf,
    /// Its settings file.
    pub(super) settings: PathBuf,
    /// Where its log goes.
    pub(super) log: PathBuf,
}

/// One that was started.
#[derive(Debug)]
pub(super) struct Daemon {
    program: Program,
    child: Child,
    ended: Option<ExitStatus>,
    /// Where in the log this start begins.
    log_start: u64,
}

impl Program {
    /// Empties the log of an earlier quickstart.
    pub(super) fn forget_log(&self) -> Result<(), ExitError> {
        let emptied = OpenOptions::new().create(true).write(true).truncate(true).mode(LOG_MODE).open(&self.log);
        emptied.map(drop).map_err(|error| ExitError::from_io(self.log.display(), &error))
    }

    /// Starts it with these flags. The calling thread must outlast it.
    pub(super) fn start(&self, flags: &[&str]) -> Result<Daemon, ExitError> {
        self.start_with(leash::command(&self.this, &self.binary), flags)
    }

    fn start_with(&self, mut command: Command, flags: &[&str]) -> Result<Daemon, ExitError> {
        let failed = |error: &io::Error| ExitError::from_io(self.log.display(), error);
        let log = OpenOptions::new().create(true).append(true).mode(LOG_MODE).open(&self.log);
        let log = log.map_err(|error| failed(&error))?;
        let log_start = log.metadata().map_err(|error| failed(&error))?.len();
        let output = log.try_clone().map_err(|error| failed(&error))?;
        command.args(["run".as_ref(), "-c".as_ref(), self.settings.as_os_str()]).args(flags);
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(is_not_for_children) {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).stdout(output).stderr(log).process_group(0);
        let child = command.spawn().map_err(|error| ExitError::from_io(self.this.display(), &error))?;
        Ok(Daemon { program: self.clone(), child, ended: None, log_start })
    }
}

/// The settings of the quickstart are those of its files, whatever the shell exports.
fn is_not_for_children(name: &str) -> bool {
    SETTINGS.iter().any(|prefix| name.starts_with(prefix)) || SERVICE_MANAGER.contains(&name)
}

impl Daemon {
    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it is.
    pub(super) fn program(&self) -> &Program {
        &self.program
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Waits until it says that it listens under this name, and answers where.
    ///
    /// # Errors
    /// It ends before that, or does not say so in time (1); with the end of its log.
    pub(super) async fn listening(&mut self, listener: &str) -> Result<SocketAddr, ExitError> {
        let start = Instant::now();
        loop {
            // Looked at before the log: whoever has ended says nothing after that.
            let ended = self.ended();
            if let Some(address) = address(&self.log(), listener) {
                return Ok(address);
            }
            if let Some(status) = ended {
                return Err(self.failed(&format!("ended with {status} before it listened")));
            }
            if start.elapsed() > START_MAX {
                return Err(self.failed(&format!("does not listen ({listener}) after {} s", START_MAX.as_secs())));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// SIGKILL; it is gone when this returns.
    pub(super) fn kill(&mut self) {
        if self.ended().is_none() {
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
    }

    /// SIGTERM, and SIGKILL when that does not help; it is gone when this returns. Answers how it ended.
    pub(super) async fn stop(&mut self) -> Option<ExitStatus> {
        let start = Instant::now();
        if self.ended().is_none() {
            let _ = os::process::terminate(self.pid());
        }
        while self.ended().is_none() && start.elapsed() < STOP_MAX {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        self.kill();
        self.ended
    }

    /// An error of this daemon's, with the end of its log.
    pub(super) fn failed(&self, what: &str) -> ExitError {
        ExitError::new(Exit::Failed, format!("the {} {what}\n{}", self.program.name, self.tail()))
    }

    /// The end of its log, for people.
    pub(super) fn tail(&self) -> String {
        let lines = last_lines(&self.log());
        let log = self.program.log.display();
        if lines.is_empty() { format!("It logged nothing ({log}).") } else { format!("The end of {log}:\n{lines}") }
    }

    /// What it has logged since this start, or the end of it.
    fn log(&self) -> String {
        read_from(&self.program.log, self.log_start).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read_from(path: &Path, start: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(start.max(end.saturating_sub(TAIL_BYTES_MAX))))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The address in the line that tells of a listener. The last line counts only when it is whole.
fn address(log: &str, listener: &str) -> Option<SocketAddr> {
    let (whole, _) = log.rsplit_once('\n')?;
    let wanted = format!("listener=\"{listener}\"");
    let line = whole.lines().find(|line| line.contains(&wanted))?;
    let (_, address) = line.split_once("address=")?;
    address.split_whitespace().next()?.parse().ok()
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let from = lines.len().saturating_sub(TAIL_LINES_MAX);
    let lines = lines.get(from..).unwrap_or_default().iter();
    // What it quotes of others must not move the cursor.
    let harmless = |line: &&str| line.chars().filter(|c| !c.is_control()).collect::<String>();
    lines.map(|line| format!("    {}", harmless(line))).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn the_address_is_that_of_the_listener_asked_for_once_its_line_is_whole() {
        let log = "t INFO x: listening listener=\"proxy_ssl\" address=127.0.0.1:8443\n\
                   t INFO x: listening listener=\"proxy\" address=127.0.0.1:8000\n\
                   t INFO x: listening listener=\"status\" address=127.0.0.1:80";
        assert_eq!(address(log, "proxy"), Some("127.0.0.1:8000".parse().unwrap()));
        assert_eq!(address(log, "status"), None);
        assert_eq!(address(&format!("{log}07\n"), "status"), Some("127.0.0.1:8007".parse().unwrap()));
    }

    #[test]
    fn children_get_no_settings_from_the_shell() {
        assert!(
            ["KONG_PREFIX", "CP_LITE_X", "EDGE_GATEWAY_PREFIX", "NOTIFY_SOCKET"].map(is_not_for_children) == [true; 4]
        );
        assert!(!is_not_for_children("PATH"));
    }

    #[test]
    fn the_end_of_a_log_is_short_and_harmless() {
        let log: String = (0..100).map(|line| format!("line \u{1b}[2J{line}\n")).collect();
        let shown = last_lines(&log);
        assert_eq!(shown.lines().count(), TAIL_LINES_MAX);
        assert!(shown.ends_with("    line [2J99"), "{shown}");
    }

    /// A program of the shell's in the place of a daemon.
    fn start(dir: &Path, script: &str) -> Daemon {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let (this, settings) = (PathBuf::from("sh"), dir.join("settings"));
        let program = Program { name: "script", binary: this.clone(), this, settings, log: dir.join("log") };
        program.forget_log().unwrap();
        program.start_with(command, &[]).unwrap()
    }

    #[tokio::test]
    async fn one_that_ends_early_is_told_with_its_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let mut daemon = start(dir.path(), "echo the port is in use; exit 69");
        let error = daemon.listening("admin").await.unwrap_err();
        assert_eq!(error.exit, Exit::Failed);
        assert!(error.message.starts_with("the script ended with exit status: 69"), "{error}");
        assert!(error.message.ends_with("    the port is in use"), "{error}");
    }

    #[tokio::test]
    async fn it_is_stopped_with_sigterm_and_gone() {
        let dir = tempfile::tempdir().unwrap();
        let script = "trap 'exit 3' TERM; echo 'listener=\"admin\" address=127.0.0.1:1'; while :; do sleep 0.01; done";
        let mut daemon = start(dir.path(), script);
        assert_eq!(daemon.listening("admin").await.unwrap().port(), 1);
        assert_eq!(daemon.ended(), None);
        assert_eq!(daemon.stop().await.unwrap().code(), Some(3));

        let mut daemon = start(dir.path(), script);
        daemon.listening("admin").await.unwrap();
        daemon.kill();
        assert_eq!(daemon.ended().unwrap().signal(), Some(9));
    }
}
