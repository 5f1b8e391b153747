//! Settings and options that both programs have and that mean the same in both: their rows of the tables, written once.

use crate::{Key, Kind, Opt};

/// `cluster_cert_key`
pub const CLUSTER_CERT_KEY: Key =
    Key::unset("cluster_cert_key", Kind::Text, "The key of cluster_cert: a path, PEM text or base64 of it.").secret();

/// `cluster_ca_cert`
pub const CLUSTER_CA_CERT: Key = Key::unset(
    "cluster_ca_cert",
    Kind::Text,
    "The issuers that cluster_mtls = \"pki\" trusts: a path, PEM text or base64 of it. Unset: those of the operating \
     system.",
);

/// `incremental_sync`
pub const INCREMENTAL_SYNC: Key = Key::new(
    "incremental_sync",
    Kind::Flag,
    "on",
    "Whether changes travel alone. Off: every change brings the whole configuration.",
);

/// `declarative_config_encryption_mode`, one of these words, of which `off` must be one.
pub const fn encryption_mode(modes: &'static [&'static str]) -> Key {
    Key::new(
        "declarative_config_encryption_mode",
        Kind::Choice(modes),
        "off",
        "How the store is encrypted: off, aes-256-gcm or chacha20-poly1305. Its key is derived from \
         declarative_config_encryption_key, or where that is unset from cluster_cert_key: with another one the store \
         cannot be read. What is stored already is written anew.",
    )
}

/// `declarative_config_encryption_key`
pub const ENCRYPTION_KEY: Key = Key::unset(
    "declarative_config_encryption_key",
    Kind::Text,
    "The path of a secret of its own for the store, instead of cluster_cert_key: a private key in PEM, or a file of at \
     least 16 bytes that nobody can guess.",
)
.secret();

/// `declarative_config_encryption_key_former`
pub const ENCRYPTION_KEY_FORMER: Key = Key::unset(
    "declarative_config_encryption_key_former",
    Kind::Text,
    "The path of the secret that the store was encrypted with before: the former cluster_cert_key or \
     declarative_config_encryption_key. While it is set, the store opens with either; without it, only with the present \
     one.",
)
.secret();

/// `log_level`, one of these words, of which `notice` must be one.
pub const fn log_level(levels: &'static [&'static str]) -> Key {
    Key::new("log_level", Kind::Choice(levels), "notice", "How grave a line must be to be logged.")
}

/// `--show`, of `check`.
pub const SHOW: Opt =
    Opt { long: "show", short: None, value: None, doc: "Print the merged settings and where each came from." };

/// `--json`
pub const JSON: Opt = Opt { long: "json", short: None, value: None, doc: "Print JSON." };
