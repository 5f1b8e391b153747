//! Control planes and data planes as real processes, with real certificates, in a directory that goes when the lab goes.
//!
//! Programs are those of the release build unless `EDGE_PROGRAMS` names another directory: what is tested is what ships.

use crate::http::{self, Answer};
use crate::wait;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// The user and group without rights, as nearly every Linux numbers them.
const NOBODY: u32 = 65534;

/// A directory with cluster certificates in it, and the programs to run there.
#[derive(Debug)]
pub struct Lab {
    dir: TempDir,
}

impl Default for Lab {
    fn default() -> Self {
        Self::new()
    }
}

impl Lab {
    /// Makes the directory and, with `cp-lite hybrid gen_cert`, the certificates.
    ///
    /// # Panics
    /// When the programs are not built.
    #[must_use]
    pub fn new() -> Self {
        let lab = Self { dir: tempfile::tempdir().expect("a temporary directory") };
        lab.gen_cert("cluster");
        lab
    }

    /// The same with certificates that last longer than they usually do.
    ///
    /// # Panics
    /// When the programs are not built.
    #[must_use]
    pub fn lasting(days: u32) -> Self {
        let lab = Self { dir: tempfile::tempdir().expect("a temporary directory") };
        lab.gen_cert_for("cluster", &["-d", &days.to_string()]);
        lab
    }

    /// Where the lab keeps its files.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Makes another cluster certificate, `<name>.crt` and `<name>.key`.
    pub fn gen_cert(&self, name: &str) {
        self.gen_cert_for(name, &[]);
    }

    fn gen_cert_for(&self, name: &str, flags: &[&str]) {
        let (cert, key) = (self.path().join(format!("{name}.crt")), self.path().join(format!("{name}.key")));
        let output =
            Command::new(program("cp-lite")).args(["hybrid", "gen_cert"]).args([cert, key]).args(flags).output();
        let output = output.expect("cp-lite is built: cargo build --release");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// A control plane that is not started yet.
    #[must_use]
    pub fn cp(&self, name: &str) -> Setup {
        let dir = self.path().join(name);
        let settings = vec![
            ("prefix".to_owned(), quoted(&dir)),
            ("admin_listen".to_owned(), "\"127.0.0.1:0\"".to_owned()),
            ("cluster_listen".to_owned(), "\"127.0.0.1:0\"".to_owned()),
            ("cluster_cert".to_owned(), quoted(&self.path().join("cluster.crt"))),
            ("cluster_cert_key".to_owned(), quoted(&self.path().join("cluster.key"))),
        ];
        Setup { program: "cp-lite", dir, settings, env: Vec::new(), as_nobody: false, programs: None }
    }

    /// A data plane that is not started yet.
    #[must_use]
    pub fn dp(&self, name: &str) -> Setup {
        let dir = self.path().join(name);
        let settings = vec![
            ("prefix".to_owned(), quoted(&dir)),
            ("proxy_listen".to_owned(), "\"127.0.0.1:0, 127.0.0.1:0 ssl\"".to_owned()),
            ("status_listen".to_owned(), "\"127.0.0.1:0\"".to_owned()),
            ("proxy_access_log".to_owned(), "\"off\"".to_owned()),
            ("allow_debug_header".to_owned(), "true".to_owned()),
            ("cluster_cert".to_owned(), quoted(&self.path().join("cluster.crt"))),
            ("cluster_cert_key".to_owned(), quoted(&self.path().join("cluster.key"))),
        ];
        Setup { program: "edge-gateway", dir, settings, env: Vec::new(), as_nobody: false, programs: None }
    }
}

/// A program's settings before it starts, and between a stop and the next start.
#[derive(Debug, Clone)]
pub struct Setup {
    program: &'static str,
    dir: PathBuf,
    settings: Vec<(String, String)>,
    env: Vec<(String, String)>,
    as_nobody: bool,
    programs: Option<PathBuf>,
}

impl Setup {
    /// Sets a key to a TOML value, over what it was.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.settings.retain(|(name, _)| name != key);
        self.settings.push((key.to_owned(), value.into()));
        self
    }

    /// Sets a key to a text.
    #[must_use]
    pub fn with_text(self, key: &str, value: impl ToString) -> Self {
        let quoted = format!("{:?}", value.to_string());
        self.with(key, quoted)
    }

    /// Leaves a key unset.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.settings.retain(|(name, _)| name != key);
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs it as the user without rights, from a place that this user can reach. Only root can do that.
    ///
    /// # Panics
    /// When the lab's files cannot be opened up.
    #[must_use]
    pub fn as_nobody(mut self) -> Self {
        let lab = self.dir.parent().expect("below the lab").to_owned();
        for path in [lab.clone(), lab.join("cluster.key")] {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        }
        fs::copy(program(self.program), lab.join(self.program)).expect("it is built");
        self.as_nobody = true;
        self
    }

    /// Runs the program of this name that is there, an older one say, instead of today's.
    #[must_use]
    pub fn of(mut self, programs: Option<&Path>) -> Self {
        self.programs = programs.map(Path::to_owned);
        self
    }

    /// Whether a setting leaves a port to the system.
    fn is_ephemeral(&self, key: &str) -> bool {
        self.settings.iter().any(|(name, value)| {
            name == key && (value.contains(":0\"") || value.contains(":0,") || value.contains(":0 "))
        })
    }

    /// What it is called.
    #[must_use]
    pub fn program(&self) -> &'static str {
        self.program
    }

    /// Where it keeps its state (`prefix`).
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts it.
    ///
    /// # Panics
    /// When the program is not built.
    #[must_use]
    pub fn start(self) -> Daemon {
        let child = self.command().stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("{}: {error}; is it built?", self.program));
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (reader, shared) = (BufReader::new(child.stderr.take().expect("piped")), lines.clone());
        std::thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                shared.lock().expect("unpoisoned").push(line);
            }
        });
        Daemon { setup: self, child, lines }
    }

    /// Runs it to its end, which it must come to by itself.
    ///
    /// # Panics
    /// When the program is not built.
    #[must_use]
    pub fn fails_to_start(self) -> (ExitStatus, String) {
        let mut daemon = self.start();
        let status = daemon.exits();
        (status, daemon.log())
    }

    /// Writes the settings file; returns its path.
    ///
    /// # Panics
    /// When the lab cannot be written.
    #[must_use]
    pub fn write(&self) -> PathBuf {
        fs::create_dir_all(&self.dir).expect("the lab is writable");
        let file = self.dir.with_extension("toml");
        let text: String = self.settings.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        fs::write(&file, text).expect("the lab is writable");
        file
    }

    fn command(&self) -> Command {
        let file = self.write();
        let given = self.programs.as_ref().map(|programs| programs.join(self.program));
        let mut command = Command::new(given.unwrap_or_else(|| program(self.program)));
        if self.as_nobody {
            command = Command::new(self.dir.with_file_name(self.program));
            command.uid(NOBODY).gid(NOBODY);
        }
        command.args(["run", "-c"]).arg(file).stdin(Stdio::null()).env_remove("NOTIFY_SOCKET");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A running program. It is killed when the value goes.
#[derive(Debug)]
pub struct Daemon {
    setup: Setup,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Daemon {
    /// The address it says it listens on, by the listener's name: `admin`, `cluster`, `proxy`, `proxy_ssl`, `status`.
    ///
    /// # Panics
    /// When it ends before it says so.
    #[must_use]
    pub fn address(&mut self, listener: &str) -> SocketAddr {
        let wanted = format!("listener=\"{listener}\"");
        wait::until(&format!("{} to listen as {listener}", self.setup.program), || {
            let found = self.lines.lock().expect("unpoisoned").iter().find(|line| line.contains(&wanted)).cloned();
            if found.is_none()
                && let Ok(Some(status)) = self.child.try_wait()
            {
                panic!("{} ended with {status}:\n{}", self.setup.program, self.log());
            }
            let (_, rest) = found.as_deref()?.split_once("address=")?;
            rest.split(' ').next()?.parse().ok()
        })
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.lines.lock().expect("unpoisoned").join("\n")
    }

    /// Waits for a line with this text.
    pub fn logs(&self, text: &str) {
        wait::until(&format!("{} to log {text:?}; it said:\n{}", self.setup.program, self.log()), || {
            self.lines.lock().expect("unpoisoned").iter().any(|line| line.contains(text)).then_some(())
        });
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGKILL; returns what it takes to start it again on the same state and the same addresses.
    #[must_use]
    pub fn kill(&mut self) -> Setup {
        let setup = self.resettled();
        let _ = (self.child.kill(), self.child.wait());
        setup
    }

    /// SIGTERM, and waits for its end; returns what it takes to start it again.
    #[must_use]
    pub fn stop(&mut self) -> (Setup, ExitStatus) {
        let setup = self.resettled();
        self.signal("TERM");
        let status = self.exits();
        (setup, status)
    }

    /// Sends a signal by name (`TERM`, `STOP`, `CONT`, …).
    pub fn signal(&self, name: &str) {
        let _ = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
    }

    /// Waits until it ends by itself.
    pub fn exits(&mut self) -> ExitStatus {
        let status = wait::until(&format!("{} to end", self.setup.program), || self.child.try_wait().ok().flatten());
        // Its last words may still be in the pipe; they are there once the reader has seen the end of it.
        wait::until("its last words", || (Arc::strong_count(&self.lines) == 1).then_some(()));
        status
    }

    /// A field of /proc/<pid>/status in KiB: `VmRSS`, `VmHWM`.
    #[must_use]
    pub fn memory_kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// Bytes that it has written so far, to files and sockets (`wchar` of /proc/<pid>/io; `write_bytes` counts whole
    /// folios of the page cache, and what else is in them).
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        let io = fs::read_to_string(format!("/proc/{}/io", self.pid())).unwrap_or_default();
        let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
        line.and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// Lets `VmHWM` start anew from what is resident now.
    pub fn forget_peak(&self) {
        let _ = fs::write(format!("/proc/{}/clear_refs", self.pid()), "5");
    }

    /// CPU time so far, user and system, in clock ticks of the scheduler's own counter: nanoseconds.
    #[must_use]
    pub fn cpu_ns(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).into_iter().flatten().flatten();
        let run_time = |task: fs::DirEntry| fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        tasks.filter_map(|task| run_time(task).split(' ').next()?.parse::<u64>().ok()).sum()
    }

    /// Its settings with the addresses that it really got, so that a restart is found where it was. One that was started
    /// on such settings is not asked again: it may be killed before it listens.
    #[must_use]
    pub fn resettled(&mut self) -> Setup {
        let mut setup = self.setup.clone();
        let names: &[(&str, &str)] = match setup.program {
            "cp-lite" => &[("admin", "admin_listen"), ("cluster", "cluster_listen")],
            _ => &[("status", "status_listen")],
        };
        for (listener, key) in names {
            if setup.is_ephemeral(key) {
                setup = setup.with_text(key, self.address(listener));
            }
        }
        if setup.program == "edge-gateway" && setup.is_ephemeral("proxy_listen") {
            let (plain, ssl) = (self.address("proxy"), self.address("proxy_ssl"));
            setup = setup.with_text("proxy_listen", format!("{plain}, {ssl} ssl"));
        }
        setup
    }

    // --- what a control plane is asked ---

    /// A request to the Admin API with a JSON body.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn admin(&mut self, method: &str, path: &str, body: &Value) -> Answer {
        let address = self.address("admin");
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let answer = http::request(address, method, path, &[("content-type", "application/json")], &body);
        answer.unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.log()))
    }

    /// The same, when nothing but success will do.
    ///
    /// # Panics
    /// When the status is not 2xx.
    pub fn admin_ok(&mut self, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.admin(method, path, body);
        assert!((200..300).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.text());
        answer.json()
    }

    // --- what a data plane is asked ---

    /// The id under which its control plane knows it, once it has made one.
    #[must_use]
    pub fn node_id(&self) -> String {
        let file = self.setup.dir.join("node.id");
        wait::until("the data plane to have an id", || {
            let id = fs::read_to_string(&file).ok()?;
            (!id.is_empty()).then(|| id.trim().to_owned())
        })
    }

    /// Waits until `/status/ready` says 200.
    pub fn is_ready(&mut self) {
        let address = self.address("status");
        wait::until("the data plane to be ready", || {
            let answer = http::get(address, "/status/ready", &[]).ok()?;
            (answer.status == 200).then_some(())
        });
    }

    /// `/status/sync`
    ///
    /// # Panics
    /// When there is no answer.
    pub fn sync_status(&mut self) -> Value {
        let address = self.address("status");
        http::get(address, "/status/sync", &[]).unwrap_or_else(|error| panic!("{error}\n{}", self.log())).json()
    }

    /// Waits until it serves this version or a later one.
    pub fn serves_version(&mut self, version: u64) {
        let address = self.address("status");
        wait::until(&format!("version {version} to be served"), || {
            let status = http::get(address, "/status/sync", &[]).ok()?.json();
            (status["version"].as_u64()? >= version).then_some(())
        });
    }

    /// A `GET` through the proxy.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let address = self.address("proxy");
        http::get(address, path, headers).unwrap_or_else(|error| panic!("GET {path}: {error}\n{}", self.log()))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = (self.child.kill(), self.child.wait());
        if std::thread::panicking() {
            eprintln!("--- {} {} said:\n{}", self.setup.program, self.setup.dir.display(), self.log());
        }
    }
}

/// Where a program of the product is.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let given = std::env::var_os("EDGE_PROGRAMS").map(PathBuf::from);
    given.unwrap_or_else(|| target().join("release")).join(name)
}

pub(crate) fn target() -> PathBuf {
    let given = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"))
}

fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}
