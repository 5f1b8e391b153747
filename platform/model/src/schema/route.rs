//! What is special about routes: their paths, and what they may and must have by their protocols.

use super::checks::{is_empty, quoted};
use super::text::{header_name as any_header_name, percent_encoding};
use super::{CheckCx, Field, Literal, Rule, Subschema, Type, Violations};
use crate::body::Object;
use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value;

/// The longest regex in bytes. This and the next two are a little tighter than the data plane's own bounds, so that no
/// data plane has to refuse what was taken here.
const PATTERN_BYTES_MAX: usize = 8000;
/// The most bytes a compiled regex may take.
const PROGRAM_BYTES_MAX: usize = 128 * 1024;
/// The deepest nesting of groups and repetitions.
const NEST_MAX: u32 = 48;

/// Compiles the regex of a path (without its `~`) or of a header (without its `~*`). Classes such as `\d` are ASCII's. Not anchored here.
///
/// # Errors
/// Why it does not compile, or that it is too large.
pub fn path_regex(pattern: &str) -> Result<Regex, regex::Error> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(regex::Error::CompiledTooBig(PATTERN_BYTES_MAX));
    }
    RegexBuilder::new(pattern).unicode(false).size_limit(PROGRAM_BYTES_MAX).nest_limit(NEST_MAX).build()
}

/// A path of a route: a prefix in normal form, or a regex after `~`.
pub(crate) fn path(path: &str) -> Result<(), String> {
    if !path.starts_with('/') && !path.starts_with("~/") {
        return Err("should start with: / (fixed path) or ~/ (regex path)".to_owned());
    }
    if path.contains("//") {
        return Err("must not have empty segments".to_owned());
    }
    if let Some(pattern) = path.strip_prefix('~') {
        return path_regex(pattern)
            .map(|_| ())
            .map_err(|error| format!("invalid regex: '{pattern}' ({})", reason(&error)));
    }
    percent_encoding(path)?;
    let normal = normalize(path);
    if normal == path { Ok(()) } else { Err(format!("non-normalized path, consider use '{normal}' instead")) }
}

/// The last line of a regex error; the others draw a picture of it.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// Kong's normal form of a path: only reserved characters stay percent-encoded, in capitals; `.` and `..` are resolved.
pub(crate) fn normalize(path: &str) -> String {
    let decoded = decode_unreserved(path);
    if !decoded.contains('.') {
        return decoded;
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in decoded.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    let mut normal: String = segments.iter().flat_map(|segment| ["/", segment]).collect();
    if normal.is_empty() || ["/.", "/.."].iter().any(|end| decoded.ends_with(end)) {
        normal.push('/');
    }
    normal
}

/// Decodes `%xx` unless it stands for a reserved character (RFC 3986 §2.2) or `%`.
fn decode_unreserved(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (byte, code.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(decoded)) => {
                if b"!*'();:@&=+$,/?%#[]".contains(&decoded) {
                    bytes.extend(format!("%{decoded:02X}").into_bytes());
                } else {
                    bytes.push(decoded);
                }
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The name of a header that a route asks for.
pub(crate) fn header_name(name: &str) -> Result<(), String> {
    if name.eq_ignore_ascii_case("host") {
        return Err("cannot contain 'host' header, which must be specified in the 'hosts' attribute".to_owned());
    }
    any_header_name(name)
}

/// A header's single value after `~*` is a regex, matched in either case.
pub(crate) fn header_regexes(_: &CheckCx<'_>, route: &Object, found: &mut Violations) {
    for values in route.get("headers").and_then(Value::as_object).into_iter().flat_map(Object::values) {
        if let Some([Value::String(value)]) = values.as_array().map(Vec::as_slice)
            && let Some(pattern) = value.strip_prefix("~*")
            && let Err(error) = path_regex(pattern)
        {
            found.add("headers", format!("invalid regex: '{pattern}' ({})", reason(&error)));
        }
    }
}

const GRPC: Subschema = Subschema {
    config: None,
    fields: &[
        Field::new("strip_path", Type::Boolean)
            .required()
            .default(Literal::Bool(false))
            .rules(&[Rule::NotTrue("cannot set 'strip_path' when 'protocols' is 'grpc' or 'grpcs'")]),
        none("methods", &[Rule::Null("cannot set 'methods' when 'protocols' is 'grpc' or 'grpcs'")]),
    ],
};

const STREAM: Subschema = Subschema {
    config: None,
    fields: &[
        none(
            "methods",
            &[Rule::Null("cannot set 'methods' when 'protocols' is 'tcp', 'tls', 'tls_passthrough' or 'udp'")],
        ),
        none("hosts", &[Rule::Null("cannot set 'hosts' when 'protocols' is 'tcp', 'tls', 'tls_passthrough' or 'udp'")]),
        none("paths", &[Rule::Null("cannot set 'paths' when 'protocols' is 'tcp', 'tls', 'tls_passthrough' or 'udp'")]),
        none(
            "headers",
            &[Rule::Null("cannot set 'headers' when 'protocols' is 'tcp', 'tls', 'tls_passthrough' or 'udp'")],
        ),
    ],
};

/// A field that must not be set.
const fn none(name: &'static str, rules: &'static [Rule]) -> Field {
    Field::string(name).rules(rules)
}

/// What a route may have, by the first of its protocols.
pub(crate) fn subschema(route: &Object) -> Result<Subschema, Violations> {
    let first = route.get("protocols").and_then(|protocols| protocols.get(0)).and_then(Value::as_str);
    Ok(match first {
        Some("grpc" | "grpcs") => GRPC,
        Some("tcp" | "tls" | "udp" | "tls_passthrough") => STREAM,
        _ => Subschema::default(),
    })
}

/// Protocols that may stand together in one route; those of two of these sets may not (Kong).
const TOGETHER: &[&[&str]] = &[&["http", "https"], &["tcp", "tls", "udp"], &["tls_passthrough"], &["grpc", "grpcs"]];

/// A route's protocols are of one sort: what one sort may match on means nothing to another.
pub(crate) fn one_sort(_: &CheckCx<'_>, route: &Object, found: &mut Violations) {
    let protocols = route.get("protocols").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    // In the order in which the route names them, as Kong says them.
    let mut sorts: Vec<&[&str]> = Vec::new();
    for protocol in protocols {
        let sort = TOGETHER.iter().find(|sort| sort.contains(&protocol));
        sorts.extend(sort.filter(|sort| !sorts.contains(*sort)));
    }
    if sorts.len() > 1 {
        let named: Vec<_> = sorts.into_iter().map(|sort| format!("({})", quoted(sort))).collect();
        found.add("protocols", format!("these sets are mutually exclusive: {}", named.join(", ")));
    }
}

/// A route must say which requests it means, in terms that its protocols have.
pub(crate) fn says_which(_: &CheckCx<'_>, route: &Object, found: &mut Violations) {
    let protocols: Vec<&str> =
        route.get("protocols").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let has = |protocol| protocols.contains(&protocol);
    let all = |words: &[&str]| protocols.iter().all(|protocol| words.contains(protocol));
    let (fields, when): (&[&str], &str) = match protocols.first() {
        Some(&("http" | "https")) if has("https") => (&["methods", "hosts", "headers", "paths", "snis"], "'https'"),
        Some(&("http" | "https")) => (&["methods", "hosts", "headers", "paths"], "'http'"),
        Some(&("grpc" | "grpcs")) if has("grpcs") => (&["hosts", "headers", "paths", "snis"], "'grpcs'"),
        Some(&("grpc" | "grpcs")) => (&["hosts", "headers", "paths"], "'grpc'"),
        Some(_) if all(&["tcp", "tls", "udp"]) => (&["sources", "destinations", "snis"], "'tcp', 'tls' or 'udp'"),
        Some(_) if all(&["tls_passthrough"]) => (&["snis"], "'tls_passthrough'"),
        _ => return,
    };
    if fields.iter().all(|field| is_empty(route.get(*field)) && !found.has(field)) {
        let what = if fields.len() == 1 { "snis".to_owned() } else { format!("one of {}", quoted(fields)) };
        found.add_entity(format!("must set {what} when 'protocols' is {when}"));
    }
}
