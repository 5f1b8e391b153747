//! The messages by which two ends find what they differ in; see [`crate::reconcile`].

use super::Type;
use crate::error::ProtocolError;
use crate::read::{Reader, push_varint};
use crate::reconcile::{SYMBOL_BYTES, Symbol};
use postcard::fixint::le;
use serde::{Deserialize, Serialize};

/// A stretch of a node's row of symbols; see [`crate::reconcile`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbols {
    /// The seed of their hashes.
    pub seed: u64,
    /// The place of the first one.
    pub first: u64,
    /// The rest of the payload: at most [`crate::limits::SYMBOLS_FRAME_MAX`].
    pub symbols: Vec<Symbol>,
}

impl Symbols {
    pub(super) fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        let malformed = |_| ProtocolError::Malformed { message: Type::Symbols };
        let mut reader = Reader::new(payload);
        let (seed, first) = (reader.fixed().map_err(malformed)?, reader.varint().map_err(malformed)?);
        let (whole, rest) = reader.rest.as_chunks::<SYMBOL_BYTES>();
        if !rest.is_empty() {
            return Err(ProtocolError::Malformed { message: Type::Symbols });
        }
        let symbol = |&[a, b, c, d, e, f, g, h, i, j, k, l]: &[u8; SYMBOL_BYTES]| Symbol {
            sum: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            check: u32::from_le_bytes([i, j, k, l]),
        };
        Ok(Self { seed, first, symbols: whole.iter().map(symbol).collect() })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(18 + self.symbols.len() * SYMBOL_BYTES);
        out.extend_from_slice(&self.seed.to_le_bytes());
        push_varint(self.first, &mut out);
        for Symbol { sum, check } in &self.symbols {
            out.extend_from_slice(&sum.to_le_bytes());
            out.extend_from_slice(&check.to_le_bytes());
        }
        out
    }
}

/// Asks for symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolsGet {
    /// The seed of the hashes.
    #[serde(with = "le")]
    pub seed: u64,
    /// The first one that is not to be sent yet.
    pub until: u64,
}
