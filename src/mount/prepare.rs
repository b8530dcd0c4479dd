//! Making a mount point ready: probing it, making it, taking away the dead mount on it.
//!
//! A mount of ours whose process is gone is *dead*: everything in it answers "Transport endpoint is not connected" until
//! somebody takes it away.

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::helper::{self, Outcome};
use super::preflight::{Device, Health, Point, Probes, Refusal, Step, decide};
use super::registration::Daemon;
use super::table::{MountEntry, MountTable};
use super::{sys, unmount};
use crate::config::MountSettings;

/// How long a mount that nobody registered for may take to say whether it lives.
const ASK: Duration = Duration::from_secs(2);
/// So many dead mounts on top of one another are taken away; more are somebody's mistake.
const MOST_DEAD: usize = 8;

/// What every mount of this kind goes through.
pub(super) const DEVICE: &str = "/dev/fuse";
/// What `fusermount3` lets ordinary users do.
pub(super) const FUSE_CONF: &str = "/etc/fuse.conf";

/// A mount point that can be mounted on.
#[derive(Debug)]
pub struct Prepared {
    /// Its absolute path, as the kernel's table will spell it.
    pub path: PathBuf,
    /// Whether it was made for this.
    pub is_new: bool,
}

/// Makes the mount point ready: makes it, takes dead mounts away, or says why not. Makes the directories for state and
/// cache as well, which nobody else may enter.
pub fn prepare(settings: &MountSettings) -> Result<Prepared, Refusal> {
    let path = resolve(&settings.mountpoint).map_err(|error| {
        Refusal::new(format!(
            "{} cannot be used: {error}",
            settings.mountpoint.display()
        ))
    })?;
    for _ in 0..=MOST_DEAD {
        let table = MountTable::read()
            .map_err(|error| Refusal::new(format!("the mount table cannot be read: {error}")))?;
        let entry = table.at(&path);
        match decide(&probe(settings.allow_other, entry, &path), &path)? {
            Step::Mount => {
                private_directories(settings)?;
                return Ok(Prepared {
                    path,
                    is_new: false,
                });
            }
            Step::Create => {
                private_directories(settings)?;
                DirBuilder::new()
                    .mode(0o700)
                    .create(&path)
                    .map_err(|error| {
                        Refusal::new(format!("{} cannot be made: {error}", path.display()))
                    })?;
                return Ok(Prepared { path, is_new: true });
            }
            Step::Heal => {
                if let Some(entry) = entry {
                    log::info!("taking away the dead mount on {}", path.display());
                    unmount::remove_dead(entry).map_err(Refusal::new)?;
                }
            }
        }
    }
    Err(Refusal::new(format!(
        "{} carries one dead mount on top of another; take them away with umount -l",
        path.display()
    )))
}

/// Takes away what a process that died left mounted at `path`, and says whether there was something. What is served, or
/// is not ours, stays.
pub fn heal(path: &Path) -> Result<bool, Refusal> {
    let refusal = |why: &dyn std::fmt::Display| {
        Refusal::new(format!("{} cannot be looked at: {why}", path.display()))
    };
    let path = resolve(path).map_err(|error| refusal(&error))?;
    let mut healed = false;
    for _ in 0..=MOST_DEAD {
        let table = MountTable::read().map_err(|error| refusal(&error))?;
        match table.at(&path) {
            Some(entry) if entry.is_ours() && health(entry) == Health::Dead => {
                unmount::remove_dead(entry).map_err(Refusal::new)?;
                healed = true;
            }
            _ => break,
        }
    }
    Ok(healed)
}

fn private_directories(settings: &MountSettings) -> Result<(), Refusal> {
    private_directory(&settings.state_root, "--state-dir")?;
    private_directory(&settings.cache_root, "--cache-dir")
}

/// Makes a directory that only this user may enter. One that exists is left as it is: it may hold other things too.
fn private_directory(path: &Path, flag: &str) -> Result<(), Refusal> {
    DirBuilder::new()
        .mode(0o700)
        .recursive(true)
        .create(path)
        .map_err(|error| {
            Refusal::new(format!(
                "the directory {} cannot be made: {error}; name another one with {flag}",
                path.display()
            ))
        })
}

/// The path as the kernel's table spells it, without touching what may be a dead mount at its end.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    let is_mount = |path: &Path| MountTable::read().is_ok_and(|table| table.at(path).is_some());
    let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
        return absolute.canonicalize();
    };
    if is_mount(&absolute) {
        return Ok(absolute);
    }
    match parent.canonicalize() {
        Ok(parent) => {
            let path = parent.join(name);
            let is_link = || {
                path.symlink_metadata()
                    .is_ok_and(|found| found.is_symlink())
            };
            if !is_mount(&path) && is_link() {
                path.canonicalize()
            } else {
                Ok(path)
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(absolute),
        Err(error) => Err(error),
    }
}

fn probe(allow_other: bool, entry: Option<&MountEntry>, path: &Path) -> Probes {
    let point = match entry {
        Some(entry) if entry.is_ours() => Point::Ours(health(entry)),
        _ => look_at(path),
    };
    Probes {
        point,
        device: look_at_device(Path::new(DEVICE)),
        root: sys::uid() == 0,
        may_mount: sys::may_mount(),
        fusermount: unmount::fusermount().is_some(),
        allow_other,
        user_allow_other: lets_others_in(Path::new(FUSE_CONF)),
    }
}

/// Whether this `fuse.conf` lets ordinary users open their mounts to others: read as fusermount3 does, which reads it as
/// the user too.
pub(super) fn lets_others_in(fuse_conf: &Path) -> bool {
    std::fs::read_to_string(fuse_conf).is_ok_and(|text| may_let_others_in(&text))
}

fn may_let_others_in(settings: &str) -> bool {
    settings
        .lines()
        .filter_map(|line| line.split('#').next())
        .any(|line| line.trim() == "user_allow_other")
}

/// Never by `stat` from this process: on a mount that hangs it does not come back, and then this process cannot even end.
pub(super) fn health(entry: &MountEntry) -> Health {
    if Daemon::of(entry).is_some() {
        return Health::Alive;
    }
    asked_health(entry)
}

/// The same by what the mount itself says, whoever serves it.
pub(super) fn asked_health(entry: &MountEntry) -> Health {
    let mut stat = Command::new("stat");
    stat.args(["-f", "--"]).arg(&entry.mountpoint);
    match helper::run(&mut stat, ASK) {
        Ok(Outcome::Ended(_, said)) if said.contains("not connected") => Health::Dead,
        Ok(Outcome::Ended(..)) => Health::Alive,
        Ok(Outcome::StillRunning) | Err(_) => Health::Silent,
    }
}

fn look_at(path: &Path) -> Point {
    match path.metadata() {
        Ok(found) if !found.is_dir() => Point::NotADirectory,
        Ok(_) => match std::fs::read_dir(path).map(|mut entries| entries.next().is_some()) {
            Ok(true) => Point::NotEmpty,
            Ok(false) if sys::may_write(path) => Point::Empty,
            Ok(false) => Point::NotWritable,
            Err(error) => Point::Unreadable(error.to_string()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A link that leads nowhere is "not found" too; there is nothing that could be made in its place.
            if path.symlink_metadata().is_ok() {
                Point::NotADirectory
            } else if path.parent().is_some_and(Path::is_dir) {
                Point::Missing
            } else {
                Point::NoParent
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Point::NoParent,
        Err(error) => Point::Unreadable(error.to_string()),
    }
}

/// What is behind this path, which is the device's.
pub(super) fn look_at_device(path: &Path) -> Device {
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(_) => Device::Usable,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Device::Forbidden,
        // ENOENT, or a device file without a driver behind it.
        Err(_) => Device::Missing,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_mount_point_is_seen_as_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let inside = |name: &str| dir.path().join(name);
        std::fs::create_dir(inside("empty")).unwrap();
        std::fs::create_dir_all(inside("full/child")).unwrap();
        std::fs::write(inside("file"), "").unwrap();
        std::os::unix::fs::symlink("nowhere", inside("broken")).unwrap();
        for (name, point) in [
            ("empty", Point::Empty),
            ("full", Point::NotEmpty),
            ("file", Point::NotADirectory),
            ("broken", Point::NotADirectory),
            ("new", Point::Missing),
            ("new/er", Point::NoParent),
            ("file/below", Point::NoParent),
        ] {
            assert_eq!(look_at(&inside(name)), point, "{name}");
        }
    }

    #[test]
    fn others_are_let_in_where_a_line_says_so() {
        for (text, may) in [
            ("user_allow_other\n", true),
            ("mount_max = 10\n  user_allow_other # since May", true),
            ("#user_allow_other\n", false),
            ("user_allow_others", false),
            ("", false),
        ] {
            assert_eq!(may_let_others_in(text), may, "{text}");
        }
    }

    #[test]
    fn directories_for_state_are_private_and_made_with_their_parents() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/afs");
        private_directory(&path, "--state-dir").unwrap();
        private_directory(&path, "--state-dir").unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o700);
        std::fs::write(dir.path().join("file"), "").unwrap();
        for taken in ["file", "file/afs"] {
            let refusal = private_directory(&dir.path().join(taken), "--state-dir").unwrap_err();
            assert!(refusal.to_string().contains("--state-dir"), "{refusal}");
        }
    }

    #[test]
    fn a_path_is_resolved_up_to_its_last_part() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("m")).unwrap();
        std::os::unix::fs::symlink("m", real.join("link")).unwrap();
        std::os::unix::fs::symlink(".", real.join("here")).unwrap();
        for (given, resolved) in [
            ("m", "m"),
            ("m/", "m"),
            ("./m/.", "m"),
            ("m/../m", "m"),
            ("link", "m"),
            ("here/m", "m"),
            ("here/new", "new"),
            ("none/new", "none/new"),
        ] {
            assert_eq!(
                resolve(&real.join(given)).unwrap(),
                real.join(resolved),
                "{given}"
            );
        }
        assert_eq!(resolve(Path::new("/")).unwrap(), Path::new("/"));
    }
}
