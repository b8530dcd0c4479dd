//! The mounts of this machine: who serves them, and which are dead. A mount point is touched by a helper program only.

use super::super::kernel::read_ahead;
use super::super::preflight::Health;
use super::super::prepare::asked_health;
use super::super::registration::Daemon;
use super::super::table::MountEntry;
use super::Finding;

/// The name of this check.
pub(super) const MOUNT: &str = "mount";

pub(super) fn none() -> Finding {
    Finding::ok(MOUNT, "nothing is mounted")
}

/// `is_own`: this user mounted it.
pub(super) fn examine(entry: &MountEntry, is_own: bool) -> Finding {
    let health = asked_health(entry);
    let served_by = Daemon::of(entry).map(|daemon| {
        let state = daemon.registered.state_dir;
        (daemon.registered.pid, state.display().to_string())
    });
    judge(entry, health, served_by, is_own)
}

fn judge(
    entry: &MountEntry,
    health: Health,
    served_by: Option<(u32, String)>,
    is_own: bool,
) -> Finding {
    let at = entry.mountpoint.display();
    match (health, served_by) {
        (Health::Dead, _) => Finding::fail(
            MOUNT,
            format!(
                "{at} is dead: its process is gone, and what is in it says \"Transport endpoint is not connected\""
            ),
            format!("afs mount {at} mends it; to take it away: fusermount3 -uz {at}"),
        ),
        (Health::Silent, Some((pid, _))) => Finding::fail(
            MOUNT,
            format!("{at} does not answer, and its process {pid} is there"),
            format!(
                "is it stopped? kill -CONT {pid}; else afs unmount --force {at}, then mount again"
            ),
        ),
        (Health::Silent, None) => Finding::fail(
            MOUNT,
            format!("{at} does not answer, and who serves it is not known"),
            format!("fusermount3 -uz {at}, then mount again"),
        ),
        (Health::Alive, Some((pid, state))) => {
            let ahead = read_ahead(entry.minor);
            let ahead = ahead.map_or_else(String::new, |kib| format!(", reads {kib} KiB ahead"));
            Finding::ok(
                MOUNT,
                format!("{at}: process {pid}, state in {state}{ahead}"),
            )
        }
        (Health::Alive, None) if is_own => Finding::warn(
            MOUNT,
            format!("{at} answers, but its process can't be found: commands don't reach it"),
            format!("afs unmount {at}, then mount again"),
        ),
        (Health::Alive, None) => Finding::ok(MOUNT, format!("{at}: of another user")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Level::{Fail, Ok as Well, Warn};
    use super::super::tests::is;
    use super::*;
    use crate::mount::table::MountTable;

    #[test]
    fn a_mount_is_judged_by_whether_it_answers_and_who_serves_it() {
        let table = MountTable::parse(b"9 1 0:999999 / /m rw - fuse.afs afs rw,user_id=7");
        let entry = table.at(Path::new("/m")).unwrap();
        let daemon = || Some((42, "/s/ws-1".to_owned()));
        for (health, served_by, is_own, level, says, remedy) in [
            (
                Health::Alive,
                daemon(),
                true,
                Well,
                "/m: process 42, state in /s/ws-1",
                "",
            ),
            (
                Health::Alive,
                None,
                true,
                Warn,
                "can't be found",
                "afs unmount /m",
            ),
            (Health::Alive, None, false, Well, "of another user", ""),
            (
                Health::Dead,
                None,
                true,
                Fail,
                "/m is dead",
                "afs mount /m mends it",
            ),
            (
                Health::Dead,
                daemon(),
                false,
                Fail,
                "/m is dead",
                "fusermount3 -uz /m",
            ),
            (
                Health::Silent,
                daemon(),
                true,
                Fail,
                "process 42 is there",
                "kill -CONT 42",
            ),
            (
                Health::Silent,
                None,
                true,
                Fail,
                "is not known",
                "fusermount3 -uz /m",
            ),
        ] {
            is(
                &judge(entry, health, served_by, is_own),
                level,
                says,
                remedy,
            );
        }
    }
}
