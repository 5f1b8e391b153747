//! Who this node is in its cluster and whom it believes, apart from any connection: for what comes and goes as a file.

use pki::{ClusterIdentity, Mtls, Verifier};
use settings::Settings;

/// Reads it, with or without a control plane set. `None`: there is no cluster certificate, or something is wrong with it,
/// which is noted where certificates are read for connections.
pub(super) fn read(settings: &Settings) -> Option<Verifier> {
    let identity = ClusterIdentity::load(settings.text("cluster_cert")?, settings.text("cluster_cert_key")?).ok()?;
    let authorities = settings.text("cluster_ca_cert");
    let mtls = Mtls::load(settings.text("cluster_mtls").unwrap_or_default(), authorities).ok()?;
    Some(Verifier { identity, mtls, own_authorities: authorities.is_some(), names: names(settings) })
}

/// The names that a control plane's certificate may have.
fn names(settings: &Settings) -> Vec<String> {
    if let Some(name) = settings.text("cluster_server_name") {
        return vec![name.to_owned()];
    }
    let host = |address: &String| {
        let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']').to_owned()
    };
    settings.list("cluster_control_plane").iter().map(host).collect()
}
