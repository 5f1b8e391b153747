//! What an operator is told of a node's compatibility: Kong's log lines, each once while it is true, and the rows behind
//! `/clustering/data-planes`.

use crate::fleet::{Ignored, Withheld};
use model::Kind;
use std::net::IpAddr;
use wire::compat::{self, InUse, Incompatible, Remark};
use wire::cp::Report;
use wire::message::Mode;
use wire::{Hello, PluginVersion};

/// What has been said of one node over one connection.
#[derive(Default)]
pub(super) struct Told {
    /// Kong ends its lines about a node with this.
    suffix: String,
    withheld: Vec<Incompatible>,
    ignored: Vec<compat::FieldInUse>,
    ahead: bool,
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

    /// Says what is new in a report; `writer`: to whom nobody should be ahead.
    pub(super) fn report(&mut self, report: &Report, writer: bool) {
        let suffix = &self.suffix;
        let (ahead, version) = (report.mode == Mode::Behind, report.applied);
        if ahead && !self.ahead && writer {
            tracing::error!(
                version,
                "a node is ahead of this writer in its own epoch: the database went back; nothing is sent to it until \
                 \"cp-lite promote --force\" makes what is here the configuration of all {suffix}"
            );
        }
        self.ahead = ahead;
        for line in self.news(report) {
            tracing::warn!("[clustering] {line} {}", self.suffix);
        }
    }

    /// Kong's words for what is new in a report.
    fn news(&mut self, report: &Report) -> Vec<String> {
        let withheld = report.withheld.iter().filter(|reason| !self.withheld.contains(reason));
        let withheld = withheld.map(|reason| format!("unable to send updated configuration to data plane: {reason}"));
        let ignored = report.ignored.iter().filter(|field| !self.ignored.contains(field)).map(|field| {
            let (kind, name) = (field.kind.def().name, field.field);
            format!("{kind} contain '{name}' which is incompatible with dataplane and will be ignored")
        });
        let news = withheld.chain(ignored).collect();
        self.withheld.clone_from(&report.withheld);
        self.ignored.clone_from(&report.ignored);
        news
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

#[cfg(test)]
mod tests {
    use super::*;
    use compat::FieldInUse;
    use model::Id;
    use std::sync::Arc;
    use wire::compat::SyncStatus;
    use wire::cp::{Config, Session};

    fn report(withheld: Vec<Incompatible>, ignored: Vec<FieldInUse>) -> Report {
        let session = Session::new(Arc::new(Config::new(Id(1), "0.1.0".to_owned())), 0);
        Report { withheld, ignored, ..session.report().clone() }
    }

    /// A field that a node may overlook; no released kind has one so far.
    fn harmless(entities: usize) -> FieldInUse {
        FieldInUse { kind: Kind::Route, body: 2, field: "colour", harmless: true, entity: Id(7), entities }
    }

    #[test]
    fn a_field_that_is_overlooked_is_shown_and_keeps_nothing_back() {
        let (withheld, ignored) = rows(&report(Vec::new(), vec![harmless(3)]));
        assert_eq!(withheld, []);
        assert_eq!(ignored, [Ignored { kind: "routes".into(), field: "colour".into(), id: Id(7), entities: 3 }]);
    }

    #[test]
    fn each_line_is_said_once_while_it_is_true_and_again_when_it_is_true_again() {
        let mut told = Told::default();
        let missing = |name: &str| Incompatible::PluginMissing { name: name.to_owned(), version: "3.9.0".to_owned() };
        let first = report(vec![missing("acme")], vec![harmless(1)]);
        let lines = [
            "unable to send updated configuration to data plane: configured acme plugin 3.9.0 is missing from data plane",
            "routes contain 'colour' which is incompatible with dataplane and will be ignored",
        ];
        assert_eq!(told.news(&first), lines);
        assert_eq!(told.news(&first), [""; 0]);
        let more = report(vec![missing("acme"), missing("other")], vec![harmless(1)]);
        assert_eq!(told.news(&more).len(), 1, "what is new, and not all of it");
        assert_eq!(told.news(&report(Vec::new(), Vec::new())), [""; 0]);
        assert_eq!(told.news(&first), lines);
    }

    #[test]
    fn all_reasons_are_rows_with_what_each_is_about() {
        let field = Incompatible::FieldUnknown { kind: Kind::Route, field: "colour", entity: Id(7), entities: 1 };
        let reasons = vec![
            Incompatible::PluginMissing { name: "acme".to_owned(), version: "3.9.0".to_owned() },
            Incompatible::KindMissing { kind: Kind::Sni.code() },
            field,
        ];
        let (rows, _) = rows(&report(reasons, Vec::new()));
        let about = |row: &Withheld| (row.sync_status, row.plugin.clone(), row.kind.clone(), row.field.clone(), row.id);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            rows.iter().map(about).collect::<Vec<_>>(),
            [
                (SyncStatus::PluginSetIncompatible, some("acme"), None, None, None),
                (SyncStatus::KindSetIncompatible, None, some("snis"), None, None),
                (SyncStatus::KindVersionIncompatible, None, some("routes"), some("colour"), Some(Id(7))),
            ]
        );
    }
}
