//! A cursor over bytes that may not all be there yet. Varints are LEB128 in their shortest form, as postcard's.

use model::Id;

/// Why a value could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Short {
    /// The bytes end here; with more of them it may be read.
    More,
    /// No bytes that follow could make it right.
    Malformed,
}

/// The unread rest of a slice.
pub(crate) struct Reader<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Short> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(Short::More)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Short::More)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Short> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Eight bytes, least significant first.
    pub(crate) fn fixed(&mut self) -> Result<u64, Short> {
        self.array().map(u64::from_le_bytes)
    }

    /// Sixteen bytes, most significant first.
    pub(crate) fn id(&mut self) -> Result<Id, Short> {
        self.array().map(Id::from_bytes)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Short> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if (shift == 63 && bits > 1) || (shift > 0 && byte == 0) {
                return Err(Short::Malformed);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Short::Malformed)
    }
}

/// Appends a varint.
pub(crate) fn push_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_those_of_postcard() {
        for value in [0, 1, 127, 128, 300, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut bytes = Vec::new();
            push_varint(value, &mut bytes);
            assert_eq!(bytes, postcard::to_allocvec(&value).unwrap());
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.varint(), Ok(value));
            assert!(reader.rest.is_empty());
            assert_eq!(Reader::new(&bytes[..bytes.len() - 1]).varint(), Err(Short::More));
        }
        assert_eq!(Reader::new(&[0x80, 0]).varint(), Err(Short::Malformed));
        assert_eq!(Reader::new(&[0xff; 10]).varint(), Err(Short::Malformed));
    }
}
