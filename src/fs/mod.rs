//! The file system: every operation as a plain blocking method, with types of its own. Whatever is known or held here
//! is answered from here; only [`WorkspaceFs::open`], [`WorkspaceFs::opendir`], [`WorkspaceFs::read`],
//! [`WorkspaceFs::flush`] and lookups in views may wait for the network.
//!
//! The kernel holds the directory's lock during lookup, create, unlink and rename, and this mount is one directory: one
//! of them waiting for a server would stop everybody. They answer after at most one local durable commit.
//!
//! - `allocate`: fallocate(2)
//! - `asking`: questions to the service that a caller waits for
//! - `attr`: what `stat` shows
//! - `directory`: lookup, readdir, unlink, rename
//! - `file`: open, read, write
//! - `save`: what close(2) and fsync(2) do
//! - `unfinished`: drafts that nobody closed
//! - `closers`: whether a close is the last one
//! - `content`: the bytes of an open file
//! - `copies`: bringing here what only the service has
//! - `node`: an open inode, shared by its handles
//! - `pending`: what a person does about work that is pending, by name
//! - `put`: a file saved as a whole
//! - `views`: `.afs/`
//! - `xattr`: `user.afs.*`
//! - `error`: the errno table

mod allocate;
mod asking;
mod attr;
mod closers;
mod content;
mod copies;
mod directory;
mod error;
mod file;
mod guard;
mod lending;
mod node;
mod pending;
mod put;
mod save;
mod types;
mod unfinished;
mod views;
mod xattr;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::SystemTime;

use crate::api::{FilesApi, MimeOverride};
use crate::names::NameRules;
use crate::state::{Ino, Nanos, State, lock};
use crate::store::Store;
use crate::sync::Refresher;

pub use closers::Caller;
pub use error::FsError;
pub use pending::{Dropped, DroppedKind, give_up_pending, throw_away_record};
pub use put::{PutError, Saving, Wish};
pub use types::{Attr, Changes, DirEntry, Entry, Fh, Kind, OpenFlags, Place, RenameMode, Space};

use guard::DeleteGuard;
use lending::Lending;
use node::Node;
use views::{SessionDirs, Status};

/// The mount's root directory.
pub const ROOT: Ino = Ino(1);

/// What the person who mounts decides.
#[derive(Debug, Clone)]
pub struct FsSettings {
    /// Owner of everything.
    pub uid: u32,
    /// Group of everything.
    pub gid: u32,
    /// Permission bits that nothing has.
    pub umask: u32,
    /// What `df` shows as the size, bytes.
    pub quota: u64,
    /// Whether nothing may be changed.
    pub read_only: bool,
    /// Whether extended attributes are answered.
    pub xattr: bool,
    /// Whether close(2) leaves the upload to later: it returns when the content is durable here.
    pub write_back: bool,
    /// How many files whose bytes are not on this machine may be deleted in a minute; 0: any number.
    pub delete_guard: usize,
    /// Media types by name that go before the built-in ones.
    pub mime_overrides: Vec<MimeOverride>,
    /// Which names are not ordinary.
    pub names: NameRules,
}

/// One workspace as a file system.
pub struct WorkspaceFs {
    api: Arc<dyn FilesApi>,
    state: Arc<State>,
    store: Arc<Store>,
    refresher: Arc<Refresher>,
    settings: FsSettings,
    /// The open inodes. Held over nothing that waits: the event loops pass through here.
    nodes: Mutex<HashMap<Ino, Arc<Node>>>,
    handles: Mutex<HashMap<Fh, Arc<Handle>>>,
    next_handle: AtomicU64,
    /// Inodes of which the kernel may have pages that turned out to be in doubt.
    doubtful: Mutex<HashSet<Ino>>,
    mounted_at: Nanos,
    /// The kernel's number for this mount, once there is one.
    mount_id: OnceLock<u64>,
    session_dirs: SessionDirs,
    status: Status,
    /// Whether the mount has ended: drafts are kept as they are, and nothing changes any more.
    is_over: AtomicBool,
    lending: Lending,
    guard: DeleteGuard,
}

/// An open file.
#[derive(Debug)]
struct Handle {
    node: Arc<Node>,
    flags: OpenFlags,
    /// Who opened it.
    opener: Caller,
    /// Whether it has had what looked like its last close.
    is_closed: AtomicBool,
}

impl std::fmt::Debug for WorkspaceFs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkspaceFs")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl WorkspaceFs {
    /// The file system over a workspace's parts.
    pub fn new(
        api: Arc<dyn FilesApi>,
        state: Arc<State>,
        store: Arc<Store>,
        refresher: Arc<Refresher>,
        settings: FsSettings,
    ) -> Self {
        Self {
            guard: DeleteGuard::new(settings.delete_guard),
            api,
            state,
            store,
            refresher,
            settings,
            nodes: Mutex::new(HashMap::new()),
            handles: Mutex::new(HashMap::new()),
            next_handle: AtomicU64::new(1),
            doubtful: Mutex::default(),
            mounted_at: now(),
            mount_id: OnceLock::new(),
            session_dirs: SessionDirs::default(),
            status: Status::default(),
            is_over: AtomicBool::new(false),
            lending: Lending::default(),
        }
    }

    /// What the person who mounted decided.
    #[must_use]
    pub fn settings(&self) -> &FsSettings {
        &self.settings
    }

    /// The inode's node, where it is open.
    fn node(&self, ino: Ino) -> Option<Arc<Node>> {
        lock(&self.nodes).get(&ino).cloned()
    }

    fn handle(&self, fh: Fh) -> Result<Arc<Handle>, FsError> {
        lock(&self.handles)
            .get(&fh)
            .cloned()
            .ok_or(FsError::BadHandle)
    }

    fn add_handle(&self, node: Arc<Node>, flags: OpenFlags, caller: Caller) -> Fh {
        if flags.changes() {
            self.state.begin_writing(node.ino);
        }
        let fh = Fh(self.next_handle.fetch_add(1, Ordering::Relaxed));
        let handle = Handle {
            node,
            flags,
            opener: caller,
            is_closed: AtomicBool::new(false),
        };
        lock(&self.handles).insert(fh, Arc::new(handle));
        fh
    }

    /// Tells the file system its number in the kernel's mount table. Without it every close counts as the last.
    pub fn set_mount_id(&self, id: u64) {
        // Set once, by whoever mounts.
        let _ = self.mount_id.set(id);
    }

    fn must_be_writable(&self) -> Result<(), FsError> {
        if self.settings.read_only {
            Err(FsError::ReadOnly)
        } else {
            self.must_go_on()
        }
    }

    /// Fails once the mount has ended: what a program writes then is kept by nobody.
    fn must_go_on(&self) -> Result<(), FsError> {
        if self.is_over.load(Ordering::SeqCst) {
            Err(FsError::Io)
        } else {
            Ok(())
        }
    }
}

fn now() -> Nanos {
    to_nanos(SystemTime::now())
}

/// A system time as a file time; what nanoseconds in 64 bits don't hold becomes the nearest that they do.
#[must_use]
pub fn to_nanos(time: SystemTime) -> Nanos {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => Nanos::try_from(since.as_nanos()).unwrap_or(Nanos::MAX),
        Err(before) => {
            Nanos::try_from(before.duration().as_nanos()).map_or(Nanos::MIN, |nanos| -nanos)
        }
    }
}
