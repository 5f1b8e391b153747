//! `jwt`: the caller shows a signed token; one of its claims (`iss`) names the credential whose key must have signed it.

mod key;
mod token;

#[cfg(test)]
mod tests;

pub use key::{KeyError, VerifyKey};

use super::auth::Common;
use super::cx::{Answer, Cx};
use super::form;
use super::{Access, Fields, Plugin, PluginError, Site};
use http::StatusCode;
use http::header::{COOKIE, WWW_AUTHENTICATE};
use model::Id;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::sync::Arc;
use token::{Claim, Token};

/// The plugin's name.
pub const NAME: &str = "jwt";

/// The plugin before it is configured.
pub(super) struct Definition;

impl super::Definition for Definition {
    fn name(&self) -> &'static str {
        NAME
    }

    fn priority(&self) -> i32 {
        1450
    }

    fn build(&self, config: &Map<String, Value>, _: &Site<'_>) -> Result<Arc<dyn Plugin>, PluginError> {
        Ok(Arc::new(Jwt::parse(config)?))
    }
}

/// A configured instance.
#[derive(Debug)]
pub struct Jwt {
    uri_param_names: Vec<Box<str>>,
    cookie_names: Vec<Box<str>>,
    header_names: Vec<Box<str>>,
    key_claim_name: Box<str>,
    secret_is_base64: bool,
    claims_to_verify: Vec<Claim>,
    /// Seconds; 0 is no limit.
    maximum_expiration: f64,
    challenge: String,
    common: Common,
}

/// Why a token is not accepted.
enum Refusal {
    /// There is none.
    NoToken,
    /// It is not valid.
    Invalid(String),
    /// Its claims do not hold.
    Claims(Map<String, Value>),
}

/// Whose token it was.
struct Holder {
    consumer: Id,
    credential: Id,
    key: String,
}

impl Jwt {
    /// Parses `config` of the plugin entity.
    ///
    /// # Errors
    /// When a field has the wrong type.
    pub fn parse(config: &Map<String, Value>) -> Result<Self, PluginError> {
        let fields = Fields { plugin: NAME, config };
        let claims = fields.texts("claims_to_verify", &[])?;
        let claims = claims.iter().map(|name| Claim::from_name(name)).collect::<Option<Vec<_>>>();
        let maximum = fields.value("maximum_expiration").map_or(Some(0.0), Value::as_f64);
        let realm = fields.text("realm")?;
        Ok(Self {
            uri_param_names: fields.texts("uri_param_names", &["jwt"])?,
            cookie_names: fields.texts("cookie_names", &[])?,
            header_names: fields.texts("header_names", &["authorization"])?,
            key_claim_name: fields.text("key_claim_name")?.unwrap_or_else(|| "iss".into()),
            secret_is_base64: fields.boolean("secret_is_base64", false)?,
            claims_to_verify: claims.ok_or_else(|| fields.error("claims_to_verify", "expected 'exp' or 'nbf'"))?,
            maximum_expiration: maximum.ok_or_else(|| fields.error("maximum_expiration", "expected a number"))?,
            challenge: realm.map_or_else(|| "Bearer".into(), |realm| format!("Bearer realm=\"{realm}\"")),
            common: Common {
                anonymous: fields.text("anonymous")?,
                run_on_preflight: fields.boolean("run_on_preflight", true)?,
            },
        })
    }

    /// All different tokens that the request shows.
    fn tokens<'a>(&self, cx: &'a Cx<'_>) -> Vec<std::borrow::Cow<'a, str>> {
        let mut tokens = Vec::new();
        let query = cx.head.uri.query().unwrap_or_default();
        for name in &self.uri_param_names {
            tokens.extend(form::pairs(query).filter(|(found, _)| *found == **name).filter_map(|(_, value)| value));
        }
        for name in &self.cookie_names {
            let headers = cx.head.headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
            let cookies = headers.flat_map(|header| header.split(';')).filter_map(|cookie| cookie.split_once('='));
            tokens.extend(cookies.filter(|(found, _)| found.trim() == &**name).map(|(_, value)| value.trim().into()));
        }
        for name in &self.header_names {
            let header = cx.head.headers.get(&**name).and_then(|value| value.to_str().ok());
            tokens.extend(header.and_then(bearer).map(Into::into));
        }
        tokens.retain(|token| !token.is_empty());
        tokens.sort_unstable();
        tokens.dedup();
        tokens
    }

    fn check(&self, cx: &Cx<'_>) -> Result<Holder, Refusal> {
        let invalid = |message: String| Refusal::Invalid(message);
        let tokens = self.tokens(cx);
        let text = match tokens.as_slice() {
            [] => return Err(Refusal::NoToken),
            [token] => token,
            _ => return Err(invalid("Multiple tokens provided".into())),
        };
        let token = Token::parse(text).map_err(|error| invalid(format!("Bad token; {error}")))?;
        let name = &*self.key_claim_name;
        let key = match token.claims.get(name).or_else(|| token.header.get(name)) {
            None | Some(Value::Null) => return Err(invalid(format!("No mandatory '{name}' in claims"))),
            Some(Value::String(key)) if !key.is_empty() => key.clone(),
            Some(_) => return Err(invalid(format!("Invalid '{name}' in claims"))),
        };
        let secret = cx.directory.jwt_secret(&key);
        let secret = secret.ok_or_else(|| invalid(format!("No credentials found for given '{name}'")))?;
        if token.header.get("alg").and_then(Value::as_str) != Some(secret.key.algorithm().as_str()) {
            return Err(invalid("Invalid algorithm".into()));
        }
        let mut verify = Cow::Borrowed(&secret.key);
        if self.secret_is_base64 && verify.is_secret() {
            verify = Cow::Owned(verify.decoded().ok_or_else(|| invalid("Invalid key/secret".into()))?);
        }
        if !verify.verifies(token.signed, &token.signature) {
            return Err(invalid("Invalid signature".into()));
        }
        let mut wrong = token.violations(&self.claims_to_verify, cx.now);
        if wrong.is_empty() && self.maximum_expiration > 0.0 && !token.expires_within(self.maximum_expiration, cx.now) {
            wrong.insert("exp".into(), "exceeds maximum allowed expiration".into());
        }
        if !wrong.is_empty() {
            return Err(Refusal::Claims(wrong));
        }
        Ok(Holder { consumer: secret.consumer, credential: secret.id, key })
    }

    fn answer(&self, refusal: Refusal) -> Answer {
        let (document, error) = match refusal {
            Refusal::NoToken => (json!({ "message": "Unauthorized" }), ""),
            Refusal::Invalid(message) => (json!({ "message": message }), " error=\"invalid_token\""),
            Refusal::Claims(wrong) => (Value::Object(wrong), " error=\"invalid_token\""),
        };
        let challenge = format!("{}{error}", self.challenge);
        Answer::json(StatusCode::UNAUTHORIZED, &document).with(WWW_AUTHENTICATE, &challenge)
    }
}

impl Plugin for Jwt {
    fn access<'a>(&'a self, cx: &'a mut Cx<'_>) -> Access<'a> {
        if self.common.skips(cx) {
            return Access::Continue;
        }
        match self.check(cx) {
            Ok(holder) => Common::accept(cx, holder.consumer, holder.credential, &holder.key).into(),
            Err(refusal) => self.common.refuse(cx, self.answer(refusal)).into(),
        }
    }
}

/// The token in a header value: what follows `Bearer` and blanks.
fn bearer(value: &str) -> Option<&str> {
    let rest = value.trim_start();
    let rest = rest.strip_prefix("Bearer").or_else(|| rest.strip_prefix("bearer"))?;
    let token = rest.trim_start();
    (token.len() < rest.len()).then_some(token.trim_end())
}
