//! What the configuration needs of a node (`wire::compat`): which kinds, which plugins, and which fields that came later.
//! Kept up to date by what changed, not by looking at all of it.

use crate::changelog::View;
use model::kind::{ALL, Appended};
use model::{Id, Kind, Record};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use wire::PluginVersion;
use wire::compat::{FieldInUse, InUse};

/// Who uses what, at one version.
#[derive(Default)]
pub(super) struct Users {
    at: u64,
    plugins: HashMap<Id, Arc<str>>,
    plugin_counts: BTreeMap<Arc<str>, usize>,
    /// By kind and place in [`model::kind::KindDef::appended`].
    fields: BTreeMap<(Kind, usize), BTreeSet<Id>>,
}

impl Users {
    /// Goes on from one view to another; from nothing where what happened between them is not known.
    pub(super) fn update(&mut self, before: &View, view: &View) {
        let continues = before.epoch == view.epoch && before.version == self.at;
        let touched = if continues { view.since(self.at).ok() } else { None };
        match touched {
            Some(touched) => {
                for touched in touched.filter(|touched| matters(touched.kind)) {
                    self.set(touched.kind, touched.id, view.catalog.record(touched.kind, touched.id).as_ref());
                }
            }
            None => {
                *self = Self::default();
                for kind in ALL.iter().map(|def| def.kind).filter(|kind| matters(*kind)) {
                    for (id, _) in view.catalog.iter(kind, None) {
                        self.set(kind, id, view.catalog.record(kind, id).as_ref());
                    }
                }
            }
        }
        self.at = view.version;
    }

    /// The sum of it, for the view that was gone on to last.
    pub(super) fn sum(&self, view: &View) -> InUse {
        let kinds = ALL.iter().map(|def| def.kind).filter(|kind| view.catalog.count(*kind) > 0);
        let version = |name: &Arc<str>| model::plugins::find(name).map(|def| def.version.to_owned());
        let plugin = |name: &Arc<str>| PluginVersion { name: name.to_string(), version: version(name) };
        let field = |(&(kind, place), users): (&(Kind, usize), &BTreeSet<Id>)| {
            let Appended { body, field, harmless, .. } = *kind.def().appended.get(place)?;
            Some(FieldInUse { kind, body, field, harmless, entity: *users.first()?, entities: users.len() })
        };
        InUse {
            kinds: kinds.map(Kind::code).collect(),
            plugins: self.plugin_counts.keys().map(plugin).collect(),
            fields: self.fields.iter().filter_map(field).collect(),
        }
    }

    fn set(&mut self, kind: Kind, id: Id, record: Option<&Record>) {
        if kind == Kind::Plugin {
            self.set_plugin(id, record);
        }
        for (place, field) in kind.def().appended.iter().enumerate() {
            let uses = record.is_some_and(|record| (field.used)(&record.body).unwrap_or(false));
            let users = self.fields.entry((kind, place)).or_default();
            if uses {
                users.insert(id);
            } else {
                users.remove(&id);
            }
        }
    }

    fn set_plugin(&mut self, id: Id, record: Option<&Record>) {
        if let Some(name) = self.plugins.remove(&id)
            && let Some(count) = self.plugin_counts.get_mut(&name)
        {
            *count -= 1;
            if *count == 0 {
                self.plugin_counts.remove(&name);
            }
        }
        let plugin = record.and_then(|record| model::kinds::plugins::Plugin::decode(&record.body).ok());
        // One that is switched off is built by nobody: a node that lacks it is to have all the rest (as in Kong).
        if let Some(plugin) = plugin.filter(|plugin| plugin.enabled) {
            let name: Arc<str> = plugin.name.into();
            *self.plugin_counts.entry(name.clone()).or_default() += 1;
            self.plugins.insert(id, name);
        }
    }
}

/// Whether entities of the kind are looked into.
fn matters(kind: Kind) -> bool {
    kind == Kind::Plugin || !kind.def().appended.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::kinds::keyauth_credentials::KeyauthCredential;
    use model::kinds::plugins::Plugin;
    use std::sync::Arc;

    fn plugin(users: &mut Users, id: u128, name: Option<&str>) {
        switched(users, id, name, true);
    }

    fn switched(users: &mut Users, id: u128, name: Option<&str>, enabled: bool) {
        let plugin = |name: &str| Plugin { id: Id(id), name: name.to_owned(), enabled, ..Plugin::default() };
        set(users, Kind::Plugin, id, name.map(|name| plugin(name).encode().unwrap()));
    }

    fn credential(users: &mut Users, id: u128, expires_at: Option<Option<i64>>) {
        let body = |expires_at| KeyauthCredential { id: Id(id), expires_at, ..Default::default() }.encode().unwrap();
        set(users, Kind::KeyauthCredential, id, expires_at.map(body));
    }

    fn set(users: &mut Users, kind: Kind, id: u128, body: Option<Vec<u8>>) {
        let record = body.map(|body| Record { kind, id: Id(id), version: 1, tag: 0, body: Arc::from(body) });
        users.set(kind, Id(id), record.as_ref());
    }

    #[test]
    fn plugins_are_in_use_while_one_instance_is_left() {
        let mut users = Users::default();
        let names = |users: &Users| -> Vec<String> {
            users.sum(&View::empty(1)).plugins.into_iter().map(|plugin| plugin.name).collect()
        };
        plugin(&mut users, 1, Some("jwt"));
        plugin(&mut users, 2, Some("jwt"));
        plugin(&mut users, 1, Some("key-auth"));
        assert_eq!(names(&users), ["jwt", "key-auth"]);
        plugin(&mut users, 2, None);
        assert_eq!(names(&users), ["key-auth"]);
    }

    #[test]
    fn a_plugin_that_is_switched_off_is_not_in_use_until_it_is_switched_on() {
        let mut users = Users::default();
        let in_use = |users: &Users| users.sum(&View::empty(1)).plugins.len();
        let mut after = |enabled: bool| {
            switched(&mut users, 1, Some("jwt"), enabled);
            in_use(&users)
        };
        assert_eq!([false, true, true, false].map(&mut after), [0, 1, 1, 0]);
    }

    #[test]
    fn a_later_field_is_in_use_while_one_entity_uses_it_and_names_one_that_does() {
        let mut users = Users::default();
        let fields = |users: &Users| -> Vec<(&str, Id, usize)> {
            let fields = users.sum(&View::empty(1)).fields;
            fields.iter().map(|field| (field.field, field.entity, field.entities)).collect()
        };
        credential(&mut users, 1, Some(None));
        assert_eq!(fields(&users), []);
        credential(&mut users, 2, Some(Some(1_900_000_000)));
        credential(&mut users, 1, Some(Some(1_900_000_000)));
        assert_eq!(fields(&users), [("ttl", Id(1), 2)]);
        credential(&mut users, 1, Some(None));
        assert_eq!(fields(&users), [("ttl", Id(2), 1)]);
        credential(&mut users, 2, None);
        assert_eq!(fields(&users), []);
    }
}
