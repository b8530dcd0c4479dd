//! The history: every file that a request or the side door brought or took away, in the order in which it happened, from
//! the emulator's start to its end. The request log says what was asked, and may be emptied; this says what came of it,
//! and may not. It is what a test looks at that asks whether a file was ever missing.
//!
//! Time is a count of *ticks*: a request takes one when its head has been read, a change takes one when it is done. So
//! "before" has no doubt in it.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::workspace::lock;

/// Older changes are dropped beyond this many: a demonstration may run for months.
const MOST: usize = 1_000_000;

/// A place in the order of all that happened.
pub type Tick = u64;

/// What a change did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// The file is there from now on, whole.
    Stored,
    /// It is gone.
    Deleted,
}

/// One change to the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it did.
    pub kind: ChangeKind,
    /// The file.
    pub id: String,
    /// Its name.
    pub filename: String,
    /// Its length.
    pub size_bytes: u64,
    /// The SHA-256 of its bytes; `None` where they were gone before anybody asked.
    pub sha256: Option<String>,
    /// When the request that did it arrived; `None` for the side door, which stands for somebody else.
    pub asked: Option<Tick>,
    /// When it was done.
    pub done: Tick,
}

/// All changes, oldest first.
#[derive(Debug, Default)]
pub(super) struct History {
    changes: Mutex<VecDeque<Change>>,
    ticks: AtomicU64,
}

impl History {
    /// The next tick.
    pub(super) fn tick(&self) -> Tick {
        self.ticks.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Writes a change down as done now. The caller keeps others from changing the workspace meanwhile.
    pub(super) fn note(&self, change: Change) {
        let mut changes = lock(&self.changes);
        if changes.len() == MOST {
            changes.pop_front();
        }
        changes.push_back(Change {
            done: self.tick(),
            ..change
        });
    }

    pub(super) fn changes(&self) -> Vec<Change> {
        lock(&self.changes).iter().cloned().collect()
    }
}
