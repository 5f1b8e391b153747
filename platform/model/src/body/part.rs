//! The postcard values that fields are made of: LEB128 varints, zigzag for signed numbers, lengths before texts and
//! lists. Written out rather than derived, so that no length in foreign bytes is ever believed before the bytes are
//! there, and so that the data plane carries no second set of derived decoders.

use super::{BodyError, ForeignKey, Object};
use crate::Id;
use crate::record::BODY_BYTES_MAX;
use std::collections::BTreeMap;

/// The most bytes a varint of 64 bits takes.
const VARINT_BYTES_MAX: usize = 10;

/// A value in a body.
pub trait Part: Sized {
    /// Appends the value.
    fn write(&self, out: &mut Vec<u8>);

    /// Takes the value from the front of the input. Allocates in proportion to the bytes it takes.
    ///
    /// # Errors
    /// When the input does not hold such a value.
    fn read(input: &mut Reader<'_>) -> Result<Self, BodyError>;
}

/// The unread rest of a body.
#[derive(Debug)]
pub struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    /// Whether tags become part of what is read, or are only checked.
    pub(super) keeps_tags: bool,
}

impl<'a> Reader<'a> {
    /// Reads from the start of a body.
    ///
    /// # Errors
    /// When the body is larger than an entity may be.
    pub fn new(bytes: &'a [u8]) -> Result<Self, BodyError> {
        if bytes.len() > BODY_BYTES_MAX { Err(BodyError::TooLarge(bytes.len())) } else { Ok(Self::of(bytes)) }
    }

    /// The same for who looks at no tags: they are checked as ever, and left out.
    ///
    /// # Errors
    /// When the body is larger than an entity may be.
    pub fn without_tags(bytes: &'a [u8]) -> Result<Self, BodyError> {
        Ok(Self { keeps_tags: false, ..Self::new(bytes)? })
    }

    /// Reads bytes that are part of a body.
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, keeps_tags: true }
    }

    /// Whether everything was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.bytes)
    }

    /// Takes `count` bytes.
    fn take(&mut self, count: usize) -> Result<&'a [u8], BodyError> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(BodyError::Truncated)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, BodyError> {
        let (&byte, rest) = self.bytes.split_first().ok_or(BodyError::Truncated)?;
        self.bytes = rest;
        Ok(byte)
    }

    /// Takes a varint.
    ///
    /// # Errors
    /// When the input ends in it or it has more than 64 bits.
    pub fn varint(&mut self) -> Result<u64, BodyError> {
        // Nearly all are lengths of less.
        if let [byte @ 0..=0x7f, rest @ ..] = self.bytes {
            self.bytes = rest;
            return Ok(u64::from(*byte));
        }
        let mut value = 0u64;
        for index in 0..VARINT_BYTES_MAX {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if index == VARINT_BYTES_MAX - 1 && bits > 1 {
                return Err(BodyError::NumberRange);
            }
            value |= bits << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(BodyError::NumberRange)
    }

    /// Takes a length and that many bytes.
    pub(super) fn sized(&mut self) -> Result<&'a [u8], BodyError> {
        let count = usize::try_from(self.varint()?).map_err(|_| BodyError::Truncated)?;
        self.take(count)
    }

    /// Takes a text.
    pub(super) fn text(&mut self) -> Result<&'a str, BodyError> {
        std::str::from_utf8(self.sized()?).map_err(|_| BodyError::NotUtf8)
    }

    /// Takes a nested record: a length, then its fields.
    ///
    /// # Errors
    /// When the input is shorter than the length says.
    pub fn part(&mut self) -> Result<Reader<'a>, BodyError> {
        Ok(Reader { bytes: self.sized()?, keeps_tags: self.keeps_tags })
    }
}

/// Appends a varint.
pub(super) fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a length and the bytes.
fn write_sized(bytes: &[u8], out: &mut Vec<u8>) {
    write_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

impl Part for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, BodyError> {
        match input.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(BodyError::UnknownWord(u64::from(other))),
        }
    }
}

macro_rules! unsigned {
    ($($ty:ty),*) => {$(
        impl Part for $ty {
            fn write(&self, out: &mut Vec<u8>) {
                write_varint(u64::from(*self), out);
            }

            fn read(input: &mut Reader<'_>) -> Result<Self, BodyError> {
                Self::try_from(input.varint()?).map_err(|_| BodyError::NumberRange)
            }
        }
    )*};
}
unsigned!(u16, u32, u64);

impl Part for i64 {
    fn write(&self, out: &mut Vec<u8>) {
        write_varint(((self << 1) ^ (self >> 63)).cast_unsigned(), out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, BodyError> {
        let zigzag = input.varint()?;
        Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }
}

impl Part for f64 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, BodyError> {
        let bytes = input.take(8)?;
        <[u8; 8]>::try_from(bytes).map(Self::from_le_bytes).map_err(|_| BodyError::Truncated)
    }
}

impl Part for Id {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, BodyError> {
        let bytes = input.take(16)?;
        <[u8; 16]>::try_from(bytes).map(Self::from_bytes).map_err(|_| BodyError::Truncated)
    }
}

impl Part for ForeignKey {
    fn write(&self, out: &mut Vec<u8>) {
        self.id.write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, BodyError> {
        Id::read(input).map(|id| Self { id })
    }
}

impl Part for String {
    fn write(&self, out: &mut Vec<u8>) {
        write_sized(self.as_bytes(), out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, BodyError> {
        Ok(input.text()?.to_owned())
    }
}

/// Bytes, as opposed to the lists below: a length and the bytes.
impl Part for Vec<u8> {
    fn write(&self, out: &mut Vec<u8>) {
        write_sized(self, out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, BodyError> {
        Ok(input.sized()?.to_vec())
    }
}

impl<T: Part> Part for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_some()));
        if let Some(value) = self {
            value.write(out);
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, BodyError> {
        if bool::read(input)? { T::read(input).map(Some) } else { Ok(None) }
    }
}

/// What a list may hold: everything but bytes, which have a form of their own. Each takes at least one byte, so the
/// input bounds the length of a list.
pub trait Element: Part {}

impl Element for String {}
impl Element for u16 {}
impl Element for Id {}

impl<T: Element> Part for Vec<T> {
    fn write(&self, out: &mut Vec<u8>) {
        write_varint(self.len() as u64, out);
        for element in self {
            element.write(out);
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, BodyError> {
        let count = input.varint()?;
        let mut list = Self::new();
        for _ in 0..count {
            list.push(T::read(input)?);
        }
        Ok(list)
    }
}

/// Texts to lists of texts, in order of the keys.
impl Part for BTreeMap<String, Vec<String>> {
    fn write(&self, out: &mut Vec<u8>) {
        write_varint(self.len() as u64, out);
        for (key, values) in self {
            key.write(out);
            values.write(out);
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, BodyError> {
        let count = input.varint()?;
        let mut map = Self::new();
        for _ in 0..count {
            let key = String::read(input)?;
            map.insert(key, Vec::read(input)?);
        }
        Ok(map)
    }
}

/// Free JSON: a length and the text.
impl Part for Object {
    fn write(&self, out: &mut Vec<u8>) {
        write_sized(&serde_json::to_vec(self).unwrap_or_default(), out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, BodyError> {
        let text = input.sized()?;
        if text.is_empty() {
            return Ok(Self::new());
        }
        serde_json::from_slice(text).map_err(|error| BodyError::Json(error.to_string()))
    }
}
