//! Bytes that are mostly few: labels of the tree, hosts. Kept in place where they fit, so that a lookup follows one
//! pointer less and most need no allocation.

/// Most bytes that are kept in place: what the pointer, the length and their tag would take anyway, and eight more.
const INLINE_MAX: usize = 22;

/// Immutable bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Short {
    /// How many of the bytes count; the others are zero.
    Inline(u8, [u8; INLINE_MAX]),
    Heap(Box<[u8]>),
}

impl Short {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Inline(length, bytes) => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Self::Heap(bytes) => bytes,
        }
    }
}

impl Default for Short {
    fn default() -> Self {
        Self::Inline(0, [0; INLINE_MAX])
    }
}

impl From<&[u8]> for Short {
    fn from(given: &[u8]) -> Self {
        let mut bytes = [0; INLINE_MAX];
        match (bytes.get_mut(..given.len()), u8::try_from(given.len())) {
            (Some(room), Ok(length)) => {
                room.copy_from_slice(given);
                Self::Inline(length, bytes)
            }
            _ => Self::Heap(given.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_bytes_of_any_length_and_takes_three_words() {
        for length in 0..3 * INLINE_MAX {
            let given = vec![7; length];
            assert_eq!(Short::from(&*given).bytes(), given);
        }
        assert_eq!(size_of::<Short>(), 3 * size_of::<usize>());
    }
}
