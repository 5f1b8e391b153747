//! A request's body on its way to the upstream: what plugins read ahead, then what the client still sends. It streams;
//! nothing of it is kept, so it can be sent only once.

use crate::plugins::RequestBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// How far a body has come. Shared between the body, which hyper owns while it is sent, and the exchange.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Rc<State>);

#[derive(Debug, Default)]
struct State {
    pieces: Cell<u64>,
    done: Cell<bool>,
    failure: RefCell<Option<String>>,
}

impl Progress {
    /// Pieces that came so far.
    pub(super) fn pieces(&self) -> u64 {
        self.0.pieces.get()
    }

    /// Whether there are no more to come.
    pub(super) fn is_done(&self) -> bool {
        self.0.done.get()
    }

    /// What went wrong on the client's side.
    pub(super) fn failure(&self) -> Option<String> {
        self.0.failure.borrow().clone()
    }
}

/// The body of a request to an upstream.
#[derive(Debug)]
pub(super) struct UpstreamRequest {
    ahead: Option<Bytes>,
    rest: Option<Incoming>,
    progress: Progress,
}

impl UpstreamRequest {
    /// The body of a request that plugins are done with.
    pub(super) fn new(body: RequestBody) -> Self {
        let ahead = Some(body.ahead).filter(|ahead| !ahead.is_empty());
        let progress = Progress::default();
        progress.0.done.set(ahead.is_none() && body.rest.is_none());
        Self { ahead, rest: body.rest, progress }
    }

    /// No body.
    pub(super) fn empty() -> Self {
        Self::new(RequestBody::default())
    }

    /// A handle that tells how far it has come.
    pub(super) fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl Body for UpstreamRequest {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let state = self.progress.0.clone();
        let item = if let Some(ahead) = self.ahead.take() {
            Poll::Ready(Some(Ok(Frame::data(ahead))))
        } else if let Some(rest) = &mut self.rest {
            Pin::new(rest).poll_frame(cx)
        } else {
            Poll::Ready(None)
        };
        match &item {
            Poll::Ready(Some(Ok(_))) => {
                state.pieces.set(state.pieces.get() + 1);
                state.done.set(self.is_end_stream());
            }
            Poll::Ready(Some(Err(error))) => *state.failure.borrow_mut() = Some(error.to_string()),
            Poll::Ready(None) => state.done.set(true),
            Poll::Pending => {}
        }
        item
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_none() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let ahead = self.ahead.as_ref().map_or(0, |ahead| ahead.len() as u64);
        let rest = self.rest.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(ahead));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(ahead));
        }
        hint
    }
}
