//! Real input: the files of Kong's KongAir (`tests/data/kongair` at the top) and what `openapi-2-kong` makes of them.

use model::declarative::{Declared, Format, FormatVersion, Mistake, read};
use model::schema::CheckCx;
use model::{Id, Kind};
use serde_json::{Value, json};
use std::path::PathBuf;

fn data(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/kongair").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn reading(text: &str, format: Format) -> Result<Declared, Vec<Mistake>> {
    let new_id = || Id(1);
    let cx = CheckCx { now_ms: 1_700_000_000_000, new_id: &new_id, certificates: None, keeps_updated_at: true };
    read(text, Some(format), &cx)
}

fn of_kind(file: &Declared, kind: Kind) -> Vec<Value> {
    let entities = file.entities.iter().filter(|entity| entity.kind == kind);
    entities.map(|entity| Value::Object(entity.json().unwrap())).collect()
}

/// `kong.yaml` without the lines that hold what this product does not have.
fn without_the_unsupported() -> String {
    let mut kept = Vec::new();
    let mut cut_below = None;
    for line in data("kong.yaml").lines() {
        let indent = line.len() - line.trim_start().len();
        if cut_below.is_some_and(|cut| indent > cut || (indent == cut && line.trim_start().starts_with("- "))) {
            continue;
        }
        cut_below = None;
        match line {
            "consumer_groups:" | "plugins:" => cut_below = Some(indent),
            "- groups:" => {
                kept.push("-".to_owned());
                cut_below = Some(2);
            }
            _ if line.trim_start() == "- config:" => {
                cut_below = Some(indent + 1);
            }
            _ => kept.push(line.to_owned()),
        }
    }
    kept.join("\n")
}

#[test]
fn names_each_thing_that_is_not_to_be_had_and_nothing_else() {
    let text = data("kong.yaml");
    let mistakes = reading(&text, Format::Yaml).unwrap_err();
    let shown: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    let expected = [
        "7:3: consumer_group 'gold': consumer groups are not supported",
        "10:3: consumer_group 'lifetime': consumer groups are not supported",
        "13:3: consumer_group 'platinum': consumer groups are not supported",
        "16:3: consumer_group 'silver': consumer groups are not supported",
        "20:3: consumer 'dfreese' groups: consumer groups are not supported: 'platinum'",
        "25:3: consumer 'jdoe' groups: consumer groups are not supported: 'gold'",
        "30:3: consumer 'jsmith' groups: consumer groups are not supported: 'silver'",
        "43:3: plugin 'acme' name: there is no plugin 'acme' in this build",
        "282:5: plugin 'graphql-proxy-cache-advanced' name: there is no plugin 'graphql-proxy-cache-advanced' in this build",
        "291:5: plugin 'graphql-rate-limiting-advanced' name: there is no plugin 'graphql-rate-limiting-advanced' in this build",
    ];
    assert_eq!(shown, expected);
}

#[test]
fn loads_once_they_are_taken_out() {
    let text = without_the_unsupported();
    let file = reading(&text, Format::Yaml).unwrap_or_else(|mistakes| panic!("{mistakes:#?}\n{text}"));
    let count = |kind| of_kind(&file, kind).len();
    assert_eq!((count(Kind::Service), count(Kind::Route), count(Kind::Consumer)), (6, 14, 3));
    let plugins = of_kind(&file, Kind::Plugin);
    assert_eq!(plugins.len(), 3);
    for plugin in plugins {
        assert_eq!(plugin["name"], "jwt");
        assert_eq!(plugin["config"]["key_claim_name"], "iss");
    }
    let dummy = of_kind(&file, Kind::Service).into_iter().find(|service| service["name"] == "acme-dummy-service");
    assert_eq!(dummy.unwrap()["port"], 65535);
}

#[test]
fn what_openapi_2_kong_writes_becomes_3_0() {
    let cases = [("flights", 4), ("routes", 3), ("bookings", 3), ("customer", 2)];
    for (name, routes) in cases {
        let text = data(&format!("generated/{name}.json"));
        let file = reading(&text, Format::Json).unwrap_or_else(|mistakes| panic!("{name}: {mistakes:#?}"));
        assert_eq!(file.format_version, FormatVersion::V1_1);
        assert_eq!(of_kind(&file, Kind::Service).len(), 1);
        let found = of_kind(&file, Kind::Route);
        assert_eq!(found.len(), routes, "{name}");
        for route in &found {
            assert!(route["paths"][0].as_str().unwrap().starts_with("~/"), "{route}");
            let file_tag = format!("OAS3file_{name}.openapi.yaml");
            assert_eq!(route["tags"], json!(["OAS3_import", file_tag]), "a set keeps the first of equal tags");
        }
    }
    let flights = reading(&data("generated/flights.json"), Format::Json).unwrap();
    let paths: Vec<_> = of_kind(&flights, Kind::Route).iter().map(|route| route["paths"][0].clone()).collect();
    assert!(paths.contains(&json!(r"~/flights/(?<flightNumber>[^\/]+)/details$")), "{paths:?}");
}
