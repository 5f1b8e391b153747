//! A client of the Admin API: the whole configuration of one version, and the transaction that changes it.

use super::failed;
use super::plan::Plan;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use model::Kind;
use model::body::Object;
use model::kind;
use os::exit::{Exit, ExitError};
use serde_json::Value;
use std::io::Write;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long one request may take, the connection included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The most bytes of one answer: a page of a thousand entities of full size.
const ANSWER_BYTES_MAX: usize = 320 * 1024 * 1024;

/// Entities per page: the most that the Admin API gives.
const PAGE_SIZE: usize = 1000;

/// The most pages of one collection.
const PAGES_MAX: usize = 10_000;

/// How often the configuration is read again because it changed between two pages.
const READS_MAX: usize = 5;

/// An Admin API at an address.
pub(in crate::commands) struct AdminClient {
    authority: String,
    path: String,
}

/// A configuration: all of it of one version.
pub(super) struct Configuration {
    pub(super) version: u64,
    /// Parents before what refers to them.
    pub(super) entities: Vec<(Kind, Object)>,
}

/// What became of a plan.
pub(super) enum Applied {
    /// It is this version now.
    Version(u64),
    /// It was made for a configuration that is no longer current; nothing was applied.
    Outdated,
}

impl AdminClient {
    pub(in crate::commands) fn new(url: &str) -> Result<Self, ExitError> {
        let uri: Uri = url.parse().map_err(|_| ExitError::usage(format!("not a URL: {url}")))?;
        let Some(authority) = uri.authority().filter(|_| uri.scheme_str() == Some("http")) else {
            return Err(ExitError::usage(format!("expected a URL such as http://127.0.0.1:8001, not {url}")));
        };
        let path = uri.path().trim_end_matches('/').to_owned();
        Ok(Self { authority: authority.to_string(), path })
    }

    /// Everything that the control plane holds.
    pub(super) async fn configuration(&self) -> Result<Configuration, ExitError> {
        for _ in 0..READS_MAX {
            let version = self.version().await?;
            let mut entities = Vec::new();
            for def in kind::ALL {
                self.collection(def.kind, def.admin_path, &mut entities).await?;
            }
            if self.version().await? == version {
                return Ok(Configuration { version: version.1, entities });
            }
        }
        Err(ExitError::new(Exit::Unavailable, "the configuration keeps changing while it is read"))
    }

    /// Sends a plan that was made for this version.
    pub(super) async fn apply(&self, plan: &Plan, version: u64) -> Result<Applied, ExitError> {
        let (status, answer) = self.request(Method::POST, "/config/apply", Some(plan.request(version))).await?;
        match status {
            StatusCode::OK => {
                let version = answer.get("version").and_then(Value::as_u64);
                version.map(Applied::Version).ok_or_else(|| self.odd("no version in the answer"))
            }
            StatusCode::CONFLICT if answer.get("errors").is_none() => Ok(Applied::Outdated),
            _ => Err(failed(refusal(plan, &answer))),
        }
    }

    /// Epoch and version of the configuration now.
    async fn version(&self) -> Result<(Value, u64), ExitError> {
        let status = self.get("/status").await?;
        let configuration = status.get("configuration").unwrap_or(&Value::Null);
        let version = configuration.get("version").and_then(Value::as_u64);
        let version = version.ok_or_else(|| self.odd("is it a control plane of ours? Its /status has no version"))?;
        Ok((configuration.get("epoch").cloned().unwrap_or_default(), version))
    }

    async fn collection(&self, kind: Kind, path: &str, into: &mut Vec<(Kind, Object)>) -> Result<(), ExitError> {
        let mut next = format!("/{path}?size={PAGE_SIZE}");
        for _ in 0..PAGES_MAX {
            let mut page = match self.request(Method::GET, &next, None).await? {
                (StatusCode::OK, page) => page,
                // From before the kind: it has nothing of it.
                (StatusCode::NOT_FOUND, _) => return Ok(()),
                (status, answer) => return Err(self.unexpected(&next, status, &answer)),
            };
            let Some(Value::Array(data)) = page.get_mut("data").map(Value::take) else {
                return Err(self.odd(&format!("/{path} is no list")));
            };
            for entity in data {
                let Value::Object(mut entity) = entity else {
                    return Err(self.odd(&format!("/{path} is no list of entities")));
                };
                if kind == Kind::Certificate {
                    // Kong's pseudo-field: server names are entities of their own.
                    entity.shift_remove("snis");
                }
                into.push((kind, entity));
            }
            match page.get("next").and_then(Value::as_str) {
                Some(more) => next = more.to_owned(),
                None => return Ok(()),
            }
        }
        Err(self.odd(&format!("/{path} has no end")))
    }

    /// The answer to a `GET`, when it is a 200.
    pub(in crate::commands) async fn get(&self, path: &str) -> Result<Value, ExitError> {
        match self.request(Method::GET, path, None).await? {
            (StatusCode::OK, answer) => Ok(answer),
            (status, answer) => Err(self.unexpected(path, status, &answer)),
        }
    }

    fn unexpected(&self, path: &str, status: StatusCode, answer: &Value) -> ExitError {
        self.odd(&format!("{path} answers {status}: {}", message_of(answer)))
    }

    /// The answer to a `POST`, whatever it is.
    pub(in crate::commands) async fn post(&self, path: &str, body: Value) -> Result<(StatusCode, Value), ExitError> {
        self.request(Method::POST, path, Some(body)).await
    }

    async fn request(&self, method: Method, path: &str, body: Option<Value>) -> Result<(StatusCode, Value), ExitError> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let exchange = self.exchange(method, path, Bytes::from(body));
        let (status, bytes) = match timeout(REQUEST_TIMEOUT, exchange).await {
            Ok(exchanged) => exchanged.map_err(|error| self.unavailable(&error))?,
            Err(_) => return Err(self.unavailable(&format!("no answer within {} s", REQUEST_TIMEOUT.as_secs()))),
        };
        let answer =
            serde_json::from_slice(&bytes).map_err(|_| self.odd(&format!("{path} answers {status}, not in JSON")))?;
        Ok((status, answer))
    }

    /// Writes the answer to a `GET`, of at most `bytes_max` bytes, as it comes.
    pub(in crate::commands) async fn download(
        &self,
        path: &str,
        bytes_max: u64,
        out: &mut dyn Write,
    ) -> Result<(), ExitError> {
        let silent = || self.unavailable(&format!("silent for {} s", REQUEST_TIMEOUT.as_secs()));
        let sending = timeout(REQUEST_TIMEOUT, self.send(Method::GET, path, Bytes::new())).await;
        let (response, _driver) = sending.map_err(|_| silent())?.map_err(|error| self.unavailable(&error))?;
        let status = response.status();
        let mut body = Limited::new(response.into_body(), usize::try_from(bytes_max).unwrap_or(usize::MAX));
        if status != StatusCode::OK {
            let bytes = body.collect().await.map_err(|error| self.unavailable(&error.to_string()))?.to_bytes();
            let answer = serde_json::from_slice(&bytes).unwrap_or_default();
            return Err(self.odd(&format!("{path} answers {status}: {}", message_of(&answer))));
        }
        while let Some(frame) = timeout(REQUEST_TIMEOUT, body.frame()).await.map_err(|_| silent())? {
            let frame = frame.map_err(|error| self.unavailable(&format!("the answer broke off: {error}")))?;
            if let Ok(bytes) = frame.into_data() {
                out.write_all(&bytes).map_err(|error| ExitError::from_io("the file", &error))?;
            }
        }
        Ok(())
    }

    /// One request on a connection of its own.
    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), String> {
        let (response, _driver) = self.send(method, path, body).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<(Response<Incoming>, Driver), String> {
        let address = if self.authority.rsplit(']').next().is_some_and(|rest| rest.contains(':')) {
            self.authority.clone()
        } else {
            format!("{}:80", self.authority)
        };
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.path))
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let driver = Driver(tokio::spawn(connection));
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        Ok((response, driver))
    }

    fn unavailable(&self, reason: &str) -> ExitError {
        ExitError::new(Exit::Unavailable, format!("Admin API at http://{}: {reason}", self.authority))
    }

    fn odd(&self, reason: &str) -> ExitError {
        failed(format!("Admin API at http://{}: {reason}", self.authority))
    }
}

/// The task that moves a connection's bytes; it ends with the exchange.
struct Driver(JoinHandle<hyper::Result<()>>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What the control plane has against a plan, a line for each of its reasons.
fn refusal(plan: &Plan, answer: &Value) -> String {
    let mut text = format!("refused: {}", message_of(answer));
    for error in answer.get("errors").and_then(Value::as_array).into_iter().flatten() {
        let index = error.get("change").and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok());
        let step = index.and_then(|index| plan.steps.get(index));
        let name = step.map(super::changes::name).unwrap_or_default();
        text.push_str(&format!("\n{name}: {}", message_of(error.get("error").unwrap_or(error))));
    }
    text
}

fn message_of(answer: &Value) -> String {
    answer.get("message").and_then(Value::as_str).map_or_else(|| answer.to_string(), str::to_owned)
}
