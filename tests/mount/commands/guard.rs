//! `--delete-guard` and `afs allow-deletes`: a `rm` one directory too high ends before everything is gone.

use super::ran;
use crate::harness::{World, eventually};

#[test]
fn many_deletions_that_nobody_could_undo_are_stopped_until_somebody_says_so() {
    const ALL: usize = 9;
    let world = World::new();
    for n in 0..ALL {
        let name = format!("theirs {n}");
        world.foreign(&name, b"x");
        world.removes(&name);
    }
    world.removes("own");
    world.removes("new");
    let mount = world.mount_with(&["--delete-guard", "3"]);
    mount.sh("for n in 1 2 3 4 5; do echo $n > own; rm own; done");
    let refused = mount.try_sh("rm theirs*");
    assert!(!refused.status.success());
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(
        said.matches("Operation not permitted").count(),
        ALL - 3,
        "{said}"
    );
    assert_eq!(mount.names().len(), ALL - 3);
    assert_eq!(
        mount.log().matches("afs allow-deletes").count(),
        1,
        "{}",
        mount.log()
    );
    let replaced = mount.try_sh("echo new > new; mv new 'theirs 8'");
    assert!(!replaced.status.success(), "as bad as deleting it");
    mount.sh("rm new");

    let status = |words: &[&str]| {
        let mut status = world.afs();
        ran(status.arg("status").args(words).arg(mount.path()))
    };
    assert_eq!(status(&["--json"]).json()[0]["refuses_deletes"], true);
    assert!(status(&[]).out.contains("afs allow-deletes"));
    let mut allow = world.afs();
    let allowed = ran(allow
        .arg("allow-deletes")
        .arg(mount.path())
        .args(["--for", "5m"]));
    let place = mount.path().display();
    allowed.prints(0, &format!("{place}: deletions go through for 5 minutes\n"));
    assert_eq!(status(&["--json"]).json()[0]["refuses_deletes"], false);
    mount.sh("rm theirs*");
    eventually("all are deleted at the service", || {
        world.emulator.files().unwrap().is_empty()
    });
}

/// Their bytes are on this machine, and go to the trash.
#[test]
fn what_can_be_had_back_is_not_counted() {
    let world = World::new();
    for name in ["a", "b", "chart.png", "theirs"] {
        world.removes(name);
    }
    world.output("chart.png", b"pixels");
    world.foreign("theirs", b"x");
    let mount = world.mount_with(&["--delete-guard", "1"]);
    mount.sh("cat chart.png; echo a > a; echo b > b; rm theirs");
    // A download is here a moment after its reader has ended.
    eventually("it is here", || {
        mount.try_sh("rm chart.png").status.success()
    });
    mount.sh("rm a b");
    assert!(mount.names().is_empty());

    let world = World::new();
    world.removes("a");
    world.removes("b");
    let mount = world.mount_with(&["--delete-guard", "1", "--no-trash"]);
    mount.sh("echo a > a; echo b > b; rm a");
    assert!(!mount.try_sh("rm b").status.success(), "there is no trash");
}
