//! PARITY_GET and PARITY: a control plane asks for sums over some bodies, and a node gives them.
//!
//! PARITY_GET: `u64 seed | varint from | varint until | names`. Names are as many groups as there are, each
//! `u8 kind | u8 length | varint count | count × length bytes`: ids of a kind, by as many of their first bytes.
//! PARITY: `u64 seed | varint from | varint until | bodies`, one for each name in its order: `varint 0` where there is none,
//! or `varint length + 1 | (until - from) × u16`.

use super::BODY_BYTES_MAX;
use crate::error::ProtocolError;
use crate::limits::{PARITY_MAX, PARITY_NAMES_MAX, PARITY_SPAN_MAX};
use crate::message::Type;
use crate::patch::IdPrefix;
use crate::read::{Reader, Short, push_varint};
use std::ops::Range;

/// Asks for sums over bodies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParityGet {
    /// That of the reconcile.
    pub seed: u64,
    /// The first sum.
    pub from: usize,
    /// The first one that is not to be sent: at most [`PARITY_SPAN_MAX`] further, and at most [`PARITY_MAX`].
    pub until: usize,
    /// Of which entities: kind codes, and what their ids begin with. At most [`PARITY_NAMES_MAX`].
    pub names: Vec<(u8, IdPrefix)>,
}

/// Sums over bodies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parity {
    /// That of the reconcile.
    pub seed: u64,
    /// The first sum.
    pub from: usize,
    /// The first one that is not here.
    pub until: usize,
    /// In the order in which they were asked for; nothing where there is no such entity, or not only one, or its body is
    /// not to be had or longer than [`BODY_BYTES_MAX`].
    pub bodies: Vec<Option<Told>>,
}

/// What a node tells of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its length in bytes.
    pub length: u32,
    /// As many sums as were asked for.
    pub sums: Vec<u16>,
}

impl ParityGet {
    /// What is asked of a body.
    #[must_use]
    pub fn of(&self, body: &[u8]) -> Option<Told> {
        super::of(body, self.from, self.until)
    }

    /// The answer, with these bodies in the order of the names.
    #[must_use]
    pub fn answer(&self, bodies: Vec<Option<Told>>) -> Parity {
        Parity { seed: self.seed, from: self.from, until: self.until, bodies }
    }

    pub(crate) fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        let malformed = |_: Short| ProtocolError::Malformed { message: Type::ParityGet };
        let mut reader = Reader::new(payload);
        let seed = reader.fixed().map_err(malformed)?;
        let Range { start: from, end: until } = span(&mut reader, Type::ParityGet)?;
        let names = read_names(&mut reader, PARITY_NAMES_MAX, |reader, _| reader.rest.is_empty()).map_err(malformed)?;
        Ok(Self { seed, from, until, names })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.seed.to_le_bytes().to_vec();
        push_varint(self.from as u64, &mut out);
        push_varint(self.until as u64, &mut out);
        push_names(&self.names, &mut out);
        out
    }
}

impl Parity {
    pub(crate) fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        let malformed = |_: Short| ProtocolError::Malformed { message: Type::Parity };
        let mut reader = Reader::new(payload);
        let seed = reader.fixed().map_err(malformed)?;
        let Range { start: from, end: until } = span(&mut reader, Type::Parity)?;
        let mut bodies = Vec::new();
        while !reader.rest.is_empty() {
            if bodies.len() == PARITY_NAMES_MAX {
                return Err(ProtocolError::FieldTooLong { field: "bodies" });
            }
            bodies.push(read_told(&mut reader, until - from).map_err(malformed)?);
        }
        Ok(Self { seed, from, until, bodies })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = self.seed.to_le_bytes().to_vec();
        push_varint(self.from as u64, &mut out);
        push_varint(self.until as u64, &mut out);
        for body in &self.bodies {
            match body {
                None => out.push(0),
                Some(Told { length, sums }) => {
                    push_varint(u64::from(*length) + 1, &mut out);
                    sums.iter().for_each(|sum| out.extend_from_slice(&sum.to_le_bytes()));
                }
            }
        }
        out
    }
}

fn span(reader: &mut Reader<'_>, message: Type) -> Result<Range<usize>, ProtocolError> {
    let malformed = |_: Short| ProtocolError::Malformed { message };
    let (from, until) = (reader.varint().map_err(malformed)?, reader.varint().map_err(malformed)?);
    let within =
        |(from, until): &(usize, usize)| from < until && *until <= PARITY_MAX && until - from <= PARITY_SPAN_MAX;
    let (start, end) = usize::try_from(from)
        .ok()
        .zip(usize::try_from(until).ok())
        .filter(within)
        .ok_or(ProtocolError::ParityRange { from, until })?;
    Ok(start..end)
}

fn read_told(reader: &mut Reader<'_>, count: usize) -> Result<Option<Told>, Short> {
    let Some(length) = reader.varint()?.checked_sub(1) else { return Ok(None) };
    let length = u32::try_from(length).ok().filter(|length| *length as usize <= BODY_BYTES_MAX);
    let length = length.ok_or(Short::Malformed)?;
    let (sums, _) = reader.bytes(count * 2)?.as_chunks::<2>();
    Ok(Some(Told { length, sums: sums.iter().map(|sum| u16::from_le_bytes(*sum)).collect() }))
}

/// Writes names in groups of one kind and length, as they come one after the other.
pub(crate) fn push_names(names: &[(u8, IdPrefix)], out: &mut Vec<u8>) {
    for group in names.chunk_by(|(kind, id), (other, next)| kind == other && id.bytes().len() == next.bytes().len()) {
        let Some((kind, id)) = group.first() else { continue };
        out.extend_from_slice(&[*kind, id.bytes().len() as u8]);
        push_varint(group.len() as u64, out);
        group.iter().for_each(|(_, id)| out.extend_from_slice(id.bytes()));
    }
}

/// Takes at most so many names, until it is `over`.
pub(crate) fn read_names(
    reader: &mut Reader<'_>,
    most: usize,
    over: impl Fn(&Reader<'_>, usize) -> bool,
) -> Result<Vec<(u8, IdPrefix)>, Short> {
    let mut names = Vec::new();
    while !over(reader, names.len()) {
        let (kind, length, count) = (reader.byte()?, reader.byte()?, reader.varint()?);
        if count == 0 || count > (most - names.len()) as u64 {
            return Err(Short::Malformed);
        }
        for _ in 0..count {
            names.push((kind, IdPrefix::take(length, reader)?));
        }
    }
    Ok(names)
}
