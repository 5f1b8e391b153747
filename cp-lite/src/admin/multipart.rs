//! Bodies of `multipart/form-data` (RFC 7578), as curl's `-F` sends them: names and texts.

use super::form::FIELDS_MAX;
use super::problem::Problem;

/// The longest boundary (RFC 2046 section 5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;

/// The parts of a body that have a name, in order.
pub(super) fn read(content_type: &str, body: &[u8]) -> Result<Vec<(String, String)>, Problem> {
    let bad = |text: &str| Problem::BadBody(format!("Cannot parse multipart body: {text}"));
    let boundary = boundary(content_type).ok_or_else(|| bad("no boundary"))?;
    let delimiter = format!("--{boundary}");
    let mut rest = split(body, delimiter.as_bytes()).ok_or_else(|| bad("the boundary does not occur"))?.1;
    let delimiter = format!("\r\n{delimiter}");
    let mut fields = Vec::new();
    while !rest.starts_with(b"--") {
        if fields.len() >= FIELDS_MAX {
            return Err(bad("too many parts"));
        }
        let (part, after) = split(rest, delimiter.as_bytes()).ok_or_else(|| bad("a part without an end"))?;
        fields.extend(field(part).ok_or_else(|| bad("a part that is no form field"))?);
        rest = after;
    }
    Ok(fields)
}

/// The name and value of a part that starts at the end of its boundary line; `Some(None)` for one without a name.
fn field(part: &[u8]) -> Option<Option<(String, String)>> {
    let (headers, value) = split(part, b"\r\n\r\n")?;
    let headers = std::str::from_utf8(headers).ok()?;
    let value = std::str::from_utf8(value).ok()?;
    let name = headers.split("\r\n").find_map(|line| {
        let (header, parameters) = line.split_once(':')?;
        header.trim().eq_ignore_ascii_case("content-disposition").then(|| parameter(parameters, "name")).flatten()
    });
    Some(name.map(|name| (name.to_owned(), value.to_owned())))
}

fn boundary(content_type: &str) -> Option<&str> {
    parameter(content_type, "boundary").filter(|boundary| !boundary.is_empty() && boundary.len() <= BOUNDARY_BYTES_MAX)
}

/// The value of a parameter of a header, quoted or not.
fn parameter<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header.split(';').skip(1).find_map(|parameter| {
        let (found, value) = parameter.split_once('=')?;
        found.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

/// What is before and after the first occurrence of `separator`.
fn split<'a>(bytes: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(separator.len()).position(|window| window == separator)?;
    Some((bytes.get(..at)?, bytes.get(at + separator.len()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=\"xyz\"";

    #[test]
    fn reads_names_and_values() {
        let body = b"preamble\r\n--xyz\r\nContent-Disposition: form-data; name=\"host\"\r\n\r\na.example\r\n--xyz\r\n\
            content-type: text/plain\r\ncontent-disposition: form-data; filename=f; name=paths[]\r\n\r\n/a\r\n/b\r\n--xyz--\r\n";
        let fields = read(TYPE, body).unwrap();
        assert_eq!(fields, [("host".into(), "a.example".into()), ("paths[]".into(), "/a\r\n/b".into())]);
    }

    #[test]
    fn refuses_what_is_cut_off_or_has_no_boundary() {
        for body in [&b""[..], b"--xyz", b"--xyz\r\nno end", b"--xyz\r\nContent-Disposition: form-data\r\n--xyz--"] {
            assert!(read(TYPE, body).is_err(), "{}", String::from_utf8_lossy(body));
        }
        assert!(read("multipart/form-data", b"--xyz--").is_err());
    }
}
