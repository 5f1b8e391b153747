//! References: a name, an id, `{id: …}` or `{name: …}` becomes the id of another entity of the same file.

use super::gather::{Draft, endpoint_key, singular};
use super::node::{Content, Node};
use crate::{Id, Kind};
use std::collections::{HashMap, HashSet};

/// The entities of the file by name and by id.
pub(super) struct Names<'d> {
    by_key: HashMap<(Kind, &'d str), Id>,
    by_id: HashSet<(Kind, Id)>,
}

impl<'d> Names<'d> {
    pub(super) fn of(drafts: &[Draft<'d, '_>]) -> Self {
        let mut names = Self { by_key: HashMap::new(), by_id: HashSet::with_capacity(drafts.len()) };
        for draft in drafts {
            names.by_id.insert((draft.kind, draft.id));
            if let Some(key) = endpoint_key(draft.kind).and_then(|key| draft.node.text_of(key)) {
                names.by_key.entry((draft.kind, key)).or_insert(draft.id);
            }
        }
        names
    }

    /// What a reference to an entity of this kind means.
    ///
    /// # Errors
    /// There is none such in the file, or it is no reference.
    pub(super) fn resolve(&self, kind: Kind, node: &Node<'_>) -> Result<Id, String> {
        let found = match &node.content {
            Content::Text(text) => self.find(kind, text),
            Content::Map(fields) => match fields.as_slice() {
                [field] if field.name == "id" => field.value.text().and_then(|text| self.find_id(kind, text)),
                [field] if Some(&*field.name) == endpoint_key(kind) => {
                    field.value.text().and_then(|text| self.find(kind, text))
                }
                _ => {
                    return Err(format!(
                        "expected a name, an id, or a map with one of them alone ('id', {})",
                        key(kind)
                    ));
                }
            },
            _ => {
                return Err(format!(
                    "expected the name or the id of a {}, not {}",
                    singular(kind.def().name),
                    node.noun()
                ));
            }
        };
        found.ok_or_else(|| format!("invalid reference: no such entry in '{}' of this file", kind.def().name))
    }

    fn find(&self, kind: Kind, text: &str) -> Option<Id> {
        self.by_key.get(&(kind, text)).copied().or_else(|| self.find_id(kind, text))
    }

    fn find_id(&self, kind: Kind, text: &str) -> Option<Id> {
        text.parse().ok().filter(|id| self.by_id.contains(&(kind, *id)))
    }
}

fn key(kind: Kind) -> String {
    endpoint_key(kind).map_or_else(|| "no other".to_owned(), |key| format!("'{key}'"))
}
