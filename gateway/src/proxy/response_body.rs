//! An answer's body on its way to the client, and the end of the request.
//!
//! Whatever becomes of the body (sent, cut off, never asked for), dropping it ends the request: the upstream
//! connection goes back to the pool if it is fit, the [`Log`] is dropped and so written, the client's connection counts as idle.

use super::error::ProxyError;
use super::outcome::Log;
use super::pool::{Key, Pool};
use super::upstream::Connection;
use crate::plugins::BodyFilter;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// A body for the client.
pub struct ResponseBody {
    source: Source,
    filters: Vec<Box<dyn BodyFilter>>,
    end: End,
}

#[allow(
    clippy::large_enum_variant,
    reason = "hyper keeps one body per connection in place; a box would be per request"
)]
enum Source {
    /// What is left of a body that is known.
    Whole(Option<Bytes>),
    /// A body that streams from an upstream.
    Upstream(Streaming),
}

/// A body that streams from an upstream, with the connection that it comes on.
pub(super) struct Streaming {
    pub(super) incoming: Incoming,
    /// `None` once it has gone back to the pool.
    pub(super) connection: Option<Connection>,
    pub(super) pool: Rc<Pool>,
    pub(super) key: Key,
    pub(super) read_timeout: Duration,
    pub(super) since: Instant,
}

/// What happens when the request is over.
#[derive(Default)]
pub(super) struct End {
    pub(super) log: Option<Box<Log>>,
    /// Told when the answer is over: the client's connection.
    pub(super) client: Option<Rc<dyn ClientSide>>,
    body_bytes: u64,
    complete: bool,
}

/// What a client's connection wants to know of its requests.
pub trait ClientSide {
    /// The answer is over; the connection waits for the next request, or is closed.
    fn answered(&self);
}

impl ResponseBody {
    /// A body that is known.
    pub(super) fn whole(bytes: Bytes) -> Self {
        let source = Source::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()));
        Self { source, filters: Vec::new(), end: End::default() }
    }

    /// A body that streams.
    pub(super) fn streaming(streaming: Streaming) -> Self {
        Self { source: Source::Upstream(streaming), filters: Vec::new(), end: End::default() }
    }

    /// Installs what sees the body before the client does.
    pub(super) fn filtered(mut self, filters: Vec<Box<dyn BodyFilter>>) -> Self {
        self.filters = filters;
        self
    }

    /// Says what happens at the end.
    pub(super) fn ended_by(mut self, log: Option<Box<Log>>, client: Option<Rc<dyn ClientSide>>) -> Self {
        self.end.log = log;
        self.end.client = client;
        self
    }

    fn filter(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, ProxyError> {
        let mut data = match frame.into_data() {
            Ok(data) => data,
            Err(other) => return Ok(other),
        };
        for filter in &mut self.filters {
            data = filter.data(data);
            if filter.held() > filter.buffer_bytes_max() {
                return Err(ProxyError::Interrupted("a plugin's filter holds back too much".into()));
            }
        }
        Ok(Frame::data(data))
    }

    /// What filters have left after the last piece.
    fn drain(&mut self) -> Option<Frame<Bytes>> {
        let mut data = Bytes::new();
        for mut filter in self.filters.drain(..) {
            let passed = if data.is_empty() { Bytes::new() } else { filter.data(data) };
            let rest = filter.end();
            data = if passed.is_empty() { rest } else { [passed, rest].concat().into() };
        }
        (!data.is_empty()).then(|| Frame::data(data))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = ProxyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        let this = &mut *self;
        let item = match &mut this.source {
            Source::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Source::Upstream(streaming) => streaming.poll_frame(cx),
        };
        let item = match item {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(frame))) if !this.filters.is_empty() => Some(this.filter(frame)),
            Poll::Ready(None) if !this.filters.is_empty() => this.drain().map(Ok),
            Poll::Ready(item) => item,
        };
        if let Some(Ok(frame)) = &item {
            this.end.body_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        this.end.complete = item.is_none() || this.is_end_stream();
        Poll::Ready(item)
    }

    fn is_end_stream(&self) -> bool {
        self.filters.is_empty()
            && match &self.source {
                Source::Whole(bytes) => bytes.is_none(),
                Source::Upstream(streaming) => streaming.incoming.is_end_stream(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        if !self.filters.is_empty() {
            return SizeHint::default();
        }
        match &self.source {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Source::Upstream(streaming) => streaming.incoming.size_hint(),
        }
    }
}

impl Streaming {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ProxyError>>> {
        if let Some(connection) = &mut self.connection {
            connection.drive(cx);
        }
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                if !self.incoming.is_end_stream() {
                    self.since = Instant::now();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.connection = None;
                Poll::Ready(Some(Err(ProxyError::Interrupted(error.to_string()))))
            }
            Poll::Ready(None) => {
                self.give_back();
                Poll::Ready(None)
            }
            Poll::Pending => match &mut self.connection {
                Some(connection) => connection.poll_stalled(cx, self.since, self.read_timeout).map(|error| {
                    self.connection = None;
                    Some(Err(error))
                }),
                None => Poll::Pending,
            },
        }
    }

    fn give_back(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.pool.put(self.key, connection);
        }
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        // A body of known length is dropped after its last byte, without being asked for the end.
        if self.incoming.is_end_stream() {
            self.give_back();
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let complete = self.end.complete || self.is_end_stream();
        if let Some(client) = self.end.client.take() {
            client.answered();
        }
        if let Some(log) = &mut self.end.log {
            log.outcome.body_bytes = self.end.body_bytes;
            log.outcome.complete = complete;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    /// Doubles every byte; holds back what it is told to.
    struct Doubling {
        held: usize,
        held_max: usize,
    }

    impl BodyFilter for Doubling {
        fn buffer_bytes_max(&self) -> usize {
            self.held_max
        }

        fn held(&self) -> usize {
            self.held
        }

        fn data(&mut self, piece: Bytes) -> Bytes {
            piece.iter().flat_map(|&byte| [byte, byte]).collect()
        }

        fn end(&mut self) -> Bytes {
            Bytes::from_static(b"!")
        }
    }

    struct Told(std::cell::Cell<u32>);

    impl ClientSide for Told {
        fn answered(&self) {
            self.0.set(self.0.get() + 1);
        }
    }

    fn collect(body: ResponseBody) -> Result<Bytes, ProxyError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(body.collect()).map(http_body_util::Collected::to_bytes)
    }

    fn doubling(held: usize, held_max: usize) -> Box<dyn BodyFilter> {
        Box::new(Doubling { held, held_max })
    }

    #[test]
    fn filters_see_the_body_one_after_another_and_its_end() {
        let body = ResponseBody::whole(Bytes::from_static(b"ab")).filtered(vec![doubling(0, 0), doubling(0, 0)]);
        assert_eq!(collect(body).unwrap(), "aaaabbbb!!!");
    }

    #[test]
    fn a_filter_that_holds_back_more_than_it_declared_ends_the_answer() {
        let body = ResponseBody::whole(Bytes::from_static(b"ab")).filtered(vec![doubling(2, 1)]);
        assert!(matches!(collect(body), Err(ProxyError::Interrupted(_))));
    }

    #[test]
    fn the_client_is_told_once_whether_the_body_was_read_or_not() {
        let told = Rc::new(Told(std::cell::Cell::new(0)));
        let body = || ResponseBody::whole(Bytes::from_static(b"ab")).ended_by(None, Some(told.clone()));
        drop(body());
        assert_eq!(told.0.get(), 1);
        assert_eq!(collect(body()).unwrap(), "ab");
        assert_eq!(told.0.get(), 2);
    }
}
