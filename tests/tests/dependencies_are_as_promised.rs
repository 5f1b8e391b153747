//! What `.cargo/deny.toml` says is kept, also where cargo-deny is not installed: licences, sources, bans, the pin of sled.

use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

fn rules() -> toml::Table {
    let text = std::fs::read_to_string(root().join(".cargo/deny.toml")).expect("the rules are there");
    text.parse().expect("the rules are TOML")
}

fn text<'a>(package: &'a Value, key: &str) -> &'a str {
    package[key].as_str().unwrap_or("")
}

/// Whether an SPDX expression of names, `AND`, `OR` and parentheses can be met with the allowed licences.
fn is_met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    any(&tokens, &mut at, allowed) && at == tokens.len()
}

fn any(tokens: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut met = all(tokens, at, allowed);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all(tokens, at, allowed);
    }
    met
}

fn all(tokens: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    let mut met = one(tokens, at, allowed);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(tokens, at, allowed);
    }
    met
}

fn one(tokens: &[&str], at: &mut usize, allowed: &BTreeSet<String>) -> bool {
    if tokens.get(*at) == Some(&"(") {
        *at += 1;
        let met = any(tokens, at, allowed);
        *at += 1;
        return met;
    }
    let mut name = (*tokens.get(*at).unwrap_or(&"")).to_owned();
    *at += 1;
    if tokens.get(*at) == Some(&"WITH") {
        name = format!("{name} WITH {}", tokens.get(*at + 1).unwrap_or(&""));
        *at += 2;
    }
    allowed.contains(&name)
}

#[test]
fn every_licence_is_on_the_list() {
    let rules = rules();
    let listed = rules["licenses"]["allow"].as_array().expect("a list");
    let allowed: BTreeSet<String> = listed.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
    let refused: Vec<String> = packages()
        .iter()
        .filter(|package| !is_met(text(package, "license"), &allowed))
        .map(|package| format!("{}: {}", text(package, "name"), text(package, "license")))
        .collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn every_crate_is_ours_or_from_the_registry() {
    for package in packages() {
        let source = text(&package, "source");
        assert!(source.is_empty() || source.starts_with("registry+"), "{}: {source}", text(&package, "name"));
    }
}

#[test]
fn nothing_banned_is_linked() {
    let rules = rules();
    let banned: BTreeSet<&str> =
        rules["bans"]["deny"].as_array().expect("a list").iter().filter_map(|entry| entry["name"].as_str()).collect();
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock is there");
    let lock: toml::Table = lock.parse().expect("Cargo.lock is TOML");
    for package in lock["package"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name");
        assert!(!banned.contains(name), "{name} is banned by .cargo/deny.toml");
    }
}

#[test]
fn sled_is_pinned_and_named_by_the_store_alone() {
    for package in packages().iter().filter(|package| text(package, "source").is_empty()) {
        for dependency in package["dependencies"].as_array().expect("a list") {
            if text(dependency, "name") == "sled" {
                assert_eq!(text(package, "name"), "store");
                assert_eq!(text(dependency, "req"), "=0.34.7");
            }
        }
    }
}
