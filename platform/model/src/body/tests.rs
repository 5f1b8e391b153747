//! What the codec promises, on records made for it. The bytes of the real kinds are pinned in [`crate::kinds`].

// The macros declare more, and more publicly, than this module uses.
#![allow(unreachable_pub, dead_code)]

use super::{BodyError, Element, ForeignKey, Number, Object, Part, Reader, body, words};
use crate::Id;
use crate::record::BODY_BYTES_MAX;
use proptest::prelude::*;
use std::collections::BTreeMap;

words! {
    /// Two words.
    pub enum Colour {
        /// The first.
        Red = "red",
        /// The second.
        Blue = "blue",
    }
}

body! {
    /// A nested record.
    pub struct Inner {
        /// A number.
        pub count: Option<u16> = Some(3),
        /// A word.
        pub colour: Option<Colour>,
    }

    /// Every type of field.
    pub struct Old {
        /// An id.
        pub id: Id,
        /// A signed number.
        pub time: i64,
        /// A text.
        pub name: Option<String>,
        /// A number with a default of its own.
        pub port: u32 = 80,
        /// A nested record.
        pub inner: Inner,
        /// A list of nested records.
        pub list: Vec<Inner>,
        /// A map.
        pub map: BTreeMap<String, Vec<String>>,
        /// A reference.
        pub parent: Option<ForeignKey>,
        /// Free JSON.
        pub r#type: Object,
        /// A fraction.
        pub share: Number,
    }

    /// A later version of the nested record.
    pub struct NewInner {
        /// A number.
        pub count: Option<u16> = Some(3),
        /// A word.
        pub colour: Option<Colour>,
        /// New.
        pub note: String,
    }

    /// A later version, with fields appended.
    pub struct New {
        /// An id.
        pub id: Id,
        /// A signed number.
        pub time: i64,
        /// A text.
        pub name: Option<String>,
        /// A number with a default of its own.
        pub port: u32 = 80,
        /// A nested record.
        pub inner: NewInner,
        /// A list of nested records.
        pub list: Vec<NewInner>,
        /// A map.
        pub map: BTreeMap<String, Vec<String>>,
        /// A reference.
        pub parent: Option<ForeignKey>,
        /// Free JSON.
        pub r#type: Object,
        /// A fraction.
        pub share: Number,
        /// New.
        pub colours: Vec<Colour>,
        /// New, with a default of its own.
        pub strict: bool = true,
    }
}

impl Element for Inner {}
impl Element for NewInner {}

fn full() -> Old {
    Old {
        id: Id(1),
        time: -2,
        name: Some("n".to_owned()),
        port: 8080,
        inner: Inner { count: None, colour: Some(Colour::Blue), tail: Vec::new() },
        list: vec![Inner::default()],
        map: BTreeMap::from([("k".to_owned(), vec!["v".to_owned(), "w".to_owned()])]),
        parent: Some(ForeignKey { id: Id(2) }),
        r#type: serde_json::from_str(r#"{"b":1,"a":[null]}"#).unwrap(),
        share: Number::Real(0.5),
        tail: Vec::new(),
    }
}

#[test]
fn fields_are_postcard_values_one_after_another() {
    let old = full();
    let json = serde_json::to_vec(&old.r#type).unwrap();
    let inner = postcard::to_allocvec(&(old.inner.count, old.inner.colour)).unwrap();
    let fields: [Vec<u8>; 10] = [
        postcard::to_allocvec(&old.id).unwrap(),
        postcard::to_allocvec(&old.time).unwrap(),
        postcard::to_allocvec(&old.name).unwrap(),
        postcard::to_allocvec(&old.port).unwrap(),
        postcard::to_allocvec(&inner).unwrap(),
        postcard::to_allocvec(&[Vec::<u8>::new()].to_vec()).unwrap(),
        postcard::to_allocvec(&old.map).unwrap(),
        postcard::to_allocvec(&old.parent.map(|parent| parent.id)).unwrap(),
        postcard::to_allocvec(&json).unwrap(),
        [vec![1], postcard::to_allocvec(&0.5f64).unwrap()].concat(),
    ];
    assert_eq!(old.encode().unwrap(), fields.concat());
    assert_eq!(Old::decode(&fields.concat()), Ok(old));
}

#[test]
fn fields_at_their_defaults_take_no_bytes_at_the_end() {
    assert_eq!(Old::default().encode().unwrap(), Vec::<u8>::new());
    let named = Old { name: Some("n".to_owned()), ..Old::default() };
    let bytes = named.encode().unwrap();
    assert_eq!(bytes.len(), 16 + 1 + 3, "id, time, name");
    assert_eq!(Old::decode(&bytes), Ok(named));
}

#[test]
fn a_newer_program_reads_an_older_body() {
    let new = New::decode(&full().encode().unwrap()).unwrap();
    assert_eq!(new.name.as_deref(), Some("n"));
    assert_eq!((new.colours.as_slice(), new.strict), (&[][..], true));
    assert_eq!(new.inner.note, "");
    assert_eq!(new.encode(), full().encode(), "what does not use the new fields has the old bytes");
}

#[test]
fn an_older_program_keeps_what_a_newer_one_appended() {
    let mut new = New::decode(&full().encode().unwrap()).unwrap();
    new.colours = vec![Colour::Blue, Colour::Red];
    new.strict = false;
    new.inner.note = "kept".to_owned();
    new.list = vec![NewInner { note: "kept too".to_owned(), ..NewInner::default() }];
    let bytes = new.encode().unwrap();
    let mut old = Old::decode(&bytes).unwrap();
    assert_eq!(old.encode().unwrap(), bytes);
    old.port = 80;
    old.name = None;
    new.port = 80;
    new.name = None;
    assert_eq!(New::decode(&old.encode().unwrap()), Ok(new));
}

#[test]
fn a_promise_of_more_than_there_is_costs_nothing() {
    let mut bytes = Old { port: 81, ..Old::default() }.encode().unwrap();
    bytes.push(0);
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    bytes.extend(huge);
    assert_eq!(Old::decode(&bytes), Err(BodyError::Truncated));
}

#[test]
fn bodies_larger_than_an_entity_may_be_are_refused_both_ways() {
    let old = Old { name: Some("n".repeat(BODY_BYTES_MAX)), ..Old::default() };
    assert!(matches!(old.encode(), Err(BodyError::TooLarge(_))));
    assert_eq!(Old::decode(&vec![0; BODY_BYTES_MAX + 1]), Err(BodyError::TooLarge(BODY_BYTES_MAX + 1)));
}

#[test]
fn faults_are_told_apart() {
    let after_port = Old { port: 81, ..Old::default() }.encode().unwrap();
    let with = |more: &[u8]| Old::decode(&[after_port.as_slice(), more].concat()).unwrap_err();
    assert_eq!(with(&[3, 0, 1, 9]), BodyError::UnknownWord(9), "a colour that does not exist");
    assert_eq!(with(&[1]), BodyError::Truncated);
    assert_eq!(Old::decode(&[0; 15]), Err(BodyError::Truncated));
    let name = |name: &[u8]| Old::decode(&[&[0; 17], name].concat()).unwrap_err();
    assert_eq!(name(&[1, 1, 0xff]), BodyError::NotUtf8);
    assert_eq!(name(&[2]), BodyError::UnknownWord(2));
    assert_eq!(name(&[0, 0xff, 0xff, 0xff, 0xff, 0x7f]), BodyError::NumberRange);
    assert_eq!(u64::read(&mut Reader::new(&[0xff; 10]).unwrap()), Err(BodyError::NumberRange));
}

#[test]
fn json_has_the_plain_names_and_no_tail() {
    let json = serde_json::to_value(full()).unwrap();
    assert_eq!(json["type"], serde_json::json!({"b": 1, "a": [null]}));
    assert_eq!(json["parent"], serde_json::json!({"id": "00000000-0000-0000-0000-000000000002"}));
    assert_eq!(json["share"].to_string(), "0.5");
    assert_eq!(json.get("tail"), None);
    assert_eq!(serde_json::from_value::<Old>(json).unwrap(), full());
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(old) = Old::decode(&bytes) {
            prop_assert_eq!(Old::decode(&old.encode().unwrap()), Ok(old));
        }
    }

    #[test]
    fn a_body_with_bytes_cut_or_changed_is_read_or_refused(cut in 0..80usize, place in 0..80usize, byte: u8) {
        let mut bytes = full().encode().unwrap();
        bytes.truncate(cut);
        if let Some(changed) = bytes.get_mut(place) {
            *changed = byte;
        }
        if let Ok(old) = Old::decode(&bytes) {
            prop_assert_eq!(Old::decode(&old.encode().unwrap()), Ok(old));
        }
    }

    #[test]
    fn numbers_come_back(int: i64, long: u64, float in prop::num::f64::NORMAL) {
        let number = Number::new(float);
        let mut bytes = Vec::new();
        int.write(&mut bytes);
        long.write(&mut bytes);
        number.write(&mut bytes);
        let mut input = Reader::new(&bytes).unwrap();
        prop_assert_eq!(i64::read(&mut input), Ok(int));
        prop_assert_eq!(u64::read(&mut input), Ok(long));
        prop_assert_eq!(Number::read(&mut input), Ok(number));
        prop_assert!(input.is_empty());
    }
}
