//! The sample API: what is loaded, how it is changed, and which answers show that it is served.

use super::client::{Answer, Client, NoAnswer};
use super::echo;
use http::Method;
use os::{Exit, ExitError};
use serde_json::{Value, json};
use std::net::SocketAddr;

/// The consumer's key.
pub(super) const KEY: &str = "ann-key";
/// The path that the first change adds.
pub(super) const CHANGED_PATH: &str = "/hi";
/// The path that a change adds while the data plane cannot know of it.
pub(super) const MEANWHILE_PATH: &str = "/hey";

// Fixed, so that loading again replaces.
const PLUGIN_ID: &str = "5a1d3a9e-95a7-4bb7-9a55-6a7c2b5d8c01";
const CREDENTIAL_ID: &str = "5a1d3a9e-95a7-4bb7-9a55-6a7c2b5d8c02";

/// A request through the proxy, and the status that it must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) path: &'static str,
    pub(super) key: Option<&'static str>,
    pub(super) status: u16,
}

/// What the sample API answers as it is loaded.
pub(super) const PROBES: [Probe; 5] = [
    Probe { path: "/hello", key: None, status: 200 },
    Probe { path: "/orders/42?page=1", key: None, status: 200 },
    Probe { path: "/private", key: None, status: 401 },
    Probe { path: "/private", key: Some(KEY), status: 200 },
    Probe { path: "/nowhere", key: None, status: 404 },
];

/// A client of the Admin API.
pub(super) struct Admin(Client);

impl Admin {
    pub(super) fn new(address: SocketAddr) -> Admin {
        Admin(Client::new(address))
    }

    /// Loads the sample API, over what an earlier quickstart left of it.
    pub(super) async fn load(&mut self, upstream: SocketAddr) -> Result<(), ExitError> {
        for (path, body) in entities(upstream) {
            self.write(Method::PUT, &path, &body).await?;
        }
        Ok(())
    }

    /// Gives the route of `/hello` these paths.
    pub(super) async fn change(&mut self, paths: &[&str]) -> Result<(), ExitError> {
        self.write(Method::PATCH, "/routes/hello", &json!({ "paths": paths })).await
    }

    /// Epoch and version of the configuration.
    pub(super) async fn version(&mut self) -> Result<(Value, u64), ExitError> {
        let answer = self.0.get("/status").await.map_err(|error| failed("GET /status", &error))?.json();
        let configuration = &answer["configuration"];
        let version = configuration["version"].as_u64();
        let version = version.ok_or_else(|| failed("GET /status", &"the answer names no version"))?;
        Ok((configuration["epoch"].clone(), version))
    }

    async fn write(&mut self, method: Method, path: &str, body: &Value) -> Result<(), ExitError> {
        let what = format!("{method} {path}");
        match self.0.send(method, path, &[], Some(body)).await {
            Ok(answer) if answer.is_success() => Ok(()),
            Ok(answer) => Err(failed(&what, &format!("{} {}", answer.status, answer.json()["message"]))),
            Err(error) => Err(failed(&what, &error)),
        }
    }
}

impl Probe {
    /// Asks, and answers with what came, less what every request has of its own.
    pub(super) async fn ask(&self, proxy: &mut Client) -> Result<Answer, NoAnswer> {
        let key = self.key.map(|key| ("apikey", key));
        let answer = proxy.send(Method::GET, self.path, key.as_slice(), None).await?;
        Ok(answer.without_request_id())
    }
}

fn failed(what: &str, why: &dyn std::fmt::Display) -> ExitError {
    ExitError::new(Exit::Failed, format!("Admin API: {what}: {why}"))
}

/// What to `PUT` where, in this order.
fn entities(upstream: SocketAddr) -> Vec<(String, Value)> {
    let service = json!({ "url": format!("http://{upstream}"), "tags": ["quickstart"] });
    let route = |paths: &[&str]| json!({ "paths": paths, "tags": ["quickstart"] });
    let orders = json!({ "paths": [r"~/orders/(?<id>\d+)$"], "methods": ["GET", "POST"], "strip_path": false,
        "tags": ["quickstart"] });
    let routes = format!("/services/{}/routes", echo::NAME);
    vec![
        (format!("/services/{}", echo::NAME), service),
        (format!("{routes}/hello"), route(&["/hello"])),
        (format!("{routes}/orders"), orders),
        (format!("{routes}/private"), route(&["/private"])),
        (format!("/routes/private/plugins/{PLUGIN_ID}"), json!({ "name": "key-auth" })),
        ("/consumers/ann".to_owned(), json!({ "custom_id": "quickstart-ann" })),
        (format!("/consumers/ann/key-auth/{CREDENTIAL_ID}"), json!({ "key": KEY })),
    ]
}
