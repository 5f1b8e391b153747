//! What the proxy's tests share: a gateway on an ephemeral port with a configuration made of Kong's JSON, an origin
//! whose behaviour a test scripts, and a client that speaks plain bytes.
#![allow(dead_code, unreachable_pub, reason = "each test file includes this module and uses a part")]

use gateway::access_log::AccessLog;
use gateway::dns::Resolver;
use gateway::listen::{self, Limits, Workers};
use gateway::proxy::{Settings, Shared};
use gateway::snapshot::{Live, Snapshot};
use model::schema::CheckCx;
use model::{Change, Id, Kind, Record};
use serde_json::{Value, json};
use settings::listen as settings_listen;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// How long anything in a test may take before it counts as hung.
pub const HUNG: Duration = Duration::from_secs(20);

/// A configuration in the making.
#[derive(Default)]
pub struct Config {
    changes: Vec<Change>,
}

impl Config {
    /// Adds an entity; defaults are filled in as the Admin API would.
    pub fn with(mut self, kind: Kind, entity: Value) -> Self {
        let Value::Object(input) = entity else { panic!("an entity is an object") };
        let cx =
            CheckCx { now_ms: 1_700_000_000_000, new_id: &Id::random, certificates: None, keeps_updated_at: false };
        let def = kind.def();
        let checked = def.schema.check(&cx, input).unwrap_or_else(|error| panic!("{kind:?}: {error:?}"));
        let id: Id = checked["id"].as_str().unwrap().parse().unwrap();
        let body: Arc<[u8]> = (def.to_body)(&checked).unwrap().into();
        let tag = Record::tag_of(kind, id, &body);
        self.changes.push(Change::Put(Record { kind, id, version: 1, tag, body }));
        self
    }

    /// A service at an origin with a route at `/`, or whatever the fields say.
    pub fn service(self, n: u128, origin: SocketAddr, fields: Value) -> Self {
        let base = json!({ "id": id(n), "name": format!("service-{n}"), "host": "127.0.0.1", "port": origin.port() });
        self.with(Kind::Service, merged(base, fields))
    }

    /// A route to service `n`.
    pub fn route(self, n: u128, fields: Value) -> Self {
        let base = json!({ "id": id(n), "name": format!("route-{n}"), "service": { "id": id(n) }, "paths": ["/"] });
        self.with(Kind::Route, merged(base, fields))
    }

    pub fn plugin(self, n: u128, name: &str, fields: Value) -> Self {
        self.with(Kind::Plugin, merged(json!({ "id": id(n), "name": name }), fields))
    }

    /// What a control plane would send for it.
    pub fn changes(self) -> Vec<Change> {
        self.changes
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot::empty().apply(1, 1, &self.changes).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A gateway that serves it.
    pub fn start(&self) -> Gateway {
        self.start_with(Settings::default(), Limits::default())
    }

    pub fn start_with(&self, settings: Settings, limits: Limits) -> Gateway {
        Gateway::start(self.snapshot(), settings, limits)
    }
}

fn merged(mut base: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else { panic!("fields are an object") };
    base.as_object_mut().unwrap().extend(fields);
    base
}

/// The id with this number.
pub fn id(n: u128) -> String {
    Id(n | 0x4000_8000_0000_0000_0000).to_string()
}

/// A running gateway with one worker.
pub struct Gateway {
    pub address: SocketAddr,
    pub live: Arc<Live>,
    shutdown: watch::Sender<bool>,
    workers: Option<Workers>,
}

impl Gateway {
    pub fn start(snapshot: Snapshot, settings: Settings, limits: Limits) -> Self {
        Self::start_on("127.0.0.1:0", None, None, snapshot, settings, limits)
    }

    /// A gateway on these listeners, with what they need.
    pub fn start_on(
        listeners: &str,
        tls: Option<Arc<pki::ServerConfig>>,
        access_log: Option<AccessLog>,
        snapshot: Snapshot,
        settings: Settings,
        limits: Limits,
    ) -> Self {
        let live = Arc::new(Live::new(snapshot));
        Self::start_live(listeners, tls, access_log, live, settings, limits)
    }

    /// A gateway on whose machine the clock shows something else.
    pub fn at(clock: fn() -> Duration, snapshot: Snapshot) -> Self {
        let settings = Settings::default();
        let shared = Shared::new(Arc::new(Live::new(snapshot)), settings, Resolver::default(), None, Arc::default());
        Self::of("127.0.0.1:0", None, shared.with_clock(clock), Limits::default())
    }

    /// A gateway that serves what `live` says, on a port of its own.
    pub fn over(live: Arc<Live>, settings: Settings, limits: Limits) -> Self {
        Self::start_live("127.0.0.1:0", None, None, live, settings, limits)
    }

    fn start_live(
        listeners: &str,
        tls: Option<Arc<pki::ServerConfig>>,
        access_log: Option<AccessLog>,
        live: Arc<Live>,
        settings: Settings,
        limits: Limits,
    ) -> Self {
        let shared = Shared::new(live, settings, Resolver::default(), access_log, Arc::default());
        Self::of(listeners, tls, shared, limits)
    }

    fn of(listeners: &str, tls: Option<Arc<pki::ServerConfig>>, shared: Shared, limits: Limits) -> Self {
        let items: Vec<String> = listeners.split(',').map(|item| item.trim().to_owned()).collect();
        let bound = listen::bind(&settings_listen::listeners(&items).unwrap()).unwrap();
        let (live, shared) = (shared.live().clone(), Arc::new(shared));
        let (shutdown, watched) = watch::channel(false);
        let workers = Workers::start(1, &bound, &shared, tls, limits, &watched).unwrap();
        Self { address: bound[0].address, live, shutdown, workers: Some(workers) }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// One request on a connection of its own.
    pub fn get(&self, target: &str, headers: &str) -> Answer {
        self.client().request("GET", target, headers, b"")
    }

    /// Asks the gateway to end; it drains.
    pub fn stop(&self) {
        self.shutdown.send_replace(true);
    }

    /// Waits for the end.
    pub fn join(&mut self) {
        if let Some(workers) = self.workers.take() {
            workers.join();
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A message as it came in.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// Request or status line.
    pub first: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Message {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The target of a request.
    pub fn target(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or_default()
    }
}

/// Reads a head; `None` at the end of the stream.
pub fn read_head(stream: &mut impl BufRead) -> Option<Message> {
    let mut message = Message::default();
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let text = line.trim_end();
        if text.is_empty() && !message.first.is_empty() {
            return Some(message);
        }
        if message.first.is_empty() {
            message.first = text.to_owned();
        } else if let Some((name, value)) = text.split_once(':') {
            message.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
}

/// Reads one chunk of a chunked body; an empty one is the end.
pub fn read_chunk(stream: &mut impl BufRead) -> Vec<u8> {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    let size = usize::from_str_radix(line.trim(), 16).unwrap_or_else(|_| panic!("not a chunk: {line:?}"));
    let mut chunk = vec![0; size + 2];
    stream.read_exact(&mut chunk).unwrap();
    chunk.truncate(size);
    chunk
}

fn read_body(stream: &mut impl BufRead, message: &Message, until_close: bool) -> Vec<u8> {
    if message.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        let mut body = Vec::new();
        loop {
            let chunk = read_chunk(stream);
            if chunk.is_empty() {
                return body;
            }
            body.extend(chunk);
        }
    }
    let mut body = Vec::new();
    match message.header("content-length").map(|length| length.parse::<usize>().unwrap()) {
        Some(length) => {
            body.resize(length, 0);
            stream.read_exact(&mut body).unwrap();
        }
        None if until_close => drop(stream.read_to_end(&mut body).unwrap()),
        None => {}
    }
    body
}

/// A connection at an origin, as its script sees it.
pub struct Served {
    pub stream: BufReader<TcpStream>,
    /// Which connection it is, from 0.
    pub number: usize,
}

impl Served {
    /// The next request with its body; `None` when the gateway has closed the connection.
    pub fn request(&mut self) -> Option<Message> {
        let mut message = read_head(&mut self.stream)?;
        message.body = read_body(&mut self.stream, &message, false);
        Some(message)
    }

    pub fn write(&mut self, bytes: &str) {
        // The gateway may have closed the connection, as the test wants it to.
        let _ = self.stream.get_mut().write_all(bytes.as_bytes());
    }

    pub fn answer(&mut self, status: &str, headers: &str, body: &str) {
        self.write(&format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()));
    }
}

/// An origin on an ephemeral port.
pub struct Origin {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    pub requests: Arc<Mutex<Vec<Message>>>,
}

impl Origin {
    /// Runs `script` for every connection, each in a thread.
    pub fn scripted(script: impl Fn(&mut Served) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (script, count) = (Arc::new(script), connections.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                stream.set_read_timeout(Some(HUNG)).unwrap();
                let number = count.fetch_add(1, Ordering::SeqCst);
                let script = script.clone();
                std::thread::spawn(move || script(&mut Served { stream: BufReader::new(stream), number }));
            }
        });
        Self { address, connections, requests: Arc::default() }
    }

    /// Answers every request with 200 and `body`, and keeps what it saw.
    pub fn answering(body: &'static str) -> Self {
        let requests: Arc<Mutex<Vec<Message>>> = Arc::default();
        let seen = requests.clone();
        let origin = Self::scripted(move |served| {
            while let Some(request) = served.request() {
                seen.lock().unwrap().push(request);
                served.answer("200 OK", "", body);
            }
        });
        Self { requests, ..origin }
    }

    /// An address where nobody listens.
    pub fn nobody() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    pub fn last(&self) -> Message {
        self.requests.lock().unwrap().last().cloned().expect("the origin saw a request")
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// An answer as a client sees it.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub message: Message,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.message.header(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.message.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.message.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }
}

/// A client's connection.
pub struct Client {
    pub stream: BufReader<TcpStream>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(HUNG)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    pub fn write(&mut self, bytes: &str) {
        self.stream.get_mut().write_all(bytes.as_bytes()).unwrap();
    }

    /// Sends a request (headers as lines that end in CRLF) and reads its answer.
    pub fn request(&mut self, method: &str, target: &str, headers: &str, body: &[u8]) -> Answer {
        let host = if headers.to_ascii_lowercase().contains("host:") { "" } else { "Host: a.example\r\n" };
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        self.write(&format!("{method} {target} HTTP/1.1\r\n{host}{length}{headers}\r\n"));
        self.stream.get_mut().write_all(body).unwrap();
        self.answer(method == "HEAD")
    }

    /// Reads the head of an answer.
    pub fn head(&mut self) -> Answer {
        let message = read_head(&mut self.stream).expect("an answer");
        let status = message.first.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, message }
    }

    /// Reads an answer.
    pub fn answer(&mut self, no_body: bool) -> Answer {
        let mut answer = self.head();
        if !no_body && answer.status != 204 && answer.status != 304 {
            answer.message.body = read_body(&mut self.stream, &answer.message, true);
        }
        answer
    }

    /// Whether the gateway has closed the connection, waiting for it.
    pub fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        matches!(self.stream.read(&mut byte), Ok(0) | Err(_))
    }
}
