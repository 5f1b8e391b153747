//! Names and values as `application/x-www-form-urlencoded` writes them, in queries and bodies. Nothing is copied unless
//! it has to be decoded.

use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// It is not there, or without a value.
    Nothing,
    /// It is there once.
    One(Cow<'a, str>),
    /// It is there more than once.
    Many,
}

/// The pairs of an encoded form, decoded. A name without `=` has no value.
pub(super) fn pairs(form: &str) -> impl Iterator<Item = (Cow<'_, str>, Option<Cow<'_, str>>)> {
    form.split('&').filter(|pair| !pair.is_empty()).map(|pair| match pair.split_once('=') {
        Some((name, value)) => (decode(name), Some(decode(value))),
        None => (decode(pair), None),
    })
}

/// The value of `name`.
pub(super) fn find<'a>(form: &'a str, name: &str) -> Found<'a> {
    let mut found = Found::Nothing;
    for (_, value) in pairs(form).filter(|(candidate, _)| candidate == name) {
        found = match (found, value) {
            (Found::Nothing, Some(value)) => Found::One(value),
            (Found::Nothing, None) => Found::Nothing,
            _ => return Found::Many,
        };
    }
    found
}

/// The form without any pair of `name`; the others stay as they were written. `None` when nothing is left.
pub(super) fn without(form: &str, name: &str) -> Option<String> {
    let is_it = |pair: &&str| decode(pair.split_once('=').map_or(*pair, |(name, _)| name)) == name;
    let rest: Vec<&str> = form.split('&').filter(|pair| !is_it(pair)).collect();
    (!rest.is_empty()).then(|| rest.join("&"))
}

fn decode(text: &str) -> Cow<'_, str> {
    let spaced = if text.contains('+') { Cow::Owned(text.replace('+', " ")) } else { Cow::Borrowed(text) };
    if !spaced.contains('%') {
        return spaced;
    }
    Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_and_decodes() {
        assert_eq!(find("a=1&apikey=x%20y+z", "apikey"), Found::One("x y z".into()));
        assert_eq!(find("api%6bey=1", "apikey"), Found::One("1".into()));
        assert_eq!(find("apikey=1&apikey=2", "apikey"), Found::Many);
        assert_eq!(find("apikey", "apikey"), Found::Nothing);
        assert_eq!(find("", "apikey"), Found::Nothing);
    }

    #[test]
    fn takes_out_one_name_and_leaves_the_rest_as_written() {
        assert_eq!(without("a=%41&apikey=1&b", "apikey").as_deref(), Some("a=%41&b"));
        assert_eq!(without("apikey=1", "apikey"), None);
    }
}
