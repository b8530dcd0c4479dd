//! What `afs cache` asks about downloaded copies: the same answers from a mount that runs and from the state of one that
//! does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::api::FileId;
use crate::fs::WorkspaceFs;
use crate::state::{Row, State, StateError};
use crate::store::{CachedCopy, Fetched, Reading, Stays, Store};

use super::named::{called, row_of, shown, without_link};
use super::protocol::{Download, Downloads, Reply};

/// How long a download that has come may take to be safe on the disk.
const SETTLES: Duration = Duration::from_secs(2);

/// How long after a close its file may look open: the kernel tells of it when the close has returned.
const LATE: Duration = Duration::from_millis(500);

/// Between two looks at what is about to change.
const SHORT: Duration = Duration::from_millis(20);

/// The downloaded copies of a workspace.
#[derive(Debug)]
pub struct Holdings<'a> {
    /// Its state.
    pub state: &'a State,
    /// Its copies.
    pub store: &'a Arc<Store>,
    /// Its files, where it is mounted.
    pub fs: Option<&'a WorkspaceFs>,
}

/// What a name or an id stands for.
struct Named {
    /// As people know it.
    name: String,
    id: Option<FileId>,
    row: Option<Arc<Row>>,
}

impl Holdings<'_> {
    /// The copies, sorted by name.
    #[must_use]
    pub fn list(&self) -> Reply {
        answered(|| {
            let mut copies: Vec<Download> = self.copies()?.iter().map(download).collect();
            copies.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
            Ok(Reply::Downloads(Downloads {
                limit: self.store.cache_limit(),
                copies,
            }))
        })
    }

    /// Removes the copy of a name or an id.
    #[must_use]
    pub fn evict(&self, what: &str) -> Reply {
        answered(|| {
            let Some(named) = self.find(what)? else {
                return Ok(nothing_of(what));
            };
            let name = &named.name;
            if named.row.as_ref().is_some_and(|row| self.is_only_copy(row)) {
                return Ok(failed(format!(
                    "{name} was saved here: the copy on this machine is the only one that can be read, for the service \
                     gives no upload back; it goes when the file is removed"
                )));
            }
            self.store.settle(Instant::now() + SETTLES);
            let Some(id) = named.id.filter(|id| self.store.is_cached(id)) else {
                return Ok(Reply::Unmatched {
                    why: format!("{name} is not downloaded"),
                });
            };
            if self.state.needed_ids()?.contains(&id) {
                return Ok(failed(format!(
                    "{name} is being removed or replaced: its bytes go to the trash"
                )));
            }
            let until = Instant::now() + LATE;
            Ok(match self.evict_closed(&id, named.row.as_deref(), until) {
                Ok(size) => Reply::Evicted {
                    name: named.name,
                    size: size.unwrap_or(0),
                },
                Err(Stays::Pinned) => failed(format!(
                    "{name} is pinned and stays; to release it: afs cache unpin {name}"
                )),
                Err(Stays::Open) => failed(format!(
                    "{name} is open in some program; try again when it is closed"
                )),
            })
        })
    }

    /// Removes all copies that may go.
    #[must_use]
    pub fn evict_all(&self) -> Reply {
        answered(|| {
            let needed = self.state.needed_ids()?;
            let until = Instant::now() + LATE;
            let (mut count, mut bytes, mut pinned, mut open) = (0, 0, 0, Vec::new());
            for copy in self.copies()? {
                if copy.last_used.is_none() || needed.contains(&copy.id) {
                    continue;
                }
                match self.evict_closed(&copy.id, copy.row.as_deref(), until) {
                    Ok(size) => {
                        count += usize::from(size.is_some());
                        bytes += size.unwrap_or(0);
                    }
                    Err(Stays::Pinned) => pinned += 1,
                    Err(Stays::Open) => open.push(name_of(&copy)),
                }
            }
            open.sort();
            Ok(Reply::EvictedAll {
                count,
                bytes,
                pinned,
                open,
            })
        })
    }

    /// Has the copy of a name or an id stay, and downloads it where it is not here; `say` is told how far that is, and
    /// says whether anybody still wants to know.
    #[must_use]
    pub fn pin(&self, what: &str, say: &mut dyn FnMut(&Reply) -> bool) -> Reply {
        answered(|| {
            let Some(named) = self.find(what)? else {
                return Ok(nothing_of(what));
            };
            let name = named.name;
            let (Some(id), Some(row)) = (named.id, named.row) else {
                return Ok(failed(format!("{name} is not at the service yet")));
            };
            if self.is_only_copy(&row) {
                return Ok(failed(format!(
                    "{name} was saved here, and such copies stay anyway: there is nothing to pin"
                )));
            }
            if !row.downloadable {
                return Ok(failed(format!(
                    "{name} can't be downloaded: the service gives back only what tools made"
                )));
            }
            if row.size == 0 {
                return Ok(failed(format!(
                    "{name} is empty: there is nothing to download"
                )));
            }
            self.store.settle(Instant::now() + SETTLES);
            if self.fs.is_none() && !self.store.is_cached(&id) {
                return Ok(failed(format!(
                    "{name} is not downloaded, and only a mount can do that: afs mount, then pin it"
                )));
            }
            self.pin_output(name, &id, row.size, say)
        })
    }

    fn pin_output(
        &self,
        name: String,
        id: &FileId,
        size: u64,
        say: &mut dyn FnMut(&Reply) -> bool,
    ) -> Result<Reply, StateError> {
        // First the pin: what comes must not go for the limit before it is known to stay.
        let is_new = self.store.pin(self.state, id)?;
        if let Some(fs) = self.fs
            && let Err(why) = bring(fs, &name, id, size, say)
        {
            if is_new {
                self.store.unpin(self.state, id)?;
            }
            return Ok(failed(format!("{name} could not be downloaded: {why}")));
        }
        Ok(Reply::Pinned { name, size })
    }

    /// Lets the copy of a name or an id go as others do.
    #[must_use]
    pub fn unpin(&self, what: &str) -> Reply {
        answered(|| {
            let Some(named) = self.find(what)? else {
                return Ok(nothing_of(what));
            };
            let was_pinned = match &named.id {
                Some(id) => self.store.unpin(self.state, id)?,
                None => false,
            };
            let name = named.name;
            Ok(if was_pinned {
                Reply::Unpinned { name }
            } else {
                Reply::Unmatched {
                    why: format!("{name} is not pinned"),
                }
            })
        })
    }

    fn copies(&self) -> Result<Vec<CachedCopy>, StateError> {
        self.store.settle(Instant::now() + SETTLES);
        self.store.cached(self.state)
    }

    /// What a name in the mount, or an id, stands for.
    fn find(&self, what: &str) -> Result<Option<Named>, StateError> {
        let id = FileId::new(without_link(what));
        let row = row_of(self.state, what)?;
        Ok(match row {
            Some(row) => Some(Named {
                name: called(self.state, &row),
                id: row.id.clone(),
                row: Some(row),
            }),
            None if self.store.is_cached(&id) => Some(Named {
                name: without_link(what).to_owned(),
                id: Some(id),
                row: None,
            }),
            None => None,
        })
    }

    /// Whether the bytes that a file shows are nowhere else to be had.
    fn is_only_copy(&self, row: &Row) -> bool {
        self.state.is_pending(row.ino) || row.id.as_ref().is_none_or(|id| self.store.is_kept(id))
    }

    /// Removes a copy as soon as nobody has it open; until then at the latest.
    fn evict_closed(
        &self,
        id: &FileId,
        row: Option<&Row>,
        until: Instant,
    ) -> Result<Option<u64>, Stays> {
        loop {
            let is_open = match (self.fs, row) {
                (Some(fs), Some(row)) => fs.is_open(row.ino),
                _ => false,
            };
            let evicted = if is_open && !self.store.is_pinned(id) {
                Err(Stays::Open)
            } else {
                self.store.evict_cached(id)
            };
            if evicted != Err(Stays::Open) || Instant::now() >= until {
                return evicted;
            }
            thread::park_timeout(SHORT);
        }
    }
}

fn answered(answer: impl FnOnce() -> Result<Reply, StateError>) -> Reply {
    answer().unwrap_or_else(|error| failed(error.to_string()))
}

/// Downloads what is not here, for as long as somebody listens.
pub(super) fn bring(
    fs: &WorkspaceFs,
    name: &str,
    id: &FileId,
    size: u64,
    say: &mut dyn FnMut(&Reply) -> bool,
) -> Result<(), String> {
    let reading = match fs.fetch_copy(id, size) {
        Ok(Fetched::Here(_)) => return Ok(()),
        Ok(Fetched::Arriving(reading)) => reading,
        Err(error) => return Err(error.to_string()),
    };
    let is_given_up = AtomicBool::new(false);
    let fetched = thread::scope(|scope| {
        let fetching = scope.spawn(|| {
            reading
                .whole(&|| is_given_up.load(Ordering::Relaxed))
                .map(drop)
        });
        while !fetching.is_finished() {
            if !say(&progress(name, &reading, size)) {
                is_given_up.store(true, Ordering::Relaxed);
            }
            thread::park_timeout(SHORT);
        }
        fetching.join()
    });
    match fetched {
        Ok(fetched) => fetched.map_err(|error| error.to_string()),
        Err(_) => Err("the download's thread panicked".to_owned()),
    }
}

fn progress(name: &str, reading: &Reading, size: u64) -> Reply {
    Reply::Downloading {
        name: name.to_owned(),
        done: reading.here(),
        size,
    }
}

fn download(copy: &CachedCopy) -> Download {
    Download {
        name: copy.row.as_deref().and_then(shown),
        id: copy.id.to_string(),
        size: copy.size,
        last_used: copy.last_used.map(millis),
        pinned: copy.is_pinned,
    }
}

fn name_of(copy: &CachedCopy) -> String {
    let name = copy.row.as_deref().and_then(shown);
    name.unwrap_or_else(|| copy.id.to_string())
}

fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

fn nothing_of(what: &str) -> Reply {
    Reply::Unmatched {
        why: format!("{what}: there is no file of this name or id"),
    }
}

fn failed(why: String) -> Reply {
    Reply::Failed { why }
}
