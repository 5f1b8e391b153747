//! Bodies: an entity as bytes. One declaration with [`body!`] gives a typed struct, its JSON (through serde, Kong's field
//! names) and its postcard bytes. Neighbours: [`crate::kinds`] declares the structs, [`crate::record`] carries the bytes.
//!
//! The layout is append-only. A body is its fields in declared order, each its own postcard value; a nested record is
//! preceded by its length in bytes. Three rules let old and new programs read each other's bodies:
//!
//! - A body that ends early leaves the remaining fields at their defaults.
//! - Bytes after the last known field are kept (`tail`) and written back.
//! - Trailing fields that hold their defaults are not written, so that a field added in a later version changes the
//!   bytes (and the tag) of those entities only that use it.
//!
//! So a default, once released, may never change here, even if the schema's default does.

mod number;
mod part;
#[cfg(test)]
pub(crate) mod shape;
mod tags;
#[cfg(test)]
mod tests;
mod word;

pub use number::Number;
pub use part::{Element, Part, Reader};
pub use tags::Tags;
pub(crate) use word::words;

use crate::Id;
use serde::{Deserialize, Serialize};

/// Why bytes are not a body, or an entity does not become one. The first five say that the bytes are at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// More than [`crate::record::BODY_BYTES_MAX`].
    #[error("a body of {0} bytes is larger than an entity may be")]
    TooLarge(usize),
    /// The bytes end inside a field.
    #[error("the body ends inside a value")]
    Truncated,
    /// A number does not fit its field.
    #[error("a number in the body is out of range")]
    NumberRange,
    /// A text is not UTF-8.
    #[error("a text in the body is not UTF-8")]
    NotUtf8,
    /// A discriminant that this version does not know.
    #[error("the body holds the value {0}, unknown to this version")]
    UnknownWord(u64),
    /// Free JSON (a plugin's configuration) does not parse.
    #[error("the JSON in the body is invalid: {0}")]
    Json(String),
    /// The JSON handed in is not what the schema's check returns.
    #[error("not a canonical entity: {0}")]
    NotCanonical(String),
}

/// A reference to another entity: `{"id": "…"}` in JSON, sixteen bytes in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct ForeignKey {
    /// The entity it points to.
    pub id: Id,
}

/// A free JSON object, such as a plugin's configuration.
pub type Object = serde_json::Map<String, serde_json::Value>;

/// Declares structs with JSON and body codecs. `= value` gives what a body that ends before the field means by it
/// (without: `Default::default()`).
macro_rules! body {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* pub $field:ident : $ty:ty $(= $default:expr)?, )*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $ty, )*
            /// Fields that a newer version appended; kept and written back.
            #[serde(skip)]
            pub tail: Vec<u8>,
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $crate::body::body!(@default $($default)?), )* tail: Vec::new() }
            }
        }

        impl $name {
            /// The body bytes.
            ///
            /// # Errors
            /// When there are more than [`crate::record::BODY_BYTES_MAX`] of them.
            pub fn encode(&self) -> Result<Vec<u8>, $crate::body::BodyError> {
                let mut out = Vec::new();
                self.write_fields(&mut out);
                $crate::body::bounded(out)
            }

            /// Reads body bytes of this or of any other version.
            ///
            /// # Errors
            /// When the bytes are too many or do not hold the fields.
            pub fn decode(bytes: &[u8]) -> Result<Self, $crate::body::BodyError> {
                let mut input = $crate::body::Reader::new(bytes)?;
                Self::read_fields(&mut input)
            }

            fn write_fields(&self, out: &mut Vec<u8>) {
                let default = Self::default();
                let mut used = out.len();
                $(
                    $crate::body::Part::write(&self.$field, out);
                    if self.$field != default.$field {
                        used = out.len();
                    }
                )*
                if self.tail.is_empty() {
                    out.truncate(used);
                }
                out.extend_from_slice(&self.tail);
            }

            pub(crate) fn read_fields(input: &mut $crate::body::Reader<'_>) -> Result<Self, $crate::body::BodyError> {
                let mut record = Self::default();
                $(
                    if input.is_empty() {
                        return Ok(record);
                    }
                    record.$field = $crate::body::Part::read(input)?;
                )*
                record.tail = input.rest().to_vec();
                Ok(record)
            }
        }

        /// As part of another record: preceded by its length.
        impl $crate::body::Part for $name {
            fn write(&self, out: &mut Vec<u8>) {
                let mut fields = Vec::new();
                self.write_fields(&mut fields);
                $crate::body::Part::write(&fields, out);
            }

            fn read(input: &mut $crate::body::Reader<'_>) -> Result<Self, $crate::body::BodyError> {
                Self::read_fields(&mut input.part()?)
            }
        }

        #[cfg(test)]
        impl $crate::body::shape::Shape for $name {
            fn shape(shapes: &mut $crate::body::shape::Shapes) -> String {
                let encodings = vec![$( <$ty as $crate::body::shape::Shape>::shape(shapes), )*];
                shapes.records.insert(stringify!($name), $crate::body::shape::lines::<Self>(encodings));
                stringify!($name).to_owned()
            }
        }
    )*};
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
}
pub(crate) use body;

/// Refuses bodies that are larger than an entity may be.
pub(crate) fn bounded(bytes: Vec<u8>) -> Result<Vec<u8>, BodyError> {
    if bytes.len() > crate::record::BODY_BYTES_MAX { Err(BodyError::TooLarge(bytes.len())) } else { Ok(bytes) }
}

/// Canonical JSON to a typed entity.
pub(crate) fn typed<'a, T: Deserialize<'a>>(canonical: &'a Object) -> Result<T, BodyError> {
    T::deserialize(canonical).map_err(|error| BodyError::NotCanonical(error.to_string()))
}

/// A typed entity to canonical JSON.
pub(crate) fn json<T: Serialize>(entity: &T) -> Result<Object, BodyError> {
    match serde_json::to_value(entity) {
        Ok(serde_json::Value::Object(object)) => Ok(object),
        Ok(_) => Err(BodyError::NotCanonical("not an object".to_owned())),
        Err(error) => Err(BodyError::NotCanonical(error.to_string())),
    }
}
