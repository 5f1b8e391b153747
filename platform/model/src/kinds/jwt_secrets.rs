//! JWT secrets: what a consumer's tokens are signed with.

use super::{CREATED_AT, ID, TAGS, def};
use crate::body::{ForeignKey, Object, Tags, body, words};
use crate::kind::Facts;
use crate::schema::{CheckCx, EntityCheck, Field, Literal, Rule, Schema, Then, Violations, When, pem};
use crate::{Id, Kind};
use serde_json::Value;

words! {
    /// How tokens are signed (RFC 7518 §3.1, RFC 8037 §3.1).
    pub enum JwtAlgorithm {
        /// HMAC with SHA-256.
        Hs256 = "HS256",
        /// HMAC with SHA-384.
        Hs384 = "HS384",
        /// HMAC with SHA-512.
        Hs512 = "HS512",
        /// RSA PKCS#1 with SHA-256.
        Rs256 = "RS256",
        /// RSA PKCS#1 with SHA-384.
        Rs384 = "RS384",
        /// RSA PKCS#1 with SHA-512.
        Rs512 = "RS512",
        /// ECDSA on P-256.
        Es256 = "ES256",
        /// ECDSA on P-384.
        Es384 = "ES384",
        /// ECDSA on P-521.
        Es512 = "ES512",
        /// RSA PSS with SHA-256.
        Ps256 = "PS256",
        /// RSA PSS with SHA-384.
        Ps384 = "PS384",
        /// RSA PSS with SHA-512.
        Ps512 = "PS512",
        /// Ed25519 or Ed448.
        EdDsa = "EdDSA",
    }
}

body! {
    /// A key to verify tokens with.
    pub struct JwtSecret {
        /// Its id.
        pub id: Id,
        /// Seconds since 1970.
        pub created_at: i64,
        /// Whose it is.
        pub consumer: ForeignKey,
        /// What names it in a token's claim; unique.
        pub key: String,
        /// For HMAC.
        pub secret: Option<String>,
        /// PEM; for the others.
        pub rsa_public_key: Option<String>,
        /// Which algorithm tokens must use.
        pub algorithm: Option<JwtAlgorithm> = Some(JwtAlgorithm::Hs256),
        /// Tags.
        pub tags: Tags,
    }
}

/// Algorithms that verify with a public key.
const ASYMMETRIC: &[&str] = &["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA"];

/// Fields and checks.
pub static SCHEMA: Schema = Schema {
    name: "jwt_secrets",
    endpoint_key: Some("key"),
    cache_key: &[],
    fields: &[
        ID,
        CREATED_AT,
        Field::foreign("consumer", "consumers").required().cascade(),
        Field::string("key").unique().auto(),
        Field::string("secret").auto(),
        Field::string("rsa_public_key").rules(&[Rule::Text(pem::public_key)]),
        Field::word("algorithm", &[Rule::OneOf(JwtAlgorithm::WORDS)]).default(Literal::Text("HS256")),
        TAGS,
    ],
    checks: &[
        EntityCheck::Conditional {
            if_field: "algorithm",
            when: When::OneOf(ASYMMETRIC),
            then_field: "rsa_public_key",
            then: Then::Required,
            message: None,
        },
        EntityCheck::Custom { fields: &["algorithm", "rsa_public_key"], check: public_key },
    ],
    prepare: None,
    subschema: None,
};

/// The algorithm is one that data planes can verify, and the public key parses.
fn public_key(cx: &CheckCx<'_>, entity: &Object, found: &mut Violations) {
    if entity.get("algorithm").and_then(Value::as_str) == Some(JwtAlgorithm::Es512.as_str()) {
        found.add("algorithm", "ES512 is not available in this build: its cryptography has no curve P-521");
    }
    let Some(key) = entity.get("rsa_public_key").and_then(Value::as_str) else { return };
    if let Err(message) = cx.certificates.map_or(Ok(()), |checks| checks.public_key(key)) {
        found.add("rsa_public_key", message);
    }
}

fn facts(secret: &JwtSecret) -> Facts {
    Facts::default()
        .refers("consumer", Kind::Consumer, Some(secret.consumer), true)
        .unique("key", Some(secret.key.clone()))
}

def!(JwtSecret, JwtSecret, "jwt_secrets", "jwts", "jwt");
