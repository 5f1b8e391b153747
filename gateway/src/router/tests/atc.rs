//! Kong's own matching engine as judge: routes become expressions as Kong's `traditional_compatible` flavour writes
//! them, and the crate `atc-router` says which one wins.

use super::generated::{request, routes};
use super::linear::{Part, host_port, parts};
use super::{Request, id, router};
use atc_router::ast::{Type, Value};
use atc_router::context::Context;
use atc_router::schema::Schema;
use model::Id;
use model::kinds::routes::{IpPort, Route};
use proptest::prelude::*;
use std::collections::HashMap;
use uuid::Uuid;

fn schema() -> Schema {
    let mut schema = Schema::default();
    for field in ["net.protocol", "tls.sni", "http.method", "http.host", "http.path", "http.headers.*"] {
        schema.add_field(field, Type::String);
    }
    for field in ["net.src.port", "net.dst.port"] {
        schema.add_field(field, Type::Int);
    }
    for field in ["net.src.ip", "net.dst.ip"] {
        schema.add_field(field, Type::IpAddr);
    }
    schema
}

fn any(terms: impl Iterator<Item = String>) -> String {
    format!("({})", terms.collect::<Vec<_>>().join(" || "))
}

/// Equality, or comparison of one end where the other has an asterisk.
fn wildcard(field: &str, pattern: &str) -> String {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(suffix), _) => format!("{field} =^ r#\"{suffix}\"#"),
        (None, Some(prefix)) => format!("{field} ^= r#\"{prefix}\"#"),
        (None, None) => format!("{field} == r#\"{pattern}\"#"),
    }
}

fn net(side: &str, wanted: &IpPort) -> String {
    let ip = wanted.ip.as_ref().map(|ip| {
        let operator = if ip.contains('/') { "in" } else { "==" };
        format!("net.{side}.ip {operator} {ip}")
    });
    let port = wanted.port.map(|port| format!("net.{side}.port == {port}"));
    format!("({})", ip.into_iter().chain(port).collect::<Vec<_>>().join(" && "))
}

fn host(wanted: &str) -> String {
    match wanted.split_once(':').map(|(name, port)| (name, port.parse::<u16>())) {
        Some((name, Ok(port))) => format!("({} && net.dst.port == {port})", wildcard("http.host", name)),
        _ => wildcard("http.host", wanted),
    }
}

fn path(wanted: &str) -> String {
    match wanted.strip_prefix('~') {
        Some(expression) => format!("http.path ~ r#\"^{}\"#", expression.replace("?<", "?P<")),
        None => format!("http.path ^= r#\"{wanted}\"#"),
    }
}

fn header(name: &str, wanted: &str) -> String {
    let field = format!("any(lower(http.headers.{}))", name.replace('-', "_"));
    match wanted.strip_prefix("~*") {
        Some(expression) => format!("{field} ~ r#\"{}\"#", expression.to_lowercase()),
        None => format!("{field} == r#\"{}\"#", wanted.to_lowercase()),
    }
}

fn expression(part: &Part<'_>) -> String {
    let Route { methods, hosts, headers, snis, sources, destinations, .. } = part.route;
    let mut all = Vec::new();
    all.extend(methods.as_ref().map(|list| any(list.iter().map(|method| format!("http.method == r#\"{method}\"#")))));
    all.extend(hosts.as_ref().map(|list| any(list.iter().map(|wanted| host(wanted)))));
    all.extend((!part.paths.is_empty()).then(|| any(part.paths.iter().map(|wanted| path(wanted)))));
    for (name, values) in headers.iter().flatten() {
        all.push(any(values.iter().map(|value| header(name, value))));
    }
    all.extend(snis.as_ref().map(|list| {
        let names = list.iter().map(|sni| wildcard("tls.sni", sni.strip_suffix('.').unwrap_or(sni)));
        format!("(net.protocol != r#\"https\"# || {})", any(names))
    }));
    all.extend(sources.as_ref().map(|list| any(list.iter().map(|wanted| net("src", wanted)))));
    all.extend(destinations.as_ref().map(|list| any(list.iter().map(|wanted| net("dst", wanted)))));
    all.join(" && ")
}

fn context<'a>(schema: &'a Schema, request: &Request) -> Context<'a> {
    let mut context = Context::new(schema);
    let text = |text: &str| Value::String(text.to_owned());
    context.add_value("net.protocol", text(if request.https { "https" } else { "http" }));
    context.add_value("http.method", text(&request.method));
    context.add_value("http.path", text(&request.path));
    let (host, port) = host_port(request);
    if let Some(host) = host {
        context.add_value("http.host", text(&host));
    }
    context.add_value("net.dst.port", Value::Int(i64::from(port)));
    if let Some(sni) = &request.sni {
        context.add_value("tls.sni", text(sni));
    }
    for (name, value) in &request.headers {
        context.add_value(&format!("http.headers.{}", name.as_str().replace('-', "_")), text(value.to_str().unwrap()));
    }
    if let Some(source) = request.source {
        context.add_value("net.src.ip", Value::IpAddr(source.ip()));
        context.add_value("net.src.port", Value::Int(i64::from(source.port())));
    }
    if let Some(destination) = request.destination {
        context.add_value("net.dst.ip", Value::IpAddr(destination.ip()));
    }
    context
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn agrees_with_kongs_matching_engine(routes in routes(), requests in proptest::collection::vec(request(), 20)) {
        let schema = schema();
        let mut judge = atc_router::router::Router::new(&schema);
        let mut originals: HashMap<Uuid, Id> = HashMap::new();
        for part in routes.iter().flat_map(parts) {
            let uuid = Uuid::from_u128(part.id.0);
            originals.insert(uuid, part.route.id);
            judge.add_matcher(part.priority() as usize, uuid, &expression(&part)).unwrap();
        }
        let router = router(&routes);
        for request in &requests {
            let mut context = context(&schema, request);
            judge.execute(&mut context);
            let wanted = context.result.as_ref();
            let found = router.find(&request.query());
            prop_assert_eq!(id(found), wanted.map(|wanted| originals[&wanted.uuid].0), "{:?}", request);
            let path = wanted.and_then(|wanted| wanted.matches.get("http.path")).map(|value| match value {
                Value::String(text) => text.len(),
                _ => 0,
            });
            if let (Some(found), Some(path)) = (found, path) {
                prop_assert_eq!(found.matched, path, "{:?}", request);
                let captures = found.captures(&request.path);
                let wanted = wanted.and_then(|wanted| wanted.captures.get("x")).map(String::as_bytes);
                prop_assert_eq!(captures.and_then(|captures| captures.name("x")), wanted);
            }
        }
    }
}
