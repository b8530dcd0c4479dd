//! The service: five calls on immutable files, as the trait [`FilesApi`].
//!
//! *Upload* means the API call and nothing else; what a user's `close(2)` does is a *save* and lives further down the
//! house. This room names no disk (but for the file a key is read from): bodies come in and go out as readers.
//!
//! # Example
//!
//! [`HttpClient`] speaks to a service of any address. Here that is an [emulator](crate::emulator) in this process; the
//! service itself is at `https://api.anthropic.com`.
//!
//! ```
//! use std::io::Read;
//!
//! use afs::api::{
//!     ApiKey, Cursor, ErrorKind, FileId, FilesApi, HttpClient, HttpConfig, ListQuery, Upload,
//! };
//! use afs::emulator::{Config, Emulator, PlantedFile};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let service = Emulator::start(Config::default())?;
//! let key = ApiKey::new("sk-test")?;
//! let client = HttpClient::new(&HttpConfig::new(service.base_url(), key))?;
//!
//! let text = "Sales rose by a third.";
//! let sent = client.upload(Upload {
//!     filename: "report.txt".to_owned(),
//!     mime_type: "text/plain".to_owned(),
//!     size: text.len() as u64,
//!     expires_in_seconds: None,
//!     body: Box::new(text.as_bytes()),
//! })?;
//!
//! let page = client.list(&ListQuery::page(Cursor::Newest))?;
//! assert_eq!(page.files, [sent.clone()]);
//! assert_eq!(page.next, None);
//!
//! // What was uploaded can't be downloaded, by nobody: only what tools made.
//! let refused = client.download(&sent.id, 0).unwrap_err();
//! assert_eq!(refused.kind, ErrorKind::NotDownloadable);
//! let chart = service.plant(PlantedFile::output("chart.csv", "quarter,sales"))?;
//! let mut download = client.download(&FileId::new(chart.id), 0)?;
//! let mut bytes = String::new();
//! download.body.read_to_string(&mut bytes)?;
//! assert_eq!(bytes, "quarter,sales");
//!
//! client.delete(&sent.id)?;
//! assert_eq!(client.metadata(&sent.id).unwrap_err().kind, ErrorKind::NotFound);
//! # Ok(())
//! # }
//! ```

mod budget;
mod classify;
mod error;
mod failures;
mod glob;
mod http;
mod key;
mod meter;
mod mime;
mod paced;
mod policy;
mod program;
#[cfg(test)]
pub(crate) mod properties;
mod retry;
mod time;
mod types;

pub use budget::{Budget, Class, RateLimits, Traffic, Turn, Waits};
pub use error::{ApiError, Call, ErrorKind, InLine};
pub use failures::{Failure, Subject};
pub use glob::{BadGlob, Glob};
pub use http::{
    BadHeaders, ClientError, Credential, CustomHeaders, Dialect, HttpClient, HttpConfig, LIFETIMES,
};
pub use key::{ApiKey, KeyError};
pub use meter::Meter;
pub use mime::{BadMimeOverride, MimeOverride, mime_type_of};
pub use paced::{Paced, Repeats};
pub use policy::Policy;
pub use program::{Program, on_behalf_of};
pub use retry::{LONGEST_WAIT, Pace, Resuming, SystemPace};
pub use types::{Cursor, Download, FileId, FileMetadata, FilePage, ListQuery, Scope, Upload};

/// The largest file the service takes: 500 MB (its guide; whether binary or decimal is not said, so the larger).
pub const MAX_FILE_SIZE: u64 = 500 * 1024 * 1024;

/// The largest page a list call may ask for (API reference, List Files).
pub const MAX_PAGE: u16 = 1000;

/// The Files API of one workspace.
///
/// What callers may rely on, whatever implements it (`tests/service` holds every implementation to it):
///
/// - A file's id names its bytes for ever: nothing here renames, overwrites or appends.
/// - Names are labels. Any number of files may carry one filename.
/// - Calls block the calling thread. None blocks for ever: each ends when its transfer has made no progress for the
///   implementation's deadline.
/// - An upload is never repeated in here: `POST` is not idempotent, and who may try again is the caller's to know
///   ([`ApiError::may_have_happened`]). The other calls may be ([`Paced`]).
pub trait FilesApi: Send + Sync {
    /// Stores a new file and returns what the service says of it. The body must yield exactly `upload.size` bytes.
    fn upload(&self, upload: Upload) -> Result<FileMetadata, ApiError>;

    /// One page of the workspace's files, newest first. Files scoped to a session are not in it unless asked for.
    fn list(&self, query: &ListQuery) -> Result<FilePage, ApiError>;

    /// What the service says of one file.
    fn metadata(&self, id: &FileId) -> Result<FileMetadata, ApiError>;

    /// A file's bytes from byte `from` on, streamed to the file's end. Only files made by tools (`downloadable`) can be had.
    /// A service that does not honour ranges sends the whole file ([`Download::start`] says so); whether it does is
    /// not documented, so it has to show it.
    fn download(&self, id: &FileId, from: u64) -> Result<Download, ApiError>;

    /// Deletes a file, for ever.
    fn delete(&self, id: &FileId) -> Result<(), ApiError>;
}
