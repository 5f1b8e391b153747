//! The command line: what is taken, what is refused and in which words, and the help from the same table.

use settings::{Command, Invocation, Key, Kind, Opt, Program, UsageError};

const CONFIG: Opt = Opt { long: "config", short: Some('c'), value: Some("FILE"), doc: "The settings file." };
const DAYS: Opt = Opt { long: "days", short: Some('d'), value: Some("DAYS"), doc: "How long it lasts." };
const SHOW: Opt = Opt { long: "show", short: None, value: None, doc: "Print the merged settings." };

static PROGRAM: Program = Program {
    name: "cp-lite",
    summary: "the control plane",
    commands: &[
        Command {
            name: "run",
            operands: "",
            operands_range: (0, 0),
            options: &[SHOW],
            settings: true,
            summary: "Run it.",
        },
        Command {
            name: "hybrid gen_cert",
            operands: "[CERT KEY]",
            operands_range: (0, 2),
            options: &[DAYS],
            settings: false,
            summary: "Make a certificate.",
        },
        Command {
            name: "config apply",
            operands: "FILE",
            operands_range: (1, 1),
            options: &[],
            settings: false,
            summary: "Apply it.",
        },
    ],
    options: &[CONFIG],
    keys: &[Key::new("admin_listen", Kind::List, "127.0.0.1:8001", "Where the Admin API listens.")],
    file: "/etc/cp-lite/cp-lite.toml",
    prefix: "CP_LITE",
};

fn parse(line: &str) -> Result<Invocation, UsageError> {
    PROGRAM.parse(line.split_whitespace().map(Into::into))
}

fn run(line: &str) -> settings::flags::Typed {
    match parse(line).unwrap() {
        Invocation::Run(typed) => typed,
        Invocation::Help(help) => panic!("{help}"),
    }
}

fn help(line: &str) -> String {
    match parse(line).unwrap() {
        Invocation::Help(help) => help,
        Invocation::Run(typed) => panic!("{typed:?}"),
    }
}

#[test]
fn commands_of_two_words_options_in_any_place_and_operands() {
    let typed = run("-c a.toml hybrid gen_cert x.crt -d30 x.key");
    assert_eq!(typed.command, "hybrid gen_cert");
    assert_eq!(typed.operands, ["x.crt", "x.key"]);
    assert_eq!(typed.value("config"), Some("a.toml"));
    assert_eq!(typed.value("days"), Some("30"));
    assert_eq!(run("hybrid gen_cert -- -d").operands, ["-d"]);
}

#[test]
fn every_setting_is_a_flag_where_a_command_says_so() {
    let typed = run("run --show --admin-listen=off --admin_listen 127.0.0.1:1");
    assert_eq!(typed.settings, [("admin_listen", "off".to_owned()), ("admin_listen", "127.0.0.1:1".to_owned())]);
    assert!(typed.has("show"));
    assert!(parse("config apply x --admin_listen off").is_err());
}

#[test]
fn nonsense_is_refused_in_words_that_help() {
    let error = |line| parse(line).unwrap_err().message;
    assert_eq!(error("rum"), "unknown command \"rum\"; did you mean \"run\"?");
    assert_eq!(error("hybrid gen_cret"), "unknown command \"hybrid gen_cret\"; did you mean \"hybrid gen_cert\"?");
    assert_eq!(error("hybrid"), "the command goes on: hybrid gen_cert");
    assert_eq!(error(""), "a command is missing: run, hybrid gen_cert, config apply");
    assert_eq!(error("-c"), "--config needs a value");
    assert_eq!(error("run --admin-lisen x"), "unknown option --admin-lisen; did you mean \"--admin_listen\"?");
    assert_eq!(error("run -x"), "unknown option -x");
    assert_eq!(error("run now"), "unexpected argument \"now\"");
    assert_eq!(error("config apply"), "\"config apply\" needs FILE");
    assert_eq!(error("run --show=yes"), "unexpected argument for option '--show': \"yes\"");
    assert_eq!(parse("run -x").unwrap_err().advice, "Try \"cp-lite run --help\".");
}

#[test]
fn help_is_made_from_the_table() {
    assert_eq!(
        help("--help"),
        "\
cp-lite: the control plane

Usage: cp-lite [OPTIONS] COMMAND

Commands:
  run                         Run it.
  hybrid gen_cert [CERT KEY]  Make a certificate.
  config apply FILE           Apply it.

Options:
  -c, --config FILE  The settings file.
  -h, --help         Print help.

\"cp-lite COMMAND --help\" tells more about one of them.
"
    );
    assert_eq!(help("help hybrid gen_cert"), help("hybrid gen_cert -h"));
    assert!(help("hybrid --help").contains("gen_cert"));
    assert!(!help("hybrid --help").contains("apply"));
    assert_eq!(
        help("run --help"),
        "\
Run it.

Usage: cp-lite run

Options:
      --show         Print the merged settings.
  -c, --config FILE  The settings file.
  -h, --help         Print help.

Settings, from /etc/cp-lite/cp-lite.toml, /etc/cp-lite/cp-lite.toml.d/*.toml, the environment
(KONG_<KEY>, over it CP_LITE_<KEY>) and flags (--<key> VALUE), each over the one before:

  admin_listen (a list of texts; default 127.0.0.1:8001)
      Where the Admin API listens.
"
    );
}
