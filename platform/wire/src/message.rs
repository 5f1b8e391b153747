//! What a frame says: the messages, their fields and their bytes. Payloads are postcard (fields in order, varints;
//! epochs, digests and tags are eight bytes, least significant first). Fields are only ever appended: a reader takes
//! what it knows and ignores what follows, except in DELTA, FULL_DATA, SYMBOLS, RECONCILED and OVERTAKE, which fill their payload.
//!
//! Here is the enum over all of them, and what their codecs have in common; the messages themselves are below, by subject.

mod answer;
mod full;
mod kind;
mod link;
mod symbols;

use crate::error::ProtocolError;
use crate::frame::{self, Frame, IGNORABLE};
use crate::limits::{ADDRESS_BYTES_MAX, TEXT_BYTES_MAX, WANT_MAX};
use crate::planes::{self, PlaneNodes};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use crate::greeting::{Have, Hello, KindVersion, Mode, Partial, PluginVersion, RefuseReason, Welcome};
pub use crate::parity::{Parity, ParityGet};
pub use answer::{Ack, Nack, NackCode, Want};
pub use full::{FullBegin, FullData, FullEnd, FullGet, Overtake};
pub use kind::{CODEC_DICTIONARY, CODEC_RAW, CODEC_ZSTD, Type};
pub use link::{Bye, ByeReason, Ping, Pong};
pub use symbols::{Symbols, SymbolsGet};

/// A byte on the wire of which later versions may know more values than this one.
macro_rules! open_byte {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(from = "u8", into = "u8")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// A value that this build does not know.
            Other(u8),
        }
        impl From<u8> for $name {
            fn from(code: u8) -> Self {
                match code { $($code => Self::$variant,)* code => Self::Other(code) }
            }
        }
        impl From<$name> for u8 {
            fn from(value: $name) -> Self {
                match value { $($name::$variant => $code,)* $name::Other(code) => code }
            }
        }
    };
}
pub(crate) use open_byte;

/// One message, or a frame's part of a DELTA or RECONCILED.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// See [`Hello`].
    Hello(Hello),
    /// See [`Welcome`].
    Welcome(Welcome),
    /// A part of a delta, and whether more follows; see [`crate::delta`].
    Delta(Bytes, bool),
    /// See [`Ack`].
    Ack(Ack),
    /// See [`Nack`].
    Nack(Nack),
    /// See [`Ping`].
    Ping(Ping),
    /// See [`Pong`].
    Pong(Pong),
    /// See [`Want`].
    Want(Want),
    /// See [`FullBegin`].
    FullBegin(FullBegin),
    /// See [`FullGet`].
    FullGet(FullGet),
    /// See [`FullData`].
    FullData(FullData),
    /// See [`FullEnd`].
    FullEnd(FullEnd),
    /// See [`Bye`].
    Bye(Bye),
    /// See [`Symbols`].
    Symbols(Symbols),
    /// See [`SymbolsGet`].
    SymbolsGet(SymbolsGet),
    /// A part of a reconcile's step, and whether more follows; see [`crate::reconcile::Step`].
    Reconciled(Bytes, bool),
    /// See [`Overtake`].
    Overtake(Overtake),
    /// See [`ParityGet`].
    ParityGet(ParityGet),
    /// See [`Parity`].
    Parity(Parity),
    /// As [`Message::Reconciled`], of a step with patches.
    Mended(Bytes, bool),
    /// See [`crate::planes`].
    Planes(Vec<PlaneNodes>),
}

impl Message {
    /// Reads a frame. `None`: a type that is not known and may be skipped.
    ///
    /// # Errors
    /// An unknown type, a payload that is not what its type says, a field over its limit.
    pub fn decode(frame: Frame) -> Result<Option<Self>, ProtocolError> {
        let Some(kind) = Type::from_code(frame.code) else {
            let code = frame.code;
            return if code & IGNORABLE != 0 { Ok(None) } else { Err(ProtocolError::TypeUnknown { code }) };
        };
        if frame.more && !matches!(kind, Type::Delta | Type::Reconciled | Type::Mended) {
            return Err(ProtocolError::NotSplittable { message: kind });
        }
        let payload = frame.payload;
        let message = match kind {
            Type::Hello => Self::Hello(Hello::decode(&payload)?),
            Type::Welcome => Self::Welcome(Welcome::decode(&payload)?),
            Type::Delta => Self::Delta(payload, frame.more),
            Type::Ack => Self::Ack(Ack::decode(&payload)?),
            Type::Nack => Self::Nack(Nack::decode(&payload)?),
            Type::Ping => Self::Ping(Ping::decode(&payload)?),
            Type::Pong => Self::Pong(Pong::decode(&payload)?),
            Type::Want => Self::Want(take(kind, &payload)?),
            Type::FullBegin => Self::FullBegin(FullBegin::decode(&payload)?),
            Type::FullGet => Self::FullGet(take(kind, &payload)?),
            Type::FullData => Self::FullData(FullData::decode(payload)?),
            Type::FullEnd => Self::FullEnd(take(kind, &payload)?),
            Type::Bye => Self::Bye(Bye::decode(&payload)?),
            Type::Symbols => Self::Symbols(Symbols::decode(&payload)?),
            Type::SymbolsGet => Self::SymbolsGet(take(kind, &payload)?),
            Type::Reconciled => Self::Reconciled(payload, frame.more),
            Type::Overtake => Self::Overtake(Overtake::decode(payload)?),
            Type::ParityGet => Self::ParityGet(ParityGet::decode(&payload)?),
            Type::Parity => Self::Parity(Parity::decode(&payload)?),
            Type::Mended => Self::Mended(payload, frame.more),
            Type::Planes => Self::Planes(take(kind, &payload)?),
        };
        message.checked().map(Some)
    }

    /// The type of this message.
    #[must_use]
    pub fn kind(&self) -> Type {
        match self {
            Self::Hello(_) => Type::Hello,
            Self::Welcome(_) => Type::Welcome,
            Self::Delta(..) => Type::Delta,
            Self::Ack(_) => Type::Ack,
            Self::Nack(_) => Type::Nack,
            Self::Ping(_) => Type::Ping,
            Self::Pong(_) => Type::Pong,
            Self::Want(_) => Type::Want,
            Self::FullBegin(_) => Type::FullBegin,
            Self::FullGet(_) => Type::FullGet,
            Self::FullData(_) => Type::FullData,
            Self::FullEnd(_) => Type::FullEnd,
            Self::Bye(_) => Type::Bye,
            Self::Symbols(_) => Type::Symbols,
            Self::SymbolsGet(_) => Type::SymbolsGet,
            Self::Reconciled(..) => Type::Reconciled,
            Self::Overtake(_) => Type::Overtake,
            Self::ParityGet(_) => Type::ParityGet,
            Self::Parity(_) => Type::Parity,
            Self::Mended(..) => Type::Mended,
            Self::Planes(_) => Type::Planes,
        }
    }

    /// The bytes of this message as frames.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let payload = match self {
            Self::Hello(hello) => hello.encode(),
            Self::Welcome(welcome) => welcome.encode(),
            Self::Delta(payload, _) => payload.to_vec(),
            Self::Ack(ack) => ack.encode(),
            Self::Nack(nack) => nack.encode(),
            Self::Ping(ping) => ping.encode(),
            Self::Pong(pong) => pong.encode(),
            Self::Want(want) => put(want),
            Self::FullBegin(begin) => begin.encode(),
            Self::FullGet(get) => put(get),
            Self::FullData(data) => data.encode(),
            Self::FullEnd(end) => put(end),
            Self::Bye(bye) => bye.encode(),
            Self::Symbols(symbols) => symbols.encode(),
            Self::SymbolsGet(get) => put(get),
            Self::Reconciled(payload, _) | Self::Mended(payload, _) => payload.to_vec(),
            Self::ParityGet(get) => get.encode(),
            Self::Parity(parity) => parity.encode(),
            Self::Overtake(overtake) => overtake.encode(),
            Self::Planes(planes) => put(planes),
        };
        let mut out = Vec::new();
        frame::encode(self.kind(), &payload, &mut out);
        out.into()
    }

    /// The limits that the codec itself does not know.
    fn checked(self) -> Result<Self, ProtocolError> {
        match &self {
            Self::Hello(hello) => hello.check()?,
            Self::Welcome(welcome) => bound("message", welcome.message.len(), TEXT_BYTES_MAX)?,
            Self::Nack(nack) => {
                bound("path", nack.path.len(), TEXT_BYTES_MAX)?;
                bound("message", nack.message.len(), TEXT_BYTES_MAX)?;
            }
            Self::Planes(planes) => planes::check(planes)?,
            Self::Want(want) => bound("wanted entities", want.entities.len(), WANT_MAX)?,
            Self::Bye(bye) => {
                bound("message", bye.message.len(), TEXT_BYTES_MAX)?;
                bound("to", bye.to.len(), ADDRESS_BYTES_MAX)?;
            }
            _ => {}
        }
        Ok(self)
    }
}

pub(crate) fn bound(field: &'static str, length: usize, max: usize) -> Result<(), ProtocolError> {
    if length > max { Err(ProtocolError::FieldTooLong { field }) } else { Ok(()) }
}

pub(crate) fn take<'a, T: Deserialize<'a>>(message: Type, payload: &'a [u8]) -> Result<T, ProtocolError> {
    take_some(message, payload).map(|(value, _later_fields)| value)
}

/// A value, and the bytes of fields that were appended after it.
pub(crate) fn take_some<'a, T: Deserialize<'a>>(
    message: Type,
    payload: &'a [u8],
) -> Result<(T, &'a [u8]), ProtocolError> {
    postcard::take_from_bytes(payload).map_err(|_| ProtocolError::Malformed { message })
}

/// Serialising these plain structs into memory has no way to fail.
pub(crate) fn put<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_allocvec(value).unwrap_or_default()
}
