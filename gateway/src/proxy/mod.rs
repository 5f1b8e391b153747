//! The path of a request, step by step. [`Proxy::serve`] is the table of contents:
//!
//! 1. [`arrival`]: what is remembered of the request before anything is changed;
//! 2. [`arrival::find`]: the route ([`crate::router`]) and its service, and whether the protocol suits it;
//! 3. `access`: plugins by falling priority; one may answer;
//! 4. [`dress`]: target and headers as the upstream is to see them ([`path`], [`headers`], [`forwarded`]);
//! 5. [`forward`]: target, connection, retries; the answer streams ([`response_body`]);
//! 6. [`reply`]: the head of the answer and plugins' filters; [`outcome`]: what is logged when it is over.
//!
//! A request takes one snapshot at its beginning and sees no other. Errors are [`ProxyError`]s until step 6 turns them
//! into what the client is told. A [`Proxy`] belongs to one worker; what all workers have in common is [`Shared`].

mod arrival;
mod connect;
pub(crate) mod deadline;
mod dress;
pub mod error;
mod forward;
pub mod forwarded;
pub mod headers;
pub(crate) mod io;
mod names;
pub mod outcome;
pub mod path;
mod pool;
mod reply;
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
use crate::counters::Counters;
use crate::dns::Resolver;
use crate::plugins::chain::Chain;
use crate::plugins::{Access, Answer, Client, Cx, Matched, Plugin, RequestBody, Verdict};
use crate::snapshot::entities::{Consumer, Instance, Service};
use crate::snapshot::{Live, Snapshot};
use arrival::{Arrival, Found, find};
use bytes::Bytes;
use forward::{Answered, Destination};
use headers::Hop;
use http::{HeaderValue, Request, Response, StatusCode, request, response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use outcome::{Log, Outcome};
use pool::{Bounds, Pool};
use reply::{Reply, Times, filter, show_match};
use request_id::RequestIds;
use response_body::Streaming;
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
    counters: Arc<Counters>,
    /// Time since 1970, as plugins see it.
    clock: fn() -> Duration,
}

impl Shared {
    /// A proxy for what `live` says.
    #[must_use]
    pub fn new(
        live: Arc<Live>,
        settings: Settings,
        resolver: Resolver,
        access_log: Option<AccessLog>,
        counters: Arc<Counters>,
    ) -> Self {
        Self { live, settings, resolver, tls: TlsConfigs::default(), access_log, counters, clock: since_1970 }
    }

    /// What it serves from.
    #[must_use]
    pub fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// With a clock that shows its plugins something else.
    #[must_use]
    pub fn with_clock(self, clock: fn() -> Duration) -> Self {
        Self { clock, ..self }
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

    /// What all workers count together.
    #[must_use]
    pub fn counters(&self) -> &Arc<Counters> {
        &self.shared.counters
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
        let snapshot = self.shared.live.load();
        let mut visit = Visit::new(self, self.arrive(peer, &mut head));
        let found = match find(&snapshot, peer, &visit.arrival, &head) {
            Ok(found) => found,
            Err(error) => {
                let (head, body) = self.head_of(Reply::Error(error), &visit.arrival);
                return visit.end(peer, head, body);
            }
        };
        visit.found = Some(found);
        let mut cx = self.context(&snapshot, peer, &visit.arrival, found, head, incoming);
        let reply = match access(&snapshot, found, &mut cx, &mut visit).await {
            Some(answer) => Reply::Plugin(answer),
            None => match self.proxied(&snapshot, peer, &visit.arrival, found, &mut cx).await {
                Ok(reply) => reply,
                Err(error) => Reply::Error(error),
            },
        };
        let (mut head, body) = self.head_of(reply, &visit.arrival);
        if visit.arrival.debug {
            show_match(&mut head.headers, found);
        }
        let body = filter(&cx, &visit.ran, &mut head, body);
        visit.end(peer, head, body)
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
}

/// Step 3: plugins, until one answers.
async fn access<'s>(
    snapshot: &'s Snapshot,
    found: Found<'s>,
    cx: &mut Cx<'s>,
    visit: &mut Visit<'_, 's>,
) -> Option<Box<Answer>> {
    let service = found.service.map(|service| service.id);
    let mut chain = Chain::new(snapshot, found.route.id, service, cx.client.over_tls);
    while let Some(instance) = chain.advance() {
        if visit.ran.is_empty() {
            cx.now = (visit.proxy.shared.clock)();
        }
        visit.ran.push(instance);
        match instance.plugin.access(cx) {
            Access::Continue => {}
            Access::Respond(answer) => return Some(answer),
            Access::Wait(future) => match future.await {
                Verdict::Continue => {}
                Verdict::Respond(answer) => return Some(answer),
            },
        }
        visit.consumer = cx.authenticated.as_ref().map(|who| who.consumer.clone());
        chain.identify(visit.consumer.as_ref().map(|consumer| consumer.id));
    }
    None
}

/// What is known of a request so far. Dropped before its end (the client has left), it is logged as such.
struct Visit<'p, 's> {
    proxy: &'p Proxy,
    arrival: Arrival,
    found: Option<Found<'s>>,
    /// Plugins that ran: those that see the answer and the end.
    ran: Vec<&'s Arc<Instance>>,
    consumer: Option<Arc<Consumer>>,
    ended: bool,
}

impl<'p> Visit<'p, '_> {
    fn new(proxy: &'p Proxy, arrival: Arrival) -> Self {
        Self { proxy, arrival, found: None, ran: Vec::new(), consumer: None, ended: false }
    }

    /// The finished answer, with what happens when it is over.
    fn end(mut self, peer: &Peer, head: response::Parts, body: ResponseBody) -> Response<ResponseBody> {
        self.ended = true;
        self.proxy.shared.counters.answered();
        let log = self.record(head.status);
        Response::from_parts(head, body.ended_by(log, Some(peer.side.clone())))
    }

    /// The record of the request, if anybody wants one.
    fn record(&self, status: StatusCode) -> Option<Box<Log>> {
        let plugins = self.ran.iter().map(|instance| &instance.plugin).filter(|plugin| plugin.logs());
        let plugins: Vec<Arc<dyn Plugin>> = plugins.cloned().collect();
        let access_log = self.proxy.shared.access_log.clone();
        if plugins.is_empty() && access_log.is_none() {
            return None;
        }
        let arrival = &self.arrival;
        let outcome = Outcome {
            request_id: arrival.id,
            arrived: since_1970().saturating_sub(arrival.begun.elapsed()),
            client_ip: arrival.client_ip,
            method: arrival.method.clone(),
            uri: arrival.uri.clone(),
            version: arrival.version,
            referer: arrival.for_log.0.clone(),
            user_agent: arrival.for_log.1.clone(),
            route: self.found.map(|found| found.route.id),
            service: self.found.and_then(|found| found.service.cloned()),
            consumer: self.consumer.clone(),
            status,
            body_bytes: 0,
            complete: false,
            elapsed: Duration::ZERO,
        };
        Some(Box::new(Log { outcome, begun: arrival.begun, plugins, access_log }))
    }
}

impl Drop for Visit<'_, '_> {
    fn drop(&mut self) {
        if !self.ended {
            // nginx's status for a client that closed the connection first.
            drop(StatusCode::from_u16(499).ok().and_then(|status| self.record(status)));
        }
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn ip_text(ip: IpAddr) -> HeaderValue {
    HeaderValue::from_str(&ip.to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}
