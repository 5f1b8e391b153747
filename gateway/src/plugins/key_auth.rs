//! `key-auth`: the caller shows an API key in a header, the query or the body.

use super::auth::Common;
use super::cx::{Answer, Cx, RequestBody};
use super::form::{self, Found};
use super::{Access, Fields, Plugin, PluginError, Site, Verdict};
use crate::snapshot::entities::Lifetime;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::sync::Arc;

/// The plugin's name.
pub const NAME: &str = "key-auth";

/// The plugin before it is configured.
pub(super) struct Definition;

impl super::Definition for Definition {
    fn name(&self) -> &'static str {
        NAME
    }

    fn priority(&self) -> i32 {
        1250
    }

    fn build(&self, config: &Map<String, Value>, _: &Site<'_>) -> Result<Arc<dyn Plugin>, PluginError> {
        Ok(Arc::new(KeyAuth::parse(config)?))
    }
}

/// A configured instance.
#[derive(Debug)]
pub struct KeyAuth {
    key_names: Vec<Box<str>>,
    hide_credentials: bool,
    in_header: bool,
    in_query: bool,
    in_body: bool,
    challenge: Box<str>,
    common: Common,
}

/// A request body that fields can be looked up in.
enum Body {
    Form(String),
    Json(Map<String, Value>),
}

impl KeyAuth {
    /// Parses `config` of the plugin entity.
    ///
    /// # Errors
    /// When a field has the wrong type.
    pub fn parse(config: &Map<String, Value>) -> Result<Self, PluginError> {
        let fields = Fields { plugin: NAME, config };
        let realm = fields.text("realm")?;
        Ok(Self {
            key_names: fields.texts("key_names", &["apikey"])?,
            hide_credentials: fields.boolean("hide_credentials", false)?,
            in_header: fields.boolean("key_in_header", true)?,
            in_query: fields.boolean("key_in_query", true)?,
            in_body: fields.boolean("key_in_body", false)?,
            challenge: realm.map_or_else(|| "Key".into(), |realm| format!("Key realm=\"{realm}\"").into()),
            common: Common {
                anonymous: fields.text("anonymous")?,
                run_on_preflight: fields.boolean("run_on_preflight", true)?,
            },
        })
    }

    fn authenticate(&self, cx: &mut Cx<'_>, body: Option<&Body>) -> Result<(), Box<Answer>> {
        let refused =
            |message| Answer::error(StatusCode::UNAUTHORIZED, message).with(WWW_AUTHENTICATE, &self.challenge);
        let (name, key) = match self.find_key(cx, body) {
            Ok(Some(found)) => found,
            Ok(None) => return self.common.refuse(cx, refused("No API key found in request")),
            Err(Duplicate) => return self.common.refuse(cx, refused("Duplicate API key found")),
        };
        if self.hide_credentials {
            hide(cx, name, body);
        }
        let now = i64::try_from(cx.now.as_secs()).unwrap_or(i64::MAX);
        let valid = |lifetime: Option<&Lifetime>| lifetime.is_none_or(|lifetime| lifetime.contains(now));
        match cx.directory.keyauth(&key).filter(|credential| valid(credential.lifetime.as_deref())) {
            None => self.common.refuse(cx, refused("Unauthorized")),
            Some(credential) => {
                let (consumer, id) = (credential.consumer, credential.id);
                Common::accept(cx, consumer, id, &id.to_string())
            }
        }
    }

    /// The first of the names that the request shows a key under, with the key.
    fn find_key(&self, cx: &Cx<'_>, body: Option<&Body>) -> Result<Option<(&str, String)>, Duplicate> {
        for name in &self.key_names {
            let mut found = Found::Nothing;
            if self.in_header {
                found = in_headers(&cx.head.headers, name);
            }
            if found == Found::Nothing && self.in_query {
                found = form::find(cx.head.uri.query().unwrap_or_default(), name);
            }
            if let (Found::Nothing, Some(body)) = (&found, body) {
                found = body.find(name);
            }
            match found {
                Found::Nothing => {}
                Found::Many => return Err(Duplicate),
                Found::One(key) if key.is_empty() => return Ok(None),
                Found::One(key) => return Ok(Some((name, key.into_owned()))),
            }
        }
        Ok(None)
    }
}

/// The request shows more than one key under one name.
struct Duplicate;

impl Plugin for KeyAuth {
    fn access<'a>(&'a self, cx: &'a mut Cx<'_>) -> Access<'a> {
        if self.common.skips(cx) {
            return Access::Continue;
        }
        if !self.in_body || cx.body.is_empty() || kind_of(&cx.head.headers).is_none() {
            return self.authenticate(cx, None).into();
        }
        Access::Wait(Box::pin(async move {
            let body = read(cx).await;
            Verdict::from(self.authenticate(cx, body.as_ref()))
        }))
    }
}

impl Body {
    fn find(&self, name: &str) -> Found<'_> {
        match self {
            Self::Form(form) => form::find(form, name),
            Self::Json(object) => match object.get(name) {
                Some(Value::String(key)) => Found::One(Cow::Borrowed(key)),
                Some(Value::Array(_) | Value::Object(_)) => Found::Many,
                _ => Found::Nothing,
            },
        }
    }

    fn without(&self, name: &str) -> String {
        match self {
            Self::Form(form) => form::without(form, name).unwrap_or_default(),
            Self::Json(object) => {
                let mut rest = object.clone();
                rest.shift_remove(name);
                Value::Object(rest).to_string()
            }
        }
    }
}

#[derive(Clone, Copy)]
enum BodyKind {
    Form,
    Json,
}

/// What kind of fields the body holds, by its content type; `None` for one that holds none.
fn kind_of(headers: &HeaderMap) -> Option<BodyKind> {
    let content_type = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        Some(BodyKind::Form)
    } else if essence.eq_ignore_ascii_case("application/json") {
        Some(BodyKind::Json)
    } else {
        None
    }
}

/// The body, if it is small enough and what its content type says; else the key is looked for elsewhere only.
async fn read(cx: &mut Cx<'_>) -> Option<Body> {
    let kind = kind_of(&cx.head.headers)?;
    let bytes = cx.body.read_whole().await.ok()?;
    match kind {
        BodyKind::Form => String::from_utf8(bytes.to_vec()).ok().map(Body::Form),
        BodyKind::Json => serde_json::from_slice(&bytes).ok().map(Body::Json),
    }
}

fn in_headers<'a>(headers: &'a HeaderMap, name: &str) -> Found<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Found::Nothing,
        (Some(value), None) => Found::One(String::from_utf8_lossy(value.as_bytes())),
        (Some(_), Some(_)) => Found::Many,
    }
}

/// Takes the key out of everything that goes upstream.
fn hide(cx: &mut Cx<'_>, name: &str, body: Option<&Body>) {
    while cx.head.headers.remove(name).is_some() {}
    if let Some(query) = cx.head.uri.query()
        && form::find(query, name) != Found::Nothing
    {
        let rest = form::without(query, name);
        cx.set_query(rest.as_deref());
    }
    if let Some(body) = body {
        cx.head.headers.remove(CONTENT_LENGTH);
        cx.body = RequestBody::whole(body.without(name).into());
    }
}
