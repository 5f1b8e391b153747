//! The command line of `edge-gateway`: one table, one function per verb. A verb answers with what it has to say, or
//! with the error that ends the program; only [`main`] prints.

mod status;
mod store;

use std::path::Path;
use std::process::ExitCode;

use os::{Exit, ExitError};
use settings::both::{JSON, SHOW};
use settings::flags::Typed;
use settings::{Command, Invocation, Opt, Program, Settings};

use crate::app;
use crate::config::Config;
use crate::config::keys::KEYS;
use crate::declarative;

const CONFIG: Opt = Opt {
    long: "config",
    short: Some('c'),
    value: Some("FILE"),
    doc: "The settings file; /etc/edge-gateway/gateway.toml unless told otherwise.",
};

const ALLOW_ROLLBACK: Opt = Opt {
    long: "allow-rollback",
    short: None,
    value: None,
    doc: "Take it even if it is older than what the store holds, or of another epoch.",
};

const VERIFY: &str = "Read and check everything in the store, while the gateway is stopped. Ends with 1 where something was \
                      damaged, also if opening it has made that good, and with 74 where it cannot be opened.";

/// What one can type; help and man pages are made from it.
pub static PROGRAM: Program = Program {
    name: "edge-gateway",
    summary: "API gateway for the edge: serves what a control plane sent, with or without it",
    commands: &[
        command("run", &[], "Serve until SIGTERM or Ctrl-C."),
        command("check", &[SHOW], "Check the settings and tell every mistake."),
        command("status", &[JSON], "Tell what the running gateway serves, and how its link to the control plane is."),
        command("store info", &[], "Tell what the store holds, while the gateway is stopped."),
        command("store verify", &[], VERIFY),
        with_file(
            "store export",
            &[],
            "Write what the store holds as a signed snapshot bundle, while the gateway is stopped. It is not encrypted.",
        ),
        with_file(
            "store import",
            &[ALLOW_ROLLBACK],
            "Take a signed snapshot bundle into the store, while the gateway is stopped: the next start serves it, and the \
             control plane goes on from there.",
        ),
        command("store wipe", &[], "Empty the store, while the gateway is stopped."),
        Command { settings: false, ..command("version", &[], "Print the version.") },
    ],
    options: &[CONFIG],
    keys: KEYS,
    file: "/etc/edge-gateway/gateway.toml",
    prefix: "EDGE_GATEWAY",
};

const fn command(name: &'static str, options: &'static [Opt], summary: &'static str) -> Command {
    Command { name, operands: "", operands_range: (0, 0), options, settings: true, summary }
}

const fn with_file(name: &'static str, options: &'static [Opt], summary: &'static str) -> Command {
    Command { operands: "FILE", operands_range: (1, 1), ..command(name, options, summary) }
}

/// The whole program.
pub fn main() -> ExitCode {
    let outcome = match PROGRAM.parse(std::env::args_os().skip(1)) {
        Ok(Invocation::Help(text)) => Ok(text),
        Ok(Invocation::Run(typed)) => dispatch(&typed),
        Err(usage) => Err(ExitError::usage(usage.to_string())),
    };
    os::exit::finish(PROGRAM.name, outcome)
}

fn dispatch(typed: &Typed) -> Result<String, ExitError> {
    match typed.command {
        "run" => run(typed),
        "check" => check(typed),
        "status" => status::run(&config(typed)?, typed.has(JSON.long)),
        "store info" => store::info(&config(typed)?),
        "store verify" => store::verify(&config(typed)?),
        "store export" => store::export(&config(typed)?, file(typed)),
        "store import" => store::import(&config(typed)?, file(typed), typed.has(ALLOW_ROLLBACK.long)),
        "store wipe" => store::wipe(&config(typed)?),
        "version" => Ok(format!("{} {}\n", PROGRAM.name, env!("CARGO_PKG_VERSION"))),
        other => Err(ExitError::internal(format!("nobody carries out \"{other}\""))),
    }
}

/// The operand, which the table demands.
fn file(typed: &Typed) -> &Path {
    Path::new(typed.operands.first().map_or("", String::as_str))
}

fn run(typed: &Typed) -> Result<String, ExitError> {
    os::malloc::give_back();
    app::run(config(typed)?).map(|()| String::new())
}

fn check(typed: &Typed) -> Result<String, ExitError> {
    let (settings, config) = read(typed);
    if typed.has(SHOW.long) {
        os::exit::print(&settings.show());
    }
    let config = accepted(&settings, config)?;
    if let Some(path) = &config.declarative_config {
        let compiled = declarative::bytes(path).and_then(|bytes| declarative::compile(path, bytes));
        compiled.map_err(|error| ExitError::config(error.to_string()))?;
    }
    Ok(if typed.has(SHOW.long) { String::new() } else { "The settings are valid.\n".to_owned() })
}

fn config(typed: &Typed) -> Result<Config, ExitError> {
    let (settings, config) = read(typed);
    accepted(&settings, config)
}

fn read(typed: &Typed) -> (Settings, Option<Config>) {
    let mut settings = PROGRAM.sources(typed, std::env::vars_os(), os::credentials::directory()).read();
    let config = Config::read(&mut settings);
    (settings, config)
}

fn accepted(settings: &Settings, config: Option<Config>) -> Result<Config, ExitError> {
    settings.finish().map_err(|mistakes| {
        let exit = if mistakes.permission_denied() { Exit::Permission } else { Exit::Config };
        ExitError::new(exit, mistakes.to_string())
    })?;
    config.ok_or_else(|| ExitError::internal("the settings were refused without a reason"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_of_the_table_is_carried_out() {
        for command in PROGRAM.commands {
            let source = include_str!("cli.rs");
            assert!(source.contains(&format!("        \"{}\" => ", command.name)), "{}", command.name);
        }
    }

    #[test]
    fn nonsense_is_a_usage_error() {
        let parse = |line: &str| PROGRAM.parse(line.split(' ').map(Into::into));
        assert!(parse("enrol").is_err());
        assert!(parse("run --prefx /x").unwrap_err().message.contains("--prefix"));
        assert!(parse("run --prefix /x -c /y").is_ok());
    }
}
