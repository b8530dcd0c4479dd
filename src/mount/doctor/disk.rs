//! The directories of state and cache: whether they can be used, how much is in them, how much room there is, and what kind
//! of file system they are on.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::HumanBytes;
use nix::sys::statfs::statfs;

use super::super::table::MountEntry;
use super::super::{helper, sys};
use super::{Finding, LOOK, Machine};
use crate::config::ConfigError;
use crate::store::Room;

/// What is looked at, and how it is called.
pub(super) struct Kept {
    check: &'static str,
    space: &'static str,
    /// The check of its file system, where a database is on it.
    file_system: Option<&'static str>,
    flag: &'static str,
}

/// The databases, and the only copies there are.
pub(super) const STATE: Kept = Kept {
    check: "state",
    space: "state space",
    file_system: Some("state file system"),
    flag: "--state-dir",
};

/// What can be downloaded again.
pub(super) const CACHE: Kept = Kept {
    check: "cache",
    space: "cache space",
    file_system: None,
    flag: "--cache-dir",
};

/// How long the sizes of files are summed up; more than that is said to be more.
const WEIGHING: Duration = Duration::from_secs(4);

pub(super) fn examine(
    kept: &Kept,
    dir: Result<PathBuf, ConfigError>,
    machine: &Machine,
) -> Vec<Finding> {
    let elsewhere = format!("name another directory with {}", kept.flag);
    let dir = match dir {
        Ok(dir) => dir,
        // Commands work with the key alone then, and keep nothing.
        Err(why) => return vec![Finding::warn(kept.check, why.to_string(), elsewhere)],
    };
    let at = dir.display();
    if !helper::answers(&dir, LOOK) {
        let found = format!("{at} does not answer: its disk, or the server it is on, hangs");
        return vec![Finding::fail(kept.check, found, elsewhere)];
    }
    // Whoever keeps a mount's state in a mount waits for itself.
    let around = dir.canonicalize().unwrap_or_else(|_| dir.clone());
    if machine
        .table
        .around(&around)
        .is_some_and(MountEntry::is_ours)
    {
        let found = format!("{at} lies in a mount of afs, which can't hold directories of its own");
        return vec![Finding::fail(kept.check, found, elsewhere)];
    }
    let Some(there) = dir.ancestors().find(|path| path.exists()) else {
        let found = format!("nothing is there of the path {at}");
        return vec![Finding::fail(kept.check, found, elsewhere)];
    };
    let mut findings = vec![
        usable(kept, &dir, there, sys::may_write(there)),
        match Room::of(there) {
            Ok(room) => space(kept, &dir, room),
            Err(error) => Finding::fail(kept.space, format!("{at}: {error}"), elsewhere),
        },
    ];
    if let (Some(check), Ok(found)) = (kept.file_system, statfs(there)) {
        // The kernel's numbers have 32 bits; where the type has more of them, they may be signs.
        findings.push(file_system(check, &dir, found.filesystem_type().0 as u32));
    }
    findings
}

/// `there` is what exists of the path.
fn usable(kept: &Kept, dir: &Path, there: &Path, may_write: bool) -> Finding {
    let at = dir.display();
    if !may_write || !there.is_dir() {
        let flag = kept.flag;
        // Nobody should be told to take over what is above it: that may be everybody's.
        let remedy = if dir == there {
            format!(
                "have it be yours, sudo chown -R \"$(id -u)\" {at}, or name another with {flag}"
            )
        } else {
            format!("is HOME right? else make it and have it be yours, or name another with {flag}")
        };
        let there = there.display();
        return Finding::fail(
            kept.check,
            format!("{at} can't be used: {there} is no directory that you may write to"),
            remedy,
        );
    }
    if dir != there {
        return Finding::ok(kept.check, format!("{at} is made by the first mount"));
    }
    let (bytes, is_all) = weigh(dir, Instant::now() + WEIGHING);
    let more = if is_all { "" } else { "more than " };
    let workspaces = match workspaces(dir) {
        1 => "1 workspace".to_owned(),
        count => format!("{count} workspaces"),
    };
    let size = HumanBytes(bytes);
    Finding::ok(kept.check, format!("{at}: {more}{size} of {workspaces}"))
}

fn workspaces(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .count()
}

/// How many bytes a directory's files take on the disk, and whether that is all of them. What goes meanwhile is passed over.
fn weigh(dir: &Path, until: Instant) -> (u64, bool) {
    let mut bytes = 0;
    let mut directories = vec![dir.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if Instant::now() >= until {
                return (bytes, false);
            }
            match entry.metadata() {
                Ok(found) if found.is_dir() => directories.push(entry.path()),
                Ok(found) => bytes += found.blocks() * 512,
                Err(_) => {}
            }
        }
    }
    (bytes, true)
}

fn space(kept: &Kept, dir: &Path, room: Room) -> Finding {
    let (free, reserve) = (HumanBytes(room.free), HumanBytes(room.reserve));
    let on = dir.display();
    if room.free < room.reserve {
        return Finding::fail(
            kept.space,
            format!("{free} are free on the disk of {on}: below {reserve} new writes are refused"),
            "remove something there; or mount with a smaller --min-free, or afs cache evict --all",
        );
    }
    if room.free / 2 < room.reserve {
        return Finding::warn(
            kept.space,
            format!(
                "{free} are free on the disk of {on}, and below {reserve} new writes are refused"
            ),
            "remove something there soon; afs cache evict --all lets downloads go",
        );
    }
    Finding::ok(
        kept.space,
        format!("{free} are free; below {reserve} new writes are refused (--min-free)"),
    )
}

/// Judged by its magic number (statfs(2), and `linux/magic.h`).
fn file_system(check: &'static str, dir: &Path, magic: u32) -> Finding {
    let at = dir.display();
    if let Some((_, name)) = REMOTE.iter().find(|(known, _)| *known == magic) {
        return Finding::warn(
            check,
            format!(
                "{at} is on {name}, where locks may not hold between machines: databases there get damaged"
            ),
            "keep the state on a disk of this machine: --state-dir",
        );
    }
    if let Some((_, name)) = FLEETING.iter().find(|(known, _)| *known == magic) {
        return Finding::warn(
            check,
            format!(
                "{at} is on {name}: a restart loses the copies of uploads, and what was not sent yet"
            ),
            "keep the state on a disk: --state-dir",
        );
    }
    Finding::ok(check, format!("{at} is on a disk of this machine"))
}

/// File systems whose server is elsewhere, or is a program that may do anything (<https://sqlite.org/faq.html#q5>,
/// <https://sqlite.org/wal.html>: a write-ahead log needs memory that all processes share).
const REMOTE: [(u32, &str); 15] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB"),
    (0x517b, "SMB"),
    (0x0102_1997, "9p"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0x7375_7245, "Coda"),
    (0x564c, "NCP"),
    (0x786f_4256, "a shared folder of VirtualBox"),
    (0x6573_5546, "FUSE"),
];

const FLEETING: [(u32, &str); 2] = [(0x0102_1994, "tmpfs"), (0x8584_58f6, "ramfs")];

#[cfg(test)]
mod tests {
    use super::super::Level::{self, Fail, Ok as Well, Warn};
    use super::super::tests::{bare_machine, is, plant};
    use super::*;
    use crate::mount::table::MountTable;

    #[test]
    fn a_state_is_weighed_and_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let machine = bare_machine(dir.path());
        let state = dir.path().join("a/state");
        let found = examine(&STATE, Ok(state.clone()), &machine);
        is(&found[0], Well, "is made by the first mount", "");
        assert_eq!(found.len(), 3);
        assert!(!dir.path().join("a").exists());
        plant(&state, "ws-1/kept/f", &"x".repeat(100_000));
        plant(&state, "workspaces.json", "[]");
        let found = examine(&STATE, Ok(state.clone()), &machine);
        is(&found[0], Well, "KiB of 1 workspace", "");
        let (bytes, is_all) = weigh(&state, Instant::now() + WEIGHING);
        assert!(is_all && (100_000..200_000).contains(&bytes), "{bytes}");
        assert!(!weigh(&state, Instant::now()).1);
    }

    #[test]
    fn a_directory_that_can_not_be_used_is_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let mut machine = bare_machine(dir.path());
        plant(dir.path(), "file", "");
        let below = dir.path().join("file/state");
        let found = examine(&STATE, Ok(below), &machine);
        is(
            &found[0],
            Fail,
            "no directory that you may write to",
            "--state-dir",
        );
        let found = usable(&CACHE, dir.path(), dir.path(), false);
        is(&found, Fail, "that you may write to", "chown");
        // What is above it is not to be taken over.
        let found = usable(&CACHE, &dir.path().join("x/y"), dir.path(), false);
        is(&found, Fail, "that you may write to", "--cache-dir");
        assert!(!found.remedy.unwrap().contains("chown"));
        let none = Err(ConfigError::Unusable("there is no home".into()));
        is(
            &examine(&CACHE, none, &machine)[0],
            Warn,
            "there is no home",
            "--cache-dir",
        );
        let at = dir.path().canonicalize().unwrap();
        let line = format!("9 1 0:9 / {} rw - fuse.afs afs rw", at.display());
        machine.table = MountTable::parse(line.as_bytes());
        let found = examine(&STATE, Ok(at.join("state")), &machine);
        is(&found[0], Fail, "lies in a mount of afs", "--state-dir");
    }

    #[test]
    fn room_is_judged_by_the_usual_reserve() {
        let gib = 1 << 30;
        for (free, level, says, remedy) in [
            (
                2 * gib - 1,
                Fail,
                "below 2.00 GiB new writes are refused",
                "--min-free",
            ),
            (2 * gib, Warn, "2.00 GiB are free", "soon"),
            (4 * gib - 1, Warn, "are free", "soon"),
            (4 * gib, Well, "4.00 GiB are free", ""),
        ] {
            let room = Room {
                free,
                reserve: 2 * gib,
            };
            is(&space(&STATE, Path::new("/s"), room), level, says, remedy);
        }
    }

    #[test]
    fn a_state_on_another_machine_or_in_memory_is_warned_of() {
        let of = |magic: u32| file_system("state file system", Path::new("/s"), magic);
        let table: [(u32, Level, &str, &str); 6] = [
            (0x6969, Warn, "on NFS, where locks", "--state-dir"),
            (0xff53_4d42, Warn, "on CIFS", "--state-dir"),
            (0x6573_5546, Warn, "on FUSE", "--state-dir"),
            (0x0102_1994, Warn, "on tmpfs: a restart", "--state-dir"),
            (0xef53, Well, "on a disk", ""),
            (0x9123_683e, Well, "on a disk", ""),
        ];
        for (magic, level, says, remedy) in table {
            is(&of(magic), level, says, remedy);
        }
        // The real numbers reach the table: /proc and /dev/shm have them on every Linux.
        let shm = statfs("/dev/shm").unwrap().filesystem_type().0 as u32;
        is(&of(shm), Warn, "on tmpfs", "--state-dir");
    }
}
