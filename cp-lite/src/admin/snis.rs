//! Kong's pseudo-field `snis` of certificates: names on a certificate that are entities of their own. It is shown with
//! a certificate, set with it, found by it, and goes with it. The one place that knows a kind.

use super::links;
use super::problem::Problem;
use super::subject::entity;
use super::write::{Checker, put};
use crate::changelog::View;
use model::kind::KindDef;
use model::schema::Violations;
use model::{Change, Id, Kind};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

const FIELD: &str = "snis";

/// The certificate that has this name, if the kind asked about is certificates.
pub(super) fn certificate_named(view: &View, def: &KindDef, name: &str) -> Option<Id> {
    if def.kind != Kind::Certificate {
        return None;
    }
    let sni = view.catalog.find(Kind::Sni, "name", name)?;
    links::target(&entity(view, Kind::Sni.def(), sni).ok()?, "certificate")
}

/// What a key that is no id means for a kind that is not named otherwise.
pub(super) fn no_such_name(def: &KindDef) -> Problem {
    if def.kind == Kind::Certificate { Problem::NotFound } else { Problem::InvalidPrimaryKey }
}

/// Adds the names to a certificate that is about to be shown; leaves other kinds as they are.
pub(super) fn show(view: &View, def: &KindDef, id: Id, shown: &mut Map<String, Value>) {
    if def.kind == Kind::Certificate {
        set(shown, of(view, id).into_iter().map(|(name, _)| name));
    }
}

/// Puts these names on a certificate that is about to be shown.
pub(super) fn set(shown: &mut Map<String, Value>, names: impl IntoIterator<Item = String>) {
    shown.insert(FIELD.to_owned(), names.into_iter().map(Value::String).collect());
}

/// Takes the names off a certificate that was sent; `None` where it brings none and for other kinds.
pub(super) fn take(def: &KindDef, input: &mut Map<String, Value>) -> Result<Option<BTreeSet<String>>, Problem> {
    if def.kind != Kind::Certificate {
        return Ok(None);
    }
    let names = match input.remove(FIELD) {
        None => return Ok(None),
        Some(Value::Null) => Vec::new(),
        Some(Value::Array(names)) => names,
        // A form with one name.
        Some(one @ Value::String(_)) => vec![one],
        Some(_) => return Err(Violations::of(FIELD, "expected an array").into()),
    };
    let mut set = BTreeSet::new();
    for name in names {
        let Value::String(name) = name else { return Err(Violations::of(FIELD, "expected a string").into()) };
        if set.contains(&name) {
            return Err(Violations::of(FIELD, format!("{name} is duplicated")).into());
        }
        set.insert(name);
    }
    Ok(Some(set))
}

/// What makes these names, and no others, those of a certificate.
pub(super) fn changes(
    view: &View,
    checker: &Checker<'_>,
    certificate: Id,
    names: &BTreeSet<String>,
) -> Result<Vec<Change>, Problem> {
    let current = of(view, certificate);
    let mut changes = Vec::new();
    for (name, id) in &current {
        if !names.contains(name) {
            changes.push(Change::Delete { kind: Kind::Sni, id: *id });
        }
    }
    for name in names.iter().filter(|name| !current.iter().any(|(found, _)| found == *name)) {
        if let Some(other) = certificate_named(view, Kind::Certificate.def(), name) {
            let text = format!("{name} already associated with existing certificate '{other}'");
            return Err(Violations::of(FIELD, text).into());
        }
        let mut sni = Map::new();
        sni.insert("name".to_owned(), Value::String(name.clone()));
        sni.insert("certificate".to_owned(), links::to(certificate));
        let def = Kind::Sni.def();
        let sni = checker.check(def, sni).map_err(|violations| in_certificate(&violations))?;
        changes.push(Change::Put(put(def, &sni)?.1));
    }
    Ok(changes)
}

/// The deletion of a certificate's names.
pub(super) fn deletions(view: &View, def: &KindDef, id: Id) -> Vec<Change> {
    if def.kind != Kind::Certificate {
        return Vec::new();
    }
    of(view, id).into_iter().map(|(_, id)| Change::Delete { kind: Kind::Sni, id }).collect()
}

/// The names of a certificate, sorted, with their ids.
fn of(view: &View, certificate: Id) -> Vec<(String, Id)> {
    let ids = view.catalog.children_of_kind(Kind::Certificate, certificate, Kind::Sni, None);
    let named = ids.filter_map(|id| {
        let sni = entity(view, Kind::Sni.def(), id).ok()?;
        Some((sni.get("name")?.as_str()?.to_owned(), id))
    });
    let mut names: Vec<_> = named.collect();
    names.sort();
    names
}

/// What is wrong with a name, said of the certificate's field.
fn in_certificate(violations: &Violations) -> Problem {
    let text = violations.flatten().into_iter().map(|(_, message)| message).next().unwrap_or_default();
    Violations::of(FIELD, text).into()
}
