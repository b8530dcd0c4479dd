//! Files as commands speak of them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A file of a workspace. What the service has a word for has that word: scripts written for its API know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name in the mount; that of a file of a session is a path there.
    pub name: String,
    /// What the service calls it.
    pub filename: String,
    /// Its id; absent while the service has nothing of it.
    pub id: Option<String>,
    /// Bytes; of the newest content where that is still on its way.
    pub size_bytes: u64,
    /// Its media type.
    pub mime_type: String,
    /// When the service stored it (RFC 3339).
    pub created_at: String,
    /// When its content changed last (RFC 3339).
    pub modified_at: String,
    /// Whether the service gives its bytes back: a tool made it.
    pub downloadable: bool,
    /// Whether its bytes can be read without asking anybody.
    pub on_this_machine: bool,
    /// Whether its newest content is still on its way to the service.
    pub pending: bool,
    /// Whether it stays on this machine by its name.
    pub scratch: bool,
    /// Whether it has a suffix in its name because a newer file has the plain one, or had it.
    #[serde(default)]
    pub is_older_copy: bool,
    /// The session it belongs to.
    pub session_id: Option<String>,
    /// When the service gives its bytes up (RFC 3339).
    pub expires_at: Option<String>,
    /// Whether it has given them up.
    pub expired: bool,
}

/// A file that another one took the place of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerFile {
    /// Its id.
    pub id: String,
    /// When it was replaced, milliseconds since 1970.
    pub replaced_at: i64,
    /// The id of what has its place now.
    pub successor: String,
    /// The name that was given.
    pub name: String,
}

/// Which files are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Which {
    /// Only those of this name; `*` is any run of characters, `?` any one.
    pub glob: Option<String>,
    /// Only those of this session; otherwise those of the workspace itself.
    pub session: Option<String>,
    /// Only what the service gives back, or only what it does not.
    pub downloadable: Option<bool>,
    /// Whether the service is asked for what is new however short ago it was asked last.
    #[serde(default)]
    pub fresh: bool,
}

/// A file in the trash of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrashFile {
    /// What it is told from others by.
    pub key: String,
    /// The name people know it by.
    pub name: String,
    /// The id it had at the service, or one of this machine's own where it never was there.
    pub id: String,
    /// Bytes.
    pub size_bytes: u64,
    /// When it came here, milliseconds since 1970.
    pub thrown_at: i64,
    /// Where its bytes are.
    pub path: String,
    /// Until when it stays at the service too, milliseconds since 1970, because its id may be used: only then does it come
    /// into the trash, and till then it can't be removed from here.
    #[serde(default)]
    pub lives_until: Option<i64>,
}

/// A file of this machine that is to be saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Put {
    /// Where it is; absolute.
    pub path: PathBuf,
    /// Under which name.
    pub name: String,
    /// As which media type; `None`: as one copied into the mount.
    pub mime_type: Option<String>,
    /// After how many seconds the service gives it up; `None`: as the mount says.
    pub expires_in_seconds: Option<u64>,
}

/// A file that is to be written to this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Get {
    /// A name or an id.
    pub what: String,
    /// Where it goes; absolute. In a directory it has its own name.
    pub to: PathBuf,
    /// With which permission bits.
    pub mode: u32,
}
