//! The plugins of this build, by name: priority, configuration schema, where they may be put. Adding a plugin is one
//! file below this module and one line in the list; its behaviour is the data plane's.

mod jwt;
mod key_auth;
mod request_termination;

use crate::body::Object;
use crate::schema::{CheckCx, Schema, Violations};
use serde_json::Value;

/// The version that all plugins report, as Kong's bundled plugins do.
pub const VERSION: &str = "3.9.1";

/// What is known of a plugin without running it.
#[derive(Debug)]
pub struct PluginDef {
    /// Its name.
    pub name: &'static str,
    /// Its version, as in `GET /`.
    pub version: &'static str,
    /// Where it stands in the order of execution, high first.
    pub priority: i32,
    /// The fields of its configuration.
    pub schema: &'static Schema,
    /// The protocols that it may be limited to.
    pub protocols: &'static [&'static str],
    /// Whether it may be put on a consumer. Plugins that find out who the consumer is may not.
    pub on_consumers: bool,
}

/// Protocols of plugins that work on HTTP requests.
const HTTP: &[&str] = &["grpc", "grpcs", "http", "https"];

static ALL: [&PluginDef; 3] = [&jwt::DEF, &key_auth::DEF, &request_termination::DEF];

/// All plugins, by name.
#[must_use]
pub fn all() -> &'static [&'static PluginDef] {
    &ALL
}

/// The plugin with this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static PluginDef> {
    ALL.iter().copied().find(|def| def.name == name)
}

impl PluginDef {
    /// Kong's `/schemas/plugins/{name}` answer.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.schema.to_json()
    }
}

pub(crate) fn check(_cx: &CheckCx<'_>, _plugin: &Object, _found: &mut Violations) {}
