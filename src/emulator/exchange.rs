//! A call from its head to its answer, and the four calls that are short.
//!
//! Every call goes the same way: a line in the log, the key, a fault's first chance, the effect, a fault's second
//! chance, the answer. A refused upload is still read to its end, since an answer to a client that is writing would
//! be lost in the connection's reset.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_RANGE, DATE, HeaderMap, HeaderValue, IF_RANGE,
    RANGE,
};
use axum::http::{StatusCode, Uri, request};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde_json::json;

use super::answer::Answer;
use super::catalogue::Stored;
use super::content;
use super::dialect::{self, Spoken, Wish};
use super::faults::{Fault, FaultAction, FaultMoment, Target};
use super::guard::date;
use super::history::Tick;
use super::http::{Hangup, RequestId, Service, internal};
use super::log::{LoggedCall, Trace};
use super::objects::{Ends, FileList, FileObject};
use super::rules::{self, Refusal, Wanted};
use super::shape::{self, WireCutter};
use super::upload;

/// The way of every call.
pub(super) async fn call(
    service: Arc<Service>,
    call: LoggedCall,
    id: Option<String>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let spoken = Spoken::of(&parts.headers);
    let mut exchange = Exchange {
        trace: service
            .log
            .begin(parts.method.as_str(), call, id.clone(), spoken.dialect),
        request_id: parts
            .extensions
            .get::<RequestId>()
            .map_or_else(|| service.next_request_id(), |id| id.0.clone()),
        wire: parts
            .extensions
            .get::<WireCutter>()
            .cloned()
            .unwrap_or_default(),
        asked: service.workspace.tick(),
        spoken,
        service,
        call,
        fault: None,
    };
    let mut body = RequestBody {
        body,
        is_lost: false,
        left: exchange.cut_in_request(),
    };
    let outcome = exchange.run(id.as_deref(), &parts, &mut body).await;
    // To its end, see above.
    while let Some(Ok(_)) = body.next(&exchange.trace).await {}
    exchange.answer(outcome, body.is_lost).await
}

/// How a call ends other than by its own answer.
pub(super) enum End {
    /// The service refuses.
    Refused(Refusal),
    /// A fault answers in its place.
    Answered(Answer),
    /// Nobody answers.
    Hangup,
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// A request's body, counted.
pub(super) struct RequestBody {
    body: Body,
    is_lost: bool,
    /// How many bytes a fault lets through.
    left: Option<u64>,
}

impl RequestBody {
    /// The next piece; `None` at the end, `Some(Err)` when the client has gone before it.
    pub(super) async fn next(&mut self, trace: &Trace) -> Option<Result<Bytes, End>> {
        while !self.is_lost && (self.left == Some(0) || !self.body.is_end_stream()) {
            let frame = match self.left {
                Some(0) => None,
                _ => self.body.frame().await?.ok(),
            };
            let Some(frame) = frame else {
                self.is_lost = true;
                return Some(Err(End::Hangup));
            };
            if let Ok(mut data) = frame.into_data() {
                if let Some(left) = &mut self.left {
                    data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= data.len() as u64;
                }
                trace.received(data.len());
                return Some(Ok(data));
            }
        }
        None
    }
}

/// One call while it runs.
pub(super) struct Exchange {
    pub(super) service: Arc<Service>,
    pub(super) trace: Trace,
    pub(super) request_id: String,
    /// When it arrived.
    pub(super) asked: Tick,
    /// How it wants to be answered.
    pub(super) spoken: Spoken,
    call: LoggedCall,
    fault: Option<Fault>,
    wire: WireCutter,
}

impl Exchange {
    async fn run(
        &mut self,
        id: Option<&str>,
        parts: &request::Parts,
        body: &mut RequestBody,
    ) -> Result<Answer, End> {
        let config = &self.service.config;
        rules::admit(&parts.headers, &config.keys, &config.switches)?;
        if let Some(rate) = &self.service.rate {
            rate.take(Instant::now()).map_err(Refusal::rate_limited)?;
        }
        let (LoggedCall::Metadata | LoggedCall::Content | LoggedCall::Delete, Some(id)) =
            (self.call, id)
        else {
            if self.call == LoggedCall::Upload {
                return upload::receive(self, &parts.headers, body).await;
            }
            self.meet_fault(None, None).await?;
            return Ok(self.list(&parts.uri)?);
        };
        let file = self.service.workspace.get(id);
        let name = file.as_ref().map(|file| file.filename.as_str());
        if let Some(name) = name {
            self.trace.name(name);
        }
        self.meet_fault(Some(id), name).await?;
        // Looked up again: what a fault held may be gone by now.
        let file = self
            .service
            .workspace
            .get(id)
            .ok_or_else(|| Refusal::no_such_file(id, &self.service.config.switches))?;
        Ok(match self.call {
            LoggedCall::Content => self.content(file, &parts.headers).await?,
            LoggedCall::Delete => self.delete(&file).await?,
            LoggedCall::Metadata | LoggedCall::Upload | LoggedCall::List => {
                Answer::json(StatusCode::OK, &self.object(&file))
            }
        })
    }

    /// Looks for a fault for this call, and lets it strike if it strikes before the effect.
    pub(super) async fn meet_fault(
        &mut self,
        id: Option<&str>,
        name: Option<&str>,
    ) -> Result<(), End> {
        let target = Target::Call {
            call: self.call,
            id,
            name,
        };
        self.fault = self.service.faults.strike(target);
        match &mut self.fault {
            Some(fault) if fault.when == FaultMoment::BeforeEffect => {
                strike(fault, &self.request_id, &self.wire).await
            }
            _ => Ok(()),
        }
    }

    /// How many bytes of the request's body a fault lets through.
    fn cut_in_request(&self) -> Option<u64> {
        let fault = self.service.faults.strike(Target::Request(self.call))?;
        fault.action.parts().iter().find_map(|part| match part {
            FaultAction::CutRequestAfterBytes(bytes) => Some(*bytes),
            _ => None,
        })
    }

    /// What this call's fault has in store for its effect, if anything.
    pub(super) fn ordered<T>(&self, part: impl Fn(&FaultAction) -> Option<T>) -> Option<T> {
        self.fault.as_ref()?.action.parts().iter().find_map(part)
    }

    async fn answer(mut self, outcome: Result<Answer, End>, is_lost: bool) -> Response {
        let mut answer = match outcome {
            Ok(answer) | Err(End::Answered(answer)) => answer,
            Err(End::Refused(refusal)) => Answer::refusal(&refusal, &self.request_id),
            Err(End::Hangup) => return hangup(),
        };
        if is_lost {
            return hangup();
        }
        let skew_us = self.ordered(FaultAction::skewed_clock_us);
        if let Some(mut fault) = self.fault.take() {
            if fault.when == FaultMoment::AfterEffect {
                match strike(&mut fault, &self.request_id, &self.wire).await {
                    Ok(()) => {}
                    Err(End::Answered(other)) => answer = other,
                    Err(End::Refused(_) | End::Hangup) => return hangup(),
                }
            }
            answer = shape::shaped(answer, &fault, &self.wire).await;
        }
        self.say_what_is_left(&mut answer.headers);
        if let Some(skew_us) = skew_us
            && let Some(date) = date(self.service.workspace.now_us() + skew_us)
        {
            answer.headers.entry(DATE).or_insert(date);
        }
        answer.into_response(self.trace)
    }

    fn say_what_is_left(&self, headers: &mut HeaderMap) {
        let config = &self.service.config;
        let (Some(rate), Some(limit)) = (&self.service.rate, config.rate) else {
            return;
        };
        if config.switches.rate_limits_said {
            let (left, full_in) = rate.left(Instant::now());
            let full_at = Timestamp::now()
                .checked_add(full_in)
                .unwrap_or(Timestamp::MAX);
            for (what, value) in [
                ("limit", limit.to_string()),
                ("remaining", left.to_string()),
                ("reset", format!("{full_at:.0}")),
            ] {
                let name = format!("anthropic-ratelimit-requests-{what}");
                if let Ok(name) = name.parse() {
                    set(headers, name, &value);
                }
            }
        }
    }

    fn list(&self, uri: &Uri) -> Result<Answer, Refusal> {
        let switches = &self.service.config.switches;
        let workspace = &self.service.workspace;
        let mint = workspace.mint();
        let age = self.ordered(FaultAction::stale_listing).unwrap_or_default();
        let page = match dialect::wish(uri, self.spoken, mint, switches)? {
            Wish::Page(query) => workspace
                .page(&query, switches.unknown_cursor, age)
                .ok_or_else(|| dialect::unknown_cursor(&query))?,
            Wish::Ids(ids) => workspace.these(&ids, age),
        };
        let data: Vec<_> = page.files.iter().map(|file| self.object(file)).collect();
        let goes_on = page.goes_down && page.has_more;
        let next = page.files.last().filter(|_| goes_on);
        let answer = FileList {
            ends: self.spoken.tells_ids().then(|| Ends {
                has_more: page.has_more,
                first_id: data.first().map(|file| file.id),
                last_id: data.last().map(|file| file.id),
            }),
            next_page: self
                .spoken
                .tells_next()
                .then(|| next.map(|file| mint.page_token(file.place))),
            data,
        };
        Ok(Answer::json(StatusCode::OK, &answer))
    }

    async fn delete(&self, file: &Stored) -> Result<Answer, Refusal> {
        let (id, asked) = (file.id.clone(), self.asked);
        let removed = self
            .service
            .change(move |workspace| workspace.remove(&id, Some(asked)))
            .await?;
        match removed {
            Ok(Some(file)) => Ok(Answer::json(
                StatusCode::OK,
                &json!({"id": file.id, "type": "file_deleted"}),
            )),
            Ok(None) => Err(Refusal::no_such_file(
                &file.id,
                &self.service.config.switches,
            )),
            Err(error) => Err(internal(&error)),
        }
    }

    async fn content(&self, file: Arc<Stored>, headers: &HeaderMap) -> Result<Answer, Refusal> {
        if !self.is_downloadable(&file) {
            return Err(Refusal::not_downloadable());
        }
        if file.is_expired(self.service.workspace.now_us()) {
            return Err(Refusal::expired(&file.id));
        }
        let switches = &self.service.config.switches;
        // Without a validator of ours an `If-Range` can't match (RFC 9110, 13.1.5).
        let range = headers
            .get(RANGE)
            .filter(|_| switches.ranges && !headers.contains_key(IF_RANGE))
            .and_then(|range| range.to_str().ok());
        let wanted = rules::wanted(range, file.size);
        let (status, offset, length) = match wanted {
            Wanted::Whole => (StatusCode::OK, 0, file.size),
            Wanted::Part { offset, length } => (StatusCode::PARTIAL_CONTENT, offset, length),
            Wanted::Nothing => {
                let refusal = Refusal::with(416, "Range not satisfiable");
                let mut answer = Answer::refusal(&refusal, &self.request_id);
                set(
                    &mut answer.headers,
                    CONTENT_RANGE,
                    &format!("bytes */{}", file.size),
                );
                return Ok(answer);
            }
        };
        let size = file.size;
        let mut answer = send(&self.service, file, status, offset, length).await?;
        answer.length_sent = switches.content_length_sent;
        if switches.ranges {
            answer
                .headers
                .insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        }
        if status == StatusCode::PARTIAL_CONTENT {
            let last = offset + length - 1;
            set(
                &mut answer.headers,
                CONTENT_RANGE,
                &format!("bytes {offset}-{last}/{size}"),
            );
        }
        Ok(answer)
    }

    /// A file as this request wants it described.
    pub(super) fn object<'a>(&self, file: &'a Stored) -> FileObject<'a> {
        FileObject::of(file, self.is_downloadable(file), self.spoken.dialect)
    }

    fn is_downloadable(&self, file: &Stored) -> bool {
        file.downloadable || self.service.config.switches.uploads_downloadable
    }
}

/// Sends a part of a file.
pub(super) async fn send(
    service: &Arc<Service>,
    file: Arc<Stored>,
    status: StatusCode,
    offset: u64,
    length: u64,
) -> Result<Answer, Refusal> {
    let switches = &service.config.switches;
    let content_type = switches
        .content_type_of_file
        .then(|| HeaderValue::from_str(&file.mime_type).ok())
        .flatten()
        .unwrap_or(HeaderValue::from_static("application/octet-stream"));
    let disposition = switches.content_disposition_sent.then(|| {
        format!(
            "attachment; filename=\"{}\"",
            file.filename.replace(['"', '\\'], "_")
        )
    });
    let mut answer = if let content::Content::Memory(bytes) = &file.content {
        let start = offset as usize;
        let bytes = bytes.slice(start..start + length as usize);
        Answer::new(status, content_type, bytes)
    } else if length <= content::CHUNK as u64 {
        let read = service.blocking(move |service| {
            let mut reader = service.workspace.open(&file, offset, length)?;
            content::next_piece(&mut reader, length)
        });
        Answer::new(
            status,
            content_type,
            read.await?.map_err(|error| internal(&error))?,
        )
    } else {
        let open = service.blocking(move |service| service.workspace.open(&file, offset, length));
        let reader = open.await?.map_err(|error| internal(&error))?;
        Answer::streamed(
            status,
            content_type,
            content::stream(reader, length),
            length,
        )
    };
    if let Some(disposition) = disposition {
        set(&mut answer.headers, CONTENT_DISPOSITION, &disposition);
    }
    Ok(answer)
}

/// Sets a header; text that HTTP can't carry is left out.
fn set(headers: &mut HeaderMap, name: axum::http::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.insert(name, value);
    }
}

/// Carries out what a fault does to the call itself; what it does to the answer comes later.
async fn strike(fault: &mut Fault, request_id: &str, wire: &WireCutter) -> Result<(), End> {
    let Fault { action, hold, .. } = fault;
    for part in action.parts() {
        match part {
            FaultAction::Stall => hold.released().await,
            FaultAction::DelayMs(millis) => {
                tokio::time::sleep(Duration::from_millis(*millis)).await;
            }
            FaultAction::Status(answer) => {
                return Err(End::Answered(Answer::of_fault(answer, request_id)));
            }
            FaultAction::DropAnswer => return Err(End::Hangup),
            FaultAction::ResetAnswer => {
                wire.reset();
                return Err(End::Hangup);
            }
            FaultAction::StallAfterBytes(_)
            | FaultAction::SlowBytesPerSecond(_)
            | FaultAction::CutAfterBytes(_)
            | FaultAction::ResetAfterBytes(_)
            | FaultAction::CutRequestAfterBytes(_)
            | FaultAction::SaysLength(_)
            | FaultAction::CorruptByte(_)
            | FaultAction::DropField(_)
            | FaultAction::StaleListing(_)
            | FaultAction::QuotaFull
            | FaultAction::SkewedClock(_)
            | FaultAction::SetFields(_)
            | FaultAction::Refuse
            | FaultAction::All(_) => {}
        }
    }
    Ok(())
}

fn hangup() -> Response {
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(Hangup);
    response
}
