//! What people do about cached copies: look at them, remove them, pin them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::thread;
use std::time::SystemTime;

use crate::api::FileId;
use crate::state::{Ino, Row, State, StateError};

use super::cache::Stays;
use super::{Store, file_name};

/// A downloaded copy, or the pin of one that is not here.
#[derive(Debug)]
pub struct CachedCopy {
    /// Whose bytes it has.
    pub id: FileId,
    /// The file; `None` where nothing is known of it any more.
    pub row: Option<Arc<Row>>,
    /// Bytes.
    pub size: u64,
    /// When somebody opened it last; `None` where it is not here.
    pub last_used: Option<SystemTime>,
    /// Whether it stays whatever the limit says.
    pub is_pinned: bool,
}

/// How many rows one step of a look through the outputs reads.
const BATCH: usize = 512;

impl Store {
    /// Learns the pins, and brings the cached copies to their limit.
    pub fn fit_cache(&self, state: &State) -> Result<(), StateError> {
        state.release_lost_pins()?;
        let pinned = state.pinned()?;
        self.cache
            .set_pinned(pinned.iter().map(file_name).collect());
        Ok(())
    }

    /// The cached copies, and the pins of files whose copies are not here; in no order.
    pub fn cached(&self, state: &State) -> Result<Vec<CachedCopy>, StateError> {
        let found = self.cache.list();
        let by_digest = ids_of_digests(state, found.iter().map(|found| &*found.name))?;
        let mut copies = Vec::new();
        let mut seen = HashSet::new();
        for found in found {
            let id = match by_digest.get(&found.name) {
                Some(id) => id.clone(),
                None => FileId::new(found.name.clone()),
            };
            seen.insert(id.clone());
            copies.push(CachedCopy {
                row: state.row_of_id(&id)?,
                id,
                size: found.size,
                last_used: Some(found.last_used),
                is_pinned: found.is_pinned,
            });
        }
        for id in state.pinned()? {
            if !seen.contains(&id)
                && let Some(row) = state.row_of_id(&id)?
            {
                copies.push(CachedCopy {
                    id,
                    size: row.size,
                    row: Some(row),
                    last_used: None,
                    is_pinned: true,
                });
            }
        }
        Ok(copies)
    }

    /// Whether the id's bytes are cached. Asks no disk.
    #[must_use]
    pub fn is_cached(&self, id: &FileId) -> bool {
        self.cache.contains(&file_name(id))
    }

    /// Whether the cached copy of an id stays, whether it is here or not.
    #[must_use]
    pub fn is_pinned(&self, id: &FileId) -> bool {
        self.cache.is_pinned(&file_name(id))
    }

    /// How many bytes of cached copies there may be.
    #[must_use]
    pub fn cache_limit(&self) -> u64 {
        self.cache.limit()
    }

    /// Removes the cached copy of an id, unless it is to stay; how many bytes it had, `None` where there is none.
    pub fn evict_cached(&self, id: &FileId) -> Result<Option<u64>, Stays> {
        self.cache.evict_one(&file_name(id))
    }

    /// A file was closed: where its copy only stayed because it was open, it goes now.
    pub fn copy_closed(self: &Arc<Self>) {
        if !self.cache.is_held() {
            return;
        }
        // Removing a large file takes the disk a while, and this may be an event loop.
        let store = Arc::clone(self);
        let evicting = thread::Builder::new()
            .name("afs-evict".into())
            .spawn(move || store.cache.fit());
        if let Err(error) = evicting {
            log::debug!("no thread to evict copies, the next download does it: {error}");
        }
    }

    /// Has the cached copy of an id stay from now on, also where it comes later; whether it was not pinned before.
    pub fn pin(&self, state: &State, id: &FileId) -> Result<bool, StateError> {
        let is_new = state.pin(id)?;
        self.cache.pin(file_name(id));
        Ok(is_new)
    }

    /// Lets it go as others do; whether it was pinned.
    pub fn unpin(&self, state: &State, id: &FileId) -> Result<bool, StateError> {
        let was_pinned = state.unpin(id)?;
        self.cache.unpin(&file_name(id));
        Ok(was_pinned)
    }
}

/// The ids behind those names of copies that are digests of them.
fn ids_of_digests<'a>(
    state: &State,
    names: impl Iterator<Item = &'a str>,
) -> Result<HashMap<String, FileId>, StateError> {
    let wanted: HashSet<&str> = names.filter(|name| name.starts_with('=')).collect();
    let mut ids = HashMap::new();
    let mut after = Ino(0);
    while !wanted.is_empty() {
        let rows = state.downloadable_files(after, BATCH)?;
        for row in &rows {
            after = row.ino;
            if let Some(id) = &row.id
                && wanted.contains(&*file_name(id))
            {
                ids.insert(file_name(id), id.clone());
            }
        }
        if rows.len() < BATCH {
            break;
        }
    }
    Ok(ids)
}
