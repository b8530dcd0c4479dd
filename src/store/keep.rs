//! How many kept copies there may be, where a person has said so: beyond that the least recently used ones go, though
//! nobody gives them back. A file's access time is its last use, set here and not by who mounts the disk, so the order
//! survives a restart; the modification time says whether a copy is what was saved.

use std::collections::HashSet;
use std::fs::{self, File, FileTimes};
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::SystemTime;

use lru::LruCache;

use crate::api::FileId;
use crate::state::{State, StateError};

use super::{Store, file_name, lock};

/// The kept copies in their order of use.
#[derive(Debug)]
pub(super) struct Uses {
    limit: u64,
    copies: Mutex<Copies>,
    /// Held for writing while copies are chosen and go.
    gate: RwLock<()>,
}

#[derive(Debug)]
struct Copies {
    /// Sizes by name. Unbounded by count: bytes are what is limited.
    sizes: LruCache<String, u64>,
    total: u64,
}

/// While there is one, every kept copy stays.
#[derive(Debug)]
pub struct Stay<'a>(#[expect(dead_code, reason = "held")] Option<RwLockReadGuard<'a, ()>>);

impl Uses {
    pub(super) fn open(dir: &Path, limit: u64) -> io::Result<Self> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                let metadata = entry.metadata()?;
                found.push((metadata.accessed()?, name, metadata.len()));
            }
        }
        found.sort();
        let mut copies = Copies {
            sizes: LruCache::unbounded(),
            total: 0,
        };
        for (_, name, size) in found {
            copies.total += size;
            copies.sizes.put(name, size);
        }
        Ok(Self {
            limit,
            copies: Mutex::new(copies),
            gate: RwLock::new(()),
        })
    }

    /// Notes that a copy is used now, or new.
    pub(super) fn used(&self, name: &str, file: &File) {
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        {
            let mut copies = lock(&self.copies);
            let before = copies.sizes.put(name.to_owned(), size).unwrap_or(0);
            copies.total = copies.total + size - before;
        }
        let now = FileTimes::new().set_accessed(SystemTime::now());
        if let Err(error) = file.set_times(now) {
            log::debug!("the use of {name} could not be noted: {error}");
        }
    }

    pub(super) fn forget(&self, name: &str) {
        let mut copies = lock(&self.copies);
        if let Some(size) = copies.sizes.pop(name) {
            copies.total -= size;
        }
    }

    fn is_over(&self) -> bool {
        lock(&self.copies).total > self.limit
    }

    /// Those that go, least recently used first, until the rest is within the limit. What is needed stays.
    fn choose(&self, needed: &HashSet<String>) -> Vec<String> {
        let copies = lock(&self.copies);
        let mut total = copies.total;
        let mut chosen = Vec::new();
        // It runs from the most recently used one on.
        for (name, size) in copies.sizes.iter().rev() {
            if total <= self.limit {
                break;
            }
            if !needed.contains(name) {
                total -= size;
                chosen.push(name.clone());
            }
        }
        chosen
    }
}

impl Store {
    /// Lets every kept copy stay for a while: something is about to need one.
    pub fn let_kept_stay(&self) -> Stay<'_> {
        let gate = self.uses.as_ref().map(|uses| &uses.gate);
        Stay(gate.map(|gate| gate.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Removes kept copies beyond the limit, where there is one: the least recently used that no pending work needs.
    /// Open ones stay readable; a removed file lives until its last descriptor is closed.
    pub fn evict_kept(&self, state: &State) -> Result<(), StateError> {
        let Some(uses) = self.uses.as_ref().filter(|uses| uses.is_over()) else {
            return Ok(());
        };
        let _gate = uses.gate.write().unwrap_or_else(PoisonError::into_inner);
        let needed = state.needed_ids()?.iter().map(file_name).collect();
        let chosen = uses.choose(&needed);
        for name in &chosen {
            // First the name, so that nobody is told it is here.
            lock(&self.kept_names).remove(name);
            super::remove(&self.disk, &self.kept.join(name));
            uses.forget(name);
        }
        if !chosen.is_empty() {
            log::info!(
                "removed from what is kept, for it was more than --keep-limit allows: {} of the files least recently \
                 used. They can't be read here any more",
                chosen.len()
            );
        }
        Ok(())
    }

    /// A kept copy is used, or new.
    pub(super) fn note_use(&self, id: &FileId, file: &File) {
        if let Some(uses) = &self.uses {
            uses.used(&file_name(id), file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{SIZE, kept};
    use super::*;

    /// It counted again after a restart only, and until then one copy too many stayed.
    #[test]
    fn a_copy_that_comes_back_from_the_trash_counts_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (state, store, ids) = kept(dir.path(), Some(2 * SIZE as u64), &["a", "b"]);
        store.retire(&ids[0], "a").unwrap();
        store.take_back(&ids[0]).unwrap();
        store
            .keep_bytes(&vec![7; SIZE], &FileId::new("file_c"))
            .unwrap();
        store.evict_kept(&state).unwrap();
        assert_eq!(store.kept_bytes(), 2 * SIZE as u64);
        assert!(!store.is_kept(&ids[1]), "the least recently used one goes");
        assert!(store.is_kept(&ids[0]));
    }
}
