//! The list of entity kinds. Adding a kind is one file below [`crate::kinds`] and one line here.

use crate::Id;
use crate::body::{BodyError, Object, Tags};
use crate::kinds;
use crate::schema::Schema;

/// A kind of entity. The discriminant is its code on the wire and in the store, and never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// `services`
    Service = 1,
    /// `routes`
    Route = 2,
    /// `consumers`
    Consumer = 3,
    /// `plugins`
    Plugin = 4,
    /// `upstreams`
    Upstream = 5,
    /// `targets`
    Target = 6,
    /// `certificates`
    Certificate = 7,
    /// `snis`
    Sni = 8,
    /// `ca_certificates`
    CaCertificate = 9,
    /// `keyauth_credentials`
    KeyauthCredential = 10,
    /// `jwt_secrets`
    JwtSecret = 11,
    /// `key_sets`
    KeySet = 12,
    /// `keys`
    Key = 13,
}

/// Canonical JSON to body bytes.
pub type ToBody = fn(&Object) -> Result<Vec<u8>, BodyError>;
/// Body bytes to canonical JSON.
pub type ToJson = fn(&[u8]) -> Result<Object, BodyError>;

/// Everything that is known of a kind without looking into one of its entities.
pub struct KindDef {
    /// Which kind.
    pub kind: Kind,
    /// Kong's name of the collection in schemas, errors and declarative files: `services`, `keyauth_credentials`.
    pub name: &'static str,
    /// The path of the flat collection in the Admin API: `services`, `key-auths`.
    pub admin_path: &'static str,
    /// The path of the collection below a parent, where it differs: `key-auth` below a consumer.
    pub nested_path: &'static str,
    /// The field by which an entity may be named in place of its id: `name`, `username`, `key`.
    pub endpoint_key: Option<&'static str>,
    /// Version of the body layout that [`KindDef::to_body`] writes.
    pub body_version: u16,
    /// The fields that came after version 1 of the layout, oldest first.
    pub appended: &'static [Appended],
    /// Fields, defaults and checks.
    pub schema: &'static Schema,
    /// Canonical JSON (as [`Schema::check`] returns it, with `id` and timestamps) to body bytes.
    pub to_body: ToBody,
    /// Body bytes to the JSON that the Admin API shows: every field, `null` where unset.
    pub to_json: ToJson,
    /// What indexes need to know of an entity.
    pub facts: fn(&[u8]) -> Result<Facts, BodyError>,
    /// The tags of an entity.
    pub tags: fn(&[u8]) -> Result<Tags, BodyError>,
    /// The name of its struct, and what the struct is made of.
    #[cfg(test)]
    pub(crate) shape: fn(&mut crate::body::shape::Shapes) -> String,
}

/// A field that a body layout got after its first version. A reader of an older version does not see it, for bodies are
/// append-only; whether that does harm is decided here, once for each field.
#[derive(Debug)]
pub struct Appended {
    /// The version of the layout that brought it.
    pub body: u16,
    /// Its name in the Admin API; below `config` for a plugin's.
    pub field: &'static str,
    /// Whether an entity that uses it may be given to a node that does not know it: what the node does with the rest of
    /// the entity is then still right, if less. A node that would do what the entity forbids (serve what has expired,
    /// let in whom the field keeps out) must not have it.
    pub harmless: bool,
    /// Whether an entity uses it.
    pub used: fn(&[u8]) -> Result<bool, BodyError>,
}

/// The version of a body layout with these additions.
pub(crate) const fn body_version(appended: &[Appended]) -> u16 {
    match appended.last() {
        Some(last) => last.body,
        None => 1,
    }
}

/// What indexes need to know of an entity: what it refers to, what must be unique.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Foreign keys that are set.
    pub refs: Vec<Ref>,
    /// Values that no other entity of the kind may have.
    pub uniques: Vec<Unique>,
}

/// A typed entity, of any kind.
pub trait Entity: Sized {
    /// The entity in these bytes without its tags, which are checked all the same.
    ///
    /// # Errors
    /// When the bytes are too many or do not hold its fields.
    fn decode_untagged(bytes: &[u8]) -> Result<Self, BodyError>;

    /// What indexes need to know of it.
    fn facts(&self) -> Facts;
}

/// A foreign key that is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ref {
    /// The field that holds it.
    pub field: &'static str,
    /// The kind it points to.
    pub kind: Kind,
    /// The entity it points to.
    pub id: Id,
    /// Whether the entity goes when what it points to is deleted (else the deletion is refused).
    pub cascade: bool,
}

/// A value that no other entity of the kind may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unique {
    /// The field, or the fields joined by `,` for a compound key (Kong's `cache_key`).
    pub field: &'static str,
    /// The value; for a compound key the values joined by `:`.
    pub value: String,
}

impl Unique {
    /// The key of an index of unique values, which may be of several kinds: a hash of kind, field and value.
    #[must_use]
    pub fn key(kind: Kind, field: &str, value: &str) -> u128 {
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        hash.update(&[kind.code()]);
        hash.update(field.as_bytes());
        hash.update(&[0]);
        hash.update(value.as_bytes());
        hash.digest128()
    }
}

/// How many kinds there are.
pub const KINDS: usize = 13;

/// All kinds, parents before children, so that loading in this order meets every reference after what it points to.
pub static ALL: [&KindDef; KINDS] = [
    &kinds::ca_certificates::DEF,
    &kinds::certificates::DEF,
    &kinds::snis::DEF,
    &kinds::upstreams::DEF,
    &kinds::targets::DEF,
    &kinds::services::DEF,
    &kinds::routes::DEF,
    &kinds::consumers::DEF,
    &kinds::keyauth_credentials::DEF,
    &kinds::jwt_secrets::DEF,
    &kinds::key_sets::DEF,
    &kinds::keys::DEF,
    &kinds::plugins::DEF,
];

impl Kind {
    /// The code on the wire and in the store.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The kind with this code, if this build knows one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        ALL.iter().map(|def| def.kind).find(|kind| kind.code() == code)
    }

    /// The kind with Kong's collection name (`services`), if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        ALL.iter().find(|def| def.name == name).map(|def| def.kind)
    }

    /// Its definition.
    #[must_use]
    pub fn def(self) -> &'static KindDef {
        ALL.iter().copied().find(|def| def.kind == self).unwrap_or(ALL[0])
    }

    /// Its place in arrays of [`KINDS`] elements.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize - 1
    }
}
