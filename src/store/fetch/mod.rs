//! Fetching: one fetch per id however many readers. Bytes are served as they arrive, checked against the size the
//! service names, and become a cached copy when all of them are here.
//!
//! - `intervals`: which bytes are here
//! - `plan`: which transfer brings which bytes, and how far it goes
//! - `arriving`: a file on its way here
//! - `stream`: one transfer

mod arriving;
mod intervals;
mod plan;
mod stream;

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use crate::api::{ApiError, Download, FileId};

use super::{Store, file_name, lock};
use arriving::Fetch;

/// Asks the service for a file's bytes from this one on.
#[derive(Clone)]
pub struct Source(Arc<dyn Fn(u64) -> Result<Download, ApiError> + Send + Sync>);

impl Source {
    /// What asks so.
    pub fn new(ask: impl Fn(u64) -> Result<Download, ApiError> + Send + Sync + 'static) -> Self {
        Self(Arc::new(ask))
    }

    fn ask(&self, from: u64) -> Result<Download, ApiError> {
        (self.0)(from)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source(..)")
    }
}

/// Why a file's bytes could not be had.
#[derive(Debug, Clone)]
pub enum FetchError {
    /// The call failed.
    Api(ApiError),
    /// The transfer broke off.
    Cut(ApiError),
    /// The answer has another length than the service's own metadata.
    WrongLength {
        /// By the metadata.
        expected: u64,
        /// At least so many came.
        got: u64,
    },
    /// A transfer that was taken up again brought other bytes than before.
    Changed {
        /// Behind this byte.
        at: u64,
    },
    /// The local disk.
    Disk(Arc<io::Error>),
    /// Who asked for it does not wait any more.
    GivenUp,
}

impl FetchError {
    /// Whether it says that what has come before can't be trusted either.
    #[must_use]
    pub fn is_contradiction(&self) -> bool {
        match self {
            Self::WrongLength { .. } | Self::Changed { .. } => true,
            Self::Api(_) | Self::Cut(_) | Self::Disk(_) | Self::GivenUp => false,
        }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(error) => error.fmt(f),
            Self::Cut(error) => write!(f, "download broke off: {error}"),
            Self::WrongLength { expected, got } => {
                write!(
                    f,
                    "download has {got} bytes where the service said {expected}"
                )
            }
            Self::Changed { at } => {
                write!(
                    f,
                    "download brought other bytes than before, behind byte {at}"
                )
            }
            Self::Disk(error) => write!(f, "download could not be stored: {error}"),
            Self::GivenUp => f.write_str("nobody waits for the download any more"),
        }
    }
}

impl std::error::Error for FetchError {}

/// The fetches in progress.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    running: Mutex<HashMap<FileId, Arc<Fetch>>>,
    /// Told when one of them is gone.
    fewer: Condvar,
    /// Whether the service has shown that it honours ranges.
    honours_ranges: AtomicBool,
}

impl Fetches {
    fn note_ranges(&self, honoured: Option<bool>) {
        if let Some(honoured) = honoured {
            self.honours_ranges.store(honoured, Ordering::Relaxed);
        }
    }
}

/// A file on its way here, for those who watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arriving {
    /// Its id.
    pub id: FileId,
    /// Bytes that are here.
    pub done: u64,
    /// Bytes it has.
    pub size: u64,
    /// Bytes a second of late.
    pub rate: u64,
}

/// Where a file's bytes are that the service has.
#[derive(Debug)]
pub enum Fetched {
    /// In a complete copy.
    Here(Arc<File>),
    /// On their way.
    Arriving(Reading),
}

/// Somebody's part in a fetch. It ends with the last one, unless it is nearly done.
#[derive(Debug)]
pub struct Reading {
    store: Arc<Store>,
    fetch: Arc<Fetch>,
}

impl Reading {
    fn range(&self, offset: u64, size: usize) -> Range<u64> {
        let start = offset.min(self.fetch.size);
        start..offset.saturating_add(size as u64).min(self.fetch.size)
    }

    /// Bytes that are here; `None` while they are not.
    #[must_use]
    pub fn read_now(&self, offset: u64, size: usize) -> Option<io::Result<Vec<u8>>> {
        self.fetch.read_now(&self.range(offset, size))
    }

    /// Bytes, as soon as they are here. The wait ends with the transfer that is to bring them, which ends at the latest
    /// when it makes no progress for the client's deadline; or soon after `is_given_up`.
    pub fn read(
        &self,
        offset: u64,
        size: usize,
        is_given_up: &dyn Fn() -> bool,
    ) -> Result<Vec<u8>, FetchError> {
        let range = self.range(offset, size);
        self.fetch.read(&self.store, &range, is_given_up)
    }

    /// The whole file, when it is a cached copy and safe on the disk; waits as [`Reading::read`] does.
    pub fn whole(&self, is_given_up: &dyn Fn() -> bool) -> Result<Arc<File>, FetchError> {
        self.fetch.whole(&self.store, is_given_up)
    }

    /// How many bytes are here.
    #[must_use]
    pub fn here(&self) -> u64 {
        self.fetch.size - self.fetch.with_plan(|plan| plan.left())
    }

    /// The file, once all its bytes are here and were checked.
    #[must_use]
    pub fn complete(&self) -> Option<Arc<File>> {
        self.fetch.complete()
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.store.leave(&self.fetch);
    }
}

impl Store {
    /// The bytes of an id, from the copy that is here or by `source`. Nothing is asked for before something is read.
    pub fn fetch(
        self: &Arc<Self>,
        id: &FileId,
        size: u64,
        source: &Source,
    ) -> Result<Fetched, FetchError> {
        if size == 0 {
            // There is nothing to ask for.
            let empty = tempfile::tempfile_in(self.cache.dir()).map_err(disk)?;
            return Ok(Fetched::Here(Arc::new(empty)));
        }
        let name = file_name(id);
        let mut new = None;
        loop {
            {
                let mut running = lock(&self.fetches.running);
                let mut found = running.get(id).cloned();
                // Under the lock of the table: the fetch before may just have ended.
                if found.is_none() && !self.cache.contains(&name) {
                    found = new.take();
                }
                if let Some(fetch) = found {
                    fetch.readers.fetch_add(1, Ordering::Relaxed);
                    running.insert(id.clone(), Arc::clone(&fetch));
                    drop(running);
                    let store = Arc::clone(self);
                    return Ok(Fetched::Arriving(Reading { store, fetch }));
                }
            }
            if let Some(file) = self.open_cached(id, size).map_err(disk)? {
                return Ok(Fetched::Here(file));
            }
            let honours_ranges = self.fetches.honours_ranges.load(Ordering::Relaxed);
            let source = source.clone();
            let fetch = Fetch::new(self, id, size, source, honours_ranges.then_some(true))?;
            new = Some(Arc::new(fetch));
        }
    }

    /// One reader less.
    fn leave(self: &Arc<Self>, fetch: &Arc<Fetch>) {
        {
            let mut running = lock(&self.fetches.running);
            if fetch.readers.fetch_sub(1, Ordering::Relaxed) > 1 || !fetch.is_dropped(self) {
                return;
            }
            self.remove(&mut running, fetch);
        }
        // Giving the room of a large file back takes the disk a while, and this may be an event loop.
        let dropped = Arc::clone(fetch);
        let dropping = thread::Builder::new()
            .name("afs-drop".into())
            .spawn(move || dropped.give_up());
        if dropping.is_err() {
            fetch.give_up();
        }
    }

    fn remove(&self, running: &mut HashMap<FileId, Arc<Fetch>>, fetch: &Arc<Fetch>) {
        if running
            .get(&fetch.id)
            .is_some_and(|found| Arc::ptr_eq(found, fetch))
        {
            running.remove(&fetch.id);
        }
        self.fetches.fewer.notify_all();
    }

    /// A transfer has ended. What is cached now, and what can't be trusted, is no fetch any more; what nobody reads goes
    /// on to its end, or ends here.
    fn lane_ended(self: &Arc<Self>, fetch: &Arc<Fetch>) {
        let is_given_up = {
            let mut running = lock(&self.fetches.running);
            let is_unread = fetch.readers.load(Ordering::Relaxed) == 0;
            let is_given_up = fetch.is_contradictory() || (is_unread && !fetch.finishes(self));
            if is_given_up || fetch.has_outcome() {
                self.remove(&mut running, fetch);
            }
            is_given_up
        };
        if is_given_up {
            fetch.give_up();
        }
    }

    /// What is on its way here, by id. Not what rests because nobody reads on.
    #[must_use]
    pub fn arriving(&self) -> Vec<Arriving> {
        let running: Vec<_> = lock(&self.fetches.running).values().cloned().collect();
        let mut arriving: Vec<_> = running.iter().filter_map(|f| f.progress()).collect();
        arriving.sort_by(|a, b| a.id.cmp(&b.id));
        arriving
    }

    /// Waits until no file is being made a cached copy any more, or the time has come.
    pub fn settle(&self, until: Instant) {
        let mut running = lock(&self.fetches.running);
        while running.values().any(|fetch| fetch.is_finishing()) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            running = self
                .fetches
                .fewer
                .wait_timeout(running, left)
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .0;
        }
    }
}

fn disk(error: io::Error) -> FetchError {
    FetchError::Disk(Arc::new(error))
}
