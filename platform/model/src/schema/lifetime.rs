//! Entities that end (Kong: `ttl`). Clients send and see seconds from now, 0 or nothing for no end; the canonical form
//! and the body hold the point in time. So the clock is asked twice: when an entity is written and when it is shown.

use super::{CheckCx, Field, Schema, Type, Violations};
use crate::body::Object;
use serde_json::Value;

/// The longest life, in seconds: a little over three years (Kong's bound).
pub const TTL_MAX_S: i64 = 100_000_000;

/// Kong's text for a `ttl` that is none.
const REFUSED: &str = "must be an integer between 0 and 100000000";

/// Turns the seconds that a client sent into points in time. What is refused is gone from the input afterwards.
pub(super) fn resolve(fields: &[Field], cx: &CheckCx<'_>, input: &mut Object, found: &mut Violations) {
    for field in fields.iter().filter(|field| matches!(field.ty, Type::Expiry)) {
        let Some(value) = input.get_mut(field.name).filter(|value| !value.is_null()) else { continue };
        *value = match super::walk::integer(value) {
            Some(0) => Value::Null,
            Some(ttl @ 1..=TTL_MAX_S) => Value::from(cx.now_ms.div_euclid(1000).saturating_add(ttl)),
            _ => {
                found.add(field.name, REFUSED);
                Value::Null
            }
        };
    }
}

impl Schema {
    /// When the entity ends, in seconds since 1970, by its canonical form; `None` for never.
    #[must_use]
    pub fn ends_at(&self, canonical: &Object) -> Option<i64> {
        let ends = self.fields.iter().filter(|field| matches!(field.ty, Type::Expiry));
        ends.filter_map(|field| canonical.get(field.name)?.as_i64()).min()
    }

    /// Whether entities of this schema may end at all.
    #[must_use]
    pub fn is_mortal(&self) -> bool {
        self.fields.iter().any(|field| matches!(field.ty, Type::Expiry))
    }

    /// The canonical form as clients see it at `now_s` (seconds since 1970): `ttl` is what remains. `None` if the entity
    /// has ended and is to be seen no more.
    #[must_use]
    pub fn seen_at(&self, mut canonical: Object, now_s: i64) -> Option<Object> {
        if self.ends_at(&canonical).is_some_and(|end| end <= now_s) {
            return None;
        }
        for field in self.fields.iter().filter(|field| matches!(field.ty, Type::Expiry)) {
            if let Some(value) = canonical.get_mut(field.name)
                && let Some(end) = value.as_i64()
            {
                *value = Value::from(end.saturating_sub(now_s));
            }
        }
        Some(canonical)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Id, Kind};
    use serde_json::json;

    const NOW_S: i64 = 1_700_000_000;

    fn with_cx<T>(run: impl FnOnce(&Schema, &CheckCx<'_>) -> T) -> T {
        let cx = CheckCx { now_ms: NOW_S * 1000 + 999, new_id: &|| Id(7), certificates: None, keeps_updated_at: false };
        run(Kind::KeyauthCredential.def().schema, &cx)
    }

    fn credential(ttl: Value) -> Object {
        json!({"consumer": {"id": Id(1)}, "key": "k", "ttl": ttl}).as_object().unwrap().clone()
    }

    #[test]
    fn seconds_from_now_become_a_point_in_time_and_are_shown_as_what_remains_of_them() {
        with_cx(|schema, cx| {
            let canonical = schema.check(cx, credential(json!(60))).unwrap();
            assert_eq!(schema.ends_at(&canonical), Some(NOW_S + 60));
            assert_eq!(schema.seen_at(canonical.clone(), NOW_S + 59).unwrap()["ttl"], json!(1));
            assert_eq!(schema.seen_at(canonical, NOW_S + 60), None);
        });
    }

    #[test]
    fn zero_and_nothing_mean_no_end() {
        with_cx(|schema, cx| {
            for ttl in [json!(0), Value::Null] {
                let canonical = schema.check(cx, credential(ttl)).unwrap();
                assert_eq!(schema.ends_at(&canonical), None);
                assert_eq!(schema.seen_at(canonical, i64::MAX).unwrap()["ttl"], Value::Null);
            }
        });
    }

    #[test]
    fn a_change_without_a_ttl_leaves_the_end_where_it_was() {
        with_cx(|schema, cx| {
            let before = schema.check(cx, credential(json!(60))).unwrap();
            let later = CheckCx { now_ms: cx.now_ms + 30_000, ..*cx };
            let patch = |patch: Value| schema.merge(&later, &before, patch.as_object().unwrap().clone()).unwrap();
            assert_eq!(schema.ends_at(&patch(json!({"tags": ["t"]}))), Some(NOW_S + 60));
            assert_eq!(schema.ends_at(&patch(json!({"ttl": 60}))), Some(NOW_S + 90));
            assert_eq!(schema.ends_at(&patch(json!({"ttl": 0}))), None);
        });
    }

    #[test]
    fn a_ttl_that_is_none_is_refused_with_all_other_mistakes() {
        with_cx(|schema, cx| {
            for ttl in [json!(-1), json!(TTL_MAX_S + 1), json!(1.5), json!("60")] {
                let mut input = credential(ttl);
                input.insert("key".to_owned(), json!(7));
                let found = schema.check(cx, input.clone()).unwrap_err();
                assert!(found.has("ttl") && found.has("key"), "{found:?}");
                input.insert("key".to_owned(), json!("k"));
                let existing = schema.check(cx, credential(Value::Null)).unwrap();
                assert!(schema.merge(cx, &existing, input).unwrap_err().has("ttl"));
            }
        });
    }
}
