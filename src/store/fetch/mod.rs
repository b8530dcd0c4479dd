//! Fetching: one download per id however many readers, checked against the size the service names, and only then
//! visible as a cached copy.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use crate::api::{ApiError, Download, FileId};
use crate::disk::Step;

use super::cache::PARTIAL;
use super::{Store, file_name, lock};

/// How often who waits looks whether it still should.
const LOOK_AROUND: Duration = Duration::from_millis(200);

/// Why a file's bytes could not be had.
#[derive(Debug, Clone)]
pub enum FetchError {
    /// The call failed.
    Api(ApiError),
    /// The transfer broke off.
    Cut(String),
    /// The answer has another length than the service's own metadata.
    WrongLength {
        /// By the metadata.
        expected: u64,
        /// At least so many came.
        got: u64,
    },
    /// The local disk.
    Disk(Arc<io::Error>),
    /// Who asked for it does not wait any more.
    GivenUp,
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
            Self::Disk(error) => write!(f, "download could not be stored: {error}"),
            Self::GivenUp => f.write_str("nobody waits for the download any more"),
        }
    }
}

impl std::error::Error for FetchError {}

/// The downloads in progress.
#[derive(Debug, Default)]
pub(super) struct Fetches(Mutex<HashMap<FileId, Arc<Fetch>>>);

#[derive(Debug, Default)]
struct Fetch {
    outcome: Mutex<Option<Result<Arc<File>, FetchError>>>,
    done: Condvar,
}

impl Fetch {
    fn wait(&self, is_given_up: &dyn Fn() -> bool) -> Result<Arc<File>, FetchError> {
        let mut outcome = lock(&self.outcome);
        loop {
            if let Some(outcome) = &*outcome {
                return outcome.clone();
            }
            let (waited, pause) = self
                .done
                .wait_timeout(outcome, LOOK_AROUND)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            outcome = waited;
            if pause.timed_out() && is_given_up() {
                return Err(FetchError::GivenUp);
            }
        }
    }
}

/// Ends a fetch, however it ended: who waits for it is told, and the next reader may try again.
struct Ending {
    store: Arc<Store>,
    id: FileId,
    fetch: Arc<Fetch>,
    outcome: Result<Arc<File>, FetchError>,
}

impl Ending {
    fn end(mut self, outcome: Result<Arc<File>, FetchError>) {
        self.outcome = outcome;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        lock(&self.store.fetches.0).remove(&self.id);
        *lock(&self.fetch.outcome) = Some(self.outcome.clone());
        self.fetch.done.notify_all();
    }
}

impl Store {
    /// The whole file of an id, by `download` where it is not here yet. The wait ends when the download does, which ends
    /// at the latest when it makes no progress for the client's deadline; or soon after `is_given_up`, and the download
    /// goes on for whoever comes next.
    pub fn fetch(
        self: &Arc<Self>,
        id: &FileId,
        size: u64,
        download: impl FnOnce() -> Result<Download, ApiError> + Send + 'static,
        is_given_up: &dyn Fn() -> bool,
    ) -> Result<Arc<File>, FetchError> {
        let (fetch, is_new) = {
            let mut fetches = lock(&self.fetches.0);
            if let Some(fetch) = fetches.get(id) {
                (Arc::clone(fetch), false)
            } else {
                let fetch = Arc::new(Fetch::default());
                fetches.insert(id.clone(), Arc::clone(&fetch));
                (fetch, true)
            }
        };
        if is_new {
            let ending = Ending {
                store: Arc::clone(self),
                id: id.clone(),
                fetch: Arc::clone(&fetch),
                outcome: Err(FetchError::Cut("it was given up".to_owned())),
            };
            thread::Builder::new()
                .name("afs-fetch".into())
                .spawn(move || {
                    let outcome = ending.store.copy_of(&ending.id, size, download);
                    ending.end(outcome);
                })
                .map_err(disk)?;
        }
        fetch.wait(is_given_up)
    }

    /// The copy that is here, or a new one.
    fn copy_of(
        &self,
        id: &FileId,
        size: u64,
        download: impl FnOnce() -> Result<Download, ApiError>,
    ) -> Result<Arc<File>, FetchError> {
        // Looked for again under the claim: the fetch before may just have ended.
        match self.open_cached(id, size) {
            Ok(Some(file)) => Ok(Arc::new(file)),
            Ok(None) => self.download_whole(id, size, download).map(Arc::new),
            Err(error) => Err(disk(error)),
        }
    }

    fn download_whole(
        &self,
        id: &FileId,
        size: u64,
        download: impl FnOnce() -> Result<Download, ApiError>,
    ) -> Result<File, FetchError> {
        let mut download = download().map_err(FetchError::Api)?;
        if let Some(length) = download.length
            && length != size
        {
            return Err(FetchError::WrongLength {
                expected: size,
                got: length,
            });
        }
        let dir = self.cache.dir();
        let partial = self
            .disk
            .step(Step::Create(&dir.join(PARTIAL)), || {
                tempfile::Builder::new().prefix(PARTIAL).tempfile_in(dir)
            })
            .map_err(disk)?;
        let mut buffer = vec![0; 256 * 1024];
        let mut got = 0;
        loop {
            let n = match download.body.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(FetchError::Cut(error.to_string())),
            };
            let at = got;
            got += n as u64;
            if got > size {
                break;
            }
            self.disk
                .write_all_at(partial.path(), partial.as_file(), &buffer[..n], at)
                .map_err(disk)?;
        }
        if got != size {
            return Err(FetchError::WrongLength {
                expected: size,
                got,
            });
        }
        self.disk
            .sync(partial.path(), partial.as_file())
            .map_err(disk)?;
        self.cache.add(partial, &file_name(id)).map_err(disk)
    }
}

fn disk(error: io::Error) -> FetchError {
    FetchError::Disk(Arc::new(error))
}
