//! `BODIES.md` says what the code does: its tables are read and held against the types that write and read bodies, the
//! codes of kinds, their versions and their appended fields, and the bytes that it quotes.

use crate::body::shape::{FieldShape, Shapes};
use crate::kind::{ALL, Kind};
use serde_json::Value;
use std::collections::BTreeMap;

const DOCUMENT: &str = include_str!("../../BODIES.md");

/// Headings, and below each the cells of the lines of its tables.
fn sections(document: &str) -> BTreeMap<&str, Vec<Vec<&str>>> {
    let mut sections: BTreeMap<&str, Vec<Vec<&str>>> = BTreeMap::new();
    let mut heading = "";
    for line in document.lines() {
        if let Some(text) = line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")) {
            heading = text;
            assert!(sections.insert(heading, Vec::new()).is_none(), "{heading}: twice");
        } else if let Some(cells) = line.strip_prefix("| ") {
            let cells = cells.trim_end_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`')).collect();
            sections.entry(heading).or_default().push(cells);
        }
    }
    sections
}

/// The lines of the table below a heading, without its head.
fn table<'a>(document: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let lines = sections(document).remove(heading).unwrap_or_else(|| panic!("BODIES.md has no section \"{heading}\""));
    lines.into_iter().skip(1).collect()
}

/// The default of a field as the document writes it: JSON, or that a record has its own defaults.
fn absent(field: &FieldShape, shapes: &Shapes) -> String {
    let inner = field.encoding.strip_prefix("option ").unwrap_or(&field.encoding);
    match shapes.records.get(inner) {
        Some(lines) if !field.absent.is_null() => {
            let defaults = lines.iter().map(|line| (line.name.clone(), line.absent.clone())).collect();
            assert_eq!(field.absent, Value::Object(defaults), "{}: a record with defaults of its own", field.name);
            "its defaults".to_owned()
        }
        _ => field.absent.to_string(),
    }
}

/// The record's table in the document is the struct.
fn assert_described(document: &str, heading: &str, record: &str, shapes: &Shapes) {
    let lines = table(document, heading);
    let described: Vec<[&str; 3]> = lines.iter().map(|cells| [cells[0], cells[1], cells[2]]).collect();
    let fields: Vec<[String; 3]> = shapes.records[record]
        .iter()
        .map(|field| [field.name.clone(), field.encoding.clone(), absent(field, shapes)])
        .collect();
    let wanted: String = fields.iter().map(|[a, b, c]| format!("| `{a}` | `{b}` | `{c}` |\n")).collect();
    assert_eq!(described, fields, "{heading}: BODIES.md wants\n{wanted}");
}

#[test]
fn kinds_have_the_codes_and_versions_that_the_document_gives() {
    let listed = table(DOCUMENT, "Kinds");
    for def in ALL {
        let line = [def.kind.code().to_string(), def.name.to_owned(), def.body_version.to_string()];
        assert!(listed.iter().any(|cells| cells[..3] == line), "BODIES.md lacks {line:?}");
    }
    // A later build's kinds may be described before this build has them, but none that it has otherwise.
    let newest = ALL.iter().map(|def| def.kind.code()).max().unwrap();
    for cells in listed {
        let code: u8 = cells[0].parse().unwrap();
        assert!(code > newest || Kind::from_code(code).is_some_and(|kind| kind.def().name == cells[1]), "{cells:?}");
    }
}

#[test]
fn bodies_have_the_fields_that_the_document_gives() {
    for def in ALL {
        let mut shapes = Shapes::default();
        let record = (def.shape)(&mut shapes);
        for name in shapes.records.keys().filter(|name| **name != record) {
            assert_described(DOCUMENT, name, name, &shapes);
        }
        assert_described(DOCUMENT, def.name, &record, &shapes);
    }
}

#[test]
fn words_have_the_codes_that_the_document_gives() {
    let mut shapes = Shapes::default();
    for def in ALL {
        (def.shape)(&mut shapes);
    }
    let lines = table(DOCUMENT, "Words");
    for (name, words) in shapes.words {
        let line = lines.iter().find(|cells| cells[0] == name);
        let wanted: Vec<String> = words.iter().enumerate().map(|(code, word)| format!("{code} {word}")).collect();
        assert_eq!(line.map(|cells| cells[1]), Some(wanted.join(", ").as_str()), "{name}");
    }
}

#[test]
fn fields_that_came_later_are_those_that_the_document_gives() {
    let lines = table(DOCUMENT, "Versions");
    let appended: Vec<[String; 4]> = ALL
        .iter()
        .flat_map(|def| def.appended.iter().map(move |field| (def, field)))
        .map(|(def, field)| {
            let harmless = if field.harmless { "yes" } else { "no" };
            [def.name.to_owned(), field.body.to_string(), field.field.to_owned(), harmless.to_owned()]
        })
        .collect();
    let described: Vec<[&str; 4]> = lines.iter().map(|cells| [cells[0], cells[1], cells[2], cells[3]]).collect();
    assert_eq!(described, appended);
}

/// The worked example: its bytes, a line for each field, are the body of its JSON, and its tag is the tag.
#[test]
fn the_example_in_the_document_is_what_is_written() {
    let block = |start: &str| {
        let (_, rest) = DOCUMENT.split_once(start).unwrap_or_else(|| panic!("no {start}"));
        rest.split_once("```").unwrap().0
    };
    let json: Value = serde_json::from_str(block("```json\n")).unwrap();
    let hex: String = block("```hex\n").lines().filter_map(|line| line.split("  ").next()).collect();
    let body = (Kind::Service.def().to_body)(json.as_object().unwrap()).unwrap();
    let written: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex.replace(' ', ""), written);
    let id = json["id"].as_str().unwrap().parse().unwrap();
    let tag = format!("{:016x}", crate::record::Record::tag_of(Kind::Service, id, &body));
    assert!(DOCUMENT.contains(&format!("`{tag}`")), "its tag is {tag}");
}

#[test]
fn a_field_that_the_document_lacks_is_missed() {
    let mut shapes = Shapes::default();
    let record = (Kind::Consumer.def().shape)(&mut shapes);
    let without: Vec<&str> = DOCUMENT.lines().filter(|line| !line.starts_with("| `custom_id`")).collect();
    let missed = std::panic::catch_unwind(|| assert_described(&without.join("\n"), "consumers", &record, &shapes));
    assert!(missed.is_err());
}
