//! The ways in which a peer can break the rules. Each is the other end's fault, each ends the connection with a BYE,
//! none ends the process.

use crate::message::Type;

/// What the other end did wrong. One variant per fact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// The length prefix is longer than two bytes or not in its shortest form.
    #[error("frame with a malformed length prefix")]
    LengthMalformed,
    /// A frame must hold a type.
    #[error("empty frame")]
    FrameEmpty,
    /// The frame would be longer than [`crate::limits::FRAME_BYTES_MAX`].
    #[error("frame of {length} bytes is over the limit")]
    FrameTooLong {
        /// What the prefix says.
        length: usize,
    },
    /// A type that is not known and not marked as ignorable.
    #[error("unknown frame type {code}")]
    TypeUnknown {
        /// The type byte.
        code: u8,
    },
    /// Only DELTA may go over several frames.
    #[error("{message:?} may not be split over frames")]
    NotSplittable {
        /// What was split.
        message: Type,
    },
    /// The payload is not what its type says: truncated, or a value out of its range.
    #[error("malformed {message:?}")]
    Malformed {
        /// What it was to be.
        message: Type,
    },
    /// A text or list is longer than its limit.
    #[error("{field} is over its limit")]
    FieldTooLong {
        /// Which.
        field: &'static str,
    },
    /// A message that this end never receives, or not in this state.
    #[error("{message:?} is not expected {state}")]
    Unexpected {
        /// What came.
        message: Type,
        /// What this end was doing.
        state: &'static str,
    },
    /// WELCOME chose a protocol version that HELLO did not offer.
    #[error("protocol version {proto} was not offered")]
    ProtoNotOffered {
        /// What was chosen.
        proto: u8,
    },
    /// WELCOME has a mode that this build does not know and did not ask for.
    #[error("unknown mode {mode}")]
    ModeUnknown {
        /// The mode's code.
        mode: u8,
    },
    /// A mode that goes on from what the node has, in an epoch that the node is not in.
    #[error("mode goes on from epoch {theirs:016x}, the node is in {ours:016x}")]
    EpochMismatch {
        /// Of the data plane.
        ours: u64,
        /// Of the control plane.
        theirs: u64,
    },
    /// An operation code that is not known.
    #[error("unknown operation {code} in a delta")]
    OpUnknown {
        /// The code.
        code: u8,
    },
    /// A codec that HELLO did not list.
    #[error("codec {code} was not offered")]
    CodecUnknown {
        /// The code.
        code: u8,
    },
    /// A body longer than [`crate::limits::BODY_BYTES_MAX`].
    #[error("body of {length} bytes is over the limit")]
    BodyTooLong {
        /// What the operation says.
        length: u64,
    },
    /// More than [`crate::limits::DELTA_BYTES_MAX`] bytes.
    #[error("delta is over its limit of bytes")]
    DeltaTooLong,
    /// More than [`crate::limits::DELTA_OPS_MAX`] operations.
    #[error("delta is over its limit of operations")]
    DeltaTooManyOps,
    /// More than [`crate::limits::DELTA_PATCHES_MAX`] patches.
    #[error("delta is over its limit of patches")]
    DeltaTooManyPatches,
    /// A version or offset overflows 64 bits, or an entity is newer than its delta.
    #[error("version out of range in {message:?}")]
    VersionRange {
        /// Where.
        message: Type,
    },
    /// A delta that does not start at the node's version.
    #[error("delta from version {from}, the node is at {at}")]
    BaseMismatch {
        /// Where the delta starts.
        from: u64,
        /// Where the node is.
        at: u64,
    },
    /// A delta that ends where it starts, without WANT.
    #[error("delta at version {at} changes no version and was not asked for")]
    NotWanted {
        /// The version.
        at: u64,
    },
    /// A delta although `incremental_sync` is off on one of the ends.
    #[error("delta although incremental sync is off")]
    IncrementalOff,
    /// FULL_DATA or FULL_END names a transfer that was not begun.
    #[error("unknown transfer {transfer:016x}")]
    TransferUnknown {
        /// The transfer's id.
        transfer: u64,
    },
    /// FULL_DATA does not go on where the last one ended.
    #[error("full sync data at offset {got}, expected {expected}")]
    FullOffset {
        /// Where it should go on.
        expected: u64,
        /// Where it does.
        got: u64,
    },
    /// More FULL_DATA than was granted.
    #[error("full sync data beyond the granted window")]
    FullWindow,
    /// The stream ends inside an entity or is not as long as FULL_END says.
    #[error("full sync ends at byte {got}, inside an entity or before byte {expected}")]
    FullTruncated {
        /// What FULL_END says.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// The bytes are not those that the control plane hashed.
    #[error("full sync has another digest than announced")]
    FullDigest,
    /// Another number of entities than announced.
    #[error("full sync has {got} entities, announced were {expected}")]
    FullCount {
        /// Announced.
        expected: u64,
        /// Received.
        got: u64,
    },
    /// The tags do not sum up to the announced root.
    #[error("full sync has another root digest than announced")]
    FullRoot,
    /// A blob that says to be larger than any may be, or too small for its entities.
    #[error("full sync announces {bytes} bytes for {plain} bytes of entities")]
    BlobSize {
        /// Announced length of the blob.
        bytes: u64,
        /// Announced length of its entities.
        plain: u64,
    },
    /// A blob whose bytes are not what its name and its announcement say.
    #[error("full sync cannot be unpacked: {0}")]
    Blob(#[from] crate::full::BlobError),
    /// Symbols that were not asked for, or asked for out of order.
    #[error("symbols at {first}, expected {expected}")]
    SymbolsRange {
        /// Where they start, or end.
        first: u64,
        /// Where they should.
        expected: u64,
    },
    /// Sums of bodies beyond the limits, or none at all.
    #[error("parity from {from} to {until} of a body")]
    ParityRange {
        /// The first.
        from: u64,
        /// The first one that is not asked for.
        until: u64,
    },
    /// Sums of more bodies than any reconcile has use for.
    #[error("parity of too many bodies")]
    ParityTooMany,
    /// Sums of bodies that were not asked for, or not the ones that were.
    #[error("parity that was not asked for")]
    ParityUnasked,
    /// A reconcile's step that does not start from the node's content.
    #[error("reconcile from the content with root {base:016x}, the node's is {at:016x}")]
    ReconcileBase {
        /// What it says.
        base: u64,
        /// Of the node.
        at: u64,
    },
    /// An ACK of what was not sent.
    #[error("version {applied} acknowledged, which was not sent")]
    AckUnsent {
        /// What was acknowledged.
        applied: u64,
    },
    /// A NACK of what was not sent.
    #[error("version {version} refused, which was not sent")]
    NackUnsent {
        /// What was refused.
        version: u64,
    },
    /// A grant that goes backwards or beyond what was sent.
    #[error("grant for byte {offset} of a full sync, sent were {sent}")]
    GrantRange {
        /// What the data plane says it has.
        offset: u64,
        /// What was sent.
        sent: u64,
    },
}
