//! Targets: the hosts of an upstream.

use super::{ID, TAGS, def};
use crate::body::{ForeignKey, Number, Tags, body};
use crate::kind::Facts;
use crate::schema::{Field, Literal, Rule, Schema, text};
use crate::{Id, Kind};

body! {
    /// One host of an upstream.
    pub struct Target {
        /// Its id.
        pub id: Id,
        /// Seconds since 1970, with milliseconds.
        pub created_at: Number,
        /// Seconds since 1970, with milliseconds.
        pub updated_at: Number,
        /// The upstream it belongs to.
        pub upstream: ForeignKey,
        /// `host:port`; an IPv6 address is in brackets.
        pub target: String,
        /// Its share of requests; 0 takes it out of use.
        pub weight: Option<u16> = Some(100),
        /// Tags.
        pub tags: Tags,
    }
}

/// Fields and checks.
pub static SCHEMA: Schema = Schema {
    name: "targets",
    endpoint_key: Some("target"),
    cache_key: &["upstream", "target"],
    fields: &[
        ID,
        Field::number("created_at", &[Rule::Timestamp]).auto(),
        Field::number("updated_at", &[Rule::Timestamp]).auto(),
        Field::foreign("upstream", "upstreams").required().cascade(),
        Field::string("target").rules(&[Rule::Text(text::target)]).required(),
        Field::integer("weight", &[Rule::Between(0, 65535)]).default(Literal::Int(100)),
        TAGS,
    ],
    checks: &[],
    prepare: Some(text::normalize_target),
    subschema: None,
};

fn facts(target: &Target) -> Facts {
    let place = format!("{}:{}", target.upstream.id, target.target);
    Facts::default()
        .refers("upstream", Kind::Upstream, Some(target.upstream), true)
        .unique("upstream,target", Some(place))
}

def!(Target, Target, "targets", "targets", "targets");
