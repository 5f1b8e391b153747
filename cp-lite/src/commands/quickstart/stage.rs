//! Everything that a quickstart runs: upstream, control plane and data plane, from their start to their end, and the
//! questions that are asked of them.

use super::client::{Answer, Client};
use super::daemon::{Daemon, Program};
use super::directory::Directory;
use super::echo::Echo;
use super::ports::{Addresses, Claims};
use super::sample::{Admin, PROBES, Probe};
use super::voice::{Voice, time};
use os::{Exit, ExitError};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a data plane that is connected may take to serve what the control plane has.
pub(super) const LIVE_MAX: Duration = Duration::from_secs(30);
/// How many questions are asked without a pause between them; what is waited for mostly comes sooner.
const EAGER_QUESTIONS: u32 = 50;
/// The pause between later questions.
const PAUSE: Duration = Duration::from_millis(5);

/// The players, all on.
pub(super) struct Stage {
    /// Where they listen.
    pub(super) addresses: Addresses,
    /// The control plane.
    pub(super) control_plane: Daemon,
    /// The data plane.
    pub(super) data_plane: Daemon,
    /// The upstream.
    pub(super) echo: Echo,
    _claims: Claims,
}

impl Stage {
    /// Starts everything, loads the sample API, and returns when the data plane serves it.
    pub(super) async fn set(directory: &Directory, programs: &Programs, voice: Voice) -> Result<Stage, ExitError> {
        let (addresses, claims) = Addresses::claim(&Addresses::USUAL)?;
        directory.settings(&addresses)?;
        voice.done("cluster certificates", &format!("{}/cluster.crt, cluster.key", directory.path().display()));
        let echo = Echo::start().await?;
        voice.done("echo upstream", &format!("http://{}", echo.address()));

        programs.control_plane.forget_log()?;
        let mut control_plane = programs.control_plane.start(&[])?;
        let admin = control_plane.listening("admin").await?;
        let cluster = control_plane.listening("cluster").await?;
        let pid = control_plane.pid();
        voice.done("control plane", &format!("pid {pid}, Admin API http://{admin}, for data planes {cluster}"));

        programs.data_plane.forget_log()?;
        let mut data_plane = programs.data_plane.start(&[])?;
        let proxy = data_plane.listening("proxy").await?;
        let status = data_plane.listening("status").await?;
        let pid = data_plane.pid();
        voice.done("data plane", &format!("pid {pid}, proxy http://{proxy}, Status API http://{status}"));

        let mut stage = Stage { addresses, control_plane, data_plane, echo, _claims: claims };
        stage.load(voice).await?;
        Ok(stage)
    }

    async fn load(&mut self, voice: Voice) -> Result<(), ExitError> {
        let mut admin = self.admin();
        if let Err(error) = admin.load(self.echo.address()).await {
            return Err(with(error, &self.control_plane.tail()));
        }
        let loaded = Instant::now();
        let (epoch, version) = admin.version().await?;
        self.serves(&epoch, version).await?;
        let served = loaded.elapsed();
        self.answers(&PROBES).await?;
        voice.done("sample API", &format!("version {version}, served {} after the last answer", time(served)));
        Ok(())
    }

    /// A client of the Admin API.
    pub(super) fn admin(&self) -> Admin {
        Admin::new(self.addresses.admin)
    }

    /// A client of the proxy.
    pub(super) fn proxy(&self) -> Client {
        Client::new(self.addresses.proxy)
    }

    /// Waits until the data plane says that it has no control plane.
    pub(super) async fn is_alone(&mut self) -> Result<(), ExitError> {
        let mut status = Client::new(self.addresses.status);
        let mut patience = Patience::new(LIVE_MAX);
        while patience.lasts().await {
            if status.get("/status/sync").await.is_ok_and(|answer| answer.json()["connected"] == false) {
                return Ok(());
            }
        }
        let what = format!("does not say after {} s that it has lost its control plane", LIVE_MAX.as_secs());
        Err(self.data_plane.failed(&what))
    }

    /// Waits until the data plane serves this version, or a later one of the epoch.
    async fn serves(&mut self, epoch: &Value, version: u64) -> Result<(), ExitError> {
        let mut status = Client::new(self.addresses.status);
        let mut seen = String::new();
        let mut patience = Patience::new(LIVE_MAX);
        while patience.lasts().await {
            match status.get("/status/sync").await {
                Ok(answer) => {
                    let sync = answer.json();
                    if sync["epoch"] == *epoch && sync["version"].as_u64().is_some_and(|served| served >= version) {
                        return Ok(());
                    }
                    seen = format!("it serves version {}, its last error: {}", sync["version"], sync["last_error"]);
                }
                Err(error) => seen = format!("its Status API: {error}"),
            }
        }
        let what = format!("does not serve version {version} after {} s; {seen}", LIVE_MAX.as_secs());
        Err(self.data_plane.failed(&what))
    }

    /// Waits until a path answers with this status, and tells how long after `since` that was.
    pub(super) async fn live(
        &mut self,
        path: &'static str,
        status: u16,
        since: Instant,
        max: Duration,
    ) -> Result<Duration, ExitError> {
        let (mut proxy, probe) = (self.proxy(), Probe { path, key: None, status });
        let mut seen = String::new();
        let mut patience = Patience::new(max);
        while patience.lasts().await {
            match probe.ask(&mut proxy).await {
                Ok(answer) if answer.status == status => return Ok(since.elapsed()),
                Ok(answer) => seen = format!("answers {}", answer.status),
                Err(error) => seen = format!("does not answer: {error}"),
            }
            if let Some(ended) = self.data_plane.ended() {
                return Err(self.data_plane.failed(&format!("ended with {ended}")));
            }
        }
        let what = format!("{seen} on {path} after {} s, where {status} was to come", max.as_secs());
        Err(self.data_plane.failed(&what))
    }

    /// Asks all of these once, and answers with what came.
    ///
    /// # Errors
    /// Any of them has no answer, or not its status (1).
    pub(super) async fn answers(&self, probes: &[Probe]) -> Result<Vec<Answer>, ExitError> {
        let mut proxy = self.proxy();
        let mut answers = Vec::with_capacity(probes.len());
        for probe in probes {
            let Probe { path, status, .. } = probe;
            match probe.ask(&mut proxy).await {
                Ok(answer) if answer.status == *status => answers.push(answer),
                Ok(answer) => {
                    let what = format!("answers {} on {path}, where {status} was to come", answer.status);
                    return Err(self.data_plane.failed(&what));
                }
                Err(error) => return Err(self.data_plane.failed(&format!("does not answer on {path}: {error}"))),
            }
        }
        Ok(answers)
    }

    /// Ends both daemons, the one that depends first.
    pub(super) async fn strike(&mut self) {
        self.data_plane.stop().await;
        self.control_plane.stop().await;
    }
}

/// Both daemons as programs.
pub(super) struct Programs {
    pub(super) control_plane: Program,
    pub(super) data_plane: Program,
}

impl Programs {
    /// This program, and the data plane beside it.
    ///
    /// # Errors
    /// There is no data plane beside it (69).
    pub(super) fn find(directory: &Directory) -> Result<Programs, ExitError> {
        let this = std::env::current_exe().map_err(|error| ExitError::from_io("this program's own path", &error))?;
        let gateway = beside(&this)?;
        let program = |name, binary: &Path, file: &str| Program {
            name,
            this: this.clone(),
            binary: binary.to_owned(),
            settings: directory.file(&format!("{file}.toml")),
            log: directory.file(&format!("{file}.log")),
        };
        Ok(Programs {
            control_plane: program("control plane", &this, "cp-lite"),
            data_plane: program("data plane", &gateway, "edge-gateway"),
        })
    }
}

fn beside(this: &Path) -> Result<PathBuf, ExitError> {
    let gateway = this.with_file_name("edge-gateway");
    if gateway.is_file() {
        return Ok(gateway);
    }
    let message = format!("there is no data plane to start: looked for {}", gateway.display());
    Err(ExitError::new(Exit::Unavailable, message))
}

/// A bounded wait for what another process does: eager at first, then with pauses.
struct Patience {
    start: Instant,
    max: Duration,
    questions: u32,
}

impl Patience {
    fn new(max: Duration) -> Patience {
        Patience { start: Instant::now(), max, questions: 0 }
    }

    /// Whether to ask once more, after a pause if it has been often.
    async fn lasts(&mut self) -> bool {
        self.questions = self.questions.saturating_add(1);
        if self.questions > EAGER_QUESTIONS {
            tokio::time::sleep(PAUSE).await;
        }
        self.questions == 1 || self.start.elapsed() < self.max
    }
}

fn with(error: ExitError, more: &str) -> ExitError {
    ExitError { message: format!("{}\n{more}", error.message), ..error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_data_plane_is_told_with_the_place_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let error = beside(&dir.path().join("cp-lite")).unwrap_err();
        assert_eq!(error.exit, Exit::Unavailable);
        assert!(error.message.ends_with(&dir.path().join("edge-gateway").display().to_string()), "{error}");
    }

    #[tokio::test]
    async fn patience_asks_at_least_once_and_has_an_end() {
        assert!(Patience::new(Duration::ZERO).lasts().await);
        let mut patience = Patience::new(Duration::ZERO);
        patience.lasts().await;
        assert!(!patience.lasts().await);
    }
}
