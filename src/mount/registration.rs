//! How a running mount is found: a small file that its process keeps locked for as long as it lives.
//!
//! A *registration* says which process serves a mount and where its state is. It lies in a directory that depends on the
//! user alone, not on `--state-dir`, so that `afs unmount PATH` needs nothing but the path. The lock is the truth: the
//! kernel drops it when the process ends, however it ends; a file without a lock is a leftover.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::sys;
use super::table::{MountEntry, MountTable};

/// What a registration says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// The process that serves the mount.
    pub pid: u32,
    /// Where it is mounted.
    pub mountpoint: PathBuf,
    /// The workspace's state directory.
    pub state_dir: PathBuf,
}

/// This process's own registration; gone when dropped, and unlocked when the process ends without that.
#[derive(Debug)]
pub struct Registration {
    path: PathBuf,
    locked: File,
}

impl Registration {
    /// Registers this process as the one that serves what is mounted at `mountpoint`. Call it when the mount is there.
    pub fn write(mountpoint: &Path, state_dir: &Path) -> io::Result<Self> {
        let table = MountTable::read()?;
        let entry = table
            .at(mountpoint)
            .ok_or_else(|| io::Error::other("the mount is not in the kernel's table"))?;
        let own = directories(sys::uid());
        let mut last = io::Error::other("there is no directory for it");
        for directory in own {
            let content = Registered {
                pid: std::process::id(),
                mountpoint: mountpoint.to_owned(),
                state_dir: state_dir.to_owned(),
            };
            match Self::write_in(&directory, entry.minor, &content) {
                Ok(registration) => return Ok(registration),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn write_in(directory: &Path, minor: u32, content: &Registered) -> io::Result<Self> {
        match DirBuilder::new().mode(0o700).create(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if !is_private(directory, sys::uid()) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("{} belongs to somebody else", directory.display()),
            ));
        }
        remove_leftovers(directory);
        // Locked before it has its name: a name without a lock is a leftover.
        let unfinished = directory.join(format!("{minor}-{}.new", content.pid));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.lock()?;
        file.write_all(&serde_json::to_vec(content)?)?;
        let path = directory.join(format!("{minor}-{}.json", content.pid));
        std::fs::rename(&unfinished, &path)?;
        Ok(Self { path, locked: file })
    }
}

impl Registration {
    /// For a process that is about to end: its lock goes with its last breath, for that is what `afs unmount` waits for.
    pub fn leave_to_the_end(self) {
        if let Ok(lock) = self.locked.try_clone() {
            std::mem::forget(lock);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // Best effort: without its lock, which goes with its last descriptor, the file means nothing.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A process that serves a mount, alive when it was looked for.
#[derive(Debug)]
pub struct Daemon {
    /// What it registered.
    pub registered: Registered,
    file: File,
}

impl Daemon {
    /// The process that serves a mount. `None`: none is alive, or it could not register.
    #[must_use]
    pub fn of(entry: &MountEntry) -> Option<Self> {
        let uid = entry.owner().unwrap_or_else(sys::uid);
        directories(uid)
            .iter()
            .filter(|directory| is_private(directory, uid))
            .find_map(|directory| Self::find_in(directory, entry.minor, &entry.mountpoint))
    }

    fn find_in(directory: &Path, minor: u32, mountpoint: &Path) -> Option<Self> {
        // The kernel gives a minor number out again as soon as its mount is gone, even while the old process is still
        // finishing its work. Where the new mount's process was killed, the old one of another mount point must not pass
        // for it; of several of one mount point that are alive the last to come is the one that serves.
        candidates(directory, minor)
            .into_iter()
            .filter_map(|path| {
                let file = open_plain(&path).ok()?;
                let born = file.metadata().ok()?.modified().ok()?;
                if !is_locked(&file) {
                    return None;
                }
                let mut text = String::new();
                (&file).take(64 << 10).read_to_string(&mut text).ok()?;
                let registered: Registered = serde_json::from_str(&text).ok()?;
                (registered.mountpoint == mountpoint).then_some((born, Self { registered, file }))
            })
            .max_by_key(|(born, _)| *born)
            .map(|(_, daemon)| daemon)
    }

    /// Waits until the process has ended; `false` when it is still there after `limit`.
    #[must_use]
    pub fn wait_until_gone(&self, limit: Duration) -> bool {
        let Ok(file) = self.file.try_clone() else {
            return !is_locked(&self.file);
        };
        let (done, gone) = mpsc::channel();
        // Left behind when it takes too long: this program ends soon after.
        std::thread::spawn(move || done.send(file.lock_shared()));
        matches!(gone.recv_timeout(limit), Ok(Ok(())))
    }
}

/// Where registrations of a user's mounts lie, best first. The user's runtime directory can vanish at logout while the
/// mount lives on, hence more than one.
fn directories(uid: u32) -> Vec<PathBuf> {
    let mut directories = Vec::new();
    if uid == 0 {
        directories.push("/run/afs".into());
    } else {
        directories.push(format!("/run/user/{uid}/afs").into());
    }
    directories.push(format!("/tmp/afs-{uid}").into());
    directories
}

/// Whether a directory is one, and this user's alone: `/tmp` is everybody's.
fn is_private(directory: &Path, uid: u32) -> bool {
    directory
        .symlink_metadata()
        .is_ok_and(|found| found.is_dir() && found.uid() == uid && found.mode() & 0o022 == 0)
}

fn candidates(directory: &Path, minor: u32) -> Vec<PathBuf> {
    let prefix = format!("{minor}-");
    json_files(directory)
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with(&prefix))
        })
        .collect()
}

fn json_files(directory: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
}

fn open_plain(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
}

/// Whether a living process holds the file.
fn is_locked(file: &File) -> bool {
    match file.try_lock_shared() {
        Ok(()) => {
            // Best effort: the descriptor is closed soon anyway.
            let _ = file.unlock();
            false
        }
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(_)) => false,
    }
}

fn remove_leftovers(directory: &Path) {
    for path in json_files(directory) {
        if open_plain(&path).is_ok_and(|file| !is_locked(&file)) {
            let _ = std::fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn content(pid: u32) -> Registered {
        Registered {
            pid,
            mountpoint: at().into(),
            state_dir: "/state/w".into(),
        }
    }

    fn at() -> &'static Path {
        Path::new("/mnt/a b")
    }

    fn private() -> tempfile::TempDir {
        tempfile::Builder::new()
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir()
            .unwrap()
    }

    #[test]
    fn a_living_process_is_found_and_waited_for() {
        let dir = private();
        let registration = Registration::write_in(dir.path(), 53, &content(77)).unwrap();
        let daemon = Daemon::find_in(dir.path(), 53, at()).unwrap();
        assert_eq!(daemon.registered, content(77));
        assert!(!daemon.wait_until_gone(Duration::ZERO));
        drop(registration);
        assert!(daemon.wait_until_gone(Duration::from_secs(60)));
        assert!(Daemon::find_in(dir.path(), 53, at()).is_none());
        assert_eq!(json_files(dir.path()).count(), 0);
    }

    #[test]
    fn another_mount_is_not_mistaken_for_it() {
        let dir = private();
        let _other = Registration::write_in(dir.path(), 153, &content(77)).unwrap();
        assert!(Daemon::find_in(dir.path(), 53, at()).is_none());
        assert!(Daemon::find_in(dir.path(), 15, at()).is_none());
    }

    #[test]
    fn what_a_dead_process_left_is_ignored_and_removed_by_the_next() {
        let dir = private();
        let leftover = dir.path().join("53-77.json");
        std::fs::write(&leftover, serde_json::to_vec(&content(77)).unwrap()).unwrap();
        assert!(Daemon::find_in(dir.path(), 53, at()).is_none());
        let _next = Registration::write_in(dir.path(), 54, &content(78)).unwrap();
        assert!(!leftover.exists());
    }

    #[test]
    fn of_two_with_one_number_the_later_serves() {
        let dir = private();
        let finishing = Registration::write_in(dir.path(), 53, &content(77)).unwrap();
        let _serving = Registration::write_in(dir.path(), 53, &content(78)).unwrap();
        let past = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        finishing.locked.set_modified(past).unwrap();
        let daemon = Daemon::find_in(dir.path(), 53, at()).unwrap();
        assert_eq!(daemon.registered.pid, 78);
    }

    /// A mount whose process had been killed passed for alive: another mount had ended with that number a moment ago, and
    /// its process was still finishing.
    #[test]
    fn one_that_finishes_after_another_mount_is_not_mistaken_for_it() {
        let dir = private();
        let _finishing = Registration::write_in(dir.path(), 53, &content(77)).unwrap();
        assert!(Daemon::find_in(dir.path(), 53, Path::new("/mnt/b")).is_none());
    }

    #[test]
    fn a_directory_that_others_can_write_is_not_trusted() {
        let dir = private();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let error = Registration::write_in(dir.path(), 53, &content(77)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(!is_private(dir.path(), sys::uid()));
    }

    #[test]
    fn nonsense_in_a_registration_is_nobody() {
        let dir = private();
        let path = dir.path().join("53-1.json");
        std::fs::write(&path, "nonsense").unwrap();
        let file = File::open(&path).unwrap();
        file.lock().unwrap();
        assert!(Daemon::find_in(dir.path(), 53, at()).is_none());
    }
}
