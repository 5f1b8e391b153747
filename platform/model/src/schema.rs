//! Schemas: Kong's JSON for an entity into its canonical form, or every mistake in it at once. A schema is a const
//! table of fields and checks; one walker here reads all tables. Neighbours: [`crate::kinds`] and [`crate::plugins`]
//! hold the tables, the Admin API shows what comes out.

mod checks;
mod field;
mod fill;
pub(crate) mod host;
pub(crate) mod jwk;
mod lifetime;
pub(crate) mod pem;
pub(crate) mod route;
pub(crate) mod show;
#[cfg(test)]
mod tests;
pub(crate) mod text;
pub(crate) mod url;
mod violations;
mod walk;

pub use field::{EntityCheck, Field, Literal, Rule, Subschema, Then, Type, When};
pub use lifetime::TTL_MAX_S;
pub use route::path_regex;
pub use violations::Violations;

use crate::Id;
use crate::body::Object;
use serde_json::Value;

/// Finds what depends on the entity's own content.
pub type SubschemaOf = fn(&Object) -> Result<Subschema, Violations>;

/// The fields and checks of an entity or of a plugin's configuration.
#[derive(Debug)]
pub struct Schema {
    /// Kong's name of it: `services`, `key-auth`.
    pub name: &'static str,
    /// The field by which an entity may be named in place of its id.
    pub endpoint_key: Option<&'static str>,
    /// Fields that are unique together (Kong's `cache_key`), where that is more than one field.
    pub cache_key: &'static [&'static str],
    /// The fields, in the order of the canonical form.
    pub fields: &'static [Field],
    /// What must hold between fields.
    pub checks: &'static [EntityCheck],
    /// What is done to the input before its fields are looked at, such as Kong's shorthand `url`.
    pub prepare: Option<fn(&mut Object, &mut Violations)>,
    /// What depends on the entity's own content. An error ends the check at once.
    pub subschema: Option<SubschemaOf>,
}

/// What a check needs from outside.
pub struct CheckCx<'a> {
    /// Now, in milliseconds since 1970.
    pub now_ms: i64,
    /// Gives new random ids; generated keys and secrets are made of them too.
    pub new_id: &'a dyn Fn() -> Id,
    /// Looks into certificates and keys; without it only their PEM shape is checked.
    pub certificates: Option<&'a dyn CertificateChecks>,
    /// Whether an `updated_at` in the input stands (declarative files) or is replaced by now (Admin API).
    pub keeps_updated_at: bool,
}

/// What needs an X.509 parser. Implemented by the control plane. Errors are texts for the field.
pub trait CertificateChecks {
    /// The text is a PEM certificate that parses.
    ///
    /// # Errors
    /// Why it does not.
    fn certificate(&self, pem: &str) -> Result<(), String>;

    /// The text is a PEM private key that parses.
    ///
    /// # Errors
    /// Why it does not.
    fn private_key(&self, pem: &str) -> Result<(), String>;

    /// The text is a PEM public key that parses.
    ///
    /// # Errors
    /// Why it does not.
    fn public_key(&self, pem: &str) -> Result<(), String>;

    /// The two PEM keys are of one pair. Keys of a sort that the implementation does not know pass.
    ///
    /// # Errors
    /// Kong's text is `public key does not match private key`.
    fn key_pair(&self, public_key: &str, private_key: &str) -> Result<(), String>;

    /// The key is the certificate's.
    ///
    /// # Errors
    /// Kong's text is `certificate does not match key`.
    fn pair(&self, certificate: &str, private_key: &str) -> Result<(), String>;

    /// The two certificates have keys of different types (RSA and ECDSA).
    ///
    /// # Errors
    /// Kong's text is `certificate and alternative certificate need to have different type (e.g. RSA and ECDSA), the
    /// provided certificates were both of the same type`.
    fn alternates(&self, certificate: &str, other: &str) -> Result<(), String>;

    /// The certificate may sign others and has not expired at `now_s` (seconds since 1970).
    ///
    /// # Errors
    /// Kong's texts are `certificate expired, "Not After" time is in the past` and `certificate does not appear to be a
    /// CA because it is missing the "CA" basic constraint`.
    fn authority(&self, certificate: &str, now_s: i64) -> Result<(), String>;
}

impl Schema {
    /// Checks a new entity: unknown fields are refused, defaults and generated fields filled in. The canonical form
    /// has every field, `null` where unset, in the order of the table.
    ///
    /// # Errors
    /// Every mistake, with its field path.
    pub fn check(&self, cx: &CheckCx<'_>, mut input: Object) -> Result<Object, Violations> {
        let mut found = Violations::default();
        lifetime::resolve(self.fields, cx, &mut input, &mut found);
        found.before(self.run(cx, input, Occasion::Insert))
    }

    /// Checks a change (PATCH) of an entity: records merge deeply, arrays, sets and maps are replaced, `null` unsets.
    ///
    /// # Errors
    /// Every mistake, with its field path.
    pub fn merge(&self, cx: &CheckCx<'_>, existing: &Object, mut patch: Object) -> Result<Object, Violations> {
        let mut found = Violations::default();
        if let Some(prepare) = self.prepare {
            prepare(&mut patch, &mut found);
        }
        lifetime::resolve(self.fields, cx, &mut patch, &mut found);
        let subschema = self.subschema_of(patch.get("name").map_or(existing, |_| &patch)).unwrap_or_default();
        let merged = fill::merge(self.fields, subschema.config, existing.clone(), patch);
        found.before(self.run(cx, merged, Occasion::Update))
    }

    /// The field with this name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// A value of a field as it is kept: as clients may write it, it may have several forms.
    #[must_use]
    pub fn normalized(&self, field: &str, value: &str) -> String {
        let mut entity = Object::from_iter([(field.to_owned(), Value::from(value))]);
        if let Some(prepare) = self.prepare {
            prepare(&mut entity, &mut Violations::default());
        }
        entity.get(field).and_then(Value::as_str).unwrap_or(value).to_owned()
    }

    fn subschema_of(&self, entity: &Object) -> Result<Subschema, Violations> {
        self.subschema.map_or_else(|| Ok(Subschema::default()), |subschema| subschema(entity))
    }

    fn run(&self, cx: &CheckCx<'_>, mut input: Object, occasion: Occasion) -> Result<Object, Violations> {
        let mut found = Violations::default();
        if let Some(prepare) = self.prepare {
            prepare(&mut input, &mut found);
        }
        let subschema = self.subschema_of(&input)?;
        fill::auto(self.fields, cx, &mut input);
        let walk = walk::Walk { subschema, refuses_vaults: false };
        let config = subschema.config.zip(self.object_field());
        let partial = config.and_then(|(schema, field)| walk.config(schema, input.get(field)));
        let (canonical, complaints) = walk.fields(self.fields, input);
        for (name, complaint) in complaints {
            found.put(&name, complaint);
        }
        checks::run(self.checks, cx, &canonical, "", occasion, &mut found);
        if let Some(((schema, field), config)) = config.zip(partial) {
            checks::run(schema.checks, cx, &config, &format!("{field}."), occasion, &mut found);
        }
        if found.is_empty() { Ok(canonical) } else { Err(found) }
    }

    /// The name of the field that a subschema checks.
    fn object_field(&self) -> Option<&'static str> {
        self.fields.iter().find(|field| matches!(field.ty, Type::Object)).map(|field| field.name)
    }
}

/// Whether an entity is made or changed; some of Kong's texts tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occasion {
    Insert,
    Update,
}
