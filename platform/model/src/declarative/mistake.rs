//! Mistakes in a file: what is wrong, with which entity, and where it stands. They are collected by byte offset and
//! get lines and columns at the end, in one pass over the text.

use super::node::Offset;
use std::fmt;

/// The most mistakes that are reported for one file; a last one says how many more there are.
pub const MISTAKES_MAX: usize = 1_000;

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The entity concerned (`route 'orders'`), empty if the file as a whole is.
    pub entity: String,
    /// The path of the field, list places from 1 (`config.limit.2`), empty if the entity as a whole is concerned.
    pub field: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.line, self.column)?;
        let about = [self.entity.as_str(), self.field.as_str()];
        let about: Vec<_> = about.into_iter().filter(|part| !part.is_empty()).collect();
        if !about.is_empty() {
            write!(f, "{}: ", about.join(" "))?;
        }
        f.write_str(&self.message)
    }
}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub(super) struct Found {
    list: Vec<(Offset, String, String, String)>,
    beyond: usize,
}

impl Found {
    pub(super) fn add(
        &mut self,
        at: Offset,
        entity: impl Into<String>,
        field: impl Into<String>,
        message: impl Into<String>,
    ) {
        if self.list.len() < MISTAKES_MAX {
            self.list.push((at, entity.into(), field.into(), message.into()));
        } else {
            self.beyond += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are, those beyond the bound included.
    pub(super) fn count(&self) -> usize {
        self.list.len() + self.beyond
    }

    /// All of them in the order of the text, with lines and columns.
    pub(super) fn into_mistakes(mut self, text: &str) -> Vec<Mistake> {
        self.list.sort_by_key(|mistake| mistake.0);
        let mut cursor = Cursor { text, at: 0, line: 1, column: 1 };
        let mut mistakes: Vec<Mistake> = Vec::with_capacity(self.list.len() + 1);
        for (at, entity, field, message) in self.list {
            cursor.advance(at as usize);
            mistakes.push(Mistake { line: cursor.line, column: cursor.column, entity, field, message });
        }
        if self.beyond > 0 {
            let message = format!("{} more mistakes are not shown", self.beyond);
            let (entity, field) = (String::new(), String::new());
            mistakes.push(Mistake { line: cursor.line, column: cursor.column, entity, field, message });
        }
        mistakes
    }
}

/// A place in the text that only moves forward.
struct Cursor<'t> {
    text: &'t str,
    at: usize,
    line: usize,
    column: usize,
}

impl Cursor<'_> {
    fn advance(&mut self, to: usize) {
        for character in self.text.get(self.at..to).unwrap_or_default().chars() {
            if character == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.at = self.at.max(to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let mut found = Found::default();
        found.add(6, "route 'x'", "paths.1", "bad");
        found.add(0, "", "", "first");
        let shown: Vec<_> = found.into_mistakes("a\né: x").iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["1:1: first", "2:4: route 'x' paths.1: bad"]);
    }

    #[test]
    fn a_flood_of_mistakes_is_cut_and_says_so() {
        let mut found = Found::default();
        for _ in 0..MISTAKES_MAX + 7 {
            found.add(0, "", "", "again");
        }
        let mistakes = found.into_mistakes("");
        assert_eq!(mistakes.len(), MISTAKES_MAX + 1);
        assert_eq!(mistakes[MISTAKES_MAX].message, "7 more mistakes are not shown");
    }
}
