//! A page of sled's tree: a leaf with some records, or an index of other pages, and the changes to a leaf since.

use std::collections::BTreeMap;

use super::log::varint;

/// A page as it was written whole.
#[derive(Debug)]
pub(super) struct Node<'a> {
    /// The smallest key that belongs into it, and the smallest that does not; empty for no bound.
    pub(super) low: &'a [u8],
    pub(super) high: &'a [u8],
    /// What all its keys begin with, and the entries leave out.
    prefix: &'a [u8],
    /// Keys and values, in order; none in an index.
    entries: Option<Vec<(&'a [u8], &'a [u8])>>,
}

/// A change to a page.
#[derive(Debug)]
pub(super) enum Link<'a> {
    /// An entry is new or different.
    Set(&'a [u8], &'a [u8]),
    /// An entry is gone.
    Delete(&'a [u8]),
    /// The page is about to be merged with another, which sled finishes at once.
    Merging,
}

impl<'a> Node<'a> {
    /// Reads a page; `None` if it makes no sense.
    pub(super) fn parse(mut rest: &'a [u8]) -> Option<Node<'a>> {
        // The next page, and one that is being merged into this one.
        varint(&mut rest)?;
        varint(&mut rest)?;
        let ([_merging, prefix_len], after) = rest.split_first_chunk::<2>()?;
        rest = after;
        let (low, high) = (bytes(&mut rest)?, bytes(&mut rest)?);
        let prefix = low.get(..usize::from(*prefix_len))?;
        let (kind, after) = rest.split_first()?;
        rest = after;
        let count = usize::try_from(varint(&mut rest)?).ok().filter(|count| *count <= rest.len())?;
        let keys: Option<Vec<&[u8]>> = (0..count).map(|_| bytes(&mut rest)).collect();
        let keys = keys?;
        let entries = match kind {
            0 => {
                let entries: Option<Vec<_>> = keys.into_iter().map(|key| Some((key, bytes(&mut rest)?))).collect();
                Some(entries?)
            }
            1 => {
                keys.iter().try_for_each(|_| varint(&mut rest).map(drop))?;
                None
            }
            _ => return None,
        };
        rest.is_empty().then_some(Node { low, high, prefix, entries })
    }

    /// Whether it has records.
    pub(super) fn is_leaf(&self) -> bool {
        self.entries.is_some()
    }

    /// The whole keys and the values, with the changes made; `None` if one of them makes no sense.
    pub(super) fn with(&self, links: &'a [Vec<u8>]) -> Option<BTreeMap<Vec<u8>, &'a [u8]>> {
        let whole = |key: &[u8]| [self.prefix, key].concat();
        let entries = self.entries.iter().flatten();
        let mut all: BTreeMap<Vec<u8>, &[u8]> = entries.map(|(key, value)| (whole(key), *value)).collect();
        for link in links {
            match Link::parse(link)? {
                Link::Set(key, value) => drop(all.insert(whole(key), value)),
                Link::Delete(key) => drop(all.remove(&whole(key))),
                Link::Merging => return None,
            }
        }
        Some(all)
    }
}

impl<'a> Link<'a> {
    fn parse(bytes_of: &'a [u8]) -> Option<Link<'a>> {
        let (kind, mut rest) = bytes_of.split_first()?;
        let link = match kind {
            0 => Link::Set(bytes(&mut rest)?, bytes(&mut rest)?),
            1 => Link::Delete(bytes(&mut rest)?),
            2 => {
                varint(&mut rest)?;
                Link::Merging
            }
            3 | 4 => Link::Merging,
            _ => return None,
        };
        rest.is_empty().then_some(link)
    }
}

/// Bytes with their length before them.
fn bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(varint(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(bytes)
}
