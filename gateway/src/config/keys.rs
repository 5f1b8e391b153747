//! The table of this program's settings: names and defaults are Kong's wherever Kong has the idea.

use settings::{Key, Kind, both};

/// How many workers may be asked for.
pub(super) const WORKERS_MAX: u64 = 256;
/// The longest time that can be set, in seconds: a year.
const SECONDS_MAX: u64 = 31_536_000;

/// Every setting of `edge-gateway`, in the order of help.
pub const KEYS: &[Key] = &[
    Key::new("prefix", Kind::Text, "/var/lib/edge-gateway", "Directory of this node's state: its id and its store."),
    Key::new(
        "proxy_listen",
        Kind::List,
        "0.0.0.0:8000, 0.0.0.0:8443 ssl",
        "Addresses where clients connect, ADDRESS:PORT, with \"ssl\" after it for TLS, or off. A client whose TLS name \
         no certificate fits gets a self-signed one that is made at start.",
    ),
    Key::new(
        "status_listen",
        Kind::List,
        "127.0.0.1:8007",
        "Addresses of the read-only Status API, ADDRESS:PORT, or off.",
    ),
    Key::unset(
        "cluster_control_plane",
        Kind::List,
        "Control planes, HOST:PORT, up to 16, written alike on all nodes. Each node prefers one of them by its own id, so \
         that a fleet spreads over them, and goes to another one while that is away. Unset: this node serves what its \
         store or declarative_config holds.",
    ),
    Key::new(
        "cluster_use_proxy",
        Kind::Flag,
        "off",
        "Whether control planes are reached through proxy_server, with HTTP CONNECT.",
    ),
    Key::unset(
        "proxy_server",
        Kind::Text,
        "An HTTP proxy, http://USER:PASSWORD@HOST:PORT, used where cluster_use_proxy is on. USER and PASSWORD \
         percent-encoded, or left out.",
    )
    .secret(),
    Key::new(
        "cluster_heartbeat",
        Kind::Text,
        "auto",
        "Seconds of silence after which this node asks whether its control plane is there, 5 to 86400, or off. auto: \
         300, and then between 60 and 900 what the path is found to bear.",
    ),
    Key::new(
        "cluster_mtls",
        Kind::Choice(&pki::Mtls::NAMES),
        "shared",
        "How this node and its control plane trust each other: both hold the same certificate (shared), or each has \
         one that cluster_ca_cert issued (pki).",
    ),
    Key::unset("cluster_cert", Kind::Text, "The cluster certificate: a path, PEM text or base64 of it.").secret(),
    both::CLUSTER_CERT_KEY,
    both::CLUSTER_CA_CERT,
    Key::unset(
        "cluster_server_name",
        Kind::Text,
        "The name that the control plane's certificate must have with cluster_mtls = \"pki\". Unset: the host of \
         cluster_control_plane.",
    ),
    Key::unset("cluster_dp_labels", Kind::List, "Labels of this node, KEY:VALUE, shown by the control plane."),
    both::INCREMENTAL_SYNC,
    Key::new(
        "cluster_shrink_limit",
        Kind::Number { min: 0, max: 100 },
        "50",
        "The share, in percent, of the entities that came from a control plane that a full sync or a reconcile may take \
         away. One that would take more is held back, and what is here serves on, until \"cp-lite node confirm\"; 100 \
         holds nothing back.",
    ),
    Key::unset(
        "declarative_config",
        Kind::Text,
        "A declarative file (JSON or YAML) to serve while the store holds nothing that a control plane sent.",
    ),
    Key::unset(
        "snapshot_bundle",
        Kind::Text,
        "A signed snapshot bundle (\"cp-lite config export\", \"edge-gateway store export\") to begin with where the store \
         is empty and no declarative_config is set.",
    ),
    both::encryption_mode(&store::Mode::NAMES),
    both::ENCRYPTION_KEY,
    both::ENCRYPTION_KEY_FORMER,
    Key::new(
        "allow_debug_header",
        Kind::Flag,
        "off",
        "Whether a request with Kong-Debug: 1 is told its route and service in the answer's headers.",
    ),
    Key::new(
        "headers",
        Kind::List,
        "server_tokens, latency_tokens, X-Kong-Request-Id",
        "Headers that answers get: server_tokens, latency_tokens, X-Kong-Upstream-Status, X-Kong-Request-Id, single \
         names of these groups, or off.",
    ),
    Key::new(
        "headers_upstream",
        Kind::List,
        "X-Kong-Request-Id",
        "Headers that upstreams get: X-Kong-Request-Id or off.",
    ),
    Key::unset(
        "trusted_ips",
        Kind::List,
        "Addresses and networks (CIDR) of peers whose X-Forwarded-* headers and real_ip_header are believed.",
    ),
    Key::new("real_ip_header", Kind::Text, "X-Real-IP", "The header in which a trusted peer names its client."),
    Key::new(
        "real_ip_recursive",
        Kind::Flag,
        "off",
        "Whether trusted addresses in real_ip_header are skipped from the right.",
    ),
    Key::new(
        "lua_ssl_trusted_certificate",
        Kind::List,
        "system",
        "Issuers that services with tls_verify and without ca_certificates trust: paths, or system for those of the \
         operating system.",
    ),
    Key::new(
        "upstream_keepalive_pool_size",
        Kind::Number { min: 0, max: 65_536 },
        "512",
        "Idle connections kept per worker and upstream address; 0 keeps none.",
    ),
    Key::new(
        "upstream_keepalive_max_requests",
        Kind::Number { min: 0, max: u32::MAX as u64 },
        "10000",
        "Requests over one upstream connection before it is closed; 0 is no bound.",
    ),
    Key::new(
        "upstream_keepalive_idle_timeout",
        Kind::Number { min: 0, max: SECONDS_MAX },
        "60",
        "Seconds that an idle upstream connection is kept; 0 is no bound.",
    ),
    Key::new(
        "nginx_worker_processes",
        Kind::Text,
        "auto",
        "How many workers serve clients: a number, or auto for one per processor.",
    ),
    Key::new(
        "proxy_access_log",
        Kind::Text,
        "off",
        "Where requests are logged: a path (below prefix, unless it begins with /), /dev/stdout, or off.",
    ),
    both::log_level(&os::log::Level::NAMES),
];
