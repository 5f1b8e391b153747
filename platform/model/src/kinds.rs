//! The entity kinds, a file each: what it is, its struct, its table of fields, what indexes need to know of it, and its
//! line in [`crate::kind::ALL`]. What several kinds share is here.

pub mod ca_certificates;
pub mod certificates;
pub mod consumers;
#[cfg(test)]
mod document;
pub mod jwt_secrets;
pub mod key_sets;
pub mod keyauth_credentials;
pub mod keys;
pub mod plugins;
pub mod routes;
pub mod services;
pub mod snis;
pub mod targets;
#[cfg(test)]
mod tests;
pub mod upstreams;

use crate::Kind;
use crate::body::{ForeignKey, words};
use crate::kind::{Facts, Ref, Unique};
use crate::schema::{Field, Rule, Type, text};

words! {
    /// What a service or route speaks.
    pub enum Protocol {
        /// gRPC over cleartext HTTP/2.
        Grpc = "grpc",
        /// gRPC over TLS.
        Grpcs = "grpcs",
        /// HTTP.
        Http = "http",
        /// HTTP over TLS.
        Https = "https",
        /// Bytes.
        Tcp = "tcp",
        /// Bytes over TLS, ended here.
        Tls = "tls",
        /// Bytes over TLS, passed on as they are.
        TlsPassthrough = "tls_passthrough",
        /// Datagrams.
        Udp = "udp",
    }
}

/// `id`, as every kind has it.
pub(crate) const ID: Field = Field::string("id").rules(&[Rule::Uuid]).auto();
/// `created_at` in seconds.
pub(crate) const CREATED_AT: Field = Field::integer("created_at", &[Rule::Timestamp]).auto();
/// `updated_at` in seconds.
pub(crate) const UPDATED_AT: Field = Field::integer("updated_at", &[Rule::Timestamp]).auto();
/// `tags`.
pub(crate) const TAGS: Field = Field::set("tags", &Field::string("").rules(&[Rule::Text(text::tag)]).required());
/// A name that is unique within its kind.
pub(crate) const NAME: Field = Field::string("name").rules(&[Rule::Text(text::name)]).unique();
/// A port.
pub(crate) const PORT: Field = Field::integer("port", &[Rule::Between(0, 65535)]);
/// One of Kong's protocols.
pub(crate) const PROTOCOL: Field = Field::word("protocol", &[Rule::OneOf(Protocol::WORDS)]);
/// Several of Kong's protocols.
pub(crate) const PROTOCOLS: Field = Field::set("protocols", &PROTOCOL).required();

/// Collects what indexes need to know of an entity.
impl Facts {
    /// A foreign key, if set.
    pub(crate) fn refers(mut self, field: &'static str, kind: Kind, key: Option<ForeignKey>, cascade: bool) -> Self {
        self.refs.extend(key.map(|key| Ref { field, kind, id: key.id, cascade }));
        self
    }

    /// A unique value, if set.
    pub(crate) fn unique(mut self, field: &'static str, value: Option<String>) -> Self {
        self.uniques.extend(value.map(|value| Unique { field, value }));
        self
    }
}

/// The definition of a kind whose struct, schema and facts are in scope.
macro_rules! def {
    ($kind:ident, $entity:ident, $name:literal, $admin:literal, $nested:literal) => {
        $crate::kinds::def!($kind, $entity, $name, $admin, $nested, appended & []);
    };
    ($kind:ident, $entity:ident, $name:literal, $admin:literal, $nested:literal, appended $appended:expr) => {
        /// The kind's line in [`crate::kind::ALL`].
        pub static DEF: $crate::kind::KindDef = $crate::kind::KindDef {
            kind: $crate::Kind::$kind,
            name: $name,
            admin_path: $admin,
            nested_path: $nested,
            endpoint_key: SCHEMA.endpoint_key,
            body_version: $crate::kind::body_version($appended),
            appended: $appended,
            schema: &SCHEMA,
            to_body: |canonical| $crate::body::typed::<$entity>(canonical)?.encode(),
            to_json: |bytes| $crate::body::json(&$entity::decode(bytes)?),
            facts: |bytes| <$entity as $crate::kind::Entity>::decode_untagged(bytes).map(|entity| facts(&entity)),
            tags: |bytes| Ok($entity::decode(bytes)?.tags),
            #[cfg(test)]
            shape: <$entity as $crate::body::shape::Shape>::shape,
        };

        impl $crate::kind::Entity for $entity {
            fn decode_untagged(bytes: &[u8]) -> Result<Self, $crate::body::BodyError> {
                Self::read_fields(&mut $crate::body::Reader::without_tags(bytes)?)
            }

            fn facts(&self) -> $crate::kind::Facts {
                facts(self)
            }
        }
    };
}
pub(crate) use def;

/// The elements of `sources` and `destinations`.
pub(crate) const IP_PORT: Field =
    Field::new("", Type::Record(&[Field::string("ip").rules(&[Rule::Text(text::ip_or_cidr)]), PORT]))
        .rules(&[Rule::AtLeastOneOf(&["ip", "port"])]);
