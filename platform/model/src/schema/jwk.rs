//! The shape of a JSON Web Key (RFC 7517 §4, RFC 7518 §6.2 and §6.3, RFC 8037 §2): its members, and numbers of the right
//! length. Whether the numbers are a key takes arithmetic, and is the business of whoever uses it. No message says more of
//! the text than the names of its members: it is a secret.

use crate::body::Object;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// Members that are texts.
const TEXTS: [&str; 23] = [
    "issuer", "kty", "use", "alg", "kid", "x5u", "x5t", "x5t#S256", "k", "x", "y", "crv", "n", "e", "d", "p", "q",
    "dp", "dq", "qi", "oth", "r", "t",
];
/// Members that are lists of texts.
const LISTS: [&str; 2] = ["key_ops", "x5c"];

/// Curves by the type of the key, and how many bytes a coordinate has.
const CURVES: [(&str, &str, usize); 7] = [
    ("EC", "P-256", 32),
    ("EC", "P-384", 48),
    ("EC", "P-521", 66),
    ("OKP", "Ed25519", 32),
    ("OKP", "Ed448", 57),
    ("OKP", "X25519", 32),
    ("OKP", "X448", 56),
];

/// The text is a JWK of a public or private key, called `kid`. Kong's texts.
pub(crate) fn check(text: &str, kid: &str) -> Result<(), String> {
    let json: Value = serde_json::from_str(text).map_err(|_| "could not json decode jwk string")?;
    let named = json.as_object().filter(|key| key.get("kid").and_then(Value::as_str) == Some(kid));
    let key = named.ok_or("kid in jwk.kid must be equal to keys.kid")?;
    if !is_key(key) {
        return Err("could not load JWK, likely not a valid key".to_owned());
    }
    let set = key.iter().filter(|(_, value)| !value.is_null());
    let found: Vec<_> = set.filter_map(|(name, value)| Some(format!("{name}: {}", complaint(name, value)?))).collect();
    if found.is_empty() { Ok(()) } else { Err(format!("schema violation ({})", found.join("; "))) }
}

fn complaint(name: &str, value: &Value) -> Option<&'static str> {
    let texts = |list: &Vec<Value>| list.iter().all(Value::is_string);
    match name {
        name if TEXTS.contains(&name) => (!value.is_string()).then_some("expected a string"),
        name if LISTS.contains(&name) => (!value.as_array().is_some_and(texts)).then_some("expected an array"),
        _ => Some("unknown field"),
    }
}

/// Whether what makes the key is there.
fn is_key(key: &Object) -> bool {
    let text = |name: &str| key.get(name).and_then(Value::as_str);
    let bytes = |name: &str| text(name).and_then(number);
    let private_ok = |names: &[&str]| names.iter().all(|name| text(name).is_none() || bytes(name).is_some());
    match (text("kty"), text("crv")) {
        (Some("RSA"), _) => {
            bytes("n").is_some() && bytes("e").is_some() && private_ok(&["d", "p", "q", "dp", "dq", "qi"])
        }
        (Some(kty), Some(crv)) => {
            let curve = CURVES.iter().find(|(of, name, _)| (*of, *name) == (kty, crv));
            let coordinate = |name: &str, length: usize| bytes(name) == Some(length);
            curve.is_some_and(|(_, _, length)| {
                coordinate("x", *length) && (kty == "OKP" || coordinate("y", *length)) && private_ok(&["d"])
            })
        }
        _ => false,
    }
}

/// How many bytes a number in base64url has; none if it is no such.
fn number(text: &str) -> Option<usize> {
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
    Some(bytes.len()).filter(|length| *length > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const BAD: &str = "could not load JWK, likely not a valid key";

    fn of(length: usize) -> String {
        URL_SAFE_NO_PAD.encode(vec![7; length])
    }

    fn checked(mut key: Value) -> Result<(), String> {
        key["kid"] = json!("k");
        check(&key.to_string(), "k")
    }

    #[test]
    fn keys_of_every_type_pass_public_and_private() {
        for key in [
            json!({"kty": "RSA", "n": of(256), "e": "AQAB"}),
            json!({"kty": "RSA", "n": of(256), "e": "AQAB", "d": of(256), "p": of(128), "q": of(128), "dp": of(128),
                   "dq": of(128), "qi": of(128), "use": "sig", "alg": "RS256", "key_ops": ["sign"], "x5c": ["MA=="]}),
            json!({"kty": "EC", "crv": "P-256", "x": of(32), "y": of(32)}),
            json!({"kty": "EC", "crv": "P-384", "x": of(48), "y": of(48), "d": of(48)}),
            json!({"kty": "EC", "crv": "P-521", "x": of(66), "y": of(66), "alg": null}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": of(32), "d": of(32)}),
            json!({"kty": "OKP", "crv": "X448", "x": format!("{}=", of(56))}),
        ] {
            assert_eq!(checked(key.clone()), Ok(()), "{key}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_in_kongs_words() {
        for key in [
            json!({}),
            json!({"kty": "oct", "k": of(32)}),
            json!({"kty": "RSA", "n": of(256)}),
            json!({"kty": "RSA", "n": of(256), "e": "AQ*B"}),
            json!({"kty": "RSA", "n": of(256), "e": "AQAB", "d": "*"}),
            json!({"kty": "EC", "crv": "P-256", "x": of(32)}),
            json!({"kty": "EC", "crv": "P-256", "x": of(31), "y": of(32)}),
            json!({"kty": "EC", "crv": "Ed25519", "x": of(32), "y": of(32)}),
            json!({"kty": "OKP", "crv": "Ed25519", "x": of(33)}),
            json!({"kty": "OKP", "crv": "Ed25519", "d": of(32)}),
        ] {
            assert_eq!(checked(key.clone()), Err(BAD.to_owned()), "{key}");
        }
        assert_eq!(check("{", "k"), Err("could not json decode jwk string".to_owned()));
        for text in ["7", "[]", "null", "{}", r#"{"kid":"other"}"#, r#"{"kid":1}"#] {
            assert_eq!(check(text, "k"), Err("kid in jwk.kid must be equal to keys.kid".to_owned()), "{text}");
        }
    }

    #[test]
    fn members_that_a_jwk_has_not_are_named_and_nothing_of_the_key_is_told() {
        let key = json!({"kty": "OKP", "crv": "Ed25519", "x": of(32), "d": of(32), "colour": "secret", "use": 1});
        let expected = "schema violation (colour: unknown field; use: expected a string)";
        assert_eq!(checked(key), Err(expected.to_owned()));
        let key = json!({"kty": "OKP", "crv": "Ed25519", "x": of(32), "x5c": "MA=="});
        assert_eq!(checked(key), Err("schema violation (x5c: expected an array)".to_owned()));
    }
}
