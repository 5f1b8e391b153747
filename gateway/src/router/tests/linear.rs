//! The same rules once more, written the slow way: every route is tried, every expression goes to the engine.

use super::generated::{request, routes};
use super::{Request, compiled, router};
use ipnet::IpNet;
use model::Id;
use model::kinds::routes::{IpPort, Route};
use proptest::prelude::*;
use regex::bytes::{Regex, RegexBuilder};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

/// A route with paths of one kind and length only, as Kong splits them.
pub(super) struct Part<'a> {
    pub(super) route: &'a Route,
    pub(super) id: Id,
    pub(super) paths: Vec<&'a str>,
}

pub(super) fn parts(route: &Route) -> Vec<Part<'_>> {
    let mut groups: Vec<(usize, Vec<&str>)> = Vec::new();
    for path in route.paths.iter().flatten() {
        let length = if path.starts_with('~') { 0 } else { path.len() };
        match groups.iter_mut().find(|(other, _)| *other == length) {
            Some((_, paths)) => paths.push(path),
            None => groups.push((length, vec![path])),
        }
    }
    if groups.len() <= 1 {
        return vec![Part { route, id: route.id, paths: groups.pop().unwrap_or_default().1 }];
    }
    let namespace: Id = "7f145bf9-0dce-4f91-98eb-debbce4b9f6b".parse().unwrap();
    let id = |number: usize| Id::derived(namespace, &format!("{}#{}", route.id, number + 1));
    groups.into_iter().enumerate().map(|(number, (_, paths))| Part { route, id: id(number), paths }).collect()
}

impl Part<'_> {
    pub(super) fn priority(&self) -> u64 {
        let route = self.route;
        let present = [
            route.sources.as_ref().is_some_and(|list| !list.is_empty()),
            route.destinations.as_ref().is_some_and(|list| !list.is_empty()),
            route.methods.as_ref().is_some_and(|list| !list.is_empty()),
            route.hosts.as_ref().is_some_and(|list| !list.is_empty()),
            route.headers.as_ref().is_some_and(|list| !list.is_empty()),
            route.snis.as_ref().is_some_and(|list| !list.is_empty()),
            !self.paths.is_empty(),
        ];
        let mut priority = present.iter().filter(|present| **present).count() as u64;
        let plain = route.hosts.as_ref().is_some_and(|hosts| !hosts.iter().any(|host| host.contains('*')));
        priority = (priority << 1) | u64::from(plain);
        priority = (priority << 8) | route.headers.as_ref().map_or(0, |headers| headers.len().min(255) as u64);
        let regex = self.paths.first().is_some_and(|path| path.starts_with('~'));
        priority = (priority << 1) | u64::from(regex);
        priority = (priority << 32) | if regex { route.regex_priority.unwrap_or(0) as u64 } else { 0 };
        (priority << 19) | if regex { 0 } else { self.paths.first().map_or(0, |path| path.len() as u64) }
    }

    /// How many bytes of the path it takes, if the request meets it.
    fn matched(&self, request: &Request) -> Option<usize> {
        let route = self.route;
        let (host, port) = host_port(request);
        let all = any_of(&route.methods, |method| **method == request.method)
            && any_of(&route.hosts, |wanted| host.as_deref().is_some_and(|host| meets_host(wanted, host, port)))
            && route.headers.iter().flatten().all(|(name, wanted)| {
                request.headers.get_all(name).iter().any(|given| {
                    let given = given.to_str().unwrap().to_lowercase();
                    wanted.iter().any(|value| match value.strip_prefix("~*") {
                        Some(expression) => engine(&expression.to_lowercase()).is_match(given.as_bytes()),
                        None => value.to_lowercase() == given,
                    })
                })
            })
            && (!request.https || any_of(&route.snis, |wanted| meets_sni(wanted, request.sni.as_deref())))
            && any_of(&route.sources, |net| {
                meets_net(net, request.source.map(|s| s.ip()), request.source.map(|s| s.port()))
            })
            && any_of(&route.destinations, |net| meets_net(net, request.destination.map(|d| d.ip()), Some(port)));
        if !all {
            return None;
        }
        if self.paths.is_empty() {
            return Some(1);
        }
        self.paths.iter().find_map(|path| match path.strip_prefix('~') {
            Some(expression) => {
                engine(&format!("^{expression}")).find(request.path.as_bytes()).map(|found| found.len())
            }
            None => request.path.starts_with(path).then_some(path.len()),
        })
    }
}

/// The engine's program; the few expressions that are drawn are built once.
fn engine(expression: &str) -> Rc<Regex> {
    thread_local! {
        static BUILT: RefCell<HashMap<String, Rc<Regex>>> = RefCell::default();
    }
    let build = || Rc::new(RegexBuilder::new(expression).unicode(false).build().unwrap());
    BUILT.with_borrow_mut(|built| Rc::clone(built.entry(expression.to_owned()).or_insert_with(build)))
}

fn any_of<T>(wanted: &Option<Vec<T>>, meets: impl FnMut(&T) -> bool) -> bool {
    wanted.as_ref().is_none_or(|wanted| wanted.is_empty() || wanted.iter().any(meets))
}

pub(super) fn host_port(request: &Request) -> (Option<String>, u16) {
    let Some(host) = &request.host else { return (None, request.port) };
    match host.split_once(':').map(|(name, port)| (name, port.parse())) {
        Some((name, Ok(port))) => (Some(name.to_lowercase()), port),
        _ => (Some(host.to_lowercase()), request.port),
    }
}

fn meets_host(wanted: &str, host: &str, port: u16) -> bool {
    let (wanted, wanted_port) = match wanted.split_once(':').map(|(name, port)| (name, port.parse::<u16>())) {
        Some((name, Ok(port))) => (name, Some(port)),
        _ => (wanted, None),
    };
    let wanted = wanted.to_lowercase();
    let name = match (wanted.strip_prefix('*'), wanted.strip_suffix('*')) {
        (Some(suffix), _) => host.ends_with(suffix),
        (None, Some(prefix)) => host.starts_with(prefix),
        (None, None) => host == wanted,
    };
    name && wanted_port.is_none_or(|wanted| wanted == port)
}

fn meets_sni(wanted: &str, sni: Option<&str>) -> bool {
    let wanted = wanted.strip_suffix('.').unwrap_or(wanted);
    sni.is_some_and(|sni| match (wanted.strip_prefix('*'), wanted.strip_suffix('*')) {
        (Some(suffix), _) => sni.ends_with(suffix),
        (None, Some(prefix)) => sni.starts_with(prefix),
        (None, None) => sni == wanted,
    })
}

fn meets_net(wanted: &IpPort, ip: Option<IpAddr>, port: Option<u16>) -> bool {
    let net = wanted.ip.as_ref().map(|text| match text.parse::<IpNet>() {
        Ok(net) => net,
        Err(_) => text.parse::<IpAddr>().unwrap().into(),
    });
    net.is_none_or(|net| ip.is_some_and(|ip| net.contains(&ip)))
        && wanted.port.is_none_or(|wanted| port == Some(wanted))
}

/// The route that wins and how many bytes of the path it takes.
fn find(routes: &[Route], request: &Request) -> Option<(Id, usize)> {
    let parts = routes.iter().flat_map(parts);
    let met = parts.filter_map(|part| Some((part.priority(), part.id, part.route.id, part.matched(request)?)));
    met.max().map(|(_, _, route, matched)| (route, matched))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn finds_what_trying_every_route_finds(routes in routes(), requests in proptest::collection::vec(request(), 20)) {
        let router = router(&routes);
        for request in &requests {
            let found = router.find(&request.query()).map(|found| (found.route.id, found.matched));
            prop_assert_eq!(found, find(&routes, request), "{:?}", request);
        }
    }

    #[test]
    fn finds_the_same_after_changes_as_if_built_anew(
        routes in routes(),
        kept in proptest::collection::vec(any::<bool>(), 40),
        requests in proptest::collection::vec(request(), 20),
    ) {
        let full = router(&routes);
        let mut changed = full.clone();
        let mut left = Vec::new();
        for (route, kept) in routes.iter().zip(&kept) {
            if *kept { left.push(route.clone()) } else { changed.remove(&compiled(route)) }
        }
        for request in &requests {
            let found = |router: &crate::router::Router| router.find(&request.query()).map(|f| (f.route.id, f.matched));
            prop_assert_eq!(found(&changed), find(&left, request), "{:?}", request);
            prop_assert_eq!(found(&full), find(&routes, request), "{:?}", request);
        }
        left.iter().for_each(|route| changed.remove(&compiled(route)));
        prop_assert!(changed.is_empty());
    }
}
