//! Cached copies: complete downloads, least recently used first out, but for those that are open or pinned. A file's
//! access time is its last use, set here and not by who mounts the disk, so the order survives a restart.
//!
//! A copy is *sealed* by its modification time: whole seconds. Whoever writes to it later leaves a time of the clock's,
//! which has a fraction, and the copy counts as damaged. On a disk that knows no fractions only the size tells.

use std::collections::HashSet;
use std::fs::{self, File, FileTimes, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime};

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
    /// By name, in order of use. Unbounded by count: bytes are what is limited.
    entries: LruCache<String, Entry>,
    total: u64,
    /// Names of copies that stay, whether they are here or not.
    pinned: HashSet<String>,
    /// Whether there are more than the limit allows, because some that would go are open.
    is_held: bool,
}

#[derive(Debug)]
struct Entry {
    size: u64,
    /// The file that its readers share.
    reader: Weak<File>,
}

/// A copy that is here.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) last_used: SystemTime,
    pub(super) is_pinned: bool,
}

/// Why a copy stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stays {
    /// A person wants it to.
    Pinned,
    /// Somebody has it open.
    Open,
}

/// Downloads in progress live beside the copies under this prefix, which no id's file name has.
const PARTIAL: &str = ".part-";

impl Copies {
    fn stays(&self, name: &str) -> Option<Stays> {
        if self.pinned.contains(name) {
            return Some(Stays::Pinned);
        }
        let entry = self.entries.peek(name)?;
        (entry.reader.strong_count() > 0).then_some(Stays::Open)
    }

    fn take(&mut self, name: &str) -> Option<Entry> {
        let entry = self.entries.pop(name)?;
        self.total -= entry.size;
        Some(entry)
    }

    /// Those that go, least recently used first, until the rest is within the limit; and whether open ones would go, too.
    /// The newest stays, however large: somebody reads it now.
    fn choose(&self, limit: u64) -> (Vec<String>, bool) {
        let mut total = self.total;
        let mut is_held = false;
        let others = self.entries.len().saturating_sub(1);
        let mut chosen = Vec::new();
        // It runs from the most recently used one on.
        for (name, entry) in self.entries.iter().rev().take(others) {
            if total <= limit {
                break;
            }
            match self.stays(name) {
                None => {
                    total -= entry.size;
                    chosen.push(name.clone());
                }
                Some(Stays::Open) => is_held = true,
                Some(Stays::Pinned) => {}
            }
        }
        (chosen, is_held)
    }
}

impl Cache {
    /// What is in `dir`. It is brought to the limit when the pins are known.
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
            found.push((metadata.accessed()?, name, metadata.len()));
        }
        found.sort();
        let mut copies = Copies {
            entries: LruCache::unbounded(),
            total: 0,
            pinned: HashSet::new(),
            is_held: false,
        };
        for (_, name, size) in found {
            copies.total += size;
            let reader = Weak::new();
            copies.entries.put(name, Entry { size, reader });
        }
        Ok(Self {
            disk: disk.clone(),
            dir,
            limit,
            copies: Mutex::new(copies),
        })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    pub(super) fn bytes(&self) -> u64 {
        lock(&self.copies).total
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        lock(&self.copies).entries.contains(name)
    }

    /// The copies that are here, in no order. The disk is asked.
    pub(super) fn list(&self) -> Vec<Found> {
        let names: Vec<(String, bool)> = {
            let copies = lock(&self.copies);
            let names = copies.entries.iter().map(|(name, _)| name.clone());
            names
                .map(|name| (name.clone(), copies.pinned.contains(&name)))
                .collect()
        };
        let mut found = Vec::new();
        for (name, is_pinned) in names {
            match fs::metadata(self.dir.join(&name)) {
                Ok(metadata) => found.push(Found {
                    size: metadata.len(),
                    last_used: metadata.accessed().unwrap_or(SystemTime::UNIX_EPOCH),
                    name,
                    is_pinned,
                }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.forget(&name),
                Err(error) => log::warn!("the cached copy {name} can't be looked at: {error}"),
            }
        }
        found
    }

    pub(super) fn open_copy(&self, name: &str, size: u64) -> io::Result<Option<Arc<File>>> {
        let shared = match lock(&self.copies).entries.get(name) {
            Some(entry) => entry.reader.upgrade(),
            None => return Ok(None),
        };
        let file = match shared.map_or_else(|| self.open_file(name), Ok) {
            Ok(file) => file,
            // Somebody cleaned ~/.cache, as anybody may.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.forget(name);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        if metadata.len() != size || !is_sealed(&metadata) {
            log::warn!("the cached copy {name} is damaged; it will be downloaded again");
            self.forget(name);
            return Ok(None);
        }
        let now = FileTimes::new().set_accessed(SystemTime::now());
        if let Err(error) = file.set_times(now) {
            log::debug!("the use of {name} could not be noted: {error}");
        }
        let mut copies = lock(&self.copies);
        let shared = match copies.entries.peek_mut(name) {
            Some(entry) => share(entry, file),
            // It went between the two looks. Its bytes are good for as long as the file is open.
            None => file,
        };
        if copies.is_held {
            self.evict(&mut copies);
        }
        Ok(Some(shared))
    }

    fn open_file(&self, name: &str) -> io::Result<Arc<File>> {
        File::open(self.dir.join(name)).map(Arc::new)
    }

    /// An empty file for a download, which is gone when it is dropped.
    pub(super) fn new_partial(&self) -> io::Result<tempfile::NamedTempFile> {
        self.disk.step(Step::Create(&self.dir.join(PARTIAL)), || {
            tempfile::Builder::new()
                .prefix(PARTIAL)
                .tempfile_in(&self.dir)
        })
    }

    /// Takes a complete, sealed, synced download in as the copy `name`; `file` is the one that its readers have.
    pub(super) fn add(
        &self,
        partial: tempfile::NamedTempFile,
        name: &str,
        file: &Arc<File>,
    ) -> io::Result<()> {
        let size = file.metadata()?.len();
        let (from, to) = (partial.path().to_owned(), self.dir.join(name));
        let step = Step::Rename {
            from: &from,
            to: &to,
        };
        self.disk
            .step(step, || partial.persist(&to).map_err(io::Error::from))?;
        let mut copies = lock(&self.copies);
        copies.take(name);
        let reader = Arc::downgrade(file);
        copies.entries.put(name.to_owned(), Entry { size, reader });
        copies.total += size;
        self.evict(&mut copies);
        Ok(())
    }

    pub(super) fn forget(&self, name: &str) {
        if lock(&self.copies).take(name).is_some() {
            self.remove(name);
        }
    }

    /// Removes one copy, unless it is to stay; how many bytes it had, `None` where there is none.
    pub(super) fn evict_one(&self, name: &str) -> Result<Option<u64>, Stays> {
        let mut copies = lock(&self.copies);
        if !copies.entries.contains(name) {
            return Ok(None);
        }
        if let Some(stays) = copies.stays(name) {
            return Err(stays);
        }
        let entry = copies.take(name);
        self.remove(name);
        Ok(entry.map(|entry| entry.size))
    }

    /// Says which copies stay, and brings the others to the limit.
    pub(super) fn set_pinned(&self, pinned: HashSet<String>) {
        let mut copies = lock(&self.copies);
        copies.pinned = pinned;
        self.evict(&mut copies);
    }

    pub(super) fn is_pinned(&self, name: &str) -> bool {
        lock(&self.copies).pinned.contains(name)
    }

    pub(super) fn pin(&self, name: String) {
        lock(&self.copies).pinned.insert(name);
    }

    pub(super) fn unpin(&self, name: &str) {
        let mut copies = lock(&self.copies);
        if copies.pinned.remove(name) {
            self.evict(&mut copies);
        }
    }

    /// Whether a copy that is closed may have to go.
    pub(super) fn is_held(&self) -> bool {
        lock(&self.copies).is_held
    }

    /// Removes copies that only stayed because they were open.
    pub(super) fn fit(&self) {
        self.evict(&mut lock(&self.copies));
    }

    /// Removes copies until the rest is within the limit, or stays.
    fn evict(&self, copies: &mut Copies) {
        let (chosen, is_held) = copies.choose(self.limit);
        copies.is_held = is_held;
        for name in chosen {
            copies.take(&name);
            self.remove(&name);
        }
    }

    fn remove(&self, name: &str) {
        super::remove(&self.disk, &self.dir.join(name));
    }
}

/// The file that the readers of a copy share: the one that is open already, or this one.
fn share(entry: &mut Entry, file: Arc<File>) -> Arc<File> {
    if let Some(shared) = entry.reader.upgrade() {
        return shared;
    }
    entry.reader = Arc::downgrade(&file);
    file
}

/// Seals a complete download: whoever changes it from now on breaks the seal. One that can't be sealed is good for whoever
/// reads it now, and downloaded again for the next.
pub(super) fn seal(file: &File) {
    let now = SystemTime::now();
    let since = now.duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.map_or(0, |since| since.as_secs());
    let whole = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let times = FileTimes::new().set_modified(whole).set_accessed(now);
    if let Err(error) = file.set_times(times) {
        log::debug!("a download could not be sealed: {error}");
    }
}

fn is_sealed(metadata: &Metadata) -> bool {
    metadata.mtime_nsec() == 0
}
