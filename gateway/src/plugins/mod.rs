//! Plugins: what an operator attaches to routes, services and consumers, one file each.
//!
//! The one idea: a plugin's configuration is parsed when the snapshot is compiled ([`Definition::build`]), and the result
//! is an object whose hooks are called in the order of Kong's priorities. `access` is a plain call; only a plugin that must
//! wait for something (a request body) returns a boxed future. A response filter is an object that the plugin installs
//! for one response, with a declared bound on what it may hold back. Plugins see the request as [`Cx`] and ask the
//! configuration through [`Directory`]; the `proxy` drives them, [`chain`] says which instance of a plugin applies.
//! [`registry`] is the list of them, [`events`] tells them of changes, [`state`] is what they keep across changes.

pub(crate) mod auth;
pub mod chain;
mod cx;
pub mod events;
mod form;
mod identity;
pub mod jwt;
pub mod key_auth;
pub mod registry;
pub mod request_termination;
pub mod state;

pub use cx::{Answer, AnswerBody, BODY_BYTES_MAX, BodyError, Client, Cx, Matched, RequestBody};
pub use events::{Entity, Operation};
pub use identity::{Authenticated, Directory};
pub use registry::{Definition, Registry, Site};
pub use state::States;

use crate::proxy::outcome::Outcome;

use bytes::Bytes;
use serde_json::{Map, Value};
use std::future::Future;
use std::pin::Pin;

/// A future of one request; it stays on the worker's thread.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// What a plugin decided in its access phase.
pub enum Access<'a> {
    /// The next plugin is asked.
    Continue,
    /// The client gets this answer; neither later plugins nor the upstream see the request.
    Respond(Box<Answer>),
    /// The decision needs something that is not here yet.
    Wait(LocalFuture<'a, Verdict>),
}

/// A decision that was waited for.
pub enum Verdict {
    /// The next plugin is asked.
    Continue,
    /// The client gets this answer.
    Respond(Box<Answer>),
}

impl From<Result<(), Box<Answer>>> for Verdict {
    fn from(result: Result<(), Box<Answer>>) -> Self {
        result.map_or_else(Self::Respond, |()| Self::Continue)
    }
}

impl From<Result<(), Box<Answer>>> for Access<'_> {
    fn from(result: Result<(), Box<Answer>>) -> Self {
        result.map_or_else(Self::Respond, |()| Self::Continue)
    }
}

/// A configured plugin. Hooks that a plugin does not need keep their empty bodies.
pub trait Plugin: Send + Sync {
    /// After routing and before the upstream is chosen.
    fn access<'a>(&'a self, cx: &'a mut Cx<'_>) -> Access<'a> {
        let _ = cx;
        Access::Continue
    }

    /// The head of the answer, whoever made it, before it goes to the client.
    fn header_filter(&self, cx: &Cx<'_>, head: &mut http::response::Parts) {
        let _ = (cx, head);
    }

    /// An object that sees the answer's body, if this plugin wants to. Asked once, after `header_filter`.
    fn body_filter(&self, cx: &Cx<'_>, head: &http::response::Parts) -> Option<Box<dyn BodyFilter>> {
        let _ = (cx, head);
        None
    }

    /// The request is over, however it ended. Called exactly once.
    fn log(&self, outcome: &Outcome) {
        let _ = outcome;
    }

    /// Whether `log` does anything; what it would be told is put together only then.
    fn logs(&self) -> bool {
        false
    }
}

/// Rewrites one response body as it streams by.
pub trait BodyFilter {
    /// The most bytes it may hold back at any time; beyond, the answer is cut off.
    fn buffer_bytes_max(&self) -> usize;
    /// How many bytes it holds back now.
    fn held(&self) -> usize;
    /// The next piece; returns what may go on now.
    fn data(&mut self, piece: Bytes) -> Bytes;
    /// No more pieces; returns what is left.
    fn end(&mut self) -> Bytes {
        Bytes::new()
    }
}

/// Why a plugin entity cannot serve. All are the configuration's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PluginError {
    /// This build has no such plugin.
    #[error("plugin '{0}' is not available in this build")]
    Unknown(String),
    /// A field has a value of the wrong shape.
    #[error("plugin '{plugin}': config.{field}: {message}")]
    Field {
        /// Which plugin.
        plugin: &'static str,
        /// Name of the field below `config`.
        field: &'static str,
        /// What was expected.
        message: &'static str,
    },
}

/// Reads typed fields of one plugin's configuration. Absent and `null` mean the default.
struct Fields<'a> {
    plugin: &'static str,
    config: &'a Map<String, Value>,
}

impl Fields<'_> {
    fn value(&self, field: &str) -> Option<&Value> {
        self.config.get(field).filter(|value| !value.is_null())
    }

    fn error(&self, field: &'static str, message: &'static str) -> PluginError {
        PluginError::Field { plugin: self.plugin, field, message }
    }

    fn boolean(&self, field: &'static str, default: bool) -> Result<bool, PluginError> {
        self.value(field)
            .map_or(Ok(default), |value| value.as_bool().ok_or_else(|| self.error(field, "expected a boolean")))
    }

    fn text(&self, field: &'static str) -> Result<Option<Box<str>>, PluginError> {
        let Some(value) = self.value(field) else { return Ok(None) };
        value.as_str().map(|text| Some(text.into())).ok_or_else(|| self.error(field, "expected a string"))
    }

    fn texts(&self, field: &'static str, default: &[&str]) -> Result<Vec<Box<str>>, PluginError> {
        let Some(value) = self.value(field) else { return Ok(default.iter().map(|&text| text.into()).collect()) };
        let wrong = || self.error(field, "expected an array of strings");
        let items = value.as_array().ok_or_else(wrong)?;
        items.iter().map(|item| item.as_str().map(Into::into).ok_or_else(wrong)).collect()
    }
}
