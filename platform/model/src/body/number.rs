//! Kong's `number`: shown as an integer when it is one. In the body a discriminant, then a varint or eight bytes.

use super::{BodyError, Part, Reader};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number that need not be an integer, such as a timeout of 0.5 s. An integral value is always held as `Integer`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// An integer.
    Integer(i64),
    /// Anything else; finite.
    Real(f64),
}

/// Beyond this a 64-bit float does not hold every integer.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

impl Number {
    /// The number, in the one form that it has here.
    #[must_use]
    pub fn new(value: f64) -> Self {
        if value.fract() == 0.0 && value.abs() <= EXACT_MAX { Self::Integer(value as i64) } else { Self::Real(value) }
    }

    /// As a float.
    #[must_use]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Real(value) => value,
        }
    }
}

impl Default for Number {
    fn default() -> Self {
        Self::Integer(0)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Real(value) => serializer.serialize_f64(*value),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => Ok(Self::Integer(value)),
            (None, Some(value)) => Ok(Self::new(value)),
            (None, None) => Err(serde::de::Error::custom("not a finite number")),
        }
    }
}

impl Part for Number {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Integer(value) => {
                out.push(0);
                value.write(out);
            }
            Self::Real(value) => {
                out.push(1);
                value.write(out);
            }
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, BodyError> {
        match input.varint()? {
            0 => i64::read(input).map(Self::Integer),
            1 => match f64::read(input)? {
                value if value.is_finite() => Ok(Self::new(value)),
                _ => Err(BodyError::NumberRange),
            },
            other => Err(BodyError::UnknownWord(other)),
        }
    }
}
