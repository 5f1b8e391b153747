//! What a program tells Prometheus, metric by metric.

use crate::http;
use std::net::SocketAddr;

/// All values of a metric, each with what stands before it: the name, and its labels.
///
/// # Panics
/// When there is no answer, or something else than a whole number.
#[must_use]
pub fn values(address: SocketAddr, name: &str) -> Vec<(String, u64)> {
    let text = http::get(address, "/metrics", &[]).expect("metrics").text();
    let is_it = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
    let value = |line: &str| line.rsplit_once(' ').map(|(of, value)| (of.to_owned(), value.parse().expect("a number")));
    text.lines().filter(is_it).filter_map(value).collect()
}

/// The only value of a metric.
///
/// # Panics
/// When there is another number of them.
#[must_use]
pub fn value(address: SocketAddr, name: &str) -> u64 {
    match values(address, name).as_slice() {
        [(_, value)] => *value,
        values => panic!("{name}: {values:?}"),
    }
}
