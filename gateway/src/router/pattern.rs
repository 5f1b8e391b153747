//! Paths: prefixes, and regular expressions. Many of those need no engine (`template`); the engine (`regexes`) does the
//! rest. Both agree exactly, which a property test below holds them to.

use super::query::{Captures, Group};
use super::radix::Step;
use super::regexes;
use super::route::{PATH_BYTES_MAX, RouteError};
use super::template::Template;
use std::sync::Arc;

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
            Self::Template(template) => template.source(),
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
            Self::Template(template) => template.steps().collect(),
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
pub(super) fn literal_piece(expression: &str) -> Option<(&str, &str)> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
