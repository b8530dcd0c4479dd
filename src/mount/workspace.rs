//! Finding a workspace's state and opening it, for this process alone.

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::api::{ApiKey, Cursor, CustomHeaders, FilePage, FilesApi, ListQuery};
use crate::names::NameStyle;
use crate::state::{LOCK, State, StateError, WorkspaceId, Workspaces};
use crate::store::{Limits, Store};
use crate::sync::{RefreshError, restyle};

use super::MountError;

/// A workspace's state, open and locked.
#[derive(Debug)]
pub(super) struct Workspace {
    pub(super) dir: PathBuf,
    pub(super) state: Arc<State>,
    pub(super) store: Arc<Store>,
    /// The newest page, where it had to be asked for to find the workspace.
    pub(super) first_page: Option<FilePage>,
    /// Held for as long as the process lives: the state has one writer.
    _lock: File,
}

/// How long who only looks at a state may have its lock.
const LOOKED_AT: Duration = Duration::from_millis(500);
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

/// The fact that is "1" while a mount has the state: found at a start, the end before was unclean.
const RUNNING: &str = "running";

impl Workspace {
    /// The end of this process's work: all of it is on disk.
    pub(super) fn close(&self) -> Result<(), StateError> {
        self.state.set_fact(RUNNING, "0")?;
        self.state.sync()
    }
}

/// Where a workspace's state and cache live, and whose workspace it is.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) state_root: &'a Path,
    pub(super) cache_root: &'a Path,
    /// Where it is shown, if it is.
    pub(super) mountpoint: Option<&'a Path>,
    /// How names are given and shown, where nothing else is remembered or this is a mount.
    pub(super) names: NameStyle,
    pub(super) limits: Limits,
    pub(super) base_url: &'a str,
    pub(super) identity: &'a Identity,
}

impl Place<'_> {
    /// Opens the key's workspace. A key that is new here costs one list call, to see whether it belongs to a workspace
    /// that is known under another key.
    pub(super) fn open(&self, api: &dyn FilesApi) -> Result<Workspace, MountError> {
        let (id, first_page) = self.find(api)?;
        let dir = self.state_root.join(id.as_str());
        let cache_dir = self.cache_root.join(id.as_str());
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(|error| MountError::Disk(dir.clone(), error))?;
        let lock = lock(&dir)?;
        let state = State::open(&dir)?;
        // A command shows the names that the mount before it has shown.
        if self.mountpoint.is_some() || !state.has_style()? {
            restyle(&state, self.names)?;
        }
        let store = Store::open(&dir, &cache_dir, self.limits)
            .map_err(|error| MountError::Disk(dir.clone(), error))?;
        let staged = store
            .staged()
            .map_err(|error| MountError::Disk(dir.clone(), error))?;
        state.keep_drafts(&staged)?;
        if state.fact(RUNNING)?.is_some_and(|running| running == "1") {
            log::warn!("the mount before did not end cleanly; the kept copies are checked");
            store.distrust_kept();
        }
        state.set_fact(RUNNING, "1")?;
        let wanted = state.recover()?;
        store
            .drop_stages_but(&wanted)
            .map_err(|error| MountError::Disk(dir.clone(), error))?;
        store.evict_kept(&state)?;
        store.fit_cache(&state)?;
        self.note_where(&state, &cache_dir)?;
        Ok(Workspace {
            dir,
            state: Arc::new(state),
            store: Arc::new(store),
            first_page,
            _lock: lock,
        })
    }

    fn note_where(&self, state: &State, cache_dir: &Path) -> Result<(), StateError> {
        let size = self.limits.cache.to_string();
        for (fact, value) in [
            (MOUNTPOINT, self.mountpoint.and_then(Path::to_str)),
            (CACHE_DIR, cache_dir.to_str()),
            (CACHE_SIZE, Some(&*size)),
        ] {
            // Paths that are no text are told by nobody.
            if let Some(value) = value {
                state.set_fact(fact, value)?;
            }
        }
        Ok(())
    }

    fn find(&self, api: &dyn FilesApi) -> Result<(WorkspaceId, Option<FilePage>), MountError> {
        let workspaces = Workspaces::open(self.state_root)?;
        let key = self.identity.fingerprint(self.base_url);
        if let Some(id) = workspaces.known(self.base_url, &key)? {
            return Ok((id, None));
        }
        // Before anything is written: a mistyped key leaves nothing behind.
        let page = api
            .list(&ListQuery::page(Cursor::Newest))
            .map_err(|error| MountError::FirstListing {
                base_url: self.base_url.to_owned(),
                error: Box::new(RefreshError::Api(error)),
            })?;
        let listed: Vec<_> = page.files.iter().map(|file| file.id.clone()).collect();
        Ok((workspaces.place(self.base_url, &key, &listed)?, Some(page)))
    }
}

/// Facts for commands while nobody has it mounted: where it was mounted last, where its downloaded copies are, and how
/// many bytes of them there may be.
const MOUNTPOINT: &str = "mountpoint";
const CACHE_DIR: &str = "cache_dir";
const CACHE_SIZE: &str = "cache_size";

/// A workspace that nobody has mounted, open for as long as this lives: until then nobody can mount it.
#[derive(Debug)]
pub struct Unmounted {
    /// Its state.
    pub state: State,
    dir: PathBuf,
    _lock: File,
}

impl Unmounted {
    /// Those below a directory of states. What can't be read is passed over: it is the business of whoever mounts it.
    #[must_use]
    pub fn below(state_root: &Path) -> Vec<Self> {
        if !state_root.is_dir() {
            return Vec::new();
        }
        let dirs = Workspaces::open(state_root).and_then(|workspaces| workspaces.dirs());
        let dirs = dirs.unwrap_or_else(|error| {
            log::warn!("the workspaces of this machine are not known: {error}");
            Vec::new()
        });
        dirs.into_iter().filter_map(Self::open).collect()
    }

    fn open(dir: PathBuf) -> Option<Self> {
        if !dir.join("state.db").exists() {
            return None;
        }
        let lock = File::open(dir.join(LOCK)).ok()?;
        lock.try_lock().ok()?;
        match State::open(&dir) {
            Ok(state) => Some(Self {
                state,
                dir,
                _lock: lock,
            }),
            Err(error) => {
                log::warn!("the state in {} is passed over: {error}", dir.display());
                None
            }
        }
    }

    /// Where it was mounted last; where that is not known, where its state is.
    #[must_use]
    pub fn place(&self) -> PathBuf {
        let known = self.state.fact(MOUNTPOINT).ok().flatten();
        known.map_or_else(|| self.dir.clone(), PathBuf::from)
    }

    /// Its copies. Where its downloads are is known since it was mounted last.
    pub fn store(&self) -> Result<Arc<Store>, MountError> {
        let cache_dir = self.state.fact(CACHE_DIR)?;
        let size = self.state.fact(CACHE_SIZE)?;
        let (Some(cache_dir), Some(Ok(cache))) = (cache_dir, size.map(|size| size.parse())) else {
            return Err(MountError::CacheUnknown(self.dir.clone()));
        };
        let limits = Limits {
            cache,
            trash: true,
            min_free: None,
            kept: None,
            no_progress: Duration::ZERO,
        };
        let store = Store::open(&self.dir, Path::new(&cache_dir), limits)
            .map_err(|error| MountError::Disk(self.dir.clone(), error))?;
        store.fit_cache(&self.state)?;
        Ok(Arc::new(store))
    }
}

/// What a mount that has ended leaves to the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leftovers {
    /// Changes that have not reached the service.
    pub pending: usize,
    /// Files that were never closed.
    pub unfinished: usize,
    /// Files that stay on this machine by their names.
    pub scratch: usize,
}

/// What the mount left whose state is in `dir`; `None` when another one serves it already, or it can't be read.
#[must_use]
pub fn left_behind(dir: &Path) -> Option<Leftovers> {
    let _lock = lock(dir).ok()?;
    let state = State::open(dir).ok()?;
    let pending = state.pending();
    let scratch = pending.iter().filter(|change| change.is_scratch).count();
    Some(Leftovers {
        pending: pending.len() - scratch,
        unfinished: state.unfinished().ok()?.len(),
        scratch,
    })
}

/// All that a service can tell a workspace by.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) key: ApiKey,
    pub(super) workspace_id: Option<String>,
    /// One of them may say more than the key: to a gateway, for example.
    pub(super) headers: CustomHeaders,
}

impl Identity {
    /// What stands for a key in the index of workspaces: enough to know it again, nothing to use it with.
    pub(super) fn fingerprint(&self, base_url: &str) -> String {
        let mut digest = Sha256::new()
            .chain_update("afs workspace key\0")
            .chain_update(base_url)
            .chain_update("\0")
            .chain_update(self.key.reveal());
        if let Some(id) = &self.workspace_id {
            digest = digest.chain_update("\0workspace\0").chain_update(id);
        }
        for (name, value) in self.headers.iter() {
            digest = digest
                .chain_update("\0header\0")
                .chain_update(name.as_str())
                .chain_update("\0")
                .chain_update(value.as_bytes());
        }
        digest.finalize()[..16]
            .iter()
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }
}

fn lock(dir: &Path) -> Result<File, MountError> {
    let path = dir.join(LOCK);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(|error| MountError::Disk(path.clone(), error))?;
    let until = Instant::now() + LOOKED_AT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                thread::park_timeout(BETWEEN_TRIES);
            }
            Err(TryLockError::WouldBlock) => return Err(MountError::Served(dir.to_owned())),
            Err(TryLockError::Error(error)) => return Err(MountError::Disk(path, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// `afs status` looks whether other states are served, by their locks.
    #[test]
    fn who_only_looks_at_a_state_keeps_no_mount_from_it() {
        let dir = tempfile::tempdir().unwrap();
        drop(lock(dir.path()).unwrap());
        let look = File::open(dir.path().join(LOCK)).unwrap();
        look.lock_shared().unwrap();
        let (begun, begins) = mpsc::channel();
        thread::scope(|scope| {
            let locking = scope.spawn(|| {
                begun.send(()).unwrap();
                lock(dir.path())
            });
            begins.recv().unwrap();
            drop(look);
            let locked = locking.join().unwrap().unwrap();
            assert!(matches!(lock(dir.path()), Err(MountError::Served(_))));
            drop(locked);
        });
    }
}
