//! The usual picture: an origin, a control plane, and a data plane that follows it over a link that can be broken.

use crate::lab::{Daemon, Lab, Setup};
use crate::origin::Origin;
use crate::relay::Relay;
use crate::terminal::ask;
use crate::wait;
use serde_json::{Value, json};
use std::ffi::OsStr;

/// One of each.
#[derive(Debug)]
pub struct Pair {
    /// The directory with the certificates.
    pub lab: Lab,
    /// The upstream.
    pub origin: Origin,
    /// The control plane.
    pub cp: Daemon,
    /// The link between control plane and data plane.
    pub link: Relay,
    /// The data plane.
    pub dp: Daemon,
}

impl Default for Pair {
    fn default() -> Self {
        Self::start()
    }
}

impl Pair {
    /// Starts all of it.
    #[must_use]
    pub fn start() -> Self {
        Self::start_in(Lab::new())
    }

    /// The same in a lab in which something has been prepared for `cp` and `dp`.
    #[must_use]
    pub fn start_in(lab: Lab) -> Self {
        let origin = Origin::start("origin");
        let mut cp = lab.cp("cp").start();
        let link = Relay::to(cp.address("cluster"));
        let dp = follower(&lab, "dp", &link).start();
        Self { lab, origin, cp, link, dp }
    }

    /// One transaction; returns its version.
    pub fn apply(&mut self, changes: &[Value]) -> u64 {
        apply(&mut self.cp, changes)
    }

    /// Waits until the data plane serves everything that the control plane has.
    pub fn settle(&mut self) -> u64 {
        let head = head(&mut self.cp);
        self.dp.serves_version(head);
        head
    }

    /// Waits until the control plane knows that what it has is durable on the data plane.
    pub fn acknowledged(&mut self) -> u64 {
        let head = self.settle();
        wait::until("the durable ack", || (row(&mut self.cp)?["durable_version"].as_u64()? >= head).then_some(()));
        head
    }

    /// A service at the origin and a route to it.
    pub fn route(&mut self, service: &Value, route: &Value) {
        let mut service = service.clone();
        service["host"] = json!("127.0.0.1");
        service["port"] = json!(self.origin.address().port());
        let service = self.cp.admin_ok("POST", "/services", &service);
        let mut route = route.clone();
        route["service"] = json!({ "id": service["id"] });
        self.cp.admin_ok("POST", "/routes", &route);
    }
}

/// A data plane that follows through this link.
#[must_use]
pub fn follower(lab: &Lab, name: &str, link: &Relay) -> Setup {
    lab.dp(name).with_text("cluster_control_plane", link.address())
}

/// One transaction; returns its version.
///
/// # Panics
/// When it is refused.
pub fn apply(cp: &mut Daemon, changes: &[Value]) -> u64 {
    let answer = cp.admin_ok("POST", "/config/apply", &json!({ "changes": changes }));
    answer["version"].as_u64().unwrap_or_else(|| panic!("no version: {answer}"))
}

/// Waits until the control plane knows that this version is durable on this data plane.
pub fn acknowledged_by(cp: &mut Daemon, dp: &Daemon, version: u64) {
    let path = format!("/clustering/data-planes/{}", dp.node_id());
    wait::until(&format!("the durable ack of version {version}"), || {
        let answer = cp.admin("GET", &path, &Value::Null);
        let durable = answer.json()["durable_version"].as_u64()?;
        (durable >= version).then_some(())
    });
}

/// The only node's row, once the control plane knows that it serves this version.
pub fn acknowledged(cp: &mut Daemon, version: u64) -> Value {
    wait::until(&format!("the ack of version {version}"), || {
        row(cp).filter(|row| row["applied_version"].as_u64().is_some_and(|applied| applied >= version))
    })
}

/// A put for [`apply`].
#[must_use]
pub fn put(kind: &str, entity: Value) -> Value {
    json!({ "put": { "kind": kind, "entity": entity } })
}

/// The control plane's newest version: that of a transaction without changes.
pub fn head(cp: &mut Daemon) -> u64 {
    apply(cp, &[])
}

/// The only node's row in `/clustering/data-planes`.
pub fn row(cp: &mut Daemon) -> Option<Value> {
    let list = cp.admin_ok("GET", "/clustering/data-planes", &Value::Null);
    list["data"].as_array()?.first().cloned()
}

/// Loads a declarative file with `cp-lite config apply`.
///
/// # Panics
/// When it is refused.
pub fn load(lab: &Lab, cp: &mut Daemon, declarative: &Value) {
    let file = lab.path().join(format!("load-{}.json", cp.pid()));
    std::fs::write(&file, declarative.to_string()).expect("the lab is writable");
    let _ = ask(cp, [OsStr::new("config"), OsStr::new("apply"), file.as_os_str()]).well();
}
