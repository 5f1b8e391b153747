//! What bodies look like, out of the types that write and read them, in the words of `BODIES.md`: so that the document
//! can be held against the code (`crate::kinds::document`). Tests only.

use super::{Element, ForeignKey, Number, Object, Part, Tags};
use crate::Id;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Everything that a name of `BODIES.md` stands for.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    /// The fields of each record, in order.
    pub(crate) records: BTreeMap<&'static str, Vec<FieldShape>>,
    /// The words of each list, in order of their codes.
    pub(crate) words: BTreeMap<&'static str, &'static [&'static str]>,
}

/// A line of a table of fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldShape {
    /// Its name in JSON.
    pub(crate) name: String,
    /// How it is encoded.
    pub(crate) encoding: String,
    /// What it is where the body ends before it, as JSON.
    pub(crate) absent: Value,
}

/// A type that a body is made of.
pub(crate) trait Shape: Part {
    /// Its name in the document; what the name stands for is added to `shapes`.
    fn shape(shapes: &mut Shapes) -> String;
}

/// The lines of a record whose fields have these encodings: names and defaults are those of its JSON.
pub(crate) fn lines<T: Default + Serialize>(encodings: Vec<String>) -> Vec<FieldShape> {
    let Ok(Value::Object(defaults)) = serde_json::to_value(T::default()) else { panic!("a record is an object") };
    assert_eq!(defaults.len(), encodings.len(), "a field that JSON does not show");
    let line = |((name, absent), encoding)| FieldShape { name, encoding, absent };
    defaults.into_iter().zip(encodings).map(line).collect()
}

macro_rules! shapes {
    ($($ty:ty = $name:literal,)*) => {$(
        impl Shape for $ty {
            fn shape(_: &mut Shapes) -> String {
                $name.to_owned()
            }
        }
    )*};
}
shapes! {
    bool = "bool",
    u16 = "u16",
    u32 = "u32",
    u64 = "u64",
    i64 = "int",
    Id = "id",
    ForeignKey = "id",
    Number = "number",
    String = "text",
    Object = "json",
    Tags = "option list of text",
    BTreeMap<String, Vec<String>> = "map",
}

impl<T: Shape> Shape for Option<T> {
    fn shape(shapes: &mut Shapes) -> String {
        format!("option {}", T::shape(shapes))
    }
}

impl<T: Shape + Element> Shape for Vec<T> {
    fn shape(shapes: &mut Shapes) -> String {
        format!("list of {}", T::shape(shapes))
    }
}
