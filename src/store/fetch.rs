//! Fetching: one download per id however many readers, checked against the size the service names, and only then
//! visible as a cached copy.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex};

use crate::api::{ApiError, Download, FileId};

use super::cache::PARTIAL;
use super::{Store, file_name, lock};

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
    fn wait(&self) -> Result<Arc<File>, FetchError> {
        let mut outcome = lock(&self.outcome);
        loop {
            if let Some(outcome) = &*outcome {
                return outcome.clone();
            }
            outcome = self
                .done
                .wait(outcome)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

/// Ends a fetch, however it ended: who waits for it is told, and the next reader may try again.
struct Ending<'a> {
    fetches: &'a Fetches,
    id: &'a FileId,
    fetch: &'a Fetch,
    outcome: Result<Arc<File>, FetchError>,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        lock(&self.fetches.0).remove(self.id);
        *lock(&self.fetch.outcome) = Some(self.outcome.clone());
        self.fetch.done.notify_all();
    }
}

impl Store {
    /// The whole file of an id, by `download` where it is not here yet. The wait ends when the download does, and that
    /// ends at the latest when it makes no progress for the client's deadline.
    pub fn fetch(
        &self,
        id: &FileId,
        size: u64,
        download: impl FnOnce() -> Result<Download, ApiError>,
    ) -> Result<Arc<File>, FetchError> {
        let (fetch, is_mine) = {
            let mut fetches = lock(&self.fetches.0);
            if let Some(fetch) = fetches.get(id) {
                (Arc::clone(fetch), false)
            } else {
                let fetch = Arc::new(Fetch::default());
                fetches.insert(id.clone(), Arc::clone(&fetch));
                (fetch, true)
            }
        };
        if is_mine {
            let mut ending = Ending {
                fetches: &self.fetches,
                id,
                fetch: &fetch,
                outcome: Err(FetchError::Cut("it was given up".to_owned())),
            };
            // Looked for again under the claim: the fetch before may just have ended.
            ending.outcome = match self.open_copy(id, size) {
                Ok(Some(file)) => Ok(Arc::new(file)),
                Ok(None) => self.download_whole(id, size, download).map(Arc::new),
                Err(error) => Err(disk(error)),
            };
        }
        fetch.wait()
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
        let mut partial = tempfile::Builder::new()
            .prefix(PARTIAL)
            .tempfile_in(self.cache.dir())
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
            got += n as u64;
            if got > size {
                break;
            }
            partial.write_all(&buffer[..n]).map_err(disk)?;
        }
        if got != size {
            return Err(FetchError::WrongLength {
                expected: size,
                got,
            });
        }
        partial.as_file().sync_data().map_err(disk)?;
        self.cache.add(partial, &file_name(id)).map_err(disk)
    }
}

fn disk(error: io::Error) -> FetchError {
    FetchError::Disk(Arc::new(error))
}
