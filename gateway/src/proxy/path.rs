//! The path that the upstream sees. Pure.
//!
//! A request's path is first normalised as Kong does (all but reserved characters decoded, dot segments removed, slashes
//! merged), so that what is matched is what is forwarded and `/public/%2e%2e/admin` cannot slip by.
//! Then the matched part is taken off, if the route says so, and the rest is joined to the service's path by Kong's
//! rules (`path_handling` v0 and v1). Nothing is copied where nothing changes.

use std::borrow::Cow;

/// Kong's `path_handling` of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Handling {
    /// The default: the joint is one slash, a trailing slash of the request is kept.
    #[default]
    V0,
    /// Deprecated: pieces are put together as they are.
    V1,
}

/// The path in normal form.
#[must_use]
pub fn normalise(path: &str) -> Cow<'_, str> {
    if !needs_normalising(path) {
        return Cow::Borrowed(path);
    }
    let decoded = decode(path);
    let mut segments: Vec<&str> = Vec::new();
    let mut ends_in_directory = decoded.ends_with('/');
    for segment in decoded.split('/').filter(|segment| !segment.is_empty()) {
        ends_in_directory = decoded.ends_with('/');
        match segment {
            "." => ends_in_directory = true,
            ".." => {
                segments.pop();
                ends_in_directory = true;
            }
            other => segments.push(other),
        }
    }
    let mut normal = String::with_capacity(decoded.len());
    for segment in &segments {
        normal.push('/');
        normal.push_str(segment);
    }
    if ends_in_directory || segments.is_empty() {
        normal.push('/');
    }
    Cow::Owned(normal)
}

fn needs_normalising(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.windows(2).any(|pair| matches!(pair, b"//" | b"/.")) || bytes.contains(&b'%')
}

/// Characters that mean something in a URI and stay as they came, encoded or not (RFC 3986 §2.2, and `%` itself).
const RESERVED: &[u8] = b"!*'();:@&=+$,/?%#[]";

/// Decodes every `%xx` but those of reserved and control characters, which are written in capitals; this is the form that
/// paths of routes are stored in. What would not be UTF-8 stays encoded as well.
fn decode(path: &str) -> String {
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        decoded.push_str(before);
        let run = escapes(after);
        push_decoded(&run, &mut decoded);
        if run.is_empty() {
            decoded.push('%');
        }
        // A run is `xx`, or `xx%xx` and so on.
        rest = after.get((run.len() * 3).saturating_sub(1)..).unwrap_or_default();
    }
    decoded.push_str(rest);
    decoded
}

/// The bytes of the escapes at the beginning of `text`, whose first `%` is already taken off.
fn escapes(text: &str) -> Vec<u8> {
    let byte = |digits: &str| {
        let hex = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        hex.then(|| u8::from_str_radix(digits, 16).ok()).flatten()
    };
    let mut bytes = Vec::new();
    let mut at = 0;
    while let Some(decoded) = text.get(at..at + 2).and_then(byte) {
        bytes.push(decoded);
        if text.as_bytes().get(at + 2) != Some(&b'%') {
            break;
        }
        at += 3;
    }
    bytes
}

fn push_decoded(run: &[u8], out: &mut String) {
    for chunk in run.utf8_chunks() {
        for character in chunk.valid().chars() {
            let is_kept = u8::try_from(character).is_ok_and(|byte| RESERVED.contains(&byte) || byte.is_ascii_control());
            if is_kept { push_escape(character as u8, out) } else { out.push(character) }
        }
        chunk.invalid().iter().for_each(|byte| push_escape(*byte, out));
    }
}

fn push_escape(byte: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

/// A path as it may stand in a request: what is neither reserved nor unreserved is encoded (Kong does the same on the way
/// to the upstream).
#[must_use]
pub fn escape(path: &str) -> Cow<'_, str> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || RESERVED.contains(byte);
    if path.as_bytes().iter().all(is_plain) {
        return Cow::Borrowed(path);
    }
    let mut escaped = String::with_capacity(path.len() + 16);
    for byte in path.bytes() {
        if is_plain(&byte) { escaped.push(char::from(byte)) } else { push_escape(byte, &mut escaped) }
    }
    Cow::Owned(escaped)
}

/// Joins the service's path and the request's.
///
/// `base` is the service's path, `/` when it has none. `request` is the normalised path. `strip` is how many bytes at
/// its beginning the route matched, if the route takes them off.
#[must_use]
pub fn join<'p>(handling: Handling, base: &str, request: &'p str, strip: Option<usize>) -> Cow<'p, str> {
    let remainder = strip.map(|matched| without_dots(request.get(matched..).unwrap_or_default()));
    match handling {
        Handling::V0 => join_v0(base, request, remainder),
        Handling::V1 => join_v1(base, request, remainder),
    }
}

fn join_v0<'p>(base: &str, request: &'p str, remainder: Option<&'p str>) -> Cow<'p, str> {
    let slash_at_end = request.len() > 1 && request.ends_with('/');
    match (base.strip_suffix('/'), remainder) {
        // The usual cases of a service without a path: the request's own text goes on.
        (Some(""), Some(rest)) if rest.starts_with('/') => Cow::Borrowed(rest),
        (Some(""), None) => Cow::Borrowed(request),
        (Some(""), Some("")) => Cow::Borrowed("/"),
        (Some(trimmed), Some("")) => Cow::Owned(if request.ends_with('/') { base } else { trimmed }.to_owned()),
        (Some(trimmed), Some(rest)) if rest.starts_with('/') => Cow::Owned([trimmed, rest].concat()),
        (Some(_), Some(rest)) => Cow::Owned([base, rest].concat()),
        (Some(trimmed), None) => Cow::Owned([trimmed, request].concat()),
        (None, Some("")) => Cow::Owned([base, if slash_at_end { "/" } else { "" }].concat()),
        (None, Some(rest)) if rest.starts_with('/') => Cow::Owned([base, rest].concat()),
        (None, Some(rest)) => Cow::Owned([base, "/", rest].concat()),
        (None, None) if request == "/" => Cow::Owned(base.to_owned()),
        (None, None) => Cow::Owned([base, request].concat()),
    }
}

fn join_v1<'p>(base: &str, request: &'p str, remainder: Option<&'p str>) -> Cow<'p, str> {
    let rest = remainder.unwrap_or_else(|| request.strip_prefix('/').unwrap_or(request));
    let rest = if base.ends_with('/') { rest.strip_prefix('/').unwrap_or(rest) } else { rest };
    Cow::Owned([base, rest].concat())
}

/// A remainder must not climb out of the service's path: a prefix like `/api` also matches `/api../secret`.
fn without_dots(rest: &str) -> &str {
    match rest {
        "." | ".." => "",
        _ => rest.strip_prefix("./").or_else(|| rest.strip_prefix("../")).unwrap_or(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_ordinary_paths_as_they_are() {
        for path in ["/", "/a/b.c/", "/x~y/..."] {
            assert_eq!(normalise(path), path);
        }
        assert!(matches!(normalise("/a/b.c/"), Cow::Borrowed(_)));
    }

    #[test]
    fn removes_dot_segments_and_merges_slashes() {
        let cases = [
            ("/a/../b", "/b"),
            ("/a/./b/", "/a/b/"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/../..", "/"),
            ("//a///b", "/a/b"),
            ("/public/%2e%2E/admin", "/admin"),
        ];
        for (path, normal) in cases {
            assert_eq!(normalise(path), normal, "{path}");
        }
    }

    #[test]
    fn decodes_all_but_what_means_something_and_encodes_it_again() {
        assert_eq!(normalise("/%41%7e%2f%c3%a9%20x"), "/A~%2Fé x");
        assert_eq!(escape("/A~%2Fé x|\"{}"), "/A~%2F%C3%A9%20x%7C%22%7B%7D");
        assert_eq!(normalise("/%ff%25%0d%c3"), "/%FF%25%0D%C3");
        assert!(matches!(escape("/a/b.c/?x"), Cow::Borrowed(_)));
        assert_eq!(normalise("/100%"), "/100%");
        assert_eq!(normalise("/%zz"), "/%zz");
    }

    /// The table of Kong's v0: base, request, how much is stripped, result.
    #[test]
    fn joins_as_the_table_of_v0_says() {
        let cases = [
            ("/", "/api", Some(4), "/"),
            ("/", "/api/", Some(4), "/"),
            ("/base/", "/api/", Some(5), "/base/"),
            ("/base/", "/api", Some(4), "/base"),
            ("/base/", "/api/x", Some(4), "/base/x"),
            ("/base/", "/apix", Some(4), "/base/x"),
            ("/base/", "/api/x", None, "/base/api/x"),
            ("/", "/api/x", None, "/api/x"),
            ("/", "/api/x", Some(4), "/x"),
            ("/", "/apix", Some(4), "/x"),
            ("/base", "/api", Some(4), "/base"),
            ("/base", "/api/", Some(5), "/base/"),
            ("/base", "/", Some(1), "/base"),
            ("/base", "/api/x", Some(4), "/base/x"),
            ("/base", "/apix", Some(4), "/base/x"),
            ("/base", "/", None, "/base"),
            ("/base", "/api", None, "/base/api"),
        ];
        for (base, request, strip, result) in cases {
            assert_eq!(join(Handling::V0, base, request, strip), result, "{base} {request} {strip:?}");
        }
    }

    #[test]
    fn joins_as_v1_says() {
        let cases = [
            ("/base", "/api/x", Some(4), "/base/x"),
            ("/base", "/apix", Some(4), "/basex"),
            ("/base/", "/api/x", Some(4), "/base/x"),
            ("/base", "/api", Some(4), "/base"),
            ("/base", "/api/x", None, "/baseapi/x"),
            ("/base/", "/api/x", None, "/base/api/x"),
            ("/", "/api/x", None, "/api/x"),
        ];
        for (base, request, strip, result) in cases {
            assert_eq!(join(Handling::V1, base, request, strip), result, "{base} {request} {strip:?}");
        }
    }

    #[test]
    fn a_remainder_cannot_climb_out_of_the_base() {
        assert_eq!(join(Handling::V0, "/base", "/api../secret", Some(4)), "/base/secret");
        assert_eq!(join(Handling::V0, "/base", "/api..", Some(4)), "/base");
    }

    #[test]
    fn a_service_without_a_path_copies_nothing() {
        assert!(matches!(join(Handling::V0, "/", "/api/x", Some(4)), Cow::Borrowed("/x")));
        assert!(matches!(join(Handling::V0, "/", "/api/x", None), Cow::Borrowed("/api/x")));
    }
}
