//! What is said over the socket.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::entries::{FileEntry, FormerFile, Get, Put, TrashFile, Which};
use super::traffic::{Failure, Requests, Transfer};
use super::waiting::Waiting;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// How the mount is.
    Status,
    /// What has not reached the service.
    Pending,
    /// Try what failed again now: of this name, or all. Of this name, a file that was never closed is sent too.
    Retry {
        /// The name.
        name: Option<String>,
    },
    /// Give what is pending under this name up.
    Drop {
        /// The name.
        name: String,
    },
    /// Send everything, what waits for its quiet time too, and say how it goes until nothing is left but what was tried
    /// and failed.
    Flush,
    /// Compare the kept copies with what was saved, and say how far it is.
    VerifyKept,
    /// Which files there are.
    Files {
        /// Which are meant.
        which: Which,
    },
    /// Which file a word stands for.
    File {
        /// A name or an id.
        what: String,
        /// Whether the service is asked for an id that is not known.
        asks: bool,
        /// Whether its id goes to somebody who will use it: then it stays alive for a day after it is replaced.
        #[serde(default)]
        gives: bool,
    },
    /// Let all deletions through for a while.
    AllowDeletes {
        /// Seconds.
        seconds: u64,
    },
    /// What is in the trash, and what is on its way there.
    Trash,
    /// Take a deletion back that has not been sent.
    TakeBack {
        /// The name of what was deleted.
        name: String,
    },
    /// Remove a file from the trash for good.
    Purge {
        /// Its key.
        key: String,
    },
    /// Which downloaded copies are here.
    Downloads,
    /// Remove one of them.
    Evict {
        /// A name or an id.
        what: String,
    },
    /// Remove all of them that may go.
    EvictAll,
    /// Have one of them stay, download it where it is not here, and say how far that is.
    Pin {
        /// A name or an id.
        what: String,
    },
    /// Let one of them go as others do.
    Unpin {
        /// A name or an id.
        what: String,
    },
    /// Save a file of this machine, and say how far it is.
    Put(Put),
    /// Write a file to this machine, and say how far it is.
    Get(Get),
    /// Delete a file.
    Remove {
        /// A name or an id.
        what: String,
        /// Whether no copy of it stays in the trash.
        purges: bool,
    },
}

/// One line of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum Reply {
    /// To [`Request::Status`]; the end.
    Status(Box<Status>),
    /// To [`Request::Pending`]; the end.
    Pending {
        /// The changes, oldest first.
        changes: Vec<Change>,
    },
    /// To [`Request::Retry`]; the end.
    Retried {
        /// How many changes are tried now.
        count: usize,
    },
    /// To [`Request::Drop`]; the end.
    Dropped {
        /// What was given up; nothing where nothing of that name is pending.
        changes: Vec<DroppedChange>,
    },
    /// To [`Request::Flush`]; more follow.
    Progress(Progress),
    /// To [`Request::Flush`]; the end.
    Flushed {
        /// What could not be sent now; it is tried again later.
        left: Vec<Change>,
    },
    /// To [`Request::VerifyKept`]; more follow.
    Verifying(Copies),
    /// To [`Request::VerifyKept`]; the end.
    Verified {
        /// What was compared.
        copies: Copies,
        /// The names of files whose copies are not what was saved.
        damaged: Vec<String>,
    },
    /// To [`Request::Files`]; the end where no more follow.
    Files {
        /// They, or some of them.
        files: Vec<FileEntry>,
        /// Whether more follow.
        more: bool,
    },
    /// To [`Request::File`]; the end.
    File(Box<FileEntry>),
    /// To [`Request::File`], where another file took its place; the end.
    Former(FormerFile),
    /// To [`Request::AllowDeletes`]; the end.
    DeletesAllowed,
    /// To [`Request::Trash`]; the end.
    Trash {
        /// Its files, oldest first.
        files: Vec<TrashFile>,
        /// Names of files whose deletions have not been sent.
        deletions: Vec<String>,
    },
    /// To [`Request::TakeBack`]; the end.
    TakenBack,
    /// To [`Request::Purge`]; the end.
    Purged,
    /// To [`Request::Downloads`]; the end.
    Downloads(Downloads),
    /// To [`Request::Evict`]; the end.
    Evicted {
        /// The file's name.
        name: String,
        /// Bytes that its copy had.
        size: u64,
    },
    /// To [`Request::EvictAll`]; the end.
    EvictedAll {
        /// Copies that are gone.
        count: usize,
        /// Their bytes.
        bytes: u64,
        /// Copies that stay because they are pinned.
        pinned: usize,
        /// The names of files whose copies stay because they are open.
        open: Vec<String>,
    },
    /// To [`Request::Pin`]; more follow.
    Downloading {
        /// The file's name.
        name: String,
        /// Bytes that are here.
        done: u64,
        /// Bytes it has.
        size: u64,
    },
    /// To [`Request::Pin`]; the end.
    Pinned {
        /// The file's name.
        name: String,
        /// Bytes it has.
        size: u64,
    },
    /// To [`Request::Unpin`]; the end.
    Unpinned {
        /// The file's name.
        name: String,
    },
    /// To [`Request::Put`]; more follow.
    Sending {
        /// The file's name.
        name: String,
        /// Bytes that are sent.
        done: u64,
        /// Bytes it has.
        size: u64,
    },
    /// To [`Request::Put`]; the end.
    Stored {
        /// What the service has now.
        file: Box<FileEntry>,
        /// Whether it had just this before, so that nothing was sent.
        unchanged: bool,
    },
    /// To [`Request::Get`]; the end.
    Got {
        /// The file's name.
        name: String,
        /// Where it is now.
        path: PathBuf,
        /// Bytes it has.
        size: u64,
        /// Whether it was there already, as it was written before.
        unchanged: bool,
    },
    /// To [`Request::Remove`]; the end.
    Removed {
        /// The file's name.
        name: String,
    },
    /// It could be done, and would cost something that nobody has said may go; the end.
    Refused {
        /// What, as a sentence.
        why: String,
    },
    /// There is nothing of what was named; the end.
    Unmatched {
        /// What there is not, as a sentence.
        why: String,
    },
    /// What was asked for can't be answered; the end.
    Failed {
        /// Why, as a sentence.
        why: String,
    },
}

impl Reply {
    /// Why what was asked for can't be answered.
    pub(super) fn failed(why: &impl ToString) -> Self {
        Self::Failed {
            why: why.to_string(),
        }
    }

    /// Whether more lines follow this one.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        match self {
            Self::Progress(_)
            | Self::Verifying(_)
            | Self::Downloading { .. }
            | Self::Sending { .. } => true,
            Self::Files { more, .. } => *more,
            _ => false,
        }
    }
}

/// How a mount is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// This program's version.
    pub version: String,
    /// Where it is mounted.
    pub mountpoint: String,
    /// The service's address.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// Where local state is.
    pub state_dir: String,
    /// Files shown.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Seconds since the listing was last refreshed; absent while it never was by this process.
    pub listing_age_seconds: Option<u64>,
    /// Why the last refresh failed; absent when it did not.
    pub listing_error: Option<String>,
    /// Changes that have not reached the service.
    pub pending: usize,
    /// Those of them whose last try failed.
    pub failed: usize,
    /// Files that were never closed by the program that wrote them; they are not among the changes.
    pub unfinished: usize,
    /// Files that stay on this machine by their names; they are not among the changes.
    #[serde(default)]
    pub scratch: usize,
    /// Files that the service gives up within a day.
    #[serde(default)]
    pub expiring: u64,
    /// The next of them.
    #[serde(default)]
    pub next_to_expire: Option<Expires>,
    /// Files that it has given up and lists still.
    #[serde(default)]
    pub expired: u64,
    /// Replaced files that stay at the service for a while, because their ids are used.
    #[serde(default)]
    pub lingering: u64,
    /// Bytes of own uploads kept on this machine.
    pub kept_bytes: u64,
    /// Bytes of outputs cached on this machine.
    pub cached_bytes: u64,
    /// Bytes in the trash.
    #[serde(default)]
    pub trash_bytes: u64,
    /// Whether deletions are refused, for there were too many.
    #[serde(default)]
    pub refuses_deletes: bool,
    /// What is moving now: uploads in the order of their saves, then downloads.
    #[serde(default)]
    pub transfers: Vec<Transfer>,
    /// Requests to the service.
    #[serde(default)]
    pub requests: Requests,
    /// The last calls to the service that failed, ten at most, oldest first.
    #[serde(default)]
    pub errors: Vec<Failure>,
    /// Other workspaces whose changes wait here, for this mount sends its own only.
    #[serde(default)]
    pub waiting: Vec<Waiting>,
}

/// A file that the service gives up at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expires {
    /// The file's name.
    pub name: String,
    /// When, milliseconds since 1970.
    pub at: i64,
}

/// What a change does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// A file is uploaded.
    Save,
    /// A file is deleted.
    Delete,
    /// Nothing: what a program wrote and never closed is sent by the user's word only.
    Unfinished,
    /// Nothing: by its name the file is a program's own and stays on this machine.
    Scratch,
}

/// One change that has not reached the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What it does.
    pub kind: ChangeKind,
    /// The file's name.
    pub name: String,
    /// Bytes to send.
    pub size: u64,
    /// Since when it waits, milliseconds since 1970.
    pub since: i64,
    /// Tries that failed.
    pub tries: u32,
    /// Whether it is being sent now.
    pub in_flight: bool,
    /// Bytes of it that are sent.
    #[serde(default)]
    pub sent: u64,
    /// Whether it waits for an open file.
    pub waits_for_close: bool,
    /// Why the last try failed.
    pub last_error: Option<String>,
}

/// One change that was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedChange {
    /// What it would have done.
    pub kind: ChangeKind,
    /// The file's name.
    pub name: String,
    /// Bytes that were not sent.
    pub size: u64,
    /// Whether they are in the trash now.
    pub in_trash: bool,
    /// Whether the service may have it all the same: then afs looks, and deletes it there.
    pub may_have_arrived: bool,
}

/// Copies that were compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copies {
    /// How many.
    pub count: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// The downloaded copies of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Downloads {
    /// Bytes of them that there may be.
    pub limit: u64,
    /// They, sorted by name.
    pub copies: Vec<Download>,
}

/// A downloaded copy, or the pin of one that is not here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Download {
    /// The file's name in the mount; absent where it has none any more.
    pub name: Option<String>,
    /// Its id.
    pub id: String,
    /// Bytes.
    pub size: u64,
    /// When it was opened last, milliseconds since 1970; absent where it is not here.
    pub last_used: Option<i64>,
    /// Whether it stays whatever the limit says.
    pub pinned: bool,
}

/// How far a flush is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Changes left.
    pub changes: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of these that are sent and wait for their confirmation.
    #[serde(default)]
    pub sent: u64,
    /// Changes whose last try failed.
    pub failed: usize,
}
