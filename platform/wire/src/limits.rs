//! Every bound of the protocol, by name. A peer that goes beyond one has made a protocol error; a sender that would go
//! beyond one does something else (see each).

/// The most bytes of one frame on the wire, its length prefix included.
pub const FRAME_BYTES_MAX: usize = 16 * 1024;

/// The most bytes of a length prefix: 14 bits reach [`FRAME_BYTES_MAX`].
pub const PREFIX_BYTES_MAX: usize = 2;

/// The most bytes of a frame's payload: what is left after length prefix and type.
pub const PAYLOAD_BYTES_MAX: usize = FRAME_BYTES_MAX - PREFIX_BYTES_MAX - 1;

/// The most payload bytes of one DELTA over all its frames. A control plane with more to say sends a full sync.
pub const DELTA_BYTES_MAX: usize = 1024 * 1024;

/// The most bytes of a step that overtakes a full sync: it is one frame, and all that a node keeps of such steps.
pub const OVERTAKE_BYTES_MAX: usize = PAYLOAD_BYTES_MAX - 8;

/// The most bytes of all steps that overtake one full sync together: more would hold it up.
pub const OVERTAKES_BYTES_MAX: usize = 32 * 1024;

/// The most operations in one DELTA. A control plane with more to say sends a full sync.
pub const DELTA_OPS_MAX: usize = 16 * 1024;

/// The most patches in one DELTA: a node can ask for as many entities whole. What is over that is sent whole at once.
pub const DELTA_PATCHES_MAX: usize = WANTED_MAX;
/// The fewest symbols that a control plane has for a reconcile.
pub const SYMBOLS_MIN: usize = 64;

/// The most symbols of one reconcile; beyond, a full sync.
pub const SYMBOLS_MAX: usize = 16 * 1024;

/// The most symbols in one SYMBOLS frame.
pub const SYMBOLS_FRAME_MAX: usize = (PAYLOAD_BYTES_MAX - 8 - 10) / 12;

/// The most sums that are asked for of one body; a body that differs in more pairs of bytes than half of them is sent whole.
pub const PARITY_MAX: usize = 64;

/// The most sums of one body in one PARITY.
pub const PARITY_SPAN_MAX: usize = 24;

/// The most bodies in one PARITY_GET. The answer is one frame.
pub const PARITY_NAMES_MAX: usize = 256;

/// The most bodies that sums are asked of in one session, each time that they are counting.
pub const PARITY_ASKED_MAX: usize = 64 * 1024;

/// The most patches in one MENDED.
pub const MENDS_MAX: usize = 4096;

/// A node with fewer entities than this gets a full sync in place of a reconcile: there is nothing to save.
pub const RECONCILE_COUNT_MIN: u64 = 8;

/// The most bytes of one entity's body, as sent.
pub const BODY_BYTES_MAX: usize = model::record::BODY_BYTES_MAX;

/// The most stream bytes in one FULL_DATA frame.
pub const FULL_CHUNK_BYTES_MAX: usize = PAYLOAD_BYTES_MAX - 8 - 10;

/// How many bytes of a full sync may be on their way or unprocessed, unless the data plane says otherwise.
pub const FULL_WINDOW_BYTES: u64 = 256 * 1024;

/// The most bytes of a full sync's blob, as it travels.
pub const BLOB_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The most bytes of a full sync's entities, encoded and not compressed.
pub const PLAIN_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// The most bytes that a blob's decoder may be asked to look back, which is what it costs in memory.
pub const BLOB_WINDOW_LOG_MAX: u32 = 20;

/// How many bytes of a blob may be on their way: what a cut may waste. 64 KiB, less what frames and TLS records add.
pub const BLOB_GRANT_BYTES: u64 = 60 * 1024;

/// The most bytes of a host name in HELLO.
pub const HOSTNAME_BYTES_MAX: usize = 255;

/// The most bytes of a software or plugin version.
pub const VERSION_BYTES_MAX: usize = 32;

/// The most bytes of a plugin name or of a label's key or value.
pub const NAME_BYTES_MAX: usize = 64;

/// The most kinds in HELLO.
pub const KINDS_MAX: usize = 64;

/// The most plugins in HELLO.
pub const PLUGINS_MAX: usize = 96;

/// The most labels in HELLO.
pub const LABELS_MAX: usize = 32;

/// The most codecs in HELLO.
pub const CODECS_MAX: usize = 16;

/// The most bytes of a path or text in NACK, BYE and WELCOME. Senders cut longer ones at a character.
pub const TEXT_BYTES_MAX: usize = 200;

/// The most bytes of an address in BYE.
pub const ADDRESS_BYTES_MAX: usize = 255;

/// The most entities in one WANT.
pub const WANT_MAX: usize = 256;

/// The most entities wanted and not sent yet in one session. Beyond it a control plane sends a full sync.
pub const WANTED_MAX: usize = 1024;

/// How often a step is sent with patches. One that came back so often for want of a base goes without.
pub const PATCH_TRIES_MAX: u32 = 2;

/// How many steps may come back for want of a base, until a session goes on without patches.
pub const PATCH_MISSES_MAX: u32 = 8;

/// How long a control plane waits for HELLO, and a data plane for WELCOME, in milliseconds.
pub const GREETING_MS_MAX: u64 = 30_000;

/// How long a PING may be unanswered, in milliseconds.
pub const ANSWER_MS_MAX: u64 = 30_000;

/// How long a data plane leaves the next full sync waiting after it refused one, in milliseconds; doubled with each
/// further refusal, up to [`FULL_PAUSE_MS_MAX`].
pub const FULL_PAUSE_MS_MIN: u64 = 1_000;

/// The longest that a data plane leaves a full sync waiting after it refused others, in milliseconds.
pub const FULL_PAUSE_MS_MAX: u64 = 60_000;

/// The most control planes in one PLANES. With the longest addresses it is one frame still.
pub const PLANES_MAX: usize = 48;

/// How long a node whose protocol or software does not go with the control plane's is asked to stay away, in seconds: only
/// another program mends that, and one that starts asks at once.
pub const INCOMPATIBLE_RETRY_S: u32 = 600;

/// How long a node is asked to stay away when another connection has taken its place, in seconds: two that have one id, of
/// a copied image, would send each other away without a pause.
pub const SUPERSEDED_RETRY_S: u32 = 60;

/// How long a node that was with the writer after this one's is asked to stay away, in seconds.
pub const REPLACED_RETRY_S: u32 = 15;

/// How long a control plane leaves a node alone that refused two versions in a row, in milliseconds; doubled with each
/// further refusal, up to [`NACK_PAUSE_MS_MAX`].
pub const NACK_PAUSE_MS_MIN: u64 = 1_000;

/// The longest that a control plane leaves a node alone because it refuses what it is sent, in milliseconds.
pub const NACK_PAUSE_MS_MAX: u64 = 60_000;

/// After how long a control plane sends a version again that a node had no room for, in milliseconds; doubled each time, up to
/// [`LACK_PAUSE_MS_MAX`].
pub const LACK_PAUSE_MS_MIN: u64 = 60_000;

/// The longest that a node waits for a version again that it had no room for, in milliseconds.
pub const LACK_PAUSE_MS_MAX: u64 = 3_600_000;

/// The default heartbeat, in seconds.
pub const HEARTBEAT_S: u32 = 300;

/// `text`, cut to at most [`TEXT_BYTES_MAX`] bytes at a character boundary.
#[must_use]
pub fn clip(mut text: String) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
