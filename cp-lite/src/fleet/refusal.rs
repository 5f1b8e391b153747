//! What a node could not apply, as its row shows it.

use model::{Id, Kind};
use serde::{Deserialize, Serialize};
use wire::cp::Report;
use wire::message::{Mode, Nack, NackCode};

/// A version that a node could not apply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The version.
    pub version: u64,
    /// Why, in a word: [`wire::message::NackCode::name`]; `behind` where nothing was refused and nothing is sent.
    #[serde(default)]
    pub code: String,
    /// The collection of the entity that it could not apply, if it was one: `routes`.
    pub kind: Option<String>,
    /// The entity, if it was one.
    pub id: Option<Id>,
    /// Why, in the node's words; at most [`super::MESSAGE_BYTES_MAX`].
    pub message: String,
    /// When it said so.
    pub at: i64,
}

impl Refusal {
    /// What a report says of it, where `before` was known.
    #[must_use]
    pub fn told(report: &Report, at: i64, before: Option<&Self>) -> Option<Self> {
        let behind = report.mode == Mode::Behind;
        let nack = || report.nack.as_ref().map(|nack| Self::of(nack, at));
        let told = if behind { Some(Self::behind(report.applied, at)) } else { nack() };
        told.map(|told| told.after(before))
    }

    /// Nothing is sent to it, so that its row must not look as if all were well.
    fn behind(version: u64, at: i64) -> Self {
        let message =
            format!("the node is ahead, at version {version}: nothing is sent until this control plane has passed it");
        Self { version, code: Mode::Behind.name().to_owned(), kind: None, id: None, message, at }
    }

    /// Whether it is that this control plane is behind.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.code == Mode::Behind.name()
    }

    /// What a node said in a NACK.
    #[must_use]
    pub fn of(nack: &Nack, at: i64) -> Self {
        let kind = nack.entity.map(|(kind, _)| {
            Kind::from_code(kind).map_or_else(|| format!("kind {kind}"), |kind| kind.def().name.to_owned())
        });
        let code = match nack.code {
            NackCode::Other(code) => format!("code {code}"),
            code => code.name().to_owned(),
        };
        let message =
            if nack.path.is_empty() { nack.message.clone() } else { format!("{}: {}", nack.path, nack.message) };
        Self { version: nack.version, code, kind, id: nack.entity.map(|(_, id)| id), message, at }
    }

    /// This one; since when is as of the one before, where that says the same.
    #[must_use]
    pub fn after(self, before: Option<&Self>) -> Self {
        let since = before.filter(|before| Self { at: before.at, ..self.clone() } == **before);
        Self { at: since.map_or(self.at, |before| before.at), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nack(code: NackCode, message: &str) -> Nack {
        let (entity, path, message) = (Some((2, Id(7))), "paths".to_owned(), message.to_owned());
        Nack { version: 9, code, entity, path, message, kept: 8, shrink: None }
    }

    #[test]
    fn the_last_reason_is_told_and_since_when_it_is_that_one() {
        let first = Refusal::of(&nack(NackCode::Root, "m"), 100).after(None);
        assert_eq!((first.code.as_str(), first.kind.as_deref()), ("root_differs", Some("routes")));
        assert_eq!((first.message.as_str(), first.at), ("paths: m", 100));
        // Of the same version, and another reason: the full sync that followed was refused as well.
        let second = Refusal::of(&nack(NackCode::Invalid, "m"), 105).after(Some(&first));
        assert_eq!((second.code.as_str(), second.at), ("invalid", 105));
        let again = Refusal::of(&nack(NackCode::Invalid, "m"), 110).after(Some(&second));
        assert_eq!(again, second);
        let other = Refusal::of(&nack(NackCode::Invalid, "n"), 115).after(Some(&again));
        assert_eq!((other.message.as_str(), other.at), ("paths: n", 115));
    }

    #[test]
    fn what_this_build_does_not_know_is_told_by_its_number() {
        let told = Refusal::of(&Nack { entity: Some((99, Id(7))), ..nack(NackCode::Other(77), "m") }, 1);
        assert_eq!((told.code.as_str(), told.kind.as_deref()), ("code 77", Some("kind 99")));
    }
}
