//! Who calls: how plugins look up consumers and credentials, and what authentication leaves behind.

use crate::snapshot::Snapshot;
use crate::snapshot::entities::{Consumer, JwtSecret, KeyauthCredential};
use model::Id;
use std::sync::Arc;

/// What authentication plugins ask of the configuration that serves the request; all they know of a snapshot.
pub trait Directory {
    /// The credential with this API key, expired or not.
    fn keyauth(&self, key: &str) -> Option<&Arc<KeyauthCredential>>;
    /// The JWT credential with this key.
    fn jwt_secret(&self, key: &str) -> Option<&Arc<JwtSecret>>;
    /// The consumer with this id.
    fn consumer(&self, id: Id) -> Option<&Arc<Consumer>>;
    /// The consumer with this id or username, as `anonymous` of a configuration names it.
    fn consumer_named(&self, name: &str) -> Option<&Arc<Consumer>>;
}

impl Directory for Snapshot {
    fn keyauth(&self, key: &str) -> Option<&Arc<KeyauthCredential>> {
        Self::keyauth(self, key)
    }

    fn jwt_secret(&self, key: &str) -> Option<&Arc<JwtSecret>> {
        Self::jwt_secret(self, key)
    }

    fn consumer(&self, id: Id) -> Option<&Arc<Consumer>> {
        Self::consumer(self, id)
    }

    fn consumer_named(&self, name: &str) -> Option<&Arc<Consumer>> {
        Self::consumer_named(self, name)
    }
}

/// The outcome of authentication, kept for later plugins, the choice of consumer-scoped plugins and the log.
#[derive(Debug, Clone)]
pub struct Authenticated {
    /// Who calls.
    pub consumer: Arc<Consumer>,
    /// The id of the credential that showed it; `None` for an anonymous consumer.
    pub credential: Option<Id>,
}
