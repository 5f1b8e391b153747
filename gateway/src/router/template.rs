//! Templates: expressions of the shape that OpenAPI converters write, literals and whole segments such as
//! `/flights/(?<number>[^#?/]+)$` or `/users/(?<id>\d+)`, and the matcher for them. Neighbour: `pattern`, which asks here
//! first and leaves the rest to the engine; a property test there holds both to the same answers.

use super::pattern::literal_piece;
use super::query::{Captures, Group};
use super::radix::Step;
use super::route::PATH_BYTES_MAX;

/// Most pieces of a template; an expression with more goes to the engine.
const PIECES_MAX: usize = 64;

/// An expression of literals and groups of one segment each, where a group is followed by `/` or by the end, so that
/// what it matches is never in doubt: all up to the next byte that it excludes. Thousands of routes may have one each, so
/// all its text is in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    /// The expression, and behind it those literals that it has in another form, with escapes.
    text: Box<str>,
    pieces: Box<[Piece]>,
    /// The length of the expression.
    source: u16,
    /// Whether it ends with `$`.
    whole: bool,
}

/// Where in a template's text something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    at: u16,
    length: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Literal(Span),
    /// One or more bytes of a class.
    Segment {
        class: Class,
        /// The group that it is, if it is one, and the group's name.
        group: Option<Option<Span>>,
    },
}

/// What a segment is made of; never a slash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// All but `/`.
    NoSlash,
    /// All but `/`, `#` and `?`.
    Plain,
    /// `0` to `9`.
    Digits,
}

impl Class {
    fn has(self, byte: u8) -> bool {
        match self {
            Self::NoSlash => byte != b'/',
            Self::Plain => !matches!(byte, b'/' | b'#' | b'?'),
            Self::Digits => byte.is_ascii_digit(),
        }
    }
}

/// The forms of a segment.
const SEGMENTS: [(&str, Class); 7] = [
    ("[^/]+", Class::NoSlash),
    ("[^\\/]+", Class::NoSlash),
    ("[^#?/]+", Class::Plain),
    ("[^#?\\/]+", Class::Plain),
    ("[^/#?]+", Class::Plain),
    ("\\d+", Class::Digits),
    ("[0-9]+", Class::Digits),
];

/// Reads an expression piece by piece.
struct Parser {
    /// See [`Template::text`].
    text: String,
    /// How much of the expression was read.
    read: usize,
    pieces: Vec<Piece>,
    /// Where the literal began that is being read, and its text.
    literal: (usize, String),
}

impl Parser {
    /// Where something of the expression stands. There are at most twice [`PATH_BYTES_MAX`] bytes.
    fn span(at: usize, length: usize) -> Option<Span> {
        Some(Span { at: at.try_into().ok()?, length: length.try_into().ok()? })
    }

    fn end_literal(&mut self) -> Option<()> {
        let (at, literal) = std::mem::take(&mut self.literal);
        if literal.is_empty() {
            return Some(());
        }
        let mut span = Self::span(at, literal.len())?;
        if self.text.get(at..at + literal.len()) != Some(literal.as_str()) {
            span.at = self.text.len().try_into().ok()?;
            self.text.push_str(&literal);
        }
        self.pieces.push(Piece::Literal(span));
        Some(())
    }

    fn segment(&mut self, segment: &Segment) -> Option<()> {
        self.end_literal()?;
        let name = |(at, length)| Self::span(self.read + at, length);
        let group = match segment.group {
            None => None,
            Some(None) => Some(None),
            Some(Some(span)) => Some(Some(name(span)?)),
        };
        self.pieces.push(Piece::Segment { class: segment.class, group });
        Some(())
    }

    fn literal(&mut self, piece: &str) {
        if self.literal.1.is_empty() {
            self.literal.0 = self.read;
        }
        self.literal.1.push_str(piece);
    }
}

impl Template {
    /// Reads an expression (without `~`) if it has the shape and is within the bounds.
    pub(super) fn parse(expression: &str) -> Option<Self> {
        if expression.len() > PATH_BYTES_MAX {
            return None;
        }
        let (text, literal) = (expression.to_owned(), Default::default());
        let mut parser = Parser { text, read: 0, pieces: Vec::new(), literal };
        let mut rest = expression;
        let mut whole = false;
        while !rest.is_empty() {
            if rest == "$" {
                whole = true;
                break;
            }
            let after = if let Some((segment, after)) = segment(rest) {
                let follows = after.is_empty() || after == "$" || after.starts_with('/') || after.starts_with("\\/");
                if !follows {
                    return None;
                }
                parser.segment(&segment)?;
                after
            } else {
                let (piece, after) = literal_piece(rest)?;
                parser.literal(piece);
                after
            };
            if after.starts_with(['*', '?', '{', '+']) {
                return None;
            }
            parser.read += rest.len() - after.len();
            rest = after;
        }
        parser.end_literal()?;
        let (text, pieces) = (parser.text.into(), parser.pieces.into());
        let template = Self { text, pieces, source: expression.len().try_into().ok()?, whole };
        template.is_servable().then_some(template)
    }

    /// Within the bounds, and without a name that two groups have (which the engine refuses).
    fn is_servable(&self) -> bool {
        let names: Vec<_> = self.groups().flatten().collect();
        let repeated = names.iter().enumerate().any(|(at, name)| names.iter().take(at).any(|other| other == name));
        self.pieces.len() <= PIECES_MAX && !repeated
    }

    fn text(&self, span: Span) -> &str {
        self.text.get(usize::from(span.at)..usize::from(span.at) + usize::from(span.length)).unwrap_or_default()
    }

    pub(super) fn source(&self) -> &str {
        self.text(Span { at: 0, length: self.source })
    }

    /// The names of all groups.
    fn groups(&self) -> impl Iterator<Item = Option<&str>> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Segment { group, .. } => group.map(|name| name.map(|name| self.text(name))),
            Piece::Literal(_) => None,
        })
    }

    /// A segment that ends before the slash is filed as one that ends there: if a path has other bytes in between, what
    /// comes next is not the slash that would have to come next, and the matcher has the last word.
    pub(super) fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        self.pieces.iter().map(|piece| match piece {
            Piece::Literal(text) => Step::Literal(self.text(*text).as_bytes()),
            Piece::Segment { .. } => Step::Segment,
        })
    }

    /// How many bytes of `path` it matches; calls `capture` with what each group matches.
    pub(super) fn matched<'p>(&self, path: &'p [u8], mut capture: impl FnMut(&'p [u8])) -> Option<usize> {
        let mut rest = path;
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => rest = rest.strip_prefix(self.text(*text).as_bytes())?,
                Piece::Segment { class, group } => {
                    let length = rest.iter().position(|byte| !class.has(*byte)).unwrap_or(rest.len());
                    let (segment, after) = rest.split_at_checked(length).filter(|_| length > 0)?;
                    if group.is_some() {
                        capture(segment);
                    }
                    rest = after;
                }
            }
        }
        (!self.whole || rest.is_empty()).then_some(path.len() - rest.len())
    }

    pub(super) fn captures<'p>(&self, path: &'p [u8]) -> Option<Captures<'p>> {
        let mut matched = Vec::new();
        let length = self.matched(path, |group| matched.push(group))?;
        let groups = self.groups().map(|name| name.map(Into::into)).zip(matched);
        let groups = groups.map(|(name, matched)| Group { name, matched: Some(matched) }).collect();
        Some(Captures { whole: path.get(..length)?, groups })
    }
}

/// A segment as an expression begins with it.
struct Segment {
    class: Class,
    /// The group that it is, if it is one, with where its name stands behind the beginning, and the name's length.
    group: Option<Option<(usize, usize)>>,
}

/// The segment that an expression begins with, in a group or bare, and what follows it.
fn segment(expression: &str) -> Option<(Segment, &str)> {
    let bare = |text: &'_ str| {
        SEGMENTS.iter().find_map(|(form, class)| text.strip_prefix(form).map(|rest| (*class, rest.len())))
    };
    if let Some((class, left)) = bare(expression) {
        let rest = expression.get(expression.len() - left..)?;
        return Some((Segment { class, group: None }, rest));
    }
    let inner = expression.strip_prefix('(')?;
    let (name, inner) = match inner.strip_prefix("?<").or_else(|| inner.strip_prefix("?P<")) {
        None => (None, inner),
        Some(named) => {
            let (name, inner) = named.split_once('>')?;
            (Some((expression.len() - named.len(), group_name(name)?.len())), inner)
        }
    };
    let (class, left) = bare(inner)?;
    let rest = inner.get(inner.len() - left..)?.strip_prefix(')')?;
    Some((Segment { class, group: Some(name) }, rest))
}

/// A name that the engine takes too: a letter or `_`, then letters, digits and `_`.
fn group_name(name: &str) -> Option<&str> {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (starts && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_template(expression: &str) -> bool {
        Template::parse(expression).is_some()
    }

    #[test]
    fn needs_no_engine_for_what_openapi_converters_write() {
        for expression in [
            "/flights$",
            "/flights/(?<number>[^#?/]+)$",
            "/a/(?P<b>[^/]+)/c/([^\\/]+)/d",
            "/v1\\.0/[^/]+$",
            "/users/(?<id>\\d+)",
            "/pages/[0-9]+/(\\d+)$",
            "/a\\-b",
            "/é/[^/]+",
            "",
        ] {
            assert!(is_template(expression), "{expression}");
        }
        for expression in [
            "/a/[^/]+\\.json",
            "/a+",
            "/[^/]+[^/]+",
            "/(?<a>[^/]+)/(?<a>[^/]+)",
            "/a|/b",
            "/(?<1>[^/]+)",
            "/.",
            "/$/",
            "/[^/]+/?",
            "/(?<id>\\d+)\\.json",
            "/\\d",
            "/\\d*/",
            "/v\\d+[a-z]",
        ] {
            assert!(!is_template(expression), "{expression}");
        }
    }
}
