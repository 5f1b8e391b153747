//! The table of this program's settings: names and defaults are Kong's wherever Kong has the idea.

use settings::{Key, Kind, both};

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
    both::CLUSTER_CERT_KEY,
    both::CLUSTER_CA_CERT,
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
    both::INCREMENTAL_SYNC,
    both::encryption_mode(&store::Mode::NAMES),
    both::ENCRYPTION_KEY,
    both::ENCRYPTION_KEY_FORMER,
    both::log_level(&os::log::Level::NAMES),
];
