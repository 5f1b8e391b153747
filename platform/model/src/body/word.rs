//! Fields with a closed list of words, such as `protocol`: an enum in Rust, the word in JSON, its place in the list
//! (one byte) in the body. New words are appended.

/// Declares such enums, and the lists of their words for the schema's `one_of`.
macro_rules! words {
    ($(
        $(#[$meta:meta])*
        pub enum $name:ident { $( $(#[$word_meta:meta])* $variant:ident = $word:literal, )* }
    )*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $( $(#[$word_meta])* #[serde(rename = $word)] $variant, )*
        }

        impl $name {
            /// All words, in Kong's order of showing them.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word, )* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::body::Part for $name {
            fn write(&self, out: &mut Vec<u8>) {
                out.push(*self as u8);
            }

            fn read(input: &mut $crate::body::Reader<'_>) -> Result<Self, $crate::body::BodyError> {
                let index = input.varint()?;
                usize::try_from(index)
                    .ok()
                    .and_then(|index| Self::ALL.get(index).copied())
                    .ok_or($crate::body::BodyError::UnknownWord(index))
            }
        }

        impl $crate::body::Element for $name {}

        #[cfg(test)]
        impl $crate::body::shape::Shape for $name {
            fn shape(shapes: &mut $crate::body::shape::Shapes) -> String {
                shapes.words.insert(stringify!($name), Self::WORDS);
                stringify!($name).to_owned()
            }
        }
    )*};
}
pub(crate) use words;
