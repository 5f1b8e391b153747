//! A one-field change of one route travels alone and as a patch: 120 bytes or fewer of payload to the node, 300 or fewer of
//! everything on the wire both ways, acknowledged, and no more at 30,000 entities than at 120.

use serde_json::json;
use tests::generate::{Config, Shape};
use tests::pair::{Pair, load, put};

/// What TLS 1.3 adds to a record: header, type, tag.
const RECORD_BYTES: u64 = 22;
/// What a segment is beside its payload: TCP with timestamps, IPv4.
const SEGMENT_BYTES: u64 = 52;
/// The delta, the ACK, and what the kernel acknowledges the ACK with.
const SEGMENTS: u64 = 3;
const PAYLOAD_BYTES_MAX: u64 = 120;
const WIRE_BYTES_MAX: u64 = 300;

/// Bytes of a one-field change: DELTA from and ACK to the control plane, as frames.
struct Cost {
    delta: u64,
    ack: u64,
}

impl Cost {
    fn wire(&self) -> u64 {
        self.delta + self.ack + 2 * RECORD_BYTES + SEGMENTS * SEGMENT_BYTES
    }
}

/// What a PATCH of one field of route 0 costs, until the durable ack is known.
fn cost(total: usize) -> Cost {
    let mut pair = Pair::start();
    let config = Config { shape: Shape::of(total), seed: 1, origin: pair.origin.address() };
    load(&pair.lab, &mut pair.cp, &config.declarative());
    pair.acknowledged();
    let route = format!("/routes/{}", config.id("routes", 0));
    let mut patch = |strip: bool| {
        let before = pair.link.bytes();
        pair.cp.admin_ok("PATCH", &route, &json!({ "strip_path": strip }));
        pair.acknowledged();
        let after = pair.link.bytes();
        Cost { delta: after.1 - before.1 - RECORD_BYTES, ack: after.0 - before.0 - RECORD_BYTES }
    };
    // The first change of a session may carry what only the first carries (a TLS ticket); the second is what counts.
    patch(false);
    patch(true)
}

/// What a node is sent that holds nothing of it: packed, one entity with what both ends know of entities, many with each other.
#[test]
fn new_entities_travel_packed() {
    let mut pair = Pair::start();
    let config = Config { shape: Shape::of(300), seed: 1, origin: pair.origin.address() };
    load(&pair.lab, &mut pair.cp, &config.declarative());
    pair.acknowledged();
    let service = json!({ "id": config.id("services", 0) });
    let mut next = 0;
    let mut cost = |count: usize| {
        let routes: Vec<_> = (next..next + count)
            .map(|index| {
                let path = format!("~/orders/{index}/(?<id>[^/]+)$");
                put(
                    "routes",
                    json!({ "id": model::Id::random(), "name": format!("orders-{index}"), "service": service,
                    "hosts": ["api.example.com"], "paths": [path], "methods": ["GET", "POST"],
                    "tags": ["env:production", "team:payments"] }),
                )
            })
            .collect();
        next += count;
        let before = pair.link.bytes().1;
        pair.apply(&routes);
        pair.acknowledged();
        pair.link.bytes().1 - before - RECORD_BYTES
    };
    // The first change of a session may carry what only the first carries.
    cost(1);
    let (one, hundred) = (cost(1), cost(100));
    println!("new routes: {one} bytes for one, {hundred} for a hundred in one transaction");
    assert!((60..=150).contains(&one), "{one} bytes for one");
    assert!(hundred < 60 * one, "{hundred} bytes for a hundred");
}

#[test]
fn a_one_field_change_costs_under_three_hundred_bytes_whatever_exists() {
    let (small, large) = (cost(120), cost(30_000));
    for (entities, cost) in [(120, &small), (30_000, &large)] {
        let Cost { delta, ack } = cost;
        println!(
            "one-field change at {entities} entities: {delta} bytes of DELTA, {ack} of ACK, {} on the wire ({} without the kernel's own segment)",
            cost.wire(),
            cost.wire() - SEGMENT_BYTES
        );
        assert!((20..=PAYLOAD_BYTES_MAX).contains(delta), "{delta} bytes of payload");
        assert!(cost.wire() <= WIRE_BYTES_MAX, "{} bytes on the wire", cost.wire());
    }
    assert!(small.wire().abs_diff(large.wire()) <= 8);
}
