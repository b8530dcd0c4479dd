//! The trash: the service deletes for ever, so what is here of a deleted or replaced file stays here for a while.

use std::fs;
use std::path::{Path, PathBuf};

use afs::api::FileId;
use afs::emulator::{FaultAction, FaultAnswer, FaultRule, LoggedCall, PlantedFile};
use afs::state::State;

use super::harness::{World, eventually, pattern};

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

/// Nobody else has its bytes: neither the small ones that the database holds, nor those in a file.
#[test]
fn what_was_removed_before_it_was_ever_sent_is_in_the_trash() {
    let world = World::new();
    let mount = world.mount();
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Upload),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(403)))
    }]);
    let large = pattern(3 << 20);
    let large_at = world.dir.path().join("large");
    fs::write(&large_at, &large).unwrap();
    let copied = mount.try_sh(&format!(
        "cp {} large.bin; code=$?; echo small > small.md; exit $code",
        large_at.display()
    ));
    assert!(!copied.status.success(), "nothing can be sent");
    // Programs make these for themselves, or nobody has put anything in yet.
    mount.try_sh("echo x > sedAb12Cd; touch empty.md");
    mount.sh("rm large.bin small.md sedAb12Cd empty.md");
    let expected = expected(&[("large.bin", &large), ("small.md", b"small\n")]);
    assert_eq!(trashed(&world), expected);
    world.emulator.clear_faults();
    let restored = world
        .afs()
        .args(["trash", "restore"])
        .arg(mount.path())
        .args(["large.bin", "small.md"])
        .output()
        .unwrap();
    assert!(restored.status.success(), "{restored:?}");
    assert_eq!(world.stored_bytes("large.bin"), large);
    assert_eq!(world.stored_bytes("small.md"), b"small\n");
}

/// Until it is known that none arrived, nothing is known of whose bytes those are.
#[test]
fn what_was_removed_while_its_answer_was_awaited_is_in_the_trash_if_it_never_arrived() {
    let world = World::new();
    let mount = world.mount_with(&["--timeout", "2s"]);
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Upload),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(503)))
    }]);
    mount.try_sh("echo lost > a.md");
    mount.sh("rm a.md");
    world.emulator.clear_faults();
    eventually("it is looked for, and kept", || {
        trashed(&world) == expected(&[("a.md", b"lost\n")])
    });
    mount.unmount();
    assert_eq!(trashed(&world), expected(&[("a.md", b"lost\n")]));
    assert!(world.all_stored("a.md").is_empty());
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

/// No tool makes it again, so its bytes are fetched before it is deleted.
#[test]
fn the_bytes_of_an_output_that_is_overwritten_are_in_the_trash() {
    let world = World::new();
    let chart = world.output("chart.svg", b"<svg/>");
    let notes = world.output("notes.md", b"theirs");
    let mount = world.mount();
    world.forget_calls();
    mount.sh("echo mine > chart.svg; echo mine too > new; mv new notes.md");
    eventually(
        "both are replaced, and the first name of one is gone",
        || world.calls().delete == 3,
    );
    let calls = world.calls();
    assert_eq!((calls.upload, calls.content, calls.metadata), (3, 2, 0));
    assert_eq!(
        trashed(&world),
        expected(&[("chart.svg", b"<svg/>"), ("notes.md", b"theirs")])
    );
    let warned = mount.log();
    for file in [chart, notes] {
        assert!(warned.contains(&format!("the original ({}) is removed", file.id)));
    }
}

/// Anybody may clean ~/.cache: that a copy was there says nothing.
#[test]
fn an_output_whose_cached_copy_is_gone_is_fetched_for_the_trash() {
    let world = World::new();
    world.output("chart.svg", b"<svg/>");
    let mount = world.mount();
    assert_eq!(mount.sh("cat chart.svg"), "<svg/>");
    for workspace in directories(&world.dir.path().join("cache")) {
        for file in fs::read_dir(workspace).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
    }
    mount.sh("echo mine > new; mv new chart.svg");
    eventually("it is replaced", || world.calls().delete == 2);
    assert_eq!(world.calls().content, 2);
    assert_eq!(trashed(&world), expected(&[("chart.svg", b"<svg/>")]));
}

#[test]
fn an_output_too_large_for_the_trash_stays_at_the_service_under_a_suffixed_name() {
    let world = World::new();
    let content = vec![7; (100 << 20) + 1];
    let output = world.output("video.mp4", &content);
    let mount = world.mount_with(&["--refresh", "0s"]);
    world.forget_calls();
    mount.sh("echo mine > video.mp4");
    let suffixed = format!("video~{}.mp4", &output.id[output.id.len() - 8..]);
    eventually("it has its suffix", || {
        mount.names() == ["video.mp4".to_owned(), suffixed.clone()]
    });
    assert_eq!(mount.sh("cat video.mp4"), "mine\n");
    let calls = world.calls();
    assert_eq!((calls.upload, calls.content, calls.delete), (1, 0, 0));
    assert_eq!(world.all_stored("video.mp4").len(), 2);
}

#[test]
fn with_replaced_keep_no_version_is_deleted() {
    let world = World::new();
    let mount = world.mount_with(&["--replaced", "keep", "--refresh", "0s"]);
    mount.sh("echo one > a.md");
    let first = world.stored("a.md").id;
    mount.sh("echo two > a.md");
    mount.sh("echo three > b.md; mv b.md a.md");
    eventually("what was renamed is gone under its old name", || {
        world.all_stored("b.md").is_empty()
    });
    eventually("every version has a name", || mount.names().len() == 3);
    assert_eq!(world.all_stored("a.md").len(), 3);
    let suffixed = format!("a~{}.md", &first[first.len() - 8..]);
    assert_eq!(mount.sh(&format!("cat a.md {suffixed}")), "three\none\n");
}

/// A version that stays at the service looks like the file of a save whose answer was lost: name, size and time fit.
#[test]
fn with_replaced_keep_a_version_before_is_not_taken_for_a_lost_one() {
    let world = World::new();
    let mount = world.mount_with(&["--replaced", "keep"]);
    world.emulator.set_faults(vec![FaultRule {
        call: Some(LoggedCall::Upload),
        nth: Some(3),
        ..FaultRule::new(FaultAction::DropAnswer)
    }]);
    mount.sh("for n in 1 2 3; do echo version $n > a.md; done");
    let mut stored: Vec<_> = world
        .all_stored("a.md")
        .iter()
        .map(|file| world.emulator.content(&file.id).unwrap().unwrap())
        .collect();
    stored.sort();
    assert_eq!(stored, [b"version 1\n", b"version 2\n", b"version 3\n"]);
}

/// Ids are what people paste into prompts, and every save changes them.
#[test]
fn what_took_the_place_of_an_id_is_remembered() {
    let world = World::new();
    let mount = world.mount();
    mount.sh("echo one > a.md");
    let old = FileId::new(world.stored("a.md").id);
    mount.sh("echo two > a.md; mv a.md b.md");
    eventually("it is renamed", || world.all_stored("a.md").is_empty());
    let new = FileId::new(world.stored("b.md").id);
    mount.unmount();
    let state = State::open(&directories(&world.state_root())[0]).unwrap();
    let successor = state.successor(&old).unwrap().unwrap();
    assert_eq!((&successor.id, &successor.name[..]), (&new, "b.md"));
    assert_eq!(state.successor(&new).unwrap(), None);
}

/// A listing that does not show a file hides its name. The next one that does not brings its bytes to the trash; one that
/// shows it again brings them back.
#[test]
fn the_kept_bytes_of_what_others_deleted_are_in_the_trash_and_come_back_with_it() {
    let world = World::new();
    let mount = world.mount_with(&["--refresh", "0s"]);
    mount.sh("echo precious > a.md");
    let id = world.stored("a.md").id;
    mount.unmount();
    let kept = directories(&world.state_root())[0].join("kept");
    // As if it had been saved long ago: a new upload may be missing from listings for a while.
    rusqlite::Connection::open(kept.with_file_name("state.db"))
        .and_then(|database| database.execute("UPDATE files SET learned_at = 0", []))
        .unwrap();
    let listing = world.emulator.content(&id).unwrap().unwrap();
    assert!(world.emulator.delete(&id).unwrap());
    let mount = world.mount_with(&["--refresh", "0s"]);
    eventually("the name is gone", || mount.names().is_empty());
    eventually("the bytes are in the trash", || {
        mount.names();
        trashed(&world) == expected(&[("a.md", b"precious\n")])
    });
    assert_eq!(fs::read_dir(&kept).unwrap().count(), 0);
    world
        .emulator
        .plant(PlantedFile {
            id: Some(id),
            downloadable: false,
            ..PlantedFile::output("a.md", listing)
        })
        .unwrap();
    eventually("it is back", || mount.names() == ["a.md"]);
    assert_eq!(mount.sh("cat a.md"), "precious\n");
    assert_eq!(trashed(&world), []);
}
