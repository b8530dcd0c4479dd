//! System calls on a mount of the real program.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use afs::config::WRITE_BACK_PACE;
use afs::control::{ChangeKind, Client, ControlError, DroppedChange, Reply, Request};
use afs::fs::{Dropped, DroppedKind};
use afs::state::GiveUpError;
use rustix::fs::{
    Access, AtFlags, CWD, Dir, FallocateFlags, Mode, OFlags, RenameFlags, Timespec, Timestamps,
};
use rustix::io::Errno;

use super::{Answer, Fd, Setup, Stat, Surface};
use crate::harness::{Mount, NoStarts, World, no_starts};

/// Fields end in this order: open files would keep the mount busy, and nothing can be started while there are any.
pub(super) struct Mounted {
    open: Mutex<OpenFiles>,
    mount: Mount,
    next: AtomicU64,
    state_dir: PathBuf,
}

#[derive(Default)]
struct OpenFiles {
    files: HashMap<Fd, Arc<File>>,
    /// While there are any.
    no_starts: Option<NoStarts>,
}

impl Mounted {
    pub(super) fn start(world: &World, setup: &Setup) -> Self {
        let mut options = vec![
            "--refresh".to_owned(),
            format!("{}ms", setup.refresh.as_millis()),
            "--umask".to_owned(),
            format!("{:04o}", setup.umask),
            "--quota".to_owned(),
            setup.quota.to_string(),
            "--names".to_owned(),
            setup.names.as_str().to_owned(),
            "--timeout".to_owned(),
            format!("{}ms", setup.conduct.patience.as_millis()),
        ];
        if setup.read_only {
            options.push("--read-only".to_owned());
        }
        if let Some(pace) = setup.write_back {
            assert_eq!(pace, WRITE_BACK_PACE, "a mount has no other");
            options.push("--write-back".to_owned());
        }
        if let Some(limit) = setup.min_free {
            options.extend(["--min-free".to_owned(), limit.to_string()]);
        }
        if let Some(limit) = setup.keep_limit {
            options.extend(["--keep-limit".to_owned(), limit.to_string()]);
        }
        for rule in setup.mime_types {
            options.extend(["--mime-type".to_owned(), (*rule).to_owned()]);
        }
        for (option, globs) in [("--scratch", setup.scratch), ("--send", setup.send)] {
            for glob in globs {
                options.extend([option.to_owned(), (*glob).to_owned()]);
            }
        }
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        Self {
            mount: world.mount_with(&options),
            open: Mutex::default(),
            next: AtomicU64::new(1),
            state_dir: world.state_dir(),
        }
    }

    /// What `afs pending` shows of one kind: names and sizes.
    fn pending(&self, kind: ChangeKind) -> Vec<(String, u64)> {
        match self.ask(&Request::Pending) {
            Ok(Reply::Pending { changes }) => changes
                .into_iter()
                .filter(|change| change.kind == kind)
                .map(|change| (change.name, change.size))
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        // Not `join`: that reads a leading slash as another root.
        let mut at = self.mount.path().as_os_str().to_owned();
        at.push("/");
        at.push(path);
        at.into()
    }

    /// Over the control socket: a program that is started has a copy of every open file for a moment.
    fn ask(&self, request: &Request) -> Result<Reply, String> {
        let mut client = Client::connect(&self.state_dir).expect("a mount that answers");
        match client.ask(request) {
            Err(ControlError::Refused(why)) => Err(why),
            reply => Ok(reply.expect("an answer")),
        }
    }

    fn file(&self, fd: Fd) -> Arc<File> {
        Arc::clone(&self.open.lock().unwrap().files[&fd])
    }
}

impl Surface for Mounted {
    fn open(&self, path: &str, flags: i32) -> Answer<Fd> {
        let flags = OFlags::from_bits_retain(flags.cast_unsigned()) | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o644);
        let mut open = self.open.lock().unwrap();
        let gate = open.no_starts.take().unwrap_or_else(no_starts);
        let opened = answer(rustix::fs::open(self.at(path), flags, mode));
        if opened.is_ok() || !open.files.is_empty() {
            open.no_starts = Some(gate);
        }
        let file = opened?;
        let fd = Fd(self.next.fetch_add(1, Ordering::Relaxed));
        let file = Arc::new(File::from(file));
        open.files.insert(fd, file);
        Ok(fd)
    }

    fn pread(&self, fd: Fd, offset: u64, size: usize) -> Answer<Vec<u8>> {
        let mut bytes = vec![0; size];
        let read = self.file(fd).read_at(&mut bytes, offset);
        bytes.truncate(read.map_err(|error| error.raw_os_error().unwrap())?);
        Ok(bytes)
    }

    fn pwrite(&self, fd: Fd, offset: u64, data: &[u8]) -> Answer<()> {
        let written = self.file(fd).write_all_at(data, offset);
        written.map_err(|error| error.raw_os_error().unwrap())
    }

    fn close_dup(&self, fd: Fd) -> Answer<()> {
        let file = self.file(fd);
        close(answer(rustix::io::dup(file.as_fd()))?)
    }

    fn close(&self, fd: Fd) -> Answer<()> {
        let file = self.open.lock().unwrap().files.remove(&fd).expect("open");
        let closed = close(Arc::into_inner(file).expect("used by nobody").into());
        let mut open = self.open.lock().unwrap();
        if open.files.is_empty() {
            open.no_starts = None;
        }
        closed
    }

    fn fsync(&self, fd: Fd) -> Answer<()> {
        answer(rustix::fs::fsync(&*self.file(fd)))
    }

    fn sync_root(&self) -> Answer<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = answer(rustix::fs::open(self.at(""), flags, Mode::empty()))?;
        answer(rustix::fs::fsync(directory))
    }

    fn ftruncate(&self, fd: Fd, size: u64) -> Answer<()> {
        answer(rustix::fs::ftruncate(&*self.file(fd), size))
    }

    fn truncate(&self, path: &str, size: u64) -> Answer<()> {
        nix::unistd::truncate(&self.at(path), size.cast_signed()).map_err(|error| error as i32)
    }

    fn fallocate(&self, fd: Fd, offset: u64, length: u64, mode: i32) -> Answer<()> {
        let mode = FallocateFlags::from_bits_retain(mode.cast_unsigned());
        answer(rustix::fs::fallocate(&*self.file(fd), mode, offset, length))
    }

    fn fstat(&self, fd: Fd) -> Answer<Stat> {
        answer(rustix::fs::fstat(&*self.file(fd))).map(|found| stat(&found))
    }

    fn stat(&self, path: &str) -> Answer<Stat> {
        answer(rustix::fs::stat(self.at(path))).map(|found| stat(&found))
    }

    fn set_mtime(&self, path: &str, mtime: i64) -> Answer<()> {
        let times = times(mtime);
        answer(rustix::fs::utimensat(
            CWD,
            self.at(path),
            &times,
            AtFlags::empty(),
        ))
    }

    fn futimens(&self, fd: Fd, mtime: i64) -> Answer<()> {
        answer(rustix::fs::futimens(&*self.file(fd), &times(mtime)))
    }

    fn access(&self, path: &str, mask: i32) -> Answer<()> {
        let mask = Access::from_bits_retain(mask.cast_unsigned());
        answer(rustix::fs::access(self.at(path), mask))
    }

    fn unlink(&self, path: &str) -> Answer<()> {
        answer(rustix::fs::unlink(self.at(path)))
    }

    fn rename(&self, from: &str, to: &str, flags: u32) -> Answer<()> {
        let flags = RenameFlags::from_bits_retain(flags);
        answer(rustix::fs::renameat_with(
            CWD,
            self.at(from),
            CWD,
            self.at(to),
            flags,
        ))
    }

    fn list(&self, path: &str) -> Answer<Vec<(String, u64)>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = answer(rustix::fs::open(self.at(path), flags, Mode::empty()))?;
        read_names(&mut answer(Dir::new(directory))?)
    }

    fn drop_pending(&self, name: &str) -> Result<Vec<Dropped>, String> {
        let name = name.to_owned();
        match self.ask(&Request::Drop { name })? {
            Reply::Dropped { changes } if changes.is_empty() => {
                Err(GiveUpError::NotPending.to_string())
            }
            Reply::Dropped { changes } => Ok(changes.into_iter().map(dropped).collect()),
            other => panic!("{other:?}"),
        }
    }

    fn retry(&self, name: Option<&str>) -> Result<usize, String> {
        let name = name.map(str::to_owned);
        match self.ask(&Request::Retry { name })? {
            Reply::Retried { count } => Ok(count),
            other => panic!("{other:?}"),
        }
    }

    fn unfinished(&self) -> Vec<(String, u64)> {
        self.pending(ChangeKind::Unfinished)
    }

    fn scratch(&self) -> Vec<(String, u64)> {
        self.pending(ChangeKind::Scratch)
    }

    fn terminate(self: Box<Self>) {
        self.mount.signal("TERM");
        // Its files are open until the process is gone.
        assert_eq!(self.mount.wait(), Some(0));
    }

    fn kill(self: Box<Self>) {
        self.mount.signal("KILL");
        drop(self.open);
        let _dead = self.mount.kill();
    }

    fn end(self: Box<Self>) {
        drop(self.open);
        self.mount.unmount();
    }
}

/// The rest of a directory stream: names and inode numbers, without dots.
pub(crate) fn read_names(stream: &mut Dir) -> Answer<Vec<(String, u64)>> {
    let mut names = Vec::new();
    while let Some(entry) = stream.read() {
        let entry = answer(entry)?;
        let name = entry.file_name().to_str().expect("UTF-8").to_owned();
        if name != "." && name != ".." {
            names.push((name, entry.ino()));
        }
    }
    Ok(names)
}

fn close(file: OwnedFd) -> Answer<()> {
    nix::unistd::close(file).map_err(|error| error as i32)
}

fn answer<T>(result: Result<T, Errno>) -> Answer<T> {
    result.map_err(Errno::raw_os_error)
}

fn times(mtime: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: mtime.div_euclid(1_000_000_000),
        tv_nsec: mtime.rem_euclid(1_000_000_000),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

fn dropped(change: DroppedChange) -> Dropped {
    Dropped {
        kind: match change.kind {
            ChangeKind::Save => DroppedKind::Save,
            ChangeKind::Delete => DroppedKind::Delete,
            ChangeKind::Unfinished => DroppedKind::Unfinished,
            ChangeKind::Scratch => panic!("to be given up it is a save: {change:?}"),
        },
        name: change.name,
        size: change.size,
        in_trash: change.in_trash,
        may_have_arrived: change.may_have_arrived,
    }
}

fn stat(found: &rustix::fs::Stat) -> Stat {
    Stat {
        ino: found.st_ino,
        mode: found.st_mode & 0o7777,
        nlink: found.st_nlink,
        size: found.st_size.cast_unsigned(),
        mtime: found.st_mtime * 1_000_000_000 + found.st_mtime_nsec.cast_signed(),
        ctime: found.st_ctime * 1_000_000_000 + found.st_ctime_nsec.cast_signed(),
        uid: found.st_uid,
        gid: found.st_gid,
    }
}
