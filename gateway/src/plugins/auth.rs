//! What all authentication plugins share: the headers that tell the upstream who calls, and the anonymous consumer.

use super::cx::{Answer, Cx};
use super::identity::Authenticated;
use crate::snapshot::entities::Consumer;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use model::Id;
use std::sync::Arc;

/// `X-Consumer-ID`
pub(crate) const CONSUMER_ID: HeaderName = HeaderName::from_static("x-consumer-id");
/// `X-Consumer-Custom-ID`
pub(crate) const CONSUMER_CUSTOM_ID: HeaderName = HeaderName::from_static("x-consumer-custom-id");
/// `X-Consumer-Username`
pub(crate) const CONSUMER_USERNAME: HeaderName = HeaderName::from_static("x-consumer-username");
/// `X-Credential-Identifier`
pub(crate) const CREDENTIAL_IDENTIFIER: HeaderName = HeaderName::from_static("x-credential-identifier");
/// `X-Anonymous-Consumer`
pub(crate) const ANONYMOUS_CONSUMER: HeaderName = HeaderName::from_static("x-anonymous-consumer");

/// `X-Consumer-Groups`, which the acl plugin sets in Kong.
pub(crate) const CONSUMER_GROUPS: HeaderName = HeaderName::from_static("x-consumer-groups");

/// The headers that only the gateway may set. The proxy removes a client's own before any plugin runs, on every route:
/// Kong passes them through where no authentication plugin is, and upstreams believe them.
pub(crate) const IDENTITY_HEADERS: [HeaderName; 6] =
    [CONSUMER_ID, CONSUMER_CUSTOM_ID, CONSUMER_USERNAME, CONSUMER_GROUPS, CREDENTIAL_IDENTIFIER, ANONYMOUS_CONSUMER];

/// The settings that every authentication plugin has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Common {
    /// Who a request is when it shows no valid credential; unset means 401.
    pub(super) anonymous: Option<Box<str>>,
    /// Whether `OPTIONS` must be authenticated as well.
    pub(super) run_on_preflight: bool,
}

impl Common {
    /// Whether there is nothing to do: a preflight that is let through, or a request that an earlier plugin has
    /// authenticated where `anonymous` makes the plugins alternatives.
    pub(super) fn skips(&self, cx: &Cx<'_>) -> bool {
        let preflight = !self.run_on_preflight && cx.head.method == Method::OPTIONS;
        let done = || cx.authenticated.as_ref().is_some_and(|who| who.credential.is_some());
        preflight || (self.anonymous.is_some() && done())
    }

    /// What follows a failed authentication: the anonymous consumer, or the refusal.
    pub(super) fn refuse(&self, cx: &mut Cx<'_>, refusal: Answer) -> Result<(), Box<Answer>> {
        let Some(name) = &self.anonymous else { return Err(Box::new(refusal)) };
        let Some(consumer) = cx.directory.consumer_named(name).cloned() else {
            let message = format!("anonymous consumer {name} is configured but doesn't exist");
            return Err(Box::new(Answer::error(StatusCode::INTERNAL_SERVER_ERROR, message)));
        };
        set_consumer(cx, consumer, None);
        Ok(())
    }

    /// What follows a valid credential.
    pub(super) fn accept(cx: &mut Cx<'_>, consumer: Id, credential: Id, identifier: &str) -> Result<(), Box<Answer>> {
        let Some(consumer) = cx.directory.consumer(consumer).cloned() else {
            return Err(Box::new(Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "An unexpected error occurred")));
        };
        set_consumer(cx, consumer, Some((credential, identifier)));
        Ok(())
    }
}

/// Tells later plugins and the upstream who calls; what does not apply is cleared.
fn set_consumer(cx: &mut Cx<'_>, consumer: Arc<Consumer>, credential: Option<(Id, &str)>) {
    let headers = &mut cx.head.headers;
    let mut set = |name: HeaderName, value: Option<&str>| match value
        .and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok())
    {
        Some(value) => drop(headers.insert(name, value)),
        None => drop(headers.remove(name)),
    };
    set(CONSUMER_ID, Some(&consumer.id.to_string()));
    set(CONSUMER_CUSTOM_ID, consumer.custom_id.as_deref());
    set(CONSUMER_USERNAME, consumer.username.as_deref());
    set(CREDENTIAL_IDENTIFIER, credential.map(|(_, identifier)| identifier));
    set(ANONYMOUS_CONSUMER, if credential.is_some() { None } else { Some("true") });
    cx.authenticated = Some(Authenticated { consumer, credential: credential.map(|(id, _)| id) });
}
