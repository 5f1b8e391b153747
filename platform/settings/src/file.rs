//! One settings file: TOML with the known keys on its top level, and nothing else.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use toml::de::DeTable;

use crate::key::{Key, Value};
use crate::mistake::{Mistake, Origin};
use crate::nearest;

/// The largest settings file that is read.
pub(crate) const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// What a file says.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) values: Vec<(&'static str, Value, Origin)>,
    pub(crate) mistakes: Vec<Mistake>,
}

/// Reads a file; `None` if there is none.
pub(crate) fn read(path: &Path, keys: &'static [Key]) -> Option<Said> {
    let mut text = String::new();
    let opened = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
    let one = |mistake| Some(Said { values: Vec::new(), mistakes: vec![mistake] });
    match opened {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => one(Mistake::unreadable(path.to_owned(), &error)),
        Ok(bytes) if bytes as u64 > FILE_BYTES_MAX => {
            let origin = Origin::File { path: path.to_owned(), at: None };
            one(Mistake::new(origin, format!("larger than {FILE_BYTES_MAX} bytes, not a settings file")))
        }
        Ok(_) => Some(parse(&text, path, keys)),
    }
}

fn parse(text: &str, path: &Path, keys: &'static [Key]) -> Said {
    let at = |span: Range<usize>| Origin::File { path: path.to_owned(), at: Some(position(text, span.start)) };
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut said = Said::default();
    for error in &errors {
        said.mistakes.push(Mistake::new(at(error.span().unwrap_or(0..0)), error.message()));
    }
    if !errors.is_empty() {
        // What the parser made of the rest is a guess, and complaining about guesses helps nobody.
        return said;
    }
    for (name, value) in table.get_ref() {
        let Some(key) = keys.iter().find(|key| key.name == name.get_ref().as_ref()) else {
            said.mistakes.push(Mistake::new(at(name.span()), unknown(name.get_ref(), keys)));
            continue;
        };
        match key.kind.read_toml(value.get_ref()) {
            Ok(read) => said.values.push((key.name, read, at(name.span()))),
            Err(why) => said.mistakes.push(Mistake::new(at(value.span()), format!("{}: {why}", key.name))),
        }
    }
    said
}

/// The message about a key that is not in the table.
pub(crate) fn unknown(name: &str, keys: &'static [Key]) -> String {
    format!("unknown key \"{name}\"{}", nearest::hint(name, keys.iter().map(|key| key.name)))
}

/// Line and column of a byte, both from 1, the column in characters.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    (line, before.get(line_start..).unwrap_or_default().chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let text = "a\nüb\n";
        assert_eq!(position(text, 0), (1, 1));
        assert_eq!(position(text, 2), (2, 1));
        assert_eq!(position(text, 4), (2, 2));
        assert_eq!(position(text, 99), (3, 1));
        assert_eq!(position("", 0), (1, 1));
    }
}
