//! What an operator is told of a node's compatibility: Kong's log lines, each once while it is true, and the rows behind
//! `/clustering/data-planes`.

use crate::fleet::{Ignored, Withheld};
use model::Kind;
use std::net::IpAddr;
use wire::compat::{self, InUse, Incompatible, Remark};
use wire::cp::Report;
use wire::{Hello, PluginVersion};

/// What has been said of one node over one connection.
#[derive(Default)]
pub(super) struct Told {
    /// Kong ends its lines about a node with this.
    suffix: String,
    withheld: Vec<Incompatible>,
    ignored: Vec<compat::FieldInUse>,
}

impl Told {
    /// A node has connected; says how it differs from this control plane, where that keeps nothing from it.
    pub(super) fn connected(&mut self, software: &str, hello: &Hello, ip: IpAddr, in_use: &InUse) {
        let Hello { node, hostname, software: theirs, .. } = hello;
        self.suffix = format!("[id: {node}, host: {hostname}, ip: {ip}, version: {theirs}]");
        if compat::core(software, theirs).is_err() {
            return;
        }
        for remark in remarks(software, hello, in_use) {
            if remark.warns() {
                tracing::warn!("[clustering] {remark} {}", self.suffix);
            } else {
                tracing::info!("[clustering] {remark} {}", self.suffix);
            }
        }
    }

    /// Says what is new in a report.
    pub(super) fn report(&mut self, report: &Report) {
        let suffix = &self.suffix;
        for reason in report.withheld.iter().filter(|reason| !self.withheld.contains(reason)) {
            tracing::warn!("[clustering] unable to send updated configuration to data plane: {reason} {suffix}");
        }
        for field in report.ignored.iter().filter(|field| !self.ignored.contains(field)) {
            let (kind, name) = (field.kind.def().name, field.field);
            tracing::warn!(
                "[clustering] {kind} contain '{name}' which is incompatible with dataplane and will be ignored {suffix}"
            );
        }
        self.withheld.clone_from(&report.withheld);
        self.ignored.clone_from(&report.ignored);
    }
}

fn remarks(software: &str, hello: &Hello, in_use: &InUse) -> Vec<Remark> {
    let plugin = |def: &&model::plugins::PluginDef| PluginVersion {
        name: def.name.to_owned(),
        version: Some(def.version.to_owned()),
    };
    let plugins: Vec<PluginVersion> = model::plugins::all().iter().map(plugin).collect();
    compat::remarks(software, &plugins, in_use, hello)
}

/// What a report says of a node, as its row shows it.
pub(super) fn rows(report: &Report) -> (Vec<Withheld>, Vec<Ignored>) {
    let ignored = report.ignored.iter().map(|field| Ignored {
        kind: field.kind.def().name.to_owned(),
        field: field.field.to_owned(),
        id: field.entity,
        entities: field.entities,
    });
    (report.withheld.iter().map(withheld).collect(), ignored.collect())
}

fn withheld(reason: &Incompatible) -> Withheld {
    let (sync_status, message) = (reason.status(), reason.to_string());
    let row = Withheld { sync_status, plugin: None, kind: None, field: None, id: None, message };
    match reason {
        Incompatible::CoreMajor { .. } | Incompatible::CoreUnreadable { .. } | Incompatible::CoreNewer { .. } => row,
        Incompatible::PluginMissing { name, .. } | Incompatible::PluginVersion { name, .. } => {
            Withheld { plugin: Some(name.clone()), ..row }
        }
        Incompatible::KindMissing { kind } => {
            Withheld { kind: Kind::from_code(*kind).map(|kind| kind.def().name.to_owned()), ..row }
        }
        Incompatible::FieldUnknown { kind, field, entity, .. } => Withheld {
            kind: Some(kind.def().name.to_owned()),
            field: Some((*field).to_owned()),
            id: Some(*entity),
            ..row
        },
    }
}
