//! What the five calls take and give: plain values, with the service's own words.

use std::fmt;
use std::io::Read;

use jiff::Timestamp;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::time::{time, time_or_never};

/// A file's identity at the service. Opaque: "the format and length of IDs may change over time" (API reference).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(transparent)]
pub struct FileId(String);

impl FileId {
    /// Wraps what the service (or a user) calls an id, unchanged.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The id as the service spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileId({})", self.0)
    }
}

/// The session a file belongs to, where it belongs to one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Scope {
    /// The session's id.
    pub id: String,
}

/// What the service says of a file (`FileMetadata` in the API reference). Unknown fields are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct FileMetadata {
    /// Its identity.
    pub id: FileId,
    /// The label it was stored under; may be anything of 1..500 characters when a tool made it.
    #[serde(deserialize_with = "lossy")]
    pub filename: String,
    /// The stored media type.
    pub mime_type: String,
    /// Its length in bytes.
    pub size_bytes: u64,
    /// When the service stored it.
    #[serde(deserialize_with = "time")]
    pub created_at: Timestamp,
    /// Whether [`super::FilesApi::download`] gives its bytes; absent means no.
    #[serde(default)]
    pub downloadable: bool,
    /// The session it is scoped to; absent and `null` both mean none.
    #[serde(default)]
    pub scope: Option<Scope>,
    /// When the service gives its bytes up. `null` means never, and so does leaving it out, as the beta does always.
    #[serde(default, deserialize_with = "time_or_never")]
    pub expires_at: Option<Timestamp>,
}

/// A filename as near as possible to what the service says. Half a surrogate pair (a tool's name that was no Unicode)
/// is no reason to lose a whole listing: its bytes become U+FFFD.
fn lossy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    struct Name;

    impl Visitor<'_> for Name {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a filename")
        }

        fn visit_str<E>(self, name: &str) -> Result<String, E> {
            Ok(name.to_owned())
        }

        fn visit_bytes<E>(self, name: &[u8]) -> Result<String, E> {
            Ok(String::from_utf8_lossy(name).into_owned())
        }
    }

    // serde_json hands strings that are no Unicode to those who ask for bytes.
    deserializer.deserialize_bytes(Name)
}

/// A new file on its way to the service.
pub struct Upload {
    /// The label to store it under.
    pub filename: String,
    /// Its media type; decides which content block the file can be in a prompt.
    pub mime_type: String,
    /// How many bytes `body` yields.
    pub size: u64,
    /// After how many seconds the service is to give it up, which only [`Dialect::Ga`](super::Dialect) can say; `None`:
    /// as the client's dialect says.
    pub expires_in_seconds: Option<u64>,
    /// The bytes.
    pub body: Box<dyn Read + Send>,
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("filename", &self.filename)
            .field("mime_type", &self.mime_type)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// Where a page starts. All but the newest come from [`FilePage::next`] and mean something to the service that gave them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Cursor {
    /// At the newest file.
    #[default]
    Newest,
    /// Right after this file: older ones. What the beta has.
    After(FileId),
    /// Where this token says, which nobody but the service can read. What there is today.
    Page(String),
}

/// Which page of which files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// Where the page starts.
    pub cursor: Cursor,
    /// Files per page, 1..=1000.
    pub limit: u16,
    /// Only files of this session.
    pub scope_id: Option<String>,
}

impl ListQuery {
    /// The largest page at `cursor`, unscoped files only.
    #[must_use]
    pub fn page(cursor: Cursor) -> Self {
        Self {
            cursor,
            limit: super::MAX_PAGE,
            scope_id: None,
        }
    }
}

/// One page of files, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FilePage {
    /// The files.
    pub files: Vec<FileMetadata>,
    /// Where the next page starts; `None`: this is the last one.
    pub next: Option<Cursor>,
    /// The service's clock when it answered (the `date` header, whole seconds).
    pub date: Option<Timestamp>,
}

/// The files of a page: no more than a page can hold, so that what an answer takes in memory is bounded.
pub(super) struct PageFiles(pub(super) Vec<FileMetadata>);

impl<'de> Deserialize<'de> for PageFiles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Files;

        impl<'de> Visitor<'de> for Files {
            type Value = PageFiles;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {} files", super::MAX_PAGE)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<PageFiles, A::Error> {
                let mut files = Vec::new();
                while let Some(file) = seq.next_element()? {
                    if files.len() == usize::from(super::MAX_PAGE) {
                        return Err(A::Error::invalid_length(files.len() + 1, &self));
                    }
                    files.push(file);
                }
                Ok(PageFiles(files))
            }
        }

        deserializer.deserialize_seq(Files)
    }
}

/// A file's bytes on their way in, up to its end.
pub struct Download {
    /// Where in the file they begin: where they were asked from, or 0 where the service took no notice of that.
    pub start: u64,
    /// How many they are, where the answer says so.
    pub length: Option<u64>,
    /// Whether the service has shown that it honours ranges: by sending one, or by `accept-ranges`.
    pub honours_ranges: bool,
    /// The bytes. A cut or stalled transfer is an error of `read`, never a short end.
    pub body: Box<dyn Read + Send>,
    /// The service's name for this answer, for log lines.
    pub request_id: Option<String>,
}

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("start", &self.start)
            .field("length", &self.length)
            .field("honours_ranges", &self.honours_ranges)
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}
