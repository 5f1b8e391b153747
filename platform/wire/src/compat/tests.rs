//! Kong's compatibility table, row by row, and our rows beneath it.

use super::*;
use crate::message::{Have, KindVersion};

/// Kinds as the nodes of these tests have them: of services version 1, of credentials as given.
fn node(software: &str, plugins: &[(&str, Option<&str>)]) -> Hello {
    let plugin = |(name, version): &(&str, Option<&str>)| PluginVersion {
        name: (*name).to_owned(),
        version: version.map(str::to_owned),
    };
    Hello {
        proto_min: 1,
        proto_max: 1,
        node: Id(1),
        hostname: String::new(),
        software: software.to_owned(),
        kinds: vec![KindVersion { kind: 1, body: 1 }],
        plugins: plugins.iter().map(plugin).collect(),
        labels: Vec::new(),
        have: Have::default(),
        incremental: true,
        codecs: vec![0],
        heartbeat_s: 0,
        status: 0,
        partial: None,
        features: 0,
        term: 0,
    }
}

fn using(kinds: &[u8], plugins: &[(&str, Option<&str>)]) -> InUse {
    InUse { kinds: kinds.to_vec(), plugins: node("", plugins).plugins, fields: Vec::new() }
}

fn told(result: Result<(), Incompatible>) -> (SyncStatus, String) {
    result.map_or_else(|reason| (reason.status(), reason.to_string()), |()| (SyncStatus::Normal, String::new()))
}

#[test]
fn core_majors_are_equal() {
    for dp in ["2.4.2", "0.4.2"] {
        let text =
            format!("data plane version {dp} is incompatible with control plane version 1.4.2 (1.x.y are accepted)");
        assert_eq!(told(core("1.4.2", dp)), (SyncStatus::KongVersionIncompatible, text));
    }
}

#[test]
fn core_minors_of_data_planes_are_not_above() {
    assert_eq!(core("1.4.2", "1.4.2"), Ok(()));
    assert_eq!(core("1.4.2", "1.0.0"), Ok(()));
    let text = "data plane version 1.5.0 is incompatible with older control plane version 1.4.2";
    assert_eq!(told(core("1.4.2", "1.5.0")), (SyncStatus::KongVersionIncompatible, text.to_owned()));
}

#[test]
fn core_patches_and_what_follows_are_ignored_and_unreadable_versions_refused() {
    for dp in ["1.4.9", "1.4", "1.4.0.3", "1.4.0-rc1", "1.4-enterprise"] {
        assert_eq!(core("1.4.2", dp), Ok(()), "{dp}");
    }
    let text = "data plane version is incompatible with control plane version 1.4.2 (1.x.y are accepted)";
    for dp in ["nonsense", "", "1", "1.x"] {
        assert_eq!(told(core("1.4.2", dp)), (SyncStatus::KongVersionIncompatible, text.to_owned()), "{dp}");
    }
}

#[test]
fn configured_plugins_are_present_and_others_may_be_missing() {
    let missing = |configured| told(content("1.4.0", &using(&[], configured), &node("1.4.0", &[("acl", None)])));
    assert_eq!(missing(&[("acl", None)]).0, SyncStatus::Normal);
    assert_eq!(missing(&[]).0, SyncStatus::Normal);
    let text = "configured jwt plugin 1.4.0 is missing from data plane";
    assert_eq!(missing(&[("jwt", None)]), (SyncStatus::PluginSetIncompatible, text.to_owned()));
    let text = "configured own plugin 3.2 is missing from data plane";
    assert_eq!(missing(&[("own", Some("3.2"))]), (SyncStatus::PluginSetIncompatible, text.to_owned()));
}

#[test]
fn configured_plugins_have_the_same_major_and_no_higher_minor() {
    let judged = |ours, theirs| told(content("1.4.0", &using(&[], &[("p", ours)]), &node("1.2.0", &[("p", theirs)])));
    for (ours, theirs) in [(Some("3.2"), Some("3.1")), (Some("3.2.1"), Some("3.2.9")), (None, None)] {
        assert_eq!(judged(ours, theirs).0, SyncStatus::Normal, "{ours:?} {theirs:?}");
    }
    for (ours, theirs) in [(Some("unversioned"), Some("3.1")), (Some("3.1"), Some("")), (Some("3.1"), Some("x"))] {
        assert_eq!(judged(ours, theirs).0, SyncStatus::Normal, "without a version on either end: {ours:?} {theirs:?}");
    }
    for (theirs, shown) in
        [(Some("4.0.0"), "4.0.0"), (Some("2.9.0"), "2.9.0"), (Some("3.3.0"), "3.3.0"), (None, "1.2.0")]
    {
        let text = format!(
            "configured data plane p plugin version {shown} is different to control plane plugin version 3.2.0"
        );
        assert_eq!(judged(Some("3.2.0"), theirs), (SyncStatus::PluginVersionIncompatible, text));
    }
}

#[test]
fn no_node_lacks_a_filter_for_there_are_none() {
    let filtered = SyncStatus::ALL.map(SyncStatus::name).contains(&"filter_set_incompatible");
    assert!(filtered, "the name is Kong's, for those who look for it");
}

#[test]
fn statuses_are_named_as_kong_names_them() {
    let names = SyncStatus::ALL.map(SyncStatus::name);
    let kongs = [
        "unknown",
        "normal",
        "kong_version_incompatible",
        "plugin_set_incompatible",
        "plugin_version_incompatible",
        "filter_set_incompatible",
    ];
    assert_eq!(names[..6], kongs);
    assert_eq!(names[6..], ["kind_set_incompatible", "kind_version_incompatible"]);
}

#[test]
fn kinds_matter_once_there_are_entities_of_them() {
    let node = node("1.4.0", &[]);
    assert_eq!(status("1.4.0", &using(&[1], &[]), &node), SyncStatus::Normal);
    let missing = |kind| told(content("1.4.0", &using(&[1, kind], &[]), &node));
    assert_eq!(
        missing(10),
        (SyncStatus::KindSetIncompatible, "configured keyauth_credentials are unknown to data plane".into())
    );
    assert_eq!(
        missing(99),
        (SyncStatus::KindSetIncompatible, "configured entities of kind 99 are unknown to data plane".into())
    );
    assert_eq!(status("1.3.0", &using(&[], &[]), &node), SyncStatus::KongVersionIncompatible);
}

#[test]
fn a_field_that_an_older_node_must_not_overlook_holds_everything_back_while_it_is_in_use() {
    let with = |body| {
        let mut node = node("1.4.0", &[]);
        node.kinds.push(KindVersion { kind: Kind::KeyauthCredential.code(), body });
        node
    };
    let ttl = FieldInUse {
        kind: Kind::KeyauthCredential,
        body: 2,
        field: "ttl",
        harmless: false,
        entity: Id(7),
        entities: 1,
    };
    let judged = |fields: &[FieldInUse], body| {
        judge("1.4.0", &InUse { fields: fields.to_vec(), ..using(&[10], &[]) }, &with(body))
    };
    assert_eq!(judged(&[], 1), Verdict::default(), "nobody uses it");
    assert_eq!(judged(&[ttl], 2), Verdict::default());
    assert_eq!(judged(&[ttl], 3), Verdict::default(), "a node may know more");
    let refused = judged(&[FieldInUse { entities: 3, ..ttl }], 1).withheld;
    assert_eq!(refused[0].status(), SyncStatus::KindVersionIncompatible);
    let text = format!(
        "configured keyauth_credentials contain 'ttl', which data plane does not know and must not overlook: {} does, and 2 others",
        Id(7)
    );
    assert_eq!(refused[0].to_string(), text);
    let harmless = FieldInUse { harmless: true, ..ttl };
    assert_eq!(judged(&[harmless], 1), Verdict { ignored: vec![harmless], ..Verdict::default() });
}

#[test]
fn all_reasons_are_told_up_to_a_bound() {
    let plugins: Vec<String> = (0..20).map(|n| format!("p{n}")).collect();
    let plugins: Vec<(&str, Option<&str>)> = plugins.iter().map(|name| (name.as_str(), None)).collect();
    let verdict = judge("1.4.0", &using(&[99], &plugins), &node("1.4.0", &[]));
    assert_eq!(verdict.withheld.len(), REASONS_MAX);
    assert_eq!(verdict.withheld[0].status(), SyncStatus::KindSetIncompatible);
    assert_eq!(verdict.withheld[1].status(), SyncStatus::PluginSetIncompatible);
}

#[test]
fn what_is_let_in_and_differs_is_remarked_upon_in_kongs_words() {
    let all = node("", &[("a", None), ("b", Some("2.0")), ("c", None), ("d", None)]).plugins;
    let dp = node("1.2.0", &[("a", Some("1.4.0")), ("b", Some("1.0")), ("d", Some("x"))]);
    let remarks = remarks("1.4.0", &all, &using(&[], &[]), &dp);
    let told: Vec<(bool, String)> = remarks.iter().map(|remark| (remark.warns(), remark.to_string())).collect();
    let expected = [
        (false, "data plane minor version 1.2.0 is different to control plane minor version 1.4.0"),
        (true, "data plane b plugin version 1.0 is different to control plane plugin version 2.0"),
        (true, "c plugin 1.4.0 is missing from data plane"),
    ];
    assert_eq!(told, expected.map(|(warns, text)| (warns, text.to_owned())));
    let same = node("1.4.9", &[("a", None), ("b", Some("2.0")), ("c", None), ("d", None)]);
    assert_eq!(super::remarks("1.4.0", &all, &using(&[], &[]), &same), []);
    let older = node("1.4.0", &[("a", Some("1.3.0"))]);
    let configured = using(&[], &[("a", None), ("b", Some("2.0"))]);
    let told = super::remarks("1.4.0", &all[..2], &configured, &older);
    assert_eq!(told.len(), 1, "b is configured, so that it is a refusal and no remark: {told:?}");
    assert!(!told[0].warns());
}
