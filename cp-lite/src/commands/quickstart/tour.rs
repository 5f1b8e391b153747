//! The tour: what a data plane does for its routes while the control plane comes, goes and comes back, seen from
//! outside and told with the times it took.

use super::client::Answer;
use super::sample::{CHANGED_PATH, MEANWHILE_PATH, PROBES, Probe};
use super::stage::{LIVE_MAX, Stage};
use super::voice::{Voice, time};
use os::{Exit, ExitError};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// How long a data plane may take to find a control plane that is back: its longest pause between attempts is a
/// minute.
const RECONNECT_MAX: Duration = Duration::from_secs(90);

/// Takes the tour.
///
/// # Errors
/// The first thing that was not as promised (1), with the step's number and name.
pub(super) async fn take(stage: &mut Stage, voice: Voice) -> Result<(), ExitError> {
    voice.heading("The tour");
    let tour = Tour { stage, voice };
    tour.run().await
}

struct Tour<'a> {
    stage: &'a mut Stage,
    voice: Voice,
}

impl Tour<'_> {
    async fn run(mut self) -> Result<(), ExitError> {
        let name = "1 a change is live";
        let told = self.change().await;
        self.tell(name, told)?;

        // What is served from here on is what must be served to the end.
        let probes = probes();
        let name = "2 the control plane is killed";
        let told = self.lose_control_plane(&probes).await;
        let before = self.tell(name, told)?;

        let name = "3 the data plane is killed as well";
        let told = self.restart_data_plane(&probes, &before).await;
        self.tell(name, told)?;

        let name = "4 the control plane is back";
        let told = self.catch_up(&probes, &before).await;
        self.tell(name, told)
    }

    fn tell<T>(&self, step: &str, told: Result<(T, String), ExitError>) -> Result<T, ExitError> {
        match told {
            Ok((found, text)) => {
                self.voice.done(step, &text);
                Ok(found)
            }
            Err(error) => {
                self.voice.failed(step, "");
                Err(ExitError::new(Exit::Failed, format!("step {step}: {}", error.message)))
            }
        }
    }

    async fn change(&mut self) -> Result<((), String), ExitError> {
        self.stage.live(CHANGED_PATH, 404, Instant::now(), LIVE_MAX).await?;
        let mut admin = self.stage.admin();
        // Opens the connection, so that the time is that of the change.
        admin.version().await?;
        admin.change(&["/hello", CHANGED_PATH]).await?;
        let took = self.stage.live(CHANGED_PATH, 200, Instant::now(), LIVE_MAX).await?;
        Ok(((), format!("{CHANGED_PATH}: 404, then 200 within {} of the Admin API's answer", time(took))))
    }

    async fn lose_control_plane(&mut self, probes: &[Probe]) -> Result<(Vec<Answer>, String), ExitError> {
        let before = self.stage.answers(probes).await?;
        self.stage.control_plane.kill();
        let killed = Instant::now();
        same(&before, &self.stage.answers(probes).await?, probes)?;
        self.stage.is_alone().await?;
        let noticed = killed.elapsed();
        same(&before, &self.stage.answers(probes).await?, probes)?;
        let text = format!("SIGKILL, noticed after {}; {} answers as before", time(noticed), probes.len());
        Ok((before, text))
    }

    async fn restart_data_plane(&mut self, probes: &[Probe], before: &[Answer]) -> Result<((), String), ExitError> {
        self.stage.data_plane.kill();
        let start = Instant::now();
        self.stage.data_plane = self.stage.data_plane.program().clone().start(&[])?;
        self.stage.data_plane.listening("status").await?;
        let first = self.stage.live("/hello", 200, start, LIVE_MAX).await?;
        same(before, &self.stage.answers(probes).await?, probes)?;
        self.stage.is_alone().await?;
        let text = format!(
            "SIGKILL; serving {} after its start, the same {} answers, byte for byte",
            time(first),
            probes.len()
        );
        Ok(((), text))
    }

    async fn catch_up(&mut self, probes: &[Probe], before: &[Answer]) -> Result<((), String), ExitError> {
        let program = self.stage.control_plane.program().clone();
        // Without its port for data planes first: no data plane can know of this change until it has it.
        self.stage.control_plane = program.start(&["--cluster-listen", "off"])?;
        self.stage.control_plane.listening("admin").await?;
        self.stage.admin().change(&["/hello", CHANGED_PATH, MEANWHILE_PATH]).await?;
        self.stage.live(MEANWHILE_PATH, 404, Instant::now(), LIVE_MAX).await?;
        match self.stage.control_plane.stop().await {
            Some(status) if status.success() => {}
            ended => return Err(self.stage.control_plane.failed(&format!("ended with {}", described(ended)))),
        }
        self.stage.control_plane = program.start(&[])?;
        self.stage.control_plane.listening("cluster").await?;
        let took = self.stage.live(MEANWHILE_PATH, 200, Instant::now(), RECONNECT_MAX).await;
        let took = took.map_err(|error| ExitError {
            message: format!("{}\n{}", error.message, self.stage.control_plane.tail()),
            ..error
        })?;
        same(before, &self.stage.answers(probes).await?, probes)?;
        Ok(((), format!("{MEANWHILE_PATH}, added meanwhile: 404, then 200 within {} of its return", time(took))))
    }
}

/// What is asked again and again: the sample API, and what the first step made of it.
fn probes() -> Vec<Probe> {
    let changed = Probe { path: CHANGED_PATH, key: None, status: 200 };
    PROBES.into_iter().chain([changed]).collect()
}

fn described(ended: Option<ExitStatus>) -> String {
    ended.map_or_else(|| "nobody knows what".to_owned(), |status| status.to_string())
}

/// Whether the same questions had the same answers.
fn same(before: &[Answer], now: &[Answer], probes: &[Probe]) -> Result<(), ExitError> {
    for ((before, now), probe) in before.iter().zip(now).zip(probes) {
        if before != now {
            let text = |answer: &Answer| String::from_utf8_lossy(&answer.body).into_owned();
            let message = format!("another answer on {}: before\n{}\nnow\n{}", probe.path, text(before), text(now));
            return Err(ExitError::new(Exit::Failed, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_more_or_less_is_another_answer() {
        let answers = |last: &'static [u8]| {
            let answer = |body: &'static [u8]| Answer { status: 200, body: body.into(), request_id: None };
            [answer(b"a"), answer(last)]
        };
        assert!(same(&answers(b"b"), &answers(b"b"), &PROBES).is_ok());
        let error = same(&answers(b"b"), &answers(b"c"), &PROBES).unwrap_err();
        assert_eq!(error.message, "another answer on /orders/42?page=1: before\nb\nnow\nc");
    }
}
