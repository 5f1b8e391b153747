//! A JSON Web Token taken apart (RFC 7519, RFC 7515 compact form). Pure; the time is an argument.

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};
use std::time::Duration;

/// Decodes base64 in the URL-safe alphabet, padded or not, as tokens in the wild are.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Base64 in either alphabet to bytes.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let url_safe = text.replace('+', "-").replace('/', "_");
    LENIENT.decode(url_safe).ok()
}

/// A token whose signature has not been looked at.
#[derive(Debug)]
pub(super) struct Token<'a> {
    pub(super) header: Map<String, Value>,
    pub(super) claims: Map<String, Value>,
    /// What the signature is over.
    pub(super) signed: &'a [u8],
    pub(super) signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// What is wrong with it, as Kong words it.
    pub(super) fn parse(text: &'a str) -> Result<Self, &'static str> {
        let (signed, signature) = text.rsplit_once('.').ok_or("invalid JSON")?;
        let (header, claims) = signed.split_once('.').ok_or("invalid JSON")?;
        let object = |part: &str| {
            let bytes = decode_base64(part)?;
            serde_json::from_slice::<Map<String, Value>>(&bytes).ok()
        };
        let header = object(header).ok_or("invalid JSON")?;
        let claims = object(claims).ok_or("invalid JSON")?;
        let typ = header.get("typ");
        if typ.is_some_and(|typ| !typ.as_str().is_some_and(|typ| typ.eq_ignore_ascii_case("JWT"))) {
            return Err("invalid typ");
        }
        if !header.get("alg").is_some_and(Value::is_string) {
            return Err("invalid alg");
        }
        let signature = decode_base64(signature).filter(|bytes| !bytes.is_empty()).ok_or("invalid signature")?;
        Ok(Self { header, claims, signed: signed.as_bytes(), signature })
    }

    /// What is wrong with the claims that must hold, by claim; empty when nothing is.
    pub(super) fn violations(&self, verify: &[Claim], now: Duration) -> Map<String, Value> {
        let now = now.as_secs_f64().floor();
        let mut wrong = Map::new();
        for claim in verify {
            let message = match (claim, self.claims.get(claim.name()).and_then(Value::as_f64)) {
                (_, None) => "must be a number",
                (Claim::Exp, Some(at)) if at <= now => "token expired",
                (Claim::Nbf, Some(at)) if at > now => "token not valid yet",
                _ => continue,
            };
            wrong.insert(claim.name().to_owned(), message.into());
        }
        wrong
    }

    /// Whether it expires within `seconds`.
    pub(super) fn expires_within(&self, seconds: f64, now: Duration) -> bool {
        let exp = self.claims.get("exp").and_then(Value::as_f64);
        exp.is_some_and(|at| at - now.as_secs_f64().floor() <= seconds)
    }
}

/// The registered claims that can be verified (RFC 7519 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// Expiration time.
    Exp,
    /// Not before.
    Nbf,
}

impl Claim {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Exp => "exp",
            Self::Nbf => "nbf",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Exp, Self::Nbf].into_iter().find(|claim| claim.name() == name)
    }
}
