//! What a frame says: the messages, their fields and their bytes. Payloads are postcard (fields in order, varints;
//! epochs, digests and tags are eight bytes, least significant first). Fields are only ever appended: a reader takes
//! what it knows and ignores what follows, except in DELTA and FULL_DATA, which fill their payload.

use crate::error::ProtocolError;
use crate::frame::{self, Frame, IGNORABLE};
use crate::limits::{ADDRESS_BYTES_MAX, TEXT_BYTES_MAX, WANT_MAX};
use crate::planes::{self, PlaneNodes};
use crate::read::{Reader, push_varint};
use crate::reconcile::{SYMBOL_BYTES, Symbol};
use crate::shrink::Shrink;
use bytes::{Buf, Bytes};
use model::Id;
use postcard::fixint::le;
use serde::{Deserialize, Serialize};

pub use crate::greeting::{Have, Hello, KindVersion, Mode, Partial, PluginVersion, RefuseReason, Welcome, replaces};

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
    /// Between control planes: how many nodes each serves. Whoever does not know it skips it.
    Planes = IGNORABLE | 16,
}

impl Type {
    const ALL: [Self; 17] = [
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

/// One zstd frame (RFC 8878) without a dictionary, with a window of at most 2^20 bytes
/// ([`crate::limits::BLOB_WINDOW_LOG_MAX`]). For the stream of a full sync as a whole, nothing smaller.
pub const CODEC_ZSTD: u8 = 2;

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

/// What is live and what is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The version that is live.
    pub applied: u64,
    /// The version that survives a power cut. On the wire as `applied - durable`.
    pub durable: u64,
}

open_byte! {
    /// Why a version was refused.
    NackCode {
        /// An entity of a kind that the node does not know.
        UnknownKind = 1,
        /// A plugin that the node does not have.
        UnknownPlugin = 2,
        /// A body that cannot be read or fails its checks.
        Invalid = 3,
        /// A reference to what is not there.
        Dangling = 4,
        /// A value that must be unique and is not.
        Duplicate = 5,
        /// It does not compile into something that can serve.
        Compile = 6,
        /// The node's content has another root digest after the change than the control plane's.
        Root = 7,
        /// The node lacks memory or storage for it.
        Resources = 8,
        /// An error in the node's software.
        Internal = 9,
        /// It would take more away from the node than goes without a confirmation; see [`crate::shrink`].
        Shrink = 10,
        /// No fault: the base of a patch is not there; the step is to come again without.
        Base = 11,
    }
}

/// A version was refused; the node keeps what it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nack {
    /// The version that was refused.
    pub version: u64,
    /// Why.
    pub code: NackCode,
    /// The entity it is about: kind code and id.
    pub entity: Option<(u8, Id)>,
    /// The field, as in Admin API errors: `config.minute`.
    pub path: String,
    /// For people.
    pub message: String,
    /// The version that goes on serving.
    pub kept: u64,
    /// With [`NackCode::Shrink`]: how much would go. Missing from early peers.
    #[serde(skip)]
    pub shrink: Option<Shrink>,
}

impl Nack {
    fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        let (nack, later): (Self, _) = take_some(Type::Nack, payload)?;
        Ok(Self { shrink: Shrink::decode(later)?, ..nack })
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = put(self);
        out.extend(Shrink::encode(self.shrink));
        out
    }
}

/// Are you there?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ping {
    /// The heartbeat that the node would like from now on, in seconds; `None` leaves it as it is.
    pub heartbeat_s: Option<u32>,
}

/// The head of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pong {
    /// The newest version.
    pub head: u64,
    /// The root digest at `head`.
    #[serde(with = "le")]
    pub root: u64,
    /// The heartbeat in force from now on, in seconds, 0 for none: the answer to a PING that asks for one. Early peers
    /// never give it.
    #[serde(skip)]
    pub heartbeat_s: Option<u32>,
}

impl Ping {
    fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        Ok(Self { heartbeat_s: asked(Type::Ping, payload)? })
    }

    fn encode(self) -> Vec<u8> {
        self.heartbeat_s.map_or_else(Vec::new, |_| put(&self.heartbeat_s))
    }
}

impl Pong {
    /// An answer that leaves the heartbeat as it is.
    #[must_use]
    pub fn new(head: u64, root: u64) -> Self {
        Self { head, root, heartbeat_s: None }
    }

    fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        let (pong, later): (Self, _) = take_some(Type::Pong, payload)?;
        Ok(Self { heartbeat_s: asked(Type::Pong, later)?, ..pong })
    }

    fn encode(self) -> Vec<u8> {
        let mut out = put(&self);
        if self.heartbeat_s.is_some() {
            out.extend(put(&self.heartbeat_s));
        }
        out
    }
}

/// A heartbeat at the end of a payload, where one is spoken of: an idle link counts every byte.
fn asked(message: Type, payload: &[u8]) -> Result<Option<u32>, ProtocolError> {
    if payload.is_empty() { Ok(None) } else { take(message, payload) }
}

/// Entities to be sent whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// Kind codes and ids; at most [`WANT_MAX`].
    pub entities: Vec<(u8, Id)>,
}

/// A full sync is to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FullBegin {
    /// Names the stream: the same id is the same bytes.
    #[serde(with = "le")]
    pub transfer: u64,
    /// The version it brings the node to.
    pub version: u64,
    /// The root digest at `version`.
    #[serde(with = "le")]
    pub root: u64,
    /// How many entities it holds.
    pub count: u64,
    /// The codec of the stream as a whole.
    pub codec: u8,
    /// How many bytes the entities are before the codec; 0 when that is not known. Missing from early peers.
    #[serde(skip)]
    pub plain: u64,
    /// How many bytes the stream has; 0 when that is not known. Missing from early peers.
    #[serde(skip)]
    pub bytes: u64,
    /// How many of the node's entities may go with it, as somebody has confirmed. Missing from early peers.
    #[serde(skip)]
    pub confirmed: u64,
}

impl FullBegin {
    /// Whether the stream is a blob: compressed as a whole, of known length, named by its digest.
    #[must_use]
    pub fn is_blob(&self) -> bool {
        self.codec == CODEC_ZSTD
    }

    fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        let (begin, later): (Self, _) = take_some(Type::FullBegin, payload)?;
        if later.is_empty() {
            return Ok(begin);
        }
        let ((plain, bytes), later) = take_some(Type::FullBegin, later)?;
        let confirmed = if later.is_empty() { 0 } else { take(Type::FullBegin, later)? };
        Ok(Self { plain, bytes, confirmed, ..begin })
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = put(self);
        out.extend(put(&(self.plain, self.bytes, self.confirmed)));
        out
    }
}

/// A grant: the node has all bytes below `offset` and takes those below `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FullGet {
    /// Which stream.
    #[serde(with = "le")]
    pub transfer: u64,
    /// The first byte that is missing. In the first grant: where to start.
    pub offset: u64,
    /// The first byte that is not to be sent yet.
    pub until: u64,
}

/// A piece of a full sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullData {
    /// Which stream.
    pub transfer: u64,
    /// Where in the stream.
    pub offset: u64,
    /// The rest of the payload.
    pub bytes: Bytes,
}

/// The end of a full sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FullEnd {
    /// Which stream.
    #[serde(with = "le")]
    pub transfer: u64,
    /// Its length.
    pub bytes: u64,
    /// XXH3-64 of all of it.
    #[serde(with = "le")]
    pub digest: u64,
}

open_byte! {
    /// Why a connection ends.
    ByeReason {
        /// The program stops or restarts.
        Shutdown = 0,
        /// The other end broke the rules; the text says which.
        Protocol = 1,
        /// The other end was silent for too long.
        Silent = 2,
        /// The control plane's database is another incarnation now.
        Epoch = 3,
        /// The same node connected again.
        Superseded = 4,
        /// Too much to do; come back later.
        Busy = 5,
        /// The node may not be connected any longer.
        Forbidden = 6,
        /// The node's content is not what the control plane says it should be; it comes back with its digest.
        Root = 7,
        /// Another control plane is to serve the node: [`Bye::to`], or any other where that is empty.
        Moved = 8,
        /// The node was with a writer that has taken the place of this control plane's.
        Replaced = 9,
    }
}

/// The last message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bye {
    /// Why.
    pub reason: ByeReason,
    /// Not before so many seconds; 0 leaves it to the other end.
    pub retry_after_s: u32,
    /// For people.
    pub message: String,
    /// With [`ByeReason::Moved`]: the control plane to go to, `host:port`. Empty in all else, and missing from early peers.
    #[serde(skip)]
    pub to: String,
}

impl Bye {
    /// A goodbye that leads nowhere.
    #[must_use]
    pub fn new(reason: ByeReason, message: String) -> Self {
        Self { reason, retry_after_s: 0, message, to: String::new() }
    }

    fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        let (bye, later): (Self, _) = take_some(Type::Bye, payload)?;
        let to = if later.is_empty() { String::new() } else { take(Type::Bye, later)? };
        Ok(Self { to, ..bye })
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = put(self);
        out.extend(put(&self.to));
        out
    }
}

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

/// Asks for symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SymbolsGet {
    /// The seed of the hashes.
    #[serde(with = "le")]
    pub seed: u64,
    /// The first one that is not to be sent yet.
    pub until: u64,
}

impl Symbols {
    fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
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

    fn encode(&self) -> Vec<u8> {
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
        if frame.more && !matches!(kind, Type::Delta | Type::Reconciled) {
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
            Self::Reconciled(payload, _) => payload.to_vec(),
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

impl Ack {
    fn decode(payload: &[u8]) -> Result<Self, ProtocolError> {
        let mut reader = Reader::new(payload);
        let malformed = |_| ProtocolError::Malformed { message: Type::Ack };
        let applied = reader.varint().map_err(malformed)?;
        let lag = reader.varint().map_err(malformed)?;
        let durable = applied.checked_sub(lag).ok_or(ProtocolError::VersionRange { message: Type::Ack })?;
        Ok(Self { applied, durable })
    }

    fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8);
        push_varint(self.applied, &mut out);
        push_varint(self.applied.saturating_sub(self.durable), &mut out);
        out
    }
}

impl FullData {
    fn decode(mut payload: Bytes) -> Result<Self, ProtocolError> {
        let mut reader = Reader::new(&payload);
        let malformed = |_| ProtocolError::Malformed { message: Type::FullData };
        let transfer = reader.fixed().map_err(malformed)?;
        let offset = reader.varint().map_err(malformed)?;
        let head = payload.len() - reader.rest.len();
        payload.advance(head);
        Ok(Self { transfer, offset, bytes: payload })
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len() + 18);
        out.extend_from_slice(&self.transfer.to_le_bytes());
        push_varint(self.offset, &mut out);
        out.extend_from_slice(&self.bytes);
        out
    }
}
