//! A program that is killed in the middle of replacing a file leaves a part of one; what was there before is not lost.

use super::harness::{World, eventually};

/// Writes half of something over `name` and kills itself with `signal` before it closes.
fn half_written(name: &str, signal: &str) -> String {
    format!(
        "python3 -c 'import os, signal; f = open(\"{name}\", \"wb\", 0); f.write(b\"half\"); \
         os.kill(os.getpid(), signal.{signal})'; true"
    )
}

#[test]
fn a_killed_replacement_of_what_only_the_service_has_deletes_nothing() {
    for signal in ["SIGINT", "SIGTERM", "SIGKILL", "SIGHUP"] {
        let world = World::new();
        let old = world.foreign("report.md", b"the only copy in the world");
        let mount = world.mount_with(&["--refresh", "0s"]);
        // Python turns SIGINT into an exception where nobody asks it not to.
        let line = half_written("report.md", signal).replace(
            "f = open",
            "signal.signal(signal.SIGINT, signal.SIG_DFL); f = open",
        );
        mount.sh(&line);
        eventually("the half is saved", || {
            world.all_stored("report.md").len() == 2
        });
        eventually("the old one is shown beside it", || {
            mount.names().len() == 2
        });
        let kept = world.emulator.content(&old.id).unwrap();
        assert_eq!(
            kept.as_deref(),
            Some(&b"the only copy in the world"[..]),
            "{signal}"
        );
    }
}

#[test]
fn a_replacement_that_ends_well_deletes_what_it_replaces() {
    let world = World::new();
    let old = world.foreign("report.md", b"old");
    let mount = world.mount();
    mount.sh("echo whole > report.md");
    eventually("the old one is gone", || {
        world.emulator.content(&old.id).unwrap().is_none()
    });
    assert_eq!(world.stored_bytes("report.md"), b"whole\n");
}

#[test]
fn a_killed_replacement_of_what_is_here_leaves_it_in_the_trash() {
    let world = World::new();
    let mount = world.mount();
    mount.sh("echo before > notes.md");
    mount.sh(&half_written("notes.md", "SIGKILL"));
    eventually("the half is saved", || {
        world.all_stored("notes.md").len() == 1 && world.stored_bytes("notes.md") == b"half"
    });
    eventually("the version before is in the trash", || {
        super::trash::trashed(&world) == [("notes.md".to_owned(), b"before\n".to_vec())]
    });
}
