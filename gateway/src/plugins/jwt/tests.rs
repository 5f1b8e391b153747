//! Keys and tokens by themselves; the plugin at work is in `tests/proxy_plugins.rs`.

use super::key::{KeyError, VerifyKey};
use super::token::{Claim, Token};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use model::kinds::jwt_secrets::JwtAlgorithm;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use serde_json::{Value, json};
use std::time::Duration;

const NOW: Duration = Duration::from_secs(1_000);

/// The example of RFC 7515 appendix A.1, whose key is base64.
const RFC_TOKEN: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const RFC_KEY: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";

fn token(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2ln", part(header), part(claims))
}

/// A `PUBLIC KEY` block around a bare key.
fn public_key(algorithm_identifier: &[u8], key: &[u8]) -> String {
    let element = |tag: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).unwrap();
        let length = if length < 0x80 { vec![length] } else { vec![0x81, length] };
        [&[tag][..], &length, content].concat()
    };
    let bits = element(0x03, &[&[0], key].concat());
    let der = element(0x30, &[&element(0x30, algorithm_identifier)[..], &bits].concat());
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
}

#[test]
fn verifies_the_example_of_the_rfc() {
    let token = Token::parse(RFC_TOKEN).unwrap();
    let key = VerifyKey::parse(JwtAlgorithm::Hs256, Some(RFC_KEY), None).unwrap().decoded().unwrap();
    assert!(key.verifies(token.signed, &token.signature));
    let other = VerifyKey::parse(JwtAlgorithm::Hs256, Some("other"), None).unwrap();
    assert!(!other.verifies(token.signed, &token.signature));
    assert_eq!(token.claims["iss"], "joe");
}

#[test]
fn verifies_elliptic_curves_and_refuses_a_flipped_bit() {
    const P256: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    const P384: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 0x22];
    let random = SystemRandom::new();
    let curves = [
        (JwtAlgorithm::Es256, JwtAlgorithm::Es384, &ECDSA_P256_SHA256_FIXED_SIGNING, P256),
        (JwtAlgorithm::Es384, JwtAlgorithm::Es256, &ECDSA_P384_SHA384_FIXED_SIGNING, P384),
    ];
    for (algorithm, other, signing, identifier) in curves {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(signing, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(signing, pkcs8.as_ref(), &random).unwrap();
        let pem = public_key(identifier, pair.public_key().as_ref());
        let key = VerifyKey::parse(algorithm, None, Some(&pem)).unwrap();
        let mut signature = pair.sign(&random, b"message").unwrap().as_ref().to_vec();
        assert!(key.verifies(b"message", &signature), "{algorithm:?}");
        signature[7] ^= 1;
        assert!(!key.verifies(b"message", &signature), "{algorithm:?}");
        assert_eq!(VerifyKey::parse(other, None, Some(&pem)), Err(KeyError::PublicKey(other)), "another curve");
    }
}

#[test]
fn verifies_ed25519() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let pem = public_key(&[6, 3, 0x2b, 0x65, 0x70], pair.public_key().as_ref());
    let key = VerifyKey::parse(JwtAlgorithm::EdDsa, None, Some(&pem)).unwrap();
    assert!(key.verifies(b"message", pair.sign(b"message").as_ref()));
    assert!(!key.verifies(b"massage", pair.sign(b"message").as_ref()));
}

/// Made with `openssl`: a key of 2048 bits, and its PKCS#1 and PSS signatures (SHA-256) over `message`.
#[test]
fn verifies_rsa_both_ways() {
    let pem = include_str!("testdata/rsa.pub.pem");
    let signatures = [
        (JwtAlgorithm::Rs256, include_str!("testdata/rs256.sig.b64")),
        (JwtAlgorithm::Ps256, include_str!("testdata/ps256.sig.b64")),
    ];
    for (algorithm, signature) in signatures {
        let key = VerifyKey::parse(algorithm, None, Some(pem)).unwrap();
        let signature = STANDARD.decode(signature.trim()).unwrap();
        assert!(key.verifies(b"message", &signature), "{algorithm:?}");
        assert!(!key.verifies(b"massage", &signature), "{algorithm:?}");
    }
}

#[test]
fn says_why_a_credential_cannot_verify() {
    let error = VerifyKey::parse(JwtAlgorithm::Es512, None, Some("x")).unwrap_err();
    assert_eq!(error.to_string(), "algorithm 'ES512' is not available in this build");
    let error = VerifyKey::parse(JwtAlgorithm::Rs256, Some("secret"), None).unwrap_err();
    assert_eq!(error.to_string(), "algorithm 'RS256' needs 'rsa_public_key'");
    let error =
        VerifyKey::parse(JwtAlgorithm::Rs256, None, Some("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"));
    assert_eq!(error, Err(KeyError::PublicKey(JwtAlgorithm::Rs256)));
}

#[test]
fn says_what_is_wrong_with_a_token_in_kongs_words() {
    let header = json!({ "alg": "HS256" });
    let cases = [
        ("nodots".to_owned(), "invalid JSON"),
        ("a.b.c".to_owned(), "invalid JSON"),
        (token(&json!({ "alg": "HS256", "typ": "JWE" }), &json!({})), "invalid typ"),
        (token(&json!({}), &json!({})), "invalid alg"),
        (token(&header, &json!({})).replace("c2ln", ""), "invalid signature"),
    ];
    for (text, message) in cases {
        assert_eq!(Token::parse(&text).err(), Some(message), "{text}");
    }
    assert!(Token::parse(&token(&header, &json!({}))).is_ok());
}

#[test]
fn claims_are_compared_with_now() {
    let violations = |claims: Value| {
        let text = token(&json!({ "alg": "HS256" }), &claims);
        Value::Object(Token::parse(&text).unwrap().violations(&[Claim::Exp, Claim::Nbf], NOW))
    };
    assert_eq!(violations(json!({ "exp": 1001, "nbf": 1000 })), json!({}));
    assert_eq!(
        violations(json!({ "exp": 1000, "nbf": 1001 })),
        json!({ "exp": "token expired", "nbf": "token not valid yet" })
    );
    assert_eq!(violations(json!({ "exp": "x" })), json!({ "exp": "must be a number", "nbf": "must be a number" }));
}

#[test]
fn a_token_may_not_live_too_long() {
    let text = token(&json!({ "alg": "HS256" }), &json!({ "exp": 1100 }));
    let token = Token::parse(&text).unwrap();
    assert!(token.expires_within(100.0, NOW));
    assert!(!token.expires_within(99.0, NOW));
}
