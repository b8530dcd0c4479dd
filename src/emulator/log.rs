//! The request log: one line for every API call since the last reset, also while it runs. What a test asserts when it
//! counts requests.
//!
//! A request is *ended* when its last byte was handed to the connection or the client has gone; so whoever has read an
//! answer whole finds its request ended.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use super::dialect::Dialect;
use super::workspace::lock;

/// Older lines are dropped beyond this many: a demonstration may run for months.
const MOST: usize = 1_000_000;

/// Which of the five calls a request was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoggedCall {
    /// `POST /v1/files`
    Upload,
    /// `GET /v1/files`
    List,
    /// `GET /v1/files/{id}`
    Metadata,
    /// `GET /v1/files/{id}/content`
    Content,
    /// `DELETE /v1/files/{id}`
    Delete,
}

/// One API call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedRequest {
    /// The HTTP method.
    pub method: String,
    /// Which call it was.
    pub call: LoggedCall,
    /// Which dialect its headers asked for.
    pub dialect: Dialect,
    /// The id in its path, or the one an upload was given.
    pub id: Option<String>,
    /// The name of an upload, or of the file with this id.
    pub filename: Option<String>,
    /// The status of the answer; `None` while there is none, and for ever when the answer was dropped.
    pub status: Option<u16>,
    /// Bytes of the request's body so far.
    pub bytes_in: u64,
    /// Bytes of the answer's body so far.
    pub bytes_out: u64,
    /// When its head had been read.
    #[serde(serialize_with = "micros")]
    pub started: Timestamp,
    /// When it was over; `None` while it runs.
    #[serde(serialize_with = "micros_or_null")]
    pub ended: Option<Timestamp>,
}

fn micros<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.6}"))
}

#[expect(clippy::ref_option, reason = "serde calls it so")]
fn micros_or_null<S: Serializer>(
    time: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => micros(time, serializer),
        None => serializer.serialize_none(),
    }
}

/// All lines, oldest first.
#[derive(Debug, Default)]
pub(super) struct RequestLog {
    lines: Mutex<VecDeque<Arc<Mutex<LoggedRequest>>>>,
}

impl RequestLog {
    /// Writes a new line; the trace fills it in.
    pub(super) fn begin(
        &self,
        method: &str,
        call: LoggedCall,
        id: Option<String>,
        dialect: Dialect,
    ) -> Trace {
        let line = Arc::new(Mutex::new(LoggedRequest {
            method: method.to_owned(),
            call,
            dialect,
            id,
            filename: None,
            status: None,
            bytes_in: 0,
            bytes_out: 0,
            started: Timestamp::now(),
            ended: None,
        }));
        let mut lines = lock(&self.lines);
        if lines.len() == MOST {
            lines.pop_front();
        }
        lines.push_back(Arc::clone(&line));
        Trace { line }
    }

    pub(super) fn requests(&self) -> Vec<LoggedRequest> {
        let lines: Vec<_> = lock(&self.lines).iter().cloned().collect();
        lines.iter().map(|line| lock(line).clone()).collect()
    }

    /// Forgets everything, running requests too: they began before the reset.
    pub(super) fn reset(&self) {
        lock(&self.lines).clear();
    }
}

/// The line of one running request. Dropped, the request is over.
#[derive(Debug)]
pub(super) struct Trace {
    line: Arc<Mutex<LoggedRequest>>,
}

impl Trace {
    pub(super) fn received(&self, bytes: usize) {
        lock(&self.line).bytes_in += bytes as u64;
    }

    pub(super) fn sent(&self, bytes: usize) {
        lock(&self.line).bytes_out += bytes as u64;
    }

    pub(super) fn name(&self, filename: &str) {
        lock(&self.line).filename = Some(filename.to_owned());
    }

    pub(super) fn id(&self, id: &str) {
        lock(&self.line).id = Some(id.to_owned());
    }

    pub(super) fn answered(&self, status: u16) {
        lock(&self.line).status = Some(status);
    }

    pub(super) fn end(&self) {
        lock(&self.line).ended.get_or_insert_with(Timestamp::now);
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.end();
    }
}
