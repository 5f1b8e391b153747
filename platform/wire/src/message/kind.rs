//! The type bytes of messages, and the codecs of what they carry.

use crate::frame::IGNORABLE;

/// The type byte of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Type {
    /// DP → CP, first: who I am and what I have.
    Hello = 1,
    /// CP → DP, first: where I am and how we go on.
    Welcome = 2,
    /// CP → DP: one atomic step; may go over several frames.
    Delta = 3,
    /// DP → CP: what is live and what is durable.
    Ack = 4,
    /// DP → CP: a version was refused.
    Nack = 5,
    /// DP → CP: are you there?
    Ping = 6,
    /// CP → DP: here, and this is the head.
    Pong = 7,
    /// DP → CP: send these entities whole.
    Want = 8,
    /// CP → DP: a full sync is to be had.
    FullBegin = 9,
    /// DP → CP: send up to here.
    FullGet = 10,
    /// CP → DP: a piece of the full sync.
    FullData = 11,
    /// CP → DP: that was all of it.
    FullEnd = 12,
    /// Either way, last.
    Bye = 13,
    /// DP → CP: a stretch of the sums over what I have.
    Symbols = 14,
    /// CP → DP: send sums up to here.
    SymbolsGet = 15,
    /// CP → DP: one atomic step that makes up for what was found; may go over several frames.
    Reconciled = 17,
    /// CP → DP: one small step from the version of the full sync that is on its way.
    Overtake = 18,
    /// CP → DP: send sums over these bodies.
    ParityGet = 19,
    /// DP → CP: sums over bodies.
    Parity = 20,
    /// CP → DP: as Reconciled, with patches; may go over several frames.
    Mended = 21,
    /// Between control planes: how many nodes each serves. Whoever does not know it skips it.
    Planes = IGNORABLE | 16,
}

impl Type {
    const ALL: [Self; 21] = [
        Self::Hello,
        Self::Welcome,
        Self::Delta,
        Self::Ack,
        Self::Nack,
        Self::Ping,
        Self::Pong,
        Self::Want,
        Self::FullBegin,
        Self::FullGet,
        Self::FullData,
        Self::FullEnd,
        Self::Bye,
        Self::Symbols,
        Self::SymbolsGet,
        Self::Reconciled,
        Self::Overtake,
        Self::ParityGet,
        Self::Parity,
        Self::Mended,
        Self::Planes,
    ];

    /// The type with this code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == code)
    }
}

/// The bytes as they are.
pub const CODEC_RAW: u8 = 0;

/// One zstd frame without its magic number, with [`crate::pack::DICTIONARY`]. For the operations of a DELTA; a node that lists
/// it takes them packed, with this codec or with [`CODEC_ZSTD`].
pub const CODEC_DICTIONARY: u8 = 1;

/// One zstd frame (RFC 8878) without a dictionary, with a window of at most 2^20 bytes
/// ([`crate::limits::BLOB_WINDOW_LOG_MAX`]). For the stream of a full sync as a whole; packed
/// operations have it without its magic number.
pub const CODEC_ZSTD: u8 = 2;
