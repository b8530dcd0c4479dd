//! Bytes on disk. *Kept* files are the only copies a user can read again (the service never gives an upload back) and
//! are never removed for space; *cached* ones can be downloaded again and are, least recently used first, under a size
//! limit. *Staged* files hold what is being written, or sealed and on its way.
//!
//! A file id's bytes never change, so copies keyed by id never go stale.

mod cache;
mod cached;
mod fetch;
mod keep;
mod space;
#[cfg(test)]
mod tests;
mod trash;
mod verify;

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::api::FileId;
use crate::disk::Disk;
use crate::state::{Held, KeptAs, lock, now};

use std::fmt::Write as _;

pub use cache::Stays;
pub use cached::CachedCopy;
pub use fetch::{Arriving, FetchError, Fetched, Reading, Source};
pub use keep::Stay;
pub use space::Room;
pub use trash::Trashed;
pub use verify::{Findings, Print};

use cache::Cache;
use fetch::Fetches;
use keep::Uses;
use space::Space;
use trash::Trash;
use verify::{Suspects, mtime_of};

/// The copies of one workspace.
#[derive(Debug)]
pub struct Store {
    disk: Disk,
    kept: PathBuf,
    staged: PathBuf,
    /// The names under `kept/`, so that a directory listing asks the disk nothing.
    kept_names: Mutex<HashSet<String>>,
    suspects: Mutex<Suspects>,
    next_stage: AtomicU64,
    cache: Cache,
    fetches: Fetches,
    /// How long a download may bring nothing.
    no_progress: Duration,
    /// `None`: what is deleted is gone at once.
    trash: Option<Trash>,
    space: Space,
    /// `None`: kept copies stay, however many there are.
    uses: Option<Uses>,
}

/// How much may lie around here, and how long it may take to come.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of cached copies.
    pub cache: u64,
    /// Whether what is deleted stays in the trash for a while.
    pub trash: bool,
    /// Bytes that stay free on the disk of the state directory; `None`: the usual.
    pub min_free: Option<u64>,
    /// Bytes of kept copies; `None`: they stay, however many there are.
    pub kept: Option<u64>,
    /// How long a download may bring nothing before it is given up.
    pub no_progress: Duration,
}

/// A file that is being written, under a name of its own in `staged/`.
#[derive(Debug)]
pub struct Stage {
    /// Its name, for the outbox.
    pub name: String,
    /// It.
    pub file: File,
}

impl Store {
    /// Opens the copies under `state_dir` (kept, staged, trash) and `cache_dir` (cached), creating what is missing, for
    /// its owner only.
    pub fn open(state_dir: &Path, cache_dir: &Path, limits: Limits) -> io::Result<Self> {
        Self::open_on(&Disk::real(), state_dir, cache_dir, limits)
    }

    /// The same on another disk than the real one.
    pub fn open_on(
        disk: &Disk,
        state_dir: &Path,
        cache_dir: &Path,
        limits: Limits,
    ) -> io::Result<Self> {
        let dir = |path: PathBuf| disk.make_dir(&path).map(|()| path);
        let kept = dir(state_dir.join("kept"))?;
        let staged = dir(state_dir.join("staged"))?;
        let last_stage = names_in(&staged)?
            .iter()
            .filter_map(|name| name.parse::<u64>().ok())
            .max();
        Ok(Self {
            kept_names: Mutex::new(names_in(&kept)?.into_iter().collect()),
            suspects: Mutex::default(),
            next_stage: AtomicU64::new(last_stage.unwrap_or(0) + 1),
            cache: Cache::open(disk, dir(cache_dir.to_owned())?, limits.cache)?,
            fetches: Fetches::default(),
            no_progress: limits.no_progress,
            trash: if limits.trash {
                Some(Trash::open(disk, dir(state_dir.join("trash"))?, now())?)
            } else {
                None
            },
            space: Space::new(state_dir, limits.min_free)?,
            uses: match limits.kept {
                Some(limit) => Some(Uses::open(&kept, limit)?),
                None => None,
            },
            kept,
            staged,
            disk: disk.clone(),
        })
    }

    /// Fails with `StorageFull` where so little is free on the disk that no new content is taken in, be it into memory:
    /// it will have to be stored some time.
    pub fn must_have_room(&self, growth: u64) -> io::Result<()> {
        self.space.take(growth)
    }

    /// Takes room for `growth` more bytes where that needs no look at the disk; `false` says nothing.
    #[must_use]
    pub fn takes_room_now(&self, growth: u64) -> bool {
        self.space.take_now(growth)
    }

    /// Whether the id's bytes are here. Asks no disk.
    #[must_use]
    pub fn has(&self, id: &FileId) -> bool {
        let name = file_name(id);
        lock(&self.kept_names).contains(&name) || self.cache.contains(&name)
    }

    /// Whether the id's bytes are kept, not only cached.
    #[must_use]
    pub fn is_kept(&self, id: &FileId) -> bool {
        lock(&self.kept_names).contains(&file_name(id))
    }

    /// Where the kept copy of an id is, for people, and its bytes.
    #[must_use]
    pub fn kept_file(&self, id: &FileId) -> Option<(PathBuf, u64)> {
        let path = self.kept.join(file_name(id));
        let metadata = fs::metadata(&path).ok().filter(|_| self.is_kept(id))?;
        Some((path, metadata.len()))
    }

    /// Bytes of kept files.
    #[must_use]
    pub fn kept_bytes(&self) -> u64 {
        let names: Vec<String> = lock(&self.kept_names).iter().cloned().collect();
        names
            .iter()
            .filter_map(|name| fs::metadata(self.kept.join(name)).ok())
            .map(|metadata| metadata.len())
            .sum()
    }

    /// Bytes of cached files.
    #[must_use]
    pub fn cached_bytes(&self) -> u64 {
        self.cache.bytes()
    }

    /// The local copy of an id of `size` bytes, if there is one and it is what it should be. A damaged copy is worse than none: a cached
    /// one is dropped and had again, a kept one stays for a person to look at.
    pub fn open_copy(
        &self,
        id: &FileId,
        size: u64,
        print: &Print,
    ) -> io::Result<Option<Arc<File>>> {
        if self.is_kept(id) {
            match self.open_kept(id, print) {
                // It was one too many, between the two looks.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !self.is_kept(id) => {}
                result => return result.map(|file| Some(Arc::new(file))),
            }
        }
        self.open_cached(id, size)
    }

    /// The cached copy of an id, if there is one, it has its `size`, and nobody has written to it. It is not evicted for
    /// as long as it is held.
    fn open_cached(&self, id: &FileId, size: u64) -> io::Result<Option<Arc<File>>> {
        self.cache.open_copy(&file_name(id), size)
    }

    /// A new empty staged file.
    pub fn stage(&self) -> io::Result<Stage> {
        let number = self.next_stage.fetch_add(1, Ordering::Relaxed);
        let name = number.to_string();
        let file = self.disk.create(&self.staged.join(&name))?;
        Ok(Stage { name, file })
    }

    /// A staged name for bytes that are here under another one, durably and without copying them.
    pub fn stage_again(&self, held: &Held) -> io::Result<String> {
        let from = match held {
            Held::Staged(stage) => self.staged.join(stage),
            Held::Kept(id) => self.kept.join(file_name(id)),
        };
        let number = self.next_stage.fetch_add(1, Ordering::Relaxed);
        let name = number.to_string();
        self.disk.hard_link(&from, &self.staged.join(&name))?;
        self.disk.sync_dir(&self.staged)?;
        Ok(name)
    }

    /// Writes to a staged file: all of `data`, or after an error any part of it.
    pub fn write_stage(&self, name: &str, file: &File, data: &[u8], offset: u64) -> io::Result<()> {
        self.disk
            .write_all_at(&self.staged.join(name), file, data, offset)
    }

    /// Copies the first `length` bytes of a file to an empty staged one.
    pub fn copy_to_stage(
        &self,
        name: &str,
        file: &File,
        from: &File,
        length: u64,
    ) -> io::Result<()> {
        self.disk.copy(from, &self.staged.join(name), file, length)
    }

    /// Cuts or extends a staged file.
    pub fn resize_stage(&self, name: &str, file: &File, size: u64) -> io::Result<()> {
        self.disk.set_len(&self.staged.join(name), file, size)
    }

    /// Extends a staged file, and makes sure of the room for all of it.
    pub fn allocate_stage(&self, name: &str, file: &File, size: u64) -> io::Result<()> {
        self.disk.allocate(&self.staged.join(name), file, size)
    }

    /// Opens a staged file for reading.
    pub fn open_staged(&self, name: &str) -> io::Result<File> {
        File::open(self.staged.join(name))
    }

    /// Makes a staged file and its name durable.
    pub fn sync_stage(&self, name: &str, file: &File) -> io::Result<()> {
        self.disk.sync(&self.staged.join(name), file)?;
        self.disk.sync_dir(&self.staged)
    }

    /// Removes staged files that nothing needs any more.
    pub fn drop_stages(&self, names: &[String]) {
        for name in names {
            self.drop_stage(name);
        }
    }

    /// Removes a staged file that nothing needs any more. A leftover is harmless: the next start removes it.
    pub fn drop_stage(&self, name: &str) {
        if let Err(error) = self.disk.remove_file(&self.staged.join(name)) {
            log::warn!("staged file {name} could not be removed: {error}");
        }
    }

    /// The staged files: their sizes and when they were changed last, nanoseconds since 1970.
    pub fn staged(&self) -> io::Result<HashMap<String, (u64, i64)>> {
        let mut found = HashMap::new();
        for name in names_in(&self.staged)? {
            let metadata = fs::metadata(self.staged.join(&name))?;
            let changed = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
            found.insert(name, (metadata.len(), changed));
        }
        Ok(found)
    }

    /// Removes staged files that no record names: what a process that died had not sealed.
    pub fn drop_stages_but(&self, wanted: &HashSet<String>) -> io::Result<()> {
        for name in names_in(&self.staged)? {
            if !wanted.contains(&name) {
                self.drop_stage(&name);
            }
        }
        Ok(())
    }

    /// Keeps a sealed staged file as the bytes of `id`, durably, without copying it. The staged name stays until its
    /// record is gone, so that there is no instant at which neither finds the bytes.
    pub fn keep_staged(&self, name: &str, id: &FileId) -> io::Result<KeptAs> {
        self.keep(id, |kept| self.link(&self.staged.join(name), kept))
    }

    /// Keeps the bytes of `old` as those of `new` too: a rename at the service.
    pub fn keep_again(&self, old: &FileId, new: &FileId) -> io::Result<KeptAs> {
        self.keep(new, |kept| self.link(&self.kept.join(file_name(old)), kept))
    }

    /// Keeps small content as the bytes of `id`, durably.
    pub fn keep_bytes(&self, bytes: &[u8], id: &FileId) -> io::Result<KeptAs> {
        self.keep(id, |kept| {
            let Stage { name, file } = self.stage()?;
            let path = self.staged.join(&name);
            let put = self
                .write_stage(&name, &file, bytes, 0)
                .and_then(|()| self.disk.sync(&path, &file))
                .and_then(|()| self.disk.rename(&path, kept));
            if put.is_err() {
                self.drop_stage(&name);
            }
            put
        })
    }

    /// A second name for a file; that it has it already is fine, so that a repeated step is no error.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        match self.disk.hard_link(from, to) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        }
    }

    /// Puts a copy in place; what it is known again by.
    fn keep(&self, id: &FileId, put: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<KeptAs> {
        let name = file_name(id);
        let path = self.kept.join(&name);
        put(&path)?;
        self.disk.sync_dir(&self.kept)?;
        let file = File::open(&path)?;
        let metadata = file.metadata()?;
        self.note_use(id, &file);
        lock(&self.kept_names).insert(name);
        Ok(KeptAs {
            size: metadata.len(),
            mtime: mtime_of(&metadata),
        })
    }

    /// Brings the copies of an id to the trash that is about to be deleted at the service; `called` is what people know
    /// it by. Open ones stay readable. Whether there is one in the trash now, bytes and name safe on the disk.
    pub fn throw_away(&self, id: &FileId, called: &str) -> io::Result<bool> {
        let Some(trash) = &self.trash else {
            return Ok(false);
        };
        let name = file_name(id);
        let copy = if self.is_kept(id) {
            self.kept.join(&name)
        } else {
            self.cache.dir().join(&name)
        };
        // An earlier try may have brought it, and failed before it was safe there.
        Ok(trash.take(&copy, &name, called, now())? || trash.settle(&name)?)
    }

    /// Brings a staged file to the trash, by a second name: its own stays until its record is gone. `id` is unlike any
    /// other's. Whether there is a trash.
    pub fn throw_away_staged(&self, stage: &str, id: &str, called: &str) -> io::Result<bool> {
        let Some(trash) = &self.trash else {
            return Ok(false);
        };
        let stage = self.staged.join(stage);
        let size = fs::metadata(&stage)?.len();
        trash.put(id, called, size, now(), |to| self.link(&stage, to))?;
        Ok(true)
    }

    /// Brings bytes to the trash that are in no file; as [`Store::throw_away_staged`].
    pub fn throw_away_bytes(&self, bytes: &[u8], id: &str, called: &str) -> io::Result<bool> {
        let Some(trash) = &self.trash else {
            return Ok(false);
        };
        trash.put(id, called, bytes.len() as u64, now(), |to| {
            let file = self.disk.create(to)?;
            self.disk.write_all_at(to, &file, bytes, 0)?;
            self.disk.sync(to, &file)
        })?;
        Ok(true)
    }

    /// Takes the copies of an id back that the service refuses to delete.
    pub fn take_back(&self, id: &FileId) -> io::Result<()> {
        let name = file_name(id);
        let Some(trash) = &self.trash else {
            return Ok(());
        };
        if self.cache.contains(&name) && !self.is_kept(id) {
            return trash
                .give_back(&name, &self.cache.dir().join(&name))
                .map(drop);
        }
        // An own upload's, or another process threw it away and nobody knows: then it is kept, to be on the safe side.
        let path = self.kept.join(&name);
        if trash.give_back(&name, &path)? {
            self.disk.sync_dir(&self.kept)?;
            match File::open(&path) {
                Ok(file) => self.note_use(id, &file),
                Err(error) => log::debug!("{name} is back and can't be opened: {error}"),
            }
            lock(&self.kept_names).insert(name);
        }
        Ok(())
    }

    /// Brings the kept copy of an id to the trash that somebody else deleted at the service. Without a trash it stays:
    /// it may be the only one there is.
    pub fn retire(&self, id: &FileId, called: &str) -> io::Result<()> {
        if self.trash.is_some() && self.is_kept(id) {
            self.throw_away(id, called)?;
            let name = file_name(id);
            if let Some(uses) = &self.uses {
                uses.forget(&name);
            }
            lock(&self.kept_names).remove(&name);
        }
        Ok(())
    }

    /// What is in the trash, oldest first; nothing where there is none.
    pub fn trashed(&self) -> io::Result<Vec<Trashed>> {
        self.trash.as_ref().map_or(Ok(Vec::new()), Trash::list)
    }

    /// Removes a file from the trash for good, by its key; whether it was there.
    pub fn empty_trash(&self, key: &str) -> io::Result<bool> {
        self.trash
            .as_ref()
            .map_or(Ok(false), |trash| trash.remove(key))
    }

    /// Bytes in the trash.
    #[must_use]
    pub fn trash_bytes(&self) -> u64 {
        self.trash.as_ref().map_or(0, Trash::bytes)
    }

    /// Whether what is deleted is brought to a trash.
    #[must_use]
    pub fn has_trash(&self) -> bool {
        self.trash.is_some()
    }

    /// Removes what is left here of an id that is deleted at the service.
    pub fn forget(&self, id: &FileId) {
        let name = file_name(id);
        if let Some(uses) = &self.uses {
            uses.forget(&name);
        }
        if lock(&self.kept_names).remove(&name) {
            remove(&self.disk, &self.kept.join(&name));
        }
        self.cache.forget(&name);
        self.cache.unpin(&name);
    }
}

/// An id as a file name. Ids are opaque: one that is not plainly a file name is named by its digest.
fn file_name(id: &FileId) -> String {
    let id = id.as_str();
    let is_plain = !id.is_empty()
        && id.len() <= 200
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if is_plain {
        return id.to_owned();
    }
    let digest = Sha256::digest(id.as_bytes());
    digest.iter().fold(String::from("="), |mut name, byte| {
        let _ = write!(name, "{byte:02x}");
        name
    })
}

/// Removes a file that may be in the trash already.
fn remove(disk: &Disk, path: &Path) {
    match disk.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            log::warn!("{} could not be removed: {error}", path.display());
        }
        _ => {}
    }
}

fn names_in(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    Ok(names)
}
