//! Several control planes of one cluster: a writer and those that follow it.

use crate::lab::{Daemon, Lab, Setup, program};
use crate::wait;
use serde_json::Value;
use std::net::SocketAddr;
use std::process::{Command, Output};

/// A list of control planes as settings name it.
#[must_use]
pub fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A control plane that follows these writers.
#[must_use]
pub fn following(lab: &Lab, name: &str, writers: &[SocketAddr]) -> Setup {
    lab.cp(name).with_text("cluster_control_plane", list(writers))
}

/// The same control plane on the same addresses, named to others as nodes name it.
#[must_use]
pub fn advertised(mut cp: Daemon) -> (Setup, SocketAddr) {
    let address = cp.address("cluster");
    let (setup, _) = cp.stop();
    (setup.with_text("cluster_advertise", address), address)
}

/// A data plane with this list of control planes.
#[must_use]
pub fn node(lab: &Lab, name: &str, planes: &[SocketAddr]) -> Setup {
    lab.dp(name).with_text("cluster_control_plane", list(planes))
}

/// What a control plane says of itself.
pub fn own(cp: &mut Daemon) -> Value {
    cp.admin_ok("GET", "/status", &Value::Null)["control_plane"].clone()
}

/// Waits until a control plane has this version, or a later one, of this epoch.
pub fn has(cp: &mut Daemon, epoch: &Value, version: u64) {
    wait::until(&format!("version {version} of epoch {epoch} on a control plane"), || {
        let own = own(cp);
        (own["epoch"] == *epoch && own["version"].as_u64()? >= version).then_some(())
    });
}

/// Waits until a data plane serves this version, or a later one, of this epoch.
pub fn serves(dp: &mut Daemon, epoch: &Value, version: u64) {
    wait::until(&format!("version {version} of epoch {epoch} on a data plane"), || {
        let status = dp.sync_status();
        (status["epoch"] == *epoch && status["version"].as_u64()? >= version).then_some(())
    });
}

/// `cp-lite promote` against this control plane, with these options.
///
/// # Panics
/// When the program is not built.
pub fn promote(cp: &mut Daemon, options: &[&str]) -> Output {
    let admin = format!("http://{}", cp.address("admin"));
    let output = Command::new(program("cp-lite")).arg("promote").args(["--admin-url", &admin]).args(options).output();
    output.expect("cp-lite is built")
}
