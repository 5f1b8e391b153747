//! Just enough DER to know whose certificate it is and how long it lasts. A full parser is 100 KiB of code that the
//! data plane does not need; whoever shows certificates has `inspect`.
//!
//! The bytes are a peer's: nothing here indexes or loops beyond what is left of the input.

use crate::Validity;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const EXPLICIT_VERSION: u8 = 0xa0;
/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

/// What a certificate says of itself. Nothing of it is verified.
pub(crate) struct Facts {
    pub(crate) validity: Validity,
    pub(crate) common_name: Option<String>,
}

/// Reads a certificate as far as its subject (RFC 5280 §4.1).
pub(crate) fn facts(certificate: &[u8]) -> Option<Facts> {
    let mut outer = Reader(certificate);
    let mut certificate = Reader(outer.expect(SEQUENCE)?);
    let mut fields = Reader(certificate.expect(SEQUENCE)?);
    if fields.peek() == Some(EXPLICIT_VERSION) {
        fields.any()?;
    }
    fields.expect(INTEGER)?;
    fields.expect(SEQUENCE)?; // signature algorithm
    fields.expect(SEQUENCE)?; // issuer
    let mut validity = Reader(fields.expect(SEQUENCE)?);
    let validity = Validity { not_before: time(&mut validity)?, not_after: time(&mut validity)? };
    let subject = fields.expect(SEQUENCE)?;
    Some(Facts { validity, common_name: common_name(subject) })
}

/// The first common name among a name's attributes.
fn common_name(name: &[u8]) -> Option<String> {
    let mut sets = Reader(name);
    while let Some(set) = sets.expect(SET) {
        let mut attributes = Reader(set);
        while let Some(attribute) = attributes.expect(SEQUENCE) {
            let mut attribute = Reader(attribute);
            if attribute.expect(OBJECT_IDENTIFIER)? == COMMON_NAME {
                let (_, value) = attribute.any()?;
                return Some(String::from_utf8_lossy(value).into_owned());
            }
        }
    }
    None
}

/// Seconds since the Unix epoch. Certificates know only `YYMMDDHHMMSSZ` and `YYYYMMDDHHMMSSZ`.
fn time(from: &mut Reader<'_>) -> Option<i64> {
    let (tag, text) = from.any()?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        UTC_TIME => {
            let short: i64 = number(text.get(..2)?)?;
            (if short < 50 { 2000 + short } else { 1900 + short }, text.get(2..)?)
        }
        GENERALIZED_TIME => (number(text.get(..4)?)?, text.get(4..)?),
        _ => return None,
    };
    if rest.len() != 10 {
        return None;
    }
    let part = |at: usize, max: i64| number(rest.get(at..at + 2)?).filter(|n| *n <= max);
    let (month, day) = (part(0, 12).filter(|n| *n > 0)?, part(2, 31).filter(|n| *n > 0)?);
    let (hour, minute, second) = (part(4, 23)?, part(6, 59)?, part(8, 60)?);
    Some(days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

fn number(digits: &str) -> Option<i64> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar. Years are counted from March, so that the leap day is
/// a year's last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days_before_month = (153 * month + 2) / 5;
    year * 365 + leap_days + days_before_month + day - 1 - 719_468
}

/// What is left of a run of DER values.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next value's content, if its tag is this one.
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.peek() != Some(tag) {
            return None;
        }
        self.any().map(|(_, content)| content)
    }

    fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Material;
    use crate::issue;

    #[test]
    fn days_match_the_calendar() {
        assert_eq!(days_since_1970(1970, 1, 1), 0);
        assert_eq!(days_since_1970(2000, 2, 29), 11_016);
        assert_eq!(days_since_1970(2000, 3, 1), 11_017);
        assert_eq!(days_since_1970(2100, 3, 1) - days_since_1970(2100, 2, 28), 1);
        assert_eq!(days_since_1970(1969, 12, 31), -1);
    }

    #[test]
    fn both_forms_of_time_are_read_and_nothing_else() {
        let read = |tag: u8, text: &str| {
            let mut bytes = vec![tag, text.len() as u8];
            bytes.extend_from_slice(text.as_bytes());
            time(&mut Reader(&bytes))
        };
        assert_eq!(read(UTC_TIME, "700101000001Z"), Some(1));
        assert_eq!(read(UTC_TIME, "491231235959Z"), Some(2_524_607_999));
        assert_eq!(read(GENERALIZED_TIME, "20500101000000Z"), Some(2_524_608_000));
        assert_eq!(read(GENERALIZED_TIME, "20501301000000Z"), None);
        assert_eq!(read(UTC_TIME, "7001010000Z"), None);
        assert_eq!(read(UTC_TIME, "70010100000-Z"), None);
        assert_eq!(read(INTEGER, "700101000001Z"), None);
    }

    #[test]
    fn no_cut_and_no_flipped_byte_of_a_certificate_makes_it_panic() {
        let pair = issue::gen_cert(10, 1_700_000_000).unwrap();
        let der = Material::text("x", &pair.cert_pem).certificates().unwrap().remove(0);
        assert!(facts(&der).is_some());
        for cut in 0..der.len() {
            facts(&der[..cut]);
        }
        for at in 0..der.len() {
            for value in [0x00, 0x30, 0x7f, 0x80, 0x84, 0xff] {
                let mut broken = der.to_vec();
                broken[at] = value;
                facts(&broken);
            }
        }
    }
}
