//! Entities of a reconcile's step that come as what is to differ: as patches of a DELTA, but all of them together, in
//! columns, and without their tags. The control plane has restored the body that the node has, and known it by its hash; so
//! that the tag of what comes out of the patch is that of the new one, and the root bears witness to all of them.
//!
//! `varint count | names | count × varint to-version | count × varint length | hunks`, where names are as in PARITY_GET.

use crate::delta::Entity;
use crate::limits::{BODY_BYTES_MAX, MENDS_MAX};
use crate::parity::{push_names, read_names};
use crate::patch::{self, BaseDiffers, IdPrefix};
use crate::read::{Reader, Short, push_varint};
use model::{Id, Kind, Record};

/// An entity that is to be as a patch of what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mend {
    /// The kind's code.
    pub kind: u8,
    /// Which entity: the only one of its kind whose id begins so.
    pub prefix: IdPrefix,
    /// The commit that last changed it.
    pub version: u64,
    /// What [`patch::make`] made; well-formed.
    pub(crate) hunks: Box<[u8]>,
}

impl Mend {
    /// The entity with this id after the patch, given its body before it.
    ///
    /// # Errors
    /// The body is not the one that the patch was made for, as far as that shows.
    pub fn apply(&self, id: Id, base: &[u8]) -> Result<Entity, BaseDiffers> {
        let body = patch::apply(base, &self.hunks).map_err(|_| BaseDiffers)?;
        let kind = Kind::from_code(self.kind).ok_or(BaseDiffers)?;
        let tag = Record::tag_of(kind, id, &body);
        Ok(Entity { kind: self.kind, id, version: self.version, tag, body: body.into() })
    }
}

/// Writes the mends of a step to `version`.
pub(super) fn push(mends: &[Mend], version: u64, out: &mut Vec<u8>) {
    push_varint(mends.len() as u64, out);
    let names: Vec<_> = mends.iter().map(|mend| (mend.kind, mend.prefix)).collect();
    push_names(&names, out);
    mends.iter().for_each(|mend| push_varint(version.saturating_sub(mend.version), out));
    mends.iter().for_each(|mend| push_varint(mend.hunks.len() as u64, out));
    mends.iter().for_each(|mend| out.extend_from_slice(&mend.hunks));
}

/// Takes what [`push`] wrote.
pub(super) fn read(version: u64, reader: &mut Reader<'_>) -> Result<Vec<Mend>, Short> {
    let count = reader.varint()?;
    let count = usize::try_from(count).ok().filter(|count| *count <= MENDS_MAX).ok_or(Short::Malformed)?;
    let names = read_names(reader, count, |_, names| names == count)?;
    let column = |reader: &mut Reader<'_>| names.iter().map(|_| reader.varint()).collect::<Result<Vec<u64>, Short>>();
    let (ages, lengths) = (column(reader)?, column(reader)?);
    let mut mends = Vec::with_capacity(names.len());
    for (((kind, prefix), age), length) in names.into_iter().zip(ages).zip(lengths) {
        let version = version.checked_sub(age).ok_or(Short::Malformed)?;
        let length = usize::try_from(length).ok().filter(|length| *length <= BODY_BYTES_MAX).ok_or(Short::Malformed)?;
        let hunks = reader.bytes(length)?;
        if !patch::is_well_formed(hunks) {
            return Err(Short::Malformed);
        }
        mends.push(Mend { kind, prefix, version, hunks: hunks.into() });
    }
    Ok(mends)
}
