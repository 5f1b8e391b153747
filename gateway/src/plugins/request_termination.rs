//! `request-termination`: answers every request (or those with a trigger) with a fixed status and body.

use super::cx::{Answer, AnswerBody, Cx};
use super::form;
use super::{Access, Fields, Plugin, PluginError, Site, Verdict};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The plugin's name.
pub const NAME: &str = "request-termination";

/// The plugin before it is configured.
pub(super) struct Definition;

impl super::Definition for Definition {
    fn name(&self) -> &'static str {
        NAME
    }

    fn priority(&self) -> i32 {
        2
    }

    fn build(&self, config: &Map<String, Value>, _: &Site<'_>) -> Result<Arc<dyn Plugin>, PluginError> {
        Ok(Arc::new(RequestTermination::parse(config)?))
    }
}

/// A configured instance.
#[derive(Debug)]
pub struct RequestTermination {
    status: StatusCode,
    message: Option<Box<str>>,
    content_type: HeaderValue,
    body: Option<Bytes>,
    echo: bool,
    trigger: Option<Box<str>>,
}

impl RequestTermination {
    /// Parses `config` of the plugin entity.
    ///
    /// # Errors
    /// When a field has the wrong type, or a value that HTTP cannot carry.
    pub fn parse(config: &Map<String, Value>) -> Result<Self, PluginError> {
        let fields = Fields { plugin: NAME, config };
        let status = fields.value("status_code").map_or(Some(503), Value::as_u64);
        let status = status.and_then(|code| u16::try_from(code).ok()).and_then(|code| StatusCode::from_u16(code).ok());
        let content_type = fields.text("content_type")?.unwrap_or_else(|| "text/plain".into());
        Ok(Self {
            status: status.ok_or_else(|| fields.error("status_code", "expected a status from 100 to 599"))?,
            message: fields.text("message")?,
            content_type: HeaderValue::from_str(&content_type)
                .map_err(|_| fields.error("content_type", "expected a media type"))?,
            body: fields.text("body")?.map(|body| Bytes::from(body.into_string())),
            echo: fields.boolean("echo", false)?,
            trigger: fields.text("trigger")?,
        })
    }

    fn triggered(&self, cx: &Cx<'_>) -> bool {
        let Some(trigger) = &self.trigger else { return true };
        let in_query = || form::pairs(cx.head.uri.query().unwrap_or_default()).any(|(name, _)| name == **trigger);
        cx.head.headers.contains_key(&**trigger) || in_query()
    }

    fn message(&self) -> Option<&str> {
        self.message.as_deref().or(match self.status.as_u16() {
            401 => Some("Unauthorized"),
            404 => Some("Not found"),
            405 => Some("Method not allowed"),
            500 => Some("An unexpected error occurred"),
            502 => Some("Bad Gateway"),
            503 => Some("Service unavailable"),
            _ => None,
        })
    }

    fn fixed(&self) -> Answer {
        if let Some(body) = &self.body {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, self.content_type.clone())]);
            return Answer { status: self.status, headers, body: AnswerBody::Bytes(body.clone()) };
        }
        match self.message() {
            Some(message) => Answer::json(self.status, &json!({ "message": message })),
            None => Answer { status: self.status, headers: HeaderMap::new(), body: AnswerBody::Empty },
        }
    }

    /// What the gateway saw of the request, for debugging.
    fn echoed(&self, cx: &Cx<'_>, raw_body: Option<&[u8]>) -> Answer {
        let host = cx.head.headers.get(http::header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let (route_id, route_name) = cx.matched.route;
        let service = cx.matched.service.map(|service| {
            json!({ "id": service.id, "name": service.name, "host": service.host, "port": service.port, "path": service.path })
        });
        let document = json!({
            "message": self.message(),
            "request": {
                "scheme": cx.client.scheme(),
                "host": host.rsplit_once(':').map_or(host, |(name, _)| name),
                "port": cx.client.local_port,
                "headers": headers_json(&cx.head.headers),
                "query": query_json(cx.head.uri.query().unwrap_or_default()),
                "body": raw_body.and_then(|body| serde_json::from_slice::<Value>(body).ok()),
                "raw_body": raw_body.map(String::from_utf8_lossy),
                "method": cx.head.method.as_str(),
                "path": cx.head.uri.path(),
            },
            "matched_route": { "id": route_id, "name": route_name },
            "matched_service": service,
        });
        Answer::json(self.status, &document)
    }
}

impl Plugin for RequestTermination {
    fn access<'a>(&'a self, cx: &'a mut Cx<'_>) -> Access<'a> {
        if !self.triggered(cx) {
            return Access::Continue;
        }
        if !self.echo {
            return Access::Respond(Box::new(self.fixed()));
        }
        Access::Wait(Box::pin(async move {
            let body = cx.body.read_whole().await.ok();
            Verdict::Respond(Box::new(self.echoed(cx, body.as_deref().filter(|body| !body.is_empty()))))
        }))
    }
}

/// Headers by name; a name with several values has a list.
fn headers_json(headers: &HeaderMap) -> Value {
    let text = |value: &HeaderValue| Value::from(String::from_utf8_lossy(value.as_bytes()));
    let object = headers.keys().map(|name| {
        let mut values: Vec<Value> = headers.get_all(name).iter().map(text).collect();
        let value = if values.len() == 1 { values.remove(0) } else { Value::Array(values) };
        (name.as_str().to_owned(), value)
    });
    Value::Object(object.collect())
}

/// Query arguments by name; one without a value is `true`, one given several times has a list.
fn query_json(query: &str) -> Value {
    let mut object = Map::new();
    for (name, value) in form::pairs(query) {
        let value = value.map_or(Value::Bool(true), |value| Value::from(value.into_owned()));
        match object.get_mut(&*name) {
            None => drop(object.insert(name.into_owned(), value)),
            Some(Value::Array(values)) => values.push(value),
            Some(single) => *single = Value::Array(vec![single.take(), value]),
        }
    }
    Value::Object(object)
}
