//! Answers: what a call gives back, before and while it goes out.
//!
//! Every answer's length is known. Its body counts what leaves into the request log.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use hyper::body::{Frame, SizeHint};
use serde::Serialize;

use super::content::Chunks;
use super::faults::FaultAnswer;
use super::log::Trace;
use super::rules::Refusal;

/// What goes back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Chunks,
    pub(super) length: u64,
    /// Whether the length is said in advance; else the body goes out in chunks.
    pub(super) length_sent: bool,
    /// A length that is said in its place.
    pub(super) said_length: Option<u64>,
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
            said_length: None,
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

    /// Ready to go, with its request's line in the log.
    pub(super) fn into_response(mut self, trace: Trace) -> Response {
        trace.answered(self.status.as_u16());
        if let Some(said) = self.said_length {
            // hyper believes the header where the body does not say a length of its own.
            self.length_sent = false;
            self.headers.insert(CONTENT_LENGTH, said.into());
        }
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
