//! `afs unmount` where there is nothing of ours to unmount.

use super::{afs, run};

#[test]
fn a_path_that_is_no_mount_is_said_to_be_none() {
    let home = tempfile::tempdir().unwrap();
    for command in ["unmount", "umount"] {
        for path in [home.path().to_owned(), home.path().join("none")] {
            let ran = run(afs(home.path()).arg(command).arg(&path));
            ran.complains(3, &[&path.display().to_string(), "is not mounted"]);
        }
    }
}

#[test]
fn a_mount_of_another_kind_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let ran = run(afs(home.path()).args(["unmount", "/proc"]));
    ran.complains(3, &["/proc is a mount of the type proc"]);
}
