//! Cached copies: complete downloads, least recently used first out. A file's modification time is its last use, so
//! the order survives a restart.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use lru::LruCache;

use crate::disk::{Disk, Step};

use super::lock;

#[derive(Debug)]
pub(super) struct Cache {
    disk: Disk,
    dir: PathBuf,
    limit: u64,
    copies: Mutex<Copies>,
}

#[derive(Debug)]
struct Copies {
    /// Sizes by name, in order of use. Unbounded by count: bytes are what is limited.
    sizes: LruCache<String, u64>,
    total: u64,
}

/// Downloads in progress live beside the copies under this prefix, which no id's file name has.
const PARTIAL: &str = ".part-";

impl Cache {
    pub(super) fn open(disk: &Disk, dir: PathBuf, limit: u64) -> io::Result<Self> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if name.starts_with(PARTIAL) {
                // Left by a process that died; what it has here is told by nothing.
                disk.remove_file(&entry.path())?;
                continue;
            }
            let metadata = entry.metadata()?;
            found.push((metadata.modified()?, name, metadata.len()));
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
        let cache = Self {
            disk: disk.clone(),
            dir,
            limit,
            copies: Mutex::new(copies),
        };
        cache.evict(&mut lock(&cache.copies));
        Ok(cache)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn bytes(&self) -> u64 {
        lock(&self.copies).total
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        lock(&self.copies).sizes.contains(name)
    }

    pub(super) fn open_copy(&self, name: &str, size: u64) -> io::Result<Option<File>> {
        if lock(&self.copies).sizes.get(name).is_none() {
            return Ok(None);
        }
        let file = match File::open(self.dir.join(name)) {
            Ok(file) => file,
            // Somebody cleaned ~/.cache, as anybody may.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.forget(name);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        if file.metadata()?.len() != size {
            log::warn!("the cached copy {name} is damaged; it will be downloaded again");
            self.forget(name);
            return Ok(None);
        }
        if let Err(error) = file.set_modified(SystemTime::now()) {
            log::debug!("the use of {name} could not be noted: {error}");
        }
        Ok(Some(file))
    }

    /// An empty file for a download, which is gone when it is dropped.
    pub(super) fn new_partial(&self) -> io::Result<tempfile::NamedTempFile> {
        self.disk.step(Step::Create(&self.dir.join(PARTIAL)), || {
            tempfile::Builder::new()
                .prefix(PARTIAL)
                .tempfile_in(&self.dir)
        })
    }

    /// Takes a complete, synced download in as the copy `name`.
    pub(super) fn add(&self, partial: tempfile::NamedTempFile, name: &str) -> io::Result<File> {
        let size = partial.as_file().metadata()?.len();
        let (from, to) = (partial.path().to_owned(), self.dir.join(name));
        let step = Step::Rename {
            from: &from,
            to: &to,
        };
        let file = self
            .disk
            .step(step, || partial.persist(&to).map_err(io::Error::from))?;
        let mut copies = lock(&self.copies);
        let replaced = copies.sizes.put(name.to_owned(), size).unwrap_or(0);
        copies.total = copies.total + size - replaced;
        self.evict(&mut copies);
        Ok(file)
    }

    pub(super) fn forget(&self, name: &str) {
        let mut copies = lock(&self.copies);
        if let Some(size) = copies.sizes.pop(name) {
            copies.total -= size;
            self.remove(name);
        }
    }

    /// Removes copies until the rest is within the limit. The newest stays, however large: somebody reads it now. Open
    /// ones stay readable; a removed file lives until its last descriptor is closed.
    fn evict(&self, copies: &mut Copies) {
        while copies.total > self.limit && copies.sizes.len() > 1 {
            if let Some((name, size)) = copies.sizes.pop_lru() {
                copies.total -= size;
                self.remove(&name);
            }
        }
    }

    fn remove(&self, name: &str) {
        super::remove(&self.disk, &self.dir.join(name));
    }
}
