//! Between the file system's types and the kernel library's.

use std::time::{Duration, SystemTime};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, FopenFlags, INodeNo, ReplyAttr, ReplyCreate, ReplyData,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, TimeOrNow,
};

use crate::fs::{Attr, Entry, Fh, FsError, Kind, OpenFlags, Space, WorkspaceFs, to_nanos};
use crate::names;
use crate::state::{Ino, Nanos, system_time};

use super::{GENERATION, TTL};

/// The size that `df` counts in, bytes.
const BLOCK: u32 = 4096;

/// What statfs(2) calls the longest name.
const NAME_MAX: u32 = names::MAX_NAME as u32;

/// An outcome that a reply object can carry to the kernel.
pub(super) trait Answer<R> {
    /// Sends it.
    fn answer(self, reply: R);
}

impl Answer<ReplyEmpty> for Result<(), FsError> {
    fn answer(self, reply: ReplyEmpty) {
        match self {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(error)),
        }
    }
}

impl Answer<ReplyEntry> for Result<Entry, FsError> {
    fn answer(self, reply: ReplyEntry) {
        match self {
            Ok(entry) => reply.entry(&ttl(&entry), &file_attr(&entry.attr), GENERATION),
            // A plain ENOENT is not remembered by the kernel: a new file shows as soon as it is known here.
            Err(error) => reply.error(errno(error)),
        }
    }
}

impl Answer<ReplyAttr> for Result<Attr, FsError> {
    fn answer(self, reply: ReplyAttr) {
        match self {
            Ok(attr) => reply.attr(&TTL, &file_attr(&attr)),
            Err(error) => reply.error(errno(error)),
        }
    }
}

impl Answer<ReplyData> for Result<Vec<u8>, FsError> {
    fn answer(self, reply: ReplyData) {
        match self {
            Ok(data) => reply.data(&data),
            Err(error) => reply.error(errno(error)),
        }
    }
}

impl Answer<ReplyWrite> for Result<u32, FsError> {
    fn answer(self, reply: ReplyWrite) {
        match self {
            Ok(written) => reply.written(written),
            Err(error) => reply.error(errno(error)),
        }
    }
}

impl Answer<ReplyOpen> for Result<(Fh, FopenFlags), FsError> {
    fn answer(self, reply: ReplyOpen) {
        match self {
            Ok((fh, flags)) => reply.opened(FileHandle(fh.0), flags),
            Err(error) => reply.error(errno(error)),
        }
    }
}

/// An open directory: nothing of it is remembered here, an entry's offset says where a listing goes on.
impl Answer<ReplyOpen> for Result<(), FsError> {
    fn answer(self, reply: ReplyOpen) {
        match self {
            Ok(()) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(errno(error)),
        }
    }
}

impl Answer<ReplyStatfs> for Result<Space, FsError> {
    fn answer(self, reply: ReplyStatfs) {
        match self {
            Ok(space) => {
                let block = u64::from(BLOCK);
                let blocks = space.total / block;
                let free = blocks.saturating_sub(space.used.div_ceil(block));
                // Files are not counted at the service; df -i shows what is there and no limit.
                reply.statfs(blocks, free, free, space.files, 0, BLOCK, NAME_MAX, BLOCK);
            }
            Err(error) => reply.error(errno(error)),
        }
    }
}

impl Answer<ReplyCreate> for Result<(Entry, Fh), FsError> {
    fn answer(self, reply: ReplyCreate) {
        match self {
            Ok((entry, fh)) => reply.created(
                &ttl(&entry),
                &file_attr(&entry.attr),
                GENERATION,
                FileHandle(fh.0),
                FopenFlags::empty(),
            ),
            Err(error) => reply.error(errno(error)),
        }
    }
}

/// xattr calls ask for the size first, with a buffer of none.
pub(super) fn answer_xattr(value: Result<Vec<u8>, FsError>, room: u32, reply: ReplyXattr) {
    match value {
        Ok(value) if room == 0 => reply.size(value.len() as u32),
        Ok(value) if value.len() > room as usize => reply.error(errno(FsError::Range)),
        Ok(value) => reply.data(&value),
        Err(error) => reply.error(errno(error)),
    }
}

/// What a handle tells the kernel. A reader's pages stay valid over opens: content behind an inode changes only through
/// the kernel, but for what turned out to be in doubt. A reader has nothing to flush; a writer's FLUSH is its save. What changes by itself is asked for at each
/// read.
pub(super) fn open_flags(
    inode: Ino,
    flags: OpenFlags,
    trusts_pages: impl FnOnce() -> bool,
) -> FopenFlags {
    if WorkspaceFs::is_live(inode) {
        FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NOFLUSH
    } else if flags.changes() {
        FopenFlags::empty()
    } else if !trusts_pages() {
        FopenFlags::FOPEN_NOFLUSH
    } else {
        FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH
    }
}

pub(super) fn errno(error: FsError) -> Errno {
    Errno::from_i32(error.errno())
}

pub(super) fn ino(inode: INodeNo) -> Ino {
    Ino(inode.0)
}

/// How long the kernel may remember an entry.
pub(super) fn ttl(entry: &Entry) -> Duration {
    if entry.is_lasting {
        TTL
    } else {
        Duration::ZERO
    }
}

pub(super) fn nanos(time: TimeOrNow) -> Nanos {
    match time {
        TimeOrNow::SpecificTime(time) => asked_time(time),
        TimeOrNow::Now => to_nanos(SystemTime::now()),
    }
}

/// A time that the kernel asked for. Before 1970 the library subtracts the nanoseconds that are to be added
/// (fuser 0.18, `time.rs`, where a FIXME says so); here they are put right.
pub(super) fn asked_time(time: SystemTime) -> Nanos {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(_) => to_nanos(time),
        Err(before) => {
            let before = before.duration();
            let nanos = 2 * u64::from(before.subsec_nanos());
            to_nanos(time + Duration::from_nanos(nanos))
        }
    }
}

pub(super) fn kind(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
    }
}

pub(super) fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.ino.0),
        size: attr.size,
        // st_blocks counts 512 bytes (stat(2)), whatever the block size is.
        blocks: attr.size.div_ceil(512),
        atime: system_time(attr.mtime),
        mtime: system_time(attr.mtime),
        ctime: system_time(attr.ctime),
        crtime: system_time(attr.mtime),
        kind: kind(attr.kind),
        perm: attr.mode,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: 0,
        blksize: BLOCK,
        flags: 0,
    }
}
