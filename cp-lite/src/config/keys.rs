//! The table of this program's settings: names and defaults are Kong's wherever Kong has the idea.

use settings::{Key, Kind};

use crate::fleet::PURGE_DELAY_MIN_S;

/// The most connections of the cluster port.
const CONNECTIONS_MAX: u64 = crate::sync::CONNECTIONS_MAX as u64;
/// The longest time that can be set, in seconds: ten years.
const SECONDS_MAX: u64 = 315_360_000;

/// Every setting of `cp-lite`, in the order of help.
pub const KEYS: &[Key] = &[
    Key::new("prefix", Kind::Text, "/var/lib/cp-lite", "Directory of this control plane's state."),
    Key::new(
        "admin_listen",
        Kind::List,
        "127.0.0.1:8001",
        "Addresses of the Admin API, ADDRESS:PORT, or off. It has no access control, so only loopback addresses are \
         taken.",
    ),
    Key::new(
        "cluster_listen",
        Kind::List,
        "0.0.0.0:8005",
        "Addresses where data planes connect, ADDRESS:PORT, or off.",
    ),
    Key::unset(
        "cluster_control_plane",
        Kind::List,
        "The control planes to follow, HOST:PORT of their cluster_listen, in order of preference. This one then takes \
         its configuration from whichever answers, and no changes of its own. Unset: this control plane is the writer.",
    ),
    Key::new(
        "cluster_mtls",
        Kind::Choice(&pki::Mtls::NAMES),
        "shared",
        "How data planes and this control plane trust each other: all hold the same certificate (shared), or each has \
         one that cluster_ca_cert issued (pki).",
    ),
    Key::unset(
        "cluster_cert",
        Kind::Text,
        "The cluster certificate: a path, PEM text or base64 of it. \"cp-lite hybrid gen_cert\" makes one.",
    )
    .secret(),
    Key::unset("cluster_cert_key", Kind::Text, "The key of cluster_cert: a path, PEM text or base64 of it.").secret(),
    Key::unset(
        "cluster_ca_cert",
        Kind::Text,
        "The issuers that cluster_mtls = \"pki\" trusts: a path, PEM text or base64 of it. Unset: those of the \
         operating system.",
    ),
    Key::unset(
        "cluster_server_name",
        Kind::Text,
        "The name that the certificates of cluster_control_plane must have with cluster_mtls = \"pki\". Unset: the \
         host that is called.",
    ),
    Key::unset(
        "cluster_advertise",
        Kind::Text,
        "How data planes call this control plane, HOST:PORT, as it stands in their cluster_control_plane. Control planes \
         that have it set keep the numbers of their data planes within a tenth of each other.",
    ),
    Key::new(
        "cluster_max_data_planes",
        Kind::Number { min: 1, max: CONNECTIONS_MAX },
        "4000",
        "How many data planes may be connected at a time. Further ones are told when to come back.",
    ),
    Key::new(
        "cluster_max_full_syncs",
        Kind::Number { min: 1, max: CONNECTIONS_MAX },
        "64",
        "How many data planes may be sent the whole configuration at a time. Further ones that need it are told when to \
         come back.",
    ),
    Key::new(
        "cluster_shrink_limit",
        Kind::Number { min: 0, max: 100 },
        "50",
        "The share, in percent, of the entities here that a full sync or a reconcile from a control plane that is followed \
         may take away. One that would take more is held back, and what is here is served on, until \"cp-lite node \
         confirm\" there; 100 holds nothing back.",
    ),
    Key::new(
        "cluster_data_plane_purge_delay",
        Kind::Number { min: PURGE_DELAY_MIN_S, max: SECONDS_MAX },
        "1209600",
        "Seconds after which a data plane that is out of contact is forgotten.",
    ),
    Key::new(
        "incremental_sync",
        Kind::Flag,
        "on",
        "Whether changes travel alone. Off: every change brings the whole configuration.",
    ),
    Key::new(
        "declarative_config_encryption_mode",
        Kind::Choice(&store::Mode::NAMES),
        "off",
        "How the store is encrypted: off, aes-256-gcm or chacha20-poly1305. Its key is derived from \
         declarative_config_encryption_key, or where that is unset from cluster_cert_key: with another one the store \
         cannot be read. What is stored already is written anew.",
    ),
    Key::unset(
        "declarative_config_encryption_key",
        Kind::Text,
        "The path of a secret of its own for the store, instead of cluster_cert_key: a private key in PEM, or a file of \
         at least 16 bytes that nobody can guess.",
    )
    .secret(),
    Key::unset(
        "declarative_config_encryption_key_former",
        Kind::Text,
        "The path of the secret that the store was encrypted with before: the former cluster_cert_key or \
         declarative_config_encryption_key. While it is set, the store opens with either; without it, only with the \
         present one.",
    )
    .secret(),
    Key::new("log_level", Kind::Choice(&os::log::Level::NAMES), "notice", "How grave a line must be to be logged."),
];
