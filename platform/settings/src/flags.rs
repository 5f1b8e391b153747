//! The command line: one table of commands and options, read with `lexopt`.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::{Arg, Parser};

use crate::key::Key;
use crate::layers::Sources;
use crate::{help, nearest};

/// A program as its user meets it.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// What one types.
    pub name: &'static str,
    /// One line on what it is.
    pub summary: &'static str,
    /// The verbs, in the order of help.
    pub commands: &'static [Command],
    /// Options that every command takes.
    pub options: &'static [Opt],
    /// The table of settings.
    pub keys: &'static [Key],
    /// Where the settings are, unless told otherwise.
    pub file: &'static str,
    /// What the program's own environment variables begin with.
    pub prefix: &'static str,
}

/// A verb.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// One or two words.
    pub name: &'static str,
    /// What follows it, for help: `[CERT KEY]`.
    pub operands: &'static str,
    /// How many operands it takes at least and at most.
    pub operands_range: (usize, usize),
    /// Its own options.
    pub options: &'static [Opt],
    /// Whether every setting is a flag of it as well.
    pub settings: bool,
    /// One line on what it does.
    pub summary: &'static str,
}

/// An option.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// Without the dashes.
    pub long: &'static str,
    /// One letter, if it has one.
    pub short: Option<char>,
    /// The name of its value, if it takes one.
    pub value: Option<&'static str>,
    /// One line on what it does.
    pub doc: &'static str,
}

/// What somebody wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Invocation {
    /// This text on standard output.
    Help(String),
    /// A command to be run.
    Run(Typed),
}

/// A command as it was typed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Typed {
    /// The command's name.
    pub command: &'static str,
    /// Its operands.
    pub operands: Vec<String>,
    /// Settings given as flags, by key.
    pub settings: Vec<(&'static str, String)>,
    options: Vec<(&'static str, Option<String>)>,
}

impl Typed {
    /// Whether an option was given.
    pub fn has(&self, long: &str) -> bool {
        self.options.iter().any(|(name, _)| *name == long)
    }

    /// The value of an option; the last one counts.
    pub fn value(&self, long: &str) -> Option<&str> {
        self.options.iter().rev().find(|(name, _)| *name == long).and_then(|(_, value)| value.as_deref())
    }
}

/// The command line makes no sense. The message is for people.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}\n{advice}")]
pub struct UsageError {
    /// What is wrong.
    pub message: String,
    /// Where to read more.
    pub advice: String,
}

const HELP: Opt = Opt { long: "help", short: Some('h'), value: None, doc: "Print help." };

impl Program {
    /// Reads the arguments that follow the program's name.
    pub fn parse(&'static self, arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, UsageError> {
        let mut parser = Parser::from_args(arguments);
        let mut line = Line { program: self, words: String::new(), command: None, help: false, typed: self.nothing() };
        loop {
            match parser.next().map_err(|error| line.error(error.to_string()))? {
                None => return line.finish(),
                Some(Arg::Short(letter)) => line.short(letter, &mut parser)?,
                Some(Arg::Long(name)) => {
                    let name = name.to_owned();
                    line.long(&name, &mut parser)?;
                }
                Some(Arg::Value(word)) => {
                    let word = word.into_string().map_err(|word| line.error(format!("{word:?} is not UTF-8")))?;
                    line.word(word)?;
                }
            }
        }
    }

    /// Where the settings of a command come from: the file is the option `config`, else the program's own, which may
    /// be absent. `environment` and `credentials` are the process's.
    pub fn sources(
        &self,
        typed: &Typed,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        credentials: Option<PathBuf>,
    ) -> Sources {
        let file = typed.value("config");
        Sources {
            keys: self.keys,
            prefix: self.prefix,
            file: file.unwrap_or(self.file).into(),
            file_required: file.is_some(),
            credentials,
            environment: environment.into_iter().collect(),
            flags: typed.settings.clone(),
        }
    }

    fn nothing(&self) -> Typed {
        Typed { command: "", operands: Vec::new(), settings: Vec::new(), options: Vec::new() }
    }
}

/// A command line, read as far as it goes.
struct Line {
    program: &'static Program,
    /// The words so far that may become a command.
    words: String,
    command: Option<&'static Command>,
    help: bool,
    typed: Typed,
}

impl Line {
    fn word(&mut self, word: String) -> Result<(), UsageError> {
        if let Some(command) = self.command {
            if self.typed.operands.len() == command.operands_range.1 {
                return Err(self.error(format!("unexpected argument \"{word}\"")));
            }
            self.typed.operands.push(word);
            return Ok(());
        }
        if self.words.is_empty() && word == "help" {
            self.help = true;
            return Ok(());
        }
        if !self.words.is_empty() {
            self.words.push(' ');
        }
        self.words.push_str(&word);
        let commands = self.program.commands;
        self.command = commands.iter().find(|command| command.name == self.words);
        let prefix = format!("{} ", self.words);
        if self.command.is_some() || commands.iter().any(|command| command.name.starts_with(&prefix)) {
            return Ok(());
        }
        let hint = nearest::hint(&self.words, commands.iter().map(|command| command.name));
        Err(self.error(format!("unknown command \"{}\"{hint}", self.words)))
    }

    fn short(&mut self, letter: char, parser: &mut Parser) -> Result<(), UsageError> {
        match self.options().find(|option| option.short == Some(letter)) {
            Some(option) => self.option(option, parser),
            None => Err(self.error(format!("unknown option -{letter}"))),
        }
    }

    fn long(&mut self, name: &str, parser: &mut Parser) -> Result<(), UsageError> {
        if let Some(option) = self.options().find(|option| option.long == name) {
            return self.option(option, parser);
        }
        let underscored = name.replace('-', "_");
        if let Some(key) = self.setting_keys().iter().find(|key| key.name == underscored) {
            let value = self.value_of(&format!("--{name}"), parser)?;
            self.typed.settings.push((key.name, value));
            return Ok(());
        }
        let known = self.options().map(|option| option.long).chain(self.setting_keys().iter().map(|key| key.name));
        let hint = nearest::nearest(&underscored, known)
            .map_or_else(String::new, |meant| format!("; did you mean \"--{meant}\"?"));
        Err(self.error(format!("unknown option --{name}{hint}")))
    }

    fn option(&mut self, option: &'static Opt, parser: &mut Parser) -> Result<(), UsageError> {
        if option.long == HELP.long {
            self.help = true;
            return Ok(());
        }
        let value = match option.value {
            Some(_) => Some(self.value_of(&format!("--{}", option.long), parser)?),
            None => None,
        };
        self.typed.options.push((option.long, value));
        Ok(())
    }

    fn value_of(&self, option: &str, parser: &mut Parser) -> Result<String, UsageError> {
        let value = parser.value().map_err(|_| self.error(format!("{option} needs a value")))?;
        value.into_string().map_err(|value| self.error(format!("the value of {option} is not UTF-8: {value:?}")))
    }

    /// What may be typed at this point: before the command is known, only what all commands take.
    fn options(&self) -> impl Iterator<Item = &'static Opt> + use<> {
        let own = self.command.map_or(&[][..], |command| command.options);
        own.iter().chain(self.program.options).chain(std::iter::once(&HELP))
    }

    fn setting_keys(&self) -> &'static [Key] {
        if self.command.is_some_and(|command| command.settings) { self.program.keys } else { &[] }
    }

    fn finish(self) -> Result<Invocation, UsageError> {
        let Some(command) = self.command else {
            return self.without_command();
        };
        if self.help {
            return Ok(Invocation::Help(help::command(self.program, command)));
        }
        if self.typed.operands.len() < command.operands_range.0 {
            return Err(self.error(format!("\"{}\" needs {}", command.name, command.operands)));
        }
        Ok(Invocation::Run(Typed { command: command.name, ..self.typed }))
    }

    fn without_command(&self) -> Result<Invocation, UsageError> {
        if self.help {
            return Ok(Invocation::Help(help::overview(self.program, &self.words)));
        }
        let names = self.program.commands.iter().map(|command| command.name);
        let names: Vec<&str> = names.filter(|name| name.starts_with(&self.words)).collect();
        let missing = if self.words.is_empty() { "a command is missing" } else { "the command goes on" };
        Err(self.error(format!("{missing}: {}", names.join(", "))))
    }

    fn error(&self, message: String) -> UsageError {
        let about = self.command.map_or_else(String::new, |command| format!(" {}", command.name));
        UsageError { message, advice: format!("Try \"{}{about} --help\".", self.program.name) }
    }
}
