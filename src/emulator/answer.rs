//! Answers: what a call gives back, before and while it goes out.
//!
//! Every answer's length is known. Its body counts what leaves into the request log, and takes the shape a fault asks
//! for: slow, held or cut.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use hyper::body::{Frame, SizeHint};
use serde::Serialize;

use super::content::Chunks;
use super::faults::{FaultAction, FaultAnswer, Hold};
use super::log::Trace;
use super::rules::Refusal;

/// What goes back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Chunks,
    length: u64,
    /// Whether the length is said in advance; else the body goes out in chunks.
    pub(super) length_sent: bool,
}

impl Answer {
    pub(super) fn new(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Self {
        let length = body.len() as u64;
        Self::streamed(
            status,
            content_type,
            Box::pin(stream::iter([Ok(body)])),
            length,
        )
    }

    pub(super) fn streamed(
        status: StatusCode,
        content_type: HeaderValue,
        body: Chunks,
        length: u64,
    ) -> Self {
        Self {
            status,
            headers: HeaderMap::from_iter([(CONTENT_TYPE, content_type)]),
            body,
            length,
            length_sent: true,
        }
    }

    pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::new(
                status,
                HeaderValue::from_static("application/json"),
                body.into(),
            ),
            // What we send are plain structs with string keys, which always serialise.
            Err(error) => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                HeaderValue::from_static("text/plain"),
                error.to_string().into(),
            ),
        }
    }

    pub(super) fn refusal(refusal: &Refusal, request_id: &str) -> Self {
        let status =
            StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = Self::json(status, &refusal.body(request_id));
        if let Some(seconds) = refusal.retry_after {
            answer.headers.insert(RETRY_AFTER, seconds.into());
        }
        answer
    }

    /// The answer a fault has in store.
    pub(super) fn of_fault(fault: &FaultAnswer, request_id: &str) -> Self {
        let mut answer = match &fault.body {
            None => Self::refusal(&Refusal::of_status(fault.status), request_id),
            Some(serde_json::Value::String(text)) => Self::new(
                StatusCode::OK,
                HeaderValue::from_static("application/json"),
                text.clone().into(),
            ),
            Some(value) => Self::json(StatusCode::OK, value),
        };
        answer.status =
            StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in &fault.headers {
            if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
                answer.headers.insert(name, value);
            }
        }
        answer
    }

    /// Gives the body the shape a fault asks for.
    pub(super) fn shaped(self, action: &FaultAction, hold: &Hold, wire: &WireCutter) -> Self {
        let body = match *action {
            FaultAction::SlowBytesPerSecond(rate) => slow(self.body, rate),
            FaultAction::CutAfterBytes(bytes) if bytes < self.length => {
                let wire = wire.clone();
                split(self.body, bytes, Box::pin(async move { wire.cut().await }))
            }
            FaultAction::StallAfterBytes(bytes) => {
                let mut hold = hold.clone();
                split(
                    self.body,
                    bytes,
                    Box::pin(async move { hold.released().await }),
                )
            }
            _ => self.body,
        };
        Self { body, ..self }
    }

    /// Ready to go, with its request's line in the log.
    pub(super) fn into_response(self, trace: Trace) -> Response {
        trace.answered(self.status.as_u16());
        let mut response = Response::new(Body::new(LoggedBody {
            chunks: self.body,
            left: self.length,
            length_sent: self.length_sent,
            trace,
        }));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// A body that is counted while it leaves.
struct LoggedBody {
    chunks: Chunks,
    left: u64,
    length_sent: bool,
    trace: Trace,
}

impl HttpBody for LoggedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let chunk = match self.chunks.as_mut().poll_next(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(chunk))) => chunk,
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
            Poll::Ready(None) => {
                return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
            }
        };
        self.trace.sent(chunk.len());
        self.left = self.left.saturating_sub(chunk.len() as u64);
        if self.left == 0 {
            // Before the client has the last byte: whoever has read it finds the request ended.
            self.trace.end();
        }
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        if self.length_sent {
            SizeHint::with_exact(self.left)
        } else {
            SizeHint::default()
        }
    }
}

/// Cuts a connection from the inside, once what was written to it has left.
#[derive(Debug, Clone, Default)]
pub(super) struct WireCutter(Arc<AtomicBool>);

impl WireCutter {
    pub(super) fn is_due(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Never returns: waiting here makes the connection flush, and having flushed it finds that it is to end.
    async fn cut(self) {
        self.0.store(true, Ordering::Release);
        std::future::pending::<()>().await;
    }
}

type Pause = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Passes so many bytes, waits for `pause`, and passes the rest.
fn split(chunks: Chunks, bytes: u64, pause: Pause) -> Chunks {
    struct Split {
        chunks: Chunks,
        left: u64,
        rest: Option<Bytes>,
        pause: Option<Pause>,
    }
    let state = Split {
        chunks,
        left: bytes,
        rest: None,
        pause: Some(pause),
    };
    Box::pin(stream::unfold(state, |mut state| async move {
        if state.left == 0
            && let Some(pause) = state.pause.take()
        {
            pause.await;
        }
        let chunk = match state.rest.take() {
            Some(rest) => Ok(rest),
            None => state.chunks.next().await?,
        };
        let chunk = chunk.map(|mut chunk| {
            if state.pause.is_some() {
                let now = (chunk.len() as u64).min(state.left) as usize;
                state.rest = Some(chunk.split_off(now)).filter(|rest| !rest.is_empty());
                state.left -= now as u64;
            }
            chunk
        });
        Some((chunk, state))
    }))
}

/// Passes a body at this speed, in up to twenty steps a second.
fn slow(chunks: Chunks, bytes_per_second: u64) -> Chunks {
    let step = (bytes_per_second / 20).max(1);
    let wait = Duration::from_micros(1_000_000 / (bytes_per_second / step));
    Box::pin(stream::unfold(
        (chunks, Bytes::new()),
        move |(mut chunks, mut rest)| async move {
            if rest.is_empty() {
                match chunks.next().await? {
                    Ok(chunk) => rest = chunk,
                    Err(error) => return Some((Err(error), (chunks, rest))),
                }
            }
            tokio::time::sleep(wait).await;
            let now = rest.split_to((step as usize).min(rest.len()));
            Some((Ok(now), (chunks, rest)))
        },
    ))
}
