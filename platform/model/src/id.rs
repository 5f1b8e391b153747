//! Entity ids: UUIDs, as Kong's. Sixteen bytes, compared and ordered as one number, shown in the usual text form.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// The id of an entity, a node or an epoch. Ordered by its bytes, which is the order of Admin API lists. It aligns to
/// eight bytes, not to sixteen as the number in it: ids are in everything that is kept by the thousand.
#[repr(Rust, packed(8))]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Id(pub u128);

/// The text is not a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a valid UUID")]
pub struct NotAnId;

impl Id {
    /// A new random (version 4) id. The only place in this crate that asks for randomness.
    #[must_use]
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().as_u128())
    }

    /// The deterministic (version 5, SHA-1) id of `name` below `namespace`: what Kong gives to entities of a
    /// declarative file that bring none.
    #[must_use]
    pub fn derived(namespace: Self, name: &str) -> Self {
        let namespace = uuid::Uuid::from_u128(namespace.0);
        Self(uuid::Uuid::new_v5(&namespace, name.as_bytes()).as_u128())
    }

    /// The sixteen bytes, most significant first.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The id with these sixteen bytes, most significant first.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(bytes))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_u128(self.0).hyphenated().fmt(f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Id {
    type Err = NotAnId;

    /// Takes the hyphenated form only, in either case, as Kong does.
    fn from_str(text: &str) -> Result<Self, NotAnId> {
        if text.len() != 36 {
            return Err(NotAnId);
        }
        uuid::Uuid::try_parse(text).map(|uuid| Self(uuid.as_u128())).map_err(|_| NotAnId)
    }
}

/// Text in JSON, sixteen bytes in postcard.
impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.to_bytes().serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            <[u8; 16]>::deserialize(deserializer).map(Self::from_bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_and_parses_the_usual_text_form() {
        let text = "0dc6f45b-8f8d-40d2-a504-473544ee190b";
        let id: Id = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(text.to_uppercase().parse::<Id>(), Ok(id));
        assert_eq!(text.replace('-', "").parse::<Id>(), Err(NotAnId));
    }

    #[test]
    fn is_text_in_json_and_sixteen_bytes_in_postcard() {
        let id = Id(7);
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"00000000-0000-0000-0000-000000000007\"");
        let bytes = postcard::to_allocvec(&id).unwrap();
        assert_eq!(bytes.len(), 16);
        assert_eq!(postcard::from_bytes::<Id>(&bytes).unwrap(), id);
    }
}
