//! What this machine knows of a workspace, in one database: the *catalogue* (every known remote file under its
//! inode number and directory name) and the *outbox* (what was written, renamed or removed here and is not confirmed by
//! the service yet).
//!
//! Both stand in one database because the steps that matter change both at once: a confirmed save moves the inode to its
//! new id, drops the record and queues the old id's deletion in one transaction.
//!
//! Lock order, here and in the rooms below: open inode (`fs`) -> outbox queue -> database writer -> row cache. Nobody
//! waits for the network while holding one of them; who waits for a record hangs on its [`Ticket`].

mod catalogue;
mod clock;
mod db;
mod digest;
mod entry;
mod expiry;
mod former;
mod giving_up;
mod lingering;
mod merge;
mod outbox;
mod outputs;
mod pending;
mod progress;
#[cfg(test)]
mod properties;
mod queue;
mod record;
mod renaming;
mod rows;
mod schedule;
mod schema;
mod sessions;
mod superseding;
mod transfer;
mod unfinished;
mod waiting;
mod workspace;

use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

pub use catalogue::{KeptAs, NewRow, Row};
pub use clock::{now, steady};
pub use db::StateError;
pub use digest::{Digest, Digester, Verified};
pub use expiry::Expiring;
pub use former::Successor;
pub use giving_up::{GiveUpError, GivenUp};
pub use merge::Merge;
pub use outbox::{Cleanup, PendingBody, Sealed, SealedBytes, When};
pub use pending::{Pending, PendingCount};
pub use progress::Confirmed;
pub use record::{Body, Class, Doom, Record, Seq, Ticket, Work};
pub use renaming::{Held, Renaming};
pub use transfer::Transfer;
pub use unfinished::{Placed, Placing, Unfinished, UnfinishedSeq};
pub use waiting::{LOCK, Waiting};
pub use workspace::{WorkspaceId, Workspaces};

use crate::disk::Disk;

use catalogue::RowCache;
use db::Db;
use queue::Queue;
use transfer::Transfers;

/// An inode number: a row's id in the catalogue, never given out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ino(pub u64);

/// Nanoseconds since 1970, as file times are kept (years 1678 to 2262; other times are clamped).
pub type Nanos = i64;

/// Milliseconds: since 1970 ([`now`]), or by the steady clock ([`steady`]) where somebody waits for them.
pub type Millis = i64;

/// The database of one workspace, open.
#[derive(Debug)]
pub struct State {
    db: Db,
    cache: RowCache,
    queue: Queue,
    transfers: Transfers,
    /// What [`State::totals`] has counted last, and after how many commits.
    totals: Mutex<Option<(u64, (u64, u64))>>,
}

impl State {
    /// Opens (and where needed creates or migrates) `state.db` in `dir`.
    pub fn open(dir: &Path) -> Result<Self, StateError> {
        Self::open_on(&Disk::real(), dir)
    }

    /// The same on another disk than the real one.
    pub fn open_on(disk: &Disk, dir: &Path) -> Result<Self, StateError> {
        let db = Db::open(disk, &dir.join("state.db"))?;
        let queue = Queue::new(db.read(rows::load)?);
        Ok(Self {
            db,
            cache: RowCache::new(),
            queue,
            transfers: Transfers::default(),
            totals: Mutex::default(),
        })
    }
}

/// A file time as the system has it.
#[must_use]
pub fn system_time(nanos: Nanos) -> SystemTime {
    let distance = Duration::from_nanos(nanos.unsigned_abs());
    if nanos < 0 {
        SystemTime::UNIX_EPOCH - distance
    } else {
        SystemTime::UNIX_EPOCH + distance
    }
}

/// Locks a mutex whose holder cannot leave it half changed; a panic elsewhere must not take the mount down with it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
