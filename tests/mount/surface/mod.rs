//! Two ways to the same operations: [`On::Direct`] calls the file system in this process, without a kernel between;
//! [`On::Mounted`] makes system calls on a mount of the real program. A *scenario* is a function that takes an [`On`];
//! [`on_both!`] makes two tests of it. What fails on one surface only tells where to look.

mod direct;
mod mounted;

use std::time::Duration;

use afs::config::WRITE_BACK_PACE;
use afs::fs::Dropped;
use afs::names::NameStyle;
use afs::uploader::{self, Conduct};
pub(crate) use direct::{Direct, Ground};
use mounted::Mounted;
pub(crate) use mounted::read_names;

use super::harness::{Calls, World};

/// An operation's result; errors are errno values.
pub(crate) type Answer<T> = Result<T, i32>;

/// An open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Fd(u64);

/// What `stat(2)` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) ino: u64,
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) nlink: u64,
    pub(crate) size: u64,
    /// Nanoseconds since 1970.
    pub(crate) mtime: i64,
    pub(crate) ctime: i64,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// System calls on a mounted workspace, by paths relative to its root.
pub(crate) trait Surface {
    fn open(&self, path: &str, flags: i32) -> Answer<Fd>;
    fn pread(&self, fd: Fd, offset: u64, size: usize) -> Answer<Vec<u8>>;
    fn pwrite(&self, fd: Fd, offset: u64, data: &[u8]) -> Answer<()>;
    /// The close of a duplicate.
    fn close_dup(&self, fd: Fd) -> Answer<()>;
    fn close(&self, fd: Fd) -> Answer<()>;
    fn fsync(&self, fd: Fd) -> Answer<()>;
    /// What `sync DIRECTORY` does.
    fn sync_root(&self) -> Answer<()>;
    fn ftruncate(&self, fd: Fd, size: u64) -> Answer<()>;
    fn truncate(&self, path: &str, size: u64) -> Answer<()>;
    /// `fallocate(2)`, with its mode.
    fn fallocate(&self, fd: Fd, offset: u64, length: u64, mode: i32) -> Answer<()>;
    fn fstat(&self, fd: Fd) -> Answer<Stat>;
    fn stat(&self, path: &str) -> Answer<Stat>;
    /// Sets the time of the last change, nanoseconds since 1970.
    fn set_mtime(&self, path: &str, mtime: i64) -> Answer<()>;
    fn futimens(&self, fd: Fd, mtime: i64) -> Answer<()>;
    fn access(&self, path: &str, mask: i32) -> Answer<()>;
    fn unlink(&self, path: &str) -> Answer<()>;
    /// `renameat2(2)`
    fn rename(&self, from: &str, to: &str, flags: u32) -> Answer<()>;
    /// Names and inode numbers as the directory lists them, without dots.
    fn list(&self, path: &str) -> Answer<Vec<(String, u64)>>;
    /// Gives up what is pending under a name, as `afs pending --drop NAME` does; why not, as a sentence.
    fn drop_pending(&self, name: &str) -> Result<Vec<Dropped>, String>;
    /// Has a draft that was never closed sent, as `afs pending --retry NAME` does; how much is tried again.
    fn retry(&self, name: Option<&str>) -> Result<usize, String>;
    /// Drafts that were never closed: names and sizes.
    fn unfinished(&self) -> Vec<(String, u64)>;
    /// Files that stay on this machine by their names: names and sizes.
    fn scratch(&self) -> Vec<(String, u64)>;
    /// Ends in good order while files are open, as SIGTERM does.
    fn terminate(self: Box<Self>);
    /// Ends without a chance to finish anything, as `kill -9` does.
    fn kill(self: Box<Self>);
    /// Unmounts cleanly: what is due at the service has been done.
    fn end(self: Box<Self>);
}

/// Where a scenario runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Direct,
    Mounted,
}

/// Mount options, for both surfaces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    /// How old the listing may get. An hour unless said: nothing is refreshed while a test counts requests.
    pub(crate) refresh: Duration,
    pub(crate) read_only: bool,
    pub(crate) umask: u32,
    pub(crate) quota: u64,
    pub(crate) mime_types: &'static [&'static str],
    /// Globs of names that stay here, and of those that never do.
    pub(crate) scratch: &'static [&'static str],
    pub(crate) send: &'static [&'static str],
    /// How names are given to the service.
    pub(crate) names: NameStyle,
    pub(crate) min_free: Option<u64>,
    pub(crate) keep_limit: Option<u64>,
    /// Whether closes return before uploads; the pace of one name, which a mount takes for [`WRITE_BACK_PACE`].
    pub(crate) write_back: Option<Duration>,
    /// How what is pending is sent. A mount takes only the patience from here.
    pub(crate) conduct: Conduct,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(3600),
            read_only: false,
            umask: 0o077,
            quota: 500 << 30,
            mime_types: &[],
            scratch: &[],
            send: &[],
            names: NameStyle::Strict,
            min_free: None,
            keep_limit: None,
            write_back: None,
            conduct: Conduct {
                patience: Duration::from_secs(60),
                keeps_replaced: false,
                jitter: uploader::by_chance,
                // The emulator does nothing late.
                settles: Duration::ZERO,
            },
        }
    }
}

impl Setup {
    /// Closes return before uploads.
    pub(crate) fn write_back() -> Self {
        Self {
            write_back: Some(WRITE_BACK_PACE),
            ..Self::default()
        }
    }

    /// Every look into the directory is a refresh.
    pub(crate) fn refreshing() -> Self {
        Self {
            refresh: Duration::ZERO,
            ..Self::default()
        }
    }
}

impl On {
    /// The workspace of this world, mounted; what an earlier surface of the same world left is found again.
    pub(crate) fn start(self, world: &World) -> Box<dyn Surface> {
        self.start_with(world, Setup::default())
    }

    pub(crate) fn start_with(self, world: &World, setup: Setup) -> Box<dyn Surface> {
        match self {
            Self::Direct => Box::new(Direct::start(world, &setup)),
            Self::Mounted => Box::new(Mounted::start(world, &setup)),
        }
    }
}

pub(crate) const NEW: i32 = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;

impl dyn Surface + '_ {
    /// What `>` does: a whole new content.
    pub(crate) fn put(&self, path: &str, data: &[u8]) -> Answer<()> {
        self.fill(self.open(path, NEW)?, data)
    }

    /// What `>>` does.
    pub(crate) fn append(&self, path: &str, data: &[u8]) -> Answer<()> {
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND;
        self.fill(self.open(path, flags)?, data)
    }

    fn fill(&self, fd: Fd, data: &[u8]) -> Answer<()> {
        let mut at = self.fstat(fd)?.size;
        let mut written = Ok(());
        for chunk in data.chunks(128 * 1024) {
            written = written.and_then(|()| self.pwrite(fd, at, chunk));
            at += chunk.len() as u64;
        }
        written.and(self.close(fd))
    }

    /// All a path's bytes, as `cat` reads them.
    pub(crate) fn get(&self, path: &str) -> Answer<Vec<u8>> {
        let fd = self.open(path, libc::O_RDONLY)?;
        let bytes = self.read_all(fd);
        bytes.and_then(|bytes| self.close(fd).map(|()| bytes))
    }

    /// All the bytes behind a handle.
    pub(crate) fn read_all(&self, fd: Fd) -> Answer<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            let more = self.pread(fd, bytes.len() as u64, 128 * 1024)?;
            if more.is_empty() {
                return Ok(bytes);
            }
            bytes.extend(more);
        }
    }

    /// Opens and closes again.
    pub(crate) fn try_open(&self, path: &str, flags: i32) -> Answer<()> {
        self.close(self.open(path, flags)?)
    }

    /// The names in the root, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let listed = self.list("").expect("listed");
        let mut names: Vec<String> = listed.into_iter().map(|(name, _)| name).collect();
        names.sort();
        names
    }
}

/// Unmounts, which waits for what is due, and says which calls there were; lists aside, those come as they come.
pub(crate) fn calls_by_the_end(world: &World, fs: Box<dyn Surface>) -> Calls {
    fs.end();
    world.calls().but_lists()
}

/// Two tests of one scenario.
macro_rules! on_both {
    ($($scenario:ident)*) => {$(
        mod $scenario {
            use crate::surface::On;

            #[test]
            fn direct() {
                super::$scenario(On::Direct);
            }

            #[test]
            fn mounted() {
                super::$scenario(On::Mounted);
            }
        }
    )*};
}

pub(crate) use on_both;
