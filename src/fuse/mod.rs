//! The kernel's side: convert, call, reply. Decisions live in `fs`.
//!
//! An event loop is never blocked: what may wait for the network or for a disk's sync is answered from a worker thread
//! (`Pools`), what needs neither is answered in line. `.read_now` and `.write_now` say which it is.
//!
//! There are no notifications to the kernel here: a daemon killed inside one leaves its callers unkillable. Entries
//! and attributes are trusted for `TTL` instead, and an inode that lost its name answers ESTALE.

mod convert;
mod lent;
mod pools;

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, Generation,
    INodeNo, InitFlags, IoctlFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr,
    ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl,
    ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use crate::fs::{self, Caller, Changes, Fh, FsError, Place, RenameMode, WorkspaceFs};

use convert::{Answer, asked_time, errno, file_attr, ino, nanos, ttl};
use lent::Lent;
use pools::Pools;

/// How long the kernel trusts a name and its attributes. Somebody else's replacement of a file may show its old size
/// for so long; opening it never gives old content.
const TTL: Duration = Duration::from_secs(30);

/// How many requests the kernel may have open in the background. With the library's 16, twenty-four readers of a hung
/// server stalled a `cat` of a local file for seconds.
const MAX_BACKGROUND: u16 = 1024;

const GENERATION: Generation = Generation(0);

/// A [`WorkspaceFs`] as the kernel sees it.
pub struct FuseAdapter {
    fs: Arc<WorkspaceFs>,
    pools: Pools,
    lent: Arc<Lent>,
    may_lend: bool,
    on_end: Box<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for FuseAdapter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FuseAdapter")
            .field("fs", &self.fs)
            .finish_non_exhaustive()
    }
}

impl FuseAdapter {
    /// Puts a file system behind the kernel's requests. With `may_lend` the kernel reads by itself what it can. `on_end` is
    /// called when there will be no more requests.
    pub fn new(
        fs: Arc<WorkspaceFs>,
        may_lend: bool,
        on_end: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Self> {
        Ok(Self {
            fs,
            pools: Pools::new()?,
            lent: Arc::default(),
            may_lend,
            on_end: Box::new(on_end),
        })
    }
}

impl Filesystem for FuseAdapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Without it OPEN can't tell `>` from `>>`: the truncation would come as a SETATTR of its own.
        config
            .add_capabilities(InitFlags::FUSE_ATOMIC_O_TRUNC)
            .map_err(|_| io::Error::other("the kernel's FUSE is too old (no ATOMIC_O_TRUNC)"))?;
        for wanted in [
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_HANDLE_KILLPRIV,
        ] {
            if config.add_capabilities(wanted).is_err() {
                log::debug!("the kernel does not offer {wanted:?}");
            }
        }
        if let Err(nearest) = config.set_max_background(MAX_BACKGROUND) {
            let _ = config.set_max_background(nearest);
        }
        // Copies lie on an ordinary file system: one that is itself stacked on others is not read through.
        let can_lend = self.may_lend
            && config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok()
            && config.set_max_stack_depth(1).is_ok();
        self.fs.let_lend(can_lend);
        Ok(())
    }

    fn destroy(&mut self) {
        self.pools.shut_down();
        (self.on_end)();
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (parent, caller) = (ino(parent), Caller(request.pid()));
        if parent == fs::ROOT {
            self.fs.lookup(parent, name, caller).answer(reply);
            return;
        }
        let (fs, name) = (Arc::clone(&self.fs), name.to_owned());
        self.pools.network(caller, move || {
            fs.lookup(parent, &name, caller).answer(reply);
        });
    }

    fn getattr(
        &self,
        _request: &Request,
        inode: INodeNo,
        fh: Option<FileHandle>,
        reply: ReplyAttr,
    ) {
        let (inode, fh) = (ino(inode), fh.map(handle));
        if WorkspaceFs::is_live(inode) {
            let fs = Arc::clone(&self.fs);
            self.pools
                .local(move || fs.getattr(inode, fh).answer(reply));
            return;
        }
        self.fs.getattr(inode, fh).answer(reply);
    }

    fn setattr(
        &self,
        request: &Request,
        inode: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changes = Changes {
            size,
            mtime: mtime.map(nanos),
            ctime: ctime.map(asked_time),
        };
        let fs = Arc::clone(&self.fs);
        let caller = Caller(request.pid());
        // Cutting a file that only the service has fetches it first.
        self.pools.network(caller, move || {
            fs.setattr(ino(inode), fh.map(handle), changes, caller)
                .answer(reply);
        });
    }

    fn readlink(&self, _request: &Request, inode: INodeNo, reply: ReplyData) {
        let target = self.fs.readlink(ino(inode));
        target.map(String::into_bytes).answer(reply);
    }

    fn mknod(
        &self,
        _request: &Request,
        parent: INodeNo,
        _name: &OsStr,
        _mode: u32,
        _umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        reply.error(errno(WorkspaceFs::refuse_to_make(ino(parent))));
    }

    fn mkdir(
        &self,
        _request: &Request,
        parent: INodeNo,
        _name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        reply.error(errno(WorkspaceFs::refuse_to_make(ino(parent))));
    }

    fn symlink(
        &self,
        _request: &Request,
        parent: INodeNo,
        _name: &OsStr,
        _target: &Path,
        reply: ReplyEntry,
    ) {
        reply.error(errno(WorkspaceFs::refuse_to_make(ino(parent))));
    }

    fn link(
        &self,
        _request: &Request,
        _inode: INodeNo,
        parent: INodeNo,
        _name: &OsStr,
        reply: ReplyEntry,
    ) {
        reply.error(errno(WorkspaceFs::refuse_to_make(ino(parent))));
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.fs.rmdir(ino(parent), name).answer(reply);
    }

    fn unlink(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (fs, name) = (Arc::clone(&self.fs), name.to_owned());
        self.pools.local_for(Caller(request.pid()), move || {
            fs.unlink(ino(parent), &name).answer(reply);
        });
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let mode = if flags.is_empty() {
            RenameMode::Replace
        } else if flags == RenameFlags::RENAME_NOREPLACE {
            RenameMode::NoReplace
        } else {
            return reply.error(errno(FsError::Invalid));
        };
        let fs = Arc::clone(&self.fs);
        let (name, new_name) = (name.to_owned(), new_name.to_owned());
        self.pools.local_for(Caller(request.pid()), move || {
            fs.rename(ino(parent), &name, ino(new_parent), &new_name, mode)
                .answer(reply);
        });
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (fs, name) = (Arc::clone(&self.fs), name.to_owned());
        let flags = fs::OpenFlags::from_bits(flags);
        let caller = Caller(request.pid());
        self.pools.local_for(caller, move || {
            fs.create(ino(parent), &name, flags, caller).answer(reply);
        });
    }

    fn open(&self, request: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let flags = fs::OpenFlags::from_bits(flags.0);
        let (fs, lent) = (Arc::clone(&self.fs), Arc::clone(&self.lent));
        let (node, inode, caller) = (inode, ino(inode), Caller(request.pid()));
        let open = move || {
            let opened = fs.open(inode, flags, caller);
            let keeps = || convert::open_flags(inode, flags, || fs.trusts_pages(inode));
            match opened.map(|fh| (fh, fs.lent(fh))) {
                Ok((fh, Some(file))) => lent.opened(&fs, node, (fh, &file), keeps, reply),
                Ok((fh, None)) => Ok((fh, keeps())).answer(reply),
                Err(error) => reply.error(errno(error)),
            }
        };
        if flags.changes() || self.fs.opens_slowly(inode) {
            self.pools.network(caller, open);
        } else if WorkspaceFs::is_live(inode) {
            self.pools.local(open);
        } else {
            open();
        }
    }

    fn read(
        &self,
        request: &Request,
        _inode: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let (fh, size) = (handle(fh), size as usize);
        if let Some(local) = self.fs.read_now(fh, offset, size).transpose() {
            return local.answer(reply);
        }
        let fs = Arc::clone(&self.fs);
        let caller = Caller(request.pid());
        self.pools.network(caller, move || {
            fs.read(fh, offset, size, caller).answer(reply);
        });
    }

    fn write(
        &self,
        _request: &Request,
        _inode: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let (fh, written) = (handle(fh), data.len() as u32);
        // Pages of a shared mapping come through whichever handle can write; one that appends still means this place.
        let place = if write_flags.contains(WriteFlags::FUSE_WRITE_CACHE) {
            Place::Exactly(offset)
        } else {
            Place::Of(offset)
        };
        if let Some(result) = self.fs.write_now(fh, place, data) {
            return result.map(|()| written).answer(reply);
        }
        let (fs, data) = (Arc::clone(&self.fs), data.to_vec());
        self.pools.local(move || {
            fs.write(fh, place, &data).map(|()| written).answer(reply);
        });
    }

    fn flush(
        &self,
        request: &Request,
        _inode: INodeNo,
        fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        let fs = Arc::clone(&self.fs);
        let caller = Caller(request.pid());
        self.pools.saves(caller, move || {
            fs.flush(handle(fh), caller).answer(reply);
        });
    }

    fn release(
        &self,
        _request: &Request,
        inode: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.lent.closed(inode);
        let fs = Arc::clone(&self.fs);
        let changes = fs.changes(handle(fh));
        let release = move || {
            fs.release(handle(fh));
            reply.ok();
        };
        if changes {
            self.pools.local(release);
        } else {
            release();
        }
    }

    fn fsync(
        &self,
        request: &Request,
        _inode: INodeNo,
        fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        let fs = Arc::clone(&self.fs);
        self.pools.local_for(Caller(request.pid()), move || {
            fs.fsync(handle(fh)).answer(reply);
        });
    }

    fn opendir(&self, request: &Request, inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let fs = Arc::clone(&self.fs);
        let caller = Caller(request.pid());
        self.pools.network(caller, move || {
            fs.opendir(ino(inode), caller).answer(reply);
        });
    }

    fn readdir(
        &self,
        _request: &Request,
        inode: INodeNo,
        _fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self.fs.readdir(ino(inode), offset, &mut |entry| {
            let attr = &entry.entry.attr;
            let inode = INodeNo(attr.ino.0);
            !reply.add(inode, entry.offset, convert::kind(attr.kind), &entry.name)
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn readdirplus(
        &self,
        _request: &Request,
        inode: INodeNo,
        _fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let listed = self.fs.readdir(ino(inode), offset, &mut |entry| {
            let attr = file_attr(&entry.entry.attr);
            let ttl = ttl(&entry.entry);
            !reply.add(attr.ino, entry.offset, &entry.name, &ttl, &attr, GENERATION)
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn fsyncdir(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        let fs = Arc::clone(&self.fs);
        self.pools.local(move || fs.fsyncdir().answer(reply));
    }

    fn statfs(&self, _request: &Request, _inode: INodeNo, reply: ReplyStatfs) {
        self.fs.statfs().answer(reply);
    }

    fn access(&self, _request: &Request, inode: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        self.fs.access(ino(inode), mask.bits()).answer(reply);
    }

    fn getxattr(
        &self,
        _request: &Request,
        inode: INodeNo,
        name: &OsStr,
        size: u32,
        reply: ReplyXattr,
    ) {
        convert::answer_xattr(self.fs.getxattr(ino(inode), name), size, reply);
    }

    fn listxattr(&self, _request: &Request, inode: INodeNo, size: u32, reply: ReplyXattr) {
        convert::answer_xattr(self.fs.listxattr(ino(inode)), size, reply);
    }

    fn setxattr(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _name: &OsStr,
        _value: &[u8],
        _flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        self.fs.change_xattr().answer(reply);
    }

    fn removexattr(&self, _request: &Request, _inode: INodeNo, _name: &OsStr, reply: ReplyEmpty) {
        self.fs.change_xattr().answer(reply);
    }

    fn ioctl(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        _cmd: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOTTY);
    }

    fn fallocate(
        &self,
        _request: &Request,
        _inode: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let fs = Arc::clone(&self.fs);
        self.pools.local(move || {
            fs.fallocate(handle(fh), offset, length, mode).answer(reply);
        });
    }

    // ENOSYS to the next two: the kernel does them itself from then on, with reads, writes and the size it knows.

    fn lseek(
        &self,
        _request: &Request,
        _inode: INodeNo,
        _fh: FileHandle,
        _offset: i64,
        _whence: i32,
        reply: ReplyLseek,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn copy_file_range(
        &self,
        _request: &Request,
        _inode_in: INodeNo,
        _fh_in: FileHandle,
        _offset_in: u64,
        _inode_out: INodeNo,
        _fh_out: FileHandle,
        _offset_out: u64,
        _length: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        reply.error(Errno::ENOSYS);
    }
}

fn handle(fh: FileHandle) -> Fh {
    Fh(fh.0)
}
