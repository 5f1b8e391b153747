//! Which instance of a plugin applies, and in which order: one per plugin name and request, the most specific one
//! (Kong: "plugin scoping precedence"), by falling priority. Pure; nothing is allocated.
//!
//! The snapshot keeps a list per scope, sorted by priority. [`Chain`] merges the few lists that a request has. Lists of
//! a consumer join once authentication has run; they apply to plugins whose turn has not come yet.

use crate::snapshot::Snapshot;
use crate::snapshot::entities::{Instance, Scope};
use model::Id;
use std::cmp::Reverse;
use std::sync::Arc;

/// How many scopes a request can have.
const SCOPES: usize = 8;

/// The scopes of a request from the most specific to the global one, as (by route, by service, by consumer).
const PRECEDENCE: [(bool, bool, bool); SCOPES] = [
    (true, true, true),
    (true, false, true),
    (false, true, true),
    (true, true, false),
    (false, false, true),
    (true, false, false),
    (false, true, false),
    (false, false, false),
];

/// The place of an instance in the order of a request: higher priority first, then by name.
type Turn = (Reverse<i32>, &'static str);

/// The plugins of one request, one after another.
pub struct Chain<'s> {
    snapshot: &'s Snapshot,
    route: Id,
    service: Option<Id>,
    over_tls: bool,
    lists: [&'s [Arc<Instance>]; SCOPES],
    last: Option<Turn>,
    consumer: Option<Id>,
}

impl<'s> Chain<'s> {
    /// The chain of a request that matched `route` and goes to `service`, before anybody is authenticated.
    #[must_use]
    pub fn new(snapshot: &'s Snapshot, route: Id, service: Option<Id>, over_tls: bool) -> Self {
        let mut chain = Self { snapshot, route, service, over_tls, lists: [&[]; SCOPES], last: None, consumer: None };
        let pairs = snapshot.has_route_and_service_instances();
        chain.fill(|(by_route, by_service, by_consumer)| !by_consumer && (pairs || !(by_route && by_service)));
        chain
    }

    /// Lets the lists of a consumer join. Asked again with the same consumer it does nothing.
    pub fn identify(&mut self, consumer: Option<Id>) {
        if self.consumer == consumer || !self.snapshot.has_consumer_instances() {
            return;
        }
        self.consumer = consumer;
        self.fill(|(_, _, by_consumer)| by_consumer);
    }

    /// The next instance to run.
    pub fn advance(&mut self) -> Option<&'s Arc<Instance>> {
        loop {
            let turn = self.lists.iter().filter_map(|list| list.first()).map(|head| turn_of(head)).min()?;
            let mut chosen = None;
            for list in &mut self.lists {
                if let Some((head, rest)) = list.split_first()
                    && turn_of(head) == turn
                {
                    chosen.get_or_insert(head);
                    *list = rest;
                }
            }
            let late = self.last.is_some_and(|last| turn <= last);
            let runs = |instance: &&Arc<Instance>| if self.over_tls { instance.on_https } else { instance.on_http };
            if let Some(instance) = chosen.filter(|_| !late).filter(runs) {
                self.last = Some(turn);
                return Some(instance);
            }
        }
    }

    fn fill(&mut self, wanted: impl Fn((bool, bool, bool)) -> bool) {
        for (list, kind) in self.lists.iter_mut().zip(PRECEDENCE) {
            if !wanted(kind) {
                continue;
            }
            *list = scope(kind, self.route, self.service, self.consumer)
                .map_or(&[], |scope| self.snapshot.instances(scope));
        }
    }
}

fn turn_of(instance: &Instance) -> Turn {
    (Reverse(instance.priority), instance.name)
}

/// The scope of this kind, if the request has all parts of it.
fn scope(
    (by_route, by_service, by_consumer): (bool, bool, bool),
    route: Id,
    service: Option<Id>,
    consumer: Option<Id>,
) -> Option<Scope> {
    let service = if by_service { Some(service?) } else { None };
    let consumer = if by_consumer { Some(consumer?) } else { None };
    Some(Scope { route: by_route.then_some(route), service, consumer })
}
