//! `updatedb`, which makes the list for `locate`. It runs as root: into the mount of somebody else it comes with
//! `--allow-other` only. There it lists every name, and opens nothing (`scripts/programs-test`, "updatedb").

use std::path::{Path, PathBuf};

use super::super::super::FILESYSTEM_TYPE;
use super::super::super::table::MountEntry;
use super::super::{Finding, Machine};
use super::{lies_in, named};

const CHECK: &str = "updatedb";

/// What it must not look into (updatedb.conf(5)).
const CONF: &str = "/etc/updatedb.conf";

pub(super) fn examine(machine: &Machine, mounts: &[&MountEntry]) -> Finding {
    let directories = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];
    let names = ["updatedb", "updatedb.plocate", "updatedb.mlocate"];
    if machine.program(&names, &directories).is_none() {
        return Finding::ok(CHECK, "not installed");
    }
    let conf = std::fs::read_to_string(machine.at(CONF)).unwrap_or_default();
    // The types are matched whatever their case.
    let passes_over =
        value(&conf, "PRUNEFS").any(|kind| kind.eq_ignore_ascii_case(FILESYSTEM_TYPE));
    if passes_over {
        return Finding::ok(
            CHECK,
            format!("passes over mounts of afs ({FILESYSTEM_TYPE} is in PRUNEFS)"),
        );
    }
    let pruned: Vec<PathBuf> = value(&conf, "PRUNEPATHS").map(PathBuf::from).collect();
    let looked_into: Vec<&Path> = mounts
        .iter()
        .filter(|entry| entry.lets_others_in() || entry.owner() == Some(0))
        .map(|entry| entry.mountpoint.as_path())
        .filter(|at| !pruned.iter().any(|path| lies_in(at, path)))
        .collect();
    if looked_into.is_empty() {
        return Finding::ok(CHECK, "no mount of afs is where it looks");
    }
    Finding::warn(
        CHECK,
        format!(
            "lists the names in {}, a request for every 1000 of them, and anybody here can find them with locate",
            named(&looked_into)
        ),
        format!("add {FILESYSTEM_TYPE} to PRUNEFS in {CONF}"),
    )
}

/// The words of `NAME = "a b c"`; a `#` outside the quotes begins a comment.
fn value<'a>(conf: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let value = move |line: &'a str| {
        let rest = line.trim_start().strip_prefix(name)?.trim_start();
        let rest = rest.strip_prefix('=')?.trim_start().strip_prefix('"')?;
        rest.split_once('"').map(|(value, _)| value)
    };
    conf.lines()
        .filter_map(value)
        .flat_map(str::split_whitespace)
}

#[cfg(test)]
mod tests {
    use super::super::super::Level::{Ok as Well, Warn};
    use super::super::super::tests::{bare_machine, is, plant};
    use super::super::tests::mounted;
    use super::*;

    const USUAL: &str = "PRUNE_BIND_MOUNTS=\"yes\"\nPRUNEPATHS=\"/tmp /media\"\n#PRUNEFS=\"fuse.afs\"\n\
                         PRUNEFS=\"NFS afs fuse.sshfs fuse\"\n";

    #[test]
    fn a_mount_that_root_can_enter_is_warned_of_unless_it_is_pruned() {
        let allowed = "rw,user_id=1000,allow_other";
        let pruned = USUAL.replace("fuse.sshfs", "FUSE.AFS");
        let spaced = USUAL.replace("PRUNEFS=\"", "PRUNEFS = \"fuse.afs ");
        for (at, options, conf, is_warned) in [
            ("/home/ada/files", allowed, USUAL, true),
            ("/home/ada/files", "rw,user_id=0", USUAL, true),
            ("/home/ada/files", allowed, "", true),
            ("/home/ada/files", "rw,user_id=1000", USUAL, false),
            ("/home/ada/files", allowed, &pruned, false),
            ("/home/ada/files", allowed, &spaced, false),
            ("/tmp/files", allowed, USUAL, false),
            ("/tmpfiles", allowed, USUAL, true),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let mut machine = bare_machine(dir.path());
            machine.table = mounted(Path::new(at), options);
            plant(dir.path(), "etc/updatedb.conf", conf);
            let look =
                |machine: &Machine| examine(machine, &machine.table.ours().collect::<Vec<_>>());
            is(&look(&machine), Well, "not installed", "");
            plant(dir.path(), "usr/sbin/updatedb", "");
            let found = look(&machine);
            if is_warned {
                is(
                    &found,
                    Warn,
                    at,
                    "add fuse.afs to PRUNEFS in /etc/updatedb.conf",
                );
            } else {
                is(&found, Well, "", "");
            }
        }
    }
}
