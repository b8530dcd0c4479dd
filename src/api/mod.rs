//! The service: five calls on immutable files, as the trait [`FilesApi`].
//!
//! *Upload* means the API call and nothing else; what a user's `close(2)` does is a *save* and lives further down the
//! house. This room names no disk (but for the file a key is read from): bodies come in and go out as readers.

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
