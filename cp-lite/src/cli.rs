//! The command line of `cp-lite`: one table, one function per verb. A verb answers with what it has to say, or with
//! the error that ends the program.

use crate::app;
use crate::commands::config::{self as declarative, ADMIN_URL_DEFAULT, Apply, Convert, Diff, Dump};
use crate::commands::hybrid::GenCert;
use crate::commands::{backup, node, promote, quickstart};
use crate::config::Config;
use crate::config::keys::KEYS;
use model::declarative::Format;
use os::{Exit, ExitError};
use settings::both::{JSON, SHOW};
use settings::flags::Typed;
use settings::{Command, Invocation, Opt, Program, Settings};
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

const CONFIG: Opt = Opt {
    long: "config",
    short: Some('c'),
    value: Some("FILE"),
    doc: "The settings file; /etc/cp-lite/cp-lite.toml unless told otherwise.",
};
const ADMIN_URL: Opt = Opt {
    long: "admin-url",
    short: None,
    value: Some("URL"),
    doc: "The Admin API of the running control plane; by default the settings' admin_listen.",
};
const DAYS: Opt =
    Opt { long: "days", short: Some('d'), value: Some("DAYS"), doc: "How long it is valid; 1095 days by default." };
const FORMAT: Opt = Opt {
    long: "format",
    short: None,
    value: Some("FORMAT"),
    doc: "yaml or json; by default what the file's name says.",
};
const FLAT: Opt =
    Opt { long: "flat", short: None, value: None, doc: "One list per kind, in place of children below their parents." };
const TERSE: Opt =
    Opt { long: "terse", short: None, value: None, doc: "Leave out defaults, times and ids that follow from names." };
const ONCE: Opt = Opt {
    long: "once",
    short: None,
    value: None,
    doc: "Take the tour and end: 0 when it went well, 1 when not. So it does where the output is no terminal.",
};
const ALL: Opt =
    Opt { long: "all", short: None, value: None, doc: "All data planes and followers that hold something back." };
const FORCE: Opt = Opt { long: "force", short: None, value: None, doc: "Delete even more than half of what is there." };

const OVER_A_WRITER: Opt = Opt {
    long: "force",
    short: None,
    value: None,
    doc: "Promote it though its writer is connected, though it has nothing, or though it is the writer already.",
};

/// What one can type; help and man pages are made from it.
pub static PROGRAM: Program = Program {
    name: "cp-lite",
    summary: "control plane of edge gateways: takes configuration through Kong's Admin API and hands it to them",
    commands: &[
        Command { settings: true, ..command("run", &[], "Run the control plane until SIGTERM or Ctrl-C.") },
        Command { settings: true, ..command("check", &[SHOW], "Check the settings and tell every mistake.") },
        with_operands(
            "quickstart",
            "[DIR]",
            (0, 1),
            &[ONCE],
            "Run a control plane, a data plane and an upstream on this machine, with their files in DIR \
             (./quickstart), and tell what to try.",
        ),
        with_operands("hybrid gen_cert", "[CERT KEY]", (0, 2), &[DAYS], "Make a cluster certificate and its key."),
        with_operands("config validate", "FILE", (1, 1), &[], "Check a declarative file and tell every mistake."),
        with_operands(
            "config convert",
            "FILE [OUTPUT]",
            (1, 2),
            &[FORMAT, FLAT],
            "Turn a declarative file of any format version into 3.0, or a kong.conf into our settings.",
        ),
        with_operands(
            "config diff",
            "FILE",
            (1, 1),
            &[ADMIN_URL],
            "Tell what applying a declarative file would change.",
        ),
        with_operands(
            "config apply",
            "FILE",
            (1, 1),
            &[ADMIN_URL, FORCE],
            "Make the configuration what a declarative file says, in one transaction.",
        ),
        with_operands(
            "config dump",
            "[FILE]",
            (0, 1),
            &[ADMIN_URL, FORMAT, FLAT, TERSE],
            "Write the whole configuration as a declarative file.",
        ),
        with_operands(
            "config export",
            "FILE",
            (1, 1),
            &[ADMIN_URL],
            "Write the whole configuration as a signed snapshot bundle, which \"edge-gateway store import\" takes. It is not \
             encrypted.",
        ),
        with_operands(
            "backup",
            "FILE",
            (1, 1),
            &[ADMIN_URL],
            "Write the whole configuration to a file, from the running control plane or from its store. It is not \
             encrypted.",
        ),
        with_operands(
            "restore",
            "FILE",
            (1, 1),
            &[],
            "Make a new database of a backup, where there is none. It takes the place of the one that was backed up, but of none \
             that was promoted since.",
        ),
        command(
            "promote",
            &[ADMIN_URL, OVER_A_WRITER],
            "Make the control plane that follows another one the writer, with the configuration that it has.",
        ),
        command("node list", &[ADMIN_URL, JSON], "Tell which data planes there are, and what they serve."),
        with_operands(
            "node show",
            "NODE",
            (1, 1),
            &[ADMIN_URL, JSON],
            "Tell all about one data plane; NODE is its id, the beginning of it, or its hostname.",
        ),
        with_operands(
            "node move",
            "NODE ADDRESS",
            (2, 2),
            &[ADMIN_URL],
            "Send a data plane to another control plane; ADDRESS is HOST:PORT as in its cluster_control_plane.",
        ),
        with_operands(
            "node confirm",
            "[NODE]",
            (0, 1),
            &[ADMIN_URL, ALL],
            "Let a data plane take what it holds back because much of what it has would go; --all for all of them.",
        ),
        command("version", &[], "Print the version."),
    ],
    options: &[CONFIG],
    keys: KEYS,
    file: "/etc/cp-lite/cp-lite.toml",
    prefix: "CP_LITE",
};

const fn command(name: &'static str, options: &'static [Opt], summary: &'static str) -> Command {
    with_operands(name, "", (0, 0), options, summary)
}

const fn with_operands(
    name: &'static str,
    operands: &'static str,
    operands_range: (usize, usize),
    options: &'static [Opt],
    summary: &'static str,
) -> Command {
    Command { name, operands, operands_range, options, settings: false, summary }
}

/// The whole program.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(failed) = quickstart::leash::taken(&arguments) {
        return os::exit::finish(PROGRAM.name, Err(failed));
    }
    let outcome = match PROGRAM.parse(arguments) {
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
        "hybrid gen_cert" => GenCert::parse(&typed.operands, typed.value(DAYS.long))?.run(now_s()),
        "node list" => node::list(&admin_url(typed), typed.has(JSON.long)),
        "node show" => {
            node::show(&admin_url(typed), typed.operands.first().map_or("", String::as_str), typed.has(JSON.long))
        }
        "node confirm" => node_confirm(typed),
        "node move" => {
            let operand = |at: usize| typed.operands.get(at).map_or("", String::as_str);
            node::send(&admin_url(typed), operand(0), operand(1))
        }
        "backup" => match typed.value(ADMIN_URL.long) {
            Some(url) => backup::online(file(typed), url),
            None => backup::backup(&config(typed)?, file(typed), &admin_url(typed)),
        },
        "config export" => declarative::export(file(typed), &admin_url(typed)),
        "restore" => backup::restore(&config(typed)?, file(typed)),
        "promote" => promote::run(&admin_url(typed), typed.has(OVER_A_WRITER.long), || config(typed)),
        "quickstart" => quickstart::run(typed.operands.first().map(Path::new), typed.has(ONCE.long)),
        "version" => Ok(format!("{} {}\n", PROGRAM.name, env!("CARGO_PKG_VERSION"))),
        _ => declarative_file(typed).map(|()| String::new()),
    }
}

fn node_confirm(typed: &Typed) -> Result<String, ExitError> {
    match (typed.operands.first(), typed.has(ALL.long)) {
        (Some(name), false) => node::confirm(&admin_url(typed), Some(name)),
        (None, true) => node::confirm(&admin_url(typed), None),
        _ => Err(ExitError::usage("name one node, or say --all")),
    }
}

/// The first operand, which the table demands.
fn file(typed: &Typed) -> &Path {
    Path::new(typed.operands.first().map_or("", String::as_str))
}

/// `config …`: these print as they go.
fn declarative_file(typed: &Typed) -> Result<(), ExitError> {
    let mut out = io::stdout().lock();
    let operand = |at: usize| typed.operands.get(at).map(Path::new);
    let file = operand(0).unwrap_or(Path::new("-"));
    let (flat, url) = (typed.has(FLAT.long), admin_url(typed));
    match typed.command {
        "config validate" => declarative::validate(file, &mut out),
        "config convert" => {
            let convert = Convert { file, output: operand(1), format: format(typed)?, flat };
            declarative::convert(&convert, &mut out, &mut io::stderr())
        }
        "config diff" => declarative::diff(&Diff { file, admin_url: &url }, &mut out),
        "config apply" => declarative::apply(&Apply { file, admin_url: &url, force: typed.has(FORCE.long) }, &mut out),
        "config dump" => {
            let (format, terse) = (format(typed)?, typed.has(TERSE.long));
            declarative::dump(&Dump { admin_url: &url, output: operand(0), format, flat, terse }, &mut out)
        }
        other => Err(ExitError::internal(format!("nobody carries out \"{other}\""))),
    }
}

fn run(typed: &Typed) -> Result<String, ExitError> {
    os::malloc::give_back();
    app::run(config(typed)?).map(|()| String::new())
}

fn config(typed: &Typed) -> Result<Config, ExitError> {
    let (settings, config) = read(typed);
    accepted(&settings, config)
}

fn check(typed: &Typed) -> Result<String, ExitError> {
    let (settings, config) = read(typed);
    if typed.has(SHOW.long) {
        os::exit::print(&settings.show());
    }
    accepted(&settings, config)?;
    Ok(if typed.has(SHOW.long) { String::new() } else { "The settings are valid.\n".to_owned() })
}

/// Where the running control plane is: as told, else as its settings say, mistakes in them or not.
fn admin_url(typed: &Typed) -> String {
    if let Some(url) = typed.value(ADMIN_URL.long) {
        return url.to_owned();
    }
    let settings = sources(typed).read();
    let addresses = settings::listen::addresses(settings.list("admin_listen")).unwrap_or_default();
    addresses.first().map_or_else(|| ADMIN_URL_DEFAULT.to_owned(), |address| format!("http://{address}"))
}

fn format(typed: &Typed) -> Result<Option<Format>, ExitError> {
    match typed.value(FORMAT.long) {
        None => Ok(None),
        Some("yaml") => Ok(Some(Format::Yaml)),
        Some("json") => Ok(Some(Format::Json)),
        Some(other) => Err(ExitError::usage(format!("--format is yaml or json, not \"{other}\""))),
    }
}

fn sources(typed: &Typed) -> settings::Sources {
    PROGRAM.sources(typed, std::env::vars_os(), os::credentials::directory())
}

fn read(typed: &Typed) -> (Settings, Option<Config>) {
    let mut settings = sources(typed).read();
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

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(line: &str) -> Typed {
        match PROGRAM.parse(line.split(' ').map(Into::into)).unwrap() {
            Invocation::Run(typed) => typed,
            Invocation::Help(help) => panic!("{help}"),
        }
    }

    #[test]
    fn every_command_of_the_table_is_carried_out() {
        for command in PROGRAM.commands {
            let source = include_str!("cli.rs");
            assert!(source.contains(&format!("        \"{}\" => ", command.name)), "{}", command.name);
        }
    }

    #[test]
    fn the_admin_api_is_where_one_says_or_where_the_settings_say() {
        assert_eq!(admin_url(&typed("node list --admin-url http://cp:1")), "http://cp:1");
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cp-lite.toml");
        std::fs::write(&file, "admin_listen = '[::1]:9001'\nnonsense = 1\n").unwrap();
        assert_eq!(admin_url(&typed(&format!("node list -c {}", file.display()))), "http://[::1]:9001");
    }

    #[test]
    fn settings_are_flags_of_run_and_of_nothing_that_ignores_them() {
        assert_eq!(typed("run --admin-listen off").settings, [("admin_listen", "off".to_owned())]);
        assert!(PROGRAM.parse(["hybrid", "gen_cert", "--prefix", "/x"].map(Into::into)).is_err());
    }
}
