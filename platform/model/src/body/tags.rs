//! Tags, in one piece, as they are in the body. Whoever loads tens of thousands of entities looks at none of their tags,
//! and as a list of texts they took half of the time of a data plane's start.

use super::{BodyError, Part, Reader};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The tags of an entity, if it has any list of them: a list of texts in JSON and in the body, both optional.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Tags {
    /// The list as [`Part`] writes one; verified when it was read.
    list: Option<Box<[u8]>>,
}

impl Tags {
    /// The tags in the order of the list.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let mut input = Reader::of(self.list.as_deref().unwrap_or_default());
        let count = input.varint().unwrap_or_default();
        (0..count).map_while(move |_| input.text().ok())
    }

    /// The tags in ascending order.
    #[must_use]
    pub fn sorted(&self) -> Vec<String> {
        let mut tags: Vec<String> = self.iter().map(str::to_owned).collect();
        tags.sort_unstable();
        tags
    }
}

impl std::fmt::Debug for Tags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl From<Option<Vec<String>>> for Tags {
    fn from(tags: Option<Vec<String>>) -> Self {
        let bytes = |tags: Vec<String>| {
            let mut bytes = Vec::new();
            tags.write(&mut bytes);
            bytes.into()
        };
        Self { list: tags.map(bytes) }
    }
}

impl Serialize for Tags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.list {
            Some(_) => serializer.collect_seq(self.iter()),
            None => serializer.serialize_none(),
        }
    }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<Vec<String>>::deserialize(deserializer).map(Self::from)
    }
}

/// The same bytes as an optional list of texts.
impl Part for Tags {
    fn write(&self, out: &mut Vec<u8>) {
        self.list.is_some().write(out);
        out.extend_from_slice(self.list.as_deref().unwrap_or_default());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, BodyError> {
        if !bool::read(input)? {
            return Ok(Self::default());
        }
        let (from, count) = (input.bytes, input.varint()?);
        let mut texts = Reader::of(input.bytes);
        let mut all_short = true;
        for _ in 0..count {
            match input.bytes {
                [len @ 0..=0x7f, rest @ ..] if rest.len() >= usize::from(*len) => {
                    input.bytes = rest.get(usize::from(*len)..).unwrap_or_default();
                }
                _ => {
                    all_short = false;
                    input.sized()?;
                }
            }
        }
        let list = from.get(..from.len() - input.bytes.len()).unwrap_or_default();
        // Where every text is short the lengths are ASCII, which is no part of any other character: one look at all of
        // it instead of one at each.
        if !all_short || std::str::from_utf8(list).is_err() {
            (0..count).try_for_each(|_| texts.text().map(drop))?;
        }
        Ok(Self { list: input.keeps_tags.then(|| list.into()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What [`Tags`] took the place of.
    type List = Option<Vec<String>>;

    fn list(tags: &Tags) -> List {
        tags.list.is_some().then(|| tags.iter().map(str::to_owned).collect())
    }

    #[test]
    fn half_a_character_is_none_though_a_length_would_be_its_other_half() {
        // One byte 0xc3, and then 129 letters, whose length begins with 0x81: together they are an A with an accent.
        let halves = [&[1, 2, 1, 0xc3, 0x81, 0x01][..], &[b'a'; 129]].concat();
        assert_eq!(Tags::read(&mut Reader::of(&halves)), Err(BodyError::NotUtf8));
        let whole = [&[1, 2, 2, 0xc3, 0x81, 0x81, 0x01][..], &[b'a'; 129]].concat();
        assert_eq!(Tags::read(&mut Reader::of(&whole)).unwrap().iter().count(), 2);
    }

    proptest! {
        #[test]
        fn tags_are_an_optional_list_of_texts_in_body_and_json(texts: List) {
            let tags = Tags::from(texts.clone());
            let (mut bytes, mut of_list) = (Vec::new(), Vec::new());
            tags.write(&mut bytes);
            texts.write(&mut of_list);
            prop_assert_eq!(&bytes, &of_list);
            prop_assert_eq!(list(&Tags::read(&mut Reader::new(&bytes).unwrap()).unwrap()), texts.clone());
            let json = serde_json::to_value(&texts).unwrap();
            prop_assert_eq!(serde_json::to_value(&tags).unwrap(), json.clone());
            prop_assert_eq!(serde_json::from_value::<Tags>(json).unwrap(), tags);
        }

        #[test]
        fn what_is_no_list_of_texts_is_no_list_of_tags(bytes: Vec<u8>) {
            let (mut input, mut same) = (Reader::new(&bytes).unwrap(), Reader::new(&bytes).unwrap());
            let tags = Tags::read(&mut input).map(|tags| list(&tags)).ok();
            prop_assert_eq!(&tags, &List::read(&mut same).ok());
            prop_assert!(tags.is_none() || input.bytes.len() == same.bytes.len());
            let mut untagged = Reader::without_tags(&bytes).unwrap();
            let checked = Tags::read(&mut untagged);
            let read = Tags::read(&mut Reader::of(&bytes));
            prop_assert_eq!(checked, read.map(|_| Tags::default()));
            prop_assert_eq!(untagged.bytes, input.bytes);
        }
    }
}
