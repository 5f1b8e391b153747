//! The plugins of a data plane as one ordered list, and what outlives every snapshot of them.
//!
//! The one idea: a [`Definition`] is what a plugin is before anybody configures it. It builds instances, and it may ask
//! to be told of changes ([`events`](super::events)). A build without a plugin carries nothing of it, for nothing but
//! the list names it. Snapshots carry the registry with them, so that the next one is compiled by the same list and its
//! instances find the same [`States`].

use super::events::{Entity, Operation};
use super::state::States;
use super::{Plugin, PluginError, jwt, key_auth, request_termination};
use model::{Id, Kind};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A plugin before anybody configures it. One object per process.
pub trait Definition: Send + Sync {
    /// Its name, as the plugin entity has it.
    fn name(&self) -> &'static str;

    /// Its place in the chain: higher runs earlier (Kong: `PRIORITY`).
    fn priority(&self) -> i32;

    /// Parses the configuration of an instance into the object that serves it. Called for every version of the plugin
    /// entity, also for ones that are never served in the end: what it does must cost nothing but memory.
    ///
    /// # Errors
    /// When a field of `config` is not as the plugin's schema says.
    fn build(&self, config: &Map<String, Value>, site: &Site<'_>) -> Result<Arc<dyn Plugin>, PluginError>;

    /// The kinds of entities whose changes it wants to be told of.
    fn watches(&self) -> &'static [Kind] {
        &[]
    }

    /// An entity of a watched kind was created, changed or deleted (Kong's `crud` events: `old_entity` is there for an
    /// update only, and for a deletion `entity` is what was deleted). Called after the swap, one at a time, on a thread
    /// that serves no request and no control plane. A call should end within [`super::events::CALL_MAX`]: meanwhile
    /// other plugins' events wait, and changes of the same entity merge. A panic is logged and costs this call only.
    fn changed(&self, operation: Operation, entity: &Entity<'_>, old_entity: Option<&Entity<'_>>) {
        let _ = (operation, entity, old_entity);
    }
}

/// Where an instance is built.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// The id of the plugin entity.
    pub instance: Id,
    /// What outlives the instance.
    pub states: &'a Arc<States>,
}

/// The plugins of this build.
pub static ALL: [&dyn Definition; 3] = [&jwt::Definition, &key_auth::Definition, &request_termination::Definition];

/// The plugins that snapshots are compiled with, and their state.
pub struct Registry {
    definitions: Box<[&'static dyn Definition]>,
    states: Arc<States>,
}

impl Registry {
    /// A registry of these plugins, without any state.
    #[must_use]
    pub fn new(definitions: &[&'static dyn Definition]) -> Arc<Self> {
        Arc::new(Self { definitions: definitions.into(), states: Arc::default() })
    }

    /// All plugins, in the order in which they are told of changes.
    #[must_use]
    pub fn definitions(&self) -> &[&'static dyn Definition] {
        &self.definitions
    }

    /// The plugin with this name.
    ///
    /// # Errors
    /// There is none in this build.
    pub fn find(&self, name: &str) -> Result<&'static dyn Definition, PluginError> {
        let found = self.definitions.iter().copied().find(|definition| definition.name() == name);
        found.ok_or_else(|| PluginError::Unknown(name.to_owned()))
    }

    /// What plugins keep across snapshots.
    #[must_use]
    pub fn states(&self) -> &Arc<States> {
        &self.states
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_by_name_what_it_does_not_have() {
        let error = Registry::new(&ALL).find("acme").err();
        assert_eq!(error, Some(PluginError::Unknown("acme".into())));
    }

    #[test]
    fn is_the_models_list_with_its_priorities_and_every_default_builds() {
        let registry = Registry::new(&ALL);
        let ours = registry.definitions().iter().map(|def| (def.name(), def.priority()));
        assert!(ours.eq(model::plugins::all().iter().map(|def| (def.name, def.priority))));
        let site = Site { instance: Id(1), states: registry.states() };
        for definition in registry.definitions() {
            assert!(definition.build(&Map::new(), &site).is_ok(), "{} with defaults", definition.name());
        }
    }

    #[test]
    fn names_the_field_that_is_wrong() {
        let registry = Registry::new(&ALL);
        let Value::Object(config) = serde_json::json!({"key_names": "apikey"}) else { unreachable!() };
        let site = Site { instance: Id(1), states: registry.states() };
        let error = registry.find("key-auth").and_then(|found| found.build(&config, &site)).err().unwrap();
        assert_eq!(error.to_string(), "plugin 'key-auth': config.key_names: expected an array of strings");
    }
}
