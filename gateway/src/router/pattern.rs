//! Paths: prefixes, and regular expressions. An expression of the shape that OpenAPI converters write, literals and
//! whole segments such as `/flights/(?<number>[^#?/]+)$` or `/users/(?<id>\d+)`, is a `Template` with a matcher of its
//! own; the engine (`regexes`) does the rest. Both agree exactly, which a property test below holds them to.

use super::query::{Captures, Group};
use super::radix::Step;
use super::regexes;
use super::route::{PATH_BYTES_MAX, RouteError};
use std::sync::Arc;

/// Most pieces of a template; an expression with more goes to the engine.
const PIECES_MAX: usize = 64;

/// One path of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PathPattern {
    /// The path begins with it.
    Prefix(Box<str>),
    /// An expression that needs no engine.
    Template(Box<Template>),
    /// Any other.
    Regex(Box<RegexPattern>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RegexPattern {
    /// `^` and the expression as given.
    source: Arc<str>,
    /// The bytes that every match begins with.
    literal: Box<[u8]>,
}

impl PathPattern {
    /// Reads a path as a route gives it: a prefix, or a regular expression after `~`.
    pub(super) fn parse(given: &str) -> Result<Self, RouteError> {
        let Some(expression) = given.strip_prefix('~') else {
            return if given.starts_with('/') && given.len() <= PATH_BYTES_MAX {
                Ok(Self::Prefix(given.into()))
            } else {
                Err(RouteError::Path(given.to_owned()))
            };
        };
        if let Some(template) = Template::parse(expression) {
            return Ok(Self::Template(Box::new(template)));
        }
        // Anchored by a prefix and not by a group around it: `a|b` is anchored in its first branch only, as in Kong.
        let source = format!("^{expression}");
        regexes::build(&source)
            .map_err(|error| RouteError::Regex { source_text: expression.to_owned(), reason: error.to_string() })?;
        Ok(Self::Regex(Box::new(RegexPattern { source: source.into(), literal: literal_prefix(expression).into() })))
    }

    /// The path as given, without the `~`.
    pub(super) fn source(&self) -> &str {
        match self {
            Self::Prefix(prefix) => prefix,
            Self::Template(template) => &template.source,
            Self::Regex(regex) => regex.source.strip_prefix('^').unwrap_or(&regex.source),
        }
    }

    /// Whether a route gives it by this text.
    pub(super) fn is(&self, given: &str) -> bool {
        match given.strip_prefix('~') {
            Some(expression) => !matches!(self, Self::Prefix(_)) && expression == self.source(),
            None => matches!(self, Self::Prefix(prefix) if **prefix == *given),
        }
    }

    /// The length of a prefix; `None` for an expression.
    pub(super) fn prefix_length(&self) -> Option<usize> {
        match self {
            Self::Prefix(prefix) => Some(prefix.len()),
            _ => None,
        }
    }

    /// The way in the radix tree that every path it matches begins with.
    pub(super) fn way(&self) -> Vec<Step<'_>> {
        match self {
            Self::Prefix(prefix) => vec![Step::Literal(prefix.as_bytes())],
            Self::Template(template) => template.pieces.iter().map(Piece::step).collect(),
            Self::Regex(regex) => vec![Step::Literal(&regex.literal)],
        }
    }

    /// How many bytes of `path` it matches. For a prefix the caller knows already that `path` begins with it.
    pub(super) fn matched(&self, path: &[u8]) -> Option<usize> {
        match self {
            Self::Prefix(prefix) => Some(prefix.len()),
            Self::Template(template) => template.matched(path, |_| {}),
            Self::Regex(regex) => regexes::get(&regex.source)?.find(path).map(|found| found.len()),
        }
    }

    /// What the whole and the groups match; `None` for prefixes and where nothing matches.
    pub(super) fn captures<'p>(&self, path: &'p [u8]) -> Option<Captures<'p>> {
        match self {
            Self::Prefix(_) => None,
            Self::Template(template) => template.captures(path),
            Self::Regex(regex) => {
                let regex = regexes::get(&regex.source)?;
                let found = regex.captures(path)?;
                let groups = regex.capture_names().enumerate().skip(1);
                let groups = groups.map(|(index, name)| Group {
                    name: name.map(Into::into),
                    matched: found.get(index).map(|found| found.as_bytes()),
                });
                Some(Captures { whole: found.get(0)?.as_bytes(), groups: groups.collect() })
            }
        }
    }
}

/// The literal beginning of an expression: bytes up to the first that might mean something else, less one if a
/// repetition follows that could make it optional. Nothing where a branch at the top could begin otherwise.
fn literal_prefix(expression: &str) -> Vec<u8> {
    // A branch anywhere: inside a group it would do no harm, but to know that takes a parser.
    if expression.contains('|') {
        return Vec::new();
    }
    let mut literal = Vec::new();
    let mut rest = expression;
    while let Some((piece, after)) = literal_piece(rest) {
        if after.starts_with(['*', '?', '{', '+']) {
            break;
        }
        literal.extend_from_slice(piece.as_bytes());
        rest = after;
    }
    literal.truncate(PATH_BYTES_MAX);
    literal
}

/// The first character of an expression if it stands for itself, escaped or not, and what follows it.
fn literal_piece(expression: &str) -> Option<(&str, &str)> {
    let first = expression.chars().next()?;
    let (skip, character) = match first {
        '\\' => (1, expression.get(1..)?.chars().next().filter(|c| is_escapable(*c))?),
        '.' | '*' | '?' | '+' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' => return None,
        plain => (0, plain),
    };
    expression.get(skip..)?.split_at_checked(character.len_utf8())
}

/// Punctuation that an escape makes literal, in the engine as here.
fn is_escapable(character: char) -> bool {
    character.is_ascii_punctuation() && !matches!(character, '<' | '>')
}

/// An expression of literals and groups of one segment each, where a group is followed by `/` or by the end, so that
/// what it matches is never in doubt: all up to the next byte that it excludes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template {
    source: Box<str>,
    pieces: Box<[Piece]>,
    /// Whether it ends with `$`.
    whole: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(Box<str>),
    /// One or more bytes of a class.
    Segment {
        class: Class,
        group: Option<Option<Box<str>>>,
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

impl Piece {
    /// A segment that ends before the slash is filed as one that ends there: if a path has other bytes in between, what
    /// comes next is not the slash that would have to come next, and the matcher has the last word.
    fn step(&self) -> Step<'_> {
        match self {
            Self::Literal(text) => Step::Literal(text.as_bytes()),
            Self::Segment { .. } => Step::Segment,
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

impl Template {
    /// Reads an expression (without `~`) if it has the shape.
    fn parse(expression: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut rest = expression;
        let mut whole = false;
        while !rest.is_empty() {
            if rest == "$" {
                whole = true;
                break;
            }
            if let Some((piece, after)) = segment(rest) {
                let follows = after.is_empty() || after == "$" || after.starts_with('/') || after.starts_with("\\/");
                if !follows || after.starts_with(['*', '?', '{', '+']) {
                    return None;
                }
                pieces.extend((!text.is_empty()).then(|| Piece::Literal(std::mem::take(&mut text).into())));
                pieces.push(piece);
                rest = after;
            } else {
                let (piece, after) = literal_piece(rest)?;
                if after.starts_with(['*', '?', '{', '+']) {
                    return None;
                }
                text.push_str(piece);
                rest = after;
            }
        }
        pieces.extend((!text.is_empty()).then(|| Piece::Literal(text.into())));
        let template = Self { source: expression.into(), pieces: pieces.into(), whole };
        template.is_servable().then_some(template)
    }

    /// Within the bounds, and without a name that two groups have (which the engine refuses).
    fn is_servable(&self) -> bool {
        let names: Vec<_> = self.groups().filter_map(Option::as_deref).collect();
        let repeated = names.iter().enumerate().any(|(at, name)| names.iter().take(at).any(|other| other == name));
        self.pieces.len() <= PIECES_MAX && self.source.len() <= PATH_BYTES_MAX && !repeated
    }

    fn groups(&self) -> impl Iterator<Item = &Option<Box<str>>> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Segment { group, .. } => group.as_ref(),
            Piece::Literal(_) => None,
        })
    }

    /// How many bytes of `path` it matches; calls `capture` with what each group matches.
    fn matched<'p>(&self, path: &'p [u8], mut capture: impl FnMut(&'p [u8])) -> Option<usize> {
        let mut rest = path;
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => rest = rest.strip_prefix(text.as_bytes())?,
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

    fn captures<'p>(&self, path: &'p [u8]) -> Option<Captures<'p>> {
        let mut matched = Vec::new();
        let length = self.matched(path, |group| matched.push(group))?;
        let groups = self.groups().cloned().zip(matched);
        let groups = groups.map(|(name, matched)| Group { name, matched: Some(matched) }).collect();
        Some(Captures { whole: path.get(..length)?, groups })
    }
}

/// The segment that an expression begins with, in a group or bare, and what follows it.
fn segment(expression: &str) -> Option<(Piece, &str)> {
    let bare =
        |text: &str| SEGMENTS.iter().find_map(|(form, class)| text.strip_prefix(form).map(|rest| (*class, rest.len())));
    if let Some((class, left)) = bare(expression) {
        let rest = expression.get(expression.len() - left..)?;
        return Some((Piece::Segment { class, group: None }, rest));
    }
    let inner = expression.strip_prefix('(')?;
    let (name, inner) = match inner.strip_prefix("?<").or_else(|| inner.strip_prefix("?P<")) {
        None => (None, inner),
        Some(named) => {
            let (name, inner) = named.split_once('>')?;
            (Some(group_name(name)?), inner)
        }
    };
    let (class, left) = bare(inner)?;
    let rest = inner.get(inner.len() - left..)?.strip_prefix(')')?;
    Some((Piece::Segment { class, group: Some(name) }, rest))
}

/// A name that the engine takes too: a letter or `_`, then letters, digits and `_`.
fn group_name(name: &str) -> Option<Box<str>> {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    (starts && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')).then(|| name.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    #[test]
    fn the_literal_beginning_ends_where_a_match_could_differ() {
        for (expression, literal) in [
            ("/api/v1/\\d+", "/api/v1/"),
            ("/ab?c", "/a"),
            ("/ab*", "/a"),
            ("/ab{0,2}", "/a"),
            ("/a\\.b.c", "/a.b"),
            ("/a|/b", ""),
            ("/a(b|c)", ""),
            ("(?i)/a", ""),
            ("*a", ""),
            ("/a/$", "/a/"),
        ] {
            assert_eq!(String::from_utf8(literal_prefix(expression)).unwrap(), literal, "{expression}");
        }
    }

    /// Whether the tree would find what is filed under `way`.
    fn leads(way: &[Step<'_>], path: &[u8]) -> bool {
        match way.split_first() {
            None => true,
            Some((Step::Literal(literal), way)) => path.strip_prefix(*literal).is_some_and(|rest| leads(way, rest)),
            Some((Step::Segment, way)) => {
                let length = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
                length > 0 && leads(way, &path[length..])
            }
        }
    }

    /// Pieces of expressions, most of which make templates.
    fn expressions() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            4 => Just("/".to_owned()),
            3 => "[ab.é-]".prop_map(|text| text.replace('.', "\\.")),
            3 => proptest::sample::select(vec![
                "[^/]+", "[^\\/]+", "[^#?/]+", "([^/]+)", "(?<x>[^/]+)", "(?P<y>[^#?/]+)", "(?<z>[^\\/]+)", "\\/",
                "\\d+", "(?<n>\\d+)", "[0-9]+",
            ]).prop_map(str::to_owned),
            1 => proptest::sample::select(vec!["$", "+", "?", "*", "|", ".", "(", ")", "[a-z]", "\\d"]).prop_map(str::to_owned),
        ];
        (proptest::collection::vec(piece, 0..8), any::<bool>())
            .prop_map(|(pieces, whole)| pieces.concat() + if whole { "$" } else { "" })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn own_matcher_and_engine_agree(expression in expressions(), paths in proptest::collection::vec("[/ab07.#?é\n-]{0,8}", 8)) {
            let Ok(regex) = regexes::build(&format!("^{expression}")) else {
                let parsed = PathPattern::parse(&format!("~{expression}"));
                prop_assert!(parsed.is_err(), "{}", expression);
                return Ok(());
            };
            let pattern = PathPattern::parse(&format!("~{expression}")).unwrap();
            prop_assert_eq!(pattern.source(), expression.as_str());
            for path in &paths {
                let bytes = path.as_bytes();
                let found = regex.captures(bytes);
                prop_assert_eq!(pattern.matched(bytes), found.as_ref().map(|found| found[0].len()), "{} {}", expression, path);
                if found.is_some() {
                    prop_assert!(leads(&pattern.way(), bytes), "{} {}", expression, path);
                }
                let groups = found.map(|found| {
                    regex.capture_names().enumerate().skip(1)
                        .map(|(n, name)| Group { name: name.map(Into::into), matched: found.get(n).map(|m| m.as_bytes()) })
                        .collect::<Vec<_>>()
                });
                prop_assert_eq!(pattern.captures(bytes).map(|captures| captures.groups), groups, "{} {}", expression, path);
            }
        }
    }
}
