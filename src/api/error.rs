//! What can go wrong in a call, in the one vocabulary the rest of the house knows.

use std::fmt;
use std::time::Duration;

/// Which of the five calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// `POST /v1/files`
    Upload,
    /// `GET /v1/files`
    List,
    /// `GET /v1/files/{id}`
    Metadata,
    /// `GET /v1/files/{id}/content`
    Download,
    /// `DELETE /v1/files/{id}`
    Delete,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upload => "upload",
            Self::List => "list",
            Self::Metadata => "metadata",
            Self::Download => "download",
            Self::Delete => "delete",
        })
    }
}

/// The kinds of failure that callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// 401: the key is missing, wrong or revoked.
    Unauthorized,
    /// 402, 403 and organisation trouble: the key is fine, this is not allowed.
    Forbidden,
    /// 404: no such file (or no longer).
    NotFound,
    /// 404 on content: the file's time is over. What is known of it stays a while.
    Expired,
    /// 400 on content: an upload, which the service never gives back.
    NotDownloadable,
    /// The organisation's storage is full.
    StorageFull,
    /// 413: larger than the service takes.
    TooLarge,
    /// Any other 4xx: the service understood and refused.
    Refused,
    /// 429: too many requests.
    RateLimited,
    /// 408, 409, 5xx and 529: the service's own passing trouble.
    Unavailable,
    /// No connection: DNS, refused, TLS. The request was never sent.
    Unreachable,
    /// The connection broke, or nothing moved for the deadline, after the request began.
    Interrupted,
    /// The answer makes no sense: not JSON, fields missing, too large.
    Nonsense,
    /// The upload's own bytes could not be read here; the request was given up.
    Body,
    /// This machine's disk failed with what the call needs or has brought.
    Disk,
    /// This machine's disk has no room for it.
    DiskFull,
}

/// A failed call: what failed, why, in the service's own words, with the id its support asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// Which call.
    pub call: Call,
    /// What kind of failure.
    pub kind: ErrorKind,
    /// The HTTP status, where there was an answer.
    pub status: Option<u16>,
    /// The service's message, or the connection's error chain.
    pub message: String,
    /// The `request-id` header of the answer.
    pub request_id: Option<String>,
    /// How long the service asks to wait before trying again.
    pub retry_after: Option<Duration>,
    /// What the service says of trying again (`x-should-retry`); it knows better than its status does.
    pub should_retry: Option<bool>,
    /// How the request had stood in line, where requests are paced.
    pub line: Option<InLine>,
}

/// How a request stood in line for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InLine {
    /// How long it had waited there.
    pub waited: Duration,
    /// How long no request of the workspace had got through when it failed.
    pub quiet: Duration,
}

impl ApiError {
    /// A failure without an answer from the service.
    #[must_use]
    pub fn local(call: Call, kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            call,
            kind,
            status: None,
            message: message.into(),
            request_id: None,
            retry_after: None,
            should_retry: None,
            line: None,
        }
    }

    /// Whether trying the same again later can succeed without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        if let Some(should_retry) = self.should_retry {
            return should_retry;
        }
        match self.kind {
            ErrorKind::RateLimited
            | ErrorKind::Unavailable
            | ErrorKind::Unreachable
            | ErrorKind::Interrupted => true,
            // A redirect is a wrong address: the next answer will be the same.
            ErrorKind::Nonsense => !matches!(self.status, Some(300..=399)),
            ErrorKind::Unauthorized
            | ErrorKind::Forbidden
            | ErrorKind::NotFound
            | ErrorKind::Expired
            | ErrorKind::NotDownloadable
            | ErrorKind::StorageFull
            | ErrorKind::TooLarge
            | ErrorKind::Refused
            | ErrorKind::Body
            | ErrorKind::Disk
            | ErrorKind::DiskFull => false,
        }
    }

    /// Whether the service may have done what was asked although the call failed. A second `POST` after such an error
    /// can leave two files where one was saved; look first.
    #[must_use]
    pub fn may_have_happened(&self) -> bool {
        match self.kind {
            ErrorKind::Unavailable
            | ErrorKind::Interrupted
            | ErrorKind::Nonsense
            | ErrorKind::Body
            | ErrorKind::Disk
            | ErrorKind::DiskFull => true,
            ErrorKind::Unauthorized
            | ErrorKind::Forbidden
            | ErrorKind::NotFound
            | ErrorKind::Expired
            | ErrorKind::NotDownloadable
            | ErrorKind::StorageFull
            | ErrorKind::TooLarge
            | ErrorKind::Refused
            | ErrorKind::RateLimited
            | ErrorKind::Unreachable => false,
        }
    }

    /// Whether the service may be at it still, for nobody has answered for it: what was asked can then take effect after
    /// a look that has not found it.
    #[must_use]
    pub fn may_be_under_way(&self) -> bool {
        match self.kind {
            ErrorKind::Unavailable | ErrorKind::Interrupted | ErrorKind::Nonsense => {
                // Of the answers, those of somebody on the way who has not waited for the end.
                matches!(self.status, None | Some(408 | 502 | 504))
            }
            ErrorKind::Body
            | ErrorKind::Disk
            | ErrorKind::DiskFull
            | ErrorKind::Unauthorized
            | ErrorKind::Forbidden
            | ErrorKind::NotFound
            | ErrorKind::Expired
            | ErrorKind::NotDownloadable
            | ErrorKind::StorageFull
            | ErrorKind::TooLarge
            | ErrorKind::Refused
            | ErrorKind::RateLimited
            | ErrorKind::Unreachable => false,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.call, self.message)?;
        match (self.status, &self.request_id) {
            (Some(status), Some(id)) => write!(f, " (status {status}, request {id})"),
            (Some(status), None) => write!(f, " (status {status})"),
            (None, _) => Ok(()),
        }
    }
}

impl std::error::Error for ApiError {}
