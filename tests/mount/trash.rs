//! The trash: the service deletes for ever, so what is here of a deleted or replaced file stays here for a while.

use std::fs;
use std::path::{Path, PathBuf};

use afs::emulator::{FaultAction, FaultAnswer, FaultRule, LoggedCall};

use super::harness::{World, eventually};

/// Every file under the workspace's trash, with the name it was known by.
pub(crate) fn trashed(world: &World) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for workspace in directories(&world.state_root()) {
        for thing in directories(&workspace.join("trash")) {
            for file in fs::read_dir(thing).unwrap() {
                let file = file.unwrap();
                let name = file.file_name().into_string().unwrap();
                found.push((name, fs::read(file.path()).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn directories(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect()
}

fn expected(things: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
    things
        .iter()
        .map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec()))
        .collect()
}

#[test]
fn what_is_removed_or_replaced_is_in_the_trash() {
    let world = World::new();
    world.output("chart.png", b"pixels");
    world.foreign("foreign.md", b"never here");
    let mount = world.mount();
    mount.sh("echo one > report.md; echo two > report.md; cat chart.png; rm chart.png report.md foreign.md");
    eventually("all is deleted at the service", || {
        world.emulator.files().unwrap().is_empty()
    });
    assert_eq!(
        trashed(&world),
        expected(&[
            ("chart.png", b"pixels"),
            ("report.md", b"one\n"),
            ("report.md", b"two\n"),
        ])
    );
}

#[test]
fn a_renamed_file_is_not_thrown_away() {
    let world = World::new();
    let mount = world.mount();
    mount.sh("echo one > a.md; mv a.md b.md");
    eventually("the old name is gone", || {
        world.all_stored("a.md").is_empty()
    });
    assert_eq!(trashed(&world), []);
    assert_eq!(mount.sh("cat b.md"), "one\n");
}

/// Found by review: while the old id's deletion hung, both ids' copies were one file with two names, and neither was
/// taken for the last.
#[test]
fn a_file_renamed_and_then_removed_is_in_the_trash() {
    let world = World::new();
    let mount = world.mount();
    mount.sh("echo precious > a.md");
    world.hang(&[LoggedCall::Delete]);
    mount.sh("mv a.md b.md");
    // The old id's deletion is queued by the commit that puts the file on its new one.
    eventually("the new name is confirmed", || world.calls().delete == 1);
    mount.sh("rm b.md");
    world.emulator.clear_faults();
    eventually("the bytes are in the trash", || {
        trashed(&world) == expected(&[("b.md", b"precious\n")])
    });
    eventually("both are deleted", || {
        world.emulator.files().unwrap().is_empty()
    });
}

#[test]
fn without_a_trash_what_is_removed_is_gone() {
    let world = World::new();
    let mount = world.mount_with(&["--no-trash"]);
    mount.sh("echo one > a.md; rm a.md");
    eventually("it is deleted", || world.all_stored("a.md").is_empty());
    assert_eq!(trashed(&world), []);
}

#[test]
fn a_refused_deletion_brings_the_file_back_with_its_bytes() {
    let world = World::new();
    let mount = world.mount_with(&["--refresh", "0s"]);
    mount.sh("echo precious > a.md");
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Delete),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(403)))
    }]);
    mount.sh("rm a.md");
    eventually("it is listed again", || mount.names() == ["a.md"]);
    assert_eq!(mount.sh("cat a.md"), "precious\n");
    assert_eq!(trashed(&world), []);
}
