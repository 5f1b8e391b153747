//! `cp-lite promote`: a follower becomes the writer. It asks the control plane that runs; where none does, it writes to
//! the database that the settings name, for the next start.

use super::config::admin_client::AdminClient;
use super::config::block_on;
use crate::changelog::{Changelog, Local, OpenError, Opened, Role};
use crate::config::Config;
use http::StatusCode;
use os::{Exit, ExitError};
use serde_json::{Value, json};

/// Promotes the control plane at `admin_url`, or if nobody is there, the one of these settings.
///
/// # Errors
/// There is no reason for a promotion and it is not forced (1); nobody is there (69), and what the settings name has no
/// database; or what keeps that from being written.
pub fn run(
    admin_url: &str,
    force: bool,
    config: impl FnOnce() -> Result<Config, ExitError>,
) -> Result<String, ExitError> {
    let client = AdminClient::new(admin_url)?;
    match block_on(client.post("/clustering/promote", json!({ "force": force }))) {
        Ok((StatusCode::OK, answer)) => Ok(told(&answer)),
        Ok((_, answer)) => {
            let why = answer.get("message").and_then(Value::as_str).unwrap_or("refused without a reason");
            Err(ExitError::new(Exit::Failed, format!("{why}; --force does it all the same")))
        }
        Err(unreachable) => match config() {
            Ok(config) if config.store_dir().is_dir() => stopped(&config, force),
            _ => Err(unreachable),
        },
    }
}

fn told(answer: &Value) -> String {
    let text = |name: &str| answer.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
    let number = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or_default();
    format!(
        "This control plane is the writer now: epoch {}, term {}, version {} with {} entities.\n\
         Point the other control planes at it; the old writer, when it comes back, must follow it.\n",
        text("epoch"),
        number("term"),
        number("version"),
        number("entities"),
    )
}

/// Promotes a control plane that is stopped.
fn stopped(config: &Config, force: bool) -> Result<String, ExitError> {
    let opened = Local::open_as(&config.store_dir(), config.command_store_options(), &config.writers);
    let Opened { changelog, .. } = opened.map_err(|error| match error {
        OpenError::Store(store::OpenError::Locked(_)) => {
            ExitError::new(Exit::Unavailable, "the control plane runs, but its Admin API does not answer")
        }
        error => crate::app::unopened(&error),
    })?;
    let view = changelog.view();
    if view.role == Role::Writer && !force {
        return Err(ExitError::new(Exit::Failed, "this control plane is the writer already"));
    }
    if view.epoch == 0 && !force {
        return Err(ExitError::new(Exit::Failed, "this control plane has never heard from a writer"));
    }
    let promoted = block_on(async { Ok(changelog.promote(0).await) })?;
    let view = promoted.map_err(|error| ExitError::new(Exit::Io, error.to_string()))?;
    Ok(told(&json!({
        "epoch": format!("{:016x}", view.epoch),
        "term": view.term,
        "version": view.version,
        "entities": view.catalog.len(),
    })))
}
