//! What holds for entities of every kind, made up from the tables themselves.

use super::super::{Field, Rule, Type};
use super::{CERT, JWK, KEY, OTHER, with_cx};
use crate::body::Object;
use crate::kind::ALL;
use crate::{Id, Kind};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// Texts of every shape that some field wants; fields draw from those that satisfy their rules.
const TEXTS: &[&str] = &[
    "a",
    "Ab-9",
    "GET",
    "example.com",
    "*.example.com",
    "10.0.0.1",
    "10.0.0.0/8",
    "/",
    "/a/b",
    "~/x/(?<n>[^/]+)",
    "x-header",
    "{vault://env/x}",
    "é",
    "a b",
    "key=1",
    CERT,
    KEY,
    OTHER,
    "a.example:80",
];

/// Any value that the field's own rules take, and now and then one that they do not.
fn values(field: Field) -> BoxedStrategy<Value> {
    let fits = move |value: &Value| field.rules.iter().all(|rule| rule.check(value).is_ok());
    let words = field.rules.iter().find_map(|rule| match rule {
        Rule::OneOf(words) => Some(*words),
        _ => None,
    });
    let (low, high) = field
        .rules
        .iter()
        .find_map(|rule| match rule {
            Rule::Between(low, high) => Some((*low, *high)),
            Rule::OneOfInts(ints) => Some((ints[0], ints[0])),
            _ => None,
        })
        .unwrap_or((1, 1 << 40));
    let good = match field.ty {
        Type::String => {
            let texts: Vec<Value> = words.unwrap_or(TEXTS).iter().map(|text| json!(text)).filter(fits).collect();
            if texts.is_empty() { Just(Value::Null).boxed() } else { prop::sample::select(texts).boxed() }
        }
        Type::Integer => (low..=high).prop_map(Value::from).boxed(),
        // Clients send seconds from now.
        Type::Expiry => (0..=crate::schema::TTL_MAX_S).prop_map(Value::from).boxed(),
        Type::Number => (low * 4..=high * 4).prop_map(|quarters| json!(quarters as f64 / 4.0)).boxed(),
        Type::Boolean => any::<bool>().prop_map(Value::from).boxed(),
        Type::Array(element) | Type::Set(element) => {
            prop::collection::vec(values(*element), 0..3).prop_map(Value::from).boxed()
        }
        Type::Map(key, element) => prop::collection::vec((values(*key), values(*element)), 0..3)
            .prop_map(|pairs| {
                let pairs = pairs.into_iter().filter_map(|(key, value)| Some((key.as_str()?.to_owned(), value)));
                Value::Object(pairs.collect())
            })
            .boxed(),
        Type::Record(fields) => entities(fields).prop_map(Value::Object).boxed(),
        Type::Foreign(_) => any::<u128>().prop_map(|id| json!({"id": Id(id)})).boxed(),
        Type::Object => Just(json!({})).boxed(),
    };
    let nonsense = prop_oneof![Just(json!(-7)), Just(json!("\u{0}")), Just(json!([null])), Just(json!({"x": 1}))];
    prop_oneof![200 => good, 1 => nonsense].boxed()
}

/// Objects with some of the fields, some of them null.
fn entities(fields: &'static [Field]) -> BoxedStrategy<Object> {
    let mut strategy = Just(Map::new()).boxed();
    for field in fields {
        let needed = field.required && field.default.to_value().is_none();
        let (absent, given) = if needed { (1, 60) } else { (3, 2) };
        let null = if field.required { 1 } else { 20 };
        let value = prop_oneof![
            20 * absent => Just(None),
            null => Just(Some(Value::Null)),
            20 * given => values(*field).prop_map(Some),
        ];
        strategy = (strategy, value)
            .prop_map(|(mut object, value)| {
                object.extend(value.map(|value| (field.name.to_owned(), value)));
                object
            })
            .boxed();
    }
    strategy
}

/// Some entity of some kind; plugins get a name that exists more often than not.
fn any_entity() -> BoxedStrategy<(Kind, Object)> {
    let kinds = prop::sample::select(ALL.map(|def| def.kind).to_vec());
    let names = prop::sample::select(vec!["key-auth", "jwt", "request-termination"]);
    (kinds, names)
        .prop_flat_map(|(kind, name)| {
            entities(kind.def().schema.fields).prop_map(move |mut entity| {
                if kind == Kind::Plugin {
                    entity.insert("name".to_owned(), json!(name));
                }
                // No text that is made up is a JWK, and a key has one form only.
                if kind == Kind::Key && entity.get("pem").is_none_or(Value::is_null) {
                    entity.extend([("kid".to_owned(), json!("k")), ("jwk".to_owned(), json!(JWK))]);
                }
                (kind, entity)
            })
        })
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_canonical_entity_as_it_is_seen_checks_to_itself_and_survives_its_body((kind, entity) in any_entity()) {
        let def = kind.def();
        let Ok(canonical) = with_cx(|cx| def.schema.check(cx, entity)) else { return Ok(()) };
        let names: Vec<_> = canonical.keys().map(String::as_str).collect();
        let fields: Vec<_> = def.schema.fields.iter().map(|field| field.name).collect();
        prop_assert_eq!(names, fields);
        let seen = with_cx(|cx| def.schema.seen_at(canonical.clone(), cx.now_ms.div_euclid(1000))).unwrap();
        prop_assert_eq!(with_cx(|cx| def.schema.check(cx, seen)), Ok(canonical.clone()));
        prop_assert_eq!(with_cx(|cx| def.schema.merge(cx, &canonical, Object::new())), Ok(canonical.clone()));
        let body = (def.to_body)(&canonical).unwrap();
        let shown = (def.to_json)(&body).unwrap();
        prop_assert_eq!(Value::Object(shown).to_string(), Value::Object(canonical).to_string());
        prop_assert!((def.facts)(&body).is_ok());
    }

    #[test]
    fn refused_entities_say_why((kind, entity) in any_entity()) {
        if let Err(violations) = with_cx(|cx| kind.def().schema.check(cx, entity)) {
            prop_assert!(!violations.is_empty());
            prop_assert!(!violations.flatten().is_empty());
            let message = violations.message();
            prop_assert!(message.starts_with("schema violation (") || message.contains(" schema violations ("));
        }
    }
}
