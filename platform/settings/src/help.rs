//! Help, written from the same tables that the command line and the settings are read with.

use std::fmt::Write;

use crate::flags::{Command, Opt, Program};
use crate::key::{Key, Kind};

/// Lines of help are filled to this width.
const WIDTH: usize = 100;

/// What the program is and which commands it has; only those that begin with `family`, if that is not empty.
pub fn overview(program: &Program, family: &str) -> String {
    let shown = program.commands.iter().filter(|command| command.name.starts_with(family));
    let rows = shown.map(|command| (usage_of(command), command.summary.to_owned())).collect();
    format!(
        "{name}: {summary}\n\nUsage: {name} [OPTIONS] COMMAND\n\nCommands:\n{}\nOptions:\n{}\n\
         \"{name} COMMAND --help\" tells more about one of them.\n",
        table(rows),
        table(program.options.iter().map(option_row).chain(std::iter::once(help_row())).collect()),
        name = program.name,
        summary = program.summary,
    )
}

/// What one command does and takes.
pub fn command(program: &Program, command: &Command) -> String {
    let options = command.options.iter().chain(program.options).map(option_row).chain(std::iter::once(help_row()));
    let mut help = format!(
        "{}\n\nUsage: {} {}\n\nOptions:\n{}",
        command.summary,
        program.name,
        usage_of(command),
        table(options.collect())
    );
    if command.settings {
        let _ = write!(help, "\n{}", settings(program));
    }
    help
}

/// All settings with their types, defaults and docs.
pub fn settings(program: &Program) -> String {
    let heading = format!(
        "Settings, from {file}, {file}.d/*.toml, the environment (KONG_<KEY>, over it {prefix}_<KEY>) and flags \
         (--<key> VALUE), each over the one before:",
        file = program.file,
        prefix = program.prefix,
    );
    let mut help = fill(&heading, WIDTH).join("\n") + "\n";
    for key in program.keys {
        let _ = write!(help, "\n  {} ({})\n", key.name, nature(key));
        for line in fill(key.doc, WIDTH - 6) {
            let _ = writeln!(help, "      {line}");
        }
    }
    help
}

/// A key's type and default, as a phrase.
pub fn nature(key: &Key) -> String {
    let kind = match key.kind {
        Kind::Text => "text".to_owned(),
        kind => kind.describe(),
    };
    match key.default {
        Some("") => format!("{kind}; default: empty"),
        Some(default) => format!("{kind}; default {default}"),
        None => format!("{kind}; unset by default"),
    }
}

fn usage_of(command: &Command) -> String {
    format!("{} {}", command.name, command.operands).trim_end().to_owned()
}

fn option_row(option: &Opt) -> (String, String) {
    let short = option.short.map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
    let value = option.value.map_or_else(String::new, |value| format!(" {value}"));
    (format!("{short}--{}{value}", option.long), option.doc.to_owned())
}

fn help_row() -> (String, String) {
    ("-h, --help".to_owned(), "Print help.".to_owned())
}

/// Two columns, the second one filled.
fn table(rows: Vec<(String, String)>) -> String {
    let left = rows.iter().map(|(term, _)| term.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (term, description) in rows {
        for (number, line) in fill(&description, WIDTH.saturating_sub(left + 4)).iter().enumerate() {
            let term = if number == 0 { term.as_str() } else { "" };
            let _ = writeln!(text, "  {term:left$}  {line}");
        }
    }
    text
}

/// Words in lines of at most `width` characters, a longer word on a line of its own.
fn fill(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else { break };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
