//! Reading answers: their head, their bounded bodies, and the failures in between.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io::{self, Read};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{self, HeaderMap, HeaderName};
use serde::Deserialize;

use super::super::budget::RateLimits;
use super::super::classify::{Refusal, classify};
use super::super::retry::{http_date, retry_after};
use super::dialect::Page;
use super::{ApiError, Call, ErrorKind, FileId, FileMetadata, FilePage};

/// The longest listing that is read: 1000 files of 16 KB each, fifty times what is usual.
pub(super) const MAX_LIST: usize = 16 << 20;

/// The longest answer about one file that is read.
pub(super) const MAX_OBJECT: usize = 256 << 10;

/// How much of a refusal's body is read.
pub(super) const MAX_ERROR: usize = 64 << 10;

/// How much of the service's message is kept; it goes into log lines.
const MAX_MESSAGE: usize = 500;

/// What an answer says before its body.
#[derive(Debug)]
pub(super) struct Head {
    status: StatusCode,
    request_id: Option<String>,
    retry_after: Option<Duration>,
    should_retry: Option<bool>,
    limits: Option<RateLimits>,
    date: Option<Timestamp>,
    content_type: String,
    encoding: String,
    location: Option<String>,
}

/// `{"error": {"type", "message", "details": {"error_code"}}, "request_id"}`; each of them may be missing.
#[derive(Deserialize, Default)]
#[serde(default)]
struct ErrorAnswer {
    error: ErrorBody,
    request_id: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ErrorBody {
    r#type: String,
    message: String,
    details: Option<ErrorDetails>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ErrorDetails {
    error_code: Option<String>,
}

/// The answer to a delete; both fields are optional in the API's schema.
#[derive(Deserialize)]
struct Deleted {
    id: Option<FileId>,
}

impl Head {
    pub(super) fn of(status: StatusCode, headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| headers.get(name)?.to_str().ok();
        let date = text(header::DATE).and_then(http_date);
        let milliseconds = text(HeaderName::from_static("retry-after-ms"));
        let now = date.unwrap_or_else(Timestamp::now);
        Self {
            status,
            request_id: text(HeaderName::from_static("request-id")).map(tidy),
            retry_after: retry_after(milliseconds, text(header::RETRY_AFTER), now),
            should_retry: text(HeaderName::from_static("x-should-retry")).and_then(truth),
            limits: limits(headers, now),
            date,
            content_type: text(header::CONTENT_TYPE).map(tidy).unwrap_or_default(),
            encoding: text(header::CONTENT_ENCODING).map(tidy).unwrap_or_default(),
            location: text(header::LOCATION).map(tidy),
        }
    }

    pub(super) fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// What it says of how many requests are left.
    pub(super) fn limits(&self) -> Option<RateLimits> {
        self.limits
    }

    /// The service's name for this answer.
    pub(super) fn request_id(&self) -> Option<String> {
        self.request_id.clone()
    }

    /// The status as a number.
    pub(super) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// Packed bytes were not asked for and would be taken for the file's own.
    pub(super) fn check_encoding(&self, call: Call) -> Result<(), ApiError> {
        match self.encoding.as_str() {
            "" | "identity" => Ok(()),
            packed => Err(self.nonsense(call, format!("the answer is packed with {packed}"))),
        }
    }

    /// An answer that makes no sense.
    pub(super) fn nonsense(&self, call: Call, message: impl Into<String>) -> ApiError {
        self.error(call, ErrorKind::Nonsense, message)
    }

    /// An answer whose body broke off.
    pub(super) fn cut(&self, call: Call, error: &io::Error, no_progress: Duration) -> ApiError {
        self.error(call, ErrorKind::Interrupted, io_message(error, no_progress))
    }

    pub(super) fn error(
        &self,
        call: Call,
        kind: ErrorKind,
        message: impl Into<String>,
    ) -> ApiError {
        ApiError {
            status: Some(self.status.as_u16()),
            request_id: self.request_id.clone(),
            ..ApiError::local(call, kind, message)
        }
    }

    /// What a body with another status than success means.
    pub(super) fn refusal(&self, call: Call, body: &[u8]) -> ApiError {
        let answer: Option<ErrorAnswer> = serde_json::from_slice(body).ok();
        let answer = answer.unwrap_or_default();
        let code = answer.error.details.and_then(|details| details.error_code);
        let refusal = Refusal {
            status: self.status.as_u16(),
            error_type: &answer.error.r#type,
            error_code: code.as_deref().unwrap_or_default(),
            message: &answer.error.message,
        };
        let message = if answer.error.message.is_empty() {
            self.in_own_words()
        } else {
            tidy(&answer.error.message)
        };
        let request_id = self.request_id();
        ApiError {
            retry_after: self.retry_after,
            should_retry: self.should_retry,
            request_id: request_id.or_else(|| answer.request_id.as_deref().map(tidy)),
            ..self.error(call, classify(call, refusal), message)
        }
    }

    /// A sentence for an answer that brings none.
    fn in_own_words(&self) -> String {
        let reason = self.status.canonical_reason().unwrap_or("unknown status");
        let mut text = format!("the server answered \"{reason}\"");
        if !self.content_type.is_empty() {
            let _ = write!(text, " as {}", self.content_type);
        }
        if let Some(location) = &self.location {
            let _ = write!(
                text,
                " and sends us to {location}; not followed, the key would go there too"
            );
        }
        text
    }

    /// A file's metadata.
    pub(super) fn file(&self, call: Call, body: &[u8]) -> Result<FileMetadata, ApiError> {
        self.json(call, body)
    }

    /// A page of a listing.
    pub(super) fn page(&self, body: &[u8]) -> Result<FilePage, ApiError> {
        let page: Page = self.json(Call::List, body)?;
        let next = page.next().map_err(|why| self.nonsense(Call::List, why))?;
        Ok(FilePage {
            files: page.data.0,
            next,
            date: self.date,
        })
    }

    /// Whether this is the answer to a delete that was done.
    pub(super) fn deleted(&self, id: &FileId, body: &[u8]) -> Result<(), ApiError> {
        if self.status == StatusCode::NO_CONTENT {
            return Ok(());
        }
        let deleted: Deleted = self.json(Call::Delete, body)?;
        match deleted.id {
            Some(other) if other != *id => {
                Err(self.nonsense(Call::Delete, "the answer is about another file"))
            }
            _ => Ok(()),
        }
    }

    fn json<'a, T: Deserialize<'a>>(&self, call: Call, body: &'a [u8]) -> Result<T, ApiError> {
        serde_json::from_slice(body).map_err(|error| {
            let kind = match self.content_type.as_str() {
                "" => "of no type",
                content_type => content_type,
            };
            let message = format!("the answer ({kind}) can't be understood: {error}");
            self.nonsense(call, tidy(&message))
        })
    }
}

/// `true` or `false`, as `x-should-retry` has it.
fn truth(text: &str) -> Option<bool> {
    match text.trim() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// What an answer says of limits, where it says all of it. Documented for the Messages API; whether answers about files
/// have these headers is unknown. `now` is the service's.
fn limits(headers: &HeaderMap, now: Timestamp) -> Option<RateLimits> {
    let text = |name: &'static str| headers.get(name)?.to_str().ok();
    let number = |name| text(name)?.trim().parse().ok();
    let resets_at: Timestamp = text("anthropic-ratelimit-requests-reset")?
        .trim()
        .parse()
        .ok()?;
    let resets_in = resets_at.duration_since(now).as_secs_f64().max(0.0);
    Some(RateLimits {
        limit: number("anthropic-ratelimit-requests-limit")?,
        remaining: number("anthropic-ratelimit-requests-remaining")?,
        resets_in: Duration::from_secs_f64(resets_in),
    })
}

/// Reads to the end or to the limit; `false` when there is more than that.
pub(super) fn read_up_to(
    reader: &mut impl Read,
    limit: usize,
    body: &mut Vec<u8>,
) -> io::Result<bool> {
    reader.take(limit as u64 + 1).read_to_end(body)?;
    Ok(body.len() <= limit)
}

/// A call that ended without an answer.
pub(super) fn broken(call: Call, error: &reqwest::Error, no_progress: Duration) -> ApiError {
    if error.is_connect() {
        return ApiError::local(call, ErrorKind::Unreachable, chain(error));
    }
    if error.is_timeout() {
        return stalled(call, no_progress);
    }
    let kind = if is_no_http(error) {
        ErrorKind::Nonsense
    } else {
        ErrorKind::Interrupted
    };
    ApiError::local(call, kind, chain(error))
}

/// What broke a body off, as reqwest wraps it into an `io::Error`.
pub(super) fn io_message(error: &io::Error, no_progress: Duration) -> String {
    match error.get_ref().and_then(|e| e.downcast_ref()) {
        Some(error) => broken(Call::Download, error, no_progress).message,
        None => tidy(&error.to_string()),
    }
}

/// A call that made no progress.
pub(super) fn stalled(call: Call, no_progress: Duration) -> ApiError {
    let message = format!("nothing moved for {no_progress:?}");
    ApiError::local(call, ErrorKind::Interrupted, message)
}

/// Whether what came back was not HTTP.
fn is_no_http(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            return error.is_parse() || error.is_parse_too_large();
        }
        source = error.source();
    }
    false
}

/// The causes of a failure, joined by `: `. reqwest's own first words ("error sending request for url ...") are left
/// out where there is a cause: they say nothing.
pub(super) fn chain(error: &reqwest::Error) -> String {
    let mut source = error.source();
    if source.is_none() {
        return tidy(&error.to_string());
    }
    let mut text = String::new();
    while let Some(error) = source {
        if let Some(why) = untrusted(error) {
            return why;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        // Writing to a string can't fail.
        let _ = write!(text, "{error}");
        source = error.source();
    }
    tidy(&text)
}

/// What is wrong with the server's certificate, if it is that.
fn untrusted(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    // An `io::Error` hides what it carries from the chain of sources, and may carry another one.
    let mut error = error;
    while let Some(carried) = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        error = carried;
    }
    let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref() else {
        return None;
    };
    Some(tidy(&format!(
        "the server's certificate is not trusted on this machine: {why} (the certificates of your own server, or of a \
         proxy that looks into what goes through it, can be named in SSL_CERT_FILE)"
    )))
}

/// A stranger's words, fit for a log line: bounded, and without control characters.
fn tidy(text: &str) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MAX_MESSAGE).map(clean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &[(&'static str, &'static str)]) -> Head {
        let lines = lines.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                header::HeaderValue::from_static(value),
            )
        });
        Head::of(StatusCode::OK, &lines.collect())
    }

    #[test]
    fn limits_are_read_where_all_of_them_is_said() {
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let limit = ("anthropic-ratelimit-requests-limit", "500");
        let remaining = ("anthropic-ratelimit-requests-remaining", "499");
        let reset = |time| ("anthropic-ratelimit-requests-reset", time);
        let said = |seconds| {
            Some(RateLimits {
                limit: 500,
                remaining: 499,
                resets_in: Duration::from_secs(seconds),
            })
        };
        for (lines, expected) in [
            (
                vec![date, limit, remaining, reset("1994-11-06T08:50:07Z")],
                said(30),
            ),
            (
                vec![date, limit, remaining, reset("1994-11-06T08:00:00Z")],
                said(0),
            ),
            (vec![date, limit, remaining, reset("soon")], None),
            (vec![date, limit, remaining], None),
            (vec![date, limit, reset("1994-11-06T08:50:07Z")], None),
            (vec![date], None),
        ] {
            assert_eq!(head(&lines).limits(), expected, "{lines:?}");
        }
    }

    #[test]
    fn whether_to_try_again_is_read() {
        for (text, expected) in [("true", Some(true)), ("false", Some(false)), ("1", None)] {
            assert_eq!(head(&[("x-should-retry", text)]).should_retry, expected);
        }
    }
}
