//! What the outbox holds: records of work for the service, and the tickets of those who wait for one.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use crate::api::{ApiError, FileId, Program};

use super::{Digest, Ino, Millis, lock};

/// A record's place in the outbox; later work has a higher one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(pub(super) i64);

impl std::fmt::Display for Seq {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Where the bytes of a save are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// In the record itself ([`super::State::inline_body`]).
    Inline,
    /// In this file under `staged/`.
    Staged(String),
    /// Kept under the id that is confirmed when the record is sent: a rename. Or nowhere: the record was given up, and the
    /// service is only looked at for it.
    Held,
}

/// What a record asks of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Upload this content for an inode, then delete what it replaces.
    Save {
        /// For which inode.
        ino: Ino,
        /// Bytes.
        size: u64,
        /// Under which media type.
        mime_type: String,
        /// What the content's digest is; unknown of a renamed file that was saved before digests were kept.
        digest: Option<Digest>,
        /// From where.
        body: Body,
    },
    /// Delete an id.
    Delete {
        /// Which.
        id: FileId,
        /// Why it goes.
        doom: Doom,
    },
}

/// Why an id is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doom {
    /// The user removed the file.
    Removed,
    /// Its bytes live on under another id: the file was renamed.
    Renamed,
    /// Another file took its name.
    Replaced,
}

impl Doom {
    pub(super) fn to_column(self) -> i64 {
        match self {
            Self::Removed => 0,
            Self::Renamed => 1,
            Self::Replaced => 2,
        }
    }

    pub(super) fn from_column(column: i64) -> Self {
        match column {
            1 => Self::Renamed,
            2 => Self::Replaced,
            _ => Self::Removed,
        }
    }
}

/// The two kinds of work, done by separate workers: a hung deletion never delays a save.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// [`Work::Save`]
    Saves,
    /// [`Work::Delete`]
    Deletes,
}

/// One piece of pending work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place.
    pub seq: Seq,
    /// What is to be done.
    pub work: Work,
    /// The filename to send, or the one people know the deleted file by.
    pub name: String,
    /// Of a save: after how many seconds the service is to give it up; `None`: as the mount says.
    pub expires_in_seconds: Option<u64>,
    /// Whose act it is: who closed, removed or renamed the file. Only the process that was there knows.
    pub program: Program,
    /// How often it was tried and failed.
    pub tries: u32,
    /// Since when it waits.
    pub since: Millis,
    /// When a try began that may have reached the service without our knowing: look before sending again.
    pub sent_at: Option<Millis>,
    /// The same by the steady clock, where this process made that try.
    pub sent_here_at: Option<Millis>,
    /// When this process tried it first, by the steady clock.
    pub tried_at: Option<Millis>,
}

impl Record {
    /// Which kind of work it is.
    #[must_use]
    pub fn class(&self) -> Class {
        match self.work {
            Work::Save { .. } => Class::Saves,
            Work::Delete { .. } => Class::Deletes,
        }
    }

    pub(super) fn digest(&self) -> Option<Digest> {
        match self.work {
            Work::Save { digest, .. } => digest,
            Work::Delete { .. } => None,
        }
    }

    pub(super) fn ino(&self) -> Option<Ino> {
        match self.work {
            Work::Save { ino, .. } => Some(ino),
            Work::Delete { .. } => None,
        }
    }
}

/// How a record ended, once that is known.
type Fate = Option<Result<(), ApiError>>;

/// What a closer waits on: the fate of one record.
#[derive(Debug, Clone, Default)]
pub struct Ticket(Arc<(Mutex<Fate>, Condvar)>);

impl Ticket {
    /// The ticket of what is done already.
    #[must_use]
    pub fn settled() -> Self {
        let ticket = Self::default();
        ticket.settle(Ok(()));
        ticket
    }

    /// Waits until the record is confirmed or its failure is reported; `None` when `deadline` passes first.
    #[must_use]
    pub fn wait(&self, deadline: Option<Instant>) -> Option<Result<(), ApiError>> {
        let (fate, changed) = &*self.0;
        let mut fate = lock(fate);
        loop {
            if let Some(fate) = &*fate {
                return Some(fate.clone());
            }
            fate = match deadline.map(|deadline| deadline.checked_duration_since(Instant::now())) {
                None => changed
                    .wait(fate)
                    .unwrap_or_else(std::sync::PoisonError::into_inner),
                Some(None) => return None,
                Some(Some(left)) => {
                    changed
                        .wait_timeout(fate, left)
                        .unwrap_or_else(std::sync::PoisonError::into_inner)
                        .0
                }
            };
        }
    }

    /// The fate, where it is known already.
    #[must_use]
    pub fn fate(&self) -> Option<Result<(), ApiError>> {
        lock(&self.0.0).clone()
    }

    /// Who waited waits no longer: the record counts as reported with `error`, unless its fate is known by now, which
    /// is returned.
    pub fn give_up(&self, error: ApiError) -> Result<(), ApiError> {
        let mut fate = lock(&self.0.0);
        let fate = fate.get_or_insert(Err(error)).clone();
        self.0.1.notify_all();
        fate
    }

    pub(super) fn settle(&self, outcome: Result<(), ApiError>) {
        *lock(&self.0.0) = Some(outcome);
        self.0.1.notify_all();
    }
}
