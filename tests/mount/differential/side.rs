//! One of the two directories that are compared, and the calls on it.
//!
//! What the mount is allowed to answer differently, all of it:
//!
//! - mkdir(2), mknod(2), symlink(2) and link(2) are refused with EPERM, where the arguments alone refuse nothing;
//! - a file has no holes: `SEEK_DATA` finds every byte, and `SEEK_HOLE` the end;
//! - modes and owners are the mount's, and the time of the last access is that of the last change.
//!
//! The native side answers so, instead of making the call; modes, owners and access times are not looked at. Beyond that
//! there is what is not tried: offsets beyond 500 MB (EFBIG), names the service refuses (EINVAL), files that were not
//! written here, `O_PATH` (nobody is told of it, so it does not hold a file that is removed: ESTALE), and sendfile(2)
//! from a file to itself: it sends the pages that it overwrites, and what ranges that overlap end as is undefined.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FallocateFlags, FileType, Mode, OFlags, RenameFlags, SeekFrom, Timespec,
    Timestamps, UTIME_NOW, UTIME_OMIT,
};
use rustix::io::{Errno, Result};

use super::plan::{Flags, NAMES, Op, SLOTS, Time, Whence};

/// Before any test ran, seconds since 1970: times that are set are shown, those of the clock only as such.
pub(super) const LONG_AGO: i64 = 1_000_000_000;

/// A name that stays on this machine.
pub(super) const SCRATCH: &str = "d~";

/// What the names of a list end with. One is provisional.
pub(super) const SUFFIXES: [&str; NAMES] = ["a", "b.txt", "c.tmp", SCRATCH];

/// What a call answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Done,
    Number(u64),
    Bytes(Vec<u8>),
    Seen(Seen),
    Names(Vec<String>),
}

/// What stat(2) and fstat(2) show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    is_file: bool,
    size: i64,
    nlink: u64,
    /// `None` where it is the clock's.
    mtime: Option<(i64, i64)>,
    /// Which open descriptors lead to the same file.
    shared_with: [bool; SLOTS],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Mount,
    Native,
}

pub(super) struct Side {
    kind: Kind,
    dir: PathBuf,
    /// Before each name: no list meets another one's files.
    prefix: String,
    slots: [Option<OwnedFd>; SLOTS],
}

impl Side {
    pub(super) fn new(kind: Kind, dir: &Path, prefix: &str) -> Self {
        Self {
            kind,
            dir: dir.to_owned(),
            prefix: prefix.to_owned(),
            slots: Default::default(),
        }
    }

    fn at(&self, name: usize) -> PathBuf {
        self.dir.join(self.name(name))
    }

    fn name(&self, name: usize) -> String {
        format!("{}{}", self.prefix, SUFFIXES[name])
    }

    /// An open descriptor: the one of this slot, or the next.
    fn file(&self, slot: usize) -> Result<&OwnedFd> {
        let after = self.slots[slot..].iter().chain(&self.slots[..slot]);
        after.flatten().next().ok_or(Errno::BADF)
    }

    /// Makes a call; `serial` decides which bytes are written.
    pub(super) fn make(&mut self, op: Op, serial: usize) -> Result<Value> {
        match op {
            Op::Open { slot, name, flags } => self.open(slot, name, flags),
            Op::Close(slot) => self.close(slot),
            Op::Dup { slot, to } => {
                let copy = rustix::io::fcntl_dupfd_cloexec(self.file(slot)?, 0)?;
                self.put(to, copy)
            }
            Op::Seek {
                slot,
                whence,
                offset,
            } => self.seek(slot, whence, offset),
            Op::Read { .. } | Op::Pread { .. } => self.read(op),
            Op::Write { .. } | Op::Pwrite { .. } | Op::Copy { .. } | Op::Sendfile { .. } => {
                self.write(op, serial)
            }
            Op::Ftruncate { .. } | Op::Truncate { .. } | Op::Fallocate { .. } => self.resize(op),
            Op::Fsync(slot) => rustix::fs::fsync(self.file(slot)?).map(done),
            Op::Fdatasync(slot) => rustix::fs::fdatasync(self.file(slot)?).map(done),
            Op::Stat(name) => self.stat(name),
            Op::Fstat(slot) => self.seen(&rustix::fs::fstat(self.file(slot)?)?),
            Op::Utimens { name, atime, mtime } => {
                let times = times(atime, mtime);
                rustix::fs::utimensat(CWD, self.at(name), &times, AtFlags::empty()).map(done)
            }
            Op::Futimens { slot, atime, mtime } => {
                rustix::fs::futimens(self.file(slot)?, &times(atime, mtime)).map(done)
            }
            _ => self.change_directory(op),
        }
    }

    fn open(&mut self, slot: usize, name: usize, flags: Flags) -> Result<Value> {
        let mode = Mode::RUSR | Mode::WUSR;
        let file = rustix::fs::open(self.at(name), flags.0 | OFlags::CLOEXEC, mode)?;
        self.put(slot, file)
    }

    /// Puts a descriptor in a slot, and closes what was there.
    fn put(&mut self, slot: usize, file: OwnedFd) -> Result<Value> {
        let closed = self.close(slot);
        self.slots[slot] = Some(file);
        closed
    }

    fn close(&mut self, slot: usize) -> Result<Value> {
        match self.slots[slot].take() {
            None => Ok(Value::Done),
            Some(file) => match nix::unistd::close(file) {
                Ok(()) => Ok(Value::Done),
                Err(error) => Err(Errno::from_raw_os_error(error as i32)),
            },
        }
    }

    fn seek(&self, slot: usize, whence: Whence, offset: i64) -> Result<Value> {
        let file = self.file(slot)?;
        let from = match whence {
            Whence::Cur => SeekFrom::Current(offset),
            Whence::End => SeekFrom::End(offset),
            Whence::Set => SeekFrom::Start(offset.cast_unsigned()),
            Whence::Data | Whence::Hole if self.kind == Kind::Native => {
                return seek_without_holes(file, whence, offset);
            }
            Whence::Data => SeekFrom::Data(offset.cast_unsigned()),
            Whence::Hole => SeekFrom::Hole(offset.cast_unsigned()),
        };
        rustix::fs::seek(file, from).map(Value::Number)
    }

    fn read(&self, op: Op) -> Result<Value> {
        let mut bytes = vec![0; 300_000];
        let count = match op {
            Op::Read { slot, len } => rustix::io::read(self.file(slot)?, &mut bytes[..len])?,
            Op::Pread { slot, offset, len } => {
                rustix::io::pread(self.file(slot)?, &mut bytes[..len], offset)?
            }
            _ => unreachable!("{op:?}"),
        };
        bytes.truncate(count);
        Ok(Value::Bytes(bytes))
    }

    fn write(&self, op: Op, serial: usize) -> Result<Value> {
        let count = match op {
            Op::Write { slot, len } => rustix::io::write(self.file(slot)?, &fresh(serial, len))?,
            Op::Pwrite { slot, offset, len } => {
                rustix::io::pwrite(self.file(slot)?, &fresh(serial, len), offset)?
            }
            Op::Copy {
                from,
                mut at,
                to,
                mut into,
                len,
            } => {
                let (from, to) = (self.file(from)?, self.file(to)?);
                rustix::fs::copy_file_range(from, at.as_mut(), to, into.as_mut(), len)?
            }
            Op::Sendfile {
                from,
                mut at,
                to,
                len,
            } => {
                let (from, to) = (self.file(from)?, self.file(to)?);
                if rustix::fs::fstat(from)?.st_ino == rustix::fs::fstat(to)?.st_ino {
                    return Err(Errno::INVAL);
                }
                rustix::fs::sendfile(to, from, at.as_mut(), len)?
            }
            _ => unreachable!("{op:?}"),
        };
        Ok(Value::Number(count as u64))
    }

    fn resize(&self, op: Op) -> Result<Value> {
        match op {
            Op::Ftruncate { slot, size } => rustix::fs::ftruncate(self.file(slot)?, size),
            Op::Truncate { name, size } => {
                nix::unistd::truncate(&self.at(name), size.cast_signed())
                    .map_err(|error| Errno::from_raw_os_error(error as i32))
            }
            Op::Fallocate { slot, offset, len } => {
                rustix::fs::fallocate(self.file(slot)?, FallocateFlags::empty(), offset, len)
            }
            _ => unreachable!("{op:?}"),
        }
        .map(done)
    }

    fn change_directory(&self, op: Op) -> Result<Value> {
        match op {
            Op::Rename {
                from,
                to,
                no_replace,
            } => {
                let flags = if no_replace {
                    RenameFlags::NOREPLACE
                } else {
                    RenameFlags::empty()
                };
                rustix::fs::renameat_with(CWD, self.at(from), CWD, self.at(to), flags).map(done)
            }
            Op::Unlink(name) => rustix::fs::unlink(self.at(name)).map(done),
            Op::Rmdir(name) => rustix::fs::rmdir(self.at(name)).map(done),
            Op::Chmod(name) => rustix::fs::chmod(self.at(name), Mode::RUSR | Mode::WUSR).map(done),
            Op::List => self.list(),
            Op::Mkdir(name) | Op::Mkfifo(name) | Op::Symlink(name) | Op::Link { to: name, .. } => {
                if self.kind == Kind::Mount {
                    return self.make_other(op, name);
                }
                if let Op::Link { from, .. } = op {
                    self.stat(from)?;
                }
                match self.stat(name) {
                    Ok(_) => Err(Errno::EXIST),
                    Err(_) => Err(Errno::PERM),
                }
            }
            _ => unreachable!("{op:?}"),
        }
    }

    /// What is no file.
    fn make_other(&self, op: Op, name: usize) -> Result<Value> {
        let (path, mode) = (self.at(name), Mode::RUSR | Mode::WUSR);
        match op {
            Op::Mkdir(_) => rustix::fs::mkdir(path, mode),
            Op::Mkfifo(_) => rustix::fs::mknodat(CWD, path, FileType::Fifo, mode, 0),
            Op::Symlink(_) => rustix::fs::symlink("a", path),
            Op::Link { from, .. } => rustix::fs::link(self.at(from), path),
            _ => unreachable!("{op:?}"),
        }
        .map(done)
    }

    fn stat(&self, name: usize) -> Result<Value> {
        self.seen(&rustix::fs::stat(self.at(name))?)
    }

    fn seen(&self, found: &rustix::fs::Stat) -> Result<Value> {
        let mut shared_with = [false; SLOTS];
        for (slot, shared) in self.slots.iter().zip(&mut shared_with) {
            if let Some(file) = slot {
                *shared = rustix::fs::fstat(file)?.st_ino == found.st_ino;
            }
        }
        let mtime = (found.st_mtime, found.st_mtime_nsec.cast_signed());
        let is_set = (LONG_AGO..LONG_AGO * 11 / 10).contains(&mtime.0);
        Ok(Value::Seen(Seen {
            is_file: FileType::from_raw_mode(found.st_mode) == FileType::RegularFile,
            size: found.st_size,
            nlink: found.st_nlink,
            mtime: is_set.then_some(mtime),
            shared_with,
        }))
    }

    /// The list's own names, each with the inode number that stat(2) shows.
    fn list(&self) -> Result<Value> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&self.dir, flags, Mode::empty())?;
        let mut names = Vec::new();
        for entry in Dir::new(directory)? {
            let entry = entry?;
            let name = entry.file_name().to_str().expect("UTF-8").to_owned();
            if name.starts_with(&self.prefix) {
                let found = rustix::fs::stat(self.dir.join(&name))?;
                assert_eq!(entry.ino(), found.st_ino, "d_ino and st_ino of {name}");
                assert_eq!(entry.file_type(), FileType::RegularFile, "{name}");
                names.push(name);
            }
        }
        names.sort();
        Ok(Value::Names(names))
    }

    /// All there is to see without changing anything: names, attributes, positions.
    pub(super) fn look(&self) -> Vec<Result<Value>> {
        let positions = (0..SLOTS).filter_map(|slot| {
            let file = self.slots[slot].as_ref()?;
            Some(rustix::fs::tell(file).map(Value::Number))
        });
        let open = (0..SLOTS).filter_map(|slot| {
            let file = self.slots[slot].as_ref()?;
            Some(rustix::fs::fstat(file).and_then(|found| self.seen(&found)))
        });
        let named = (0..NAMES).map(|name| self.stat(name));
        named.chain(open).chain(positions).collect()
    }

    /// Closes everything, then looks and reads.
    pub(super) fn end(&mut self) -> Vec<Result<Value>> {
        let mut answers: Vec<Result<Value>> = (0..SLOTS).map(|slot| self.close(slot)).collect();
        answers.extend(self.look());
        answers.push(self.list());
        answers.extend((0..NAMES).map(|name| {
            let bytes = std::fs::read(self.at(name));
            bytes.map(Value::Bytes).map_err(|error| {
                Errno::from_raw_os_error(error.raw_os_error().expect("a system call's"))
            })
        }));
        answers
    }
}

fn done((): ()) -> Value {
    Value::Done
}

/// Every byte is data.
fn seek_without_holes(file: impl AsFd, whence: Whence, offset: i64) -> Result<Value> {
    // A descriptor that can't seek says so.
    rustix::fs::tell(&file)?;
    let size = rustix::fs::fstat(&file)?.st_size;
    if !(0..size).contains(&offset) {
        return Err(Errno::NXIO);
    }
    let to = if whence == Whence::Data { offset } else { size };
    rustix::fs::seek(file, SeekFrom::Start(to.cast_unsigned())).map(Value::Number)
}

fn times(atime: Time, mtime: Time) -> Timestamps {
    let time = |time| match time {
        Time::Now => (0, UTIME_NOW),
        Time::Omit => (0, UTIME_OMIT),
        Time::At(nanos) => (
            LONG_AGO + nanos / 1_000_000_000,
            (nanos % 1_000_000_000).cast_unsigned().cast_signed(),
        ),
    };
    let spec = |(tv_sec, tv_nsec)| Timespec { tv_sec, tv_nsec };
    Timestamps {
        last_access: spec(time(atime)),
        last_modification: spec(time(mtime)),
    }
}

/// Bytes that differ from place to place and from write to write.
fn fresh(serial: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at.wrapping_mul(31) ^ (at >> 8) ^ serial.wrapping_mul(89)) as u8 | 1)
        .collect()
}
