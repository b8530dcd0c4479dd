//! `afs pending --drop`: what is given up is not sent, its bytes are in the trash, and the directory shows what the
//! service has.

use std::fs;
use std::path::Path;

use afs::emulator::{FaultAction, FaultAnswer, FaultMoment, FaultRule, LoggedCall};
use afs::fs::{Dropped, DroppedKind};

use super::harness::{Calls, World, eventually, pattern, within};
use super::hung::close_of;
use super::surface::{NEW, On, Surface, on_both};

/// Every call of this kind is refused for good, until the faults change.
fn refuse(world: &World, call: LoggedCall, status: u16) {
    world.emulator.set_faults(vec![FaultRule {
        call: Some(call),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(status)))
    }]);
}

/// What is in the trash, wherever this world's state is.
pub(crate) fn trashed(world: &World) -> Vec<(String, Vec<u8>)> {
    local_files(world, "trash")
}

/// Names and contents of the files below this world's directories of that name, but for its mount.
pub(crate) fn local_files(world: &World, below: &str) -> Vec<(String, Vec<u8>)> {
    fn look(dir: &Path, below: &str, is_below: bool, found: &mut Vec<(String, Vec<u8>)>) {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().into_string().unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && name != "mnt" {
                look(&entry.path(), below, is_below || name == below, found);
            } else if kind.is_file() && is_below {
                // It may have gone meanwhile.
                found.extend(fs::read(entry.path()).map(|content| (name, content)));
            }
        }
    }
    let mut found = Vec::new();
    look(world.dir.path(), below, false, &mut found);
    found.sort();
    found
}

/// Drops as soon as no worker has it and the kernel has told of the last handle's end, which it does after its close has
/// returned; what it said.
fn dropped(fs: &dyn Surface, name: &str) -> Vec<Dropped> {
    let mut answer = Vec::new();
    eventually("it can be dropped", || match fs.drop_pending(name) {
        Ok(dropped) => {
            answer = dropped;
            true
        }
        Err(why) if why.contains("on its way") || why.contains("open for writing") => false,
        Err(why) => panic!("{why}"),
    });
    answer
}

fn save(name: &str, size: u64) -> Dropped {
    Dropped {
        kind: DroppedKind::Save,
        name: name.to_owned(),
        size,
        in_trash: true,
        may_have_arrived: false,
    }
}

on_both! {
    a_dropped_new_file_is_gone_and_its_bytes_are_in_the_trash
    a_dropped_replacement_leaves_what_the_service_has
    a_dropped_replacement_of_a_foreign_file_leaves_it_as_it_was
    a_dropped_editors_save_leaves_the_version_before
    a_dropped_deletion_brings_the_file_back
    a_dropped_rename_brings_the_old_name_back
    only_the_newer_of_two_generations_can_be_dropped_when_the_older_is_confirmed
    what_is_on_its_way_is_not_dropped
    what_is_open_for_writing_is_not_dropped
    a_name_that_is_not_pending_is_not_dropped
}

fn a_dropped_new_file_is_gone_and_its_bytes_are_in_the_trash(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    refuse(&world, LoggedCall::Upload, 403);
    let contents = [("small", pattern(100)), ("large", pattern(300_000))];
    for (name, content) in &contents {
        assert_eq!(fs.put(name, content), Err(libc::EACCES));
    }
    world.forget_calls();
    for (name, content) in &contents {
        assert_eq!(dropped(&*fs, name), [save(name, content.len() as u64)]);
        assert_eq!(fs.stat(name), Err(libc::ENOENT));
    }
    assert!(fs.names().is_empty());
    let [small, large] = contents;
    assert_eq!(
        trashed(&world),
        [("large".to_owned(), large.1), ("small".to_owned(), small.1)]
    );
    world.emulator.clear_faults();
    fs.end();
    let fs = on.start(&world);
    assert!(fs.names().is_empty());
    fs.end();
    assert_eq!(world.calls().but_lists(), Calls::NONE);
    assert!(world.emulator.files().unwrap().is_empty());
}

fn a_dropped_replacement_leaves_what_the_service_has(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("f", b"the old version").unwrap();
    let before = fs.stat("f").unwrap();
    refuse(&world, LoggedCall::Upload, 403);
    assert_eq!(fs.put("f", b"new"), Err(libc::EACCES));
    assert_eq!(fs.get("f").unwrap(), b"new");
    world.forget_calls();
    assert_eq!(dropped(&*fs, "f"), [save("f", 3)]);
    assert_eq!(fs.get("f").unwrap(), b"the old version");
    let after = fs.stat("f").unwrap();
    assert_eq!((after.size, after.mtime), (before.size, before.mtime));
    assert_eq!(trashed(&world), [("f".to_owned(), b"new".to_vec())]);
    world.emulator.clear_faults();
    fs.end();
    let fs = on.start(&world);
    assert_eq!(fs.get("f").unwrap(), b"the old version");
    fs.end();
    assert_eq!(world.calls().but_lists(), Calls::NONE);
    assert_eq!(world.stored_bytes("f"), b"the old version");
}

fn a_dropped_replacement_of_a_foreign_file_leaves_it_as_it_was(on: On) {
    let world = World::new();
    world.foreign("f", b"never here");
    let fs = on.start(&world);
    refuse(&world, LoggedCall::Upload, 403);
    assert_eq!(fs.put("f", &pattern(70_000)), Err(libc::EACCES));
    dropped(&*fs, "f");
    assert_eq!(fs.try_open("f", libc::O_RDONLY), Err(libc::EACCES));
    assert_eq!(fs.stat("f").unwrap().size, 10);
    assert_eq!(fs.names(), ["f"]);
    assert_eq!(trashed(&world), [("f".to_owned(), pattern(70_000))]);
    assert_eq!(world.stored_bytes("f"), b"never here");
    fs.end();
}

fn a_dropped_editors_save_leaves_the_version_before(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("f", b"before").unwrap();
    refuse(&world, LoggedCall::Upload, 403);
    assert_eq!(fs.put("f.new", b"after all"), Err(libc::EACCES));
    fs.rename("f.new", "f", 0).unwrap();
    dropped(&*fs, "f");
    assert_eq!(fs.names(), ["f"]);
    assert_eq!(fs.get("f").unwrap(), b"before");
    assert_eq!(trashed(&world), [("f".to_owned(), b"after all".to_vec())]);
    world.emulator.clear_faults();
    fs.end();
    assert_eq!(world.stored_bytes("f"), b"before");
}

fn a_dropped_deletion_brings_the_file_back(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("f", b"precious").unwrap();
    let before = fs.stat("f").unwrap();
    refuse(&world, LoggedCall::Delete, 503);
    fs.unlink("f").unwrap();
    eventually("the deletion is tried", || world.calls().delete > 0);
    let gone = Dropped {
        kind: DroppedKind::Delete,
        in_trash: false,
        ..save("f", 0)
    };
    assert_eq!(dropped(&*fs, "f"), [gone]);
    assert_eq!(fs.names(), ["f"]);
    assert_eq!(fs.get("f").unwrap(), b"precious");
    assert_eq!(fs.stat("f").unwrap().mtime, before.mtime);
    assert_eq!(trashed(&world), []);
    world.emulator.clear_faults();
    world.forget_calls();
    fs.end();
    let fs = on.start(&world);
    assert_eq!(fs.get("f").unwrap(), b"precious");
    fs.end();
    assert_eq!(world.calls().but_lists(), Calls::NONE);
    assert_eq!(world.stored_bytes("f"), b"precious");
}

fn a_dropped_rename_brings_the_old_name_back(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"content").unwrap();
    refuse(&world, LoggedCall::Upload, 403);
    world.forget_calls();
    fs.rename("a", "b", 0).unwrap();
    eventually("it is tried", || world.calls().upload == 1);
    let renamed = Dropped {
        in_trash: false,
        ..save("b", 7)
    };
    assert_eq!(dropped(&*fs, "b"), [renamed]);
    assert_eq!(fs.names(), ["a"]);
    assert_eq!(fs.get("a").unwrap(), b"content");
    world.emulator.clear_faults();
    fs.end();
    assert_eq!(world.stored_bytes("a"), b"content");
    assert!(world.all_stored("b").is_empty());
}

/// Two generations of one file: the first arrives, the second is refused and dropped. What the service has then is the
/// first, with its own size.
fn only_the_newer_of_two_generations_can_be_dropped_when_the_older_is_confirmed(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("f", b"zero").unwrap();
    // A rename goes out by itself, so that nobody has to wait for the first generation.
    world.hang(&[LoggedCall::Upload]);
    world.forget_calls();
    fs.rename("f", "g", 0).unwrap();
    eventually("the first is on its way", || world.calls().upload == 1);
    let fd = fs.open("g", NEW).unwrap();
    fs.pwrite(fd, 0, b"the second generation").unwrap();
    fs.fsync(fd).unwrap();
    let second_is_refused = FaultRule {
        call: Some(LoggedCall::Upload),
        ..FaultRule::new(FaultAction::Status(FaultAnswer::status(403)))
    };
    world.emulator.set_faults(vec![second_is_refused]);
    eventually("the first arrives", || world.all_stored("g").len() == 1);
    assert_eq!(fs.close(fd), Err(libc::EACCES));
    assert_eq!(fs.get("g").unwrap(), b"the second generation");
    dropped(&*fs, "g");
    assert_eq!(fs.names(), ["g"]);
    assert_eq!(fs.get("g").unwrap(), b"zero");
    assert_eq!(fs.stat("g").unwrap().size, 4);
    world.emulator.clear_faults();
    fs.end();
    assert_eq!(world.stored_bytes("g"), b"zero");
    assert!(world.all_stored("f").is_empty());
}

fn what_is_on_its_way_is_not_dropped(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("a", b"content").unwrap();
    world.hang(&[LoggedCall::Upload]);
    world.forget_calls();
    fs.rename("a", "b", 0).unwrap();
    eventually("it is on its way", || world.calls().upload == 1);
    let why = fs.drop_pending("b").unwrap_err();
    assert!(why.contains("on its way"), "{why}");
    world.emulator.clear_faults();
    fs.end();
    assert_eq!(world.stored_bytes("b"), b"content");
    assert!(world.all_stored("a").is_empty());
}

fn what_is_open_for_writing_is_not_dropped(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    let fd = fs.open("f", NEW).unwrap();
    fs.pwrite(fd, 0, b"content").unwrap();
    fs.fsync(fd).unwrap();
    let why = fs.drop_pending("f").unwrap_err();
    assert!(why.contains("open for writing"), "{why}");
    fs.close(fd).unwrap();
    assert_eq!(world.stored_bytes("f"), b"content");
    fs.end();
}

fn a_name_that_is_not_pending_is_not_dropped(on: On) {
    let world = World::new();
    let fs = on.start(&world);
    fs.put("f", b"content").unwrap();
    for name in ["f", "none"] {
        let why = fs.drop_pending(name).unwrap_err();
        assert!(why.contains("nothing of that name is pending"), "{why}");
    }
    fs.end();
    assert_eq!(world.stored_bytes("f"), b"content");
}

/// The answer was lost, and the service has the file: dropped, it must not come back with the next listing.
#[test]
fn a_dropped_file_that_had_arrived_is_looked_for_and_deleted() {
    let world = World::new();
    let mount = world.mount_with(&["--timeout", "1s"]);
    let rule = |call, when, action| FaultRule {
        call: Some(call),
        when,
        ..FaultRule::new(action)
    };
    let busy = || FaultAction::Status(FaultAnswer::status(503));
    world.emulator.set_faults(vec![
        rule(
            LoggedCall::Upload,
            FaultMoment::AfterEffect,
            FaultAction::DropAnswer,
        ),
        rule(LoggedCall::List, FaultMoment::BeforeEffect, busy()),
    ]);
    let path = mount.at("f");
    let closed = within(std::time::Duration::from_secs(20), "a close", move || {
        close_of(path, b"arrived")
    });
    assert_eq!(closed, Err(libc::EIO));
    assert_eq!(world.all_stored("f").len(), 1);
    let mut said = String::new();
    eventually("it can be dropped by the command", || {
        let output = world
            .afs()
            .arg("pending")
            .arg(mount.path())
            .args(["--drop", "f"])
            .output()
            .unwrap();
        said = String::from_utf8(output.stderr).unwrap();
        output.status.success()
    });
    assert!(said.contains("its 7 B are in the trash"), "{said}");
    assert!(said.contains("may have arrived"), "{said}");
    assert!(mount.names().is_empty());
    world.emulator.clear_faults();
    eventually("it is deleted there", || world.all_stored("f").is_empty());
    assert!(mount.names().is_empty());
    assert_eq!(
        super::trash::trashed(&world),
        [("f".to_owned(), b"arrived".to_vec())]
    );
}

#[test]
fn a_name_that_nothing_is_pending_under_is_an_exit_code_of_its_own() {
    let world = World::new();
    let mount = world.mount();
    refuse(&world, LoggedCall::Upload, 403);
    assert_eq!(close_of(mount.at("here"), b"text"), Err(libc::EACCES));
    let pending = |words: &[&str]| {
        let mut afs = world.afs();
        let output = afs
            .arg("pending")
            .arg(mount.path())
            .args(words)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    for (words, expected) in [
        (
            ["--retry", "heer"],
            "afs: heer: nothing is pending under this name that waits for another try\n",
        ),
        (
            ["--drop", "heer"],
            "afs: heer: nothing is pending under this name\n",
        ),
    ] {
        let (code, shown, said) = pending(&words);
        assert_eq!((code, said.as_str()), (Some(3), expected));
        // What there is shows what was meant.
        assert!(shown.contains("here"), "{shown}");
    }
    let file = std::fs::File::create(mount.at("open")).unwrap();
    file.sync_all().unwrap();
    let (code, _, said) = pending(&["--drop", "open"]);
    assert_eq!(code, Some(1), "{said}");
    drop(file);
    world.emulator.clear_faults();
    let (code, _, said) = pending(&["--retry", "here"]);
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "1 change tried again now\n")
    );
    eventually("it arrives", || world.all_stored("here").len() == 1);
}
