//! The path of a request, step by step. [`Proxy::serve`] is the table of contents:
//!
//! 1. `arrive`: what is remembered of the request before anything is changed;
//! 2. `find`: the route ([`crate::router`]) and its service, and whether the protocol suits it;
//! 3. `access`: plugins by falling priority; one may answer;
//! 4. `dress`: target and headers as the upstream is to see them ([`path`], [`headers`], [`forwarded`]);
//! 5. `forward`: target, connection, retries ([`forward`]); the answer streams ([`response_body`]);
//! 6. `finish`: headers of the answer, plugins' filters, and what happens when it is over.
//!
//! A request takes one snapshot at its beginning and sees no other. Errors are [`ProxyError`]s until step 6 turns them
//! into what the client is told. A [`Proxy`] belongs to one worker; what all workers have in common is [`Shared`].

mod connect;
pub(crate) mod deadline;
pub mod error;
mod forward;
pub mod forwarded;
pub mod headers;
pub(crate) mod io;
mod names;
pub mod outcome;
pub mod path;
mod pool;
mod request_body;
pub mod request_id;
mod response_body;
pub mod settings;
mod tls;
mod tunnel;
mod upstream;

pub use error::{ProxyError, Side};
pub use response_body::{ClientSide, ResponseBody};
pub use settings::{ResponseHeaders, Settings};

use crate::access_log::AccessLog;
use crate::balancer::Balancers;
use crate::dns::Resolver;
use crate::plugins::chain::Chain;
use crate::plugins::{Access, Answer, AnswerBody, Client, Cx, Matched, Plugin, RequestBody, Verdict};
use crate::router::{CompiledRoute, Query};
use crate::snapshot::entities::{Instance, Service};
use crate::snapshot::{Live, Snapshot};
use bytes::Bytes;
use forward::{Answered, Destination};
use headers::Hop;
use http::header::{self, ACCEPT, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, LOCATION, SERVER, UPGRADE, VIA};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, request, response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use model::kinds::Protocol;
use outcome::Outcome;
use pool::{Bounds, Pool};
use request_body::UpstreamRequest;
use request_id::{RequestId, RequestIds};
use response_body::{Log, Streaming};
use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tls::TlsConfigs;
use tokio::time::Instant;

/// What all workers have in common.
pub struct Shared {
    live: Arc<Live>,
    settings: Settings,
    resolver: Resolver,
    tls: TlsConfigs,
    access_log: Option<AccessLog>,
}

impl Shared {
    /// A proxy for what `live` says.
    #[must_use]
    pub fn new(live: Arc<Live>, settings: Settings, resolver: Resolver, access_log: Option<AccessLog>) -> Self {
        Self { live, settings, resolver, tls: TlsConfigs::default(), access_log }
    }
}

/// The proxy of one worker.
pub struct Proxy {
    shared: Arc<Shared>,
    pool: Rc<Pool>,
    balancers: RefCell<Balancers>,
    ids: RequestIds,
}

/// A client's connection, as far as its requests need to know it.
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// Ours.
    pub local: SocketAddr,
    /// Whether it is TLS.
    pub over_tls: bool,
    /// The name that the client asked for in the TLS handshake.
    pub sni: Option<Box<str>>,
    /// Whether it is in `trusted_ips`.
    trusted: bool,
    /// Both as header values, made once per connection.
    address_text: HeaderValue,
    port_text: HeaderValue,
    side: Rc<dyn ClientSide>,
}

/// What is remembered of a request before plugins and the way upstream change it.
struct Arrival {
    begun: Instant,
    id: RequestId,
    uri: Uri,
    method: Method,
    version: Version,
    host: Option<HeaderValue>,
    accept: Option<HeaderValue>,
    content_type: Option<HeaderValue>,
    client_ip: IpAddr,
    claims_https: bool,
    debug: bool,
    upgrade: RefCell<Option<OnUpgrade>>,
    /// `Referer` and `User-Agent`, if somebody logs.
    for_log: (Option<HeaderValue>, Option<HeaderValue>),
}

/// What the request is for.
#[derive(Clone, Copy)]
struct Found<'s> {
    route: &'s Arc<CompiledRoute>,
    service: Option<&'s Arc<Service>>,
    /// How much of the path the route matched.
    matched: usize,
}

/// Where the time to an answer's head went.
struct Times {
    /// Until the request was on its way.
    ours: Duration,
    /// From then on.
    theirs: Duration,
}

/// What becomes the answer.
#[allow(clippy::large_enum_variant, reason = "one per request, taken apart at once; a box would be an allocation")]
enum Reply {
    /// An upstream's.
    Proxied { head: response::Parts, body: ResponseBody, hop: Hop, times: Times },
    /// A plugin's.
    Plugin(Box<Answer>),
    /// Nobody's.
    Error(ProxyError),
}

impl Proxy {
    /// The proxy of one worker. The seed must differ between workers and starts.
    #[must_use]
    pub fn new(shared: Arc<Shared>, seed: u128) -> Self {
        let settings = &shared.settings;
        let bounds = Bounds {
            size: settings.keepalive_pool_size,
            requests_max: settings.keepalive_max_requests,
            idle_timeout: settings.keepalive_idle_timeout,
        };
        Self { pool: Rc::new(Pool::new(bounds)), balancers: RefCell::default(), ids: RequestIds::new(seed), shared }
    }

    /// Looks after idle upstream connections for as long as it is polled.
    pub async fn tend(&self) {
        loop {
            tokio::time::sleep(pool::SWEEP_EVERY).await;
            self.pool.sweep();
        }
    }

    /// What requests of a connection need to know of it.
    pub fn peer(
        &self,
        address: SocketAddr,
        local: SocketAddr,
        tls: Option<Option<&str>>,
        side: Rc<dyn ClientSide>,
    ) -> Peer {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        Peer {
            address,
            local,
            over_tls: tls.is_some(),
            sni: tls.flatten().map(Into::into),
            trusted: self.shared.settings.trusts(address.ip()),
            address_text: ip_text(address.ip()),
            port_text: HeaderValue::from(local.port()),
            side,
        }
    }

    /// Serves one request. The answer's body streams after the head is returned.
    pub async fn serve(&self, peer: &Peer, request: Request<Incoming>) -> Response<ResponseBody> {
        let (mut head, incoming) = request.into_parts();
        let arrival = self.arrive(peer, &mut head);
        let snapshot = self.shared.live.load();
        let found = match find(&snapshot, peer, &arrival, &head) {
            Ok(found) => found,
            Err(error) => {
                let (head, body) = self.head_of(Reply::Error(error), &arrival);
                return self.end(peer, arrival, None, None, &[], head, body);
            }
        };
        let mut ran = Vec::new();
        let mut cx = self.context(&snapshot, peer, &arrival, found, head, incoming);
        let reply = match self.access(&snapshot, found, &mut cx, &mut ran).await {
            Some(answer) => Reply::Plugin(answer),
            None => match self.proxied(&snapshot, peer, &arrival, found, &mut cx).await {
                Ok(reply) => reply,
                Err(error) => Reply::Error(error),
            },
        };
        let (mut head, body) = self.head_of(reply, &arrival);
        if arrival.debug {
            show_match(&mut head.headers, found);
        }
        let body = filter(&cx, &ran, &mut head, body);
        self.end(peer, arrival, Some(found), Some(cx), &ran, head, body)
    }

    /// Step 1: what is remembered, and what is taken off the request.
    fn arrive(&self, peer: &Peer, head: &mut request::Parts) -> Arrival {
        headers::drop_identity(&mut head.headers);
        let settings = &self.shared.settings;
        let headers = &head.headers;
        let logs = self.shared.access_log.is_some();
        let log = |name| if logs { headers.get(name).cloned() } else { None };
        Arrival {
            begun: Instant::now(),
            id: self.ids.next(),
            uri: head.uri.clone(),
            method: head.method.clone(),
            version: head.version,
            host: host_of(head),
            accept: headers.get(ACCEPT).cloned(),
            content_type: headers.get(CONTENT_TYPE).cloned(),
            client_ip: forwarded::client_ip(settings, peer.address.ip(), peer.trusted, headers),
            claims_https: peer.trusted && headers.get(names::X_FORWARDED_PROTO).is_some_and(|proto| proto == "https"),
            debug: settings.allow_debug_header && headers.get(names::KONG_DEBUG).is_some_and(|debug| debug == "1"),
            upgrade: RefCell::new(head.extensions.remove::<OnUpgrade>()),
            for_log: (log(header::REFERER), log(header::USER_AGENT)),
        }
    }

    /// The request as plugins see it.
    fn context<'s>(
        &self,
        snapshot: &'s Snapshot,
        peer: &Peer,
        arrival: &Arrival,
        found: Found<'s>,
        head: request::Parts,
        incoming: Incoming,
    ) -> Cx<'s> {
        Cx {
            directory: snapshot,
            head,
            body: RequestBody::new(incoming),
            original_uri: None,
            client: Client {
                ip: arrival.client_ip,
                port: peer.address.port(),
                local_port: peer.local.port(),
                over_tls: peer.over_tls,
            },
            request_id: arrival.id,
            now: Duration::ZERO,
            matched: Matched { route: (found.route.id, found.route.name.as_deref()), service: found.service },
            authenticated: None,
        }
    }

    /// Step 3: plugins, until one answers. `ran` are those that see the answer later.
    async fn access<'s>(
        &self,
        snapshot: &'s Snapshot,
        found: Found<'s>,
        cx: &mut Cx<'s>,
        ran: &mut Vec<&'s Arc<Instance>>,
    ) -> Option<Box<Answer>> {
        let service = found.service.map(|service| service.id);
        let mut chain = Chain::new(snapshot, found.route.id, service, cx.client.over_tls);
        while let Some(instance) = chain.advance() {
            if ran.is_empty() {
                cx.now = since_1970();
            }
            ran.push(instance);
            match instance.plugin.access(cx) {
                Access::Continue => {}
                Access::Respond(answer) => return Some(answer),
                Access::Wait(future) => match future.await {
                    Verdict::Continue => {}
                    Verdict::Respond(answer) => return Some(answer),
                },
            }
            chain.identify(cx.authenticated.as_ref().map(|who| who.consumer.id));
        }
        None
    }

    /// Steps 4 and 5: the request on its way, and the answer on its way back.
    async fn proxied(
        &self,
        snapshot: &Snapshot,
        peer: &Peer,
        arrival: &Arrival,
        found: Found<'_>,
        cx: &mut Cx<'_>,
    ) -> Result<Reply, ProxyError> {
        let service = found.service.ok_or(ProxyError::NoService)?;
        let destination = Destination::new(snapshot, service)?;
        let (request, hop) = self.dress(peer, arrival, found, service, cx)?;
        let preserved = arrival.host.as_ref().filter(|_| found.route.preserve_host);
        let sent = Instant::now();
        let answered = self.forward(&destination, request, preserved, sent).await?;
        let received = Instant::now();
        let times = Times { ours: sent - arrival.begun, theirs: received - sent };
        let (head, body) = self.receive(answered, arrival, hop, service, received)?;
        Ok(Reply::Proxied { head, body, hop, times })
    }

    /// Step 4: target and headers as the upstream is to see them.
    fn dress(
        &self,
        peer: &Peer,
        arrival: &Arrival,
        found: Found<'_>,
        service: &Service,
        cx: &mut Cx<'_>,
    ) -> Result<(Request<UpstreamRequest>, Hop), ProxyError> {
        let mut head = take_head(cx);
        let path = path::normalise(arrival.uri.path());
        let strip = found.route.strip_path.then_some(found.matched);
        let base = service.path.as_deref().unwrap_or("/");
        // `path_handling = "v1"` of a route counts in Kong's `traditional` flavour only.
        head.uri = target(&head.uri, &path::join(path::Handling::V0, base, &path, strip))?;
        head.version = Version::HTTP_11;
        let headers = &mut head.headers;
        let hop = headers::clean_request(headers);
        headers.reserve(12);
        let client_text = if arrival.client_ip == peer.address.ip() { None } else { Some(ip_text(arrival.client_ip)) };
        let prefix = strip.and_then(|matched| path.get(..matched));
        forwarded::set(
            headers,
            forwarded::Facts {
                peer_trusted: peer.trusted,
                peer: &peer.address_text,
                client: client_text.as_ref().unwrap_or(&peer.address_text),
                over_tls: peer.over_tls,
                port: &peer.port_text,
                host: arrival.host.as_ref().map(name_only),
                path: arrival.uri.path(),
                prefix,
            },
        );
        if self.shared.settings.request_id_upstream {
            headers.insert(names::X_KONG_REQUEST_ID, arrival.id.header());
        }
        let body = UpstreamRequest::new(std::mem::take(&mut cx.body));
        let has_body = !http_body::Body::is_end_stream(&body);
        headers::dress_request(headers, hop, has_body, http_body::Body::size_hint(&body).exact());
        Ok((forward::assemble(head, body), hop))
    }

    /// The answer's head, and its body as it will stream; on a switch of protocols the tunnel instead.
    fn receive(
        &self,
        answered: Answered,
        arrival: &Arrival,
        hop: Hop,
        service: &Service,
        received: Instant,
    ) -> Result<(response::Parts, ResponseBody), ProxyError> {
        let Answered { response, connection, key } = answered;
        let (mut head, incoming) = response.into_parts();
        if head.status != StatusCode::SWITCHING_PROTOCOLS {
            let streaming = Streaming {
                incoming,
                connection: Some(connection),
                pool: self.pool.clone(),
                key,
                read_timeout: service.read_timeout,
                since: received,
            };
            return Ok((head, ResponseBody::streaming(streaming)));
        }
        let ours = arrival.upgrade.take().filter(|_| hop.websocket);
        let theirs = head.extensions.remove::<OnUpgrade>();
        let (Some(ours), Some(theirs)) = (ours, theirs) else {
            return Err(ProxyError::Answer("switched protocols without being asked".into()));
        };
        tokio::task::spawn_local(tunnel::join(ours, theirs, connection.into_driver(), service.read_timeout));
        Ok((head, ResponseBody::whole(Bytes::new())))
    }

    /// Step 6: the head of the answer with the gateway's own headers, and its body.
    fn head_of(&self, reply: Reply, arrival: &Arrival) -> (response::Parts, ResponseBody) {
        let shown = self.shared.settings.headers;
        let (mut head, body) = match reply {
            Reply::Proxied { mut head, body, hop, times } => {
                headers::clean_response(&mut head.headers, hop, head.status == StatusCode::SWITCHING_PROTOCOLS);
                self.mark_proxied(&mut head, arrival, &times);
                return (head, body);
            }
            Reply::Plugin(answer) => answer_of(*answer, arrival),
            Reply::Error(error) => {
                tracing::debug!(request_id = %arrival.id, side = ?error.side(), %error, "not proxied");
                answer_of(refusal(&error, arrival), arrival)
            }
        };
        if shown.server {
            head.headers.insert(SERVER, HeaderValue::from_static(settings::PRODUCT));
        }
        if shown.response_latency {
            head.headers.insert(names::X_KONG_RESPONSE_LATENCY, millis(arrival.begun.elapsed()));
        }
        if shown.request_id {
            head.headers.insert(names::X_KONG_REQUEST_ID, arrival.id.header());
        }
        (head, body)
    }

    fn mark_proxied(&self, head: &mut response::Parts, arrival: &Arrival, times: &Times) {
        let shown = self.shared.settings.headers;
        let headers = &mut head.headers;
        if shown.upstream_status {
            headers.insert(names::X_KONG_UPSTREAM_STATUS, HeaderValue::from(head.status.as_u16()));
        }
        if shown.upstream_latency {
            headers.insert(names::X_KONG_UPSTREAM_LATENCY, millis(times.theirs));
        }
        if shown.proxy_latency {
            headers.insert(names::X_KONG_PROXY_LATENCY, millis(times.ours));
        }
        if shown.via {
            headers::append_via(headers);
        } else {
            headers.remove(VIA);
        }
        if shown.server && !headers.contains_key(SERVER) {
            headers.insert(SERVER, HeaderValue::from_static(settings::PRODUCT));
        }
        if shown.request_id {
            headers.insert(names::X_KONG_REQUEST_ID, arrival.id.header());
        }
    }

    /// The finished answer, with what happens when it is over.
    #[allow(clippy::too_many_arguments, reason = "everything that is known of the request, for its one record")]
    fn end(
        &self,
        peer: &Peer,
        arrival: Arrival,
        found: Option<Found<'_>>,
        cx: Option<Cx<'_>>,
        ran: &[&Arc<Instance>],
        head: response::Parts,
        body: ResponseBody,
    ) -> Response<ResponseBody> {
        let plugins: Vec<Arc<dyn Plugin>> =
            ran.iter().map(|instance| &instance.plugin).filter(|plugin| plugin.logs()).cloned().collect();
        let access_log = self.shared.access_log.clone();
        let logged = access_log.is_some() || !plugins.is_empty();
        let log = logged.then(|| {
            let (referer, user_agent) = arrival.for_log;
            let outcome = Outcome {
                request_id: arrival.id,
                arrived: since_1970().saturating_sub(arrival.begun.elapsed()),
                client_ip: arrival.client_ip,
                method: arrival.method,
                uri: arrival.uri,
                version: arrival.version,
                referer,
                user_agent,
                route: found.map(|found| found.route.id),
                service: found.and_then(|found| found.service.cloned()),
                consumer: cx.and_then(|cx| cx.authenticated).map(|who| who.consumer),
                status: head.status,
                body_bytes: 0,
                complete: false,
                elapsed: Duration::ZERO,
            };
            Box::new(Log { outcome, begun: arrival.begun, plugins, access_log })
        });
        Response::from_parts(head, body.ended_by(log, Some(peer.side.clone())))
    }
}

/// Step 2: the route and its service, and whether the protocol suits.
fn find<'s>(
    snapshot: &'s Snapshot,
    peer: &Peer,
    arrival: &Arrival,
    head: &request::Parts,
) -> Result<Found<'s>, ProxyError> {
    // Two names for one request are how requests are smuggled past a proxy (RFC 9112 §3.2).
    if head.headers.get_all(HOST).iter().nth(1).is_some() {
        return Err(ProxyError::BadRequest);
    }
    let target_ok = head.uri.path().starts_with('/') && head.method != Method::CONNECT;
    if !target_ok || (arrival.host.is_none() && head.version == Version::HTTP_11) {
        return Err(ProxyError::BadRequest);
    }
    let path = path::normalise(arrival.uri.path());
    let query = Query {
        method: head.method.as_str(),
        host: arrival.host.as_ref().and_then(|host| host.to_str().ok()),
        port: peer.local.port(),
        path: &path,
        headers: &head.headers,
        https: peer.over_tls,
        sni: peer.sni.as_deref(),
        source: Some(peer.address),
        destination: Some(peer.local),
    };
    let found = snapshot.router().find(&query).ok_or(ProxyError::NoRoute)?;
    let service = found.route.service.and_then(|id| snapshot.service(id));
    if service.is_some_and(|service| !service.enabled) {
        return Err(ProxyError::NoRoute);
    }
    let protocols = found.route.protocols;
    if !protocols.contains(Protocol::Http) && !protocols.contains(Protocol::Https) {
        return Err(ProxyError::Http2Required);
    }
    if !protocols.contains(Protocol::Http) && !peer.over_tls && !arrival.claims_https {
        return Err(ProxyError::HttpsRequired { status: found.route.https_redirect_status_code });
    }
    Ok(Found { route: found.route, service, matched: found.matched })
}

/// The Host of a request; a target in absolute form says more than the header (RFC 9112 §3.2.2).
fn host_of(head: &request::Parts) -> Option<HeaderValue> {
    match head.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => head.headers.get(HOST).filter(|host| !host.is_empty()).cloned(),
    }
}

/// The value without a port; the same bytes where there is none.
fn name_only(host: &HeaderValue) -> HeaderValue {
    let Ok(text) = host.to_str() else { return host.clone() };
    let name = forward::without_port(text);
    if name.len() == text.len() { host.clone() } else { HeaderValue::from_str(name).unwrap_or_else(|_| host.clone()) }
}

/// A target with this path and the query that `uri` has; the same target where nothing changes.
fn target(uri: &Uri, path: &str) -> Result<Uri, ProxyError> {
    if uri.authority().is_none() && uri.path() == path {
        return Ok(uri.clone());
    }
    let target = match uri.query() {
        Some(query) => Bytes::from([path, "?", query].concat()),
        None => Bytes::copy_from_slice(path.as_bytes()),
    };
    let target = PathAndQuery::from_maybe_shared(target).map_err(|_| ProxyError::BadRequest)?;
    Ok(Uri::from(target))
}

/// Takes the head out of the context; what is left there has no headers.
fn take_head(cx: &mut Cx<'_>) -> request::Parts {
    let (empty, ()) = Request::new(()).into_parts();
    std::mem::replace(&mut cx.head, empty)
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn ip_text(ip: IpAddr) -> HeaderValue {
    HeaderValue::from_str(&ip.to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

fn millis(duration: Duration) -> HeaderValue {
    HeaderValue::from(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// `Kong-Route-Id` and the like, for `Kong-Debug: 1`.
fn show_match(headers: &mut HeaderMap, found: Found<'_>) {
    let mut set = |name, value: Option<&str>| {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
            headers.insert(name, value);
        }
    };
    set(names::KONG_ROUTE_ID, Some(&found.route.id.to_string()));
    set(names::KONG_ROUTE_NAME, found.route.name.as_deref());
    if let Some(service) = found.service {
        set(names::KONG_SERVICE_ID, Some(&service.id.to_string()));
        set(names::KONG_SERVICE_NAME, service.name.as_deref());
    }
}

/// What the client is told of an error.
fn refusal(error: &ProxyError, arrival: &Arrival) -> Answer {
    let (status, message) = error.answer();
    let mut answer = Answer::error(status, message);
    if error.is_plain_by_default() && arrival.accept.is_none() {
        let plain = HeaderValue::from_static("text/plain");
        let form = arrival.content_type.as_ref().unwrap_or(&plain);
        let (content_type, bytes) = error::body(Some(form), message, arrival.id);
        answer.headers.insert(CONTENT_TYPE, content_type);
        answer.body = AnswerBody::Bytes(bytes);
    }
    match error {
        ProxyError::HttpsRequired { .. } if status == StatusCode::UPGRADE_REQUIRED => {
            answer.with(CONNECTION, "Upgrade").with(UPGRADE, "TLS/1.2, HTTP/1.1")
        }
        ProxyError::HttpsRequired { .. } => {
            let host = arrival.host.as_ref().and_then(|host| host.to_str().ok()).map(forward::without_port);
            let target = arrival.uri.path_and_query().map_or("/", PathAndQuery::as_str);
            answer.with(LOCATION, &format!("https://{}{target}", host.unwrap_or_default()))
        }
        ProxyError::Http2Required => answer.with(CONNECTION, "Upgrade").with(UPGRADE, "HTTP/2"),
        _ => answer,
    }
}

/// An answer that the gateway makes itself.
fn answer_of(answer: Answer, arrival: &Arrival) -> (response::Parts, ResponseBody) {
    let (mut head, ()) = Response::new(()).into_parts();
    head.status = answer.status;
    head.headers = answer.headers;
    let bytes = match answer.body {
        AnswerBody::Empty => Bytes::new(),
        AnswerBody::Bytes(bytes) => bytes,
        AnswerBody::Message(message) => {
            let (content_type, bytes) = error::body(arrival.accept.as_ref(), &message, arrival.id);
            head.headers.insert(CONTENT_TYPE, content_type);
            bytes
        }
    };
    (head, ResponseBody::whole(bytes))
}

/// Lets plugins see the answer's head and install filters for its body.
fn filter(cx: &Cx<'_>, ran: &[&Arc<Instance>], head: &mut response::Parts, body: ResponseBody) -> ResponseBody {
    let mut filters = Vec::new();
    for instance in ran {
        instance.plugin.header_filter(cx, head);
        filters.extend(instance.plugin.body_filter(cx, head));
    }
    if filters.is_empty() || head.status == StatusCode::SWITCHING_PROTOCOLS {
        return body;
    }
    // A filter may change the length.
    head.headers.remove(CONTENT_LENGTH);
    body.filtered(filters)
}
