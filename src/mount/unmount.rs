//! Ending a mount from outside: finding it, taking it away, waiting for its process, naming who is in the way.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::helper::{self, Outcome};
pub use super::holders::Holder;
use super::holders::holders;
use super::prepare::resolve;
use super::registration::Daemon;
use super::sys;
use super::table::{MountEntry, MountTable};

/// How long the helper program may take. It touches no file of the mount, so this is for machines in trouble.
const HELPER: Duration = Duration::from_secs(30);
/// How long the process may take to finish its work after its mount is gone, before the user hears of it.
const PATIENCE: Duration = Duration::from_secs(2);
/// And how much longer before this program leaves it to itself.
const FINISH: Duration = Duration::from_secs(120);
/// Processes named in one sentence.
const MOST_NAMED: usize = 5;

/// Why a mount could not be ended.
#[derive(Debug)]
pub enum UnmountError {
    /// Nothing is mounted there.
    NotMounted {
        /// The path asked for.
        path: PathBuf,
        /// Where mounts of ours are.
        ours: Vec<PathBuf>,
    },
    /// What is mounted there is not ours.
    Foreign {
        /// The path asked for.
        path: PathBuf,
        /// The type of what is there.
        kind: String,
    },
    /// Somebody uses it.
    Busy {
        /// The mount point.
        path: PathBuf,
        /// Who, as far as this user may see.
        holders: Vec<Holder>,
    },
    /// It is unmounted, and its process is still at work.
    Lingering {
        /// The mount point.
        path: PathBuf,
        /// The process.
        pid: u32,
    },
    /// The system refused.
    Failed {
        /// The mount point.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl fmt::Display for UnmountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMounted { path, ours } => {
                write!(f, "{} is not mounted", path.display())?;
                if ours.is_empty() {
                    return f.write_str(", and neither is any other workspace");
                }
                let ours: Vec<String> =
                    ours.iter().map(|path| path.display().to_string()).collect();
                write!(f, "; mounted are: {}", ours.join(", "))
            }
            Self::Foreign { path, kind } => {
                write!(
                    f,
                    "{} is a mount of the type {kind}, not one of afs; use umount for it",
                    path.display()
                )
            }
            Self::Busy { path, holders } => match named(holders) {
                None => write!(
                    f,
                    "{} is in use by a process that this user may not see; try again when it has ended",
                    path.display()
                ),
                Some(named) => write!(
                    f,
                    "{} is in use by {named}; close what is open there and leave the directory, then try again",
                    path.display()
                ),
            },
            Self::Lingering { path, pid } => write!(
                f,
                "{} is unmounted, but the process {pid} that served it is still at work; it ends by itself when it is done",
                path.display()
            ),
            Self::Failed { path, why } => {
                write!(f, "{} could not be unmounted: {why}", path.display())
            }
        }
    }
}

impl std::error::Error for UnmountError {}

/// Ends the mount at `path` and waits until its process is gone; where that takes a while, `waiting` is told for which.
/// With `force` also while it is in use: its process is told to end, which keeps what programs have not closed.
/// Where the process had its state, if there was one.
pub fn unmount(
    path: &Path,
    force: bool,
    waiting: &dyn Fn(u32),
) -> Result<Option<PathBuf>, UnmountError> {
    let failed = |why: String| UnmountError::Failed {
        path: path.to_owned(),
        why,
    };
    let path = resolve(path).map_err(|error| failed(error.to_string()))?;
    let table = MountTable::read()
        .map_err(|error| failed(format!("the mount table cannot be read: {error}")))?;
    let Some(entry) = table.at(&path) else {
        let ours = table.of_user(sys::uid());
        let ours = ours.map(|entry| entry.mountpoint.clone()).collect();
        return Err(UnmountError::NotMounted { path, ours });
    };
    if !entry.is_ours() {
        let kind = entry.kind.clone();
        return Err(UnmountError::Foreign { path, kind });
    }
    let daemon = Daemon::of(entry);
    match take_away(&path, false) {
        Ok(()) => {}
        Err(TakeError::Busy) if force => end_in_use(&path, daemon.as_ref()).map_err(failed)?,
        Err(TakeError::Busy) => {
            let holders = holders(&path);
            return Err(UnmountError::Busy { path, holders });
        }
        Err(TakeError::Other(why)) => return Err(UnmountError::Failed { path, why }),
    }
    let Some(daemon) = daemon else {
        return Ok(None);
    };
    let pid = daemon.registered.pid;
    let is_gone = daemon.wait_until_gone(PATIENCE) || {
        waiting(pid);
        daemon.wait_until_gone(FINISH)
    };
    if is_gone {
        return Ok(Some(daemon.registered.state_dir));
    }
    Err(UnmountError::Lingering { path, pid })
}

/// Takes a mount away that is in use. Its process does it, for it has to know: what programs have written and not closed
/// is in its memory. Where there is none, nobody has anything to lose.
fn end_in_use(path: &Path, daemon: Option<&Daemon>) -> Result<(), String> {
    match daemon {
        Some(daemon) => sys::terminate(daemon.registered.pid)
            .map_err(|error| format!("its process could not be told to end: {error}")),
        None => detach(path),
    }
}

/// Whether nobody uses the mount, as far as this user may see.
pub fn must_be_free(mountpoint: &Path) -> Result<(), UnmountError> {
    let holders = holders(mountpoint);
    if holders.is_empty() {
        return Ok(());
    }
    Err(UnmountError::Busy {
        path: mountpoint.to_owned(),
        holders,
    })
}

/// Names processes, not more than fit a sentence; `None` for none.
#[must_use]
pub fn named(holders: &[Holder]) -> Option<String> {
    if holders.is_empty() {
        return None;
    }
    let mut named: Vec<String> = holders
        .iter()
        .take(MOST_NAMED)
        .map(ToString::to_string)
        .collect();
    if holders.len() > MOST_NAMED {
        named.push(format!("{} more", holders.len() - MOST_NAMED));
    }
    Some(named.join(", "))
}

/// Takes a mount away whose process is gone: whoever still waits for an answer in it is let go first.
pub(super) fn remove_dead(entry: &MountEntry) -> Result<(), String> {
    let abort = format!("/sys/fs/fuse/connections/{}/abort", entry.minor);
    if let Err(error) = std::fs::write(&abort, "1") {
        // Not everywhere is the control file system mounted; most dead mounts have nobody waiting in them.
        log::debug!("{abort}: {error}");
    }
    take_away(&entry.mountpoint, true).map_err(|error| {
        let at = entry.mountpoint.display();
        let why = match error {
            TakeError::Busy => "it is in use".to_owned(),
            TakeError::Other(why) => why,
        };
        format!(
            "{at} carries a dead mount that could not be taken away: {why}; try: umount -l {at}"
        )
    })
}

/// Takes a mount of this process away at once; programs that have files open keep them until they close them.
pub(super) fn detach(path: &Path) -> Result<(), String> {
    match take_away(path, true) {
        Ok(()) => Ok(()),
        Err(TakeError::Busy) => Err("it is in use".to_owned()),
        Err(TakeError::Other(why)) => Err(why),
    }
}

enum TakeError {
    Busy,
    Other(String),
}

/// By the system call where this process may, else by fusermount3, which may for the mount's owner.
fn take_away(path: &Path, detach: bool) -> Result<(), TakeError> {
    match sys::unmount(path, detach) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => return Err(TakeError::Busy),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        Err(error) => return Err(TakeError::Other(error.to_string())),
    }
    let Some(program) = fusermount() else {
        return Err(TakeError::Other(
            "fusermount3 is missing, without which only root can unmount: install the package fuse3".into(),
        ));
    };
    let mut command = Command::new(program);
    command.arg("-u");
    if detach {
        command.arg("-z");
    }
    command.arg("--").arg(path);
    match helper::run(&mut command, HELPER) {
        Ok(Outcome::Ended(status, _)) if status.success() => Ok(()),
        Ok(Outcome::Ended(_, said)) if said.contains("busy") => Err(TakeError::Busy),
        Ok(Outcome::Ended(status, said)) if said.is_empty() => {
            Err(TakeError::Other(format!("fusermount3 ended with {status}")))
        }
        Ok(Outcome::Ended(_, said)) => Err(TakeError::Other(said)),
        Ok(Outcome::StillRunning) => Err(TakeError::Other("fusermount3 does not come back".into())),
        Err(error) => Err(TakeError::Other(format!(
            "fusermount3 cannot be started: {error}"
        ))),
    }
}

/// The program that mounts and unmounts for those who may not: where the mounting library looks for it too.
pub(super) fn fusermount() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("FUSERMOUNT_PATH") {
        return Some(path.into()).filter(|path: &PathBuf| path.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories: Vec<PathBuf> = std::env::split_paths(&path)
        .chain(["/usr/bin".into(), "/bin".into(), "/sbin".into()])
        .collect();
    ["fusermount3", "fusermount"].iter().find_map(|name| {
        directories
            .iter()
            .map(|directory| directory.join(name))
            .find(|path| path.is_file())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_is_no_mount_is_said_to_be_none() {
        let dir = tempfile::tempdir().unwrap();
        let error = unmount(dir.path(), false, &|_| ()).unwrap_err();
        assert!(matches!(error, UnmountError::NotMounted { .. }));
        assert!(error.to_string().contains("is not mounted"), "{error}");
    }

    #[test]
    fn a_mount_of_another_kind_is_left_alone() {
        let error = unmount(Path::new("/proc"), false, &|_| ()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/proc is a mount of the type proc, not one of afs; use umount for it"
        );
    }

    #[test]
    fn sentences_name_what_stands_in_the_way() {
        let path = PathBuf::from("/m");
        let holder = |pid| Holder {
            name: "vim".into(),
            pid,
        };
        for (error, sentence) in [
            (
                UnmountError::NotMounted {
                    path: path.clone(),
                    ours: vec!["/a".into(), "/b".into()],
                },
                "/m is not mounted; mounted are: /a, /b",
            ),
            (
                UnmountError::NotMounted {
                    path: path.clone(),
                    ours: vec![],
                },
                "/m is not mounted, and neither is any other workspace",
            ),
            (
                UnmountError::Busy {
                    path: path.clone(),
                    holders: vec![holder(7)],
                },
                "/m is in use by vim (7); close what is open there and leave the directory, then try again",
            ),
            (
                UnmountError::Busy {
                    path: path.clone(),
                    holders: (1..8).map(holder).collect(),
                },
                "/m is in use by vim (1), vim (2), vim (3), vim (4), vim (5), 2 more; close what is open there and \
                 leave the directory, then try again",
            ),
            (
                UnmountError::Busy {
                    path: path.clone(),
                    holders: vec![],
                },
                "/m is in use by a process that this user may not see; try again when it has ended",
            ),
            (
                UnmountError::Lingering {
                    path: path.clone(),
                    pid: 7,
                },
                "/m is unmounted, but the process 7 that served it is still at work; it ends by itself when it is done",
            ),
            (
                UnmountError::Failed {
                    path,
                    why: "it rains".into(),
                },
                "/m could not be unmounted: it rains",
            ),
        ] {
            assert_eq!(error.to_string(), sentence);
        }
    }
}
