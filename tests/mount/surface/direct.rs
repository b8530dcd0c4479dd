//! The file system in this process. This stands where the kernel stands: it resolves paths, decides between CREATE and
//! OPEN, and closes by FLUSH and RELEASE.

use std::collections::HashMap;
use std::error::Error;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use afs::api::{ApiKey, FilesApi, HttpClient, HttpConfig};
use afs::disk::Disk;
use afs::fs::{
    Attr, Caller, Changes, Dropped, Fh, FsError, FsSettings, Kind, OpenFlags, Place, ROOT,
    RenameMode, WorkspaceFs,
};
use afs::names::NameRules;
use afs::state::{Ino, State, Work};
use afs::store::{Limits, Store};
use afs::sync::{Refresher, restyle};
use afs::uploader;

use super::{Answer, Fd, Setup, Stat, Surface};
use crate::harness::{KEY, PATIENCE, World, eventually};

/// The number of a mount that no descriptor is of.
const NO_MOUNT: u64 = u64::MAX;

pub(crate) struct Direct {
    fs: WorkspaceFs,
    state: Arc<State>,
    store: Arc<Store>,
    refresher: Arc<Refresher>,
    inodes: Mutex<HashMap<Fd, Ino>>,
}

/// What a file system in this process stands on.
pub(crate) struct Ground {
    pub(crate) api: Arc<dyn FilesApi>,
    pub(crate) disk: Disk,
    pub(crate) state: PathBuf,
    pub(crate) cache: PathBuf,
}

impl Ground {
    pub(crate) fn client(world: &World) -> Arc<dyn FilesApi> {
        let key = ApiKey::new(KEY).expect("a key");
        let config = HttpConfig::new(world.emulator.base_url(), key);
        Arc::new(HttpClient::new(&config).expect("a client"))
    }
}

impl Direct {
    pub(crate) fn start(world: &World, setup: &Setup) -> Self {
        let ground = Ground {
            api: Ground::client(world),
            disk: Disk::real(),
            state: directory(world, "direct-state"),
            cache: directory(world, "direct-cache"),
        };
        Self::start_on(ground, setup).unwrap_or_else(|error| panic!("it did not start: {error}"))
    }

    /// Starts, or says why it can't.
    pub(crate) fn start_on(ground: Ground, setup: &Setup) -> Result<Self, Box<dyn Error>> {
        let Ground {
            api,
            disk,
            state: dir,
            cache,
        } = ground;
        let state = Arc::new(State::open_on(&disk, &dir)?);
        restyle(&state, setup.names)?;
        let limits = Limits {
            cache: 1 << 30,
            trash: true,
            min_free: setup.min_free,
            kept: setup.keep_limit,
            no_progress: setup.conduct.patience,
        };
        let store = Arc::new(Store::open_on(&disk, &dir, &cache, limits)?);
        let staged = store.staged()?;
        state.keep_drafts(&staged)?;
        let wanted = state.recover()?;
        store.drop_stages_but(&wanted)?;
        store.evict_kept(&state)?;
        store.fit_cache(&state)?;
        let refresher = Refresher::new(
            Arc::clone(&api),
            Arc::clone(&api),
            Arc::clone(&state),
            Arc::clone(&store),
            setup.refresh,
        );
        if !refresher.is_known()? {
            refresher
                .list_all(None, &mut |_| {})
                .map_err(|error| error.to_string())?;
        }
        // A listing that begins in the millisecond in which a file was learned says nothing about it.
        let learned = afs::state::now();
        eventually("the clock moves on", || afs::state::now() > learned);
        let settings = FsSettings {
            delete_guard: 0,
            uid: nix::unistd::getuid().as_raw(),
            gid: nix::unistd::getgid().as_raw(),
            umask: setup.umask,
            quota: setup.quota,
            read_only: setup.read_only,
            xattr: false,
            write_back: setup.write_back.is_some(),
            mime_overrides: setup
                .mime_types
                .iter()
                .map(|rule| rule.parse().expect("a rule"))
                .collect(),
            names: NameRules {
                scratch: setup
                    .scratch
                    .iter()
                    .map(|glob| glob.parse().expect("a glob"))
                    .collect(),
                send: setup
                    .send
                    .iter()
                    .map(|glob| glob.parse().expect("a glob"))
                    .collect(),
            },
        };
        if let Some(pace) = setup.write_back {
            state.coalesce_saves(pace);
        }
        if !setup.read_only {
            uploader::start(&api, &state, &store, setup.conduct)?;
        }
        let fs = WorkspaceFs::new(
            api,
            Arc::clone(&state),
            Arc::clone(&store),
            Arc::clone(&refresher),
            settings,
        );
        fs.set_mount_id(NO_MOUNT);
        Ok(Self {
            fs,
            state,
            store,
            refresher,
            inodes: Mutex::new(HashMap::new()),
        })
    }

    /// Its catalogue and outbox.
    pub(crate) fn state(&self) -> &Arc<State> {
        &self.state
    }

    /// The directory that holds the last component, and that component.
    fn parent<'a>(&self, path: &'a str) -> Answer<(Ino, &'a OsStr)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.resolve(parent)?.ino, OsStr::new(name)))
    }

    /// The object at a path; a link at its end is followed, all there are lead into the root.
    fn resolve(&self, path: &str) -> Answer<Attr> {
        let mut at = self.fs.getattr(ROOT, None).map_err(FsError::errno)?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            at = self.lookup(at.ino, OsStr::new(name))?;
            if at.kind == Kind::Symlink {
                let target = self.fs.readlink(at.ino).map_err(FsError::errno)?;
                let name = target.strip_prefix("../../").expect("into the root");
                at = self.lookup(ROOT, OsStr::new(name))?;
            }
        }
        Ok(at)
    }

    fn lookup(&self, parent: Ino, name: &OsStr) -> Answer<Attr> {
        let entry = self
            .fs
            .lookup(parent, name, Caller::NOBODY)
            .map_err(FsError::errno)?;
        Ok(entry.attr)
    }

    fn change(&self, path: &str, changes: Changes) -> Answer<()> {
        let ino = self.resolve(path)?.ino;
        answer(
            self.fs
                .setattr(ino, None, changes, Caller::NOBODY)
                .map(drop),
        )
    }

    fn change_open(&self, fd: Fd, changes: Changes) -> Answer<()> {
        answer(
            self.fs
                .setattr(self.ino(fd), Some(Fh(fd.0)), changes, Caller::NOBODY)
                .map(drop),
        )
    }

    fn ino(&self, fd: Fd) -> Ino {
        self.inodes.lock().unwrap()[&fd]
    }

    fn finish(&self) -> usize {
        self.refresher.stop();
        // As `afs unmount` does.
        self.state.hurry();
        let left = self.state.wait_idle(Instant::now() + PATIENCE);
        self.state.stop();
        self.store.settle(Instant::now() + PATIENCE);
        left
    }
}

impl Surface for Direct {
    fn open(&self, path: &str, flags: i32) -> Answer<Fd> {
        let (parent, name) = self.parent(path)?;
        let wanted = OpenFlags::from_bits(flags);
        let creates = flags & libc::O_CREAT != 0;
        let (ino, fh) = match self.resolve(path) {
            Ok(_) if creates && wanted.exclusive => return Err(libc::EEXIST),
            Ok(attr) => (
                attr.ino,
                answer(self.fs.open(attr.ino, wanted, Caller::NOBODY))?,
            ),
            Err(libc::ENOENT) if creates => {
                let (entry, fh) = answer(self.fs.create(parent, name, wanted, Caller::NOBODY))?;
                (entry.attr.ino, fh)
            }
            Err(error) => return Err(error),
        };
        self.inodes.lock().unwrap().insert(Fd(fh.0), ino);
        Ok(Fd(fh.0))
    }

    fn pread(&self, fd: Fd, offset: u64, size: usize) -> Answer<Vec<u8>> {
        match answer(self.fs.read_now(Fh(fd.0), offset, size))? {
            Some(bytes) => Ok(bytes),
            None => answer(self.fs.read(Fh(fd.0), offset, size, Caller::NOBODY)),
        }
    }

    fn pwrite(&self, fd: Fd, offset: u64, data: &[u8]) -> Answer<()> {
        let written = self.fs.write_now(Fh(fd.0), Place::Of(offset), data);
        answer(written.unwrap_or_else(|| self.fs.write(Fh(fd.0), Place::Of(offset), data)))
    }

    /// By a program that can't be seen: whether it is the last close, nobody can tell.
    fn close_dup(&self, fd: Fd) -> Answer<()> {
        answer(self.fs.flush(Fh(fd.0), Caller::NOBODY))
    }

    fn close(&self, fd: Fd) -> Answer<()> {
        // This process has no descriptor of such a mount: the last close it is, seen by all.
        let flushed = answer(self.fs.flush(Fh(fd.0), Caller(std::process::id())));
        self.fs.release(Fh(fd.0));
        self.inodes.lock().unwrap().remove(&fd);
        flushed
    }

    fn fsync(&self, fd: Fd) -> Answer<()> {
        answer(self.fs.fsync(Fh(fd.0)))
    }

    fn sync_root(&self) -> Answer<()> {
        answer(self.fs.fsyncdir())
    }

    fn ftruncate(&self, fd: Fd, size: u64) -> Answer<()> {
        self.change_open(fd, of_size(size))
    }

    fn truncate(&self, path: &str, size: u64) -> Answer<()> {
        self.change(path, of_size(size))
    }

    fn fallocate(&self, fd: Fd, offset: u64, length: u64, mode: i32) -> Answer<()> {
        answer(self.fs.fallocate(Fh(fd.0), offset, length, mode))
    }

    fn fstat(&self, fd: Fd) -> Answer<Stat> {
        answer(self.fs.getattr(self.ino(fd), None)).map(stat)
    }

    fn stat(&self, path: &str) -> Answer<Stat> {
        let ino = self.resolve(path)?.ino;
        answer(self.fs.getattr(ino, None)).map(stat)
    }

    fn set_mtime(&self, path: &str, mtime: i64) -> Answer<()> {
        self.change(path, of_time(mtime))
    }

    fn futimens(&self, fd: Fd, mtime: i64) -> Answer<()> {
        self.change_open(fd, of_time(mtime))
    }

    fn access(&self, path: &str, mask: i32) -> Answer<()> {
        answer(self.fs.access(self.resolve(path)?.ino, mask))
    }

    fn unlink(&self, path: &str) -> Answer<()> {
        let (parent, name) = self.parent(path)?;
        answer(self.fs.unlink(parent, name))
    }

    fn rename(&self, from: &str, to: &str, flags: u32) -> Answer<()> {
        let mode = match flags {
            0 => RenameMode::Replace,
            libc::RENAME_NOREPLACE => RenameMode::NoReplace,
            _ => return Err(libc::EINVAL),
        };
        let (parent, name) = self.parent(from)?;
        let (new_parent, new_name) = self.parent(to)?;
        answer(self.fs.rename(parent, name, new_parent, new_name, mode))
    }

    fn list(&self, path: &str) -> Answer<Vec<(String, u64)>> {
        /// So many entries fit the buffer of one call: a listing is always made of several.
        const ROOM: usize = 100;
        let ino = self.resolve(path)?.ino;
        answer(self.fs.opendir(ino, Caller::NOBODY))?;
        let mut names = Vec::new();
        let mut offset = 0;
        loop {
            let mut room = ROOM;
            let listed = self.fs.readdir(ino, offset, &mut |entry| {
                if room == 0 {
                    return false;
                }
                room -= 1;
                offset = entry.offset;
                if entry.name != "." && entry.name != ".." {
                    names.push((entry.name.clone(), entry.entry.attr.ino.0));
                }
                true
            });
            answer(listed)?;
            if room == ROOM {
                return Ok(names);
            }
        }
    }

    fn drop_pending(&self, name: &str) -> Result<Vec<Dropped>, String> {
        self.fs.drop_pending(name).map_err(|why| why.to_string())
    }

    fn retry(&self, name: Option<&str>) -> Result<usize, String> {
        let sent = match name.map(|name| self.fs.send_unfinished(name)) {
            Some(sent) => sent.map_err(|why| why.to_string())?,
            None => 0,
        };
        Ok(sent + self.state.retry(name))
    }

    fn unfinished(&self) -> Vec<(String, u64)> {
        let drafts = self.state.unfinished().expect("read");
        drafts
            .into_iter()
            .map(|draft| (draft.name, draft.size))
            .collect()
    }

    fn scratch(&self) -> Vec<(String, u64)> {
        let mut pending = self.state.pending();
        pending.retain(|change| change.is_scratch);
        pending
            .into_iter()
            .map(|change| match change.record.work {
                Work::Save { size, .. } => (change.record.name, size),
                Work::Delete { .. } => panic!("{change:?}"),
            })
            .collect()
    }

    fn terminate(self: Box<Self>) {
        self.fs.keep_unfinished();
        self.finish();
    }

    /// Nothing of it runs any more but what hangs at the service, and that is not answered before the test lets it.
    fn kill(self: Box<Self>) {}

    fn end(self: Box<Self>) {
        assert_eq!(self.finish(), 0, "changes that did not reach the service");
    }
}

impl Drop for Direct {
    fn drop(&mut self) {
        self.refresher.stop();
        self.state.stop();
    }
}

fn directory(world: &World, name: &str) -> PathBuf {
    let path = world.dir.path().join(name);
    std::fs::create_dir_all(&path).expect("a directory");
    path
}

fn answer<T>(result: Result<T, FsError>) -> Answer<T> {
    result.map_err(FsError::errno)
}

fn of_size(size: u64) -> Changes {
    Changes {
        size: Some(size),
        ..Changes::default()
    }
}

fn of_time(mtime: i64) -> Changes {
    Changes {
        mtime: Some(mtime),
        ..Changes::default()
    }
}

fn stat(attr: Attr) -> Stat {
    Stat {
        ino: attr.ino.0,
        mode: attr.mode.into(),
        nlink: attr.nlink.into(),
        size: attr.size,
        mtime: attr.mtime,
        ctime: attr.ctime,
        uid: attr.uid,
        gid: attr.gid,
    }
}
