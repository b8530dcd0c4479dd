//! What file system operations take and give: plain values, in the words of the man pages. The kernel library's types
//! stay in `fuse`.

use crate::state::{Ino, Nanos};

/// The number of an open file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fh(pub u64);

/// What kind of object an inode is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link (in views only).
    Symlink,
}

/// What `stat(2)` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// Inode number.
    pub ino: Ino,
    /// Kind.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u16,
    /// Names: 0 for a removed file that is still open.
    pub nlink: u32,
    /// Bytes.
    pub size: u64,
    /// Last change of content.
    pub mtime: Nanos,
    /// Last change of content or attributes.
    pub ctime: Nanos,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// An answer to a lookup: the object, and whether the kernel may remember it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its attributes.
    pub attr: Attr,
    /// Whether the name keeps its meaning for a while; names in views do not.
    pub is_lasting: bool,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The offset after it, for going on from here.
    pub offset: u64,
    /// The name.
    pub name: String,
    /// What it leads to.
    pub entry: Entry,
}

/// How a file is opened: the flags of open(2) that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenFlags {
    /// For reading.
    pub read: bool,
    /// For writing.
    pub write: bool,
    /// Every write goes to the end.
    pub append: bool,
    /// The old content goes first.
    pub truncate: bool,
    /// The name must be new.
    pub exclusive: bool,
}

impl OpenFlags {
    /// From open(2)'s bits.
    #[must_use]
    pub fn from_bits(bits: i32) -> Self {
        let mode = bits & libc::O_ACCMODE;
        Self {
            read: mode != libc::O_WRONLY,
            write: mode != libc::O_RDONLY,
            append: bits & libc::O_APPEND != 0,
            // O_RDONLY | O_TRUNC is unspecified in POSIX; on Linux it truncates.
            truncate: bits & libc::O_TRUNC != 0,
            exclusive: bits & libc::O_EXCL != 0,
        }
    }

    /// Whether opening may wait for the network: a part of what only the service has is going to be changed.
    #[must_use]
    pub fn may_fetch(self) -> bool {
        self.write && !self.truncate
    }

    /// Whether the opened file can change its content.
    #[must_use]
    pub fn changes(self) -> bool {
        self.write || self.truncate
    }
}

/// Where a write goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Here, or to the end where the handle appends.
    Of(u64),
    /// Here, whatever the handle is.
    Exactly(u64),
}

impl Place {
    /// The offset; `None` is the end. The kernel appends at the size it knows, ours is the one all handles share.
    pub(super) fn of(self, flags: OpenFlags) -> Option<u64> {
        match self {
            Self::Of(_) if flags.append => None,
            Self::Of(offset) | Self::Exactly(offset) => Some(offset),
        }
    }
}

/// What a setattr changes; `None` leaves as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changes {
    /// The length.
    pub size: Option<u64>,
    /// Last change of content.
    pub mtime: Option<Nanos>,
    /// Last change of anything, where the caller sets it.
    pub ctime: Option<Nanos>,
}

/// How a rename treats a taken name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenameMode {
    /// Replaces it.
    Replace,
    /// Fails with EEXIST.
    NoReplace,
}

/// What `statfs(2)` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Storage in all, bytes.
    pub total: u64,
    /// Bytes in files.
    pub used: u64,
    /// Files.
    pub files: u64,
}
