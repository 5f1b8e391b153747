//! An upstream that says what it was asked: every answer is JSON with its own name and the request as it arrived.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

/// An origin server on a thread of its own; it ends with this value.
#[derive(Debug)]
pub struct Origin {
    address: SocketAddr,
    requests: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
    _stop: oneshot::Sender<()>,
}

impl Origin {
    /// Serves HTTP/1.1 in the clear on every loopback address (127.0.0.1, 127.0.0.2, …).
    #[must_use]
    pub fn start(name: &str) -> Self {
        Self::serve(name, None)
    }

    /// Serves HTTP/1.1 over TLS with a certificate that nobody has reason to trust.
    #[must_use]
    pub fn start_tls(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate");
        let der = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring speaks TLS")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], der.into())
            .expect("the key fits");
        Self::serve(name, Some(TlsAcceptor::from(Arc::new(config))))
    }

    fn serve(name: &str, tls: Option<TlsAcceptor>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (tell, told) = std::sync::mpsc::channel();
        let requests = Arc::new(AtomicU64::new(0));
        let connections = Arc::new(AtomicU64::new(0));
        let (name, counter, accepted) = (name.to_owned(), requests.clone(), connections.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async move {
                let listener = TcpListener::bind("0.0.0.0:0").await.expect("a free port");
                let port = listener.local_addr().expect("bound").port();
                tell.send(SocketAddr::from(([127, 0, 0, 1], port))).expect("the starter waits");
                tokio::select! { () = accept(listener, tls, name, counter, accepted) => {}, _ = stopped => {} }
            });
        });
        Self { address: told.recv().expect("it starts"), requests, connections, _stop: stop }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has taken.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many requests it has answered.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    name: String,
    counter: Arc<AtomicU64>,
    accepted: Arc<AtomicU64>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        accepted.fetch_add(1, Ordering::SeqCst);
        let (tls, name, counter) = (tls.clone(), name.clone(), counter.clone());
        let _ = stream.set_nodelay(true);
        let service = service_fn(move |request| answer(request, name.clone(), counter.clone()));
        tokio::task::spawn_local(async move {
            let server = hyper::server::conn::http1::Builder::new();
            match tls {
                None => drop(server.serve_connection(TokioIo::new(stream), service).await),
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        drop(server.serve_connection(TokioIo::new(stream), service).await);
                    }
                }
            }
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    name: String,
    counter: Arc<AtomicU64>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let length = body.collect().await.map_or(0, |body| body.to_bytes().len());
    counter.fetch_add(1, Ordering::SeqCst);
    let headers: serde_json::Map<_, _> = head
        .headers
        .iter()
        .map(|(field, value)| (field.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect();
    let uri = head.uri.path_and_query().map_or("", |path| path.as_str());
    let seen =
        json!({ "origin": name, "method": head.method.as_str(), "uri": uri, "headers": headers, "body_bytes": length });
    let mut response = Response::new(Full::from(seen.to_string()));
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static("application/json"));
    Ok(response)
}
